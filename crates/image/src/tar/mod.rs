//! A strict, streaming reader of tar archives: V7, ustar, GNU (long names, base-256 numbers, sparse) and PAX.
//!
//! It only says what an archive holds; [`crate::layer`] decides what to do with it. Our own, because a reader for hostile archives
//! must bound what it keeps in memory (long names, PAX records, sparse maps), must refuse numbers and headers that lie instead of
//! guessing, and must hand out file content without copying it.

#[cfg(test)]
pub(crate) mod build;
mod header;
mod pax;
mod sparse;
pub(crate) mod write;

use std::io::{self, BufRead};

pub use header::EntryType;
use header::{BLOCK, Header};
use pax::Records;
pub use sparse::Extent;

use crate::limits::Limits;

/// Long names and PAX records beyond this many bytes are refused.
const MAX_EXTENSION: u64 = 1024 * 1024;

/// Why an archive is refused or could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive breaks the format's rules, or lies.
    #[error("{}{reason}", entry_prefix(.entry.as_deref()))]
    Refused {
        /// The entry's name, escaped, as far as it is known.
        entry: Option<String>,
        /// What is wrong.
        reason: String,
    },
    /// The archive ends within an entry, or before its end mark.
    #[error("{}the archive is truncated", entry_prefix(.entry.as_deref()))]
    Truncated {
        /// The entry's name, escaped, as far as it is known.
        entry: Option<String>,
    },
    /// The stream could not be read.
    #[error("{}cannot read the archive: {source}", entry_prefix(.entry.as_deref()))]
    Read {
        /// The entry's name, escaped, as far as it is known.
        entry: Option<String>,
        /// What the stream said.
        source: io::Error,
    },
}

fn entry_prefix(entry: Option<&str>) -> String {
    entry.map_or_else(String::new, |entry| format!("entry {entry:?}: "))
}

/// One entry of an archive, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name as it stands in the archive: not checked, not decoded.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryType,
    /// For hard and symbolic links, what they name.
    pub link: Vec<u8>,
    /// Permission bits, set-id and sticky bits: 0 to 0o7777.
    pub mode: u32,
    /// The owner's id, at most 2³² − 2.
    pub uid: u32,
    /// The group's id, at most 2³² − 2.
    pub gid: u32,
    /// The file's length in bytes, holes included.
    pub size: u64,
    /// The modification time in seconds since 1970.
    pub mtime: i64,
    /// The fraction of the modification time, in nanoseconds.
    pub mtime_nanoseconds: u32,
    /// A device's major number.
    pub major: u32,
    /// A device's minor number.
    pub minor: u32,
    /// Extended attributes in the archive's order.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where a sparse file has content; `None` for ordinary files.
    pub sparse: Option<Vec<Extent>>,
}

impl Entry {
    /// The name for a person: printable, whatever its bytes are.
    pub fn name(&self) -> String {
        escaped(&self.path)
    }
}

pub(crate) fn escaped(bytes: &[u8]) -> String {
    const MAX_SHOWN: usize = 300;
    let cut = &bytes[..bytes.len().min(MAX_SHOWN)];
    match std::str::from_utf8(cut) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => cut.escape_ascii().to_string(),
    }
}

/// Reads a tar archive entry by entry.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    limits: Limits,
    /// Content bytes of the current entry that are not yet read, and the padding behind them.
    content: u64,
    padding: u64,
    entries: u64,
    global: Records,
    current: Option<Vec<u8>>,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    /// A reader at the start of an uncompressed archive.
    pub fn new(source: R, limits: Limits) -> Self {
        Self {
            source,
            limits,
            content: 0,
            padding: 0,
            entries: 0,
            global: Records::default(),
            current: None,
            ended: false,
        }
    }

    /// The source, for what follows the archive's end.
    pub fn into_source(self) -> R {
        self.source
    }

    /// True once the archive's end mark was seen. An archive may end without one; then only its digest tells that it is whole.
    pub fn saw_end_mark(&self) -> bool {
        self.ended
    }

    /// The next entry, or `None` at the end. What was not read of the entry before is skipped.
    ///
    /// # Errors
    /// [`Error`] names the entry that is refused, as far as its name is known.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.skip_content()?;
        let mut long_path = None;
        let mut long_link = None;
        let mut local: Option<Records> = None;
        loop {
            let pending = long_path.is_some() || long_link.is_some() || local.is_some();
            let Some(header) = self.read_header(pending)? else {
                if pending {
                    return Err(self.refused("the archive ends after a header that belongs to a next entry"));
                }
                return Ok(None);
            };
            self.entries += 1;
            if self.entries > self.limits.entries {
                let reason = format!("the archive has more than {} entries", self.limits.entries);
                return Err(self.refused(reason));
            }
            match header.type_flag() {
                b'L' if long_path.is_none() => long_path = Some(self.read_long_name(&header)?),
                b'K' if long_link.is_none() => long_link = Some(self.read_long_name(&header)?),
                b'x' if local.is_none() => local = Some(self.read_records(&header)?),
                b'g' => {
                    let records = self.read_records(&header)?;
                    let refused = self.global.merge_global(records);
                    refused.map_err(|reason| self.refused(reason))?;
                }
                b'L' | b'K' | b'x' => {
                    return Err(self.refused("two headers of the same kind belong to one entry"));
                }
                _ => {
                    let local = local.unwrap_or_default();
                    return self.entry(&header, long_path, long_link, &local).map(Some);
                }
            }
        }
    }

    /// Gives the current entry's content to `sink` piece by piece, with each piece's offset in the file. Holes are not given.
    ///
    /// # Errors
    /// [`ContentError`], distinguishing the archive from the sink.
    pub fn read_content<E>(
        &mut self,
        entry: &Entry,
        mut sink: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), ContentError<E>> {
        let whole = [Extent { offset: 0, length: self.content }];
        let extents = entry.sparse.as_deref().unwrap_or(&whole);
        for extent in extents {
            let mut offset = extent.offset;
            let mut left = extent.length;
            while left > 0 {
                let piece = match fill(&mut self.source) {
                    Ok(piece) => piece,
                    Err(error) => return Err(ContentError::Archive(self.read_error(error))),
                };
                if piece.is_empty() {
                    return Err(ContentError::Archive(self.truncated()));
                }
                let count = clamp(left, piece.len());
                sink(offset, &piece[..count]).map_err(ContentError::Sink)?;
                self.source.consume(count);
                offset += count as u64;
                left -= count as u64;
                self.content -= count as u64;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        header: &Header,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        local: &Records,
    ) -> Result<Entry, Error> {
        let records = local.over(&self.global);
        let path = records.path().map(<[u8]>::to_vec).or(long_path).unwrap_or_else(|| header.path());
        self.current = Some(path.clone());
        let refuse = |reason: String| Error::Refused { entry: Some(escaped(&path)), reason };
        if path.contains(&0) {
            return Err(refuse("its name holds a NUL byte".to_owned()));
        }
        let mut kind = header.entry_type().map_err(&refuse)?;
        let stored = match records.size().map_err(&refuse)? {
            Some(size) => size,
            None => header.size().map_err(&refuse)?,
        };
        if kind == EntryType::Regular && header.is_v7() && path.ends_with(b"/") {
            kind = EntryType::Directory;
        }
        if kind != EntryType::Regular && stored != 0 {
            return Err(refuse(format!("it is a {kind} that claims {stored} bytes of content")));
        }
        let link = match kind {
            EntryType::HardLink | EntryType::SymbolicLink => {
                let link = records.link().map(<[u8]>::to_vec).or(long_link);
                link.unwrap_or_else(|| header.link())
            }
            _ => Vec::new(),
        };
        if link.contains(&0) {
            return Err(refuse("its link target holds a NUL byte".to_owned()));
        }
        let (mtime, mtime_nanoseconds) = match records.mtime().map_err(&refuse)? {
            Some(time) => time,
            None => (header.mtime().map_err(&refuse)?, 0),
        };
        let uid = records.uid().map_err(&refuse)?.map_or_else(|| header.uid(), Ok).map_err(&refuse)?;
        let gid = records.gid().map_err(&refuse)?.map_or_else(|| header.gid(), Ok).map_err(&refuse)?;
        let (major, minor) = match kind {
            EntryType::CharacterDevice | EntryType::BlockDevice => header.device().map_err(&refuse)?,
            _ => (0, 0),
        };
        let mut entry = Entry {
            path: Vec::new(),
            kind,
            link,
            mode: header.mode().map_err(&refuse)?,
            uid,
            gid,
            size: stored,
            mtime,
            mtime_nanoseconds,
            major,
            minor,
            xattrs: records.xattrs(),
            sparse: None,
        };
        let map = records.sparse().map_err(&refuse)?;
        if let Some(name) = records.sparse_name().filter(|_| map.is_some()) {
            if name.contains(&0) {
                return Err(refuse("its name holds a NUL byte".to_owned()));
            }
            entry.path = name.to_vec();
        } else {
            entry.path = path;
        }
        self.current = Some(entry.path.clone());
        self.content = stored;
        self.padding = padding(stored);
        self.read_sparse(header, map, &mut entry)?;
        Ok(entry)
    }

    /// Finds the sparse map of whichever of the four kinds the entry has, and checks it.
    fn read_sparse(&mut self, header: &Header, map: Option<sparse::Map>, entry: &mut Entry) -> Result<(), Error> {
        let mut map = if header.type_flag() == b'S' {
            let mut map = sparse::Map::from_gnu(header).map_err(|reason| self.refused(reason))?;
            while map.is_extended() {
                let block = self.read_block()?.ok_or_else(|| self.truncated())?;
                map.extend_gnu(&block).map_err(|reason| self.refused(reason))?;
            }
            map
        } else {
            let Some(map) = map else { return Ok(()) };
            map
        };
        if entry.kind != EntryType::Regular {
            return Err(self.refused(format!("it is a {} with a sparse map", entry.kind)));
        }
        while map.wants_block() {
            if self.content < BLOCK as u64 {
                return Err(self.refused("its sparse map is longer than its content"));
            }
            let block = self.read_block()?.ok_or_else(|| self.truncated())?;
            self.content -= BLOCK as u64;
            map.extend_pax(&block).map_err(|reason| self.refused(reason))?;
        }
        let (size, extents) = map.finish(self.content).map_err(|reason| self.refused(reason))?;
        entry.size = size;
        entry.sparse = Some(extents);
        Ok(())
    }

    fn read_long_name(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let mut name = self.read_extension(header)?;
        // GNU ends the name with a NUL; what follows one is not part of the name.
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn read_records(&mut self, header: &Header) -> Result<Records, Error> {
        let bytes = self.read_extension(header)?;
        Records::parse(&bytes).map_err(|reason| self.refused(reason))
    }

    fn read_extension(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        self.current = Some(header.path());
        let size = header.size().map_err(|reason| self.refused(reason))?;
        if size > MAX_EXTENSION {
            let reason = format!("a long name or PAX header of {size} bytes (the limit is {MAX_EXTENSION})");
            return Err(self.refused(reason));
        }
        let mut bytes = Vec::new();
        let mut left = size;
        while left > 0 {
            let piece = match fill(&mut self.source) {
                Ok(piece) => piece,
                Err(error) => return Err(self.read_error(error)),
            };
            if piece.is_empty() {
                return Err(self.truncated());
            }
            let count = clamp(left, piece.len());
            bytes.extend_from_slice(&piece[..count]);
            self.source.consume(count);
            left -= count as u64;
        }
        self.padding = padding(size);
        self.skip_content()?;
        Ok(bytes)
    }

    /// The next header, or `None` at the end mark or where the stream ends between entries.
    fn read_header(&mut self, pending: bool) -> Result<Option<Header>, Error> {
        if self.ended {
            return Ok(None);
        }
        let Some(block) = self.read_block()? else {
            return Ok(None);
        };
        if block.iter().all(|byte| *byte == 0) {
            // The format asks for two empty blocks; tools accept one, and so the one is what ends the archive.
            self.ended = true;
            return Ok(None);
        }
        if !pending {
            self.current = None;
        }
        Header::new(&block).map(Some).map_err(|reason| self.refused(reason))
    }

    /// One block, or `None` where the stream ends before its first byte.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let piece = match fill(&mut self.source) {
                Ok(piece) => piece,
                Err(error) => return Err(self.read_error(error)),
            };
            if piece.is_empty() {
                return if filled == 0 { Ok(None) } else { Err(self.truncated()) };
            }
            let count = piece.len().min(BLOCK - filled);
            block[filled..filled + count].copy_from_slice(&piece[..count]);
            self.source.consume(count);
            filled += count;
        }
        Ok(Some(block))
    }

    fn skip_content(&mut self) -> Result<(), Error> {
        let mut left = self.content + self.padding;
        while left > 0 {
            let available = match fill(&mut self.source) {
                Ok(piece) => piece.len(),
                Err(error) => return Err(self.read_error(error)),
            };
            if available == 0 {
                if left <= self.padding {
                    // All content is there. Some tools (umoci's "insert") forget padding and end mark; whether that is good
                    // enough is for the caller to say, who knows if a digest vouches for the archive.
                    break;
                }
                return Err(self.truncated());
            }
            let count = clamp(left, available);
            self.source.consume(count);
            left -= count as u64;
        }
        self.content = 0;
        self.padding = 0;
        Ok(())
    }

    fn entry_name(&self) -> Option<String> {
        self.current.as_deref().map(escaped)
    }

    fn refused(&self, reason: impl Into<String>) -> Error {
        Error::Refused { entry: self.entry_name(), reason: reason.into() }
    }

    fn truncated(&self) -> Error {
        Error::Truncated { entry: self.entry_name() }
    }

    fn read_error(&self, source: io::Error) -> Error {
        Error::Read { entry: self.entry_name(), source }
    }
}

/// Why an entry's content could not be copied.
#[derive(Debug)]
pub enum ContentError<E> {
    /// The archive could not be read.
    Archive(Error),
    /// The sink failed.
    Sink(E),
}

/// Lists the entries of an uncompressed archive that is in memory; content is skipped.
///
/// # Errors
/// As [`Reader::next_entry`].
pub fn list(bytes: &[u8], limits: Limits) -> Result<Vec<Entry>, Error> {
    let mut reader = Reader::new(bytes, limits);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

fn fill(source: &mut impl BufRead) -> io::Result<&[u8]> {
    // Probed first, because the borrow checker cannot see that a failed attempt gives nothing out.
    loop {
        match source.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    source.fill_buf()
}

fn clamp(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

#[cfg(test)]
mod tests;
