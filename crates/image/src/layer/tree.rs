//! Removes a directory tree of any depth with a handful of descriptors.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Removes `name` in `parent` and all that is in it. What is not there is removed already.
///
/// The standard library's recursion holds a descriptor per level, and an archive may nest deeper than a process may have
/// descriptors. So directories that are not empty are moved up to the top, where they are taken apart like any other.
///
/// # Errors
/// The kernel's.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error),
    }
    let top = open_directory(parent, name)?;
    let mut moved = 0_u64;
    while empty(top.as_fd(), &mut moved)? {}
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}

/// As [`remove_tree`], for a path that the caller vouches for.
pub(crate) fn remove_path(path: &std::path::Path) -> Result<(), Errno> {
    use std::os::unix::ffi::OsStrExt;
    remove_tree(CWD, path.as_os_str().as_bytes())
}

/// Removes what is in `top`; what its subdirectories hold in directories is moved there. True if another round may find something.
fn empty(top: BorrowedFd<'_>, moved: &mut u64) -> Result<bool, Errno> {
    let mut left = false;
    for entry in Dir::read_from(top)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match unlinkat(top, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error),
        }
        match unlinkat(top, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        lift(top, name, moved)?;
        left = true;
    }
    Ok(left)
}

/// Moves the directories within `name` to `top`, removes the rest of it, and then `name` itself.
fn lift(top: BorrowedFd<'_>, name: &std::ffi::CStr, moved: &mut u64) -> Result<(), Errno> {
    let sub = open_directory(top, name)?;
    for entry in Dir::read_from(&sub)? {
        let entry = entry?;
        let child = entry.file_name();
        if matches!(child.to_bytes(), b"." | b"..") {
            continue;
        }
        match unlinkat(&sub, child, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(error) => return Err(error),
        }
        loop {
            *moved += 1;
            let name = format!(".lifted-{moved}");
            match renameat_with(&sub, child, top, &*name, RenameFlags::NOREPLACE) {
                Ok(()) => break,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
        }
    }
    unlinkat(top, name, AtFlags::REMOVEDIR)
}

fn open_directory(parent: BorrowedFd<'_>, name: impl Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_the_descriptors_of_a_process_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let mut directory = open_directory(CWD, scratch.path()).unwrap();
        let top = directory.try_clone().unwrap();
        for level in 0..3000 {
            rustix::fs::mkdirat(&directory, "d", Mode::RWXU).unwrap();
            directory = open_directory(directory.as_fd(), "d").unwrap();
            if level % 500 == 0 {
                rustix::fs::mkdirat(&directory, "x", Mode::RWXU).unwrap();
                rustix::fs::symlinkat("/", &directory, "link").unwrap();
            }
        }
        remove_tree(top.as_fd(), b"d").unwrap();
        remove_tree(top.as_fd(), b"d").unwrap();
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
