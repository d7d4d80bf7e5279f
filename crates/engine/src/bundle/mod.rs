//! From a record to a bundle's `config.json`: the one place where a posture becomes an OCI specification.

mod mounts;
mod process;
mod resources;
mod seccomp;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use casemate_posture::{IpcMode, NamespaceMode, NetworkMode, UserMode};
use oci_spec::runtime::{
    Linux, LinuxBuilder, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceBuilder,
    LinuxNamespaceType, Process, RootBuilder, Spec, SpecBuilder,
};

pub(crate) use mounts::{Source, Sources};
pub(crate) use process::exec_process;

use crate::error::{Error, Result};
use crate::idrange::IdRange;
use crate::passwd::Identified;
use crate::record::Record;

/// The version of the specification that is written.
const OCI_VERSION: &str = "1.2.0";

/// What a bundle is made of beside the record.
#[derive(Debug)]
pub(crate) struct Materials<'a> {
    pub(crate) record: &'a Record,
    pub(crate) user: &'a Identified,
    /// Files of namespaces to join.
    pub(crate) joined: &'a Joined,
    /// Where mounts come from, in the order of the posture's.
    pub(crate) sources: &'a Sources,
    pub(crate) kernel: (u32, u32),
}

/// Files of other containers' namespaces, to be joined.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    pub(crate) pid: Option<PathBuf>,
    pub(crate) ipc: Option<PathBuf>,
    pub(crate) uts: Option<PathBuf>,
    pub(crate) network: Option<PathBuf>,
    pub(crate) user: Option<PathBuf>,
    pub(crate) cgroup: Option<PathBuf>,
}

/// The control group of a container.
pub(crate) fn cgroup_path(record: &Record) -> String {
    let parent = record.posture.cgroup_parent.as_deref().unwrap_or("/casemate").trim_end_matches('/');
    let slash = if parent.starts_with('/') { "" } else { "/" };
    format!("{slash}{parent}/{}", record.identity.id)
}

/// Makes the specification.
pub(crate) fn specification(materials: &Materials<'_>) -> Result<Spec> {
    let record = materials.record;
    let posture = &record.posture;
    let own_names = posture.namespaces.uts.is_own();
    let root = built(RootBuilder::default().path("rootfs").readonly(posture.read_only_root).build())?;
    let mut builder = SpecBuilder::default()
        .version(OCI_VERSION)
        .root(root)
        .process(process::first_process(materials)?)
        .mounts(mounts::mounts(materials)?)
        .linux(linux(materials)?);
    // The defaults of the builder are somebody else's choices: every field that has one is set here.
    builder = builder.hostname(if own_names { record.hostname.clone() } else { String::new() });
    if own_names && !record.domainname.is_empty() {
        builder = builder.domainname(record.domainname.clone());
    }
    let annotations: HashMap<String, String> =
        record.annotations.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut spec = built(builder.annotations(annotations).build())?;
    spec.set_hooks(None);
    Ok(spec)
}

/// The part of a specification that a further process needs: namespaces, control group and filter.
pub(crate) fn specification_for_exec(record: &Record, kernel: (u32, u32), process: Process) -> Result<Spec> {
    let none = Joined::default();
    let namespaces = namespaces(record, &none)?;
    let linux = built(bare_linux().namespaces(namespaces).cgroups_path(cgroup_path(record)).build())?;
    let mut linux = linux;
    linux.set_seccomp(seccomp::filter(record, kernel)?);
    let root = built(RootBuilder::default().path("rootfs").readonly(record.posture.read_only_root).build())?;
    let mut spec = built(
        SpecBuilder::default()
            .version(OCI_VERSION)
            .root(root)
            .process(process)
            .linux(linux)
            .hostname(String::new())
            .build(),
    )?;
    spec.set_mounts(Some(Vec::new()));
    Ok(spec)
}

fn bare_linux() -> LinuxBuilder {
    LinuxBuilder::default()
        .masked_paths(Vec::<String>::new())
        .readonly_paths(Vec::<String>::new())
        .namespaces(Vec::<LinuxNamespace>::new())
}

fn linux(materials: &Materials<'_>) -> Result<Linux> {
    let record = materials.record;
    let posture = &record.posture;
    let (devices, rules) = resources::devices(posture)?;
    let mut linux = built(
        bare_linux()
            .namespaces(namespaces(record, materials.joined)?)
            .cgroups_path(cgroup_path(record))
            .resources(resources::resources(posture, rules)?)
            .masked_paths(expanded(&posture.masked_paths))
            .readonly_paths(posture.read_only_paths.iter().map(|path| path.clone().into_owned()).collect::<Vec<_>>())
            .build(),
    )?;
    if !devices.is_empty() {
        linux.set_devices(Some(devices));
    }
    if let Some(range) = record.id_range.filter(|_| record.joined.is_none()) {
        linux.set_uid_mappings(Some(vec![mapping(0, range.uid, range.size)?]));
        linux.set_gid_mappings(Some(vec![mapping(0, range.gid, range.size)?]));
    }
    let sysctls = sysctls(record);
    if !sysctls.is_empty() {
        linux.set_sysctl(Some(sysctls));
    }
    linux.set_seccomp(seccomp::filter(record, materials.kernel)?);
    Ok(linux)
}

/// Sysctls of namespaces that are not the container's own are not its to set.
fn sysctls(record: &Record) -> HashMap<String, String> {
    let namespaces = &record.posture.namespaces;
    record
        .posture
        .sysctls
        .iter()
        .filter(|(key, _)| namespaces.network.is_own() || !key.starts_with("net."))
        .filter(|(key, _)| !key.starts_with("user.") || namespaces.user.is_own() && record.joined.is_none())
        .map(|(key, value)| (key.clone().into_owned(), value.clone().into_owned()))
        .collect()
}

fn namespaces(record: &Record, joined: &Joined) -> Result<Vec<LinuxNamespace>> {
    let modes = &record.posture.namespaces;
    let named = |mode: &NamespaceMode| match mode {
        NamespaceMode::Private => Membership::Own,
        NamespaceMode::Host => Membership::Host,
        NamespaceMode::Container(_) => Membership::Joined,
    };
    let user = match &modes.user {
        UserMode::Host => Membership::Host,
        UserMode::Private | UserMode::Remap(_) if record.joined.is_none() => Membership::Own,
        UserMode::Private | UserMode::Remap(_) | UserMode::Container(_) => Membership::Joined,
    };
    let ipc = match &modes.ipc {
        IpcMode::Private | IpcMode::Shareable | IpcMode::None => Membership::Own,
        IpcMode::Host => Membership::Host,
        IpcMode::Container(_) => Membership::Joined,
    };
    let network = match &modes.network {
        NetworkMode::Host => Membership::Host,
        NetworkMode::Container(_) => Membership::Joined,
        _ => Membership::Own,
    };
    let mut list = vec![namespace(LinuxNamespaceType::Mount, None)?];
    for (kind, membership, file) in [
        (LinuxNamespaceType::User, user, &joined.user),
        (LinuxNamespaceType::Pid, named(&modes.pid), &joined.pid),
        (LinuxNamespaceType::Ipc, ipc, &joined.ipc),
        (LinuxNamespaceType::Uts, named(&modes.uts), &joined.uts),
        (LinuxNamespaceType::Network, network, &joined.network),
        (LinuxNamespaceType::Cgroup, named(&modes.cgroup), &joined.cgroup),
    ] {
        match membership {
            Membership::Host => {}
            Membership::Own => list.push(namespace(kind, None)?),
            // Without a file (for a further process) only the kind counts.
            Membership::Joined => list.push(namespace(kind, file.as_deref())?),
        }
    }
    if modes.time {
        list.push(namespace(LinuxNamespaceType::Time, None)?);
    }
    Ok(list)
}

enum Membership {
    Own,
    Host,
    Joined,
}

fn namespace(kind: LinuxNamespaceType, file: Option<&Path>) -> Result<LinuxNamespace> {
    let builder = LinuxNamespaceBuilder::default().typ(kind);
    built(match file {
        Some(file) => builder.path(file).build(),
        None => builder.build(),
    })
}

/// Masked paths with a `*` are those of the numbered things that this host has. The kernel numbers from 0 without holes at the
/// front, so that the first missing one of a kind that has no number 0 answers for all.
fn expanded(paths: &[std::borrow::Cow<'static, str>]) -> Vec<String> {
    let mut list = Vec::with_capacity(paths.len());
    for path in paths {
        let Some((before, after)) = path.split_once('*') else {
            list.push(path.clone().into_owned());
            continue;
        };
        for number in 0..4096 {
            let numbered = format!("{before}{number}{after}");
            // Processors that are off have a directory without everything in it.
            if Path::new(&numbered).exists() {
                list.push(numbered);
            } else if !Path::new(&format!("{before}{number}")).exists() || number == 0 {
                break;
            }
        }
    }
    list
}

pub(crate) fn mapping(inside: u32, outside: u32, size: u32) -> Result<LinuxIdMapping> {
    built(LinuxIdMappingBuilder::default().container_id(inside).host_id(outside).size(size).build())
}

/// One id of the disk shown as one id of the container.
pub(crate) fn owner_mapping(on_disk: u32, in_container: u32, first_of_range: u32) -> Result<LinuxIdMapping> {
    mapping(on_disk, first_of_range.saturating_add(in_container), 1)
}

/// The builders of oci-spec fail only for fields that were never set, which is a mistake of ours.
pub(crate) fn built<T>(result: std::result::Result<T, oci_spec::OciSpecError>) -> Result<T> {
    result.map_err(|error| Error::invalid("OCI specification", "config.json", error.to_string()))
}

/// The range whose ids a mount's are to be shown as.
pub(crate) fn range_of(record: &Record) -> Option<IdRange> {
    record.id_range
}

#[cfg(test)]
mod tests;
