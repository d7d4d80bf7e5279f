//! The five capability sets of a thread (`capabilities(7)`), as bit masks: bit n is capability number n.

use crate::error::{Error, Result, last_errno};

const PR_CAPBSET_READ: libc::c_int = 23;
const PR_CAPBSET_DROP: libc::c_int = 24;
const PR_CAP_AMBIENT: libc::c_int = 47;
const PR_CAP_AMBIENT_RAISE: libc::c_ulong = 2;
const PR_CAP_AMBIENT_CLEAR_ALL: libc::c_ulong = 4;
const PR_SET_KEEPCAPS: libc::c_int = 8;
const VERSION_3: u32 = 0x2008_0522;

/// The sets a process is to end up with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// What an exec can ever give.
    pub bounding: u64,
    /// What is in force.
    pub effective: u64,
    /// What can be put in force.
    pub permitted: u64,
    /// What an exec of a file with inheritable capabilities keeps.
    pub inheritable: u64,
    /// What an exec of an ordinary file by an ordinary user keeps.
    pub ambient: u64,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// One more than the number of the last capability that the running kernel knows.
pub fn count() -> u8 {
    // 40 is CAP_CHECKPOINT_RESTORE; newer kernels may have more, older ones fewer.
    (0..64).find(|&number| prctl(PR_CAPBSET_READ, number, 0).is_err()).map_or(64, |n| u8::try_from(n).unwrap_or(64))
}

/// Whether a capability is in the caller's bounding set; `None` for a number that the running kernel does not know.
pub fn in_bounding_set(number: u8) -> Option<bool> {
    // SAFETY: PR_CAPBSET_READ takes integers only.
    match unsafe { libc::prctl(PR_CAPBSET_READ, libc::c_ulong::from(number), 0_u64, 0_u64, 0_u64) } {
        0 => Some(false),
        1.. => Some(true),
        _ => None,
    }
}

/// Takes every capability that is not in `keep` out of the bounding set, for good. Needs `CAP_SETPCAP`.
pub fn limit_bounding(keep: u64) -> Result<()> {
    for number in 0..64_u64 {
        if keep & (1 << number) != 0 {
            continue;
        }
        match prctl(PR_CAPBSET_DROP, number, 0) {
            Ok(()) => {}
            // The first number the kernel does not know ends the list.
            Err(errno) if errno == rustix::io::Errno::INVAL => break,
            Err(errno) => {
                return Err(Error::new(format!("prctl(PR_CAPBSET_DROP, {number})"), errno));
            }
        }
    }
    Ok(())
}

/// Lets the permitted set survive a change of user id to other than 0, until the next exec.
pub fn keep_over_id_change(keep: bool) -> Result<()> {
    prctl(PR_SET_KEEPCAPS, u64::from(keep), 0).map_err(|errno| Error::new("prctl(PR_SET_KEEPCAPS)", errno))
}

/// Sets effective, permitted, inheritable and ambient. The bounding set is left to [`limit_bounding`].
pub fn set(sets: &Sets) -> Result<()> {
    set_without_ambient(sets)?;
    let ambient = |command, number| {
        prctl(PR_CAP_AMBIENT, command, number)
            .map_err(|errno| Error::new(format!("prctl(PR_CAP_AMBIENT, {command}, {number})"), errno))
    };
    ambient(PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
    for number in (0..64).filter(|number| sets.ambient & (1 << number) != 0) {
        ambient(PR_CAP_AMBIENT_RAISE, number)?;
    }
    Ok(())
}

/// Sets effective, permitted and inheritable. The kernel takes out of the ambient set what is in only one of the two
/// latter.
pub fn set_without_ambient(sets: &Sets) -> Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let half = |bits: u64, high: bool| -> u32 {
        u32::try_from(if high { bits >> 32 } else { bits & 0xffff_ffff }).unwrap_or(0)
    };
    let data = [false, true].map(|high| Data {
        effective: half(sets.effective, high),
        permitted: half(sets.permitted, high),
        inheritable: half(sets.inheritable, high),
    });
    // SAFETY: a valid header, and two data words as version 3 asks.
    if unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) } < 0 {
        return Err(Error::new(format!("capset({sets:x?})"), last_errno()));
    }
    Ok(())
}

/// The effective set of the calling thread.
pub fn effective() -> Result<u64> {
    get().map(|data| join(data.map(|half| half.effective)))
}

/// The permitted set of the calling thread.
pub fn permitted() -> Result<u64> {
    get().map(|data| join(data.map(|half| half.permitted)))
}

fn join(halves: [u32; 2]) -> u64 {
    u64::from(halves[0]) | u64::from(halves[1]) << 32
}

fn get() -> Result<[Data; 2]> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: as for set; the two words are locals that the call fills.
    if unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) } < 0 {
        return Err(Error::new("capget()", last_errno()));
    }
    Ok(data)
}

fn prctl(option: libc::c_int, a: libc::c_ulong, b: libc::c_ulong) -> std::result::Result<(), rustix::io::Errno> {
    // SAFETY: the options used here (capability sets and keepcaps) take integers only.
    if unsafe { libc::prctl(option, a, b, 0_u64, 0_u64) } < 0 { Err(last_errno()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_at_least_the_capabilities_of_5_9() {
        assert!(count() >= 41);
    }

    #[test]
    fn the_sets_are_what_proc_says() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = |name: &str| {
            let hexadecimal = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(hexadecimal.trim(), 16).unwrap()
        };
        assert_eq!(effective().unwrap(), line("CapEff:"));
        assert_eq!(permitted().unwrap(), line("CapPrm:"));
        for number in 0..count() {
            assert_eq!(in_bounding_set(number), Some(line("CapBnd:") >> number & 1 == 1), "{number}");
        }
        assert_eq!(in_bounding_set(63), None);
    }
}
