//! A further process in a running container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use casemate_kernel::namespace::{self, Namespaces};
use casemate_kernel::process::{self, Forked};
use casemate_kernel::terminal::Terminal;
use casemate_kernel::{mount, path, socket, terminal};
use oci_spec::runtime::{Linux, Process, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::cgroup::{self, ContainerGroup, enter_cgroup, open_cgroup};
use crate::create::Created;
use crate::error::{Error, Step};
use crate::init::open_root;
use crate::message::{self, FromInit, ToInit};
use crate::plan::{self, ProcessPlan};
use crate::stdio::{self, Stdio};
use crate::{affinity, environment, identity, labels, program};

/// A process to start in a container.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The container's first process. The caller has made sure that it is still that one.
    pub pid: u32,
    /// The container's specification: which namespaces it has, its control group and its filter.
    pub spec: &'a Spec,
    /// The process.
    pub process: &'a Process,
    /// Its standard descriptors.
    pub stdio: Stdio,
}

/// Starts a process in a running container: in all its namespaces, its control group, and under its filter.
///
/// The process is a child of the caller, which must have one thread only. It runs when this returns.
///
/// # Errors
/// As [`create`](crate::create()) and [`Created::start`].
pub fn exec(request: ExecRequest<'_>) -> Result<Created, Error> {
    let linux = request.spec.linux().as_ref().ok_or_else(|| Error::field("linux", "missing"))?;
    let namespaces = own_namespaces(linux)?;
    let process = ProcessPlan::new(request.process, linux, namespaces.contains(Namespaces::USER))?;
    let cgroup = open_cgroup(&cgroup::path(request.id, linux.cgroups_path().as_deref())?)?;
    let pidfd = process::pidfd_open(request.pid).step("find the container's process")?;
    let joining = Joining {
        process: &process,
        namespaces,
        root_apart: has_a_root_apart(linux)?,
        pid: request.pid,
        pidfd: &pidfd,
        cgroup,
        stdio: request.stdio,
        preserved: 0,
    };
    join(joining, &mut |_, _| Err(Error::step("linux.seccomp", "nobody is there to hand a listener to")))
}

/// The kinds of namespaces that the container does not share with its runtime.
pub(crate) fn own_namespaces(linux: &Linux) -> Result<Namespaces, Error> {
    let (new, joined) = plan::namespaces(linux)?;
    Ok(joined.iter().fold(new, |all, (kind, _)| all | *kind))
}

/// Whether the container's root is not that of its mount namespace, which is the host's, or was there before.
pub(crate) fn has_a_root_apart(linux: &Linux) -> Result<bool, Error> {
    Ok(!plan::namespaces(linux)?.0.contains(Namespaces::MOUNT))
}

/// A process that is to join a container.
pub(crate) struct Joining<'a> {
    pub(crate) process: &'a ProcessPlan,
    /// What is entered.
    pub(crate) namespaces: Namespaces,
    /// Whether the first process's root must be entered, too ([`has_a_root_apart`]).
    pub(crate) root_apart: bool,
    /// The container's first process.
    pub(crate) pid: u32,
    pub(crate) pidfd: &'a OwnedFd,
    pub(crate) cgroup: ContainerGroup,
    pub(crate) stdio: Stdio,
    /// How many descriptors after the standard ones the program inherits.
    pub(crate) preserved: u32,
}

/// Makes the process and executes its program.
pub(crate) fn join(
    joining: Joining<'_>,
    listener: &mut dyn FnMut(u32, OwnedFd) -> Result<(), Error>,
) -> Result<Created, Error> {
    let Joining { process, namespaces, root_apart, pid, pidfd, cgroup, stdio, preserved } = joining;
    let root = if root_apart { Some(open_root_of(pid, pidfd)?) } else { None };
    let entrances =
        if cgroup.unified().is_some() { Vec::new() } else { cgroup.entrances().step("enter the cgroup")? };
    let (ours, theirs) = socket::pair().step("connect to the new process")?;
    let elsewhere = affinity::initial(process)?;
    // A PID namespace is entered by the children of whoever enters it: this process enters it, makes the child, and
    // goes back to its own for those it may make later.
    let home = namespace::open_of_process(std::process::id(), "pid").step("open the own PID namespace")?;
    if namespaces.contains(Namespaces::PID) {
        namespace::enter_of_process(pidfd.as_fd(), Namespaces::PID).step("enter the container's PID namespace")?;
    }
    let made = match namespace::clone(Namespaces::empty(), cgroup.unified()) {
        // Its processes have moved on to groups below: see `below_of_process`.
        Err(error) if error.errno() == Errno::BUSY => match cgroup.below_of_process(pid) {
            Ok(Some(beside)) => namespace::clone(Namespaces::empty(), beside.unified()),
            _ => Err(error),
        },
        made => made,
    };
    match made {
        Ok(Forked::Child) => {
            drop(ours);
            run(
                process,
                &Place { namespaces, pidfd, root: root.as_ref(), entrances: &entrances, preserved },
                stdio,
                &theirs,
            )
        }
        Ok(Forked::Parent(child)) => {
            drop(elsewhere);
            namespace::enter(home.as_fd(), Namespaces::PID).step("return to the own PID namespace")?;
            drop((theirs, stdio));
            let ready = identity::set_oom_score(process, child.pid).and_then(|()| message::receive_from_init(&ours));
            let console = match ready {
                Ok(FromInit::Ready(console)) => console,
                failed => {
                    let _ = process::pidfd_send_signal(&child.pidfd, 9);
                    let _ = process::wait(&child.pidfd);
                    return Err(match failed {
                        Ok(FromInit::Failed(error)) | Err(error) => error,
                        _ => Error::step("set up the process", "it was killed"),
                    });
                }
            };
            let mut created = Created::new(child, console, cgroup, ours);
            let pid = created.pid;
            created.start_with(None, &mut |fd| listener(pid, fd))?;
            Ok(created)
        }
        Err(error) => {
            let _ = namespace::enter(home.as_fd(), Namespaces::PID);
            Err(Error::step("make the process", error))
        }
    }
}

/// Opens the root directory of a process that is there still, so that the number means it.
fn open_root_of(pid: u32, pidfd: &OwnedFd) -> Result<OwnedFd, Error> {
    let path = format!("/proc/{pid}/root");
    let root =
        rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).step(&path)?;
    process::pidfd_send_signal(pidfd, 0).step("find the container's process")?;
    Ok(root)
}

/// Where a process goes, as seen from its own side.
struct Place<'a> {
    namespaces: Namespaces,
    pidfd: &'a OwnedFd,
    root: Option<&'a OwnedFd>,
    entrances: &'a [OwnedFd],
    preserved: u32,
}

fn run(plan: &ProcessPlan, place: &Place<'_>, stdio: Stdio, socket: &OwnedFd) -> ! {
    let Err(error) = set_up(plan, place, stdio, socket);
    message::send_failure(socket, &error);
    process::exit_now(1)
}

fn set_up(
    plan: &ProcessPlan,
    place: &Place<'_>,
    stdio: Stdio,
    socket: &OwnedFd,
) -> Result<std::convert::Infallible, Error> {
    process::set_undumpable().step("hide from the container")?;
    process::reset_signals().step("reset signals")?;
    let labels = labels::open(plan)?;
    enter_cgroup(place.entrances)?;
    affinity::settle(plan)?;
    // With the rights of whoever asks for it: those of the container's user namespace are not enough.
    identity::raise_limits(plan, 0)?;
    identity::schedule(plan, 0)?;
    terminal::new_session().step("start a session")?;
    let entered = place.namespaces.without(Namespaces::PID);
    if !entered.is_empty() {
        namespace::enter_of_process(place.pidfd.as_fd(), entered).step("enter the container's namespaces")?;
    }
    if let Some(root) = place.root {
        rustix::process::fchdir(root).step("enter the container's root")?;
        mount::change_root_to_working_directory().step("enter the container's root")?;
    }
    if place.namespaces.contains(Namespaces::USER) {
        process::set_ids(0, 0, &[]).step("become root of the user namespace")?;
    }
    labels.join_session_keyring()?;
    let root = open_root()?;
    let terminal = connect_stdio(plan, &root, stdio)?;
    let cwd = path::open_in_root(&root, &plan.cwd, OFlags::PATH | OFlags::DIRECTORY)
        .step(&format!("process.cwd: {:?}", plan.cwd))?;
    path::change_directory(&cwd).step("process.cwd")?;
    drop((cwd, root));
    let env = environment::complete(plan)?;
    labels.apply()?;
    identity::prepare(plan)?;
    process::close_on_exec_from(3 + place.preserved).step("close the engine's descriptors")?;
    message::send_ready(socket, terminal.as_ref().map(|terminal| terminal.master.as_fd()))?;
    drop(terminal);
    match message::receive_to_init(socket)? {
        ToInit::Start(_) => {}
        other => {
            return Err(Error::step("start", format!("unexpected message {other:?}")));
        }
    }
    let program = program::find(&plan.args, &env)?;
    if let Some(listener) = identity::install_filter(plan)? {
        message::send_listener(socket, &listener)?;
    }
    identity::give_up(plan)?;
    Err(program.execute(&plan.args, &env))
}

/// Connects the standard descriptors.
fn connect_stdio(plan: &ProcessPlan, root: &OwnedFd, stdio: Stdio) -> Result<Option<Terminal>, Error> {
    match stdio {
        Stdio::Terminal { columns, rows } => {
            let devpts = path::open_in_root(root, Path::new("/dev/pts"), OFlags::PATH | OFlags::DIRECTORY)
                .step("process.terminal: open /dev/pts")?;
            let terminal = terminal::open(devpts).step("process.terminal")?;
            if columns != 0 && rows != 0 {
                terminal::set_size(&terminal.master, columns, rows).step("process.terminal")?;
            }
            if plan.uid != 0 {
                terminal::change_owner(&terminal.slave, plan.uid, plan.gid).step("process.terminal")?;
            }
            stdio::connect_terminal(&terminal.slave)?;
            terminal::set_controlling(&terminal.slave).step("take the terminal")?;
            Ok(Some(terminal))
        }
        Stdio::Pipes { stdin, stdout, stderr } => {
            let null =
                path::open_in_root(root, Path::new("/dev/null"), OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW)
                    .step("open the container's /dev/null")?;
            stdio::connect_pipes(stdin.as_ref(), &stdout, &stderr, &null)?;
            Ok(None)
        }
        Stdio::Inherited => {
            stdio::give_to(plan.uid, plan.gid)?;
            Ok(None)
        }
    }
}
