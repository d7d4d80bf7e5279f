//! The container's control group: made with its limits, entered, and shown inside.

use std::os::fd::OwnedFd;

use casemate_kernel::cgroup::{self, Cgroup, Controller, Layout};
use casemate_kernel::mount;

use crate::error::{Error, Step};
use crate::plan::{MountKind, Plan};

/// The controllers a container always gets, for limits, for being stopped and for being counted, and those it asks for.
pub(crate) fn controllers(plan: &Plan) -> Vec<Controller> {
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
pub(crate) fn limited_group(plan: &Plan, layout: &Layout) -> Result<Cgroup, Error> {
    let cgroup = Cgroup::create(layout, &plan.cgroup, &controllers(plan)).step("linux.cgroupsPath")?;
    match cgroup.apply(&plan.limits).step("linux.resources") {
        Ok(()) => Ok(cgroup),
        Err(error) => {
            let _ = cgroup.remove();
            Err(error)
        }
    }
}

pub(crate) fn shows_cgroups(plan: &Plan) -> bool {
    plan.mounts.iter().any(|mount| matches!(mount.kind, MountKind::Cgroup))
}

/// The container's own directories of version 1 hierarchies, as detached mounts, with their names. Version 2 is mounted
/// anew by the container's process.
pub(crate) fn open_cgroup_trees(cgroup: &Cgroup) -> Result<Vec<(Controller, OwnedFd)>, Error> {
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
pub(crate) const SHOWN_CONTROLLERS: [Controller; 4] =
    [Controller::Memory, Controller::Cpu, Controller::Pids, Controller::Cpuset];

/// Opens an existing container's control group by the path its specification gives it.
pub(crate) fn open_cgroup(path: &str) -> Result<Cgroup, Error> {
    let layout = Layout::detect().step("find the host's control groups")?;
    Cgroup::open(&layout, path).step("open the container's control group")
}

/// Moves the calling process into a group by its entrances, when it was not made in it.
pub(crate) fn enter_cgroup(entrances: &[OwnedFd]) -> Result<(), Error> {
    cgroup::join(entrances).step("enter the container's control group")
}
