//! The runtime's side of a start: what is made outside, with the engine's rights, and handed to the new process.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use casemate_kernel::cgroup::Cgroup;
use casemate_kernel::namespace::{self, Namespaces};
use casemate_kernel::process::{self, Child};
use casemate_kernel::socket;
use oci_spec::runtime::Spec;

use crate::cgroup::{ContainerGroup, PreparedGroup, open_cgroup_trees, shows_cgroups};
use crate::error::{Error, Step};
use crate::init::{Lifetime, Setup};
use crate::message::{self, FromInit};
use crate::plan::Plan;
use crate::sources::{Tree, idmap_trees, open_binds, open_devices, open_mount_namespace};
use crate::spawn::{Spawned, spawn};
use crate::stdio::Stdio;
use crate::{identity, idmaps, namespaces, netdevices};

/// Any error, of whoever made the root file system.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the root file system as a detached mount. It is called once the container's user namespace exists and has its
/// maps, and is given that namespace to idmap layers with; `None` when the container has none.
pub type RootFs<'a> = dyn FnOnce(Option<BorrowedFd<'_>>) -> Result<OwnedFd, BoxError> + 'a;

/// A container to make.
pub struct CreateRequest<'a> {
    /// The container's id: the name of its control group, unless the specification says another.
    pub id: &'a str,
    /// The specification (`config.json`). Its `root.path` is not used: `root` is.
    pub spec: &'a Spec,
    /// The root file system.
    pub root: Box<RootFs<'a>>,
    /// The standard descriptors of the first process.
    pub stdio: Stdio,
}

impl fmt::Debug for CreateRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateRequest").field("id", &self.id).field("stdio", &self.stdio).finish_non_exhaustive()
    }
}

/// A process that stands at the start barrier, or runs after [`Created::start`].
#[derive(Debug)]
pub struct Created {
    /// Its process id, outside.
    pub pid: u32,
    /// A descriptor of it: readable when it has ended.
    pub pidfd: OwnedFd,
    /// The engine's end of its terminal, if it has one.
    pub console: Option<OwnedFd>,
    /// Its control group.
    pub cgroup: ContainerGroup,
    socket: OwnedFd,
}

impl Created {
    pub(crate) fn new(child: Child, console: Option<OwnedFd>, cgroup: ContainerGroup, socket: OwnedFd) -> Self {
        Self { pid: child.pid, pidfd: child.pidfd, console, cgroup, socket }
    }

    /// Lets the process execute its program; returns when the kernel has accepted that.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound) or [`Kind::NotExecutable`](crate::Kind::NotExecutable) when the program
    /// can't be executed; the process is then gone.
    pub fn start(&mut self) -> Result<(), Error> {
        self.start_with(None, &mut |_| Ok(()))
    }

    /// As [`Created::start`], with the container's state for hooks, and what to do with a filter's listener.
    pub(crate) fn start_with(&mut self, state: Option<&OwnedFd>, listener: &mut OnListener<'_>) -> Result<(), Error> {
        start_over(&self.socket, state, listener).inspect_err(|_| {
            // It ended by itself; where it did not, it must not stay.
            let _ = process::pidfd_send_signal(&self.pidfd, 9);
            let _ = process::wait(&self.pidfd);
        })
    }

    /// Tells the process that it is on record, so that it stays at the barrier when this process is gone.
    pub(crate) fn leave_at_barrier(&self) -> Result<(), Error> {
        message::send_stay(&self.socket)
    }
}

/// What is done with the listening end of a filter that asks somebody (`SCMP_ACT_NOTIFY`).
pub(crate) type OnListener<'a> = dyn FnMut(OwnedFd) -> Result<(), Error> + 'a;

/// Tells a process at the barrier to go on, and waits until it executes its program.
pub(crate) fn start_over(
    socket: &OwnedFd,
    state: Option<&OwnedFd>,
    listener: &mut OnListener<'_>,
) -> Result<(), Error> {
    message::send_start(socket, state)?;
    wait_for_program(socket, listener)
}

/// Waits until a process that was told to go on executes its program.
pub(crate) fn wait_for_program(socket: &OwnedFd, listener: &mut OnListener<'_>) -> Result<(), Error> {
    loop {
        match message::receive_from_init(socket)? {
            FromInit::Closed => return Ok(()),
            FromInit::Failed(error) => return Err(error),
            FromInit::Listener(fd) => listener(fd)?,
            FromInit::Ready(_) | FromInit::HooksDue | FromInit::Begun => {
                return Err(Error::step("start", "the container's process was ready twice"));
            }
        }
    }
}

/// What an OCI runtime adds to a container that its maker does not stay with.
pub(crate) struct Attendance<'a> {
    pub(crate) lifetime: Lifetime,
    /// Called as soon as there is a process, with its number: what it returns is on record.
    pub(crate) made: &'a mut dyn FnMut(u32) -> Result<(), Error>,
    /// Called when hooks are due: runs those of the runtime's side and returns the state for the others.
    pub(crate) hooks: &'a mut dyn FnMut(u32) -> Result<OwnedFd, Error>,
    /// What is done with the listening end of a filter that asks somebody.
    pub(crate) listener: &'a mut dyn FnMut(u32, OwnedFd) -> Result<(), Error>,
}

/// Makes a container: namespaces, control group, mounts, and a process in it that waits to be started.
///
/// The caller must have one thread only. On failure nothing of the container is left.
///
/// # Errors
/// [`Kind::Invalid`](crate::Kind::Invalid), naming the field, before anything was made; else the step that failed.
pub fn create(request: CreateRequest<'_>) -> Result<Created, Error> {
    let plan = Plan::new(request.id, request.spec)?;
    if plan.resctrl.is_some() {
        // Somebody would have to keep a record of it, to remove it with the container.
        return Err(Error::field("linux.intelRdt", "for containers of the OCI commands only"));
    }
    let joined = match request.spec.linux() {
        Some(linux) => namespaces::open_joined(linux)?,
        None => Vec::new(),
    };
    let attendance = Attendance {
        lifetime: Lifetime::default(),
        made: &mut |_| Ok(()),
        hooks: &mut |_| Err(Error::step("hooks", "nobody is there to run them")),
        listener: &mut |_, _| Err(Error::step("linux.seccomp", "nobody is there to hand a listener to")),
    };
    create_attended(&plan, &joined, request.root, request.stdio, attendance)
}

pub(crate) fn create_attended(
    plan: &Plan,
    joined: &[(Namespaces, OwnedFd)],
    root: Box<RootFs<'_>>,
    stdio: Stdio,
    attendance: Attendance<'_>,
) -> Result<Created, Error> {
    let Attendance { lifetime, made, hooks, listener } = attendance;
    let callbacks = Callbacks { hooks, listener, all_cgroups: lifetime.barrier.is_some() };
    let mut group = PreparedGroup::new(plan, lifetime.barrier.is_some())?;
    let (socket, theirs) = socket::pair().step("connect to the new process")?;
    let setup = Setup {
        trees: open_binds(plan)?,
        devices: open_devices(plan)?,
        mount_namespace: open_mount_namespace(plan)?,
        stdio,
        socket: theirs,
        lifetime,
    };
    let early = group.early(plan)?;
    let Spawned { child, socket, trees } = match spawn(plan, joined, early.as_deref(), setup, socket) {
        Ok(spawned) => spawned,
        Err(error) => {
            early.as_deref().map(Cgroup::remove);
            return Err(error);
        }
    };
    let recorded = made(child.pid);
    let group = early.map_or_else(|| group.late(plan, child.pid), Ok);
    let console = match (&recorded, &group) {
        (Ok(()), Ok(cgroup)) => finish(plan, &child, cgroup, &socket, &trees, root, callbacks),
        _ => Ok(None),
    };
    match (recorded, group, console) {
        (Ok(()), Ok(cgroup), Ok(console)) => Ok(Created::new(child, console, cgroup, socket)),
        (recorded, group, console) => {
            let _ = process::pidfd_send_signal(&child.pidfd, 9);
            let _ = process::wait(&child.pidfd);
            // The first error is the one to tell; what is left of the group is killed, so that it can go.
            if let Ok(cgroup) = &group {
                let _ = cgroup.kill();
                let _ = cgroup.remove();
            }
            let first = recorded.err().or(group.err()).or(console.err());
            Err(first.unwrap_or_else(|| Error::step("create", "failed")))
        }
    }
}

/// Whom the new process's messages are for, and what it is told.
struct Callbacks<'a> {
    hooks: &'a mut dyn FnMut(u32) -> Result<OwnedFd, Error>,
    listener: &'a mut dyn FnMut(u32, OwnedFd) -> Result<(), Error>,
    /// Whether every hierarchy is shown where control groups are, as in containers of engines.
    all_cgroups: bool,
}

fn finish(
    plan: &Plan,
    child: &Child,
    cgroup: &Cgroup,
    socket: &OwnedFd,
    trees: &[Tree],
    root: Box<RootFs<'_>>,
    mut callbacks: Callbacks<'_>,
) -> Result<Option<OwnedFd>, Error> {
    idmaps::write(plan, child.pid)?;
    identity::set_oom_score(&plan.process, child.pid)?;
    identity::raise_limits(&plan.process, child.pid)?;
    netdevices::move_all(&plan.net_devices, child.pid)?;
    let entrances =
        if cgroup.unified().is_some() { Vec::new() } else { cgroup.entrances().step("enter the cgroup")? };
    let shown = if shows_cgroups(plan) { open_cgroup_trees(cgroup, callbacks.all_cgroups)? } else { Vec::new() };
    let told = message::send_mapped(socket, &entrances, &shown);
    told.map_err(|error| told_by_init(socket).unwrap_or(error))?;
    drop((entrances, shown));
    let user = if in_user_namespace(plan) {
        Some(namespace::open_of_process(child.pid, "user").step("open the container's user namespace")?)
    } else {
        None
    };
    let root = match root(user.as_ref().map(AsFd::as_fd)) {
        Ok(root) => root,
        Err(error) => {
            return Err(told_by_init(socket).unwrap_or_else(|| Error::step("root file system", error)));
        }
    };
    if let Some(user) = &user {
        idmap_trees(plan, trees, user)?;
    }
    message::send_root(socket, root.as_fd()).map_err(|error| told_by_init(socket).unwrap_or(error))?;
    drop(root);
    wait_until_ready(plan, child.pid, socket, &mut callbacks)
}

/// Serves the new process until it stands at the start barrier; its terminal, if it has one.
fn wait_until_ready(
    plan: &Plan,
    pid: u32,
    socket: &OwnedFd,
    callbacks: &mut Callbacks<'_>,
) -> Result<Option<OwnedFd>, Error> {
    loop {
        match message::receive_from_init(socket)? {
            FromInit::Ready(console) => {
                identity::schedule(&plan.process, pid)?;
                return Ok(console);
            }
            FromInit::HooksDue => message::send_hooks_run(socket, &(callbacks.hooks)(pid)?)?,
            FromInit::Listener(listener) => (callbacks.listener)(pid, listener)?,
            FromInit::Failed(error) => return Err(error),
            FromInit::Begun => {
                return Err(Error::step("set up the container", "it started before its time"));
            }
            FromInit::Closed => return Err(Error::step("set up the container", "its process was killed")),
        }
    }
}

/// What the new process said of its own failure, when a step here failed because it was gone.
fn told_by_init(socket: &OwnedFd) -> Option<Error> {
    let mut waiting = [rustix::event::PollFd::new(socket, rustix::event::PollFlags::IN)];
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    if rustix::event::poll(&mut waiting, Some(&now)).ok()? == 0 {
        return None;
    }
    match message::receive_from_init(socket) {
        Ok(FromInit::Failed(error)) => Some(error),
        _ => None,
    }
}

fn in_user_namespace(plan: &Plan) -> bool {
    plan.new.contains(Namespaces::USER) || plan.joined.iter().any(|(kind, _)| *kind == Namespaces::USER)
}
