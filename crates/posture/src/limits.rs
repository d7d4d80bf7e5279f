//! What a container may use of the host: RES-1, RES-2.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ulimit::{Resource, Ulimit};

/// One mebibyte.
pub(crate) const MIB: u64 = 1 << 20;

/// The limits of a container. `None` on what is a limit means that there is none, unless the field says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of memory. `None`: unlimited.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together, as Docker counts; equal to `memory`: no swap. `None`: unlimited.
    pub memory_swap: Option<u64>,
    /// Bytes that the kernel tries to leave the container when the host is short. `None`: not set.
    pub memory_reservation: Option<u64>,
    /// How readily its memory is swapped out, 0–100. `None`: not set.
    pub memory_swappiness: Option<u8>,
    /// Whether the kernel makes its processes wait instead of killing one when its memory is used up.
    pub oom_kill_disable: bool,
    /// The score that makes the kernel kill it rather than others (-1000–1000).
    pub oom_score_adj: i16,
    /// Processes and threads. `None`: unlimited.
    pub pids: Option<u64>,
    /// Processors, in billionths. `None`: the default ceiling, which [`crate::fit`] puts into numbers.
    pub nano_cpus: Option<u64>,
    /// Microseconds of the scheduler's period. `None`: 100 000.
    pub cpu_period: Option<u64>,
    /// Microseconds of processor time per period; -1: unlimited. `None`: as `nano_cpus` says.
    pub cpu_quota: Option<i64>,
    /// Weight against other containers, where 1024 is everyone's. `None`: 1024.
    pub cpu_shares: Option<u64>,
    /// Processors it may run on, as `0-3,7`. `None`: all.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes it may use, as `0,1`. `None`: all.
    pub cpuset_mems: Option<String>,
    /// Weight of its block I/O, 10–1000, where 500 is everyone's. `None`: not set.
    pub blkio_weight: Option<u16>,
    /// Bytes per second that it may read from a device.
    pub device_read_bps: Vec<Throttle>,
    /// Bytes per second that it may write to a device.
    pub device_write_bps: Vec<Throttle>,
    /// Operations per second that it may read from a device.
    pub device_read_iops: Vec<Throttle>,
    /// Operations per second that it may write to a device.
    pub device_write_iops: Vec<Throttle>,
    /// Limits of each process (setrlimit(2)).
    pub ulimits: BTreeMap<Resource, Ulimit>,
    /// Bytes of `/dev/shm`.
    pub shm_size: u64,
}

/// A limit on a block device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throttle {
    /// The device's path on the host.
    pub device: String,
    /// Bytes or operations per second; 0 takes the limit off.
    pub rate: u64,
}

impl Default for Limits {
    /// The hardened limits: no default container can hurt the host with any of them.
    fn default() -> Self {
        Self {
            memory: Some(512 * MIB),
            memory_swap: Some(512 * MIB),
            memory_reservation: None,
            memory_swappiness: None,
            oom_kill_disable: false,
            oom_score_adj: 500,
            pids: Some(512),
            nano_cpus: None,
            cpu_period: None,
            cpu_quota: None,
            cpu_shares: None,
            cpuset_cpus: None,
            cpuset_mems: None,
            blkio_weight: None,
            device_read_bps: Vec::new(),
            device_write_bps: Vec::new(),
            device_read_iops: Vec::new(),
            device_write_iops: Vec::new(),
            ulimits: BTreeMap::from([
                (Resource::Core, Ulimit { soft: 0, hard: 0 }),
                (Resource::Nofile, Ulimit { soft: 1024, hard: 4096 }),
            ]),
            shm_size: 64 * MIB,
        }
    }
}

/// The scheduler's period where nobody asks for one, in microseconds.
const PERIOD: u64 = 100_000;

impl Limits {
    /// Microseconds of processor time in each period of microseconds, for the cgroup: `(quota, period)`.
    /// `None` where processor time is not limited, or not in numbers yet (see [`crate::fit`]).
    pub fn cpu_quota_and_period(&self) -> Option<(u64, u64)> {
        let period = self.cpu_period.unwrap_or(PERIOD);
        let quota = match (self.cpu_quota, self.nano_cpus) {
            (Some(quota), _) => u64::try_from(quota).ok()?,
            (None, Some(nano)) => u64::try_from(u128::from(nano) * u128::from(period) / 1_000_000_000).ok()?,
            (None, None) => return None,
        };
        // The kernel takes no quota below a millisecond.
        Some((quota.max(1000), period))
    }

    /// Bytes of swap beside the memory: what cgroup v2's `memory.swap.max` takes. `None`: unlimited.
    pub fn swap(&self) -> Option<u64> {
        match (self.memory, self.memory_swap) {
            (Some(memory), Some(total)) => Some(total.saturating_sub(memory)),
            _ => None,
        }
    }
}
