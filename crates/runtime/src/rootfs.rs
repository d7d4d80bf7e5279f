//! The container's file system tree: attached, mounted on, masked, sealed and entered, all by descriptor beneath its root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use casemate_kernel::cgroup::Controller;
use casemate_kernel::mount::{self, Attributes, Propagation};
use casemate_kernel::namespace::Namespaces;
use casemate_kernel::path::{self, Missing};
use casemate_kernel::terminal::{self, Terminal};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Step};
use crate::init;
use crate::plan::{MountKind, MountPlan, Plan};
use crate::sources::Tree;

/// The mounts of a container, detached, ready to be attached.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// For each mount of the plan, what goes where: the destination, or a name below it.
    mounts: Vec<Vec<Part>>,
    devices: Vec<OwnedFd>,
}

#[derive(Debug)]
struct Part {
    name: Option<&'static str>,
    directory: bool,
    tree: OwnedFd,
}

impl Prepared {
    /// Makes the container's own file systems. They belong to its user namespace: the caller is its root by now.
    pub(crate) fn new(
        plan: &Plan,
        trees: Vec<Tree>,
        shown: Vec<(Controller, OwnedFd)>,
        devices: Vec<OwnedFd>,
    ) -> Result<Self, Error> {
        let mut mounts: Vec<Vec<Part>> = plan.mounts.iter().map(|_| Vec::new()).collect();
        for (mount, parts) in plan.mounts.iter().zip(&mut mounts) {
            match &mount.kind {
                MountKind::New { filesystem, options } => parts.push(new_file_system(mount, filesystem, options)?),
                MountKind::Cgroup if shown.is_empty() => {
                    parts.push(new_file_system(mount, "cgroup2", &[])?);
                }
                MountKind::Cgroup => {
                    // Version 1: a directory of hierarchies, each the container's own group.
                    let options =
                        [("mode".to_owned(), Some("0755".to_owned())), ("size".to_owned(), Some("64k".to_owned()))];
                    parts.push(new_file_system(mount, "tmpfs", &options)?);
                }
                MountKind::Bind { .. } => {}
            }
        }
        for Tree { mount, directory, detached } in trees {
            let position = plan.mounts.iter().position(|plan| plan.index == mount);
            if let Some(parts) = position.and_then(|position| mounts.get_mut(position)) {
                parts.push(Part { name: None, directory, tree: detached });
            }
        }
        set_sysctls(plan, &mounts)?;
        let cgroups = plan.mounts.iter().position(|mount| matches!(mount.kind, MountKind::Cgroup));
        if let Some(parts) = cgroups.and_then(|position| mounts.get_mut(position)) {
            let named = |(controller, tree): (Controller, OwnedFd)| Part {
                name: Some(controller.name()),
                directory: true,
                tree,
            };
            parts.extend(shown.into_iter().map(named));
        }
        Ok(Self { mounts, devices })
    }
}

fn new_file_system(plan: &MountPlan, filesystem: &str, options: &[(String, Option<String>)]) -> Result<Part, Error> {
    let options: Vec<(&str, Option<&str>)> =
        options.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    // What is copied in, or mounted below, comes before read-only.
    let late = if plan.copy_up || matches!(plan.kind, MountKind::Cgroup) {
        Attributes::READ_ONLY
    } else {
        Attributes::empty()
    };
    let tree = mount::new(filesystem, &options, plan.set.without(late))
        .step(&format!("mounts[{}] at {:?}", plan.index, plan.destination))?;
    Ok(Part { name: None, directory: true, tree })
}

/// The root file system, attached in the container's mount namespace, over the host's.
#[derive(Debug)]
pub(crate) struct RootTree {
    root: OwnedFd,
}

impl RootTree {
    /// Attaches the root over `/`, where it is found by its descriptor only until it is entered.
    pub(crate) fn attach(plan: &Plan, root: OwnedFd) -> Result<Self, Error> {
        // In a user namespace of its own the copy of the host's mounts passes nothing on; otherwise it would.
        if !plan.new.contains(Namespaces::USER) {
            init::make_private()?;
        }
        mount::attach(&root, init::open_root()?).step("attach the root file system")?;
        Ok(Self { root })
    }

    /// Attaches all mounts in the order of the specification, then what belongs on them: devices and links of `/dev`,
    /// read-only and masked paths.
    pub(crate) fn mount_all(&self, plan: &Plan, prepared: Prepared) -> Result<(), Error> {
        for (mount, parts) in plan.mounts.iter().zip(prepared.mounts) {
            self.mount(mount, &parts).map_err(|error| {
                Error::new(error.kind(), format!("mounts[{}] at {:?}: {error}", mount.index, mount.destination))
            })?;
        }
        self.populate_dev(plan, &prepared.devices)?;
        self.make_read_only(&plan.read_only)?;
        self.mask(&plan.masked)
    }

    fn mount(&self, plan: &MountPlan, parts: &[Part]) -> Result<(), Error> {
        let Some((first, rest)) = parts.split_first() else {
            return Ok(());
        };
        let missing = if first.directory { Missing::Directory } else { Missing::File };
        let target = path::open_or_create(&self.root, &plan.destination, missing).step("mount point")?;
        if path::is_directory(&target).step("mount point")? != first.directory {
            let kind = if first.directory { "a directory over a file" } else { "a file over a directory" };
            return Err(Error::step("mount point", format!("{kind} can't be mounted")));
        }
        if plan.copy_up {
            copy_up(&target, &first.tree)?;
        }
        if matches!(plan.kind, MountKind::Bind { .. }) && (plan.set, plan.clear) != Default::default() {
            mount::set_attributes(&first.tree, plan.set, plan.clear, false).step("options")?;
        }
        mount::attach(&first.tree, &target).step("attach")?;
        for part in rest {
            let Some(name) = part.name else { continue };
            let place = path::open_or_create(&first.tree, Path::new(name), Missing::Directory).step(name)?;
            mount::set_attributes(&part.tree, plan.set, Attributes::empty(), false).step(name)?;
            mount::attach(&part.tree, &place).step(name)?;
        }
        // What new_file_system left out, since things were yet to be made on it.
        let late = plan.copy_up || matches!(plan.kind, MountKind::Cgroup);
        if late && plan.set.contains(Attributes::READ_ONLY) {
            mount::set_attributes(&first.tree, Attributes::READ_ONLY, Attributes::empty(), false).step("options")?;
        }
        if plan.set_recursive != Attributes::empty() {
            mount::set_attributes(&first.tree, plan.set_recursive, Attributes::empty(), true).step("options")?;
        }
        if let Some((propagation, recursive)) = plan.propagation {
            mount::set_propagation(&first.tree, propagation, recursive).step("propagation")?;
        }
        Ok(())
    }

    /// The device files, and the links that programs expect (`runtime-linux.md`, "Dev symbolic links").
    fn populate_dev(&self, plan: &Plan, devices: &[OwnedFd]) -> Result<(), Error> {
        let dev = match path::open_in_root(&self.root, Path::new("/dev"), OFlags::PATH | OFlags::DIRECTORY) {
            Ok(dev) => Some(dev),
            Err(error) if error.errno() == Errno::NOENT => None,
            Err(error) => return Err(Error::step("open /dev", error)),
        };
        for (device, tree) in plan.devices.iter().zip(devices) {
            let step = format!("linux.devices: {:?}", device.path);
            let place = match (&dev, device.name_in_dev()) {
                (Some(dev), Some(name)) => path::create_in(dev, name),
                _ => path::open_or_create(&self.root, &device.path, Missing::File),
            };
            match place {
                Ok(place) => mount::attach(tree, &place).step(&step)?,
                // A bundle without a /dev of its own on a read-only root has only what the image brings.
                Err(error) if error.errno() == Errno::ROFS => {}
                Err(error) => return Err(Error::step(step, error)),
            }
        }
        let Some(dev) = dev else { return Ok(()) };
        let links = [
            ("/proc/self/fd", "fd"),
            ("/proc/self/fd/0", "stdin"),
            ("/proc/self/fd/1", "stdout"),
            ("/proc/self/fd/2", "stderr"),
        ];
        for (target, name) in links.into_iter().chain(dev_has_pts(plan).then_some(("pts/ptmx", "ptmx"))) {
            match path::symlink(target, &dev, name) {
                Err(error) if error.errno() != Errno::ROFS => {
                    return Err(Error::step("links of /dev", error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn make_read_only(&self, paths: &[PathBuf]) -> Result<(), Error> {
        for name in paths {
            let step = format!("linux.readonlyPaths: {name:?}");
            let Some(target) = self.open_if_there(name).step(&step)? else {
                continue;
            };
            let copy = mount::clone_tree(&target, true).step(&step)?;
            mount::set_attributes(&copy, Attributes::READ_ONLY, Attributes::empty(), true).step(&step)?;
            mount::attach(&copy, &target).step(&step)?;
        }
        Ok(())
    }

    /// Hides paths: a file behind the null device, a directory behind an empty one. Both are known to be what they are,
    /// whatever the image has put in the places they usually come from (CVE-2025-31133).
    fn mask(&self, paths: &[PathBuf]) -> Result<(), Error> {
        let (mut null, mut empty): (Option<OwnedFd>, Option<OwnedFd>) = (None, None);
        for name in paths {
            let step = format!("linux.maskedPaths: {name:?}");
            let Some(target) = self.open_if_there(name).step(&step)? else {
                continue;
            };
            if path::is_directory(&target).step(&step)? {
                // One empty file system for all: attached where it is first needed, and copied from there.
                if let Some(empty) = &empty {
                    mount::attach(mount::clone_tree(empty, false).step(&step)?, &target).step(&step)?;
                } else {
                    mount::attach(empty.insert(empty_directory().step(&step)?), &target).step(&step)?;
                }
            } else {
                // The null device, seen through a mount of its own on which nothing can be done but read nothing.
                if let Some(null) = &null {
                    mount::attach(mount::clone_tree(null, false).step(&step)?, &target).step(&step)?;
                } else {
                    let cover = mount::clone_tree(self.open_null()?, false).step(&step)?;
                    let sealed = Attributes::READ_ONLY | Attributes::NO_EXEC | Attributes::NO_SUID;
                    mount::set_attributes(&cover, sealed, Attributes::empty(), false).step(&step)?;
                    mount::attach(null.insert(cover), &target).step(&step)?;
                }
            }
        }
        Ok(())
    }

    fn open_if_there(&self, name: &Path) -> Result<Option<OwnedFd>, casemate_kernel::Error> {
        match path::open_in_root(&self.root, name, OFlags::PATH) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The container's null device, verified to be it.
    pub(crate) fn open_null(&self) -> Result<OwnedFd, Error> {
        let null =
            path::open_in_root(&self.root, Path::new("/dev/null"), OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW)
                .step("open the container's /dev/null")?;
        if !path::is_character_device(null.as_fd(), 1, 3).step("stat the container's /dev/null")? {
            return Err(Error::step("open the container's /dev/null", "it is not the null device"));
        }
        Ok(null)
    }

    /// Opens a terminal of the container's `devpts` and shows it as `/dev/console`.
    pub(crate) fn open_terminal(&self, plan: &Plan, columns: u16, rows: u16) -> Result<Terminal, Error> {
        let devpts = path::open_in_root(&self.root, Path::new("/dev/pts"), OFlags::PATH | OFlags::DIRECTORY)
            .step("process.terminal: open /dev/pts")?;
        let terminal = terminal::open(devpts).step("process.terminal")?;
        if columns != 0 && rows != 0 {
            terminal::set_size(&terminal.master, columns, rows).step("process.terminal")?;
        }
        if plan.process.uid != 0 {
            terminal::change_owner(&terminal.slave, plan.process.uid, plan.process.gid).step("process.terminal")?;
        }
        match path::open_or_create(&self.root, Path::new("/dev/console"), Missing::File) {
            Ok(place) => {
                let copy = mount::clone_tree(&terminal.slave, false).step("process.terminal: /dev/console")?;
                mount::attach(&copy, &place).step("process.terminal: /dev/console")?;
            }
            Err(error) if error.errno() == Errno::ROFS => {}
            Err(error) => return Err(Error::step("process.terminal: /dev/console", error)),
        }
        Ok(terminal)
    }

    /// Opens the working directory, which is made, and given to the process's user, when the image has none.
    pub(crate) fn working_directory(&self, cwd: &Path, uid: u32, gid: u32) -> Result<OwnedFd, Error> {
        let step = format!("process.cwd: {cwd:?}");
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match path::open_in_root(&self.root, cwd, flags) {
            Err(error) if error.errno() == Errno::NOENT => {
                let made = path::open_or_create(&self.root, cwd, Missing::Directory).step(&step)?;
                let opened =
                    rustix::fs::openat(&made, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                        .step(&step)?;
                terminal::change_owner(&opened, uid, gid).step(&step)?;
                Ok(made)
            }
            other => other.step(&step),
        }
    }

    /// The last changes to the tree: from here on it is as the container will see it.
    pub(crate) fn seal(&self, plan: &Plan) -> Result<(), Error> {
        if plan.read_only_root {
            mount::set_attributes(&self.root, Attributes::READ_ONLY, Attributes::empty(), false)
                .step("root.readonly")?;
        }
        Ok(())
    }

    /// Makes the tree the process's root and takes the host's away.
    pub(crate) fn enter(self) -> Result<(), Error> {
        rustix::process::fchdir(&self.root).step("enter the root file system")?;
        mount::pivot_to_working_directory().step("enter the root file system")?;
        Ok(())
    }

    /// Sets how mount events travel from and to the root, once it is entered.
    pub(crate) fn propagate(propagation: Option<Propagation>) -> Result<(), Error> {
        match propagation {
            None => Ok(()),
            Some(propagation) => {
                mount::set_propagation(init::open_root()?, propagation, true).step("linux.rootfsPropagation")
            }
        }
    }
}

/// Kernel parameters, through a procfs that is the container's and that nobody else can reach yet: not attached anywhere,
/// so nothing is mounted over a part of it (CVE-2025-52881).
fn set_sysctls(plan: &Plan, mounts: &[Vec<Part>]) -> Result<(), Error> {
    if plan.sysctls.is_empty() {
        return Ok(());
    }
    // A bind of the host's procfs is the only one to be had when the container is in the host's PID namespace.
    let procs = plan.mounts.iter().zip(mounts).filter(|(mount, _)| match &mount.kind {
        MountKind::New { filesystem, .. } => filesystem == "proc",
        MountKind::Bind { .. } => mount.destination == Path::new("/proc"),
        MountKind::Cgroup => false,
    });
    let own;
    let proc = if let Some(part) = procs.filter_map(|(_, parts)| parts.first()).find(|part| path::is_proc(&part.tree)) {
        &part.tree
    } else {
        own = mount::new("proc", &[], Attributes::NO_EXEC | Attributes::NO_SUID | Attributes::NO_DEV)
            .step("linux.sysctl: a procfs to write through")?;
        &own
    };
    for (name, value) in &plan.sysctls {
        let step = format!("linux.sysctl[{name:?}] = {value:?}");
        let file = path::open_beneath_same_mount(proc, &Path::new("sys").join(name), OFlags::WRONLY).step(&step)?;
        rustix::io::write(&file, value.as_bytes()).step(&step)?;
    }
    Ok(())
}

/// An empty, read-only directory to hide others behind.
fn empty_directory() -> Result<OwnedFd, casemate_kernel::Error> {
    let attributes = Attributes::READ_ONLY | Attributes::NO_EXEC | Attributes::NO_SUID | Attributes::NO_DEV;
    mount::new("tmpfs", &[("size", Some("4k")), ("nr_inodes", Some("2"))], attributes)
}

fn dev_has_pts(plan: &Plan) -> bool {
    plan.mounts.iter().any(|mount| mount.destination == Path::new("/dev/pts"))
}

/// Copies what the image has at a mount point into the new file system (`tmpcopyup`): directories, files and links.
fn copy_up(from: &OwnedFd, to: &OwnedFd) -> Result<(), Error> {
    let source = rustix::fs::openat(from, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .step("tmpcopyup")?;
    copy_directory(&source, to, 0).step("tmpcopyup")
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd, depth: usize) -> Result<(), Errno> {
    use rustix::fs::FileType;
    if depth > 64 {
        return Err(Errno::NAMETOOLONG);
    }
    for entry in rustix::fs::Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() == b"." || name.to_bytes() == b".." {
            continue;
        }
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let stat = rustix::fs::statat(from, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, name, mode)?;
                let below = rustix::fs::openat(from, name, flags | OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
                let made = rustix::fs::openat(to, name, flags | OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
                copy_directory(&below, &made, depth + 1)?;
            }
            FileType::RegularFile => {
                let read = rustix::fs::openat(from, name, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
                let write = rustix::fs::openat(to, name, flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, mode)?;
                while rustix::fs::sendfile(&write, &read, None, 1 << 20)? > 0 {}
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, name, Vec::new())?;
                rustix::fs::symlinkat(&target, to, name)?;
                continue;
            }
            _ => continue,
        }
        let owner = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
        rustix::fs::chownat(to, name, Some(owner.0), Some(owner.1), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        // A change of owner clears the set-id bits.
        rustix::fs::chmodat(to, name, mode, rustix::fs::AtFlags::empty())?;
    }
    Ok(())
}
