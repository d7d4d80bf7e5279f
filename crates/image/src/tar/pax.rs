//! PAX extended headers: `length key=value\n` records before an entry, or for all that follow.

use super::header::{id, size};
use super::sparse::Map;

const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records of one extended header, in order.
#[derive(Debug, Default, Clone)]
pub(super) struct Records(Vec<(Vec<u8>, Vec<u8>)>);

impl Records {
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, String> {
        let mut records = Vec::new();
        // Some tools pad the last record with NUL bytes.
        while !bytes.is_empty() && !bytes.iter().all(|byte| *byte == 0) {
            let (record, rest) = split_record(bytes).ok_or("its PAX header is malformed")?;
            let at = record.iter().position(|byte| *byte == b'=').ok_or("its PAX header is malformed")?;
            let (key, value) = (&record[..at], &record[at + 1..]);
            if key.is_empty() || key.contains(&0) {
                return Err("its PAX header has a malformed key".to_owned());
            }
            records.push((key.to_vec(), value.to_vec()));
            bytes = rest;
        }
        Ok(Self(records))
    }

    /// Takes a global header's records. What would give every entry the same name or size is refused.
    pub(super) fn merge_global(&mut self, newer: Self) -> Result<(), String> {
        for (key, value) in newer.0 {
            if matches!(key.as_slice(), b"path" | b"linkpath" | b"size")
                || key.starts_with(b"GNU.sparse.")
                || key.starts_with(XATTR)
            {
                return Err(format!("a global PAX header sets {:?}", super::escaped(&key)));
            }
            // Only these mean anything here, so that repeated global headers cannot fill the memory.
            if matches!(key.as_slice(), b"uid" | b"gid" | b"mtime") {
                self.0.retain(|(present, _)| *present != key);
                self.0.push((key, value));
            }
        }
        Ok(())
    }

    /// These records, with a global header's where these say nothing.
    pub(super) fn over<'a>(&'a self, global: &'a Self) -> Merged<'a> {
        Merged { local: self, global }
    }

    fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.0.iter().rev().find(|(present, _)| present == key);
        found.map(|(_, value)| value.as_slice())
    }
}

/// Splits "17 path=somewhere\n" off, its length checked.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    const MAX_DIGITS: usize = 10;
    let space = bytes.iter().take(MAX_DIGITS + 1).position(|byte| *byte == b' ')?;
    let digits = &bytes[..space];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    if length > bytes.len() || length < space + 2 || bytes[length - 1] != b'\n' {
        return None;
    }
    Some((&bytes[space + 1..length - 1], &bytes[length..]))
}

/// What holds for one entry.
pub(super) struct Merged<'a> {
    local: &'a Records,
    global: &'a Records,
}

impl<'a> Merged<'a> {
    /// The value that holds. An empty one takes a global one back, as POSIX says.
    fn get(&self, key: &[u8]) -> Option<&'a [u8]> {
        let value = self.local.get(key).or_else(|| self.global.get(key));
        value.filter(|value| !value.is_empty())
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        let Some(value) = self.get(key.as_bytes()) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(value);
        text.map(Some).map_err(|_| format!("its PAX record {key:?} is not text"))
    }

    fn integer(&self, key: &str) -> Result<Option<i64>, String> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let number = text.parse();
        number.map(Some).map_err(|_| format!("its PAX record {key:?} is not a number ({text:?})"))
    }

    pub(super) fn path(&self) -> Option<&'a [u8]> {
        self.get(b"path")
    }

    pub(super) fn link(&self) -> Option<&'a [u8]> {
        self.get(b"linkpath")
    }

    pub(super) fn size(&self) -> Result<Option<u64>, String> {
        self.integer("size")?.map(size).transpose()
    }

    pub(super) fn uid(&self) -> Result<Option<u32>, String> {
        self.integer("uid")?.map(|value| id(value, "owner")).transpose()
    }

    pub(super) fn gid(&self) -> Result<Option<u32>, String> {
        self.integer("gid")?.map(|value| id(value, "group")).transpose()
    }

    /// Seconds and nanoseconds of a decimal fraction, rounded down: "-0.5" is one second before 1970 and half a second.
    pub(super) fn mtime(&self) -> Result<Option<(i64, u32)>, String> {
        let Some(text) = self.text("mtime")? else {
            return Ok(None);
        };
        let time = parse_time(text).ok_or_else(|| format!("its PAX time is not a number ({text:?})"))?;
        Ok(Some(time))
    }

    pub(super) fn xattrs(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let own = self.local.0.iter();
        own.filter_map(|(key, value)| Some((key.strip_prefix(XATTR)?.to_vec(), value.clone()))).collect()
    }

    pub(super) fn sparse_name(&self) -> Option<&'a [u8]> {
        self.get(b"GNU.sparse.name")
    }

    /// The sparse map of PAX formats 0.0, 0.1 and 1.0; the last one's map stands in the content.
    pub(super) fn sparse(&self) -> Result<Option<Map>, String> {
        let real_size = |key: &str| match self.integer(key)? {
            Some(value) => size(value),
            None => Err(format!("its sparse map lacks {key:?}")),
        };
        match (self.text("GNU.sparse.major")?, self.text("GNU.sparse.minor")?) {
            (Some("1"), Some("0")) => return Ok(Some(Map::from_content(real_size("GNU.sparse.realsize")?))),
            (None, None) | (Some("0"), _) => {}
            (major, minor) => {
                return Err(format!(
                    "its sparse format {}.{} is not understood",
                    major.unwrap_or("?"),
                    minor.unwrap_or("?")
                ));
            }
        }
        let numbers: Vec<&[u8]> = if let Some(map) = self.get(b"GNU.sparse.map") {
            map.split(|byte| *byte == b',').collect()
        } else {
            let pairs = self.local.0.iter();
            pairs
                .filter(|(key, _)| matches!(key.as_slice(), b"GNU.sparse.offset" | b"GNU.sparse.numbytes"))
                .map(|(_, value)| value.as_slice())
                .collect()
        };
        if numbers.is_empty() && self.get(b"GNU.sparse.size").is_none() {
            return Ok(None);
        }
        let mut map = Map::complete(real_size("GNU.sparse.size")?);
        map.extend_numbers(&numbers)?;
        Ok(Some(map))
    }
}

fn parse_time(text: &str) -> Option<(i64, u32)> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds: u32 = kept.parse().ok()?;
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record, its length counted.
    fn record(text: &str) -> Vec<u8> {
        let mut length = text.len() + 2;
        while format!("{length} {text}\n").len() != length {
            length += 1;
        }
        format!("{length} {text}\n").into_bytes()
    }

    fn records(texts: &[&str]) -> Records {
        let bytes: Vec<u8> = texts.iter().flat_map(|text| record(text)).collect();
        Records::parse(&bytes).unwrap()
    }

    #[test]
    fn records_are_split_by_their_length() {
        let records = records(&["path=a=b", "mtime=-0.5"]);
        let none = Records::default();
        let merged = records.over(&none);
        assert_eq!(merged.path(), Some(&b"a=b"[..]));
        assert_eq!(merged.mtime(), Ok(Some((-1, 500_000_000))));
    }

    #[test]
    fn records_that_lie_are_refused() {
        for wrong in [
            &b"99 path=a\n"[..],
            b"3 path=a\n",
            b"0 \n",
            b"x path=a\n",
            b"11 path=abc",
            b"7 path\n",
            b"6 =ab\n",
            b"99999999999999999999 path=a\n",
            b" path=a\n",
        ] {
            assert!(Records::parse(wrong).is_err(), "{:?} was accepted", wrong.escape_ascii().to_string());
        }
    }

    #[test]
    fn global_records_hold_until_an_entry_has_its_own() {
        let mut global = Records::default();
        global.merge_global(records(&["uid=12"])).unwrap();
        let local = records(&["gid=", "uid=34"]);
        assert_eq!(Records::default().over(&global).uid(), Ok(Some(12)));
        assert_eq!(local.over(&global).uid(), Ok(Some(34)));
        assert_eq!(local.over(&global).gid(), Ok(None));
        assert!(global.merge_global(records(&["path=a"])).is_err());
        assert!(global.merge_global(records(&["size=1"])).is_err());
    }

    #[test]
    fn numbers_are_checked() {
        let none = Records::default();
        assert!(records(&["size=-1"]).over(&none).size().is_err());
        assert!(records(&["uid=1e3"]).over(&none).uid().is_err());
        assert!(records(&["uid=4294967295"]).over(&none).uid().is_err());
        assert!(records(&["size=99999999999999999999"]).over(&none).size().is_err());
        assert!(records(&["mtime=1.x"]).over(&none).mtime().is_err());
    }
}
