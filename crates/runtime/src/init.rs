//! The new process's side of a start: from the first instruction in its namespaces to the exec of the program.
//!
//! The steps and their order are the table of this crate's `README.md`.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use casemate_kernel::cgroup::Controller;
use casemate_kernel::namespace::{self, Namespaces};
use casemate_kernel::terminal::Terminal;
use casemate_kernel::{loopback, mount, path, process, socket, terminal};
use rustix::fs::{Mode, OFlags};

use crate::cgroup::enter_cgroup;
use crate::error::{Error, Step};
use crate::hooks::Hooks;
use crate::message::{self, ToInit};
use crate::plan::Plan;
use crate::rootfs::{Prepared, RootTree};
use crate::sources::Tree;
use crate::stdio::{self, Stdio};
use crate::{environment, hooks, identity, idmaps, labels, program};

/// What the new process inherits for its setup.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Bind mounts, detached.
    pub(crate) trees: Vec<Tree>,
    /// Device files, detached, in the order of the plan; those that are to be made have none.
    pub(crate) devices: Vec<Option<OwnedFd>>,
    /// The mount namespace to be in, unless it is a new one.
    pub(crate) mount_namespace: Option<OwnedFd>,
    pub(crate) stdio: Stdio,
    /// Its end of the connection to the runtime.
    pub(crate) socket: OwnedFd,
    pub(crate) lifetime: Lifetime,
}

/// What the new process outlives.
#[derive(Debug, Default)]
pub(crate) struct Lifetime {
    /// Where it is waited for once the runtime is gone; without one, the process ends with its maker.
    pub(crate) barrier: Option<Barrier>,
    /// How many descriptors after the standard ones the program inherits.
    pub(crate) preserved: u32,
    /// Whether the caller's session keyring is kept.
    pub(crate) keep_keyring: bool,
    /// Whether the root is entered without `pivot_root`, which an initial RAM disk does not let be moved.
    pub(crate) no_pivot: bool,
}

/// The start barrier of a container whose maker does not stay: held open by the process that stands at it, and let go of
/// by the kernel when that executes its program or ends.
#[derive(Debug)]
pub(crate) struct Barrier {
    /// Whoever connects here starts the container.
    pub(crate) listener: OwnedFd,
    /// A lock that says "not started yet".
    pub(crate) lock: OwnedFd,
}

/// Sets the process up and executes the container's program. What fails is told to the runtime.
pub(crate) fn run(plan: &Plan, setup: Setup) -> ! {
    let mut socket = setup.socket;
    let held = Held {
        trees: setup.trees,
        devices: setup.devices,
        mount_namespace: setup.mount_namespace,
        stdio: setup.stdio,
        lifetime: setup.lifetime,
    };
    let Err(error) = set_up(plan, held, &mut socket);
    message::send_failure(&socket, &error);
    process::exit_now(1)
}

/// [`Setup`] without the connection, which changes hands at the barrier.
struct Held {
    trees: Vec<Tree>,
    devices: Vec<Option<OwnedFd>>,
    mount_namespace: Option<OwnedFd>,
    stdio: Stdio,
    lifetime: Lifetime,
}

fn set_up(plan: &Plan, held: Held, socket: &mut OwnedFd) -> Result<std::convert::Infallible, Error> {
    let Held { trees, devices, mount_namespace, stdio, lifetime } = held;
    let hidden = !idmaps::needs_help();
    if hidden {
        process::set_undumpable().step("hide from the container")?;
    }
    let labels = labels::open(&plan.process)?;
    process::reset_signals().step("reset signals")?;
    let shown = enter_namespaces(plan, socket, hidden)?;
    if lifetime.barrier.is_none() {
        process::die_with_parent().step("end with the supervisor")?;
    }
    if !lifetime.keep_keyring {
        labels.join_session_keyring()?;
    }
    // While the runtime makes the root file system, the container's own file systems are made here.
    let prepared = Prepared::new(plan, trees, shown, devices)?;
    let root = match message::receive_to_init(socket)? {
        ToInit::Root(root) => root,
        other => return Err(unexpected(&other)),
    };
    let mut root = RootTree::attach(plan, root)?;
    root.mount_all(plan, prepared)?;
    let terminal = connect_stdio(plan, &root, stdio)?;
    let cwd = root.working_directory(&plan.process.cwd, plan.process.uid, plan.process.gid)?;
    let state = run_hooks(plan, socket)?;
    root.seal(plan)?;
    let cwd = root.enter(plan, mount_namespace.as_ref(), lifetime.no_pivot, cwd)?;
    if let Some(terminal) = &terminal {
        stdio::connect_terminal(&terminal.slave)?;
        terminal::set_controlling(&terminal.slave).step("take the terminal")?;
    }
    path::change_directory(&cwd).step("process.cwd")?;
    drop(cwd);
    let env = environment::complete(&plan.process)?;
    if lifetime.barrier.is_some() {
        // Whoever makes a container wants to know at once that it can't be started.
        program::find(&plan.process.args, &env)?;
    }
    labels.apply()?;
    identity::prepare(&plan.process)?;
    if lifetime.barrier.is_none() {
        // A change of ids clears it.
        process::die_with_parent().step("end with the supervisor")?;
    }
    process::close_on_exec_from(3 + lifetime.preserved).step("close the engine's descriptors")?;
    // Whoever decides for a filter is there when the container is made, not when it is started.
    let asks = plan.process.asks_about_calls();
    if asks {
        install_filter(plan, socket)?;
    }
    message::send_ready(socket, terminal.as_ref().map(|terminal| terminal.master.as_fd()))?;
    drop(terminal);
    wait_for_start(lifetime.barrier, socket, state, &plan.hooks, &env)?;
    let program = program::find(&plan.process.args, &env)?;
    if !asks {
        install_filter(plan, socket)?;
    }
    identity::give_up(&plan.process)?;
    Err(program.execute(&plan.process.args, &env))
}

/// Installs the filter, and hands over its listener, if it has one.
fn install_filter(plan: &Plan, socket: &OwnedFd) -> Result<(), Error> {
    match identity::install_filter(&plan.process)? {
        Some(listener) => message::send_listener(socket, &listener),
        None => Ok(()),
    }
}

/// Enters the namespaces that the process makes itself, as their root, and the control group.
fn enter_namespaces(plan: &Plan, socket: &OwnedFd, hidden: bool) -> Result<Vec<(Controller, OwnedFd)>, Error> {
    // In the user namespace since the clone, so all of these belong to it; the runtime makes the control group meanwhile.
    let mut others = Namespaces::USER | Namespaces::PID | Namespaces::TIME | Namespaces::CGROUP;
    if !plan.net_devices.is_empty() {
        others |= Namespaces::NETWORK;
    }
    namespace::unshare(plan.new.without(others)).step("linux.namespaces")?;
    set_names(plan)?;
    if plan.new.contains(Namespaces::NETWORK) {
        loopback::raise().step("raise the loopback device")?;
    }
    terminal::new_session().step("start a session")?;
    let shown = match message::receive_to_init(socket)? {
        ToInit::Mapped { entrances, shown } => {
            enter_cgroup(&entrances)?;
            shown
        }
        other => return Err(unexpected(&other)),
    };
    if !hidden {
        process::set_undumpable().step("hide from the container")?;
    }
    if plan.new.contains(Namespaces::CGROUP) {
        // Its root is the group that the process is in at this moment.
        namespace::unshare(Namespaces::CGROUP).step("linux.namespaces: cgroup")?;
    }
    if plan.new.contains(Namespaces::USER) || !plan.joined.is_empty() {
        // Root of the container's user namespace: what is made from here on belongs to the container.
        process::set_ids(0, 0, &[]).step("become root of the user namespace")?;
    }
    Ok(shown)
}

/// Connects the standard descriptors, or makes the terminal that will be connected when the root is entered.
fn connect_stdio(plan: &Plan, root: &RootTree, stdio: Stdio) -> Result<Option<Terminal>, Error> {
    match stdio {
        Stdio::Terminal { columns, rows } => Ok(Some(root.open_terminal(plan, columns, rows)?)),
        Stdio::Pipes { stdin, stdout, stderr } => {
            let null = root.open_null()?;
            stdio::connect_pipes(stdin.as_ref(), &stdout, &stderr, &null)?;
            Ok(None)
        }
        Stdio::Inherited => {
            stdio::give_to(plan.process.uid, plan.process.gid)?;
            Ok(None)
        }
    }
}

/// Lets the runtime run its hooks, then runs those that see the container's mounts. The state is kept for those that run
/// at the start.
fn run_hooks(plan: &Plan, socket: &OwnedFd) -> Result<Option<OwnedFd>, Error> {
    if !plan.hooks.before_the_root_is_entered() {
        return Ok(None);
    }
    message::send_hooks_due(socket)?;
    let state = match message::receive_to_init(socket)? {
        ToInit::HooksRun(state) => state,
        other => return Err(unexpected(&other)),
    };
    hooks::run_all(&plan.hooks.create_container, &state)?;
    Ok(Some(state))
}

/// Stands at the barrier until somebody starts the container: its maker, or, when that has put it on record and is gone,
/// whoever connects. `socket` is then the connection to them.
fn wait_for_start(
    barrier: Option<Barrier>,
    socket: &mut OwnedFd,
    state: Option<OwnedFd>,
    hooks: &Hooks,
    env: &[CString],
) -> Result<(), Error> {
    drop(state);
    let given = match (message::receive_to_init(socket)?, barrier) {
        (ToInit::Start(state), _) => state,
        (ToInit::Stay, Some(Barrier { listener, lock })) => {
            let state = loop {
                let connection = socket::accept(&listener).step("wait at the start barrier")?;
                // Whoever connects and says nothing was only looking, or was killed.
                if let Ok(ToInit::Start(state)) = message::receive_to_init(&connection)
                    && message::send_begun(&connection).is_ok()
                {
                    // What execve closes, it closes in order of number: with the lock let go of first, whoever learns
                    // from the connection's end that the program runs finds the container started.
                    *socket = rustix::io::fcntl_dupfd_cloexec(&connection, lock.as_raw_fd() + 1)
                        .step("answer at the start barrier")?;
                    break state;
                }
            };
            // Both stay open until the program is executed: so long the container is not started.
            std::mem::forget((listener, lock));
            state
        }
        (other, _) => return Err(unexpected(&other)),
    };
    match given {
        Some(state) => hooks::run_inside(&hooks.start_container, &state, env),
        None => Ok(()),
    }
}

fn unexpected(message: &ToInit) -> Error {
    match message {
        ToInit::Closed => Error::step("wait for the runtime", "it ended"),
        other => Error::step("wait for the runtime", format!("unexpected message {other:?}")),
    }
}

fn set_names(plan: &Plan) -> Result<(), Error> {
    if let Some(name) = &plan.hostname {
        namespace::set_hostname(name).step("hostname")?;
    }
    if let Some(name) = &plan.domainname {
        namespace::set_domainname(name).step("domainname")?;
    }
    Ok(())
}

/// Opens the root directory of the calling process.
pub(crate) fn open_root() -> Result<OwnedFd, Error> {
    rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .step("open the root directory")
}

/// Makes all mounts of a namespace that was copied from the host's private, so that nothing done here is seen there.
pub(crate) fn make_private() -> Result<(), Error> {
    mount::set_propagation(open_root()?, mount::Propagation::Private, true).step("make the host's mounts private")
}
