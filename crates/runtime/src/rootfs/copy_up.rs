//! `tmpcopyup`: what the image has at a mount point, copied into the new file system before it is attached.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::error::{Error, Step};

/// How deep directories may be: each holds two descriptors.
const DEPTH: usize = 64;

/// Copies directories, files with their holes and hard links, symbolic links and FIFOs, with owner, mode, times and
/// extended attributes. Sockets are nothing without who listens, and device files are for `linux.devices`.
///
/// The source is read by descriptors that are known to be what was looked at; the new file system is not attached yet, so
/// that nobody else is in it.
pub(super) fn copy_up(from: &OwnedFd, to: &OwnedFd) -> Result<(), Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, ".", flags, Mode::empty()).step("tmpcopyup")?;
    Copy { root: to, known: BTreeMap::new() }.directory(&source, to, Path::new("")).step("tmpcopyup")
}

struct Copy<'a> {
    root: &'a OwnedFd,
    /// Files with several names, by file system and number: where the first one is in the copy.
    known: BTreeMap<(u64, u64), PathBuf>,
}

impl Copy<'_> {
    fn directory(&mut self, from: &OwnedFd, to: &OwnedFd, path: &Path) -> Result<(), Errno> {
        if path.components().count() > DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        for entry in rustix::fs::Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if name.to_bytes() != b"." && name.to_bytes() != b".." {
                match self.entry(from, to, name, path) {
                    // Taken away meanwhile.
                    Err(Errno::NOENT) => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, path: &Path) -> Result<(), Errno> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let place = path.join(OsStr::from_bytes(name.to_bytes()));
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.known.get(&(stat.st_dev, stat.st_ino)) {
                return rustix::fs::linkat(self.root, first, to, name, AtFlags::empty());
            }
            self.known.insert((stat.st_dev, stat.st_ino), place.clone());
        }
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match kind {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, mode)?;
                let below = rustix::fs::openat(from, name, flags | OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
                let made = rustix::fs::openat(to, name, flags | OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
                self.directory(&below, &made, &place)?;
                copy_attributes(&below, &made)?;
                give(&made, &stat, mode)
            }
            FileType::RegularFile => {
                let read = rustix::fs::openat(from, name, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
                let opened = rustix::fs::fstat(&read)?;
                if FileType::from_raw_mode(opened.st_mode) != FileType::RegularFile {
                    return Ok(());
                }
                let write = rustix::fs::openat(to, name, flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)?;
                copy_content(&read, &write, opened.st_size)?;
                copy_attributes(&read, &write)?;
                give(&write, &opened, mode)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(&target, to, name)?;
                own(to, name, &stat)
            }
            FileType::Fifo => {
                rustix::fs::mknodat(to, name, FileType::Fifo, mode, 0)?;
                own(to, name, &stat)
            }
            _ => Ok(()),
        }
    }
}

/// The content, piece by piece between its holes.
fn copy_content(from: &OwnedFd, to: &OwnedFd, size: i64) -> Result<(), Errno> {
    let mut position = 0_u64;
    loop {
        let data = match rustix::fs::seek(from, rustix::fs::SeekFrom::Data(position)) {
            Ok(data) => data,
            // Nothing but a hole is left.
            Err(Errno::NXIO) => break,
            // A file system without holes.
            Err(Errno::INVAL) => position,
            Err(errno) => return Err(errno),
        };
        let end = rustix::fs::seek(from, rustix::fs::SeekFrom::Hole(data)).unwrap_or(u64::MAX);
        rustix::fs::seek(to, rustix::fs::SeekFrom::Start(data))?;
        position = data;
        let mut offset = data;
        while offset < end {
            let most = usize::try_from((end - offset).min(1 << 20)).unwrap_or(1 << 20);
            if rustix::fs::sendfile(to, from, Some(&mut offset), most)? == 0 {
                break;
            }
        }
        if offset <= position {
            break;
        }
        position = offset;
    }
    rustix::fs::ftruncate(to, u64::try_from(size).unwrap_or(0).max(rustix::fs::fstat(to)?.st_size.unsigned_abs()))
}

/// Extended attributes, as far as the new file system has them and the container may set them.
fn copy_attributes(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    // XATTR_LIST_MAX and XATTR_SIZE_MAX of xattr(7).
    let mut names = vec![0_u8; 1 << 16];
    let length = match rustix::fs::flistxattr(from, &mut names) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    };
    let mut value = vec![0_u8; 1 << 16];
    let names = names.get(..length).unwrap_or_default();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let read = match rustix::fs::fgetxattr(from, name, &mut value) {
            Ok(length) => value.get(..length).unwrap_or_default(),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS) => continue,
            Err(errno) => return Err(errno),
        };
        match rustix::fs::fsetxattr(to, name, read, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn owners(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

/// Owner, mode and times; the mode after the owner, whose change clears the set-id bits.
fn give(made: &OwnedFd, stat: &Stat, mode: Mode) -> Result<(), Errno> {
    let (uid, gid) = owners(stat);
    rustix::fs::fchown(made, uid, gid)?;
    rustix::fs::fchmod(made, mode)?;
    rustix::fs::futimens(made, &times(stat))
}

fn own(directory: &OwnedFd, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = owners(stat);
    rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::utimensat(directory, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

fn times(stat: &Stat) -> Timestamps {
    let time =
        |seconds: i64, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanoseconds).unwrap_or(0) };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}
