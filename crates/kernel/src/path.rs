//! Paths inside a container's tree: resolved by descriptor beneath its root, never as strings of the host.
//!
//! Everything here goes through `openat2(2)` with `RESOLVE_IN_ROOT`: an absolute symbolic link, a `..`, or a directory
//! that is exchanged meanwhile cannot lead out (CVE-2021-30465, CVE-2024-45310); magic links of procfs are refused
//! (CVE-2024-21626).

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, Result};

/// What to make when a path does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: `ENOENT`.
    Fail,
    /// Directories, all the way (mode 0755).
    Directory,
    /// Directories up to the last name, which becomes an empty file (mode 0644).
    File,
}

/// How many times a resolution is tried again when a rename elsewhere made it uncertain (`EAGAIN`).
const RETRIES: usize = 32;

/// Opens a path beneath `root` as if `root` were `/`.
pub fn open_in_root(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let root = root.as_fd();
    open_resolved(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens a path beneath `directory` without leaving the mount it is on and without following any link: the way to a
/// file of a procfs that nothing may have been mounted over (CVE-2025-52881).
pub fn open_beneath_same_mount(directory: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let strict =
        ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    open_resolved(directory.as_fd(), path, flags, strict)
}

fn open_resolved(root: BorrowedFd<'_>, path: &Path, flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd> {
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if tries < RETRIES => tries += 1,
            other => {
                return other.call(|| format!("openat2([{}], {path:?}, {flags:?}, {resolve:?})", root.as_raw_fd()));
            }
        }
    }
}

/// Opens a path beneath `root`, to mount on, making what is missing of it.
///
/// Each missing part is made with `mkdirat` in a directory that is held open, and is opened again beneath the root:
/// nothing can be made outside. A symbolic link whose target is missing is `ENOENT`.
pub fn open_or_create(root: impl AsFd, path: &Path, missing: Missing) -> Result<OwnedFd> {
    let root = root.as_fd();
    match open_in_root(root, path, OFlags::PATH) {
        Err(error) if error.errno() == Errno::NOENT && missing != Missing::Fail => create(root, path, missing),
        other => other,
    }
}

fn create(root: BorrowedFd<'_>, path: &Path, missing: Missing) -> Result<OwnedFd> {
    let names: Vec<&OsStr> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Error::new(format!("create({path:?}) beneath [{}]", root.as_raw_fd()), Errno::INVAL));
    }
    // The part that exists is opened as far as it goes with links followed in the root; what is missing is made there.
    let mut existing = names.len();
    let mut directory = loop {
        existing = existing
            .checked_sub(1)
            .ok_or_else(|| Error::new(format!("create({path:?}) beneath [{}]", root.as_raw_fd()), Errno::NOENT))?;
        let prefix: std::path::PathBuf =
            std::iter::once(OsStr::new("/")).chain(names[..existing].iter().copied()).collect();
        match open_in_root(root, &prefix, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(directory) => break directory,
            Err(error) if error.errno() == Errno::NOENT && existing > 0 => {}
            Err(error) => return Err(error),
        }
    };
    for (index, name) in names.iter().enumerate().skip(existing) {
        let last = index + 1 == names.len();
        let at = directory.as_fd();
        let call = |what: &str| format!("{what}([{}], {name:?})", at.as_raw_fd());
        if last && missing == Missing::File {
            return create_in(at, name);
        }
        match rustix::fs::mkdirat(at, *name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::new(call("mkdirat"), errno)),
        }
        directory = open_child(at, name, OFlags::PATH | OFlags::DIRECTORY)?;
    }
    Ok(directory)
}

/// Opens a plain name in a directory that is held, to mount on, making an empty file when there is none.
pub fn create_in(directory: impl AsFd, name: &OsStr) -> Result<OwnedFd> {
    let at = directory.as_fd();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(at, name, flags, Mode::from_raw_mode(0o644)) {
        // A descriptor of the very file just made is as good a target as one that only names it.
        Ok(file) => Ok(file),
        Err(Errno::EXIST) => open_child(at, name, OFlags::PATH),
        Err(errno) => Err(Error::new(format!("openat([{}], {name:?}, {flags:?})", at.as_raw_fd()), errno)),
    }
}

/// Opens a name just made in a directory: no link, whatever somebody may have put in its place meanwhile.
fn open_child(directory: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    open_resolved(directory, Path::new(name), flags, resolve)
}

/// Reads a regular file beneath `root`, of at most `limit` bytes.
///
/// Never blocks and never reads a device or pipe that an image put in its place (CVE-2024-9676).
///
/// # Errors
/// `ENOENT`; `EINVAL` when it is no regular file; `EFBIG` when it is larger.
pub fn read_in_root(root: impl AsFd, path: &Path, limit: usize) -> Result<Vec<u8>> {
    let fd = open_in_root(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let stat = rustix::fs::fstat(&fd).call(|| format!("fstat({path:?})"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::new(format!("read({path:?}): not a regular file"), Errno::INVAL));
    }
    let mut content = Vec::new();
    File::from(fd).take(limit as u64 + 1).read_to_end(&mut content).call(|| format!("read({path:?})"))?;
    if content.len() > limit {
        return Err(Error::new(format!("read({path:?}): more than {limit} bytes"), Errno::FBIG));
    }
    Ok(content)
}

/// Whether a descriptor is of a directory.
pub fn is_directory(fd: impl AsFd) -> Result<bool> {
    Ok(file_type(fd.as_fd())? == FileType::Directory)
}

/// Whether a descriptor is on a procfs.
pub fn is_proc(fd: impl AsFd) -> bool {
    // PROC_SUPER_MAGIC of statfs(2).
    rustix::fs::fstatfs(fd.as_fd()).is_ok_and(|stat| stat.f_type == 0x9fa0)
}

/// The kind of file behind a descriptor.
pub fn file_type(fd: BorrowedFd<'_>) -> Result<FileType> {
    rustix::fs::fstat(fd)
        .call(|| format!("fstat([{}])", fd.as_raw_fd()))
        .map(|stat| FileType::from_raw_mode(stat.st_mode))
}

/// Whether a descriptor is of the character device `major`:`minor`.
pub fn is_character_device(fd: BorrowedFd<'_>, major: u32, minor: u32) -> Result<bool> {
    let stat = rustix::fs::fstat(fd).call(|| format!("fstat([{}])", fd.as_raw_fd()))?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && rustix::fs::major(stat.st_rdev) == major
        && rustix::fs::minor(stat.st_rdev) == minor)
}

/// Makes a symbolic link in a directory; one that is there already stays.
pub fn symlink(target: &str, directory: impl AsFd, name: &str) -> Result<()> {
    match rustix::fs::symlinkat(target, directory.as_fd(), name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => {
            Err(Error::new(format!("symlinkat({target:?}, [{}], {name:?})", directory.as_fd().as_raw_fd()), errno))
        }
    }
}

/// Whether two descriptors are of the same file.
pub fn same_file(a: impl AsFd, b: impl AsFd) -> Result<bool> {
    crate::namespace::same(a, b)
}

/// Makes `directory` the working directory and returns its path as the kernel names it.
///
/// # Errors
/// `ENOENT` when the directory is outside the process's root: the kernel then names it `(unreachable)…`, and a process
/// that stays there has left the container (CVE-2024-21626).
pub fn change_directory(directory: impl AsFd) -> Result<Vec<u8>> {
    let fd = directory.as_fd();
    rustix::process::fchdir(fd).call(|| format!("fchdir([{}])", fd.as_raw_fd()))?;
    let name = rustix::process::getcwd(Vec::new()).call(|| "getcwd()".into())?.into_bytes();
    if name.first() != Some(&b'/') {
        let shown = OsStr::from_bytes(&name).to_string_lossy().into_owned();
        return Err(Error::new(format!("getcwd() = {shown:?}: outside the root"), Errno::NOENT));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink as std_symlink;

    struct Dir(std::path::PathBuf);
    impl Dir {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("casemate-path-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
        fn fd(&self) -> OwnedFd {
            File::open(&self.0).unwrap().into()
        }
    }
    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn an_absolute_link_stays_in_the_root() {
        let dir = Dir::new("absolute");
        std_symlink("/etc", dir.0.join("link")).unwrap();
        let error = open_in_root(dir.fd(), Path::new("/link/passwd"), OFlags::PATH).unwrap_err();
        assert_eq!(error.errno(), Errno::NOENT);
    }

    #[test]
    fn missing_directories_are_made_inside_only() {
        let dir = Dir::new("make");
        std_symlink("/made", dir.0.join("link")).unwrap();
        std::fs::create_dir(dir.0.join("made")).unwrap();
        open_or_create(dir.fd(), Path::new("/link/a/b"), Missing::Directory).unwrap();
        assert!(dir.0.join("made/a/b").is_dir());
        open_or_create(dir.fd(), Path::new("/made/c/file"), Missing::File).unwrap();
        assert!(dir.0.join("made/c/file").is_file());
    }

    #[test]
    fn a_dangling_link_is_not_created_through() {
        let dir = Dir::new("dangling");
        std_symlink("/nowhere/x", dir.0.join("link")).unwrap();
        assert!(open_or_create(dir.fd(), Path::new("/link"), Missing::File).is_err());
        assert!(!dir.0.join("nowhere").exists());
    }

    #[test]
    fn parents_in_a_path_to_create_are_refused() {
        let dir = Dir::new("parents");
        let error = open_or_create(dir.fd(), Path::new("/x/../y"), Missing::Directory).unwrap_err();
        assert_eq!(error.errno(), Errno::INVAL);
    }

    #[test]
    fn only_regular_files_are_read_and_not_too_large_ones() {
        let dir = Dir::new("read");
        std::fs::write(dir.0.join("f"), b"12345").unwrap();
        assert_eq!(read_in_root(dir.fd(), Path::new("/f"), 5).unwrap(), b"12345");
        assert_eq!(read_in_root(dir.fd(), Path::new("/f"), 4).unwrap_err().errno(), Errno::FBIG);
        assert_eq!(read_in_root(dir.fd(), Path::new("/"), 4).unwrap_err().errno(), Errno::INVAL);
    }
}
