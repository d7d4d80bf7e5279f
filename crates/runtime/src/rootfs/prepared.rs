//! The container's own file systems, made before there is a root to attach them to.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;

use casemate_kernel::cgroup::Controller;
use casemate_kernel::mount::{self, Attributes, Change, Propagation};
use casemate_kernel::namespace::{self, Namespaces};
use casemate_kernel::path;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Error, Step};
use crate::plan::{MountKind, MountPlan, Plan};
use crate::sources::{self, Source, Tree};

/// The mounts of a container, detached, ready to be attached.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// For each mount of the plan, what goes there.
    pub(super) mounts: Vec<Content>,
    /// For each device of the plan its file, or nothing when it is to be made.
    pub(super) devices: Vec<Option<OwnedFd>>,
}

/// What goes to the place of a mount.
#[derive(Debug)]
pub(super) enum Content {
    /// The first at the destination, the others on names below it.
    Parts(Vec<Part>),
    /// A symbolic link.
    Link(OsString),
    /// A tmpfs that is made when the mode of what it covers is known.
    Later,
    /// A change of what is there.
    Remount,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: Option<&'static str>,
    pub(super) directory: bool,
    pub(super) tree: OwnedFd,
}

impl Prepared {
    /// Makes the container's own file systems. They belong to its user namespace: the caller is its root by now.
    pub(crate) fn new(
        plan: &Plan,
        trees: Vec<Tree>,
        shown: Vec<(Controller, OwnedFd)>,
        devices: Vec<Option<OwnedFd>>,
    ) -> Result<Self, Error> {
        let mut trees = trees.into_iter().peekable();
        let mut mounts = Vec::with_capacity(plan.mounts.len());
        for mount in &plan.mounts {
            let tree = trees.next_if(|tree| tree.mount == mount.index);
            mounts.push(content(plan, mount, tree, shown.is_empty())?);
        }
        set_sysctls(plan, &mounts)?;
        let cgroups = plan.mounts.iter().position(|mount| matches!(mount.kind, MountKind::Cgroup));
        if let Some(Content::Parts(parts)) = cgroups.and_then(|position| mounts.get_mut(position)) {
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

fn content(plan: &Plan, mount: &MountPlan, tree: Option<Tree>, unified: bool) -> Result<Content, Error> {
    let part = match (&mount.kind, tree) {
        (MountKind::New { filesystem, options }, _) => {
            if filesystem == "tmpfs" && !options.iter().any(|(key, _)| key == "mode") {
                return Ok(Content::Later);
            }
            new_file_system(plan, mount, filesystem, options)?
        }
        (MountKind::Cgroup, _) if unified => new_file_system(plan, mount, "cgroup2", &[])?,
        (MountKind::Cgroup, _) => {
            // Version 1: a directory of hierarchies, each the container's own group.
            let options = [("mode".to_owned(), Some("0755".to_owned())), ("size".to_owned(), Some("64k".to_owned()))];
            new_file_system(plan, mount, "tmpfs", &options)?
        }
        (MountKind::Remount { .. }, _) => return Ok(Content::Remount),
        (MountKind::Bind { .. }, Some(Tree { source: Source::Link(target), .. })) => return Ok(Content::Link(target)),
        (MountKind::Bind { .. }, Some(Tree { source: Source::Mount { directory, detached }, .. })) => {
            let again = sources::open_again(plan, mount, &detached)?;
            Part { name: None, directory, tree: again.unwrap_or(detached) }
        }
        (MountKind::Bind { .. }, None) => {
            return Err(Error::step(format!("mounts[{}]", mount.index), "its source was not opened"));
        }
    };
    Ok(Content::Parts(vec![part]))
}

/// What is not read-only from the beginning: things are yet to be made on it.
pub(super) fn is_sealed_late(mount: &MountPlan) -> bool {
    let made_on = match &mount.kind {
        MountKind::New { filesystem, .. } => filesystem == "tmpfs" || mount.destination == Path::new("/dev"),
        MountKind::Cgroup => true,
        MountKind::Bind { .. } | MountKind::Remount { .. } => false,
    };
    made_on && (mount.set | mount.set_all).contains(Attributes::READ_ONLY)
}

/// Makes a file system for a mount of the plan.
pub(super) fn new_file_system(
    plan: &Plan,
    mount: &MountPlan,
    filesystem: &str,
    options: &[(String, Option<String>)],
) -> Result<Part, Error> {
    let options: Vec<(&str, Option<&str>)> =
        options.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    let all = (mount.set | mount.set_all).without(mount.clear_all.without(mount.set_all));
    let attributes = if is_sealed_late(mount) { all.without(Attributes::READ_ONLY) } else { all };
    let step = format!("mounts[{}] at {:?}", mount.index, mount.destination);
    let tree = match mount::new(filesystem, &options, attributes) {
        Err(error) if matches!(error.errno(), Errno::PERM | Errno::BUSY) => {
            borrowed(plan, filesystem, attributes).transpose().unwrap_or(Err(error)).step(&step)?
        }
        other => other.step(&step)?,
    };
    for (propagation, recursive) in &mount.propagation {
        mount::set_propagation(&tree, *propagation, *recursive).step(&step)?;
    }
    Ok(Part { name: None, directory: true, tree })
}

/// The host's own instance, for a file system that shows a namespace which the container shares with the host: a user
/// namespace can't make another one of it. What can be done with it is what the host's root lets others do.
fn borrowed(plan: &Plan, filesystem: &str, attributes: Attributes) -> Result<Option<OwnedFd>, casemate_kernel::Error> {
    let (kind, path) = match filesystem {
        "sysfs" => (Namespaces::NETWORK, "/sys"),
        "mqueue" => (Namespaces::IPC, "/dev/mqueue"),
        "proc" => (Namespaces::PID, "/proc"),
        "cgroup2" => (Namespaces::CGROUP, "/sys/fs/cgroup"),
        _ => return Ok(None),
    };
    if plan.new.contains(kind) {
        return Ok(None);
    }
    let tree = mount::clone_path(Path::new(path), true, true)?;
    let private = Some(Propagation::Private);
    mount::change(&tree, &Change { set: attributes, propagation: private, recursive: true, ..Change::default() })?;
    Ok(Some(tree))
}

/// Kernel parameters, through a procfs that is the container's and that nobody else can reach yet: not attached anywhere,
/// so nothing is mounted over a part of it (CVE-2025-52881).
fn set_sysctls(plan: &Plan, mounts: &[Content]) -> Result<(), Error> {
    if plan.sysctls.is_empty() {
        return Ok(());
    }
    // A bind of the host's procfs is the only one to be had when the container is in the host's PID namespace.
    let procs = plan.mounts.iter().zip(mounts).filter_map(|(mount, content)| {
        let wanted = match &mount.kind {
            MountKind::New { filesystem, .. } => filesystem == "proc",
            MountKind::Bind { .. } => mount.destination == Path::new("/proc"),
            MountKind::Cgroup | MountKind::Remount { .. } => false,
        };
        match content {
            Content::Parts(parts) if wanted => parts.first(),
            _ => None,
        }
    });
    let own;
    let proc = if let Some(part) = procs.into_iter().find(|part| path::is_proc(&part.tree)) {
        &part.tree
    } else {
        let attributes = Attributes::NO_EXEC | Attributes::NO_SUID | Attributes::NO_DEV;
        own = match mount::new("proc", &[], attributes) {
            Err(error) if error.errno() == Errno::PERM => {
                borrowed(plan, "proc", attributes).transpose().unwrap_or(Err(error))
            }
            other => other,
        }
        .step("linux.sysctl: a procfs to write through")?;
        &own
    };
    for (name, value) in &plan.sysctls {
        let step = format!("linux.sysctl[{name:?}] = {value:?}");
        if name == Path::new("kernel/domainname") {
            // The file is for the host's root only; the call is for the owner of the namespace.
            namespace::set_domainname(value).step(&step)?;
            continue;
        }
        let file = path::open_beneath_same_mount(proc, &Path::new("sys").join(name), OFlags::WRONLY).step(&step)?;
        if rustix::io::write(&file, value.as_bytes()).step(&step)? != value.len() {
            return Err(Error::step(step, "the kernel took a part of it only"));
        }
    }
    Ok(())
}
