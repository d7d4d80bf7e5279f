//! Makes an archive's entries, each by descriptor beneath the layer's root.
//!
//! No path of the archive is ever given to the kernel from the process' own root: a parent is opened by `openat2` beneath the
//! layer's root, and the last component is used with that descriptor only, never followed.

use std::fs::File;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat,
    chownat, fchmod, fchown, fsetxattr, ftruncate, futimens, linkat, makedev, mkdirat, mknodat, openat, openat2,
    statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::LayerError;
use super::path::{Marker, Place};
use super::tree::remove_tree;
use crate::limits::Limits;
use crate::tar::{ContentError, Entry, EntryType, Reader};

mod parent;

/// The mark of overlayfs on a directory that hides what lower layers have in it.
const OPAQUE: &str = "trusted.overlay.opaque";
const MAX_XATTR: usize = 64 * 1024;
/// What is remembered of directories until the end, to give them their times: a bound on memory, not on real archives.
const MAX_REMEMBERED: usize = 256 << 20;

/// Beneath the root, through no symbolic link whatever.
const STRICT: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Unpacks entries into one directory.
pub(super) struct Extractor {
    root: OwnedFd,
    limits: Limits,
    /// The directory of the entry before, which is most often that of the next.
    cached: Option<(Vec<u8>, OwnedFd)>,
    /// Directories and their times, set at the end because making entries in them changes these.
    directories: Vec<(Vec<u8>, Timestamps)>,
    remembered: usize,
    size: u64,
}

/// A failure without the entry's name, which [`Extractor::extract`] adds.
enum Fault {
    Refused(String),
    Kernel(&'static str, Errno),
    Other(LayerError),
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Refused(reason)
    }
}

fn kernel(doing: &'static str) -> impl Fn(Errno) -> Fault {
    move |errno| Fault::Kernel(doing, errno)
}

impl Extractor {
    pub(super) fn new(root: OwnedFd, limits: Limits) -> Self {
        Self { root, limits, cached: None, directories: Vec::new(), remembered: 0, size: 0 }
    }

    /// Makes one entry, taking its content from `reader`.
    pub(super) fn extract<R: BufRead>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<(), LayerError> {
        self.make(entry, reader).map_err(|fault| match fault {
            Fault::Refused(reason) => LayerError::Refused { entry: entry.name(), reason },
            Fault::Kernel(_, Errno::NAMETOOLONG) => LayerError::Refused {
                entry: entry.name(),
                reason: "a part of its name is longer than 255 bytes".to_owned(),
            },
            Fault::Kernel(doing, errno) => LayerError::Kernel { entry: entry.name(), doing, source: errno.into() },
            Fault::Other(error) => error,
        })
    }

    /// Gives the directories their times. Returns the bytes of file content that were unpacked.
    pub(super) fn finish(self) -> Result<u64, LayerError> {
        for (path, times) in &self.directories {
            // A later entry may have replaced the directory or one above it; then there is nothing to do.
            let Ok(directory) = openat2(&self.root, path.as_slice(), DIRECTORY, Mode::empty(), STRICT) else {
                continue;
            };
            futimens(&directory, times).map_err(|errno| LayerError::Kernel {
                entry: crate::tar::escaped(path),
                doing: "set the times of the directory",
                source: errno.into(),
            })?;
        }
        Ok(self.size)
    }

    fn make<R: BufRead>(&mut self, entry: &Entry, reader: &mut Reader<R>) -> Result<(), Fault> {
        self.size = self.size.saturating_add(entry.size);
        if self.size > self.limits.bytes {
            return Err(Fault::Refused(format!(
                "with its {} bytes the layer is larger than {} bytes",
                entry.size, self.limits.bytes
            )));
        }
        let Some(place) = Place::of_entry(&entry.path, &self.limits)? else {
            return self.make_root(entry);
        };
        let parent = self.parent(place.parent())?;
        let made = match Marker::of(place.name())? {
            Marker::Ignored => Ok(()),
            Marker::Opaque => set_opaque(&parent),
            Marker::Whiteout(hidden) => make_whiteout(&parent, hidden),
            Marker::None => match entry.kind {
                EntryType::Directory => {
                    let directory = self.make_directory(&parent, &place, entry)?;
                    self.cached = Some((place.path().to_vec(), directory));
                    return Ok(());
                }
                EntryType::Regular => make_file(&parent, &place, entry, reader),
                EntryType::SymbolicLink => make_symbolic_link(&parent, &place, entry),
                EntryType::HardLink => self.make_hard_link(&parent, &place, entry),
                EntryType::CharacterDevice => make_node(&parent, &place, entry, FileType::CharacterDevice),
                EntryType::BlockDevice => make_node(&parent, &place, entry, FileType::BlockDevice),
                EntryType::Fifo => make_node(&parent, &place, entry, FileType::Fifo),
            },
        };
        self.cached.get_or_insert_with(|| (place.parent().to_vec(), parent));
        made
    }

    /// The archive's own root directory: its owner, mode and times are the layer's.
    fn make_root(&mut self, entry: &Entry) -> Result<(), Fault> {
        if entry.kind != EntryType::Directory {
            return Err(Fault::Refused(format!("a {} cannot replace the root directory", entry.kind)));
        }
        let root = openat(&self.root, ".", DIRECTORY, Mode::empty()).map_err(kernel("open the root directory"))?;
        self.finish_directory(&root, b".", entry)
    }

    fn make_directory(&mut self, parent: &OwnedFd, place: &Place, entry: &Entry) -> Result<OwnedFd, Fault> {
        let name = place.name();
        let mut opaque = false;
        match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let present =
                    statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(kernel("look at what is there"))?;
                if FileType::from_raw_mode(present.st_mode) != FileType::Directory {
                    opaque = is_whiteout(&present);
                    clear(parent, name)?;
                    mkdirat(parent, name, Mode::RWXU).map_err(kernel("make the directory"))?;
                }
            }
            Err(errno) => return Err(Fault::Kernel("make the directory", errno)),
        }
        let directory = openat(parent, name, DIRECTORY, Mode::empty()).map_err(kernel("open the directory"))?;
        if opaque {
            set_opaque_on(&directory)?;
        }
        self.finish_directory(&directory, place.path(), entry)?;
        Ok(directory)
    }

    fn finish_directory(&mut self, directory: &OwnedFd, path: &[u8], entry: &Entry) -> Result<(), Fault> {
        set_owner_and_mode(directory, entry)?;
        set_xattrs(directory, entry)?;
        self.remembered += path.len() + size_of::<(Vec<u8>, Timestamps)>();
        if self.remembered > MAX_REMEMBERED {
            return Err(Fault::Refused("the names of the layer's directories are too long together".to_owned()));
        }
        self.directories.push((path.to_vec(), times(entry)));
        Ok(())
    }

    fn make_hard_link(&self, parent: &OwnedFd, place: &Place, entry: &Entry) -> Result<(), Fault> {
        let refuse =
            |why: &str| Fault::Refused(format!("its hard link target {:?} {why}", crate::tar::escaped(&entry.link)));
        let target = Place::of_target(&entry.link, &self.limits)?;
        let from = self.existing(target.parent())?.ok_or_else(|| refuse("is not in this layer"))?;
        let found = match statat(&from, target.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Err(refuse("is not in this layer")),
            Err(errno) => return Err(Fault::Kernel("look at the hard link's target", errno)),
        };
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Err(refuse("is a directory"));
        }
        let link = || linkat(&from, target.name(), parent, place.name(), AtFlags::empty());
        match link() {
            Err(Errno::EXIST) => {
                let present =
                    statat(parent, place.name(), AtFlags::SYMLINK_NOFOLLOW).map_err(kernel("look at what is there"))?;
                if (present.st_dev, present.st_ino) == (found.st_dev, found.st_ino) {
                    return Ok(());
                }
                clear(parent, place.name())?;
                match link() {
                    // The target was within the directory that this entry replaces.
                    Err(Errno::NOENT) => Err(refuse("is in what the entry replaces")),
                    other => other.map_err(kernel("make the hard link")),
                }
            }
            other => other.map_err(kernel("make the hard link")),
        }
    }
}

/// Owners and modes are always set, because what the creating calls give depends on the caller's umask and on set-group-id parents.
fn set_owner_and_mode(file: impl AsFd, entry: &Entry) -> Result<(), Fault> {
    let file = file.as_fd();
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    fchown(file, Some(uid), Some(gid)).map_err(kernel("set the owner"))?;
    fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(kernel("set the mode"))
}

fn set_ownership(parent: &OwnedFd, name: &[u8], uid: u32, gid: u32) -> Result<(), Fault> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(kernel("set the owner"))
}

/// Removes what an earlier entry made under this name.
fn clear(parent: &OwnedFd, name: &[u8]) -> Result<(), Fault> {
    remove_tree(parent.as_fd(), name).map_err(kernel("remove what an earlier entry of that name made"))
}

/// Makes a name; if there is something of that name already, it is removed and the name made again.
fn replacing(
    parent: &OwnedFd,
    name: &[u8],
    doing: &'static str,
    make: impl Fn() -> Result<(), Errno>,
) -> Result<(), Fault> {
    match make() {
        Err(Errno::EXIST) => {
            clear(parent, name)?;
            make().map_err(kernel(doing))
        }
        other => other.map_err(kernel(doing)),
    }
}

fn make_file<R: BufRead>(parent: &OwnedFd, place: &Place, entry: &Entry, reader: &mut Reader<R>) -> Result<(), Fault> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let private = Mode::RUSR | Mode::WUSR;
    let file = match openat(parent, place.name(), flags, private) {
        Err(Errno::EXIST) => {
            clear(parent, place.name())?;
            openat(parent, place.name(), flags, private)
        }
        other => other,
    };
    let file = File::from(file.map_err(kernel("make the file"))?);
    let written = reader.read_content(entry, |offset, bytes| file.write_all_at(bytes, offset));
    written.map_err(|error| match error {
        ContentError::Archive(error) => Fault::Other(error.into()),
        ContentError::Sink(source) => {
            Fault::Other(LayerError::Kernel { entry: entry.name(), doing: "write the file", source })
        }
    })?;
    if entry.sparse.is_some() {
        ftruncate(&file, entry.size).map_err(kernel("set the size of the file"))?;
    }
    // The owner first: changing it takes set-id bits and file capabilities away.
    set_owner_and_mode(&file, entry)?;
    set_xattrs(&file, entry)?;
    futimens(&file, &times(entry)).map_err(kernel("set the times of the file"))
}

fn make_symbolic_link(parent: &OwnedFd, place: &Place, entry: &Entry) -> Result<(), Fault> {
    let (name, target) = (place.name(), entry.link.as_slice());
    if target.is_empty() {
        return Err(Fault::Refused("it is a symbolic link to nothing".to_owned()));
    }
    replacing(parent, name, "make the symbolic link", || symlinkat(target, parent, name))?;
    set_ownership(parent, name, entry.uid, entry.gid)?;
    utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(kernel("set the times of the symbolic link"))
}

fn make_node(parent: &OwnedFd, place: &Place, entry: &Entry, kind: FileType) -> Result<(), Fault> {
    let name = place.name();
    let device = makedev(entry.major, entry.minor);
    replacing(parent, name, "make the device or pipe", || mknodat(parent, name, kind, Mode::empty(), device))?;
    set_ownership(parent, name, entry.uid, entry.gid)?;
    // Followed only in form: the name was made above, in a directory that is nobody else's.
    chmodat(parent, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())
        .map_err(kernel("set the mode of the device or pipe"))?;
    utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(kernel("set the times of the device or pipe"))
}

/// True for overlayfs' mark of a removed entry: the character device 0:0.
fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn make_whiteout(parent: &OwnedFd, name: &[u8]) -> Result<(), Fault> {
    match mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0)) {
        // The layer itself has such an entry. Whiteouts speak of lower layers only, so it stays; a directory hides what is below.
        Err(Errno::EXIST) => match openat(parent, name, DIRECTORY, Mode::empty()) {
            Ok(directory) => set_opaque_on(&directory),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(errno) => Err(Fault::Kernel("open the directory", errno)),
        },
        other => other.map_err(kernel("make the whiteout")),
    }
}

fn set_opaque(directory: &OwnedFd) -> Result<(), Fault> {
    // The descriptor of a parent may be for walking only.
    let directory = openat(directory, ".", DIRECTORY, Mode::empty()).map_err(kernel("open the directory"))?;
    set_opaque_on(&directory)
}

fn set_opaque_on(directory: &OwnedFd) -> Result<(), Fault> {
    fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty()).map_err(kernel("mark the directory opaque"))
}

/// Sets the attributes that an image may carry. Others are dropped: they belong to this host's overlayfs or security modules.
fn set_xattrs(file: impl AsFd, entry: &Entry) -> Result<(), Fault> {
    for (name, value) in &entry.xattrs {
        let carried = match name.as_slice() {
            b"security.capability" => entry.kind == EntryType::Regular,
            b"system.posix_acl_access" | b"system.posix_acl_default" => true,
            // Overlayfs without privileges keeps its own marks here.
            name => name.starts_with(b"user.") && !name.starts_with(b"user.overlay."),
        };
        if !carried {
            continue;
        }
        if value.len() > MAX_XATTR {
            return Err(Fault::Refused(format!(
                "its attribute {:?} is longer than {MAX_XATTR} bytes",
                crate::tar::escaped(name)
            )));
        }
        fsetxattr(file.as_fd(), name.as_slice(), value, XattrFlags::empty())
            .map_err(kernel("set its extended attributes"))?;
    }
    Ok(())
}

fn times(entry: &Entry) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: entry.mtime, tv_nsec: entry.mtime_nanoseconds.into() },
    }
}
