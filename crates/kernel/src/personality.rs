//! Which system a process believes to run on (`personality(2)`).

use crate::error::{Error, Result, last_errno};

/// An execution domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// `PER_LINUX`: the machine as it is.
    Linux = 0,
    /// `PER_LINUX32`: `uname(2)` says a 32-bit machine.
    Linux32 = 8,
}

/// Sets the execution domain of the calling thread, without any flag; what it starts inherits it.
///
/// # Errors
/// `EINVAL` where the kernel does not know the domain.
pub fn set(domain: Domain) -> Result<()> {
    // SAFETY: takes an integer; it changes what later calls of this thread answer, not its memory.
    if unsafe { libc::personality(domain as libc::c_ulong) } < 0 {
        return Err(Error::new(format!("personality({domain:?})"), last_errno()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_32_bit_domain_shows() {
        set(Domain::Linux32).unwrap();
        let shown = std::fs::read_to_string("/proc/thread-self/personality").unwrap();
        assert_eq!(shown.trim(), "00000008");
        set(Domain::Linux).unwrap();
    }
}
