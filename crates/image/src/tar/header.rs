//! The 512-byte header block and its numbers.

use std::fmt;

pub(super) const BLOCK: usize = 512;

/// Linux' device numbers: 12 bits of major, 20 of minor.
const MAX_MAJOR: u64 = (1 << 12) - 1;
const MAX_MINOR: u64 = (1 << 20) - 1;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryType {
    /// A file with content.
    Regular,
    /// Another name of an earlier entry.
    HardLink,
    /// A symbolic link.
    SymbolicLink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

impl fmt::Display for EntryType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regular => "file",
            Self::HardLink => "hard link",
            Self::SymbolicLink => "symbolic link",
            Self::CharacterDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Directory => "directory",
            Self::Fifo => "named pipe",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// A header whose checksum is right.
pub(super) struct Header {
    block: [u8; BLOCK],
    format: Format,
}

impl Header {
    pub(super) fn new(block: &[u8; BLOCK]) -> Result<Self, String> {
        let wrong = "not a tar header: its checksum is wrong";
        let stored = number(&block[148..156], "checksum").map_err(|_| wrong)?;
        // Sums of both signs exist: old tools added signed characters.
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (at, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&at) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if stored != unsigned && stored != signed {
            return Err(wrong.to_owned());
        }
        let format = match &block[257..265] {
            b"ustar  \0" => Format::Gnu,
            magic if magic.starts_with(b"ustar\0") => {
                if &block[508..512] == b"tar\0" {
                    Format::Star
                } else {
                    Format::Ustar
                }
            }
            _ => Format::V7,
        };
        Ok(Self { block: *block, format })
    }

    pub(super) fn block(&self) -> &[u8; BLOCK] {
        &self.block
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.block[156]
    }

    pub(super) fn is_v7(&self) -> bool {
        self.type_flag() == 0
    }

    pub(super) fn entry_type(&self) -> Result<EntryType, String> {
        Ok(match self.type_flag() {
            0 | b'0' | b'7' | b'S' => EntryType::Regular,
            b'1' => EntryType::HardLink,
            b'2' => EntryType::SymbolicLink,
            b'3' => EntryType::CharacterDevice,
            b'4' => EntryType::BlockDevice,
            b'5' => EntryType::Directory,
            b'6' => EntryType::Fifo,
            other => {
                return Err(format!("entries of type {:?} are not understood", char::from(other)));
            }
        })
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.block[..100]);
        let prefix = match self.format {
            Format::Ustar => until_nul(&self.block[345..500]),
            Format::Star => until_nul(&self.block[345..476]),
            Format::V7 | Format::Gnu => &[],
        };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(super) fn link(&self) -> Vec<u8> {
        until_nul(&self.block[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32, String> {
        let mode = number(&self.block[100..108], "mode")?;
        // The file type bits that some tools store here say nothing that the type flag does not.
        u32::try_from(mode & 0o7777).map_err(|_| "its mode is not a number".to_owned())
    }

    pub(super) fn uid(&self) -> Result<u32, String> {
        id(number(&self.block[108..116], "owner")?, "owner")
    }

    pub(super) fn gid(&self) -> Result<u32, String> {
        id(number(&self.block[116..124], "group")?, "group")
    }

    pub(super) fn size(&self) -> Result<u64, String> {
        size(number(&self.block[124..136], "size")?)
    }

    pub(super) fn mtime(&self) -> Result<i64, String> {
        number(&self.block[136..148], "time")
    }

    pub(super) fn device(&self) -> Result<(u32, u32), String> {
        if self.format == Format::V7 {
            return Ok((0, 0));
        }
        let part = |range: std::ops::Range<usize>, max: u64| {
            let value = number(&self.block[range], "device number")?;
            u64::try_from(value)
                .ok()
                .filter(|value| *value <= max)
                .and_then(|value| u32::try_from(value).ok())
                .ok_or_else(|| format!("its device number {value} does not exist on Linux"))
        };
        Ok((part(329..337, MAX_MAJOR)?, part(337..345, MAX_MINOR)?))
    }
}

pub(super) fn id(value: i64, what: &str) -> Result<u32, String> {
    u32::try_from(value)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| format!("its {what} {value} is not an id (0 to {})", u32::MAX - 1))
}

pub(super) fn size(value: i64) -> Result<u64, String> {
    u64::try_from(value).map_err(|_| format!("its size is negative ({value})"))
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number in octal digits, or in base 256 (GNU) when the first bit is set.
pub(super) fn number(field: &[u8], what: &str) -> Result<i64, String> {
    match field {
        [first, ..] if first & 0x80 != 0 => base_256(field, what),
        _ => octal(field, what),
    }
}

fn base_256(field: &[u8], what: &str) -> Result<i64, String> {
    // Two's complement over the whole field, the first bit being only the mark: the second one is the sign.
    let negative = field[0] & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        let byte = if at == 0 && !negative { byte & 0x7f } else { *byte };
        value = (value << 8) | i128::from(byte);
    }
    i64::try_from(value).map_err(|_| format!("its {what} is too large"))
}

fn octal(field: &[u8], what: &str) -> Result<i64, String> {
    let edge = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|byte| !edge(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(edge).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let mut value: i64 = 0;
    for digit in digits {
        if !(b'0'..=b'7').contains(digit) {
            return Err(format!("its {what} is not an octal number ({:?})", field.escape_ascii().to_string()));
        }
        value = value
            .checked_mul(8)
            .and_then(|value| value.checked_add(i64::from(digit - b'0')))
            .ok_or_else(|| format!("its {what} is too large"))?;
    }
    if rest.iter().any(u8::is_ascii_digit) {
        return Err(format!("its {what} is two numbers ({:?})", field.escape_ascii().to_string()));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_both_kinds_are_read() {
        assert_eq!(number(b"0000644\0", "x"), Ok(0o644));
        assert_eq!(number(b"   644 \0", "x"), Ok(0o644));
        assert_eq!(number(b"77777777", "x"), Ok(0o77_777_777));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0", "x"), Ok(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\x02", "x"), Ok(258));
        assert_eq!(number(&[0xff; 12], "x"), Ok(-1));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe], "x"), Ok(-2));
    }

    #[test]
    fn numbers_that_lie_are_refused() {
        assert!(number(b"00008\0\0\0", "x").is_err());
        assert!(number(b"-000001\0", "x").is_err());
        assert!(number(b"12 34\0\0\0", "x").is_err());
        assert!(number(&[0x80, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "x").is_err());
        assert!(number(&[0xbf; 12], "x").is_err());
        assert!(id(-1, "owner").is_err());
        assert!(id(i64::from(u32::MAX), "owner").is_err());
        assert_eq!(id(i64::from(u32::MAX - 1), "owner"), Ok(u32::MAX - 1));
        assert!(size(-1).is_err());
    }
}
