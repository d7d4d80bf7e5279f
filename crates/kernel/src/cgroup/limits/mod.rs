//! Limits of a group, in one vocabulary for both versions: what OCI calls `linux.resources`.

mod counts;
mod cpu;
mod io;
mod memory;
mod network;
mod unified;
mod write;

use std::fmt;

use rustix::io::Errno;

use super::device::{self, DeviceRule};
use super::{Cgroup, Controller, Site};
use crate::error::Error;
use write::{Target, Write};

pub use counts::{HugepageLimit, RdmaLimit};
pub use cpu::weight_of_shares;
pub use io::{DeviceWeight, Throttle, ThrottleKind, io_weight};
pub use network::InterfacePriority;

/// What a group may use. `None` leaves a value as it is; sizes are bytes, times microseconds, `-1` is "no limit".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory.
    pub memory: Option<i64>,
    /// Memory and swap together, as in version 1 and Docker; equal to `memory` means no swap.
    pub memory_and_swap: Option<i64>,
    /// Memory that is reclaimed down to when the host is short.
    pub memory_reservation: Option<i64>,
    /// Kernel memory (version 1 only, and refused by newer kernels).
    pub memory_kernel: Option<i64>,
    /// Kernel memory for TCP buffers (version 1 only).
    pub memory_kernel_tcp: Option<i64>,
    /// How readily anonymous memory is swapped, 0 to 100 (version 1 only).
    pub swappiness: Option<u64>,
    /// Whether the out-of-memory killer stays away (version 1 only).
    pub oom_kill_disable: Option<bool>,
    /// Whether memory of groups below counts in this one. Version 2, and version 1 of newer kernels, know no other way.
    pub use_hierarchy: Option<bool>,
    /// Refuse a new memory limit that is not above what is used now, where the kernel would kill to get there.
    pub memory_check_before_update: bool,
    /// Processes and threads.
    pub pids: Option<i64>,
    /// Weight of processor time, 2 to 262144, 1024 by default.
    pub cpu_shares: Option<u64>,
    /// Processor time in each period.
    pub cpu_quota: Option<i64>,
    /// The period.
    pub cpu_period: Option<u64>,
    /// Processor time that may be saved up for a burst.
    pub cpu_burst: Option<u64>,
    /// Processor time of real-time tasks in each real-time period (version 1 only).
    pub cpu_realtime_runtime: Option<i64>,
    /// The real-time period (version 1 only).
    pub cpu_realtime_period: Option<u64>,
    /// 1 for `SCHED_IDLE`: the group runs when nothing else wants to; 0 for the default.
    pub cpu_idle: Option<i64>,
    /// Processors, as a list such as `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, likewise.
    pub cpuset_mems: Option<String>,
    /// Weight of block I/O, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Weight of the group's own processes against the groups below it, 10 to 1000 (version 1, CFQ scheduler only).
    pub blkio_leaf_weight: Option<u16>,
    /// Weights for single devices.
    pub device_weights: Vec<DeviceWeight>,
    /// Ceilings on block devices.
    pub throttle: Vec<Throttle>,
    /// Huge pages.
    pub hugepages: Vec<HugepageLimit>,
    /// The class of the group's network packets (version 1 only).
    pub network_class: Option<u32>,
    /// Priorities of the group's network packets (version 1 only).
    pub network_priorities: Vec<InterfacePriority>,
    /// RDMA devices.
    pub rdma: Vec<RdmaLimit>,
    /// Rules on device files, in order; the last that matches decides, and none means denied. Empty: no restriction.
    pub devices: Vec<DeviceRule>,
    /// Version 2 files to be written as they are, by name.
    pub unified: Vec<(String, String)>,
}

/// A limit that a group can't be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitError {
    field: String,
    error: Error,
}

impl LimitError {
    fn new(field: &str, error: Error) -> Self {
        Self { field: field.to_owned(), error }
    }

    /// A limit that this host, or this version of control groups, does not have.
    fn not_offered(field: &str, why: impl fmt::Display) -> Self {
        Self::new(field, Error::new(format!("{why}"), Errno::OPNOTSUPP))
    }

    /// A value that is wrong on any host.
    fn invalid(field: &str, why: impl fmt::Display) -> Self {
        Self::new(field, Error::new(format!("{why}"), Errno::INVAL))
    }

    /// Which limit, as a field of OCI's `linux.resources`: `blockIO.weight`.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What the kernel answered, or would: `EOPNOTSUPP` for what this host does not have, `EINVAL` for a wrong value.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.error)
    }
}

impl std::error::Error for LimitError {}

type Result<T> = std::result::Result<T, LimitError>;

impl Limits {
    /// The controllers that these limits need.
    pub fn controllers(&self) -> Vec<Controller> {
        let needed = [
            (Controller::Memory, self.has_memory()),
            (Controller::Pids, self.pids.is_some()),
            (Controller::Cpu, self.has_cpu()),
            (Controller::Cpuset, self.cpuset_cpus.is_some() || self.cpuset_mems.is_some()),
            (Controller::Blkio, self.has_io()),
            (Controller::Hugetlb, !self.hugepages.is_empty()),
            (Controller::NetCls, self.network_class.is_some()),
            (Controller::NetPrio, !self.network_priorities.is_empty()),
            (Controller::Rdma, !self.rdma.is_empty()),
            (Controller::Devices, !self.devices.is_empty()),
        ];
        let mut list: Vec<Controller> =
            needed.into_iter().filter(|(_, needed)| *needed).map(|(controller, _)| controller).collect();
        for controller in self.unified.iter().filter_map(|(file, _)| unified::controller(file)) {
            if !list.contains(&controller) {
                list.push(controller);
            }
        }
        list
    }

    /// What is to be written where, with what can be known to be wrong refused.
    fn writes(&self, target: &Target<'_>) -> Result<Vec<Write>> {
        let mut writes = Vec::new();
        self.write_memory(target, &mut writes)?;
        self.write_counts(target, &mut writes)?;
        self.write_cpu(target, &mut writes)?;
        self.write_io(target, &mut writes)?;
        self.write_network(target, &mut writes)?;
        // Last: a file of version 2 named as such overrides what the fields above say of it.
        self.write_unified(target, &mut writes)?;
        Ok(writes)
    }
}

impl Site {
    /// Refuses limits that the group could not be given, as far as can be known before it is made: a wrong value, a
    /// controller or a file of it that this host does not have.
    pub fn check(&self, limits: &Limits) -> Result<()> {
        let target = Target::site(self);
        for write in limits.writes(&target)? {
            write.check(self, &target)?;
        }
        if !limits.devices.is_empty() && target.version_of(Controller::Devices).is_none() {
            return Err(LimitError::not_offered("devices", "this host has no devices controller"));
        }
        Ok(())
    }
}

impl Cgroup {
    /// Sets the limits of a group that was just made.
    pub fn apply(&self, limits: &Limits) -> Result<()> {
        self.set(limits, &Target::new_group(self))
    }

    /// Changes limits of a group in use. What the new limits leave open of a value that the kernel has as one (quota and
    /// period; memory with swap, and swap) stays what it is.
    ///
    /// # Errors
    /// [`LimitError`]; limits that were set before the one it names stay set.
    pub fn update(&self, limits: &Limits) -> Result<()> {
        self.check_memory_usage(limits)?;
        self.set(limits, &Target::group_in_use(self))
    }

    fn set(&self, limits: &Limits, target: &Target<'_>) -> Result<()> {
        write::write_all(self, limits.writes(target)?)?;
        if limits.devices.is_empty() {
            return Ok(());
        }
        let place = self
            .place(Controller::Devices)
            .ok_or_else(|| LimitError::not_offered("devices", "this host has no devices controller"))?;
        let written = if place.unified {
            device::attach_program(place.directory, &limits.devices)
        } else {
            device::write_rules(place.directory, &limits.devices)
        };
        written.map_err(|error| LimitError::new("devices", error))
    }
}

/// A number as version 2 takes it.
fn max_or(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}
