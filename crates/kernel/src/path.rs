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
use std::path::{Component, Path, PathBuf};

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

/// Opens a path beneath `root` as [`open_in_root`], but with no symbolic link on the way: `ELOOP` for one.
pub fn open_plain_in_root(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let strict = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    open_resolved(root.as_fd(), path, flags, strict)
}

/// Opens a path beneath `root`, to mount on, making what is missing of it.
///
/// Each missing part is made with `mkdirat` in a directory that is held open, and is opened again beneath the root:
/// nothing can be made outside. What a symbolic link leads to is made where it leads inside `root`.
pub fn open_or_create(root: impl AsFd, path: &Path, missing: Missing) -> Result<OwnedFd> {
    let root = root.as_fd();
    match open_in_root(root, path, OFlags::PATH) {
        Err(error) if error.errno() == Errno::NOENT && missing != Missing::Fail => create(root, path, missing),
        other => other,
    }
}

/// How many dangling links are followed in one path: what the kernel allows of any kind (`path_resolution(7)`).
const LINKS: usize = 40;

/// The second half of [`open_or_create`], for a path that is known to be missing.
///
/// # Errors
/// `EINVAL` for a `..` after what is missing; `ELOOP` when links lead in a circle.
pub fn create(root: impl AsFd, path: &Path, missing: Missing) -> Result<OwnedFd> {
    let root = root.as_fd();
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match create_up_to_a_link(root, &path, missing)? {
            Made::All(opened) => return Ok(opened),
            Made::Link(next) => path = next,
        }
    }
    Err(Error::new(format!("create({path:?}) beneath [{}]", root.as_raw_fd()), Errno::LOOP))
}

enum Made {
    All(OwnedFd),
    /// The same path with a dangling link in it replaced by what it says.
    Link(PathBuf),
}

fn create_up_to_a_link(root: BorrowedFd<'_>, path: &Path, missing: Missing) -> Result<Made> {
    let fail = |errno| Error::new(format!("create({path:?}) beneath [{}]", root.as_raw_fd()), errno);
    let names: Vec<&OsStr> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            Component::ParentDir => Some(OsStr::new("..")),
            _ => None,
        })
        .collect();
    // The part that exists is opened as far as it goes with links followed in the root; what is missing is made there.
    let mut existing = names.len();
    let prefix = |length: usize| -> PathBuf {
        std::iter::once(OsStr::new("/")).chain(names.iter().copied().take(length)).collect()
    };
    let mut directory = loop {
        existing = existing.checked_sub(1).ok_or_else(|| fail(Errno::NOENT))?;
        match open_in_root(root, &prefix(existing), OFlags::PATH | OFlags::DIRECTORY) {
            Ok(directory) => break directory,
            Err(error) if error.errno() == Errno::NOENT && existing > 0 => {}
            Err(error) => return Err(error),
        }
    };
    if names.iter().skip(existing).any(|name| *name == "..") {
        return Err(fail(Errno::INVAL));
    }
    for (index, name) in names.iter().enumerate().skip(existing) {
        let last = index + 1 == names.len();
        let at = directory.as_fd();
        let opened = if last && missing == Missing::File {
            create_in(at, name)
        } else {
            match rustix::fs::mkdirat(at, *name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::new(format!("mkdirat([{}], {name:?})", at.as_raw_fd()), errno)),
            }
            open_child(at, name, OFlags::PATH | OFlags::DIRECTORY)
        };
        match opened {
            Ok(opened) => directory = opened,
            Err(error) if error.errno() == Errno::LOOP => {
                let target = rustix::fs::readlinkat(at, *name, Vec::new())
                    .call(|| format!("readlinkat([{}], {name:?})", at.as_raw_fd()))?;
                // An absolute target replaces all that is before it.
                let next = prefix(index).join(OsStr::from_bytes(target.to_bytes()));
                return Ok(Made::Link(next.join(names.iter().skip(index + 1).collect::<PathBuf>())));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Made::All(directory))
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

/// Opens a name in a directory that is held, for example one just made: no link, whatever somebody may have put in its
/// place meanwhile (`ELOOP`).
pub fn open_child(directory: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd> {
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

/// What tells files apart: the kind, the file system and the number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The kind of file.
    pub kind: FileType,
    /// The permission bits.
    pub mode: u32,
    /// The number of the file system.
    pub device: u64,
    /// The number of the file in it.
    pub inode: u64,
    /// The device that a device file is of.
    pub of_device: (u32, u32),
    /// The length of a regular file.
    pub length: u64,
}

/// The identity of the file behind a descriptor.
pub fn identity(fd: impl AsFd) -> Result<Identity> {
    let fd = fd.as_fd();
    let stat = rustix::fs::fstat(fd).call(|| format!("fstat([{}])", fd.as_raw_fd()))?;
    Ok(Identity {
        kind: FileType::from_raw_mode(stat.st_mode),
        mode: stat.st_mode & 0o7777,
        device: stat.st_dev,
        inode: stat.st_ino,
        of_device: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        length: u64::try_from(stat.st_size).unwrap_or(0),
    })
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

    struct Dir(PathBuf);
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
    fn what_a_dangling_link_leads_to_is_made_in_the_root() {
        let dir = Dir::new("dangling");
        std_symlink("/casemate-nowhere/x", dir.0.join("link")).unwrap();
        open_or_create(dir.fd(), Path::new("/link"), Missing::File).unwrap();
        assert!(dir.0.join("casemate-nowhere/x").is_file());
        assert!(!Path::new("/casemate-nowhere").exists());
        // Through one link after the other, and relative ones.
        std::fs::create_dir(dir.0.join("etc")).unwrap();
        std_symlink("../jump/baz/hosts", dir.0.join("etc/hosts")).unwrap();
        std_symlink("/../../tmp/foo", dir.0.join("jump")).unwrap();
        open_or_create(dir.fd(), Path::new("/etc/hosts"), Missing::File).unwrap();
        assert!(dir.0.join("tmp/foo/baz/hosts").is_file());
        std_symlink("/round", dir.0.join("again")).unwrap();
        std_symlink("/again", dir.0.join("round")).unwrap();
        let error = open_or_create(dir.fd(), Path::new("/round"), Missing::File).unwrap_err();
        assert_eq!(error.errno(), Errno::LOOP);
        std_symlink("missing/../../..", dir.0.join("climb")).unwrap();
        assert!(open_or_create(dir.fd(), Path::new("/climb/x"), Missing::File).is_err());
    }

    #[test]
    fn links_are_refused_where_none_may_be() {
        let dir = Dir::new("plain");
        std::fs::create_dir(dir.0.join("real")).unwrap();
        std_symlink("real", dir.0.join("link")).unwrap();
        open_plain_in_root(dir.fd(), Path::new("/real"), OFlags::PATH).unwrap();
        let error = open_plain_in_root(dir.fd(), Path::new("/link"), OFlags::PATH).unwrap_err();
        assert_eq!(error.errno(), Errno::LOOP);
    }

    /// CVE-2021-30465: a directory on the way is exchanged with a link to the outside, over and over.
    #[test]
    fn a_race_for_the_way_makes_nothing_outside() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let (dir, outside) = (Dir::new("race"), Dir::new("race-outside"));
        for name in ["way", "a"] {
            std::fs::create_dir(dir.0.join(name)).unwrap();
        }
        std_symlink(&outside.0, dir.0.join("trap")).unwrap();
        let (root, done) = (dir.fd(), AtomicBool::new(false));
        let made = std::thread::scope(|scope| {
            scope.spawn(|| {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                while !done.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(&root, "way", &root, "trap", flags).unwrap();
                }
            });
            let end = std::time::Instant::now() + std::time::Duration::from_millis(800);
            let mut made = 0;
            for number in 0_u32.. {
                if std::time::Instant::now() > end {
                    break;
                }
                let missing = if number % 2 == 0 { Missing::Directory } else { Missing::File };
                made += usize::from(open_or_create(&root, Path::new(&format!("/way/{number}/x")), missing).is_ok());
            }
            done.store(true, Ordering::Relaxed);
            made
        });
        assert!(made > 0, "nothing was tried");
        assert_eq!(std::fs::read_dir(&outside.0).unwrap().count(), 0, "made outside");
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
