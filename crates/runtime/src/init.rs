//! The new process's side of a start: from the first instruction in its namespaces to the exec of the program.
//!
//! The steps and their order are the table of this crate's `README.md`.

use std::os::fd::{AsFd, OwnedFd};

use casemate_kernel::namespace::{self, Namespaces};
use casemate_kernel::{keyring, loopback, mount, path, process, terminal};
use rustix::fs::{Mode, OFlags};

use crate::cgroup::enter_cgroup;
use crate::error::{Error, Step};
use crate::message::{self, ToInit};
use crate::plan::Plan;
use crate::rootfs::{Prepared, RootTree};
use crate::sources::Tree;
use crate::stdio::{self, Stdio};
use crate::{identity, program};

/// What the new process inherits for its setup.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Bind mounts, detached.
    pub(crate) trees: Vec<Tree>,
    /// Device files, detached, in the order of the plan.
    pub(crate) devices: Vec<OwnedFd>,
    pub(crate) stdio: Stdio,
    /// Its end of the connection to the runtime.
    pub(crate) socket: OwnedFd,
}

/// Sets the process up and executes the container's program. What fails is told to the runtime.
pub(crate) fn run(plan: &Plan, setup: Setup) -> ! {
    let Ok(socket) = setup.socket.try_clone() else { process::exit_now(1) };
    let Err(error) = set_up(plan, setup);
    message::send_failure(&socket, &error);
    process::exit_now(1)
}

fn set_up(plan: &Plan, setup: Setup) -> Result<std::convert::Infallible, Error> {
    process::set_undumpable().step("hide from the container")?;
    process::reset_signals().step("reset signals")?;
    // In the user namespace since the clone, so all of these belong to it; the runtime makes the control group meanwhile.
    let others = Namespaces::USER | Namespaces::PID | Namespaces::TIME | Namespaces::CGROUP;
    namespace::unshare(plan.new.without(others)).step("linux.namespaces")?;
    set_names(plan)?;
    if plan.new.contains(Namespaces::NETWORK) {
        loopback::raise().step("raise the loopback device")?;
    }
    terminal::new_session().step("start a session")?;
    let shown = match message::receive_to_init(&setup.socket)? {
        ToInit::Mapped { entrances, shown } => {
            enter_cgroup(&entrances)?;
            shown
        }
        other => return Err(Error::step("set up the container", format!("unexpected message {other:?}"))),
    };
    if plan.new.contains(Namespaces::CGROUP) {
        // Its root is the group that the process is in at this moment.
        namespace::unshare(Namespaces::CGROUP).step("linux.namespaces: cgroup")?;
    }
    if plan.new.contains(Namespaces::USER) || !plan.joined.is_empty() {
        // Root of the container's user namespace: what is made from here on belongs to the container.
        process::set_ids(0, 0, &[]).step("become root of the user namespace")?;
    }
    process::die_with_parent().step("end with the supervisor")?;
    join_session_keyring()?;
    // While the runtime makes the root file system, the container's own file systems are made here.
    let prepared = Prepared::new(plan, setup.trees, shown, setup.devices)?;
    let root = match message::receive_to_init(&setup.socket)? {
        ToInit::Root(root) => root,
        other => {
            return Err(Error::step("set up the container", format!("unexpected message {other:?}")));
        }
    };
    let root = RootTree::attach(plan, root)?;
    root.mount_all(plan, prepared)?;
    let null = root.open_null()?;
    let terminal = match setup.stdio {
        Stdio::Terminal { columns, rows } => Some(root.open_terminal(plan, columns, rows)?),
        Stdio::Pipes { stdin, stdout, stderr } => {
            stdio::connect_pipes(stdin.as_ref(), &stdout, &stderr, &null)?;
            None
        }
    };
    let cwd = root.working_directory(&plan.process.cwd, plan.process.uid, plan.process.gid)?;
    root.seal(plan)?;
    root.enter()?;
    RootTree::propagate(plan.propagation)?;
    if let Some(terminal) = &terminal {
        stdio::connect_terminal(&terminal.slave)?;
        terminal::set_controlling(&terminal.slave).step("take the terminal")?;
    }
    path::change_directory(&cwd).step("process.cwd")?;
    drop((cwd, null));
    rustix::process::umask(Mode::from_raw_mode(plan.process.umask));
    identity::set_limits(&plan.process)?;
    identity::become_user(&plan.process)?;
    // A change of ids clears it.
    process::die_with_parent().step("end with the supervisor")?;
    process::close_on_exec_from(3).step("close the engine's descriptors")?;
    message::send_ready(&setup.socket, terminal.as_ref().map(|terminal| terminal.master.as_fd()))?;
    drop(terminal);
    match message::receive_to_init(&setup.socket)? {
        ToInit::Start => {}
        other => {
            return Err(Error::step("start", format!("unexpected message {other:?}")));
        }
    }
    identity::install_last_filter(&plan.process)?;
    Err(program::execute(&plan.process.args, &plan.process.env))
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

/// A keyring of the process's own; a kernel without keyrings, or a user at the quota, has none to share.
pub(crate) fn join_session_keyring() -> Result<(), Error> {
    use rustix::io::Errno;
    match keyring::join_new_session() {
        Err(error) if !matches!(error.errno(), Errno::NOSYS | Errno::DQUOT | Errno::PERM) => {
            Err(Error::step("make a session keyring", error))
        }
        _ => Ok(()),
    }
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
