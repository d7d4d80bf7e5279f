//! What the groups along a path hand down to the group at its end: controllers on version 2, processors and memory nodes on
//! version 1.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::layout::{lists, names};
use super::{Controller, exists, read_file, write_file};
use crate::error::{Call, Error, Result};

/// What a group on version 2 can be given.
#[derive(Debug)]
pub(super) struct Offer {
    /// Names of controllers, of those that were asked for.
    names: Vec<String>,
    /// Whether the group above hands them down already.
    ready: bool,
}

impl Offer {
    /// Looks along a path, of which only a beginning may exist, which of the controllers a group there can get; all that
    /// the host has when `every`.
    pub(super) fn look(mount: &OwnedFd, path: &str, wanted: &[Controller], every: bool) -> Result<Self> {
        let mut asked: Vec<String> =
            wanted.iter().filter_map(|controller| controller.unified_name()).map(str::to_owned).collect();
        let parent = path.rsplit_once('/').map_or(".", |(parent, _)| parent);
        if !every {
            let handed = read_file(mount.as_fd(), &format!("{parent}/cgroup.subtree_control"));
            if handed.is_ok_and(|handed| asked.iter().all(|name| names(&handed, name))) {
                return Ok(Self { names: asked, ready: true });
            }
        }
        let host = read_file(mount.as_fd(), "cgroup.controllers")?;
        if every {
            asked = host.split_ascii_whitespace().map(str::to_owned).collect();
        }
        asked.retain(|name| names(&host, name));
        for group in groups_above(path) {
            let Ok(directory) = open(mount, group) else { break };
            if is_occupied(directory.as_fd()) {
                // The host's arrangement, not ours to change: what it hands down is all there is.
                let handed = read_file(directory.as_fd(), "cgroup.subtree_control")?;
                asked.retain(|name| names(&handed, name));
            }
        }
        Ok(Self { names: asked, ready: false })
    }

    /// Whether the group can have a controller.
    pub(super) fn has(&self, controller: Controller) -> bool {
        controller.unified_name().is_none_or(|name| self.names.iter().any(|offered| offered == name))
    }

    /// Lets the groups along the path, which exists now, hand the controllers down.
    ///
    /// # Errors
    /// `EOPNOTSUPP` beneath a group whose threads are spread over groups of their own: no process can be put there.
    pub(super) fn hand_down(&self, mount: &OwnedFd, path: &str, group: BorrowedFd<'_>) -> Result<()> {
        if self.ready {
            return Ok(());
        }
        for above in groups_above(path) {
            let directory = open(mount, above).call(|| format!("openat(cgroup, {above:?})"))?;
            let handed = read_file(directory.as_fd(), "cgroup.subtree_control")?;
            let missing: Vec<&String> = self.names.iter().filter(|name| !names(&handed, name)).collect();
            if missing.is_empty() || is_occupied(directory.as_fd()) {
                continue;
            }
            for name in missing {
                match write_file(directory.as_fd(), "cgroup.subtree_control", &format!("+{name}")) {
                    // A process came meanwhile, or the controller is in use on version 1, or kept by the group above: seen
                    // by whoever sets a limit.
                    Err(error) if matches!(error.errno(), Errno::BUSY | Errno::NOENT | Errno::OPNOTSUPP) => {}
                    other => other?,
                }
            }
        }
        let kind = read_file(group, "cgroup.type")?;
        if kind.trim() != "domain" {
            let call = format!("use(cgroup {path:?}): its type is {:?}, for threads alone", kind.trim());
            return Err(Error::new(call, Errno::OPNOTSUPP));
        }
        Ok(())
    }
}

/// The groups above the one at the end of a path, from the root on.
fn groups_above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::once(".").chain(path.match_indices('/').map(|(end, _)| &path[..end]))
}

fn open(mount: &OwnedFd, path: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(mount, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Whether the parent of a path is known not to have a file that its other groups have, though it has the controller.
pub(super) fn parent_lacks(mount: &OwnedFd, path: &str, unified: bool, controller: Controller, file: &str) -> bool {
    let Some((parent, _)) = path.rsplit_once('/') else {
        return false;
    };
    if exists(mount, format!("{parent}/{file}")) || !exists(mount, parent) {
        return false;
    }
    // A group of version 2 has files of controllers that are handed down to it only.
    let handed = |name| lists(mount, &format!("{parent}/cgroup.controllers"), name);
    !unified || controller.unified_name().is_none_or(handed)
}

/// Whether a version 2 group has processes of its own and so can't hand controllers down (`cgroup-v2.rst`, "No Internal
/// Process Constraint"). What looks like the root inside a container is such a group; the true root is exempt.
pub(super) fn is_occupied(group: BorrowedFd<'_>) -> bool {
    exists(group, "cgroup.type") && read_file(group, "cgroup.procs").is_ok_and(|processes| !processes.is_empty())
}

/// A version 1 cpuset starts empty and takes no process until it has processors and memory nodes: each level along the
/// path gets its parent's where it has none.
pub(super) fn inherit_cpuset(mount: &OwnedFd, path: &str) -> Result<()> {
    let ends: Vec<usize> = path.match_indices('/').map(|(index, _)| index).chain(std::iter::once(path.len())).collect();
    let open = |at: &str| {
        rustix::fs::openat(mount, at, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("openat(cgroup, {at:?})"))
    };
    let mut parent = open(".")?;
    for end in ends {
        let child = open(&path[..end])?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if read_file(child.as_fd(), file)?.trim().is_empty() {
                let value = read_file(parent.as_fd(), file)?;
                if value.trim().is_empty() {
                    return Err(Error::new(format!("read(cgroup file {file:?}): the parent's is empty"), Errno::NOSPC));
                }
                write_file(child.as_fd(), file, value.trim())?;
            }
        }
        parent = child;
    }
    Ok(())
}
