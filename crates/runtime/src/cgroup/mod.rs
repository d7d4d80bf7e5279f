//! The container's control group: made with its limits, entered, shown inside, and found again by later commands.

mod delegate;
mod unit;
mod update;

use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::Path;

use casemate_kernel::cgroup::{self, Cgroup, Controller, Layout, LimitError, Site, Version};
use casemate_kernel::mount;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Step};
use crate::plan::{MountKind, Plan};

pub(crate) use unit::ScopePlan;
pub use unit::ScopeRecord;
pub use update::read_update;

/// Where groups are made whose path the specification leaves open.
const DEFAULT_PARENT: &str = "/casemate";

/// What later commands find a container's control group by. Belongs into the container's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupRecord {
    /// Its path beneath each hierarchy's mount point.
    pub path: String,
    /// The hierarchies it is in, by their controllers ([`Controller::name`]).
    pub controllers: Vec<String>,
    /// Those in which its directory was there before the container: there it is not removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// The scope that it is, when systemd has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeRecord>,
}

impl CgroupRecord {
    /// Of a group that is about to be made: it may come to be in any hierarchy.
    pub(crate) fn expected(plan: &Plan) -> Self {
        let controllers = Controller::ALL.into_iter().map(|controller| controller.name().to_owned()).collect();
        let scope = plan.scope.as_ref().map(|scope| scope.record().clone());
        Self { path: plan.cgroup.clone(), controllers, kept: Vec::new(), scope }
    }

    /// Lets go of what there may be of a group besides its directories ([`ContainerGroup::open_if_there`] finds none):
    /// a unit that systemd keeps because it failed.
    pub fn forget(&self) -> Result<(), Error> {
        self.scope.as_ref().map_or(Ok(()), ScopeRecord::stop)
    }
}

/// A container's control group.
#[derive(Debug)]
pub struct ContainerGroup {
    cgroup: Cgroup,
    scope: Option<ScopeRecord>,
}

impl Deref for ContainerGroup {
    type Target = Cgroup;

    fn deref(&self) -> &Cgroup {
        &self.cgroup
    }
}

impl ContainerGroup {
    /// Opens the group of a container that was made earlier.
    ///
    /// # Errors
    /// When it is gone, in all its hierarchies: [`ContainerGroup::open_if_there`] tells that from other failures.
    pub fn open(record: &CgroupRecord) -> Result<Self, Error> {
        Self::open_if_there(record)?.ok_or_else(|| Error::step("open the container's control group", "it is gone"))
    }

    /// Opens the group of a container that was made earlier; `None` when it is gone.
    pub fn open_if_there(record: &CgroupRecord) -> Result<Option<Self>, Error> {
        let step = "open the container's control group";
        let layout = Layout::detect().step(step)?;
        let named = |names: &[String]| -> Vec<Controller> {
            names.iter().filter_map(|name| Controller::from_name(name)).collect()
        };
        match Cgroup::open_in(&layout, &record.path, &named(&record.controllers), &named(&record.kept)) {
            Ok(cgroup) => Ok(Some(Self { cgroup, scope: record.scope.clone() })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::step(step, error)),
        }
    }

    /// This group with groups below it in its place, as `exec --cgroup` names them: one path for all hierarchies, or
    /// `CONTROLLER[,CONTROLLER]:PATH` for some. In the others a process stays where the container's limits are.
    ///
    /// # Errors
    /// For a path that leads elsewhere, a controller that the group does not have, or one named twice; when there is no
    /// such group.
    pub(crate) fn below(mut self, asked: &[String]) -> Result<Self, Error> {
        let field = "--cgroup";
        let mut named = Vec::new();
        for text in asked {
            let (controllers, path) = match text.split_once(':') {
                Some((controllers, path)) => (Some(controllers), path),
                None if asked.len() == 1 => (None, text.as_str()),
                None => return Err(Error::field(field, format!("{text:?}: missing <controller>: prefix"))),
            };
            if path.split('/').any(|name| name == "..") {
                return Err(Error::field(field, format!("bad sub cgroup path {path:?}")));
            }
            let mut of = Vec::new();
            for name in controllers.into_iter().flat_map(|list| list.split(',')) {
                let known = Controller::from_name(name).filter(|known| self.cgroup.has(*known));
                let controller =
                    known.ok_or_else(|| Error::field(field, format!("unknown controller {name:?} in {text:?}")))?;
                if named.contains(&controller) {
                    return Err(Error::field(field, format!("controller {name} specified multiple times")));
                }
                named.push(controller);
                of.push(controller);
            }
            self.cgroup = self.cgroup.moved_below(&of, path).step(field)?;
        }
        Ok(self)
    }

    /// What to find it by later.
    pub fn record(&self) -> CgroupRecord {
        let names = |list: Vec<Controller>| list.into_iter().map(|controller| controller.name().to_owned()).collect();
        CgroupRecord {
            path: format!("/{}", self.cgroup.path()),
            controllers: names(self.cgroup.controllers().collect()),
            kept: names(self.cgroup.kept().collect()),
            scope: self.scope.clone(),
        }
    }

    /// Removes the group as [`Cgroup::remove`] does, and the scope that it is.
    pub fn remove(&self) -> Result<(), Error> {
        // What systemd does not know of is to be removed in any case.
        let stopped = self.scope.as_ref().map_or(Ok(()), ScopeRecord::stop);
        let removed = self.cgroup.remove().step("remove the container's control group");
        stopped.and(removed)
    }
}

/// A control group that was looked into but not made: what the host lacks for it is known.
#[derive(Debug)]
pub(crate) struct PreparedGroup {
    version: Version,
    site: Option<Site>,
}

impl PreparedGroup {
    /// Opens the hierarchies. `every` says whether the group is to be made in all the host has, so that any limit can be
    /// set later and every process is found in each; otherwise it is in those that are needed.
    pub(crate) fn new(plan: &Plan, every: bool) -> Result<Self, Error> {
        let layout = Layout::detect().step("find the host's control groups")?;
        let site = if every {
            Site::with_everything(&layout, &plan.cgroup)
        } else {
            Site::new(&layout, &plan.cgroup, &controllers(plan))
        };
        let site = site.step("linux.cgroupsPath")?;
        site.check(&plan.limits).map_err(|error| refused(&error))?;
        Ok(Self { version: layout.version(), site: Some(site) })
    }

    /// Makes the group before the process, if that is made in it: on version 2. On version 1 the process moves itself
    /// there, so the group is made ([`PreparedGroup::late`]) while the new process is busy with its namespaces.
    ///
    /// systemd makes a group around a process that is there.
    pub(crate) fn early(&mut self, plan: &Plan) -> Result<Option<ContainerGroup>, Error> {
        if self.version == Version::V2 && plan.scope.is_none() { self.make(plan).map(Some) } else { Ok(None) }
    }

    /// Makes the group when the process exists.
    pub(crate) fn late(mut self, plan: &Plan, pid: u32) -> Result<ContainerGroup, Error> {
        match &plan.scope {
            Some(scope) => scope.start(plan, pid),
            None => self.make(plan),
        }
    }

    fn make(&mut self, plan: &Plan) -> Result<ContainerGroup, Error> {
        let site = self.site.take().ok_or_else(|| Error::step("linux.cgroupsPath", "the group is made already"))?;
        let cgroup = site.create().step("linux.cgroupsPath")?;
        match limit(&cgroup, plan) {
            Ok(()) => Ok(ContainerGroup { cgroup, scope: None }),
            Err(error) => {
                let _ = cgroup.remove();
                Err(error)
            }
        }
    }
}

/// Sets the limits of a new group, then hands it to its owner: not before it has them.
fn limit(cgroup: &Cgroup, plan: &Plan) -> Result<(), Error> {
    match cgroup.apply(&plan.limits) {
        Err(error) if !is_about_devices_of_the_unprivileged(&error) => return Err(refused(&error)),
        _ => {}
    }
    match delegate::owner(plan) {
        Some(owner) => cgroup.delegate(owner).step("hand the control group to the container's user"),
        None => Ok(()),
    }
}

fn refused(error: &LimitError) -> Error {
    Error::field(&format!("linux.resources.{}", error.field()), error.error())
}

/// Rules on devices are set last, and only the host's root may: without its rights, none are needed either, because a
/// user namespace opens no device that its owner could not.
fn is_about_devices_of_the_unprivileged(error: &LimitError) -> bool {
    error.field() == "devices" && error.error().kind() == std::io::ErrorKind::PermissionDenied && is_unprivileged()
}

/// Whether the calling process is somebody else than the host's root.
fn is_unprivileged() -> bool {
    let maps = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !rustix::process::geteuid().is_root()
        || maps.split_ascii_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}

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
    for controller in plan.limits.controllers() {
        if !list.contains(&controller) {
            list.push(controller);
        }
    }
    list
}

/// The group's path beneath each hierarchy's mount point: an absolute one as it is, a relative one, and the container's id
/// when there is none, beneath a parent of this runtime's.
pub(crate) fn path(id: &str, asked: Option<&Path>) -> Result<String, Error> {
    let field = "linux.cgroupsPath";
    let Some(asked) = asked.filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(format!("{DEFAULT_PARENT}/{id}"));
    };
    let text = asked.to_str().ok_or_else(|| Error::field(field, format!("{asked:?} is not UTF-8")))?;
    let mut path = if asked.is_absolute() { String::new() } else { DEFAULT_PARENT.to_owned() };
    let mut names = 0;
    for name in text.split('/').filter(|name| !matches!(*name, "" | ".")) {
        if name == ".." || name.contains('\0') {
            return Err(Error::field(field, format!("{text:?} is not a path of plain names")));
        }
        path.push('/');
        path.push_str(name);
        names += 1;
    }
    if names == 0 || path.len() > 4000 {
        return Err(Error::field(field, format!("{text:?} names no group below the root")));
    }
    Ok(path)
}

pub(crate) fn shows_cgroups(plan: &Plan) -> bool {
    plan.mounts.iter().any(|mount| matches!(mount.kind, MountKind::Cgroup))
}

/// The container's own directories of version 1 hierarchies, as detached mounts, with their names: `all`, as engines'
/// containers are used to, or those of [`SHOWN_CONTROLLERS`]. Version 2 is mounted anew by the container's process.
pub(crate) fn open_cgroup_trees(cgroup: &Cgroup, all: bool) -> Result<Vec<(Controller, OwnedFd)>, Error> {
    if cgroup.unified().is_some() {
        return Ok(Vec::new());
    }
    let shown: &[Controller] = if all { &Controller::ALL } else { &SHOWN_CONTROLLERS };
    shown
        .iter()
        .filter(|controller| cgroup.is_unified(**controller) == Some(false))
        .filter_map(|controller| Some((*controller, cgroup.directory_of(*controller)?)))
        .map(|(controller, directory)| {
            let tree = mount::clone_tree(directory, false).step("show the container its control groups")?;
            Ok((controller, tree))
        })
        .collect()
}

/// The version 1 hierarchies that programs look into for what they may use. Programs on Java look for `cpuacct` too, and
/// for no limit at all without it.
pub(crate) const SHOWN_CONTROLLERS: [Controller; 5] =
    [Controller::Memory, Controller::Cpu, Controller::Cpuacct, Controller::Pids, Controller::Cpuset];

/// Opens an existing container's control group by the path its specification gives it.
pub(crate) fn open_cgroup(path: &str) -> Result<ContainerGroup, Error> {
    let layout = Layout::detect().step("find the host's control groups")?;
    let cgroup = Cgroup::open(&layout, path).step("open the container's control group")?;
    Ok(ContainerGroup { cgroup, scope: None })
}

/// Moves the calling process into a group by its entrances, when it was not made in it.
pub(crate) fn enter_cgroup(entrances: &[OwnedFd]) -> Result<(), Error> {
    cgroup::join(entrances).step("enter the container's control group")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_or_beneath_the_default_parent() {
        let path = |asked: &str| path("id", Some(Path::new(asked)));
        assert_eq!(path("/docker/abc").unwrap(), "/docker/abc");
        assert_eq!(path("//kubepods//besteffort/./x/").unwrap(), "/kubepods/besteffort/x");
        assert_eq!(path("pods/abc").unwrap(), "/casemate/pods/abc");
        assert_eq!(path("").unwrap(), "/casemate/id");
        for wrong in ["/", "/a/../../b", "..", "./"] {
            let error = path(wrong).unwrap_err();
            assert!(error.to_string().starts_with("linux.cgroupsPath: "), "{error}");
        }
    }

    #[test]
    fn a_group_is_found_by_its_record_updated_counted_and_removed() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP: needs root");
            return;
        }
        let layout = Layout::detect().unwrap();
        let asked = format!("casemate-test-record-{}", std::process::id());
        let path = path("id", Some(Path::new(&asked))).unwrap();
        let cgroup = Site::with_everything(&layout, &path).unwrap().create().unwrap();
        let record = ContainerGroup { cgroup, scope: None }.record();
        let json = serde_json::to_string(&record).unwrap();
        let record: CgroupRecord = serde_json::from_str(&json).unwrap();
        let group = ContainerGroup::open(&record).unwrap();
        let json = br#"{"pids":{"limit":7},"memory":{"limit":33554432}}"#;
        let has = |controller| group.has(controller);
        if has(Controller::Pids) && has(Controller::Memory) {
            group.update(&read_update(json).unwrap()).unwrap();
            let statistics = group.statistics().unwrap();
            assert_eq!(statistics.pids.limit, 7);
            assert_eq!(statistics.memory.usage.limit, 33_554_432);
            assert!(!statistics.memory.raw.is_empty());
        }
        let error = group.update(&read_update(br#"{"cpu":{"idle":3}}"#).unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("linux.resources.cpu.idle: "), "{error}");
        group.remove().unwrap();
        assert!(ContainerGroup::open_if_there(&record).unwrap().is_none());
    }
}
