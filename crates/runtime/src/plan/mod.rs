//! A specification, checked and turned into what the kernel is to be asked, before anything is made.
//!
//! Every field that is wrong or that this runtime can't give is refused here, by name.

mod mount;
mod process;
mod resources;

use std::path::PathBuf;

use casemate_kernel::cgroup::{Access, DeviceKind, DeviceRule, Limits};
use casemate_kernel::mount::Propagation;
use casemate_kernel::namespace::{IdMap, Namespaces};
use oci_spec::runtime::{Linux, LinuxDeviceType, LinuxIdMapping, LinuxNamespaceType, Spec};

pub(crate) use mount::{MountIdmap, MountKind, MountPlan};
pub(crate) use process::ProcessPlan;

use crate::error::Error;

/// All that a container is made from.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Namespaces to make.
    pub(crate) new: Namespaces,
    /// Namespaces to enter, by their files.
    pub(crate) joined: Vec<(Namespaces, PathBuf)>,
    pub(crate) uids: Vec<IdMap>,
    pub(crate) gids: Vec<IdMap>,
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
    pub(crate) cgroup: String,
    pub(crate) limits: Limits,
    pub(crate) process: ProcessPlan,
}

/// A device file of the container.
#[derive(Debug)]
pub(crate) struct DevicePlan {
    pub(crate) path: PathBuf,
    /// One that every container has, as opposed to one that was asked for.
    pub(crate) default: bool,
    pub(crate) block: bool,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl DevicePlan {
    pub(crate) fn file_type(&self) -> rustix::fs::FileType {
        if self.block { rustix::fs::FileType::BlockDevice } else { rustix::fs::FileType::CharacterDevice }
    }

    /// Its name, when it is directly in `/dev`.
    pub(crate) fn name_in_dev(&self) -> Option<&std::ffi::OsStr> {
        (self.path.parent() == Some(std::path::Path::new("/dev"))).then(|| self.path.file_name()).flatten()
    }
}

/// The devices every container has (`config-linux.md`, "Default Devices").
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

impl Plan {
    /// Checks a specification.
    pub(crate) fn new(id: &str, spec: &Spec) -> Result<Self, Error> {
        let linux = spec.linux().as_ref().ok_or_else(|| Error::field("linux", "missing"))?;
        refuse_what_is_not_offered(spec, linux)?;
        let (new, joined) = namespaces(linux)?;
        let user = new.contains(Namespaces::USER);
        let uids = id_maps("linux.uidMappings", linux.uid_mappings().as_deref(), user)?;
        let gids = id_maps("linux.gidMappings", linux.gid_mappings().as_deref(), user)?;
        let in_user_namespace = user || joined.iter().any(|(kind, _)| *kind == Namespaces::USER);
        let process = spec.process().as_ref().ok_or_else(|| Error::field("process", "missing"))?;
        let root = spec.root().as_ref().ok_or_else(|| Error::field("root", "missing"))?;
        let mounts = spec
            .mounts()
            .as_deref()
            .unwrap_or_default()
            .iter()
            .enumerate()
            .map(|(index, mount)| mount::plan(index, mount, in_user_namespace))
            .collect::<Result<_, _>>()?;
        let cgroup = match linux.cgroups_path() {
            None => format!("/casemate/{id}"),
            Some(path) => path
                .to_str()
                .map(str::to_owned)
                .ok_or_else(|| Error::field("linux.cgroupsPath", format!("{path:?} is not UTF-8")))?,
        };
        Ok(Self {
            hostname: name("hostname", spec.hostname().as_deref(), new, &joined)?,
            domainname: name("domainname", spec.domainname().as_deref(), new, &joined)?,
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
            cgroup,
            limits: resources::limits(linux)?,
            process: ProcessPlan::new(process, linux)?,
        })
    }
}

fn refuse_what_is_not_offered(spec: &Spec, linux: &Linux) -> Result<(), Error> {
    let offered = |present: bool, field: &str| {
        if present { Err(Error::field(field, "this runtime does not offer it")) } else { Ok(()) }
    };
    let hooks = spec.hooks().as_ref().is_some_and(|hooks| {
        [hooks.create_runtime(), hooks.create_container(), hooks.start_container(), hooks.poststart(), hooks.poststop()]
            .iter()
            .any(|list| list.as_ref().is_some_and(|list| !list.is_empty()))
    });
    offered(hooks, "hooks")?;
    offered(linux.intel_rdt().is_some(), "linux.intelRdt")?;
    offered(linux.personality().is_some(), "linux.personality")?;
    offered(linux.time_offsets().is_some(), "linux.timeOffsets")?;
    offered(linux.mount_label().as_ref().is_some_and(|label| !label.is_empty()), "linux.mountLabel")
}

fn kind(namespace: LinuxNamespaceType) -> Namespaces {
    match namespace {
        LinuxNamespaceType::Mount => Namespaces::MOUNT,
        LinuxNamespaceType::Cgroup => Namespaces::CGROUP,
        LinuxNamespaceType::Uts => Namespaces::UTS,
        LinuxNamespaceType::Ipc => Namespaces::IPC,
        LinuxNamespaceType::User => Namespaces::USER,
        LinuxNamespaceType::Pid => Namespaces::PID,
        LinuxNamespaceType::Network => Namespaces::NETWORK,
        LinuxNamespaceType::Time => Namespaces::TIME,
    }
}

/// The namespaces to make and to enter; the kinds of a specification that [`exec`](crate::exec()) enters.
pub(crate) fn namespaces(linux: &Linux) -> Result<(Namespaces, Vec<(Namespaces, PathBuf)>), Error> {
    let (mut new, mut joined, mut seen) = (Namespaces::empty(), Vec::new(), Namespaces::empty());
    for namespace in linux.namespaces().as_deref().unwrap_or_default() {
        let kind = kind(namespace.typ());
        if seen.contains(kind) {
            return Err(Error::field("linux.namespaces", format!("{} is named twice", namespace.typ())));
        }
        seen |= kind;
        match namespace.path() {
            None => new |= kind,
            Some(path) if path.is_absolute() => joined.push((kind, path.clone())),
            Some(path) => {
                return Err(Error::field("linux.namespaces.path", format!("{path:?} is not absolute")));
            }
        }
    }
    if !new.contains(Namespaces::MOUNT) {
        return Err(Error::field("linux.namespaces", "a container has a mount namespace of its own"));
    }
    // The user namespace is entered last: the rights to enter the others are those of the one before.
    joined.sort_by_key(|(kind, _)| *kind == Namespaces::USER);
    Ok((new, joined))
}

/// The lines of an id map, checked for what the kernel would refuse without saying why.
fn id_maps(field: &str, maps: Option<&[LinuxIdMapping]>, wanted: bool) -> Result<Vec<IdMap>, Error> {
    let maps = maps.unwrap_or_default();
    if maps.is_empty() && wanted {
        return Err(Error::field(field, "a new user namespace needs at least one mapping"));
    }
    if !maps.is_empty() && !wanted {
        return Err(Error::field(field, "given, but no new user namespace is"));
    }
    convert_maps(field, maps)
}

fn convert_maps(field: &str, maps: &[LinuxIdMapping]) -> Result<Vec<IdMap>, Error> {
    if maps.len() > 340 {
        return Err(Error::field(field, format!("{} mappings; the kernel takes 340", maps.len())));
    }
    maps.iter()
        .map(|map| {
            let (inside, outside, count) = (map.container_id(), map.host_id(), map.size());
            let fits = |first: u32| first.checked_add(count).is_some();
            if count == 0 || !fits(inside) || !fits(outside) {
                return Err(Error::field(field, format!("{inside} {outside} {count}: not a range of ids")));
            }
            Ok(IdMap { inside, outside, count })
        })
        .collect()
}

fn name(
    field: &str,
    value: Option<&str>,
    new: Namespaces,
    joined: &[(Namespaces, PathBuf)],
) -> Result<Option<String>, Error> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    if !new.contains(Namespaces::UTS) && !joined.iter().any(|(kind, _)| *kind == Namespaces::UTS) {
        return Err(Error::field(field, "needs a UTS namespace of the container's own"));
    }
    if value.len() > 64 {
        return Err(Error::field(field, format!("{value:?} is longer than the 64 bytes the kernel keeps")));
    }
    Ok(Some(value.to_owned()))
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

/// Kernel parameters that belong to a namespace of the container; others are the host's.
fn sysctls(linux: &Linux) -> Result<Vec<(PathBuf, String)>, Error> {
    let Some(values) = linux.sysctl() else {
        return Ok(Vec::new());
    };
    let (new, joined) = namespaces(linux)?;
    let own = |kind: Namespaces| new.contains(kind) || joined.iter().any(|(other, _)| *other == kind);
    values
        .iter()
        .map(|(key, value)| {
            let field = || format!("linux.sysctl[{key:?}]");
            // Both "net.ipv4.ip_forward" and "net/ipv4/ip_forward" are usual; in the latter a dot is part of a name.
            let path = if key.contains('/') { key.clone() } else { key.replace('.', "/") };
            if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") || key.contains('\0') {
                return Err(Error::field(&field(), "not the name of a kernel parameter"));
            }
            let (namespace, what) = match path.as_str() {
                path if path.starts_with("net/") => (Namespaces::NETWORK, "network"),
                path if path.starts_with("fs/mqueue/") => (Namespaces::IPC, "IPC"),
                "kernel/msgmax"
                | "kernel/msgmnb"
                | "kernel/msgmni"
                | "kernel/sem"
                | "kernel/shmall"
                | "kernel/shmmax"
                | "kernel/shmmni"
                | "kernel/shm_rmid_forced" => (Namespaces::IPC, "IPC"),
                "kernel/domainname" => (Namespaces::UTS, "UTS"),
                "user/max_user_namespaces" => (Namespaces::USER, "user"),
                "kernel/hostname" => return Err(Error::field(&field(), "set hostname instead")),
                _ => {
                    return Err(Error::field(&field(), "belongs to the host, not to a namespace of the container"));
                }
            };
            if !own(namespace) {
                return Err(Error::field(&field(), format!("the container has no {what} namespace of its own")));
            }
            Ok((PathBuf::from(path), value.clone()))
        })
        .collect()
}

fn devices(linux: &Linux) -> Result<Vec<DevicePlan>, Error> {
    let mut devices: Vec<DevicePlan> = DEFAULT_DEVICES
        .iter()
        .map(|&(path, major, minor)| DevicePlan {
            path: PathBuf::from(path),
            default: true,
            block: false,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for device in linux.devices().as_deref().unwrap_or_default() {
        let field = "linux.devices";
        let path = device.path().clone();
        if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(Error::field(field, format!("{path:?} is not an absolute path")));
        }
        let block = match device.typ() {
            LinuxDeviceType::B => true,
            LinuxDeviceType::C | LinuxDeviceType::U => false,
            other => {
                return Err(Error::field(field, format!("{path:?}: type {other:?} is not offered")));
            }
        };
        let number = |value: i64, what: &str| {
            u32::try_from(value).map_err(|_| Error::field(field, format!("{path:?}: {what} {value} is out of range")))
        };
        let plan = DevicePlan {
            default: false,
            block,
            major: number(device.major(), "major")?,
            minor: number(device.minor(), "minor")?,
            mode: device.file_mode().unwrap_or(0o666) & 0o777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
            path: path.clone(),
        };
        devices.retain(|known| known.path != plan.path);
        devices.push(plan);
    }
    Ok(devices)
}

/// What a container may do with the devices that it always has, whatever its own rules say: appended to them.
pub(crate) fn default_device_rules() -> Vec<DeviceRule> {
    let rule = |major, minor| DeviceRule {
        allow: true,
        kind: DeviceKind::Character,
        major: Some(major),
        minor,
        access: read_write(),
    };
    let mut rules: Vec<DeviceRule> =
        DEFAULT_DEVICES.iter().map(|&(_, major, minor)| rule(major, Some(minor))).collect();
    // /dev/console, /dev/ptmx and the terminals behind it.
    rules.extend([rule(5, Some(1)), rule(5, Some(2)), rule(136, None)]);
    rules
}

fn read_write() -> Access {
    Access::parse("rw").unwrap_or(Access::READ)
}
