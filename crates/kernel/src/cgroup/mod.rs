//! Control groups: versions 1, 2, and both at once (hybrid: controllers on version 1, version 2 beside them).
//!
//! A [`Cgroup`] is one group of a container in every hierarchy that matters, held by descriptors of its directories.

mod bpf;
mod delegate;
mod device;
mod layout;
mod limits;
mod oom;
mod processes;
mod site;
mod subtree;
mod usage;
mod walk;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

pub use device::{Access, DeviceKind, DeviceRule};
pub use layout::{Controller, Layout, Version};
pub use limits::{
    DeviceWeight, HugepageLimit, InterfacePriority, LimitError, Limits, RdmaLimit, Throttle, ThrottleKind, io_weight,
    weight_of_shares,
};
pub use oom::{OomEvents, OomWatch};
pub use site::Site;
pub use usage::OomKills;

use crate::error::{Call, Error, Result};
use layout::Hierarchy;

/// One directory of a group: the hierarchy and the controllers that live there.
#[derive(Debug)]
struct Member {
    controllers: Vec<Controller>,
    unified: bool,
    /// Whether this process made the directory, or, for a group that was opened, whoever made the group did.
    made: bool,
    /// The root of the hierarchy, to remove the directory from.
    mount: OwnedFd,
    directory: OwnedFd,
}

/// Where a group has a controller, and of which version it is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) directory: BorrowedFd<'a>,
    pub(crate) unified: bool,
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
    /// missing of its parents: [`Site::new`] and [`Site::create`].
    pub fn create(layout: &Layout, path: &str, controllers: &[Controller]) -> Result<Self> {
        Site::new(layout, path, controllers)?.create()
    }

    /// Opens a group that exists, in every hierarchy where it does.
    ///
    /// # Errors
    /// `ENOENT` when it exists in none.
    pub fn open(layout: &Layout, path: &str) -> Result<Self> {
        Self::open_in(layout, path, &Controller::ALL, &[])
    }

    /// Opens a group that exists, in the hierarchies of some controllers only. In those of `kept` its directory is not to
    /// be removed ([`Cgroup::kept`]).
    ///
    /// # Errors
    /// `ENOENT` when it exists in none.
    pub fn open_in(layout: &Layout, path: &str, controllers: &[Controller], kept: &[Controller]) -> Result<Self> {
        let path = checked_path(path)?;
        let mut members = Vec::new();
        for Hierarchy { mount, unified, controllers } in layout.hierarchies(controllers)? {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            match rustix::fs::openat(&mount, path, flags, Mode::empty()) {
                Ok(directory) => {
                    let made = !controllers.iter().any(|controller| kept.contains(controller));
                    members.push(Member { controllers, unified, made, mount, directory });
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
        self.place(controller).map(|place| place.directory)
    }

    /// Whether the group has a controller on version 2; `None` without it.
    pub fn is_unified(&self, controller: Controller) -> Option<bool> {
        self.place(controller).map(|place| place.unified)
    }

    /// What a file of a controller says; `None` when the group, or this kernel, does not have it.
    pub fn read(&self, controller: Controller, file: &str) -> Result<Option<String>> {
        let Some(directory) = self.directory_of(controller) else {
            return Ok(None);
        };
        match read_file(directory, file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn place(&self, controller: Controller) -> Option<Place<'_>> {
        self.members
            .iter()
            .find(|member| member.controllers.contains(&controller))
            .map(|member| Place { directory: member.directory.as_fd(), unified: member.unified })
    }

    /// The controllers that the group was made or opened with.
    pub fn controllers(&self) -> impl Iterator<Item = Controller> + '_ {
        self.members.iter().flat_map(|member| member.controllers.iter().copied())
    }

    /// The controllers of hierarchies in which its directory was there already when it was made: there it is not removed.
    pub fn kept(&self) -> impl Iterator<Item = Controller> + '_ {
        self.members.iter().filter(|member| !member.made).flat_map(|member| member.controllers.iter().copied())
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
        self.members
            .iter()
            .map(|member| {
                let file = if member.unified { "cgroup.procs" } else { "tasks" };
                rustix::fs::openat(&member.directory, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
                    .call(|| format!("openat(cgroup {:?}, {file:?})", self.path))
            })
            .collect()
    }

    /// A group below this one, at a path relative to it, in those of its hierarchies where it exists.
    ///
    /// # Errors
    /// `ENOENT` when it exists in none; `EINVAL` for a path that is not one of plain names.
    pub fn below(&self, path: &str) -> Result<Self> {
        let path = checked_path(path)?;
        let whole = format!("{}/{path}", self.path);
        let mut members = Vec::new();
        for member in &self.members {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let directory = match rustix::fs::openat(&member.directory, path, flags, Mode::empty()) {
                Ok(directory) => directory,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(Error::new(format!("openat(cgroup, {whole:?})"), errno)),
            };
            let mount = member.mount.try_clone().call(|| format!("dup(cgroup {whole:?})"))?;
            let Member { controllers, unified, .. } = member;
            members.push(Member { controllers: controllers.clone(), unified: *unified, made: false, mount, directory });
        }
        if members.is_empty() {
            return Err(Error::new(format!("open(cgroup {whole:?})"), Errno::NOENT));
        }
        Ok(Self { version: self.version, path: whole, members })
    }

    /// This group with one below it in its place, in the hierarchies of the controllers given, or in all when none is; the
    /// group itself for a path of no names.
    ///
    /// # Errors
    /// `ENOENT` when a hierarchy has no such group; `EINVAL` for a path that is not one of plain names.
    pub fn moved_below(&self, of: &[Controller], path: &str) -> Result<Self> {
        let call = || format!("openat(cgroup {:?}, {path:?})", self.path);
        let below = if path.trim_matches('/').is_empty() { "." } else { checked_path(path)? };
        let members = self.members.iter().map(|member| {
            let meant = of.is_empty() || of.iter().any(|controller| member.controllers.contains(controller));
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let name = if meant { below } else { "." };
            let directory = rustix::fs::openat(&member.directory, name, flags, Mode::empty()).call(call)?;
            let mount = member.mount.try_clone().call(call)?;
            let Member { controllers, unified, .. } = member;
            Ok(Member { controllers: controllers.clone(), unified: *unified, made: false, mount, directory })
        });
        Ok(Self { version: self.version, path: self.path.clone(), members: members.collect::<Result<_>>()? })
    }

    /// The group of version 2 that a process of this group has been moved to below it, or this very group (`None`).
    ///
    /// A container that hands controllers down to groups of its own (systemd inside, say) can't have processes in the
    /// group itself any more: a process that joins it later is to be put beside its first process.
    pub fn below_of_process(&self, pid: u32) -> Result<Option<Self>> {
        let file = format!("/proc/{pid}/cgroup");
        let text = std::fs::read_to_string(&file).call(|| format!("read({file:?})"))?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        match path.strip_prefix(&self.path).and_then(|rest| rest.strip_prefix('/')) {
            Some(rest) => self.below(rest).map(Some),
            None => Ok(None),
        }
    }

    /// Removes the directories that were made, of a group that no process is in yet.
    fn remove_made(&self) -> Result<()> {
        let made = self.members.iter().filter(|member| member.made);
        made.map(|member| walk::remove(member.mount.as_fd(), &self.path, member.directory.as_fd()))
            .fold(Ok(()), Result::and)
    }

    /// Removes the group with all groups below it, waiting up to two seconds for processes that are on their way out. A
    /// directory that was there before it was made ([`Cgroup::kept`]) stays.
    ///
    /// # Errors
    /// `EBUSY` when processes stay; what could be removed in other hierarchies is.
    pub fn remove(&self) -> Result<()> {
        let mut outcome = Ok(());
        for member in &self.members {
            let directory = member.directory.as_fd();
            let removed = if member.made {
                walk::remove(member.mount.as_fd(), &self.path, directory)
            } else {
                walk::remove_below(directory)
            };
            outcome = outcome.and(removed);
        }
        outcome
    }
}

/// Moves the calling process (which must have one thread) into a group, by its [`Cgroup::entrances`].
pub fn join(entrances: &[OwnedFd]) -> Result<()> {
    for fd in entrances {
        rustix::io::write(fd, b"0").call(|| format!("write([{}] cgroup, \"0\")", fd.as_raw_fd()))?;
    }
    Ok(())
}

/// A path without its outer slashes, of plain names only.
fn checked_path(path: &str) -> Result<&str> {
    let trimmed = path.trim_matches('/');
    let plain = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains('\0');
    if trimmed.is_empty() || trimmed.len() > 4000 || !trimmed.split('/').all(plain) {
        return Err(Error::new(format!("cgroup path {path:?}"), Errno::INVAL));
    }
    Ok(trimmed)
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
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Child, Command};

    use super::*;

    /// A place for the groups of one test; removes what is left there.
    pub(super) struct Bench {
        pub(super) layout: Layout,
        pub(super) path: String,
    }

    /// A process in a group, killed at the end.
    pub(super) struct Sleeper(Child);

    impl Bench {
        /// `None` where no groups can be made.
        pub(super) fn new(name: &str) -> Option<Self> {
            if !rustix::process::geteuid().is_root() {
                eprintln!("SKIP: needs root");
                return None;
            }
            let path = format!("/casemate-test-{}-{name}/group", std::process::id());
            Some(Self { layout: Layout::detect().unwrap(), path })
        }
    }

    /// Starts a process and moves it into a group beneath `cgroup`, in all its hierarchies.
    pub(super) fn sleeper(cgroup: &Cgroup, below: &str) -> Sleeper {
        let child = Command::new("sleep").arg("60").spawn().unwrap();
        for member in &cgroup.members {
            let mut path = String::new();
            for name in below.split('/').filter(|name| *name != ".") {
                path = format!("{path}{name}/");
                match rustix::fs::mkdirat(&member.directory, path.as_str(), Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => panic!("mkdir {path}: {errno}"),
                }
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let at = if path.is_empty() { "." } else { path.as_str() };
            let directory = rustix::fs::openat(&member.directory, at, flags, Mode::empty()).unwrap();
            write_file(directory.as_fd(), "cgroup.procs", &child.id().to_string()).unwrap();
        }
        Sleeper(child)
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            if let Ok(cgroup) = Cgroup::open(&self.layout, &self.path) {
                let _ = cgroup.kill();
                let _ = cgroup.remove();
            }
            let parent = self.path.trim_end_matches("/group");
            if let Ok(parent) = Cgroup::open(&self.layout, parent) {
                let _ = parent.remove();
            }
        }
    }

    impl Sleeper {
        pub(super) fn id(&self) -> u32 {
            self.0.id()
        }

        pub(super) fn is_running(&mut self) -> bool {
            self.0.try_wait().unwrap().is_none()
        }

        pub(super) fn signal_of_end(&mut self) -> Option<i32> {
            self.0.wait().unwrap().signal()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn paths_are_plain_names() {
        assert_eq!(checked_path("/casemate/abc").unwrap(), "casemate/abc");
        for wrong in ["", "/", "/a/../b", "a//b", "./a"] {
            assert_eq!(checked_path(wrong).unwrap_err().errno(), Errno::INVAL, "{wrong:?}");
        }
    }

    #[test]
    fn a_group_is_made_limited_joined_by_nobody_and_removed() {
        let Some(bench) = Bench::new("unit") else { return };
        let wanted = [Controller::Memory, Controller::Pids, Controller::Cpu];
        let cgroup = Cgroup::create(&bench.layout, &bench.path, &wanted).unwrap();
        if cgroup.has(Controller::Pids) {
            cgroup.apply(&Limits { pids: Some(7), ..Limits::default() }).unwrap();
            let directory = cgroup.directory_of(Controller::Pids).unwrap();
            assert_eq!(read_file(directory, "pids.max").unwrap().trim(), "7");
        }
        assert!(cgroup.processes().unwrap().is_empty());
        cgroup.remove().unwrap();
        assert_eq!(Cgroup::open(&bench.layout, &bench.path).unwrap_err().errno(), Errno::NOENT);
    }

    #[test]
    fn a_group_below_takes_the_place_of_its_parent_where_it_is_asked_for() {
        let Some(bench) = Bench::new("below") else { return };
        let cgroup = Cgroup::create(&bench.layout, &bench.path, &[Controller::Pids, Controller::Freezer]).unwrap();
        let sleeper = sleeper(&cgroup, "sub");
        let everywhere = cgroup.moved_below(&[], "sub/").unwrap();
        assert_eq!(everywhere.processes().unwrap(), [sleeper.id()]);
        let own = cgroup.moved_below(&[], "/").unwrap().directory_of(Controller::Pids).map(processes_of);
        assert_eq!(own, Some(String::new()));
        let some = cgroup.moved_below(&[Controller::Pids], "sub").unwrap();
        assert_eq!(some.directory_of(Controller::Pids).map(processes_of), Some(format!("{}\n", sleeper.id())));
        if bench.layout.version() != Version::V2 {
            assert_eq!(some.directory_of(Controller::Freezer).map(processes_of), Some(String::new()));
        }
        assert_eq!(cgroup.moved_below(&[], "missing").unwrap_err().errno(), Errno::NOENT);
        assert_eq!(cgroup.moved_below(&[], "..").unwrap_err().errno(), Errno::INVAL);
    }

    fn processes_of(directory: BorrowedFd<'_>) -> String {
        read_file(directory, "cgroup.procs").unwrap()
    }
}
