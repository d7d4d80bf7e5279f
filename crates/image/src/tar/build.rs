//! Archives for tests: honest ones, and ones that no tool would write.

use super::header::BLOCK;

/// An archive being written.
#[derive(Default, Clone)]
pub(crate) struct Builder(Vec<u8>);

/// A header block under construction, every field free.
#[derive(Clone)]
pub(crate) struct RawHeader(pub(crate) [u8; BLOCK]);

impl RawHeader {
    pub(crate) fn new(name: &[u8], kind: u8, size: u64) -> Self {
        let mut header = Self([0; BLOCK]);
        let shown = &name[..name.len().min(100)];
        header.set(0, shown);
        header.set(100, b"0000755\0");
        header.set(108, b"0000000\0");
        header.set(116, b"0000000\0");
        header.set(124, format!("{size:011o}\0").as_bytes());
        header.set(136, b"00000001750\0");
        header.set(156, &[kind]);
        header.set(257, b"ustar\x0000");
        header.set(329, b"0000000\0");
        header.set(337, b"0000000\0");
        header
    }

    pub(crate) fn set(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn finish(&mut self) -> [u8; BLOCK] {
        self.set(148, b"        ");
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.set(148, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Any header and content, padded.
    pub(crate) fn raw(mut self, mut header: RawHeader, content: &[u8]) -> Self {
        self.0.extend_from_slice(&header.finish());
        self.content(content)
    }

    /// Content as it is, padded to whole blocks.
    pub(crate) fn content(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    pub(crate) fn entry(self, name: &str, kind: u8, link: &str, content: &[u8]) -> Self {
        let mut header = RawHeader::new(name.as_bytes(), kind, content.len() as u64);
        header.set(157, link.as_bytes());
        self.raw(header, content)
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.entry(name, b'0', "", content)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.entry(name, b'5', "", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, b'2', target, b"")
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(name, b'1', target, b"")
    }

    pub(crate) fn device(self, name: &str, kind: u8, major: u32, minor: u32) -> Self {
        let mut header = RawHeader::new(name.as_bytes(), kind, 0);
        header.set(329, format!("{major:07o}\0").as_bytes());
        header.set(337, format!("{minor:07o}\0").as_bytes());
        self.raw(header, b"")
    }

    /// PAX records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let bytes = records_of(records);
        self.entry("PaxHeaders/x", b'x', "", &bytes)
    }

    pub(crate) fn global_pax(self, records: &[(&str, &[u8])]) -> Self {
        let bytes = records_of(records);
        self.entry("PaxHeaders/g", b'g', "", &bytes)
    }

    /// A GNU long name ('L') or link target ('K') for the next entry.
    pub(crate) fn gnu_long(self, kind: u8, name: &[u8]) -> Self {
        let mut header = RawHeader::new(b"././@LongLink", kind, name.len() as u64 + 1);
        header.set(257, b"ustar  \0");
        self.raw(header, &[name, b"\0"].concat())
    }

    /// The archive with its end mark.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    /// The archive without an end mark.
    pub(crate) fn open_end(self) -> Vec<u8> {
        self.0
    }
}

fn records_of(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length.to_string().len() + rest != length {
            length += 1;
        }
        bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}
