//! Sparse maps of GNU tar: the old header format, and PAX 0.0, 0.1 and 1.0.

use super::header::{BLOCK, Header, number, size};

/// No real file has more pieces; beyond this a map is a bomb.
const MAX_EXTENTS: usize = 1_000_000;

/// A part of a sparse file that has content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum More {
    /// The map is complete.
    No,
    /// Another old GNU extension block follows the header.
    Gnu,
    /// Decimal lines at the start of the content: how many numbers are still to come (`None`: not even the count was read).
    Content { numbers: Option<usize> },
}

/// A map that is being read.
pub(super) struct Map {
    size: u64,
    extents: Vec<Extent>,
    /// A number that awaits its partner: an offset without its length.
    pending: Option<u64>,
    /// The digits of a decimal number that the last block cut.
    digits: Vec<u8>,
    more: More,
}

impl Map {
    /// A map whose numbers are at hand.
    pub(super) fn complete(size: u64) -> Self {
        Self { size, extents: Vec::new(), pending: None, digits: Vec::new(), more: More::No }
    }

    /// A map that stands at the start of the content (PAX 1.0).
    pub(super) fn from_content(size: u64) -> Self {
        Self { more: More::Content { numbers: None }, ..Self::complete(size) }
    }

    pub(super) fn from_gnu(header: &Header) -> Result<Self, String> {
        let block = header.block();
        let real = size(number(&block[483..495], "real size")?)?;
        let mut map = Self::complete(real);
        map.take_gnu(&block[386..482], block[482])?;
        Ok(map)
    }

    pub(super) fn is_extended(&self) -> bool {
        self.more == More::Gnu
    }

    pub(super) fn extend_gnu(&mut self, block: &[u8; BLOCK]) -> Result<(), String> {
        self.take_gnu(&block[..504], block[504])
    }

    fn take_gnu(&mut self, structs: &[u8], extended: u8) -> Result<(), String> {
        for pair in structs.chunks_exact(24) {
            // An unused slot ends the list.
            if pair[0] == 0 {
                break;
            }
            let offset = size(number(&pair[..12], "sparse offset")?)?;
            let length = size(number(&pair[12..], "sparse length")?)?;
            self.push(offset, length)?;
        }
        self.more = if extended == 0 { More::No } else { More::Gnu };
        Ok(())
    }

    pub(super) fn wants_block(&self) -> bool {
        matches!(self.more, More::Content { numbers } if numbers != Some(0))
    }

    /// Takes a block of "count\noffset\nlength\n…", zero-padded after the last number.
    pub(super) fn extend_pax(&mut self, block: &[u8; BLOCK]) -> Result<(), String> {
        const MAX_DIGITS: usize = 20;
        for byte in block {
            if !self.wants_block() {
                break;
            }
            match byte {
                b'0'..=b'9' if self.digits.len() < MAX_DIGITS => self.digits.push(*byte),
                b'\n' => {
                    let digits = std::mem::take(&mut self.digits);
                    self.take_decimal(&digits)?;
                }
                _ => return Err("its sparse map is malformed".to_owned()),
            }
        }
        Ok(())
    }

    fn take_decimal(&mut self, digits: &[u8]) -> Result<(), String> {
        let value = decimal(digits)?;
        match self.more {
            More::Content { numbers: None } => {
                let count = usize::try_from(value).ok().filter(|count| *count <= MAX_EXTENTS);
                let count =
                    count.ok_or_else(|| format!("its sparse map has {value} pieces (the limit is {MAX_EXTENTS})"))?;
                self.more = More::Content { numbers: Some(count * 2) };
                Ok(())
            }
            More::Content { numbers: Some(left) } => {
                self.more = More::Content { numbers: Some(left.saturating_sub(1)) };
                self.take_number(value)
            }
            More::No | More::Gnu => self.take_number(value),
        }
    }

    /// Takes offsets and lengths in turn, in decimal.
    pub(super) fn extend_numbers(&mut self, numbers: &[&[u8]]) -> Result<(), String> {
        for digits in numbers {
            let value = decimal(digits)?;
            self.take_number(value)?;
        }
        Ok(())
    }

    fn take_number(&mut self, value: u64) -> Result<(), String> {
        match self.pending.take() {
            None => {
                self.pending = Some(value);
                Ok(())
            }
            Some(offset) => self.push(offset, value),
        }
    }

    fn push(&mut self, offset: u64, length: u64) -> Result<(), String> {
        if self.extents.len() >= MAX_EXTENTS {
            return Err(format!("its sparse map has more than {MAX_EXTENTS} pieces"));
        }
        let start = self.extents.last().map_or(0, |last| last.offset + last.length);
        let end = offset.checked_add(length).filter(|end| *end <= self.size);
        if offset < start || end.is_none() {
            return Err("its sparse map overlaps itself or reaches beyond its size".to_owned());
        }
        self.extents.push(Extent { offset, length });
        Ok(())
    }

    /// The file's size and its pieces, which must be as long as the content that is stored.
    pub(super) fn finish(self, stored: u64) -> Result<(u64, Vec<Extent>), String> {
        let total: u64 = self.extents.iter().map(|extent| extent.length).sum();
        if self.pending.is_some() || total != stored {
            return Err(format!("its sparse map covers {total} bytes, its content has {stored}"));
        }
        Ok((self.size, self.extents))
    }
}

fn decimal(digits: &[u8]) -> Result<u64, String> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    text.and_then(|text| text.parse().ok())
        .filter(|value| i64::try_from(*value).is_ok())
        .ok_or_else(|| "its sparse map holds what is not a number".to_owned())
}
