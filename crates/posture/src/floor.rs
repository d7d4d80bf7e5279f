//! What no container may have more of, whoever made its specification: for bundles that another engine hands over.
//!
//! It is the part of the hardened posture that an engine's containers can be held to without being asked: their ids and
//! what they write are the engine's own business.

use crate::path::{self, Sensitivity};
use crate::{Capability, CapabilitySet};

/// The capabilities that a container keeps, if it was given them: those that a service needs over its own files, users and
/// ports. The rest of what engines give is for making devices, raw packets, other roots and audit records.
pub const CAPABILITIES: [Capability; 8] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::NetBindService,
];

/// As [`CAPABILITIES`], as a set.
pub fn capabilities() -> CapabilitySet {
    CAPABILITIES.into_iter().collect()
}

/// The most processes and threads of a container that has no limit.
pub const PIDS: i64 = 512;

/// What is done about a bind mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindMount {
    /// It is the engine's own business.
    Kept,
    /// It is kept, but nothing can be written through it.
    ReadOnly(&'static str),
    /// The container is not made.
    Refused(&'static str),
}

/// What is done about a bind mount of `source`, whose symbolic links are resolved, at `destination`.
///
/// Engines keep some files of a container, and its volumes, in their own state: those are its own.
pub fn bind_mount(source: &str, destination: &str) -> BindMount {
    const OF_CONTAINERS: [&str; 5] =
        ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/shm", "/run/.containerenv"];
    const VOLUMES: [&str; 4] = ["volumes", "pods", "sandboxes", "userdata"];
    match path::sensitivity(source) {
        None => BindMount::Kept,
        Some(Sensitivity::EngineSocket) => {
            BindMount::Refused("a container engine's control socket: whoever writes to it is root on the host")
        }
        Some(Sensitivity::EngineState) => {
            let inside = source.split('/').skip(3).any(|part| VOLUMES.contains(&part));
            let of_it = OF_CONTAINERS.contains(&path::normal(destination).as_ref());
            // The directory that holds engines' state holds their sockets, too.
            let above = path::is_above_engine_state(source);
            match () {
                () if above => BindMount::Refused("it holds a container engine's state and sockets"),
                () if inside || of_it || source.starts_with("/run/secrets") => BindMount::Kept,
                () => BindMount::ReadOnly("a container engine's state"),
            }
        }
        Some(Sensitivity::Host("the whole host")) => BindMount::Refused("the whole host, with its engines' sockets"),
        Some(Sensitivity::Host(what)) => BindMount::ReadOnly(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engines_own_files_of_a_container_are_kept() {
        for (source, destination) in [
            ("/var/lib/docker/containers/0123/hosts", "/etc/hosts"),
            ("/var/lib/docker/containers/0123/resolv.conf", "/etc/resolv.conf"),
            ("/var/lib/docker/volumes/data/_data", "/data"),
            ("/var/lib/kubelet/pods/uid/volumes/kubernetes.io~configmap/c", "/etc/config"),
            ("/var/lib/containers/storage/volumes/data/_data", "/data"),
            ("/run/containers/storage/overlay-containers/0123/userdata/hostname", "/etc/hostname"),
            ("/srv/www", "/www"),
            ("/home/someone", "/home"),
        ] {
            assert_eq!(bind_mount(source, destination), BindMount::Kept, "{source}");
        }
    }

    #[test]
    fn the_hosts_directories_are_read_only_and_sockets_refused() {
        for source in ["/etc", "/usr/bin", "/dev", "/proc", "/sys/kernel", "/root/.ssh", "/lib/modules"] {
            assert!(matches!(bind_mount(source, "/mnt"), BindMount::ReadOnly(_)), "{source}");
        }
        assert!(matches!(bind_mount("/var/lib/docker/overlay2", "/mnt"), BindMount::ReadOnly(_)));
        for source in ["/", "/run/docker.sock", "/var/run/docker.sock", "/run", "/var/lib", "/var", "/srv/podman.sock"]
        {
            assert!(matches!(bind_mount(source, "/mnt"), BindMount::Refused(_)), "{source}");
        }
    }

    #[test]
    fn the_floor_is_below_what_engines_give() {
        let all = capabilities();
        for dangerous in [Capability::NetRaw, Capability::Mknod, Capability::SysAdmin, Capability::SysPtrace] {
            assert!(!all.contains(dangerous));
        }
    }
}
