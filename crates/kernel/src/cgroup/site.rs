//! A group before it is made: its hierarchies are open, so what they lack is known, and nothing exists yet.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::layout::Hierarchy;
use super::subtree::{self, Offer};
use super::{Cgroup, Controller, Layout, Member, Version, checked_path, processes};
use crate::error::{Call, Error, Result};

/// Where a group is to be made.
#[derive(Debug)]
pub struct Site {
    version: Version,
    /// The path beneath each hierarchy's mount point, without a leading slash.
    path: String,
    hierarchies: Vec<(Hierarchy, Option<Offer>)>,
}

impl Site {
    /// Opens the hierarchies of the given controllers for a group at `path` (absolute: beneath each hierarchy's mount
    /// point). Controllers that the host has on no hierarchy are left out.
    ///
    /// # Errors
    /// `EINVAL` for a path that is not one of plain names.
    pub fn new(layout: &Layout, path: &str, controllers: &[Controller]) -> Result<Self> {
        Self::look(layout, path, controllers, false)
    }

    /// As [`Site::new`], for a group in all hierarchies and with all controllers that the host has.
    pub fn with_everything(layout: &Layout, path: &str) -> Result<Self> {
        Self::look(layout, path, &Controller::ALL, true)
    }

    fn look(layout: &Layout, path: &str, controllers: &[Controller], every: bool) -> Result<Self> {
        let path = checked_path(path)?.to_owned();
        let mut hierarchies = Vec::new();
        for mut hierarchy in layout.hierarchies(controllers)? {
            let mut offer = None;
            if hierarchy.unified {
                let found = Offer::look(&hierarchy.mount, &path, &hierarchy.controllers, every)?;
                hierarchy.controllers.retain(|controller| found.has(*controller));
                offer = Some(found);
            }
            hierarchies.push((hierarchy, offer));
        }
        Ok(Self { version: layout.version(), path, hierarchies })
    }

    /// Whether the group will have a controller on version 2; `None` when it will not have it.
    pub(super) fn is_unified(&self, controller: Controller) -> Option<bool> {
        self.hierarchy(controller).map(|hierarchy| hierarchy.unified)
    }

    /// Whether the group is known not to have a file of a controller: the group above has the controller and lacks it.
    pub(super) fn lacks_file(&self, controller: Controller, file: &str) -> bool {
        self.hierarchy(controller).is_none_or(|hierarchy| {
            subtree::parent_lacks(&hierarchy.mount, &self.path, hierarchy.unified, controller, file)
        })
    }

    fn hierarchy(&self, controller: Controller) -> Option<&Hierarchy> {
        self.hierarchies
            .iter()
            .map(|(hierarchy, _)| hierarchy)
            .find(|hierarchy| hierarchy.controllers.contains(&controller))
    }

    /// Makes the group, and what is missing of its parents. A group that exists is used when it has no processes.
    ///
    /// # Errors
    /// `EBUSY` when the group exists and has processes or is frozen. Nothing that was made is left then.
    pub fn create(self) -> Result<Cgroup> {
        let cgroup = self.make()?;
        if cgroup.members.iter().any(|member| !member.made) {
            require_unused(&cgroup)?;
        }
        Ok(cgroup)
    }

    /// As [`Site::create`], of a group that whoever asks for it has had made already, by systemd, in some hierarchies or in
    /// all, and whose processes are their own.
    pub fn adopt(self) -> Result<Cgroup> {
        let mut cgroup = self.make()?;
        cgroup.members.iter_mut().for_each(|member| member.made = true);
        Ok(cgroup)
    }

    fn make(self) -> Result<Cgroup> {
        let mut cgroup = Cgroup { version: self.version, path: self.path, members: Vec::new() };
        for (hierarchy, offer) in self.hierarchies {
            if let Err(error) = add_member(&mut cgroup, hierarchy, offer.as_ref()) {
                // The first error is the one to tell.
                let _ = cgroup.remove_made();
                return Err(error);
            }
        }
        Ok(cgroup)
    }
}

/// Makes the group's directory in a hierarchy, ready for limits and processes.
fn add_member(cgroup: &mut Cgroup, hierarchy: Hierarchy, offer: Option<&Offer>) -> Result<()> {
    let Hierarchy { mount, unified, controllers } = hierarchy;
    let (directory, made) = make_directory(&mount, &cgroup.path)?;
    let cpuset = controllers.contains(&Controller::Cpuset);
    cgroup.members.push(Member { controllers, unified, made, mount, directory });
    let Some(Member { mount, directory, .. }) = cgroup.members.last() else {
        return Ok(());
    };
    match offer {
        Some(offer) => offer.hand_down(mount, &cgroup.path, directory.as_fd()),
        None if cpuset => subtree::inherit_cpuset(mount, &cgroup.path),
        None => Ok(()),
    }
}

/// Whoever is in a group that is there already would share the container's limits, and be killed with it; in a frozen one
/// the container's process would never run.
fn require_unused(cgroup: &Cgroup) -> Result<()> {
    let busy = |why: &str| Error::new(format!("use(existing cgroup {:?}): it {why}", cgroup.path), Errno::BUSY);
    for member in cgroup.members.iter().filter(|member| !member.made) {
        let mut used = false;
        super::walk::walk(
            member.directory.as_fd(),
            |group| {
                used |= processes::is_occupied(group)?;
                Ok(())
            },
            |_, _| Ok(()),
        )?;
        if used {
            let _ = cgroup.remove_made();
            return Err(busy("has processes"));
        }
    }
    if cgroup.is_frozen()? {
        let _ = cgroup.remove_made();
        return Err(busy("is frozen"));
    }
    Ok(())
}

/// Makes the last directory of a path, and those before it; tells whether the last was made or there already.
fn make_directory(mount: &OwnedFd, path: &str) -> Result<(OwnedFd, bool)> {
    let mode = Mode::from_raw_mode(0o755);
    let call = || format!("mkdirat(cgroup, {path:?})");
    let mut made = rustix::fs::mkdirat(mount, path, mode);
    if made == Err(Errno::NOENT) {
        for (end, _) in path.match_indices('/') {
            match rustix::fs::mkdirat(mount, &path[..end], mode) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::new(call(), errno)),
            }
        }
        made = rustix::fs::mkdirat(mount, path, mode);
    }
    let made = match made {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(Error::new(call(), errno)),
    };
    let directory =
        rustix::fs::openat(mount, path, OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
            .call(|| format!("openat(cgroup, {path:?})"))?;
    Ok((directory, made))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, sleeper};
    use super::*;

    #[test]
    fn an_empty_group_that_exists_is_used_and_stays() {
        let Some(bench) = Bench::new("site") else { return };
        let wanted = [Controller::Pids, Controller::Freezer];
        let first = Cgroup::create(&bench.layout, &bench.path, &wanted).unwrap();
        let second = Cgroup::create(&bench.layout, &bench.path, &wanted).unwrap();
        assert_eq!(first.kept().count(), 0);
        assert_eq!(second.kept().collect::<Vec<_>>(), second.controllers().collect::<Vec<_>>());
        second.remove().unwrap();
        assert!(Cgroup::open(&bench.layout, &bench.path).is_ok());
        first.remove().unwrap();
        assert_eq!(Cgroup::open(&bench.layout, &bench.path).unwrap_err().errno(), Errno::NOENT);
    }

    #[test]
    fn a_group_with_processes_is_refused_and_nothing_new_is_left() {
        let Some(bench) = Bench::new("occupied") else { return };
        let first = Cgroup::create(&bench.layout, &bench.path, &[Controller::Pids]).unwrap();
        let sleeper = sleeper(&first, "below");
        let wanted = [Controller::Freezer, Controller::Pids];
        let error = Cgroup::create(&bench.layout, &bench.path, &wanted).unwrap_err();
        assert_eq!(error.errno(), Errno::BUSY);
        assert!(error.call().contains("has processes"), "{error}");
        if bench.layout.version() != Version::V2 {
            let left = Cgroup::open(&bench.layout, &bench.path).unwrap();
            assert_eq!(left.controllers().collect::<Vec<_>>(), [Controller::Pids]);
        }
        drop(sleeper);
        first.remove().unwrap();
    }
}
