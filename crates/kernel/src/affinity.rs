//! On which processors a process may run (`sched_setaffinity(2)`), and the lists that name processors and memory nodes.

use std::fmt;

use rustix::io::Errno;

use crate::error::{Error, Result, last_errno};

/// How many processors or memory nodes a mask can name: what the largest kernels are built for.
pub const MOST: usize = 8192;

const WORD: usize = 64;

/// A set of processors, or of memory nodes, by number.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask(Box<[u64; MOST / WORD]>);

impl Mask {
    /// The mask of a list such as `0-3,7` (the list format of `cpuset(7)`); `None` when it is none, is empty, or names a
    /// number from [`MOST`] on.
    pub fn from_list(list: &str) -> Option<Self> {
        let mut words = Box::new([0_u64; MOST / WORD]);
        for part in list.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            for bit in first..=last {
                *words.get_mut(bit / WORD)? |= 1 << (bit % WORD);
            }
        }
        Some(Self(words))
    }

    /// The words of the mask, lowest numbers first, up to the last that has one.
    pub fn words(&self) -> &[u64] {
        let used = self.0.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        self.0.get(..used).unwrap_or_default()
    }
}

fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number < MOST)
}

impl fmt::LowerHex for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        match self.words().split_last() {
            None => f.write_str("0"),
            Some((highest, lower)) => {
                write!(f, "{highest:x}")?;
                lower.iter().rev().try_for_each(|word| write!(f, "{word:016x}"))
            }
        }
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries((0..MOST).filter(|bit| self.0.get(bit / WORD).is_some_and(|word| word >> (bit % WORD) & 1 == 1)))
            .finish()
    }
}

/// Lets the calling thread run on these processors only; what it starts inherits it.
///
/// # Errors
/// `EINVAL` when none of them exists or is in the thread's cpuset.
pub fn set(mask: &Mask) -> Result<()> {
    // SAFETY: the mask is MOST / 8 bytes long and only read; the kernel passes over what it has no processors for.
    if unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, MOST / 8, mask.0.as_ptr()) } < 0 {
        return Err(Error::new(format!("sched_setaffinity(0, {mask:?})"), last_errno()));
    }
    Ok(())
}

/// The processors that the calling thread may run on.
pub fn get() -> Result<Mask> {
    let mut words = Box::new([0_u64; MOST / WORD]);
    // SAFETY: the kernel writes at most the MOST / 8 bytes it is told of.
    let written = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, MOST / 8, words.as_mut_ptr()) };
    match written {
        1.. => Ok(Mask(words)),
        0 => Err(Error::new("sched_getaffinity(0)", Errno::IO)),
        _ => Err(Error::new("sched_getaffinity(0)", last_errno())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_numbers_and_ranges() {
        assert_eq!(Mask::from_list("0-3,7").unwrap().words(), [0x8f]);
        assert_eq!(Mask::from_list("64").unwrap().words(), [0, 1]);
        assert_eq!(format!("{:?}", Mask::from_list("1,65-66").unwrap()), "{1, 65, 66}");
        assert_eq!(format!("{:x}", Mask::from_list("0-1").unwrap()), "0x3");
        assert_eq!(format!("{:x}", Mask::from_list("1,65-66").unwrap()), "0x60000000000000002");
        for wrong in ["", "a", "1-", "-1", "3-1", "1,,2", "8192", "0-99999999999", " 1", "+1", "18446744073709551616"] {
            assert!(Mask::from_list(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_set_is_what_is_got() {
        let before = get().unwrap();
        let first = before.words()[0].trailing_zeros().to_string();
        let one = Mask::from_list(&first).unwrap();
        set(&one).unwrap();
        assert_eq!(get().unwrap(), one);
        set(&before).unwrap();
        assert_eq!(set(&Mask::from_list("8191").unwrap()).unwrap_err().errno(), Errno::INVAL);
    }
}
