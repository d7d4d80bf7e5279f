//! Kernel parameters of a container.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use casemate_kernel::namespace::Namespaces;
use oci_spec::runtime::Linux;

use super::namespaces::namespaces;
use crate::error::Error;

/// Kernel parameters that belong to a namespace of the container, in the order of their names; others are the host's.
pub(super) fn sysctls(linux: &Linux) -> Result<Vec<(PathBuf, String)>, Error> {
    let Some(values) = linux.sysctl().as_ref().filter(|values| !values.is_empty()) else {
        return Ok(Vec::new());
    };
    let (new, joined) = namespaces(linux)?;
    let own = |kind: Namespaces| {
        new.contains(kind) || joined.iter().any(|(other, path)| *other == kind && !is_the_runtimes(kind, path))
    };
    let mut list = values
        .iter()
        .map(|(key, value)| {
            let path = path_of(key).map_err(|why| Error::field(&field(key), why))?;
            let (namespace, what) = namespace_of(&path).map_err(|why| Error::field(&field(key), why))?;
            if !own(namespace) {
                return Err(Error::field(&field(key), format!("the container has no {what} namespace of its own")));
            }
            Ok((PathBuf::from(path), value.clone()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    list.sort();
    Ok(list)
}

fn field(key: &str) -> String {
    format!("linux.sysctl[{key:?}]")
}

/// The file below `/proc/sys`. In a name the first separator, `.` or `/`, is the one between directories; the other one
/// stands for a `.` of a name, such as that of a network device (`sysctl.d(5)`).
fn path_of(key: &str) -> Result<String, &'static str> {
    let dots = key.find(['.', '/']).is_some_and(|first| key.get(first..).is_some_and(|rest| rest.starts_with('.')));
    let path: String = if dots {
        key.chars()
            .map(|letter| match letter {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect()
    } else {
        key.to_owned()
    };
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") || path.contains('\0') {
        return Err("not the name of a kernel parameter");
    }
    Ok(path)
}

fn namespace_of(path: &str) -> Result<(Namespaces, &'static str), &'static str> {
    match path {
        path if path.starts_with("net/") => Ok((Namespaces::NETWORK, "network")),
        path if path.starts_with("fs/mqueue/") => Ok((Namespaces::IPC, "IPC")),
        "kernel/msgmax"
        | "kernel/msgmnb"
        | "kernel/msgmni"
        | "kernel/sem"
        | "kernel/shmall"
        | "kernel/shmmax"
        | "kernel/shmmni"
        | "kernel/shm_rmid_forced" => Ok((Namespaces::IPC, "IPC")),
        "kernel/domainname" => Ok((Namespaces::UTS, "UTS")),
        path if path.starts_with("user/") => Ok((Namespaces::USER, "user")),
        "kernel/hostname" => Err("set hostname instead"),
        _ => Err("belongs to the host, not to a namespace of the container"),
    }
}

/// Whether a namespace to join is the one this process is in: then its parameters are the host's.
fn is_the_runtimes(kind: Namespaces, path: &Path) -> bool {
    let name = match kind {
        Namespaces::NETWORK => "net",
        Namespaces::IPC => "ipc",
        Namespaces::UTS => "uts",
        _ => "user",
    };
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    let ours = identity(&Path::new("/proc/self/ns").join(name));
    ours.is_some() && identity(path) == ours
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(namespaces: &str, key: &str) -> Result<Vec<(PathBuf, String)>, Error> {
        let json = format!(r#"{{"namespaces":[{{"type":"mount"}},{namespaces}],"sysctl":{{{key:?}:"1"}}}}"#);
        sysctls(&serde_json::from_str(&json).unwrap())
    }

    #[test]
    fn each_belongs_to_a_namespace() {
        for (kind, key, path) in [
            ("network", "net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("network", "net/ipv4/conf/eth0.100/rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
            ("network", "net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
            ("ipc", "fs.mqueue.msg_max", "fs/mqueue/msg_max"),
            ("ipc", "kernel.shm_rmid_forced", "kernel/shm_rmid_forced"),
            ("uts", "kernel.domainname", "kernel/domainname"),
            ("user", "user.max_mnt_namespaces", "user/max_mnt_namespaces"),
        ] {
            let list = planned(&format!(r#"{{"type":{kind:?}}}"#), key).unwrap();
            assert_eq!(list, [(PathBuf::from(path), "1".to_owned())]);
            let error = planned(r#"{"type":"pid"}"#, key).unwrap_err().to_string();
            assert!(error.starts_with(&format!("linux.sysctl[{key:?}]: the container has no")), "{error}");
        }
    }

    #[test]
    fn the_hosts_are_refused() {
        let all = r#"{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"user"}"#;
        for key in
            ["kernel.core_pattern", "vm.overcommit_memory", "kernel.hostname", "net", "fs.file-max", "kernel.sem.x"]
        {
            let error = planned(all, key).unwrap_err().to_string();
            assert!(error.starts_with(&format!("linux.sysctl[{key:?}]: ")), "{error}");
        }
        for key in ["net/../kernel/core_pattern", "net/ipv4//x", "net..x", "net/ipv4/./x", ""] {
            let error = planned(all, key).unwrap_err().to_string();
            assert!(error.ends_with("not the name of a kernel parameter"), "{key:?}: {error}");
        }
        // Joining the host's is having none.
        let error = planned(r#"{"type":"network","path":"/proc/self/ns/net"}"#, "net.ipv4.ip_forward").unwrap_err();
        assert!(error.to_string().contains("no network namespace of its own"), "{error}");
    }
}
