//! A specification, checked and turned into what the kernel is to be asked, before anything is made.
//!
//! Every field that is wrong or that this runtime can't give is refused here, by name.

mod capabilities;
mod devices;
pub(crate) mod document;
pub(crate) mod mount;
mod namespaces;
mod options;
mod process;
mod resources;
mod scheduling;
mod sysctl;
mod validate;

use std::path::{Path, PathBuf};

use casemate_kernel::cgroup::Limits;
use casemate_kernel::mount::Propagation;
use casemate_kernel::namespace::{IdMap, Namespaces, TimeOffset};
use oci_spec::runtime::{Linux, Spec};

pub(crate) use devices::DevicePlan;
pub(crate) use mount::{MountIdmap, MountKind, MountPlan, SourceLink};
pub(crate) use namespaces::{MountNamespace, NAMESPACES, convert_maps, kind as namespace_kind, namespaces};
pub(crate) use options::option_names;
pub(crate) use process::ProcessPlan;
pub(crate) use resources::resource_limits;

use self::devices::devices;
use self::namespaces::{id_maps, time_offsets};
use self::sysctl::sysctls;
use crate::cgroup::{self, ScopePlan};
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
    /// Whose mount namespace the process is in once it is set up. The setup is done in a new one always.
    pub(crate) mount_namespace: MountNamespace,
    /// Where the root file system is on the host, for hooks that look for it there.
    pub(crate) rootfs: Option<PathBuf>,
    pub(crate) mounts: Vec<MountPlan>,
    /// The SELinux context of mounts, when the host has SELinux.
    pub(crate) mount_label: Option<String>,
    pub(crate) devices: Vec<DevicePlan>,
    pub(crate) masked: Vec<PathBuf>,
    pub(crate) read_only: Vec<PathBuf>,
    /// Files below `/proc/sys`, relative to it, and what to write.
    pub(crate) sysctls: Vec<(PathBuf, String)>,
    pub(crate) read_only_root: bool,
    /// How mount events travel from and to the root, and whether that is so for all mounts below it.
    pub(crate) propagation: Option<(Propagation, bool)>,
    /// The path of the control group beneath each hierarchy's mount point.
    pub(crate) cgroup: String,
    /// The scope that the control group is to be, when systemd is to make it.
    pub(crate) scope: Option<ScopePlan>,
    pub(crate) limits: Limits,
    pub(crate) process: ProcessPlan,
    pub(crate) hooks: Hooks,
}

impl Plan {
    /// Checks a specification.
    pub(crate) fn new(id: &str, spec: &Spec) -> Result<Self, Error> {
        validate::spec(spec)?;
        let linux = spec.linux().as_ref().ok_or_else(|| Error::field("linux", "missing"))?;
        let (mut new, mut joined) = namespaces(linux)?;
        let mount_namespace = MountNamespace::take(&mut new, &mut joined)?;
        let user = new.contains(Namespaces::USER);
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
        let mount_label = linux
            .mount_label()
            .clone()
            .filter(|label| !label.is_empty() && Path::new("/sys/fs/selinux/enforce").exists());
        let around = mount::Surroundings { in_user_namespace, label: mount_label.as_deref() };
        let mounts = spec
            .mounts()
            .as_deref()
            .unwrap_or_default()
            .iter()
            .enumerate()
            .map(|(index, mount)| mount::plan(index, mount, around))
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
            mount_namespace,
            rootfs: None,
            mounts,
            mount_label,
            devices: devices(linux)?,
            masked: absolute("linux.maskedPaths", linux.masked_paths().as_deref())?,
            read_only: absolute("linux.readonlyPaths", linux.readonly_paths().as_deref())?,
            sysctls: sysctls(linux)?,
            read_only_root: root.readonly().unwrap_or(false),
            propagation: root_propagation(linux)?,
            cgroup: cgroup::path(id, linux.cgroups_path().as_deref())?,
            scope: None,
            limits: resources::limits(linux)?,
            process,
            hooks: Hooks::new(spec)?,
        })
    }
}

impl Plan {
    /// Whom a new user namespace is to belong to: the host's id of its first one, when it is made by root for others.
    pub(crate) fn user_namespace_owner(&self) -> Option<u32> {
        let owner = self.uids.iter().min_by_key(|map| map.inside)?.outside;
        let others = owner != 0 && self.new.contains(Namespaces::USER) && rustix::process::geteuid().is_root();
        others.then_some(owner)
    }

    /// Says where the bundle and its root file system are: relative sources of bind mounts count from there.
    pub(crate) fn in_bundle(&mut self, bundle: &Path, rootfs: PathBuf) {
        self.rootfs = Some(rootfs);
        for mount in &mut self.mounts {
            if let MountKind::Bind { source, .. } = &mut mount.kind {
                // An absolute one stays as it is.
                *source = bundle.join(&*source);
            }
        }
    }
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

/// `linux.rootfsPropagation`; an empty one is none.
pub(crate) fn root_propagation(linux: &Linux) -> Result<Option<(Propagation, bool)>, Error> {
    linux.rootfs_propagation().as_deref().filter(|name| !name.is_empty()).map(propagation).transpose()
}

fn propagation(name: &str) -> Result<(Propagation, bool), Error> {
    match name {
        "private" => Ok((Propagation::Private, false)),
        "rprivate" => Ok((Propagation::Private, true)),
        "slave" => Ok((Propagation::Slave, false)),
        "rslave" => Ok((Propagation::Slave, true)),
        "shared" => Ok((Propagation::Shared, false)),
        "rshared" => Ok((Propagation::Shared, true)),
        "unbindable" => Ok((Propagation::Unbindable, false)),
        "runbindable" => Ok((Propagation::Unbindable, true)),
        other => Err(Error::field(
            "linux.rootfsPropagation",
            format!("{other:?} is none of shared, slave, private, unbindable, rshared, rslave, rprivate, runbindable"),
        )),
    }
}
