//! Control groups: versions 1, 2, and both at once (hybrid: controllers on version 1, version 2 beside them).
//!
//! A [`Cgroup`] is one group of a container in every hierarchy that matters, held by descriptors of its directories.

mod bpf;
mod device;
mod layout;
mod limits;
mod usage;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

pub use device::{Access, DeviceKind, DeviceRule};
pub use layout::{Controller, Layout, Version};
pub use limits::{Limits, Throttle, ThrottleKind};
pub use usage::OomKills;

use crate::error::{Call, Error, Result};
use layout::Hierarchy;

/// One directory of a group: the hierarchy and the controllers that live there.
#[derive(Debug)]
struct Member {
    controllers: Vec<Controller>,
    /// The root of the hierarchy, to remove the directory from.
    mount: OwnedFd,
    directory: OwnedFd,
}

/// A control group in all the hierarchies it was made in.
#[derive(Debug)]
pub struct Cgroup {
    version: Version,
    /// The path beneath each hierarchy's mount point, without a leading slash.
    path: String,
    members: Vec<Member>,
}

impl Cgroup {
    /// Makes a group at `path` (absolute: beneath each hierarchy's mount point) with the given controllers, and what is
    /// missing of its parents.
    ///
    /// Controllers that the host has on no hierarchy are left out: see [`Cgroup::has`].
    ///
    /// # Errors
    /// `EEXIST` when the group exists already; `EINVAL` for a path that is not one of plain names.
    pub fn create(layout: &Layout, path: &str, controllers: &[Controller]) -> Result<Self> {
        let path = checked_path(path)?;
        let mut cgroup = Self { version: layout.version(), path: path.to_owned(), members: Vec::new() };
        for hierarchy in layout.hierarchies(controllers) {
            let made = match make_directory(&hierarchy.mount, path) {
                Ok(directory) => {
                    let Hierarchy { mount, controllers } = hierarchy;
                    cgroup.members.push(Member { controllers, mount, directory });
                    cgroup.prepare_last()
                }
                Err(error) => Err(error),
            };
            if let Err(error) = made {
                // The first error is the one to tell.
                let _ = cgroup.remove();
                return Err(error);
            }
        }
        Ok(cgroup)
    }

    /// Makes the directory that was made last ready for limits and processes.
    fn prepare_last(&self) -> Result<()> {
        let Some(Member { controllers, mount, directory }) = self.members.last() else {
            return Ok(());
        };
        if self.version == Version::V2 {
            layout::enable_controllers(mount, &self.path, controllers, directory)
        } else if controllers.contains(&Controller::Cpuset) {
            layout::inherit_cpuset(mount, &self.path)
        } else {
            Ok(())
        }
    }

    /// Opens a group that exists, in every hierarchy where it does.
    ///
    /// # Errors
    /// `ENOENT` when it exists in none.
    pub fn open(layout: &Layout, path: &str) -> Result<Self> {
        let path = checked_path(path)?;
        let mut members = Vec::new();
        for hierarchy in layout.hierarchies(&Controller::ALL) {
            match rustix::fs::openat(
                &hierarchy.mount,
                path,
                OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
                Mode::empty(),
            ) {
                Ok(directory) => {
                    members.push(Member { controllers: hierarchy.controllers, mount: hierarchy.mount, directory });
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::new(format!("openat(cgroup, {path:?})"), errno)),
            }
        }
        if members.is_empty() {
            return Err(Error::new(format!("open(cgroup {path:?})"), Errno::NOENT));
        }
        Ok(Self { version: layout.version(), path: path.to_owned(), members })
    }

    /// The path beneath each hierarchy's mount point, without a leading slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Which version its controllers are of.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the group has this controller.
    pub fn has(&self, controller: Controller) -> bool {
        self.directory_of(controller).is_some()
    }

    /// The directory that has a controller, for a file that this type has no method for.
    pub fn directory_of(&self, controller: Controller) -> Option<BorrowedFd<'_>> {
        self.members
            .iter()
            .find(|member| member.controllers.contains(&controller))
            .map(|member| member.directory.as_fd())
    }

    /// The group's directory on the version 2 hierarchy, to clone a process into, when that is where its controllers are.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        match self.version {
            Version::V2 => self.members.first().map(|member| member.directory.as_fd()),
            Version::V1 | Version::Hybrid => None,
        }
    }

    /// The files to write `0` to for a process to move itself into the group ([`join`]), opened with the rights of the
    /// caller: whoever holds the descriptors may join, whatever its own ids.
    pub fn entrances(&self) -> Result<Vec<OwnedFd>> {
        // Moving one thread that is the writer itself needs no lock over all of the system's threads, unlike writing a
        // process id to cgroup.procs, which waits for a grace period (cgroup_procs_write_start in the kernel).
        let file = if self.version == Version::V2 { "cgroup.procs" } else { "tasks" };
        self.members
            .iter()
            .map(|member| {
                rustix::fs::openat(&member.directory, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                    .call(|| format!("openat(cgroup {:?}, {file:?})", self.path))
            })
            .collect()
    }

    /// The processes in the group, as the caller's PID namespace numbers them.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let Some(member) = self.members.first() else {
            return Ok(Vec::new());
        };
        let text = read_file(member.directory.as_fd(), "cgroup.procs")?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Stops all processes of the group where they are, or lets them go on.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let directory = self
            .directory_of(Controller::Freezer)
            .ok_or_else(|| Error::new(format!("freeze(cgroup {:?}): no freezer", self.path), Errno::OPNOTSUPP))?;
        match self.version {
            Version::V2 => write_file(directory, "cgroup.freeze", if frozen { "1" } else { "0" }),
            Version::V1 | Version::Hybrid => {
                write_file(directory, "freezer.state", if frozen { "FROZEN" } else { "THAWED" })
            }
        }
    }

    /// Whether the processes of the group are stopped, or being stopped.
    pub fn is_frozen(&self) -> Result<bool> {
        let Some(directory) = self.directory_of(Controller::Freezer) else { return Ok(false) };
        match self.version {
            Version::V2 => Ok(read_file(directory, "cgroup.freeze")?.trim() == "1"),
            Version::V1 | Version::Hybrid => Ok(read_file(directory, "freezer.state")?.trim() != "THAWED"),
        }
    }

    /// Kills every process of the group, also while more are made; frozen ones too.
    pub fn kill(&self) -> Result<()> {
        if let Some(directory) = self.unified() {
            match write_file(directory, "cgroup.kill", "1") {
                // Before Linux 5.14.
                Err(error) if error.errno() == Errno::NOENT => {}
                other => return other,
            }
        }
        // Frozen, nothing can fork away from the list. A version 1 freezer takes its time and may not come to an end (a
        // process in an uninterruptible sleep), so the list is read until nothing new is on it.
        let frozen = self.has(Controller::Freezer) && self.freeze(true).is_ok();
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut known: Vec<u32> = Vec::new();
        let outcome = loop {
            let found = match self.processes() {
                Ok(found) => found,
                Err(error) => break Err(error),
            };
            let mut new = found.iter().filter(|pid| !known.contains(pid)).peekable();
            if new.peek().is_none() || Instant::now() > deadline {
                break Ok(());
            }
            for &pid in new {
                if let Ok(pidfd) = crate::process::pidfd_open(pid) {
                    let _ = crate::process::pidfd_send_signal(pidfd, 9);
                }
            }
            known = found;
        };
        if frozen {
            self.freeze(false)?;
        }
        outcome
    }

    /// Removes the group's directories, waiting up to two seconds for processes that are on their way out.
    ///
    /// # Errors
    /// `EBUSY` when processes, or groups below it, stay.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(2);
        for member in &self.members {
            loop {
                match rustix::fs::unlinkat(&member.mount, self.path.as_str(), AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => break,
                    Err(Errno::BUSY) if Instant::now() < deadline => {
                        std::thread::sleep(Duration::from_micros(500));
                    }
                    Err(errno) => {
                        return Err(Error::new(format!("rmdir(cgroup {:?})", self.path), errno));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Moves the calling process (which must have one thread) into a group, by its [`Cgroup::entrances`].
pub fn join(entrances: &[OwnedFd]) -> Result<()> {
    for fd in entrances {
        rustix::io::write(fd, b"0").call(|| format!("write([{}] cgroup, \"0\")", fd.as_raw_fd()))?;
    }
    Ok(())
}

fn checked_path(path: &str) -> Result<&str> {
    let trimmed = path.trim_matches('/');
    let plain = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains('\0');
    if trimmed.is_empty() || trimmed.len() > 4000 || !trimmed.split('/').all(plain) {
        return Err(Error::new(format!("cgroup path {path:?}"), Errno::INVAL));
    }
    Ok(trimmed)
}

/// Makes the last directory of a path, which must not exist, and those before it, which may.
fn make_directory(mount: &OwnedFd, path: &str) -> Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o755);
    let call = || format!("mkdirat(cgroup, {path:?})");
    match rustix::fs::mkdirat(mount, path, mode) {
        Ok(()) => {}
        Err(Errno::NOENT) => {
            for (end, _) in path.match_indices('/') {
                match rustix::fs::mkdirat(mount, &path[..end], mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(Error::new(call(), errno)),
                }
            }
            rustix::fs::mkdirat(mount, path, mode).call(call)?;
        }
        Err(errno) => return Err(Error::new(call(), errno)),
    }
    rustix::fs::openat(mount, path, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .call(|| format!("openat(cgroup, {path:?})"))
}

pub(crate) fn write_file(directory: BorrowedFd<'_>, name: &str, value: &str) -> Result<()> {
    let call = || format!("write(cgroup file {name:?}, {value:?})");
    let fd = rustix::fs::openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .call(call)?;
    // Control files take a value in one write, whole.
    File::from(fd).write_all(value.as_bytes()).call(call)
}

pub(crate) fn read_file(directory: BorrowedFd<'_>, name: &str) -> Result<String> {
    let call = || format!("read(cgroup file {name:?})");
    let fd = rustix::fs::openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .call(call)?;
    let mut text = String::new();
    // The kernel's own files: what they say of a group is some kilobytes.
    File::from(fd).take(16 << 20).read_to_string(&mut text).call(call)?;
    Ok(text)
}

/// Whether a path exists in a directory.
fn exists(directory: impl AsFd, name: impl AsRef<Path>) -> bool {
    rustix::fs::accessat(directory.as_fd(), name.as_ref(), rustix::fs::Access::EXISTS, AtFlags::empty()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_plain_names() {
        assert_eq!(checked_path("/casemate/abc").unwrap(), "casemate/abc");
        for wrong in ["", "/", "/a/../b", "a//b", "./a"] {
            assert_eq!(checked_path(wrong).unwrap_err().errno(), Errno::INVAL, "{wrong:?}");
        }
    }

    #[test]
    fn a_group_is_made_limited_joined_by_nobody_and_removed() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP: needs root");
            return;
        }
        let layout = Layout::detect().unwrap();
        let path = format!("/casemate-test/unit-{}", std::process::id());
        let cgroup = Cgroup::create(&layout, &path, &[Controller::Memory, Controller::Pids, Controller::Cpu]).unwrap();
        if cgroup.has(Controller::Pids) {
            cgroup.apply(&Limits { pids: Some(7), ..Limits::default() }).unwrap();
            let directory = cgroup.directory_of(Controller::Pids).unwrap();
            assert_eq!(read_file(directory, "pids.max").unwrap().trim(), "7");
        }
        assert!(cgroup.processes().unwrap().is_empty());
        assert_eq!(Cgroup::create(&layout, &path, &[Controller::Pids]).map(|_| ()).unwrap_err().errno(), Errno::EXIST);
        cgroup.remove().unwrap();
        assert_eq!(Cgroup::open(&layout, &path).unwrap_err().errno(), Errno::NOENT);
        for hierarchy in layout.hierarchies(&Controller::ALL) {
            let _ = rustix::fs::unlinkat(&hierarchy.mount, "casemate-test", AtFlags::REMOVEDIR);
        }
    }
}
