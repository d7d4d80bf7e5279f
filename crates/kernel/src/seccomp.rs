//! Installing a system call filter (`seccomp(2)`). What is in the filter is the runtime's business.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::error::{Error, Result, last_errno};

const SECCOMP_SET_MODE_FILTER: libc::c_uint = 1;
const SECCOMP_GET_ACTION_AVAIL: libc::c_uint = 2;

/// `SECCOMP_FILTER_FLAG_TSYNC`: all threads of the process.
pub const FLAG_TSYNC: u32 = 1;
/// `SECCOMP_FILTER_FLAG_LOG`: actions other than allow are logged.
pub const FLAG_LOG: u32 = 2;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW`: no speculative store bypass mitigation for the filter's sake.
pub const FLAG_SPEC_ALLOW: u32 = 4;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`: a descriptor on which calls are notified.
pub const FLAG_NEW_LISTENER: u32 = 8;
/// `SECCOMP_FILTER_FLAG_TSYNC_ESRCH`: a thread that can't follow is an error, not the result (Linux 5.7).
pub const FLAG_TSYNC_ESRCH: u32 = 16;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` (Linux 5.19); only with [`FLAG_NEW_LISTENER`].
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 32;

/// One instruction of classic BPF (`struct sock_filter`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How many instructions to skip if true.
    pub jump_true: u8,
    /// How many instructions to skip if false.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

/// The most instructions a filter can have (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

#[repr(C)]
struct Program {
    length: libc::c_ushort,
    filter: *const Instruction,
}

/// Puts a filter on the calling thread, for good, and on all that it starts. With [`FLAG_NEW_LISTENER`] the listener is
/// returned.
///
/// # Errors
/// `EACCES` without no-new-privileges and without `CAP_SYS_ADMIN`; `EINVAL` for a filter the kernel does not accept.
pub fn install(filter: &[Instruction], flags: u32) -> Result<Option<OwnedFd>> {
    let call = || format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {} instructions)", filter.len());
    let length = libc::c_ushort::try_from(filter.len()).map_err(|_| Error::new(call(), rustix::io::Errno::INVAL))?;
    let program = Program { length, filter: filter.as_ptr() };
    // SAFETY: the program points at `length` instructions that outlive the call; the kernel checks and copies them.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if result < 0 {
        return Err(Error::new(call(), last_errno()));
    }
    if flags & FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    let number = libc::c_int::try_from(result).map_err(|_| Error::new(call(), rustix::io::Errno::RANGE))?;
    // SAFETY: with NEW_LISTENER the result is a new descriptor that nobody else knows.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number) }))
}

/// Whether the kernel takes a filter with these flags together.
pub fn available(flags: u32) -> bool {
    // It looks at the flags before it follows the pointer, and there is nothing behind that one.
    let nothing = std::ptr::null::<Program>();
    // SAFETY: a null pointer is not followed: the call fails with EFAULT, or before that with EINVAL. No filter is installed.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, nothing) };
    result < 0 && last_errno() == rustix::io::Errno::FAULT
}

/// Whether the kernel knows an action (`SECCOMP_RET_*`).
pub fn action_available(action: u32) -> bool {
    // SAFETY: the argument points at a local word that is only read.
    unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0_u32, &raw const action) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_asked_for_flags_and_no_filter_is_installed() {
        assert!(available(0) && available(FLAG_TSYNC) && available(FLAG_LOG | FLAG_SPEC_ALLOW));
        assert!(available(FLAG_NEW_LISTENER | FLAG_TSYNC | FLAG_TSYNC_ESRCH));
        assert!(!available(1 << 30));
        assert!(!available(FLAG_NEW_LISTENER | FLAG_TSYNC), "these two need a third");
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let filters = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
        assert!(filters.is_none_or(|count| count.trim() == "0"), "{filters:?}");
    }
}
