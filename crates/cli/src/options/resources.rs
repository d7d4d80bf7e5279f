//! Flags for how much of the host a container may use.

use clap::Args;

/// The flags, in Docker's words.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Resources")]
pub(crate) struct Resources {
    /// Memory, 512m by default
    #[arg(short, long, value_name = "BYTES")]
    pub(crate) memory: Option<String>,
    /// Memory and swap together; as much as the memory by default: no swap. -1: unlimited
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,
    /// Memory that is kept for the container when the host runs short
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_reservation: Option<String>,
    /// How readily memory is swapped out, 0 to 100 (where there is swap)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) memory_swappiness: Option<String>,
    /// Never kill the container's processes for want of memory (let them wait)
    #[arg(long)]
    pub(crate) oom_kill_disable: bool,
    /// How early the kernel picks the container when the host runs out of memory (-1000 to 1000)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) oom_score_adj: Option<String>,
    /// CPUs, as in 1.5; nine tenths of the host's by default
    #[arg(long, value_name = "NUMBER")]
    pub(crate) cpus: Option<String>,
    /// Length of a CPU period in microseconds
    #[arg(long, value_name = "TIME")]
    pub(crate) cpu_period: Option<String>,
    /// CPU time in a period in microseconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) cpu_quota: Option<String>,
    /// Weight against other containers when CPUs are short (2 to 262144)
    #[arg(short, long, value_name = "NUMBER")]
    pub(crate) cpu_shares: Option<String>,
    /// Use these CPUs only: 0-2,4
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Use these memory nodes only: 0-1
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// Processes and threads, 512 by default; -1: unlimited
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) pids_limit: Option<String>,
    /// Limit of each process: NAME=SOFT[:HARD] (repeatable)
    #[arg(long, value_name = "LIMIT")]
    pub(crate) ulimit: Vec<String>,
    /// Size of /dev/shm, 64m by default
    #[arg(long, value_name = "BYTES")]
    pub(crate) shm_size: Option<String>,
    /// Weight of block I/O (10 to 1000)
    #[arg(long, value_name = "NUMBER")]
    pub(crate) blkio_weight: Option<String>,
    /// Bytes a second read from a device: DEVICE:RATE (repeatable)
    #[arg(long, value_name = "RATE")]
    pub(crate) device_read_bps: Vec<String>,
    /// Bytes a second written to a device: DEVICE:RATE (repeatable)
    #[arg(long, value_name = "RATE")]
    pub(crate) device_write_bps: Vec<String>,
    /// Reads a second from a device: DEVICE:RATE (repeatable)
    #[arg(long, value_name = "RATE")]
    pub(crate) device_read_iops: Vec<String>,
    /// Writes a second to a device: DEVICE:RATE (repeatable)
    #[arg(long, value_name = "RATE")]
    pub(crate) device_write_iops: Vec<String>,
}
