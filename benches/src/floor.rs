//! The kernel's floor: what a container of casemate's kind costs when nothing but the kernel's own work is done.
//!
//! The same control groups and limits, namespaces, id maps, overlay on idmapped layers, mounts and pivot, then the program; and
//! around them no command line, no image store, no record, no log, no supervisor, no filter. Counted to the end of the program and of its control group.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use casemate_kernel::cgroup::{self, Cgroup, Controller, DeviceKind, DeviceRule, Layout, Limits};
use casemate_kernel::mount::{self, Attributes, Propagation};
use casemate_kernel::namespace::{self, IdMap, Namespaces};
use casemate_kernel::overlay::Overlay;
use casemate_kernel::process::{self, Exit, Forked};
use casemate_kernel::socket;
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result, io};
use crate::floor_mounts::{self, Trees};
use crate::rootfs::Stage;

/// The ids that a container gets.
const FIRST_ID: u32 = 2_000_000_000;
const IDS: u32 = 65_536;

/// The controllers that a container's limits need.
const CONTROLLERS: [Controller; 6] = [
    Controller::Memory,
    Controller::Pids,
    Controller::Cpu,
    Controller::Cpuacct,
    Controller::Devices,
    Controller::Freezer,
];

/// Everything that is the same for each start.
#[derive(Debug)]
pub(crate) struct Floor {
    rootfs: PathBuf,
    layers: Vec<PathBuf>,
    layout: Layout,
    limits: Limits,
    program: CString,
    arguments: Vec<CString>,
}

impl Floor {
    /// Prepares starts of `arguments` in the stage's root file system.
    pub(crate) fn prepare(stage: &Stage, arguments: &[&str]) -> Result<Self> {
        // An overlay without a writable directory needs two layers; casemate's second one is its skeleton.
        let skeleton = stage.directory.join("skeleton");
        io(fs::create_dir_all(skeleton.join("dev")), || format!("making {}", skeleton.display()))?;
        let text = |text: &str| CString::new(text).map_err(|_| Error::new("an argument has a NUL byte"));
        let program = text(arguments.first().copied().unwrap_or("/bin/true"))?;
        Ok(Self {
            rootfs: stage.rootfs.clone(),
            layers: vec![stage.rootfs.clone(), skeleton],
            layout: Layout::detect()?,
            limits: limits()?,
            program,
            arguments: arguments.iter().copied().map(text).collect::<Result<_>>()?,
        })
    }

    /// Starts one and waits for its end.
    pub(crate) fn start(&self, turn: usize) -> Result<Duration> {
        let started = Instant::now();
        let cgroup = Cgroup::create(&self.layout, &format!("/casemate-bench-{turn}"), &CONTROLLERS)?;
        let exit = self.start_in(&cgroup);
        let removed = cgroup.remove();
        let elapsed = started.elapsed();
        match exit? {
            Exit::Code(0) => {}
            exit => return Err(Error::new(format!("the floor's container ended with {exit:?}"))),
        }
        removed?;
        Ok(elapsed)
    }

    fn start_in(&self, cgroup: &Cgroup) -> Result<Exit> {
        cgroup.apply(&self.limits).map_err(|error| Error::new(error.to_string()))?;
        let entrances = if cgroup.unified().is_some() { Vec::new() } else { cgroup.entrances()? };
        let trees = Trees::open(cgroup, &self.rootfs)?;
        let (ours, theirs) = socket::pair()?;
        let all = Namespaces::USER
            | Namespaces::MOUNT
            | Namespaces::PID
            | Namespaces::NETWORK
            | Namespaces::IPC
            | Namespaces::UTS;
        match namespace::clone(all, cgroup.unified())? {
            Forked::Child => {
                let failure = self.become_container(&theirs, &entrances, &trees);
                // The bench's own standard error: a floor that fails says why.
                eprintln!("casemate-bench: floor: {failure}");
                process::exit_now(125)
            }
            Forked::Parent(child) => {
                drop(theirs);
                let map = [IdMap { inside: 0, outside: FIRST_ID, count: IDS }];
                namespace::write_id_maps(child.pid, &map, &map)?;
                let namespace = namespace::open_of_process(child.pid, "user")?;
                trees.idmap(namespace.as_fd())?;
                let overlay = Overlay {
                    layers: &self.layers,
                    upper: None,
                    idmap: Some(namespace.as_fd()),
                    attributes: Attributes::READ_ONLY | Attributes::NO_DEV,
                };
                let root = overlay.mount()?;
                socket::send(&ours, b"root", &[root.as_fd()])?;
                Ok(process::wait(&child.pidfd)?)
            }
        }
    }

    /// In the child: returns only what failed.
    fn become_container(&self, socket: &OwnedFd, entrances: &[OwnedFd], trees: &Trees) -> Error {
        match Self::enter_root(socket, entrances, trees) {
            Ok(()) => {
                let environment = [c"PATH=/bin".to_owned()];
                Error::new(process::exec(&self.program, &self.arguments, &environment).to_string())
            }
            Err(error) => error,
        }
    }

    fn enter_root(socket: &OwnedFd, entrances: &[OwnedFd], trees: &Trees) -> Result<()> {
        let message = socket::receive(socket, 16)?;
        let root = message.descriptors.first().ok_or_else(|| Error::new("no root file system came"))?;
        cgroup::join(entrances)?;
        namespace::unshare(Namespaces::CGROUP)?;
        process::set_ids(0, 0, &[])?;
        namespace::set_hostname("floor")?;
        let old_root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::new(format!("opening /: {errno}")))?;
        mount::set_propagation(&old_root, Propagation::Private, true)?;
        mount::attach(root, &old_root)?;
        floor_mounts::make(root, trees)?;
        rustix::process::fchdir(root).map_err(|errno| Error::new(format!("entering the root: {errno}")))?;
        mount::pivot_to_working_directory()?;
        Ok(process::set_no_new_privileges()?)
    }
}

/// The limits of casemate's default container.
fn limits() -> Result<Limits> {
    let memory = 512 << 20;
    let access = cgroup::Access::parse("rw").ok_or_else(|| Error::new("device access rw"))?;
    let device = |minor: u32| DeviceRule {
        allow: true,
        kind: DeviceKind::Character,
        major: Some(1),
        minor: Some(minor),
        access,
    };
    Ok(Limits {
        memory: Some(memory),
        memory_and_swap: Some(memory),
        pids: Some(512),
        cpu_quota: Some(180_000),
        cpu_period: Some(100_000),
        devices: [3, 5, 7, 8, 9].into_iter().map(device).collect(),
        ..Limits::default()
    })
}

/// How many mounts the floor's container has: it prints its mount table into a file.
pub(crate) fn mounts(stage: &Stage, log: &std::path::Path) -> Result<usize> {
    let floor = Floor::prepare(stage, &["/bin/cat", "/proc/self/mountinfo"])?;
    let file = io(fs::File::create(log), || format!("creating {}", log.display()))?;
    // The floor's program has the bench's own standard output: a process in between has the file there instead.
    match process::fork()? {
        Forked::Child => {
            let done = process::duplicate_to_standard(file.as_fd(), process::Standard::Output)
                .map_err(Error::from)
                .and_then(|()| floor.start(usize::MAX));
            process::exit_now(u8::from(done.is_err()))
        }
        Forked::Parent(child) => {
            process::wait(&child.pidfd)?;
        }
    }
    Ok(io(fs::read_to_string(log), || format!("reading {}", log.display()))?.lines().count())
}
