//! A container's control group as a scope of systemd's.

use std::collections::HashMap;
use std::path::Path;

use casemate_kernel::cgroup::{Cgroup, Controller, Layout, Limits, Site, Version};
use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

use super::{ContainerGroup, is_unprivileged, limit};
use crate::error::{Error, Step};
use crate::plan::Plan;
use crate::systemd::{
    Manager, Property, ScopeName, Target, Value, annotated_properties, of_devices, of_limits, slice_path,
};

/// The scope that a container is, for later commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopeRecord {
    /// Its name.
    pub name: String,
    /// Whether it is a user's manager that has it.
    #[serde(default)]
    pub user: bool,
}

/// The scope that a container is to be.
#[derive(Clone, Debug)]
pub(crate) struct ScopePlan {
    record: ScopeRecord,
    slice: String,
    description: String,
    /// What annotations ask for.
    properties: Vec<Property>,
    version: u32,
}

impl ScopePlan {
    /// Reads what the specification says, and asks systemd where that will be: the plan and the path of its control group.
    pub(crate) fn new(id: &str, spec: &Spec) -> Result<(Self, String), Error> {
        let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref()).map(Path::to_str);
        let path = match path {
            Some(None) => return Err(Error::field("linux.cgroupsPath", "not UTF-8")),
            Some(path) => path,
            None => None,
        };
        let name = ScopeName::new(id, path)?;
        let none = HashMap::new();
        let properties = annotated_properties(spec.annotations().as_ref().unwrap_or(&none))?;
        let user = is_unprivileged();
        let layout = Layout::detect().step("find the host's control groups")?;
        if user && layout.version() != Version::V2 {
            return Err(Error::field(
                "linux.cgroupsPath",
                "a user's systemd has no control groups of version 1 to give",
            ));
        }
        let slice = name.slice.unwrap_or_else(|| if user { "user.slice".into() } else { "system.slice".into() });
        let mut manager = Manager::connect(user)?;
        let group = format!("{}{}/{}", manager.control_group()?, slice_path(&slice)?, name.scope);
        let version = manager.version()?;
        let record = ScopeRecord { name: name.scope, user };
        Ok((Self { record, slice, description: format!("casemate container {id}"), properties, version }, group))
    }

    pub(crate) fn record(&self) -> &ScopeRecord {
        &self.record
    }

    fn properties(&self, limits: &Limits, unified: bool, pid: u32) -> Result<Vec<Property>, Error> {
        let property = |name: &str, value| (name.to_owned(), value);
        let mut list = vec![
            property("Description", Value::String(self.description.clone())),
            property("Slice", Value::String(self.slice.clone())),
            property("Delegate", Value::Bool(true)),
            property("PIDs", Value::Array("u".into(), vec![Value::Uint32(pid)])),
            property("MemoryAccounting", Value::Bool(true)),
            property("CPUAccounting", Value::Bool(true)),
            property(if unified { "IOAccounting" } else { "BlockIOAccounting" }, Value::Bool(true)),
            property("TasksAccounting", Value::Bool(true)),
            property("DefaultDependencies", Value::Bool(false)),
        ];
        list.extend(self.properties.iter().cloned());
        let target = Target { unified, version: self.version, user: self.record.user, current: &|_, _| None };
        list.extend(of_limits(limits, &target)?);
        list.extend(of_devices(&limits.devices, &target));
        Ok(list)
    }

    /// Has the scope made around a process, with the plan's limits, and its group in the hierarchies that systemd does not
    /// care for.
    pub(super) fn start(&self, plan: &Plan, pid: u32) -> Result<ContainerGroup, Error> {
        let layout = Layout::detect().step("find the host's control groups")?;
        let unified = layout.version() == Version::V2;
        let properties = self.properties(&plan.limits, unified, pid)?;
        let mut manager = Manager::connect(self.record.user)?;
        manager.start_scope(&self.record.name, &properties)?;
        let made = adopt(&layout, pid, &self.record.name).and_then(|cgroup| {
            let group = ContainerGroup { cgroup, scope: Some(self.record.clone()) };
            match limit(&group, plan) {
                Ok(()) => Ok(group),
                Err(error) => {
                    let _ = group.cgroup.kill();
                    let _ = group.cgroup.remove();
                    Err(error)
                }
            }
        });
        if made.is_err() {
            let _ = manager.stop(&self.record.name);
        }
        made
    }
}

/// The group that systemd has put a process into, completed in all other hierarchies.
fn adopt(layout: &Layout, pid: u32, scope: &str) -> Result<Cgroup, Error> {
    let step = "find the control group that systemd has made";
    let file = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&file).map_err(|error| Error::step(step, format!("{file}: {error}")))?;
    let unified = layout.version() == Version::V2;
    let path = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (hierarchy, path) = (fields.next()?, fields.next()?);
        (hierarchy == if unified { "" } else { "name=systemd" }).then_some(path)
    });
    // systemd answered that the process is there; a wrong place would be limited, and killed, in its stead.
    let path = path.filter(|path| path.rsplit('/').next() == Some(scope));
    let path = path.ok_or_else(|| Error::step(step, format!("process {pid} is not in {scope}: {text:?}")))?;
    Site::with_everything(layout, path).and_then(Site::adopt).step("linux.cgroupsPath")
}

impl ScopeRecord {
    /// Has the scope ended, and returns when it is gone.
    pub(super) fn stop(&self) -> Result<(), Error> {
        Manager::connect(self.user)?.stop(&self.name)
    }

    /// Has properties of the scope changed to new limits of its group.
    pub(super) fn update(&self, limits: &Limits, cgroup: &Cgroup) -> Result<(), Error> {
        let mut manager = Manager::connect(self.user)?;
        let current = |controller: Controller, file: &str| cgroup.read(controller, file).ok().flatten();
        let unified = cgroup.version() == Version::V2;
        let target = Target { unified, version: manager.version()?, user: self.user, current: &current };
        manager.set_properties(&self.name, &of_limits(limits, &target)?)
    }
}
