//! Kernel parameters of a container.

use std::path::PathBuf;

use casemate_kernel::namespace::Namespaces;
use oci_spec::runtime::Linux;

use super::namespaces::namespaces;
use crate::error::Error;

/// Kernel parameters that belong to a namespace of the container; others are the host's.
pub(super) fn sysctls(linux: &Linux) -> Result<Vec<(PathBuf, String)>, Error> {
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
