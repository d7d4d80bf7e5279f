//! Work in progress: nothing in here is believed or seen by anybody but its owner.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};

use super::Store;
use crate::digest::{Digest, Hasher};
use crate::error::Error;
use crate::layer::remove_path;

const BUFFER: usize = 256 * 1024;

/// A directory of one command. It is removed when the command is done with it, or after the command was killed, by another one.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    _lock: OwnedFd,
    next: AtomicU64,
}

impl Staging {
    /// Makes an empty staging directory within `parent`, and removes those whose owners are gone.
    pub(super) fn create(parent: &Path) -> Result<Self, Error> {
        collect_abandoned(parent);
        let mut attempt = 0_u64;
        loop {
            attempt += 1;
            let path = parent.join(format!("{}-{}-{attempt}", std::process::id(), unique()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(Error::io("make", &path)(error)),
            }
            let Some(lock) = lock(&path, FlockOperation::LockExclusive) else {
                continue;
            };
            // Another command may have taken the directory for abandoned before it was locked.
            if still_there(&path, &lock) {
                return Ok(Self { path, _lock: lock, next: AtomicU64::new(0) });
            }
        }
    }

    /// A new name within the directory.
    pub(crate) fn new_path(&self) -> PathBuf {
        self.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// Where a blob of that digest is, if it was added.
    pub(crate) fn blob(&self, digest: Digest) -> PathBuf {
        self.path.join(digest.hex())
    }

    /// Adds a blob: copies a stream of at most `max` bytes, hashing it.
    pub(crate) fn add(&self, mut source: impl Read, max: u64) -> Result<(Digest, u64), AddError> {
        let mut writer = self.writer().map_err(AddError::Write)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(AddError::Read(error)),
            };
            if writer.size + count as u64 > max {
                let reason = format!("it is larger than {max} bytes");
                return Err(AddError::Read(io::Error::new(io::ErrorKind::InvalidData, reason)));
            }
            writer.write(&buffer[..count]).map_err(AddError::Write)?;
        }
        writer.finish().map_err(AddError::Write)
    }

    /// Begins a blob whose content comes piece by piece.
    pub(crate) fn writer(&self) -> Result<Writer<'_>, Error> {
        let path = self.new_path();
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(Error::io("make", &path))?;
        Ok(Writer { staging: self, path, file, hasher: Hasher::new(), size: 0 })
    }

    /// Opens a blob that was added.
    pub(crate) fn open(&self, digest: Digest) -> Result<File, Error> {
        open_staged(&self.blob(digest))
    }

    /// The size of a blob that was added.
    pub(crate) fn size(&self, digest: Digest) -> Result<u64, Error> {
        let path = self.blob(digest);
        Ok(fs::metadata(&path).map_err(Error::io("look at", &path))?.len())
    }

    /// Adds a blob that is in memory.
    pub(crate) fn add_bytes(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        let path = self.blob(digest);
        let mut options = fs::OpenOptions::new();
        let made = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        made.and_then(|mut file| file.write_all(bytes)).map_err(Error::io("write", &path))?;
        Ok(digest)
    }
}

/// A blob that is being added.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    staging: &'a Staging,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    size: u64,
}

impl Writer<'_> {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Gives the blob its name. Returns its digest and size.
    pub(crate) fn finish(self) -> Result<(Digest, u64), Error> {
        let digest = self.hasher.finish();
        fs::rename(&self.path, self.staging.blob(digest)).map_err(Error::io("rename", &self.path))?;
        Ok((digest, self.size))
    }
}

/// Why a blob could not be added.
#[derive(Debug)]
pub(crate) enum AddError {
    /// The source failed.
    Read(io::Error),
    /// The store failed.
    Write(Error),
}

impl Drop for Staging {
    fn drop(&mut self) {
        // If this fails, the next command that writes removes it.
        let _ = remove_path(&self.path);
    }
}

impl Store {
    pub(crate) fn staging(&self) -> Result<Staging, Error> {
        Staging::create(&self.root.join("staging"))
    }

    /// Staging directories whose owners are gone.
    pub(super) fn abandoned(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = abandoned(&self.root.join("staging")).map(|(path, _)| path).collect();
        found.sort();
        found
    }

    pub(super) fn collect_abandoned(&self) {
        collect_abandoned(&self.root.join("staging"));
    }
}

fn abandoned(parent: &Path) -> impl Iterator<Item = (PathBuf, OwnedFd)> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let path = entry.path();
        let lock = lock(&path, FlockOperation::NonBlockingLockExclusive)?;
        Some((path, lock))
    })
}

fn collect_abandoned(parent: &Path) {
    for (path, _lock) in abandoned(parent) {
        // What can't be removed now is in nobody's way.
        let _ = remove_path(&path);
    }
}

fn lock(path: &Path, operation: FlockOperation) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = open(path, flags, Mode::empty()).ok()?;
    flock(&directory, operation).ok()?;
    Some(directory)
}

fn still_there(path: &Path, lock: &OwnedFd) -> bool {
    let (Ok(by_path), Ok(by_lock)) = (fs::metadata(path), rustix::fs::fstat(lock)) else {
        return false;
    };
    (by_path.dev(), by_path.ino()) == (by_lock.st_dev, by_lock.st_ino)
}

/// Differs between calls of one process, and most likely between processes of one id in different pid namespaces.
fn unique() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("{:x}{:x}", now.as_nanos(), CALLS.fetch_add(1, Ordering::Relaxed))
}

/// Opens a staged file for reading.
pub(crate) fn open_staged(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(Error::io("open", path))
}
