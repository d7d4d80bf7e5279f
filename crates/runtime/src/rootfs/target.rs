//! Where a mount goes: a descriptor beneath the root, looked at before anything is attached to it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use casemate_kernel::mount::{self, Attributes, Change};
use casemate_kernel::path::{self, Identity, Missing};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::RootTree;
use super::copy_up::copy_up;
use super::prepared::{Content, Part, is_sealed_late};
use crate::error::{Error, Step};
use crate::plan::mount::REPLACEABLE_IN_PROC;
use crate::plan::{MountKind, MountPlan};

impl RootTree {
    pub(super) fn mount(&mut self, mount: &MountPlan, content: Content, label: Option<&str>) -> Result<(), Error> {
        match content {
            Content::Parts(parts) => self.attach_parts(mount, parts, label),
            Content::Later => self.attach_tmpfs(mount),
            Content::Link(target) => self.link(mount, &target),
            Content::Remount => self.remount(mount),
        }
    }

    fn attach_parts(&mut self, mount: &MountPlan, parts: Vec<Part>, label: Option<&str>) -> Result<(), Error> {
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else { return Ok(()) };
        let (target, _) = self.target(mount, first.directory, Some(&first.tree))?;
        if mount.copy_up {
            copy_up(&target, &first.tree)?;
        }
        if let (Some(label), MountKind::New { filesystem, .. }) = (label, &mount.kind)
            && filesystem == "mqueue"
        {
            set_label(&first.tree, label)?;
        }
        mount::attach(&first.tree, &target).step("attach")?;
        for part in parts {
            let Some(name) = part.name else { continue };
            let place = path::open_or_create(&first.tree, Path::new(name), Missing::Directory).step(name)?;
            mount::set_attributes(&part.tree, mount.set | mount.set_all, Attributes::empty(), false).step(name)?;
            mount::attach(&part.tree, &place).step(name)?;
        }
        if is_sealed_late(mount) {
            self.late.push(first.tree);
        }
        Ok(())
    }

    /// A tmpfs for which no mode is given has that of the directory it covers, as in runc and crun.
    fn attach_tmpfs(&mut self, mount: &MountPlan) -> Result<(), Error> {
        let MountKind::New { filesystem, options } = &mount.kind else { return Ok(()) };
        let (target, covered) = self.target(mount, true, None)?;
        let mut options: Vec<(&str, Option<&str>)> =
            options.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let mode = covered.map(|covered| format!("{:o}", covered.mode));
        options.extend(mode.as_deref().map(|mode| ("mode", Some(mode))));
        let late = is_sealed_late(mount);
        let all = mount.set | mount.set_all;
        let attributes = if late { all.without(Attributes::READ_ONLY) } else { all };
        let tree = mount::new(filesystem, &options, attributes).step("make")?;
        for (propagation, recursive) in &mount.propagation {
            mount::set_propagation(&tree, *propagation, *recursive).step("propagation")?;
        }
        if mount.copy_up {
            copy_up(&target, &tree)?;
        }
        mount::attach(&tree, &target).step("attach")?;
        if late {
            self.late.push(tree);
        }
        Ok(())
    }

    /// Makes a symbolic link in the place of a mount, instead of an empty one at most.
    fn link(&self, mount: &MountPlan, target: &OsStr) -> Result<(), Error> {
        let (Some(parent), Some(name)) = (mount.destination.parent(), mount.destination.file_name()) else {
            return Ok(());
        };
        let directory = path::open_or_create(&self.root, parent, Missing::Directory).step("copy-symlink")?;
        match rustix::fs::symlinkat(target, &directory, name) {
            Err(Errno::EXIST) => {
                let there = rustix::fs::readlinkat(&directory, name, Vec::new()).step("copy-symlink")?;
                if there.to_bytes() == target.as_bytes() {
                    return Ok(());
                }
                Err(Error::step("copy-symlink", format!("there is a link to {there:?} already, not to {target:?}")))
            }
            other => other.step("copy-symlink"),
        }
    }

    fn remount(&self, mount: &MountPlan) -> Result<(), Error> {
        let MountKind::Remount { options } = &mount.kind else { return Ok(()) };
        let target = path::open_in_root(&self.root, &mount.destination, OFlags::PATH).step("remount")?;
        if !options.is_empty() {
            let options: Vec<(&str, Option<&str>)> =
                options.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
            mount::reconfigure(&target, &options).step("remount")?;
        }
        let changes = [
            Change { set: mount.set, clear: mount.clear, ..Change::default() },
            Change { set: mount.set_all, clear: mount.clear_all, recursive: true, ..Change::default() },
        ];
        let travels = mount.propagation.iter().map(|(propagation, recursive)| Change {
            propagation: Some(*propagation),
            recursive: *recursive,
            ..Change::default()
        });
        for change in changes.into_iter().chain(travels).filter(|change| !change.is_empty()) {
            mount::change(&target, &change).step("remount")?;
        }
        Ok(())
    }

    /// Opens the destination of a mount, making what is missing of it, and looks at it. What was there before is told.
    fn target(
        &mut self,
        mount: &MountPlan,
        directory: bool,
        tree: Option<&OwnedFd>,
    ) -> Result<(OwnedFd, Option<Identity>), Error> {
        let missing = if directory { Missing::Directory } else { Missing::File };
        // A procfs or sysfs is relied upon by its name later: no link may lead to it.
        let plain =
            matches!(&mount.kind, MountKind::New { filesystem, .. } if filesystem == "proc" || filesystem == "sysfs");
        let opened = if plain {
            path::open_plain_in_root(&self.root, &mount.destination, OFlags::PATH)
        } else {
            let nofollow = if mount.on_link { OFlags::NOFOLLOW } else { OFlags::empty() };
            path::open_in_root(&self.root, &mount.destination, OFlags::PATH | nofollow)
        };
        let (target, made) = match opened {
            Err(error) if error.errno() == Errno::NOENT => {
                (path::create(&self.root, &mount.destination, missing).step("mount point")?, true)
            }
            Err(error) if plain && error.errno() == Errno::LOOP => {
                return Err(Error::step(
                    "mount point",
                    "it must be mounted on ordinary directory, not reached by a link",
                ));
            }
            other => (other.step("mount point")?, false),
        };
        let found = path::identity(&target).step("mount point")?;
        if (found.kind == FileType::Directory) != directory {
            let kind = if directory { "a directory over a file" } else { "a file over a directory" };
            return Err(Error::step("mount point", format!("{kind} can't be mounted")));
        }
        if (found.device, found.inode) == (self.identity.device, self.identity.inode) {
            return Err(Error::step("mount point", "it is the root, which is given by root.path"));
        }
        self.check_proc(mount, &target, &found, tree)?;
        Ok((target, (!made).then_some(found)))
    }

    /// Nothing is mounted over a part of a procfs but what lxcfs emulates, and nothing but a procfs over `/proc`, wherever
    /// links of the image lead (CVE-2019-16884, CVE-2019-19921).
    fn check_proc(
        &mut self,
        mount: &MountPlan,
        target: &OwnedFd,
        found: &Identity,
        tree: Option<&OwnedFd>,
    ) -> Result<(), Error> {
        let on_proc = if let Some((_, is)) = self.procs.iter().find(|(device, _)| *device == found.device) {
            *is
        } else {
            let is = path::is_proc(target);
            self.procs.push((found.device, is));
            is
        };
        let whole = mount.destination == Path::new("/proc");
        if !on_proc && !whole {
            return Ok(());
        }
        // PROC_ROOT_INO: the root of a procfs is covered by another procfs only, as a directory named /proc is.
        if !on_proc || found.inode == 1 {
            return match tree {
                Some(tree) if path::is_proc(tree) => Ok(()),
                _ => Err(Error::step("mount point", "it is for a procfs only")),
            };
        }
        let proc =
            path::open_in_root(&self.root, Path::new("/proc"), OFlags::PATH | OFlags::DIRECTORY).step("/proc")?;
        let replaceable = REPLACEABLE_IN_PROC.iter().any(|name| {
            path::open_beneath_same_mount(&proc, Path::new(name), OFlags::PATH)
                .and_then(|file| path::identity(&file))
                .is_ok_and(|file| (file.device, file.inode) == (found.device, found.inode))
        });
        if replaceable {
            return Ok(());
        }
        Err(Error::step("mount point", "it is inside a procfs, where only what lxcfs emulates is replaced"))
    }
}

/// The SELinux context of a file system that takes none when it is mounted.
fn set_label(tree: &OwnedFd, label: &str) -> Result<(), Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(tree.as_fd(), ".", flags, Mode::empty()).step("linux.mountLabel")?;
    rustix::fs::fsetxattr(&root, "security.selinux", label.as_bytes(), rustix::fs::XattrFlags::empty())
        .step("linux.mountLabel")
}
