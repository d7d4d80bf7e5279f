//! A group and the groups below it, which its processes may have made: at any depth, any number.
//!
//! The way down and up is by descriptor, one level at a time, so that no path gets too long and nothing is followed out
//! of the hierarchy: a control group file system has no links, and its directories can't be moved to another parent.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, Result};

/// How long a directory whose processes are on their way out is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is gone meanwhile is not missed.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NODEV)
}

fn open(directory: BorrowedFd<'_>, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// The names of the groups directly below a group.
fn children(group: BorrowedFd<'_>) -> Result<Vec<CString>> {
    let call = || "list(cgroup)".to_owned();
    // Its link count is 2 and one for each directory in it (`kernfs_link_sibling` in the kernel).
    if rustix::fs::fstat(group).call(call)?.st_nlink == 2 {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(group).call(call)? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(errno) if is_gone(errno) => break,
            Err(errno) => return Err(Error::new(call(), errno)),
        };
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Calls `visit` for a group and all below it, each before those below it, and `leave` with the parent and the name of
/// each group below it, after those below that.
pub(super) fn walk(
    top: BorrowedFd<'_>,
    mut visit: impl FnMut(BorrowedFd<'_>) -> Result<()>,
    mut leave: impl FnMut(BorrowedFd<'_>, &std::ffi::CStr) -> Result<()>,
) -> Result<()> {
    visit(top)?;
    let mut names = children(top)?;
    if names.is_empty() {
        return Ok(());
    }
    let mut group = open(top, c".").call(|| "openat(cgroup, \".\")".into())?;
    // For each level: what is still to be visited there, and the name of the one being visited.
    let mut levels: Vec<(Vec<CString>, CString)> = Vec::new();
    loop {
        if let Some(name) = names.pop() {
            let below = match open(group.as_fd(), &name) {
                Ok(below) => below,
                Err(errno) if is_gone(errno) => continue,
                Err(errno) => return Err(Error::new(format!("openat(cgroup, {name:?})"), errno)),
            };
            visit(below.as_fd())?;
            let deeper = children(below.as_fd())?;
            levels.push((std::mem::replace(&mut names, deeper), name));
            group = below;
        } else if let Some((rest, name)) = levels.pop() {
            group = open(group.as_fd(), c"..").call(|| "openat(cgroup, \"..\")".into())?;
            leave(group.as_fd(), &name)?;
            names = rest;
        } else {
            return Ok(());
        }
    }
}

/// Removes the groups below a group, the deepest first.
///
/// # Errors
/// `EBUSY` when processes stay in one.
pub(super) fn remove_below(top: BorrowedFd<'_>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    walk(top, |_| Ok(()), |parent, name| remove_directory(parent, name, deadline))
}

/// Removes one directory, waiting for processes that are on their way out.
fn remove_directory(parent: BorrowedFd<'_>, name: &std::ffi::CStr, deadline: Instant) -> Result<()> {
    loop {
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(Duration::from_micros(500)),
            Err(errno) => return Err(Error::new(format!("rmdir(cgroup {name:?})"), errno)),
        }
    }
}

/// Removes a group with all below it, waiting up to two seconds for processes that are on their way out. One that is not
/// there is no error.
///
/// # Errors
/// `EBUSY` when processes stay.
pub(super) fn remove(mount: BorrowedFd<'_>, path: &str, group: BorrowedFd<'_>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut looked_below = false;
    loop {
        match rustix::fs::unlinkat(mount, path, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) if !looked_below => {
                looked_below = true;
                match remove_below(group) {
                    // It went away while it was being looked at.
                    Err(error) if is_gone(error.errno()) => {}
                    other => other?,
                }
            }
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(Duration::from_micros(500)),
            Err(errno) => return Err(Error::new(format!("rmdir(cgroup {path:?})"), errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, sleeper};
    use super::super::{Cgroup, Controller};
    use super::*;

    #[test]
    fn deep_and_wide_trees_are_removed() {
        let Some(bench) = Bench::new("walk") else { return };
        let cgroup = Cgroup::create(&bench.layout, &bench.path, &[Controller::Pids]).unwrap();
        let top = cgroup.directory_of(Controller::Pids).unwrap();
        let mode = Mode::from_raw_mode(0o755);
        // Deeper than a path may be long.
        let name = "n".repeat(200);
        let mut deep = open(top, c".").unwrap();
        for _ in 0..25 {
            rustix::fs::mkdirat(&deep, name.as_str(), mode).unwrap();
            deep = open(deep.as_fd(), &CString::new(name.as_str()).unwrap()).unwrap();
        }
        for number in 0..40 {
            rustix::fs::mkdirat(top, format!("wide{number}"), mode).unwrap();
            rustix::fs::mkdirat(top, format!("wide{number}/below"), mode).unwrap();
        }
        let mut seen = 0;
        walk(
            top,
            |_| {
                seen += 1;
                Ok(())
            },
            |_, _| Ok(()),
        )
        .unwrap();
        assert_eq!(seen, 1 + 25 + 2 * 40);
        drop(deep);
        cgroup.remove().unwrap();
        assert!(Cgroup::open(&bench.layout, &bench.path).is_err());
    }

    #[test]
    fn a_process_that_stays_is_told() {
        let Some(bench) = Bench::new("stays") else { return };
        let cgroup = Cgroup::create(&bench.layout, &bench.path, &[Controller::Pids]).unwrap();
        let sleeper = sleeper(&cgroup, "below");
        assert_eq!(cgroup.remove().unwrap_err().errno(), Errno::BUSY);
        drop(sleeper);
        cgroup.remove().unwrap();
    }
}
