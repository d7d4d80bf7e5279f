//! From which memory nodes a process gets its memory (`set_mempolicy(2)`).

use crate::affinity::Mask;
use crate::error::{Error, Result, last_errno};

/// The modes, by the names that OCI uses, with the kernel's numbers (`linux/mempolicy.h`).
pub const MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

/// The flags, by the names that OCI uses.
pub const FLAGS: [(&str, u32); 3] =
    [("MPOL_F_NUMA_BALANCING", 1 << 13), ("MPOL_F_RELATIVE_NODES", 1 << 14), ("MPOL_F_STATIC_NODES", 1 << 15)];

/// Sets the memory policy of the calling thread, which what it starts inherits: one of [`MODES`] with any of [`FLAGS`].
///
/// # Errors
/// `EINVAL` for a mode that the kernel does not know, or nodes that the mode does not take or that the caller may not
/// use; `ENOSYS` where the kernel has no memory nodes.
pub fn set(mode: u32, flags: u32, nodes: Option<&Mask>) -> Result<()> {
    let words = nodes.map(Mask::words).unwrap_or_default();
    // The kernel reads one bit less than it is told of (set_mempolicy(2), BUGS).
    let bits = if words.is_empty() { 0 } else { words.len() * 64 + 1 };
    let pointer = if words.is_empty() { std::ptr::null() } else { words.as_ptr() };
    // SAFETY: the mask is null with a size of 0, or has the words that the size says, less the one bit that is not read.
    if unsafe { libc::syscall(libc::SYS_set_mempolicy, mode | flags, pointer, bits) } < 0 {
        return Err(Error::new(format!("set_mempolicy({:#x}, {nodes:?})", mode | flags), last_errno()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_policy_shows_in_numa_maps() {
        let bind = MODES[2].1;
        match set(bind, 0, Mask::from_list("0").as_ref()) {
            // A kernel without memory nodes.
            Err(error) if error.errno() == Errno::NOSYS => return,
            other => other.unwrap(),
        }
        let maps = std::fs::read_to_string("/proc/thread-self/numa_maps").unwrap();
        assert!(maps.lines().any(|line| line.contains(" bind:0")), "{maps}");
        assert_eq!(set(bind, 0, None).unwrap_err().errno(), Errno::INVAL);
        assert_eq!(set(bind, 0, Mask::from_list("1000").as_ref()).unwrap_err().errno(), Errno::INVAL);
        set(MODES[0].1, 0, None).unwrap();
    }
}
