//! Headers of archives that we write ourselves.

use super::header::BLOCK;
use super::{Entry, EntryType};

impl Entry {
    /// A file of root's, from the beginning of time.
    pub(crate) fn file(path: &[u8], mode: u32, size: u64) -> Self {
        Self {
            path: path.to_vec(),
            kind: EntryType::Regular,
            link: Vec::new(),
            mode,
            uid: 0,
            gid: 0,
            size,
            mtime: 0,
            mtime_nanoseconds: 0,
            major: 0,
            minor: 0,
            xattrs: Vec::new(),
            sparse: None,
        }
    }
}

/// The header of a file with a short name; what does not fit its field is written in base 256.
pub(crate) fn header(entry: &Entry) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let name = &entry.path[..entry.path.len().min(100)];
    block[..name.len()].copy_from_slice(name);
    number(&mut block[100..108], entry.mode.into());
    number(&mut block[108..116], entry.uid.into());
    number(&mut block[116..124], entry.gid.into());
    number(&mut block[124..136], entry.size);
    number(&mut block[136..148], u64::try_from(entry.mtime).unwrap_or(0));
    block[148..156].fill(b' ');
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    number(&mut block[148..155], sum);
    block
}

/// The number of bytes that fill a content of `size` bytes up to a whole block.
pub(crate) fn padding(size: u64) -> usize {
    usize::try_from(super::padding(size)).unwrap_or(0)
}

fn number(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let octal = format!("{value:0digits$o}");
    if octal.len() == digits {
        field[..digits].copy_from_slice(octal.as_bytes());
        field[digits] = 0;
        return;
    }
    for (byte, value) in field.iter_mut().rev().zip(value.to_le_bytes()) {
        *byte = value;
    }
    field[0] |= 0x80;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::tar::list;

    #[test]
    fn what_is_written_is_read_back() {
        let small = Entry::file(b"program", 0o755, 0);
        let mut large = Entry::file(b"large", 0o644, 1 << 40);
        assert_eq!(list(&header(&small), Limits::default()).unwrap(), [small]);
        large.uid = 3_000_000;
        let block = header(&large);
        let mut reader = crate::tar::Reader::new(&block[..], Limits { bytes: u64::MAX, ..Limits::default() });
        assert_eq!(reader.next_entry().unwrap(), Some(large));
    }
}
