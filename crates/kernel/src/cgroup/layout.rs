//! Where the host has its control group hierarchies.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::subtree::is_occupied;
use super::{exists, read_file};
use crate::error::{Call, Result};

const ROOT: &str = "/sys/fs/cgroup";
/// Where version 2 is mounted beside version 1.
const UNIFIED: &str = "unified";
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// A controller, by the name that both versions share where both have it, or a hierarchy without one that processes are
/// put in all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Controller {
    /// Memory and swap.
    Memory,
    /// Number of processes and threads.
    Pids,
    /// Share of and ceiling on processor time.
    Cpu,
    /// Processor time used (part of `cpu` in version 2).
    Cpuacct,
    /// Which processors and memory nodes.
    Cpuset,
    /// Block devices (`io` in version 2).
    Blkio,
    /// Device files (a BPF program in version 2).
    Devices,
    /// Stopping and resuming (part of the core in version 2).
    Freezer,
    /// Huge pages.
    Hugetlb,
    /// Class of network packets (version 1 only).
    NetCls,
    /// Priority of network packets (version 1 only).
    NetPrio,
    /// Performance counters of the group.
    PerfEvent,
    /// Resources of RDMA devices.
    Rdma,
    /// Scalar resources of the host, such as encryption keys of virtual machines.
    Misc,
    /// Version 1's hierarchy `name=systemd`, which has no controller.
    Systemd,
    /// What version 2 has without any controller: `cgroup.kill`, `cgroup.freeze`, pressure.
    Core,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Memory,
        Self::Pids,
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Blkio,
        Self::Devices,
        Self::Freezer,
        Self::Hugetlb,
        Self::NetCls,
        Self::NetPrio,
        Self::PerfEvent,
        Self::Rdma,
        Self::Misc,
        Self::Systemd,
        Self::Core,
    ];

    /// The name of its hierarchy, which is the directory where it is mounted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Blkio => "blkio",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Hugetlb => "hugetlb",
            Self::NetCls => "net_cls",
            Self::NetPrio => "net_prio",
            Self::PerfEvent => "perf_event",
            Self::Rdma => "rdma",
            Self::Misc => "misc",
            Self::Systemd => "systemd",
            Self::Core => UNIFIED,
        }
    }

    /// The controller of that [`Controller::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|controller| controller.name() == name)
    }

    /// The controller whose files in version 2 start with this name, such as `io`; `cgroup` is the core.
    pub fn from_unified_name(name: &str) -> Option<Self> {
        match name {
            "cgroup" => Some(Self::Core),
            _ => Self::ALL.into_iter().find(|controller| controller.unified_name() == Some(name)),
        }
    }

    /// The name in version 2's `cgroup.controllers`; `None` for what is always there, or never.
    pub(super) fn unified_name(self) -> Option<&'static str> {
        match self {
            Self::Memory => Some("memory"),
            Self::Pids => Some("pids"),
            Self::Cpu => Some("cpu"),
            Self::Cpuset => Some("cpuset"),
            Self::Blkio => Some("io"),
            Self::Hugetlb => Some("hugetlb"),
            Self::Rdma => Some("rdma"),
            Self::Misc => Some("misc"),
            _ => None,
        }
    }

    /// Whether version 2 can have it at all.
    fn is_unified(self) -> bool {
        !matches!(self, Self::NetCls | Self::NetPrio | Self::Systemd)
    }
}

/// Which versions of control groups the host has its controllers on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// Controllers on version 1, version 2 mounted beside them.
    Hybrid,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        })
    }
}

/// One hierarchy and which of the wanted controllers it has.
#[derive(Debug)]
pub(super) struct Hierarchy {
    pub(super) mount: OwnedFd,
    /// Whether it is version 2's.
    pub(super) unified: bool,
    pub(super) controllers: Vec<Controller>,
}

/// The host's hierarchies.
#[derive(Debug)]
pub struct Layout {
    version: Version,
    root: OwnedFd,
    /// The device number of `root`.
    device: u64,
}

impl Layout {
    /// Finds the hierarchies below `/sys/fs/cgroup`, where every distribution mounts them.
    ///
    /// # Errors
    /// `ENOENT` when nothing is mounted there.
    pub fn detect() -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(ROOT, flags, Mode::empty()).call(|| format!("open({ROOT:?})"))?;
        let magic = magic(&root)?;
        let version = if magic == CGROUP2_MAGIC {
            Version::V2
        } else if exists(&root, "unified/cgroup.procs") {
            Version::Hybrid
        } else {
            Version::V1
        };
        let device = rustix::fs::fstat(&root).call(|| format!("fstat({ROOT:?})"))?.st_dev;
        Ok(Self { version, root, device })
    }

    /// Which versions the host uses.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Where hierarchies are mounted.
    pub fn root(&self) -> &'static Path {
        Path::new(ROOT)
    }

    /// Whether the host has a controller that containers can be given.
    pub fn has(&self, controller: Controller) -> bool {
        let offered = |root: BorrowedFd<'_>| match controller.unified_name() {
            None => controller.is_unified(),
            Some(name) => {
                read_file(root, "cgroup.controllers").is_ok_and(|text| names(&text, name)) && !is_occupied(root)
            }
        };
        match self.version {
            Version::V2 => offered(self.root.as_fd()),
            Version::V1 => self.open_v1(controller.name()).is_some(),
            Version::Hybrid => {
                self.open_v1(controller.name()).is_some()
                    || self.open_v1(UNIFIED).is_some_and(|(_, root)| offered(root.as_fd()))
            }
        }
    }

    /// The hierarchies that have any of the wanted controllers, each once.
    pub(super) fn hierarchies(&self, wanted: &[Controller]) -> Result<Vec<Hierarchy>> {
        if self.version == Version::V2 {
            let mount = self.root.try_clone().call(|| format!("dup({ROOT:?})"))?;
            let offered = wanted.iter().copied().filter(|controller| controller.is_unified());
            let controllers = offered.chain(std::iter::once(Controller::Core)).collect();
            return Ok(vec![Hierarchy { mount, unified: true, controllers }]);
        }
        let mut found: Vec<(u64, Hierarchy)> = Vec::new();
        let mut elsewhere: Vec<Controller> = Vec::new();
        for &controller in wanted.iter().filter(|controller| **controller != Controller::Core) {
            let Some((device, mount)) = self.open_v1(controller.name()) else {
                elsewhere.push(controller);
                continue;
            };
            // cpu and cpuacct are often one hierarchy under two names.
            match found.iter_mut().find(|(other, _)| *other == device) {
                Some((_, hierarchy)) => hierarchy.controllers.push(controller),
                None => found.push((device, Hierarchy { mount, unified: false, controllers: vec![controller] })),
            }
        }
        let mut found: Vec<Hierarchy> = found.into_iter().map(|(_, hierarchy)| hierarchy).collect();
        if self.version == Version::Hybrid {
            let core = wanted.contains(&Controller::Core);
            found.extend(self.unified_beside(elsewhere, core));
        }
        Ok(found)
    }

    /// The version 2 hierarchy beside version 1, when it has any controller that version 1 has not, or is wanted itself.
    fn unified_beside(&self, mut wanted: Vec<Controller>, core: bool) -> Option<Hierarchy> {
        wanted.retain(|controller| controller.is_unified());
        if wanted.is_empty() && !core {
            return None;
        }
        let (_, mount) = self.open_v1(UNIFIED)?;
        let listed = read_file(mount.as_fd(), "cgroup.controllers").unwrap_or_default();
        wanted.retain(|controller| controller.unified_name().is_none_or(|name| names(&listed, name)));
        if wanted.is_empty() && !core {
            return None;
        }
        wanted.push(Controller::Core);
        Some(Hierarchy { mount, unified: true, controllers: wanted })
    }

    /// A hierarchy's root and its device number. What is on the same device as the directory that holds the mount points
    /// is not mounted.
    fn open_v1(&self, name: &str) -> Option<(u64, OwnedFd)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.root, name, flags, Mode::empty()).ok()?;
        let device = rustix::fs::fstat(&fd).ok()?.st_dev;
        (device != self.device).then_some((device, fd))
    }
}

fn magic(fd: &OwnedFd) -> Result<i64> {
    rustix::fs::fstatfs(fd).call(|| format!("fstatfs([{}])", fd.as_raw_fd())).map(|stat| stat.f_type)
}

pub(super) fn names(list: &str, name: &str) -> bool {
    list.split_ascii_whitespace().any(|known| known == name)
}

/// Whether a file of a group lists a name.
pub(super) fn lists(mount: &OwnedFd, file: &str, name: &str) -> bool {
    read_file(mount.as_fd(), file).is_ok_and(|text| names(&text, name))
}
