//! What an archive or layout holds, staged: every file hashed and copied, nothing believed yet.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

use crate::compression::{Compression, Decoder};
use crate::digest::Digest;
use crate::document::{Descriptor, MAX_DOCUMENT};
use crate::error::Error;
use crate::layer::LayerError;
use crate::limits::Limits;
use crate::store::{AddError, Staging};
use crate::tar::{self, ContentError, Entry, EntryType, Reader};

/// An archive of images holds a few files per layer; more are a bomb.
const MAX_FILES: u64 = 100_000;
const MAX_LINKS: usize = 8;
const BUFFER: usize = 256 * 1024;

/// A staged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Item {
    File(Blob),
    Link(Vec<u8>),
}

#[derive(Debug)]
enum Origin {
    Archive(BTreeMap<Vec<u8>, Item>),
    Directory { path: PathBuf, root: OwnedFd },
}

/// The files of an archive or layout.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) staging: &'a Staging,
    origin: Origin,
    limits: Limits,
}

impl<'a> Contents<'a> {
    /// Copies all files of an archive into the staging directory.
    pub(super) fn from_archive(
        staging: &'a Staging,
        stream: Box<dyn Read + Send>,
        limits: Limits,
    ) -> Result<Self, Error> {
        let decoder = Decoder::new(stream, limits).map_err(|source| layer_error(LayerError::Stream(source)))?;
        let limits_of_files = Limits { entries: MAX_FILES, ..limits };
        let mut reader = Reader::new(BufReader::with_capacity(BUFFER, decoder), limits_of_files);
        let mut items = BTreeMap::new();
        while let Some(entry) = reader.next_entry().map_err(archive_error)? {
            let item = match entry.kind {
                EntryType::Directory => continue,
                EntryType::Regular => Item::File(stage(staging, &entry, &mut reader)?),
                EntryType::SymbolicLink => {
                    Item::Link(follow(&entry.path, &entry.link).ok_or_else(|| leads_out(&entry))?)
                }
                EntryType::HardLink => Item::Link(normal(&entry.link).ok_or_else(|| leads_out(&entry))?),
                kind => {
                    return Err(Error::Archive(format!("entry {:?} is a {kind}", entry.name())));
                }
            };
            let name = normal(&entry.path).ok_or_else(|| leads_out(&entry))?;
            if let Some(earlier) = items.get(&name)
                && *earlier != item
            {
                // Which of them holds depends on the reader: two tools would see two images.
                return Err(Error::Archive(format!("entry {:?} is there twice, and differs", entry.name())));
            }
            items.insert(name, item);
        }
        // The rest of the stream is read so that a pipe's writer ends well, and a compressed stream's checksum is verified.
        std::io::copy(&mut reader.into_source(), &mut std::io::sink())
            .map_err(|source| layer_error(LayerError::Stream(source)))?;
        Ok(Self { staging, origin: Origin::Archive(items), limits })
    }

    pub(super) fn from_directory(staging: &'a Staging, path: &Path, limits: Limits) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(path, flags, Mode::empty()).map_err(Error::os("open", path))?;
        let path = path.to_owned();
        Ok(Self { staging, origin: Origin::Directory { path, root }, limits })
    }

    /// The layout's directory name: what its author called it.
    pub(super) fn directory_name(&self) -> Option<&str> {
        match &self.origin {
            Origin::Archive(_) => None,
            Origin::Directory { path, .. } => path.file_name()?.to_str(),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match &self.origin {
            Origin::Archive(items) => items.contains_key(name.as_bytes()),
            Origin::Directory { root, .. } => open_beneath(root, name).is_ok(),
        }
    }

    /// A file by the name it has in the archive.
    pub(super) fn file(&self, name: &str) -> Result<Blob, Error> {
        let missing = || Error::Archive(format!("it lacks {name:?}"));
        let items = match &self.origin {
            Origin::Directory { .. } => return self.copy(name, self.limits.bytes)?.ok_or_else(missing),
            Origin::Archive(items) => items,
        };
        let mut wanted = normal(name.as_bytes()).ok_or_else(missing)?;
        for _ in 0..MAX_LINKS {
            match items.get(&wanted) {
                Some(Item::File(blob)) => return Ok(*blob),
                Some(Item::Link(target)) => wanted.clone_from(target),
                None => return Err(missing()),
            }
        }
        Err(Error::Archive(format!("{name:?} is behind too many links")))
    }

    /// A document by the name it has in the archive.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>, Error> {
        let blob = self.file(name)?;
        self.read(blob, name)
    }

    /// The content of a staged document.
    pub(super) fn read(&self, blob: Blob, name: &str) -> Result<Vec<u8>, Error> {
        if blob.size > MAX_DOCUMENT {
            return Err(Error::Archive(format!("{name:?} is larger than {MAX_DOCUMENT} bytes")));
        }
        let path = self.staging.blob(blob.digest);
        std::fs::read(&path).map_err(Error::io("read", &path))
    }

    /// A blob of an OCI layout: there, of the size and with the digest that its descriptor says.
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        let name = format!("blobs/sha256/{}", descriptor.digest.hex());
        let blob = match &self.origin {
            Origin::Archive(_) => self.file(&name)?,
            Origin::Directory { .. } => {
                let copied = self.copy(&name, descriptor.size)?;
                copied.ok_or_else(|| Error::Archive(format!("it lacks {name:?}")))?
            }
        };
        if blob.digest != descriptor.digest {
            return Err(Error::Archive(format!("{name:?} has the digest {}", blob.digest)));
        }
        if blob.size != descriptor.size {
            return Err(Error::Archive(format!(
                "{name:?} has {} bytes, its descriptor says {}",
                blob.size, descriptor.size
            )));
        }
        Ok(blob)
    }

    /// How a staged blob is compressed.
    pub(super) fn compression(&self, blob: Blob) -> Result<Compression, Error> {
        super::sniff(&self.staging.blob(blob.digest))
    }

    fn copy(&self, name: &str, max: u64) -> Result<Option<Blob>, Error> {
        let Origin::Directory { path, root } = &self.origin else {
            return Ok(None);
        };
        let file = match open_beneath(root, name) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::os("open", &path.join(name))(errno)),
        };
        let metadata = file.metadata().map_err(Error::io("look at", &path.join(name)))?;
        if !metadata.is_file() {
            return Err(Error::Archive(format!("{name:?} is not a file")));
        }
        let (digest, size) = self.staging.add(file, max).map_err(|error| match error {
            AddError::Read(source) if source.raw_os_error().is_none() => Error::Archive(format!("{name:?}: {source}")),
            AddError::Read(source) => Error::io("read", &path.join(name))(source),
            AddError::Write(error) => error,
        })?;
        Ok(Some(Blob { digest, size }))
    }
}

/// Opens a file of a layout that may be anybody's: no link leads out of it, no pipe makes us wait.
fn open_beneath(root: &OwnedFd, name: &str) -> Result<File, rustix::io::Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(root, name, flags, Mode::empty(), resolve).map(File::from)
}

fn stage(staging: &Staging, entry: &Entry, reader: &mut Reader<BufReader<Decoder>>) -> Result<Blob, Error> {
    if entry.sparse.is_some() {
        return Err(Error::Archive(format!("entry {:?} is sparse", entry.name())));
    }
    let mut writer = staging.writer()?;
    reader.read_content(entry, |_, bytes| writer.write(bytes)).map_err(|error| match error {
        ContentError::Archive(error) => archive_error(error),
        ContentError::Sink(error) => error,
    })?;
    let (digest, size) = writer.finish()?;
    Ok(Blob { digest, size })
}

fn leads_out(entry: &Entry) -> Error {
    Error::Archive(format!("entry {:?} leads out of the archive", entry.name()))
}

fn archive_error(error: tar::Error) -> Error {
    layer_error(LayerError::Archive(error))
}

fn layer_error(source: LayerError) -> Error {
    Error::Layer { context: "the archive".to_owned(), source }
}

/// A name without empty parts and `.`; `None` if it climbs with `..` or is absolute.
fn normal(name: &[u8]) -> Option<Vec<u8>> {
    if name.starts_with(b"/") {
        return None;
    }
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    (!parts.contains(&&b".."[..])).then(|| parts.join(&b'/'))
}

/// Where a symbolic link of the archive leads, within the archive. `docker save` writes `../<id>/layer.tar` for a layer that is there
/// already.
fn follow(name: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let directory = name.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |at| &name[..at]);
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in directory.split(|byte| *byte == b'/').chain(target.split(|byte| *byte == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_within_the_archive() {
        assert_eq!(follow(b"a/layer.tar", b"../b/layer.tar"), Some(b"b/layer.tar".to_vec()));
        assert_eq!(follow(b"./a/layer.tar", b"x"), Some(b"a/x".to_vec()));
        assert_eq!(follow(b"a/layer.tar", b"../../etc/passwd"), None);
        assert_eq!(follow(b"a", b"/etc/passwd"), None);
        assert_eq!(normal(b"./a//b"), Some(b"a/b".to_vec()));
        assert_eq!(normal(b"a/../b"), None);
        assert_eq!(normal(b"/a"), None);
    }
}
