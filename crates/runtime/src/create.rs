//! The runtime's side of a start: what is made outside, with the engine's rights, and handed to the new process.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use casemate_kernel::cgroup::{self, Cgroup, Controller, Layout, Version};
use casemate_kernel::mount;
use casemate_kernel::namespace::{self, Namespaces};
use casemate_kernel::process::{self, Child, Forked};
use casemate_kernel::{idmap, path, socket};
use oci_spec::runtime::Spec;
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Kind, Step};
use crate::init::{self, Setup};
use crate::message::{self, FromInit};
use crate::plan::{DevicePlan, MountIdmap, MountKind, Plan};
use crate::stdio::Stdio;

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
    pub cgroup: Cgroup,
    socket: OwnedFd,
}

impl Created {
    pub(crate) fn new(child: Child, console: Option<OwnedFd>, cgroup: Cgroup, socket: OwnedFd) -> Self {
        Self { pid: child.pid, pidfd: child.pidfd, console, cgroup, socket }
    }

    /// Lets the process execute its program; returns when the kernel has accepted that.
    ///
    /// # Errors
    /// [`Kind::NotFound`] or [`Kind::NotExecutable`] when the program can't be executed; the process is then gone.
    pub fn start(&mut self) -> Result<(), Error> {
        message::send_start(&self.socket)?;
        match message::receive_from_init(&self.socket)? {
            FromInit::Closed => Ok(()),
            FromInit::Failed(error) => {
                process::wait(&self.pidfd).step("reap the container's process")?;
                Err(error)
            }
            FromInit::Ready(_) => Err(Error::step("start", "the container's process was ready twice")),
        }
    }
}

/// Makes a container: namespaces, control group, mounts, and a process in it that waits to be started.
///
/// The caller must have one thread only. On failure nothing of the container is left.
///
/// # Errors
/// [`Kind::Invalid`], naming the field, before anything was made; else the step that failed.
pub fn create(request: CreateRequest<'_>) -> Result<Created, Error> {
    let plan = Plan::new(request.id, request.spec)?;
    let layout = Layout::detect().step("find the host's control groups")?;
    create_in(&plan, &layout, request)
}

/// The controllers a container always gets, for limits, for being stopped and for being counted, and those it asks for.
fn controllers(plan: &Plan) -> Vec<Controller> {
    let mut list = vec![
        Controller::Memory,
        Controller::Pids,
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Devices,
        Controller::Freezer,
    ];
    let limits = &plan.limits;
    if limits.cpuset_cpus.is_some() || limits.cpuset_mems.is_some() {
        list.push(Controller::Cpuset);
    }
    if limits.blkio_weight.is_some() || !limits.throttle.is_empty() {
        list.push(Controller::Blkio);
    }
    list
}

/// The container's control group, with its limits.
fn limited_group(plan: &Plan, layout: &Layout) -> Result<Cgroup, Error> {
    let cgroup = Cgroup::create(layout, &plan.cgroup, &controllers(plan)).step("linux.cgroupsPath")?;
    match cgroup.apply(&plan.limits).step("linux.resources") {
        Ok(()) => Ok(cgroup),
        Err(error) => {
            let _ = cgroup.remove();
            Err(error)
        }
    }
}

fn create_in(plan: &Plan, layout: &Layout, request: CreateRequest<'_>) -> Result<Created, Error> {
    let (socket, theirs) = socket::pair().step("connect to the new process")?;
    let setup = Setup { trees: open_binds(plan)?, devices: open_devices(plan)?, stdio: request.stdio, socket: theirs };
    // On version 2 a process is made in its group. On version 1 it moves itself there, so the group is made while the new
    // process is busy with its namespaces.
    let early = if layout.version() == Version::V2 { Some(limited_group(plan, layout)?) } else { None };
    let Spawned { child, socket, trees } = match spawn(plan, early.as_ref(), setup, socket) {
        Ok(spawned) => spawned,
        Err(error) => {
            early.as_ref().map(Cgroup::remove);
            return Err(error);
        }
    };
    let group = early.map_or_else(|| limited_group(plan, layout), Ok);
    let console = match &group {
        Ok(cgroup) => finish(plan, &child, cgroup, &socket, &trees, request.root),
        Err(_) => Ok(None),
    };
    match (group, console) {
        (Ok(cgroup), Ok(console)) => Ok(Created::new(child, console, cgroup, socket)),
        (group, console) => {
            let _ = process::pidfd_send_signal(&child.pidfd, 9);
            let _ = process::wait(&child.pidfd);
            // The first error is the one to tell; what is left of the group is killed, so that it can go.
            if let Ok(cgroup) = &group {
                let _ = cgroup.kill();
                let _ = cgroup.remove();
            }
            Err(group.err().or(console.err()).unwrap_or_else(|| Error::step("create", "failed")))
        }
    }
}

fn finish(
    plan: &Plan,
    child: &Child,
    cgroup: &Cgroup,
    socket: &OwnedFd,
    trees: &[Tree],
    root: Box<RootFs<'_>>,
) -> Result<Option<OwnedFd>, Error> {
    if plan.new.contains(Namespaces::USER) {
        namespace::write_id_maps(child.pid, &plan.uids, &plan.gids).step("linux.uidMappings, linux.gidMappings")?;
    }
    if let Some(score) = plan.process.oom_score_adj {
        let file = format!("/proc/{}/oom_score_adj", child.pid);
        std::fs::write(&file, score.to_string()).step("process.oomScoreAdj")?;
    }
    let entrances =
        if cgroup.unified().is_some() { Vec::new() } else { cgroup.entrances().step("enter the cgroup")? };
    let shown = if shows_cgroups(plan) { open_cgroup_trees(cgroup)? } else { Vec::new() };
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
    match message::receive_from_init(socket)? {
        FromInit::Ready(console) => Ok(console),
        FromInit::Failed(error) => Err(error),
        FromInit::Closed => Err(Error::step("set up the container", "its process was killed")),
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

/// The new process, this side's end of the connection to it, and the mounts that it inherited.
struct Spawned {
    child: Child,
    socket: OwnedFd,
    trees: Vec<Tree>,
}

/// Makes the new process. With namespaces to enter, a process in between enters them and makes it, so that this one
/// stays where it is.
///
/// The new process closes this side's end of the socket: it must see it close when this process is gone.
fn spawn(plan: &Plan, cgroup: Option<&Cgroup>, setup: Setup, socket: OwnedFd) -> Result<Spawned, Error> {
    // The others are made by the process itself, in parallel: a network namespace takes longest of all. They belong to
    // the user namespace that it is in from its first instruction.
    let new = plan.new.only(Namespaces::USER | Namespaces::PID | Namespaces::TIME);
    let unified = cgroup.and_then(Cgroup::unified);
    if plan.joined.is_empty() {
        return match namespace::clone(new, unified).step("make the container's process")? {
            Forked::Parent(child) => Ok(Spawned { child, socket, trees: setup.trees }),
            Forked::Child => {
                drop(socket);
                init::run(plan, setup)
            }
        };
    }
    let files = open_namespaces(plan)?;
    match process::fork().step("make a process that enters namespaces")? {
        Forked::Parent(between) => {
            let Setup { trees, socket: theirs, .. } = setup;
            drop(theirs);
            let message = socket::receive(&socket, 8192).step("enter namespaces");
            process::wait(&between.pidfd).step("enter namespaces")?;
            let message = message?;
            match (message.data.as_slice(), message.descriptors.into_iter().next()) {
                ([b'P', pid @ ..], Some(pidfd)) => {
                    let pid = <[u8; 4]>::try_from(pid).map_err(|_| Error::step("enter namespaces", "no pid"))?;
                    Ok(Spawned { child: Child { pid: u32::from_ne_bytes(pid), pidfd }, socket, trees })
                }
                ([b'E', _, text @ ..], _) => Err(Error::new(Kind::Failed, String::from_utf8_lossy(text))),
                _ => Err(Error::step("enter namespaces", "the process that was to ended")),
            }
        }
        Forked::Child => {
            drop(socket);
            enter_and_clone(plan, new, unified, setup, &files)
        }
    }
}

fn open_namespaces(plan: &Plan) -> Result<Vec<(Namespaces, OwnedFd)>, Error> {
    plan.joined
        .iter()
        .map(|(kind, path)| {
            let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| Error::field("linux.namespaces.path", format!("{path:?}: {errno}")))?;
            Ok((*kind, file))
        })
        .collect()
}

/// In the process in between: enters what is to be entered, makes the container's process, says which it is, and ends.
fn enter_and_clone(
    plan: &Plan,
    new: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    setup: Setup,
    files: &[(Namespaces, OwnedFd)],
) -> ! {
    let fail = |setup: &Setup, error: &Error| -> ! {
        message::send_failure(&setup.socket, error);
        process::exit_now(1)
    };
    if let Err(error) = process::set_undumpable().step("hide from the container") {
        fail(&setup, &error);
    }
    for (kind, file) in files {
        if let Err(error) = namespace::enter(file.as_fd(), *kind) {
            fail(&setup, &Error::field("linux.namespaces.path", error));
        }
    }
    match namespace::clone_as_sibling(new, cgroup) {
        Err(error) => fail(&setup, &Error::step("make the container's process", error)),
        Ok(Forked::Child) => init::run(plan, setup),
        Ok(Forked::Parent(child)) => {
            let mut data = vec![b'P'];
            data.extend(child.pid.to_ne_bytes());
            let sent = socket::send(&setup.socket, &data, &[child.pidfd.as_fd()]);
            process::exit_now(u8::from(sent.is_err()))
        }
    }
}

/// The sources of bind mounts, as detached mounts: opened with the engine's rights, which the container's process does
/// not have.
fn open_binds(plan: &Plan) -> Result<Vec<Tree>, Error> {
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

fn shows_cgroups(plan: &Plan) -> bool {
    plan.mounts.iter().any(|mount| matches!(mount.kind, MountKind::Cgroup))
}

/// The container's own directories of version 1 hierarchies, as detached mounts, with their names. Version 2 is mounted
/// anew by the container's process.
fn open_cgroup_trees(cgroup: &Cgroup) -> Result<Vec<(Controller, OwnedFd)>, Error> {
    if cgroup.unified().is_some() {
        return Ok(Vec::new());
    }
    SHOWN_CONTROLLERS
        .into_iter()
        .filter_map(|controller| Some((controller, cgroup.directory_of(controller)?)))
        .map(|(controller, directory)| {
            let tree = mount::clone_tree(directory, false).step("show the container its control groups")?;
            Ok((controller, tree))
        })
        .collect()
}

/// The version 1 hierarchies that programs look into for what they may use.
const SHOWN_CONTROLLERS: [Controller; 4] = [Controller::Memory, Controller::Cpu, Controller::Pids, Controller::Cpuset];

/// A detached mount made outside for one mount of the specification.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) mount: usize,
    pub(crate) directory: bool,
    pub(crate) detached: OwnedFd,
}

fn open_bind(index: usize, source: &Path, recursive: bool) -> Result<OwnedFd, Error> {
    let field = format!("mounts[{index}].source");
    let opened = rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::field(&field, format!("{source:?}: {errno}")))?;
    mount::clone_tree(&opened, recursive).map_err(|error| Error::field(&field, format!("{source:?}: {error}")))
}

fn not_idmapped(index: usize, source: &Path, error: &casemate_kernel::Error) -> Error {
    Error::field(
        &format!("mounts[{index}].uidMappings"),
        format!("the file system of {source:?} can't be idmapped on this kernel ({error})"),
    )
}

/// Gives the maps of the container's user namespace to the mounts that ask for them. The new process holds the very same
/// mounts, through descriptors it inherited, and waits for the root file system before it uses them.
fn idmap_trees(plan: &Plan, trees: &[Tree], user: &OwnedFd) -> Result<(), Error> {
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
fn open_devices(plan: &Plan) -> Result<Vec<OwnedFd>, Error> {
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

fn host_device(device: &DevicePlan) -> Result<OwnedFd, Error> {
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
fn make_device(plan: &Plan, device: &DevicePlan) -> Result<OwnedFd, casemate_kernel::Error> {
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
fn outside(maps: &[namespace::IdMap], id: u32) -> u32 {
    if maps.is_empty() {
        return id;
    }
    maps.iter()
        .find_map(|map| (id.checked_sub(map.inside)? < map.count).then(|| map.outside + (id - map.inside)))
        .unwrap_or(0)
}

/// Opens an existing container's control group by the path its specification gives it.
pub(crate) fn open_cgroup(path: &str) -> Result<Cgroup, Error> {
    let layout = Layout::detect().step("find the host's control groups")?;
    Cgroup::open(&layout, path).step("open the container's control group")
}

/// Moves the calling process into a group by its entrances, when it was not made in it.
pub(crate) fn enter_cgroup(entrances: &[OwnedFd]) -> Result<(), Error> {
    cgroup::join(entrances).step("enter the container's control group")
}
