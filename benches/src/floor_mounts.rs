//! The mounts of the floor's container: those that casemate's default container has.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use casemate_kernel::cgroup::{Cgroup, Controller};
use casemate_kernel::mount::{self, Attributes};
use casemate_kernel::path;
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const TMPFS: [(&str, &str, &str); 3] = [("tmp", "1777", "64m"), ("run", "755", "64m"), ("var/tmp", "1777", "64m")];
const MASKED_DIRECTORIES: [&str; 8] = [
    "proc/acpi",
    "sys/dev/block",
    "sys/firmware",
    "sys/fs/bpf",
    "sys/fs/pstore",
    "sys/kernel/debug",
    "sys/kernel/security",
    "sys/kernel/tracing",
];
const MASKED_FILES: [&str; 9] = [
    "proc/interrupts",
    "proc/kallsyms",
    "proc/kcore",
    "proc/keys",
    "proc/kmsg",
    "proc/kpagecgroup",
    "proc/kpagecount",
    "proc/kpageflags",
    "proc/timer_list",
];
const READ_ONLY: [&str; 4] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys"];
const FILES: [&str; 3] = ["etc/hosts", "etc/hostname", "etc/resolv.conf"];
const SHOWN_CONTROLLERS: [Controller; 3] = [Controller::Memory, Controller::Cpu, Controller::Pids];

/// What is taken from the host's own mounts: opened before the new process is made, which inherits it.
#[derive(Debug)]
pub(crate) struct Trees {
    cgroups: Vec<(&'static str, OwnedFd)>,
    files: Vec<(&'static str, OwnedFd)>,
}

impl Trees {
    /// The directories of the control group, where they are to be shown one by one, and the three files of `/etc`.
    pub(crate) fn open(cgroup: &Cgroup, rootfs: &Path) -> Result<Self> {
        let mut cgroups = Vec::new();
        if cgroup.unified().is_none() {
            for controller in SHOWN_CONTROLLERS {
                if let Some(directory) = cgroup.directory_of(controller) {
                    cgroups.push((controller.name(), mount::clone_tree(directory, false)?));
                }
            }
        }
        let mut files = Vec::new();
        for name in FILES {
            let path = rootfs.join(name);
            let file = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| Error::new(format!("opening {}: {errno}", path.display())))?;
            files.push((name, mount::clone_tree(file, false)?));
        }
        Ok(Self { cgroups, files })
    }

    /// Shows the files' owners through the container's maps.
    pub(crate) fn idmap(&self, namespace: BorrowedFd<'_>) -> Result<()> {
        for (_, tree) in &self.files {
            mount::set_idmap(tree, namespace, Attributes::empty(), false)?;
        }
        Ok(())
    }
}

/// Mounts everything below the root of a container that is attached in this process's mount namespace.
pub(crate) fn make(root: &OwnedFd, trees: &Trees) -> Result<()> {
    let closed = Attributes::NO_SUID | Attributes::NO_DEV | Attributes::NO_EXEC;
    let at = |name: &str| path::open_in_root(root, Path::new(name), OFlags::PATH | OFlags::CLOEXEC);
    mount::attach(mount::new("proc", &[], closed)?, at("proc")?)?;
    mount::attach(mount::new("sysfs", &[], closed | Attributes::READ_ONLY)?, at("sys")?)?;
    let options = [("mode", Some("755")), ("size", Some("64k"))];
    let dev = mount::new("tmpfs", &options, Attributes::NO_SUID | Attributes::NO_EXEC)?;
    populate(dev.as_fd())?;
    mount::attach(&dev, at("dev")?)?;
    for name in DEVICES {
        let source = rustix::fs::open(format!("/dev/{name}"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::new(format!("opening /dev/{name}: {errno}")))?;
        let device = mount::clone_tree(source, false)?;
        mount::set_attributes(&device, Attributes::NO_SUID | Attributes::NO_EXEC, Attributes::empty(), false)?;
        mount::attach(device, at(&format!("dev/{name}"))?)?;
    }
    let options = [("mode", Some("0620")), ("ptmxmode", Some("0666")), ("gid", Some("5"))];
    mount::attach(mount::new("devpts", &options, Attributes::NO_SUID | Attributes::NO_EXEC)?, at("dev/pts")?)?;
    let options = [("mode", Some("1777")), ("size", Some("64m"))];
    mount::attach(mount::new("tmpfs", &options, closed)?, at("dev/shm")?)?;
    mount::attach(mount::new("mqueue", &[], closed)?, at("dev/mqueue")?)?;
    for (target, mode, size) in TMPFS {
        let options = [("mode", Some(mode)), ("size", Some(size))];
        mount::attach(mount::new("tmpfs", &options, closed)?, at(target)?)?;
    }
    let sealed = closed | Attributes::READ_ONLY;
    for (name, tree) in &trees.files {
        mount::set_attributes(tree, sealed, Attributes::empty(), false)?;
        mount::attach(tree, at(name)?)?;
    }
    if trees.cgroups.is_empty() {
        mount::attach(mount::new("cgroup2", &[], sealed)?, at("sys/fs/cgroup")?)?;
    } else {
        let options = [("mode", Some("755")), ("size", Some("64k"))];
        let directory = mount::new("tmpfs", &options, closed)?;
        for (name, _) in &trees.cgroups {
            rustix::fs::mkdirat(&directory, *name, Mode::from_raw_mode(0o755))
                .map_err(|errno| Error::new(format!("making /sys/fs/cgroup/{name}: {errno}")))?;
        }
        mount::set_attributes(&directory, sealed, Attributes::empty(), false)?;
        mount::attach(&directory, at("sys/fs/cgroup")?)?;
        for (name, tree) in &trees.cgroups {
            mount::set_attributes(tree, sealed, Attributes::empty(), false)?;
            mount::attach(tree, at(&format!("sys/fs/cgroup/{name}"))?)?;
        }
    }
    mask(root, closed)
}

fn mask(root: &OwnedFd, closed: Attributes) -> Result<()> {
    let at = |name: &str| path::open_in_root(root, Path::new(name), OFlags::PATH | OFlags::CLOEXEC).ok();
    let empty = mount::new("tmpfs", &[("size", Some("0"))], closed | Attributes::READ_ONLY)?;
    for target in MASKED_DIRECTORIES.iter().filter_map(|name| at(name)) {
        mount::attach(mount::clone_tree(&empty, false)?, target)?;
    }
    for target in MASKED_FILES.iter().filter_map(|name| at(name)) {
        let Some(null) = at("dev/null") else { continue };
        mount::attach(mount::clone_tree(null, false)?, target)?;
    }
    for target in READ_ONLY.iter().filter_map(|name| at(name)) {
        let copy = mount::clone_tree(&target, true)?;
        mount::set_attributes(&copy, closed | Attributes::READ_ONLY, Attributes::empty(), true)?;
        mount::attach(copy, target)?;
    }
    Ok(())
}

/// Files to bind devices on, directories to mount on, and the usual links.
fn populate(dev: BorrowedFd<'_>) -> Result<()> {
    let failed = |name: &str, errno: rustix::io::Errno| Error::new(format!("making /dev/{name}: {errno}"));
    for name in DEVICES {
        rustix::fs::openat(dev, name, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o666))
            .map_err(|errno| failed(name, errno))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755)).map_err(|errno| failed(name, errno))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        rustix::fs::symlinkat(target, dev, name).map_err(|errno| failed(name, errno))?;
    }
    Ok(())
}
