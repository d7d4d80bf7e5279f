//! The container's file system tree: attached, mounted on, masked, sealed and entered, all by descriptor beneath its root.

mod copy_up;
mod cover;
mod dev;
mod enter;
mod prepared;
mod target;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use casemate_kernel::mount::{self, Attributes};
use casemate_kernel::namespace::Namespaces;
use casemate_kernel::path::{self, Identity, Missing};
use casemate_kernel::terminal::{self, Terminal};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub(crate) use prepared::Prepared;

use crate::error::{Error, Step};
use crate::init;
use crate::plan::Plan;

/// The root file system, attached in the container's mount namespace, over the host's.
#[derive(Debug)]
pub(crate) struct RootTree {
    root: OwnedFd,
    identity: Identity,
    /// Whether it is attached in its own place, not over `/`.
    in_place: bool,
    /// Mounts that become read-only when all is done: things were yet to be made on them.
    late: Vec<OwnedFd>,
    /// Of the file systems mounted on so far, by their numbers: whether it is a procfs.
    procs: Vec<(u64, bool)>,
}

impl RootTree {
    /// Attaches the root over `/`, where it is found by its descriptor only until it is entered; with hooks that are to see
    /// it, where they look for it: in its own place, if the way there is open to the container's root.
    pub(crate) fn attach(plan: &Plan, root: OwnedFd) -> Result<Self, Error> {
        // In a user namespace of its own the copy of the host's mounts passes nothing on; otherwise it would.
        if !plan.new.contains(Namespaces::USER) {
            init::make_private()?;
        }
        let identity = path::identity(&root).step("root file system")?;
        let place = match &plan.rootfs {
            Some(path) if plan.hooks.before_the_root_is_entered() => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open(path, flags, Mode::empty()).ok()
            }
            _ => None,
        };
        let in_place = place.is_some();
        let place = if let Some(place) = place { place } else { init::open_root()? };
        mount::attach(&root, place).step("attach the root file system")?;
        Ok(Self { root, identity, in_place, late: Vec::new(), procs: Vec::new() })
    }

    /// Attaches all mounts in the order of the specification, then what belongs on them: devices and links of `/dev`,
    /// read-only and masked paths.
    pub(crate) fn mount_all(&mut self, plan: &Plan, prepared: Prepared) -> Result<(), Error> {
        // What is made here has the mode it is made with.
        rustix::process::umask(Mode::empty());
        for (mount, content) in plan.mounts.iter().zip(prepared.mounts) {
            self.mount(mount, content, plan.mount_label.as_deref()).map_err(|error| {
                Error::new(error.kind(), format!("mounts[{}] at {:?}: {error}", mount.index, mount.destination))
            })?;
        }
        self.populate_dev(plan, prepared.devices)?;
        self.make_read_only(&plan.read_only)?;
        self.mask(&plan.masked)
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
        for tree in &self.late {
            mount::set_attributes(tree, Attributes::READ_ONLY, Attributes::empty(), false).step("mounts: ro")?;
        }
        if plan.read_only_root {
            mount::set_attributes(&self.root, Attributes::READ_ONLY, Attributes::empty(), false)
                .step("root.readonly")?;
        }
        Ok(())
    }
}
