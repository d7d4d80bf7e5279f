//! The store of images: an OCI image layout, and each layer unpacked once beside it.
//!
//! ```text
//! images/oci-layout, index.json, blobs/sha256/<hex>     readable by other tools
//! layers/<diff-id hex>/fs                                unpacked, shared by all images, never written after
//! layers/skeleton/fs                                     the mount points that every container needs
//! staging/<name>/                                        work in progress, removed when its owner ends or is gone
//! ```
//!
//! There is no daemon and no lock is held while bytes move: everything is prepared in `staging`, flushed, and then put in place by
//! renames under an advisory lock on `images`, the index last. Whoever reads needs no lock. What a killed command leaves is either
//! unreferenced or in `staging`, and goes with the next command that writes or with `check`.

mod blob;
mod check;
mod commit;
mod index;
mod probe;
mod references;
mod resolve;
mod skeleton;
mod snapshot;
mod staging;
mod view;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, IFlags, Mode, OFlags, flock, ioctl_getflags, ioctl_setflags, open};

pub use check::{Problem, Report};
pub(crate) use commit::{Addition, LayerPart, unpack_into};
pub(crate) use index::{CONTAINERD_NAME, REF_NAME};
pub(crate) use references::check_tag;
pub(crate) use staging::{AddError, Staging};
pub use view::{Entry, EntryKind};

use crate::digest::DiffId;
use crate::error::Error;
use crate::limits::Limits;

const SKELETON: &str = "skeleton";

/// The images of one data directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    images: OwnedFd,
    blobs: OwnedFd,
    limits: Limits,
}

impl Store {
    /// Opens the store beneath `root`, making it (mode 0700) if there is none.
    ///
    /// # Errors
    /// [`Error::Io`] when a directory can't be made or opened.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let images = root.join("images");
        // Made last, so that where it is everything is.
        let blobs = images.join("blobs/sha256");
        let directory = match open_directory(&blobs) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::make(root)?;
                open_directory(&blobs)
            }
            other => other,
        };
        Ok(Self {
            root: root.to_owned(),
            images: open_directory(&images).map_err(Error::io("open", &images))?,
            blobs: directory.map_err(Error::io("open", &blobs))?,
            limits: Limits::default(),
        })
    }

    /// The same store with other bounds on what archives may cost.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The directory that the store was opened with.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an unpacked layer is. It exists for every layer of an image that [`Store::snapshot_layers`] was asked about.
    pub fn layer(&self, id: &DiffId) -> PathBuf {
        self.layer_directory(id).join("fs")
    }

    /// The shared lowest layer of every container: the mount points that all of them need, so that a read-only container needs no
    /// directory of its own.
    pub fn skeleton(&self) -> PathBuf {
        self.layers().join(SKELETON).join("fs")
    }

    fn make(root: &Path) -> Result<(), Error> {
        for directory in ["", "images", "layers", "staging"] {
            let path = root.join(directory);
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&path).map_err(Error::io("make", &path))?;
        }
        // Parents were made by the umask; the store's own mode must not depend on it.
        for directory in ["images", "layers", "staging"] {
            let path = root.join(directory);
            rustix::fs::chmod(&path, Mode::RWXU).map_err(Error::os("protect", &path))?;
        }
        spread(&root.join("staging"));
        skeleton::make(root)?;
        index::make(&root.join("images"))?;
        let blobs = root.join("images/blobs/sha256");
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&blobs).map_err(Error::io("make", &blobs))
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    fn layer_directory(&self, id: &DiffId) -> PathBuf {
        self.layers().join(id.0.hex())
    }

    /// Waits until no other command changes the index. The lock ends with the guard, or with the process.
    fn lock(&self) -> Result<Lock, Error> {
        let path = self.images();
        // A description of its own: the lock would otherwise be shared by all threads that use this store.
        let directory = open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(Error::os("open", &path))?;
        loop {
            match flock(&directory, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Lock(directory)),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::os("lock", &path)(errno)),
            }
        }
    }
}

/// Asks ext4 to put each directory made in `path` into a block group of its own choice, as it does for the top of a file system.
///
/// Layers are made in staging directories. In one group for all of them, ext4 steps over every inode that was freed during the last
/// minutes before it finds one to use: after an image was removed, unpacking the next was measured to take ten times as long.
fn spread(path: &Path) {
    let Ok(directory) = open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else {
        return;
    };
    // Where the file system knows no such wish, nothing is lost but the speed.
    if let Ok(flags) = ioctl_getflags(&directory) {
        let _ = ioctl_setflags(&directory, flags | IFlags::TOPDIR);
    }
}

/// Exclusive right to change the index, blobs and layers in place.
#[derive(Debug)]
struct Lock(#[allow(dead_code, reason = "held for its lock, which ends when it is closed")] OwnedFd);

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

#[cfg(test)]
mod tests;
