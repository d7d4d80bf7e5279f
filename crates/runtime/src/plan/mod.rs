//! A specification, checked and turned into what the kernel is to be asked, before anything is made.
//!
//! Every field that is wrong or that this runtime can't give is refused here, by name.

mod capabilities;
mod devices;
pub(crate) mod document;
mod mount;
mod namespaces;
mod process;
mod resources;
mod scheduling;
mod sysctl;
mod validate;

use std::path::PathBuf;

use casemate_kernel::cgroup::Limits;
use casemate_kernel::mount::Propagation;
use casemate_kernel::namespace::{IdMap, Namespaces, TimeOffset};
use oci_spec::runtime::{Linux, Spec};

pub(crate) use devices::DevicePlan;
pub(crate) use mount::{MountIdmap, MountKind, MountPlan};
pub(crate) use namespaces::{convert_maps, kind as namespace_kind, namespaces};
pub(crate) use process::ProcessPlan;
pub(crate) use resources::resource_limits;

use self::devices::devices;
use self::namespaces::{id_maps, time_offsets};
use self::sysctl::sysctls;
use crate::cgroup;
use crate::error::Error;
use crate::hooks::Hooks;
use crate::{netdevices, resctrl};

/// All that a container is made from.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Namespaces to make.
    pub(crate) new: Namespaces,
    /// Namespaces to enter, by their files.
    pub(crate) joined: Vec<(Namespaces, PathBuf)>,
    pub(crate) uids: Vec<IdMap>,
    pub(crate) gids: Vec<IdMap>,
    /// Clocks of a new time namespace.
    pub(crate) time_offsets: Vec<TimeOffset>,
    /// Network devices to hand over.
    pub(crate) net_devices: Vec<netdevices::Device>,
    pub(crate) resctrl: Option<resctrl::Plan>,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    pub(crate) mounts: Vec<MountPlan>,
    pub(crate) devices: Vec<DevicePlan>,
    pub(crate) masked: Vec<PathBuf>,
    pub(crate) read_only: Vec<PathBuf>,
    /// Files below `/proc/sys`, relative to it, and what to write.
    pub(crate) sysctls: Vec<(PathBuf, String)>,
    pub(crate) read_only_root: bool,
    pub(crate) propagation: Option<Propagation>,
    /// The path of the control group beneath each hierarchy's mount point.
    pub(crate) cgroup: String,
    pub(crate) limits: Limits,
    pub(crate) process: ProcessPlan,
    pub(crate) hooks: Hooks,
}

impl Plan {
    /// Checks a specification.
    pub(crate) fn new(id: &str, spec: &Spec) -> Result<Self, Error> {
        validate::spec(spec)?;
        let linux = spec.linux().as_ref().ok_or_else(|| Error::field("linux", "missing"))?;
        refuse_what_is_not_offered(linux)?;
        let (new, joined) = namespaces(linux)?;
        let user = new.contains(Namespaces::USER);
        if !new.contains(Namespaces::MOUNT) {
            return Err(Error::field("linux.namespaces", "a container has a mount namespace of its own"));
        }
        let own = joined.iter().fold(new, |all, (kind, _)| all | *kind);
        let in_user_namespace = own.contains(Namespaces::USER);
        let uids = id_maps("linux.uidMappings", linux.uid_mappings().as_deref(), user, in_user_namespace)?;
        let gids = id_maps("linux.gidMappings", linux.gid_mappings().as_deref(), user, in_user_namespace)?;
        let process = spec.process().as_ref().ok_or_else(|| Error::field("process", "missing"))?;
        let process = ProcessPlan::new(process, linux, in_user_namespace)?;
        if user {
            process.check_mapped(&uids, &gids)?;
        }
        let root = spec.root().as_ref().ok_or_else(|| Error::field("root", "missing"))?;
        let mounts = spec
            .mounts()
            .as_deref()
            .unwrap_or_default()
            .iter()
            .enumerate()
            .map(|(index, mount)| mount::plan(index, mount, in_user_namespace))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            hostname: validate::uts_name("hostname", spec.hostname().as_deref(), own)?,
            domainname: validate::uts_name("domainname", spec.domainname().as_deref(), own)?,
            time_offsets: time_offsets(linux, new)?,
            net_devices: netdevices::plan(linux, own)?,
            resctrl: resctrl::plan(linux, id)?,
            new,
            joined,
            uids,
            gids,
            mounts,
            devices: devices(linux)?,
            masked: absolute("linux.maskedPaths", linux.masked_paths().as_deref())?,
            read_only: absolute("linux.readonlyPaths", linux.readonly_paths().as_deref())?,
            sysctls: sysctls(linux)?,
            read_only_root: root.readonly().unwrap_or(false),
            propagation: linux.rootfs_propagation().as_deref().map(propagation).transpose()?,
            cgroup: cgroup::path(id, linux.cgroups_path().as_deref())?,
            limits: resources::limits(linux)?,
            process,
            hooks: Hooks::new(spec)?,
        })
    }
}

fn refuse_what_is_not_offered(linux: &Linux) -> Result<(), Error> {
    let offered = |present: bool, field: &str| {
        if present { Err(Error::field(field, "this runtime does not offer it")) } else { Ok(()) }
    };
    offered(linux.mount_label().as_ref().is_some_and(|label| !label.is_empty()), "linux.mountLabel")
}

fn absolute(field: &str, paths: Option<&[String]>) -> Result<Vec<PathBuf>, Error> {
    paths
        .unwrap_or_default()
        .iter()
        .map(|path| {
            let path = PathBuf::from(path);
            if path.is_absolute() { Ok(path) } else { Err(Error::field(field, format!("{path:?} is not absolute"))) }
        })
        .collect()
}

fn propagation(name: &str) -> Result<Propagation, Error> {
    match name {
        "private" | "rprivate" => Ok(Propagation::Private),
        "slave" | "rslave" => Ok(Propagation::Slave),
        "shared" | "rshared" => Ok(Propagation::Shared),
        "unbindable" | "runbindable" => Ok(Propagation::Unbindable),
        other => Err(Error::field(
            "linux.rootfsPropagation",
            format!("{other:?} is none of shared, slave, private, unbindable"),
        )),
    }
}
