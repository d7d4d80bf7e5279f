//! How the kernel schedules a process (`sched_setattr(2)`, `sched(7)`).

use crate::error::{Error, Result, last_errno};

/// A scheduling policy (`SCHED_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// `SCHED_OTHER`: time shared by the nice value.
    Other = 0,
    /// `SCHED_FIFO`: real time, until it blocks.
    Fifo = 1,
    /// `SCHED_RR`: real time, in turns.
    RoundRobin = 2,
    /// `SCHED_BATCH`: as `Other`, for work that nobody waits for.
    Batch = 3,
    /// `SCHED_ISO`: reserved by the kernel and never implemented (`EINVAL`).
    Iso = 4,
    /// `SCHED_IDLE`: when nothing else runs.
    Idle = 5,
    /// `SCHED_DEADLINE`: so much time in each period, before a deadline.
    Deadline = 6,
}

/// `SCHED_FLAG_RESET_ON_FORK`: children start with the default policy.
pub const FLAG_RESET_ON_FORK: u64 = 0x01;
/// `SCHED_FLAG_RECLAIM`: a deadline task may use what others leave.
pub const FLAG_RECLAIM: u64 = 0x02;
/// `SCHED_FLAG_DL_OVERRUN`: a deadline task gets `SIGXCPU` when it overruns.
pub const FLAG_DL_OVERRUN: u64 = 0x04;
/// `SCHED_FLAG_KEEP_POLICY`: the policy stays as it is.
pub const FLAG_KEEP_POLICY: u64 = 0x08;
/// `SCHED_FLAG_KEEP_PARAMS`: the parameters stay as they are.
pub const FLAG_KEEP_PARAMS: u64 = 0x10;
/// `SCHED_FLAG_UTIL_CLAMP_MIN`: the least utilisation that is assumed of it.
pub const FLAG_UTIL_CLAMP_MIN: u64 = 0x20;
/// `SCHED_FLAG_UTIL_CLAMP_MAX`: the most utilisation that is assumed of it.
pub const FLAG_UTIL_CLAMP_MAX: u64 = 0x40;

/// How a process is to be scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The policy.
    pub policy: Policy,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For `Other` and `Batch`: -20 (most) to 19 (least).
    pub nice: i32,
    /// For `Fifo` and `RoundRobin`: 1 to 99 (first).
    pub priority: u32,
    /// For `Deadline`, in nanoseconds: how long it runs in a period.
    pub runtime: u64,
    /// For `Deadline`, in nanoseconds: by when, from the start of a period.
    pub deadline: u64,
    /// For `Deadline`, in nanoseconds: how long a period is; 0 is the deadline.
    pub period: u64,
}

/// `struct sched_attr`, its first version (Linux 3.14) and the two words of Linux 5.3.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// Sets how a process is scheduled; 0 is the caller's thread.
///
/// # Errors
/// `EPERM` without `CAP_SYS_NICE` in the initial user namespace for anything that gives more than before, or when the
/// process's control group has no real-time bandwidth; `EINVAL` for values out of the policy's range; `EBUSY` when
/// there is no bandwidth left for a deadline.
pub fn set(pid: u32, attributes: &Attributes) -> Result<()> {
    let call = || format!("sched_setattr({pid}, {attributes:?})");
    let attr = SchedAttr {
        size: u32::try_from(size_of::<SchedAttr>()).unwrap_or(0),
        policy: attributes.policy as u32,
        flags: attributes.flags,
        nice: attributes.nice,
        priority: attributes.priority,
        runtime: attributes.runtime,
        deadline: attributes.deadline,
        period: attributes.period,
        ..SchedAttr::default()
    };
    // SAFETY: the struct is a local of the size that it says, and is only read.
    if unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, 0_u32) } < 0 {
        return Err(Error::new(call(), last_errno()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: Attributes =
        Attributes { policy: Policy::Batch, flags: 0, nice: 5, priority: 0, runtime: 0, deadline: 0, period: 0 };

    #[test]
    fn a_policy_and_a_nice_value_are_what_proc_says() {
        set(0, &BATCH).unwrap();
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // Fields 19 and 41 of proc_pid_stat(5); the first here is field 3.
        assert_eq!((fields[16], fields[38]), ("5", "3"));
    }

    #[test]
    fn a_priority_is_for_real_time_only() {
        let error = set(0, &Attributes { priority: 5, ..BATCH }).unwrap_err();
        assert_eq!(error.errno(), rustix::io::Errno::INVAL);
        assert!(error.call().contains("priority: 5"), "{error}");
    }
}
