//! What is opened outside, with the engine's rights, and handed to the new process: the root file system, sources of bind
//! mounts and device files, as detached mounts.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use casemate_kernel::mount::{self, Attributes, Change, Propagation};
use casemate_kernel::namespace::{IdMap, Namespaces};
use casemate_kernel::{idmap, path};
use oci_spec::runtime::Spec;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Step};
use crate::plan::{DevicePlan, MountIdmap, MountKind, MountNamespace, MountPlan, Plan, SourceLink, root_propagation};

/// What was made outside for one mount of the specification.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The mount's index in the specification.
    pub(crate) mount: usize,
    pub(crate) source: Source,
}

#[derive(Debug)]
pub(crate) enum Source {
    /// A detached mount of a directory, or of any other file.
    Mount { directory: bool, detached: OwnedFd },
    /// What a symbolic link says, to be made once more.
    Link(OsString),
}

/// Opens the root file system of a bundle as a detached mount, for [`RootFs`](crate::RootFs): the directory `path` with
/// all that is mounted below it.
///
/// It is cut off from the host as `linux.rootfsPropagation` says: with `slave` what the host mounts there is seen inside;
/// in no case is anything mounted inside seen on the host. The directory may be a mount point, or not.
///
/// # Errors
/// `root.path` when it is missing, no directory, or on a mount that can't be bound; `linux.rootfsPropagation` when it is
/// wrong.
pub fn open_rootfs(path: &Path, spec: &Spec) -> Result<OwnedFd, Error> {
    let travels = spec.linux().as_ref().map(root_propagation).transpose()?.flatten();
    let fail = |error: casemate_kernel::Error| Error::field("root.path", format!("{path:?}: {error}"));
    let tree = mount::clone_path(path, true, true).map_err(fail)?;
    if !path::is_directory(&tree).map_err(fail)? {
        return Err(Error::field("root.path", format!("{path:?} is not a directory")));
    }
    let slave = matches!(travels, Some((Propagation::Slave, _)));
    mount::set_propagation(&tree, if slave { Propagation::Slave } else { Propagation::Private }, true).map_err(fail)?;
    Ok(tree)
}

/// The mount namespace that the process enters in the end, when that is not a new one.
pub(crate) fn open_mount_namespace(plan: &Plan) -> Result<Option<OwnedFd>, Error> {
    let path = match &plan.mount_namespace {
        MountNamespace::Own => return Ok(None),
        MountNamespace::Runtimes => Path::new("/proc/self/ns/mnt"),
        MountNamespace::Joined(path) => path,
    };
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map(Some)
        .map_err(|errno| Error::field("linux.namespaces.path", format!("{path:?}: {errno}")))
}

/// The sources of bind mounts, as detached mounts: opened with the engine's rights, which the container's process does
/// not have. A relative one counts from the working directory, which is the bundle.
pub(crate) fn open_binds(plan: &Plan) -> Result<Vec<Tree>, Error> {
    let mut trees = Vec::new();
    for mount in &plan.mounts {
        let MountKind::Bind { source, recursive, idmap, link } = &mount.kind else { continue };
        let field = format!("mounts[{}].source", mount.index);
        if *link == SourceLink::Copy
            && let Ok(target) = rustix::fs::readlink(source, Vec::new())
        {
            let target = std::os::unix::ffi::OsStringExt::from_vec(target.into_bytes());
            trees.push(Tree { mount: mount.index, source: Source::Link(target) });
            continue;
        }
        let fail = |error: casemate_kernel::Error| Error::field(&field, format!("{source:?}: {error}"));
        let detached = mount::clone_path(source, *recursive, *link != SourceLink::Bind).map_err(fail)?;
        let directory = path::is_directory(&detached).map_err(fail)?;
        match idmap {
            None => prepare(plan, mount, &detached, None)?,
            Some(MountIdmap::Own { uids, gids, recursive }) => {
                let namespace = idmap::namespace(uids, gids).step(&format!("mounts[{}].uidMappings", mount.index))?;
                prepare(plan, mount, &detached, Some((namespace.as_fd(), *recursive)))?;
            }
            // Once the container's user namespace has its maps: idmap_trees.
            Some(MountIdmap::Container { .. }) => {}
        }
        trees.push(Tree { mount: mount.index, source: Source::Mount { directory, detached } });
    }
    Ok(trees)
}

/// The source of a bind mount, opened once more by the container's process, in the order of the specification.
///
/// Since Linux 6.8 mounts are listed (`mountinfo`) in the order in which they were made, not in that in which they were
/// attached, and readers take them to be in the specification's. Sources that were opened before the container's own file
/// systems were made would come first. `None` when the process does not have the engine's rights, or does not find the
/// very same file: then what was opened first is what is mounted.
pub(crate) fn open_again(plan: &Plan, mount: &MountPlan, first: &OwnedFd) -> Result<Option<OwnedFd>, Error> {
    let MountKind::Bind { source, recursive, idmap: None, link } = &mount.kind else { return Ok(None) };
    let in_user_namespace = plan.new.contains(Namespaces::USER) || !plan.joined.is_empty();
    if in_user_namespace || !plan.new.contains(Namespaces::MOUNT) {
        return Ok(None);
    }
    let Ok(tree) = mount::clone_path(source, *recursive, *link != SourceLink::Bind) else { return Ok(None) };
    let step = format!("mounts[{}].source", mount.index);
    let (found, known) = (path::identity(&tree).step(&step)?, path::identity(first).step(&step)?);
    if (found.device, found.inode) != (known.device, known.inode) {
        return Ok(None);
    }
    prepare(plan, mount, &tree, None)?;
    Ok(Some(tree))
}

/// Gives the maps of the container's user namespace to the mounts that ask for them. The new process holds the very same
/// mounts, through descriptors it inherited, and waits for the root file system before it uses them.
pub(crate) fn idmap_trees(plan: &Plan, trees: &[Tree], user: &OwnedFd) -> Result<(), Error> {
    for mount in &plan.mounts {
        let MountKind::Bind { idmap: Some(MountIdmap::Container { recursive }), .. } = &mount.kind else { continue };
        for tree in trees.iter().filter(|tree| tree.mount == mount.index) {
            if let Source::Mount { detached, .. } = &tree.source {
                prepare(plan, mount, detached, Some((user.as_fd(), *recursive)))?;
            }
        }
    }
    Ok(())
}

/// Gives a bind mount its attributes, its propagation and its owners, in as few steps as can be: while nothing else can
/// see it, so that nothing mounted inside is seen on the host for a moment.
fn prepare(plan: &Plan, mount: &MountPlan, tree: &OwnedFd, idmap: Option<(BorrowedFd<'_>, bool)>) -> Result<(), Error> {
    for change in changes(plan.propagation.map(|(travels, _)| travels), mount, idmap) {
        mount::change(tree, &change).map_err(|error| match (&mount.kind, change.idmap) {
            (MountKind::Bind { source, .. }, Some(_)) => Error::field(
                &format!("mounts[{}].uidMappings", mount.index),
                format!("the file system of {source:?} can't be idmapped on this kernel ({error})"),
            ),
            _ => Error::field(&format!("mounts[{}].options", mount.index), error),
        })?;
    }
    Ok(())
}

fn changes<'a>(
    root: Option<Propagation>,
    mount: &MountPlan,
    idmap: Option<(BorrowedFd<'a>, bool)>,
) -> impl Iterator<Item = Change<'a>> {
    let single = matches!(mount.kind, MountKind::Bind { recursive: false, .. });
    let mut top = Change { set: mount.set, clear: mount.clear, ..Change::default() };
    let mut all = Change { set: mount.set_all, clear: mount.clear_all, recursive: true, ..Change::default() };
    if single {
        // There is nothing below: one step for both, in which what was said of all counts last.
        top.set = top.set.without(all.clear) | all.set;
        top.clear = top.clear.without(all.set) | all.clear;
        all = Change { recursive: true, ..Change::default() };
    }
    if let Some((namespace, recursive)) = idmap {
        let change = if recursive && !single { &mut all } else { &mut top };
        change.idmap = Some(namespace);
    }
    let mut later = travels(root, mount, single).into_iter();
    if let Some((propagation, recursive)) = later.next() {
        let change = if recursive && !single { &mut all } else { &mut top };
        change.propagation = Some(propagation);
    }
    let later = later.map(move |(propagation, recursive)| Change {
        propagation: Some(propagation),
        recursive: recursive && !single,
        ..Change::default()
    });
    [top, all].into_iter().filter(|change| !change.is_empty()).chain(later)
}

/// How mount events are to travel, step by step.
///
/// A copy of a mount of the host that is shared is in its peer group. As in runc it first gets what the host's mounts have
/// in the container's mount namespace: with `rootfsPropagation` shared it stays in the group, else it receives, or not
/// even that. Then what its options say is done.
fn travels(root: Option<Propagation>, mount: &MountPlan, single: bool) -> Vec<(Propagation, bool)> {
    let first = match root {
        Some(Propagation::Shared) => None,
        Some(Propagation::Private | Propagation::Unbindable) => Some((Propagation::Private, true)),
        Some(Propagation::Slave) | None => Some((Propagation::Slave, true)),
    };
    // Not needed before what undoes it: anything for all mounts of the tree but "shared", which adds to it.
    let undone = mount
        .propagation
        .first()
        .is_some_and(|(propagation, recursive)| *propagation != Propagation::Shared && (*recursive || single));
    first.filter(|_| !undone).into_iter().chain(mount.propagation.iter().copied()).collect()
}

/// The devices, as detached mounts of device files that are known to be what they are: those that the container's process
/// can't make, in its user namespace or control group.
///
/// Those that every container has are the host's own, verified. Those that were asked for are made anew, so that they
/// can belong to the container's user; where that is not permitted, they are the host's too.
pub(crate) fn open_devices(plan: &Plan) -> Result<Vec<Option<OwnedFd>>, Error> {
    let joined = plan.joined.iter().find(|(kind, _)| *kind == Namespaces::USER).map(|(_, path)| path);
    let user = plan.new.contains(Namespaces::USER) || joined.is_some();
    plan.devices
        .iter()
        .map(|device| match device.index {
            _ if device.kind == FileType::Fifo => Ok(None),
            _ if !user && device.may_be_made(&plan.limits.devices) => Ok(None),
            None if user => host_device(device).map(Some),
            // Without a user namespace the host's own file would be the container's to change: its mode, its owner.
            _ => match make_device(plan, device, joined) {
                Ok(made) => Ok(Some(made)),
                Err(error) if matches!(error.errno(), Errno::PERM | Errno::INVAL) => host_device(device).map(Some),
                Err(error) => Err(Error::field(&device.field(), error)),
            },
        })
        .collect()
}

/// The host's device file of that path, when it is the one meant.
pub(crate) fn host_device(device: &DevicePlan) -> Result<OwnedFd, Error> {
    let field = |error: casemate_kernel::Error| Error::field(&device.field(), error);
    let tree = mount::clone_path(&device.path, false, false).map_err(field)?;
    let found = path::identity(&tree).map_err(field)?;
    if !device.is(found.kind, found.of_device) {
        return Err(Error::field(
            &device.field(),
            format!("the host's is not the device {}:{}", device.major, device.minor),
        ));
    }
    Ok(tree)
}

/// Makes a device file in a file system of its own, belonging to the container's ids: of a user namespace that is joined
/// (by its file) they are known to the kernel only, which shows the file through its maps.
fn make_device(plan: &Plan, device: &DevicePlan, joined: Option<&PathBuf>) -> Result<OwnedFd, casemate_kernel::Error> {
    let options = [("size", Some("4k")), ("mode", Some("0755"))];
    let directory = mount::new("tmpfs", &options, Attributes::NO_EXEC)?;
    let fail = |what: &str, errno| casemate_kernel::Error::new(format!("{what}({:?})", device.path), errno);
    let name = "device";
    let number = rustix::fs::makedev(device.major, device.minor);
    let mode = Mode::from_raw_mode(device.mode);
    rustix::fs::mknodat(&directory, name, device.kind, mode, number).map_err(|errno| fail("mknodat", errno))?;
    let opened = rustix::fs::openat(&directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| fail("openat", errno))?;
    let (uid, gid) = match joined {
        None => (outside(&plan.uids, device.uid), outside(&plan.gids, device.gid)),
        Some(_) => (device.uid, device.gid),
    };
    let owner = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    rustix::fs::chownat(&directory, name, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| fail("chownat", errno))?;
    // After the owner: a change of it clears the set-id bits.
    rustix::fs::chmodat(&directory, name, mode, AtFlags::empty()).map_err(|errno| fail("chmodat", errno))?;
    let tree = mount::clone_of_detached(&directory, &opened)?;
    if let Some(namespace) = joined {
        let namespace = rustix::fs::open(namespace, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| casemate_kernel::Error::new(format!("open({namespace:?})"), errno))?;
        mount::set_idmap(&tree, namespace.as_fd(), Attributes::empty(), false)?;
    }
    Ok(tree)
}

/// An id of the container as the host knows it; the host's root for one that is not mapped, as the kernel shows it.
fn outside(maps: &[IdMap], id: u32) -> u32 {
    if maps.is_empty() {
        return id;
    }
    maps.iter()
        .find_map(|map| (id.checked_sub(map.inside)? < map.count).then(|| map.outside + (id - map.inside)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::mount::planned;

    fn steps(root: Option<Propagation>, options: &str) -> Vec<(Attributes, Option<Propagation>, bool)> {
        let mount = planned(&format!(r#"{{"destination":"/a","source":"/b","options":[{options}]}}"#)).unwrap();
        changes(root, &mount, None).map(|change| (change.set, change.propagation, change.recursive)).collect()
    }

    #[test]
    fn what_can_be_done_at_once_is() {
        let (none, ro) = (Attributes::empty(), Attributes::READ_ONLY);
        let (private, slave, shared) =
            (Some(Propagation::Private), Some(Propagation::Slave), Some(Propagation::Shared));
        assert_eq!(steps(None, r#""bind","ro","rprivate""#), [(ro, private, false)]);
        assert_eq!(steps(None, r#""bind","rro""#), [(ro, slave, false)]);
        assert_eq!(steps(None, r#""rbind","ro","rprivate""#), [(ro, None, false), (none, private, true)]);
        assert_eq!(steps(None, r#""rbind","rro","rprivate""#), [(ro, private, true)]);
        // Sharing with the host is for a root that is shared only; else it is among the container's own.
        assert_eq!(steps(None, r#""rbind","rshared""#), [(none, slave, true), (none, shared, true)]);
        assert_eq!(steps(shared, r#""rbind","rshared""#), [(none, shared, true)]);
        assert_eq!(steps(shared, r#""rbind""#), []);
        assert_eq!(steps(private, r#""rbind","slave""#), [(none, private, true), (none, slave, false)]);
        assert_eq!(steps(None, r#""rbind","rslave","shared""#), [(none, slave, true), (none, shared, false)]);
        let mount = planned(r#"{"destination":"/a","source":"/b","options":["bind","ro","rrw"]}"#).unwrap();
        let change = changes(None, &mount, None).next().unwrap();
        assert_eq!((change.set, change.clear), (none, ro));
    }

    #[test]
    fn ids_are_those_outside() {
        let maps = [IdMap { inside: 0, outside: 1000, count: 1 }, IdMap { inside: 1, outside: 5000, count: 10 }];
        assert_eq!((outside(&maps, 0), outside(&maps, 3), outside(&maps, 11), outside(&[], 7)), (1000, 5002, 0, 7));
    }
}
