//! What is opened outside, with the engine's rights, and handed to the new process: sources of bind mounts and device
//! files, as detached mounts.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use casemate_kernel::{idmap, mount, namespace, path};
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Step};
use crate::plan::{DevicePlan, MountIdmap, MountKind, Plan};

/// A detached mount made outside for one mount of the specification.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) mount: usize,
    pub(crate) directory: bool,
    pub(crate) detached: OwnedFd,
}

/// The sources of bind mounts, as detached mounts: opened with the engine's rights, which the container's process does
/// not have.
pub(crate) fn open_binds(plan: &Plan) -> Result<Vec<Tree>, Error> {
    let mut trees = Vec::new();
    for mount in &plan.mounts {
        let MountKind::Bind { source, recursive, idmap } = &mount.kind else { continue };
        let tree = open_bind(mount.index, source, *recursive)?;
        if let Some(MountIdmap::Own { uids, gids, recursive }) = idmap {
            let namespace = idmap::namespace(uids, gids).step(&format!("mounts[{}].uidMappings", mount.index))?;
            mount::set_idmap(&tree, namespace.as_fd(), mount::Attributes::empty(), *recursive)
                .map_err(|error| not_idmapped(mount.index, source, &error))?;
        }
        let directory = path::is_directory(&tree).step("stat a bind mount's source")?;
        trees.push(Tree { mount: mount.index, directory, detached: tree });
    }
    Ok(trees)
}

pub(crate) fn open_bind(index: usize, source: &Path, recursive: bool) -> Result<OwnedFd, Error> {
    let field = format!("mounts[{index}].source");
    let opened = rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::field(&field, format!("{source:?}: {errno}")))?;
    mount::clone_tree(&opened, recursive).map_err(|error| Error::field(&field, format!("{source:?}: {error}")))
}

pub(crate) fn not_idmapped(index: usize, source: &Path, error: &casemate_kernel::Error) -> Error {
    Error::field(
        &format!("mounts[{index}].uidMappings"),
        format!("the file system of {source:?} can't be idmapped on this kernel ({error})"),
    )
}

/// Gives the maps of the container's user namespace to the mounts that ask for them. The new process holds the very same
/// mounts, through descriptors it inherited, and waits for the root file system before it uses them.
pub(crate) fn idmap_trees(plan: &Plan, trees: &[Tree], user: &OwnedFd) -> Result<(), Error> {
    for (mount, source, recursive) in plan.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { source, idmap: Some(MountIdmap::Container { recursive }), .. } => {
            Some((mount.index, source, *recursive))
        }
        _ => None,
    }) {
        let Some(tree) = trees.iter().find(|tree| tree.mount == mount) else {
            continue;
        };
        mount::set_idmap(&tree.detached, user.as_fd(), mount::Attributes::empty(), recursive)
            .map_err(|error| not_idmapped(mount, source, &error))?;
    }
    Ok(())
}

/// The devices, as detached mounts of device files that are known to be what they are.
///
/// Those that every container has are the host's own, verified. Those that were asked for are made anew, so that they
/// can belong to the container's user; where that is not permitted, they are the host's too.
pub(crate) fn open_devices(plan: &Plan) -> Result<Vec<OwnedFd>, Error> {
    plan.devices
        .iter()
        .map(|device| {
            let made = if device.default { None } else { Some(make_device(plan, device)) };
            match made {
                Some(Ok(made)) => Ok(made),
                Some(Err(error)) if error.errno() != rustix::io::Errno::PERM => {
                    Err(Error::field("linux.devices", format!("{:?}: {error}", device.path)))
                }
                _ => host_device(device),
            }
        })
        .collect()
}

pub(crate) fn host_device(device: &DevicePlan) -> Result<OwnedFd, Error> {
    let field = |why: String| Error::field("linux.devices", format!("{:?}: {why}", device.path));
    let host = rustix::fs::open(&device.path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| field(errno.to_string()))?;
    let stat = rustix::fs::fstat(&host).map_err(|errno| field(errno.to_string()))?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    let numbers = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if kind != device.file_type() || numbers != (device.major, device.minor) {
        return Err(field(format!("the host's is not the device {}:{}", device.major, device.minor)));
    }
    mount::clone_tree(&host, false).map_err(|error| field(error.to_string()))
}

/// Makes a device file in a file system of its own, belonging to the container's ids.
pub(crate) fn make_device(plan: &Plan, device: &DevicePlan) -> Result<OwnedFd, casemate_kernel::Error> {
    let options = [("size", Some("4k")), ("mode", Some("0755"))];
    let directory = mount::new("tmpfs", &options, mount::Attributes::NO_EXEC)?;
    let fail = |what: &str, errno| casemate_kernel::Error::new(format!("{what}({:?})", device.path), errno);
    let name = "device";
    let number = rustix::fs::makedev(device.major, device.minor);
    let mode = Mode::from_raw_mode(device.mode);
    rustix::fs::mknodat(&directory, name, device.file_type(), mode, number).map_err(|errno| fail("mknodat", errno))?;
    rustix::fs::chmodat(&directory, name, mode, rustix::fs::AtFlags::empty())
        .map_err(|errno| fail("chmodat", errno))?;
    let opened = rustix::fs::openat(&directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| fail("openat", errno))?;
    let owner = (outside(&plan.uids, device.uid), outside(&plan.gids, device.gid));
    rustix::fs::chownat(
        &directory,
        name,
        Some(rustix::fs::Uid::from_raw(owner.0)),
        Some(rustix::fs::Gid::from_raw(owner.1)),
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(|errno| fail("chownat", errno))?;
    mount::clone_of_detached(&directory, &opened)
}

/// An id of the container as the host knows it; the host's root for one that is not mapped, as the kernel shows it.
pub(crate) fn outside(maps: &[namespace::IdMap], id: u32) -> u32 {
    if maps.is_empty() {
        return id;
    }
    maps.iter()
        .find_map(|map| (id.checked_sub(map.inside)? < map.count).then(|| map.outside + (id - map.inside)))
        .unwrap_or(0)
}

/// The root file system of a bundle, with what is mounted in it, as a detached mount.
pub(crate) fn open_rootfs(path: &Path) -> Result<OwnedFd, Error> {
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::field("root.path", format!("{path:?}: {errno}")))?;
    mount::clone_tree(&opened, true).map_err(|error| Error::field("root.path", format!("{path:?}: {error}")))
}
