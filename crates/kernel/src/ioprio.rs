//! In which order the kernel serves the disk requests of processes (`ioprio_set(2)`).

use crate::error::{Error, Result, last_errno};

const WHO_PROCESS: libc::c_int = 1;
const CLASS_SHIFT: u32 = 13;

/// A class of input and output (`IOPRIO_CLASS_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `IOPRIO_CLASS_RT`: before all others.
    RealTime = 1,
    /// `IOPRIO_CLASS_BE`: in turn, by priority.
    BestEffort = 2,
    /// `IOPRIO_CLASS_IDLE`: when nobody else wants the disk.
    Idle = 3,
}

/// Sets the class and the priority in it (0, first, to 7) of a process; 0 is the caller's thread. What it starts
/// inherits them.
///
/// # Errors
/// `EPERM` for `RealTime` without `CAP_SYS_NICE` in the initial user namespace; `EINVAL` for a priority above 7.
pub fn set(pid: u32, class: Class, priority: u8) -> Result<()> {
    let call = || format!("ioprio_set(IOPRIO_WHO_PROCESS, {pid}, {class:?}, {priority})");
    if priority > 7 {
        return Err(Error::new(call(), rustix::io::Errno::INVAL));
    }
    let value = (class as u32) << CLASS_SHIFT | u32::from(priority);
    // SAFETY: takes integers only.
    if unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, pid, value) } < 0 {
        return Err(Error::new(call(), last_errno()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_keeps_class_and_priority() {
        set(0, Class::BestEffort, 6).unwrap();
        // SAFETY: takes integers only.
        let value = unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) };
        assert_eq!(value, 2 << 13 | 6);
        assert!(set(0, Class::BestEffort, 8).is_err());
    }
}
