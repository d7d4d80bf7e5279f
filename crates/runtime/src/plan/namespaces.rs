//! Namespaces to make and to enter, and the id maps of a new user namespace.

use std::path::PathBuf;

use casemate_kernel::namespace::{IdMap, Namespaces};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType};

use crate::error::Error;

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
pub(super) fn id_maps(field: &str, maps: Option<&[LinuxIdMapping]>, wanted: bool) -> Result<Vec<IdMap>, Error> {
    let maps = maps.unwrap_or_default();
    if maps.is_empty() && wanted {
        return Err(Error::field(field, "a new user namespace needs at least one mapping"));
    }
    if !maps.is_empty() && !wanted {
        return Err(Error::field(field, "given, but no new user namespace is"));
    }
    convert_maps(field, maps)
}

pub(super) fn convert_maps(field: &str, maps: &[LinuxIdMapping]) -> Result<Vec<IdMap>, Error> {
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
