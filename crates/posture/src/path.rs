//! Paths of the host that a container must not be given, and paths inside it that it must not see: ISO-6.

use std::borrow::Cow;

use crate::InvalidValue;

/// Paths under `/proc` and `/sys` that a container can't see: those of Docker and of Podman, and what leaks the host's
/// hardware, keys, kernel addresses or timing besides. A `*` stands for one part of a name. What the host's kernel does not
/// have is left out when they are masked.
pub const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/system/cpu/cpu*/thermal_throttle",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/pstore",
    "/sys/fs/selinux",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
];

/// Paths under `/proc` that a container can read and not write: those of Docker and of Podman that are not masked.
pub const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Top-level directories of the host that are sensitive with all that is in them, and why.
const SENSITIVE: &[(&str, &str)] = &[
    ("/boot", "the host's kernel and boot configuration"),
    ("/dev", "the host's devices"),
    ("/etc", "the host's configuration and password hashes"),
    ("/proc", "the host's processes and kernel settings"),
    ("/root", "the home of the host's root, with its keys"),
    ("/sys", "the host's devices and kernel settings"),
    ("/usr", "the host's programs"),
    ("/bin", "the host's programs"),
    ("/sbin", "the host's programs"),
];

/// The state of container engines: who reads it reads every container's files and secrets, who writes it is root.
const ENGINE_STATE: &[&str] = &[
    "/run/casemate",
    "/run/containerd",
    "/run/containers",
    "/run/crio",
    "/run/docker",
    "/run/libpod",
    "/run/podman",
    "/run/runc",
    "/var/lib/casemate",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/crio",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/rancher",
];

/// The names that the control sockets of container engines have. Whoever can write to one is root on the host.
const ENGINE_SOCKETS: &[&str] = &[
    "buildkitd.sock",
    "casemate.sock",
    "containerd.sock",
    "cri-dockerd.sock",
    "crio.sock",
    "docker.sock",
    "dockerd.sock",
    "dockershim.sock",
    "k3s.sock",
    "podman.sock",
];

/// What makes a path of the host one that no container should be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sensitivity {
    /// The host's own directories.
    Host(&'static str),
    /// A container engine's control socket.
    EngineSocket,
    /// A container engine's state.
    EngineState,
}

/// Why `path`, absolute on the host, is sensitive, or `None` where it is not. Resolve symbolic links first: this looks at the
/// words only. A directory that holds a sensitive one is as sensitive as that.
pub fn sensitivity(path: &str) -> Option<Sensitivity> {
    let path = canonical(path);
    if path == "/" {
        return Some(Sensitivity::Host("the whole host"));
    }
    let name = path.rsplit('/').next().unwrap_or_default();
    if ENGINE_SOCKETS.contains(&name) {
        return Some(Sensitivity::EngineSocket);
    }
    if ENGINE_STATE.iter().any(|state| within(&path, state) || within(state, &path)) {
        return Some(Sensitivity::EngineState);
    }
    let top = path[1..].split('/').next().unwrap_or_default();
    if top.starts_with("lib") {
        return Some(Sensitivity::Host("the host's libraries"));
    }
    SENSITIVE.iter().find(|(sensitive, _)| within(&path, sensitive)).map(|&(_, what)| Sensitivity::Host(what))
}

/// Whether a path is above the state of a container engine, and so of more than one thing of the host.
pub(crate) fn is_above_engine_state(path: &str) -> bool {
    let path = canonical(path);
    ENGINE_STATE.iter().any(|state| *state != path && within(state, &path))
}

/// What there is to fear of mounting `path`, in words, or `None` where it is not sensitive. See [`sensitivity`].
pub fn sensitive_path(path: &str) -> Option<&'static str> {
    Some(match sensitivity(path)? {
        Sensitivity::Host(what) => what,
        Sensitivity::EngineSocket => "a container engine's control socket",
        Sensitivity::EngineState => "a container engine's state",
    })
}

/// Whether `path` is `directory` or beneath it.
pub(crate) fn within(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || directory == "/")
}

/// Whether one of two absolute paths is the other or holds it, by the words.
pub(crate) fn overlap(one: &str, other: &str) -> bool {
    let (one, other) = (canonical(one), canonical(other));
    within(&one, &other) || within(&other, &one)
}

/// `path` without empty parts, `.` and `..`, taken by the words; and `/var/run` as what it is everywhere, `/run`.
fn canonical(path: &str) -> Cow<'_, str> {
    let clean = normal(path);
    match clean.strip_prefix("/var/run") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Cow::Owned(format!("/run{rest}")),
        _ => clean,
    }
}

/// `path` without empty parts, `.` and `..`, taken by the words.
pub(crate) fn normal(path: &str) -> Cow<'_, str> {
    let is_normal =
        path == "/" || path.starts_with('/') && path[1..].split('/').all(|part| !matches!(part, "" | "." | ".."));
    if is_normal {
        return Cow::Borrowed(path);
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    Cow::Owned(format!("/{}", parts.join("/")))
}

/// The longest path that the kernel takes, without the NUL.
const LONGEST: usize = 4095;

/// A path in the container that something is to be mounted on: absolute, without `..`, and none of those that are the kernel's.
pub(crate) fn target(flag: &'static str, value: &str, path: &str) -> Result<String, InvalidValue> {
    let invalid = |reason: String| InvalidValue::new(flag, value, reason);
    if !path.starts_with('/') {
        return Err(
            invalid(format!("the path in the container, {path:?}, is not absolute")).hint("start it with \"/\"")
        );
    }
    if path.len() > LONGEST {
        return Err(invalid(format!("the path in the container is longer than {LONGEST} bytes")));
    }
    if path.contains('\0') {
        return Err(invalid("the path in the container has a NUL byte in it".to_owned()));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(invalid(format!("the path in the container, {path:?}, has \"..\" in it")));
    }
    let path = normal(path);
    let taken = matches!(&*path, "/" | "/dev" | "/dev/pts" | "/dev/mqueue" | "/sys") || within(&path, "/proc");
    if taken {
        return Err(invalid(format!("nothing can be mounted on {path}: what is there keeps the container in")));
    }
    Ok(path.into_owned())
}

/// A path of the host: absolute, without NUL, not too long. `..` is kept: only the kernel can tell what it leads to.
pub(crate) fn source(flag: &'static str, value: &str, path: &str) -> Result<String, InvalidValue> {
    let invalid = |reason: String| InvalidValue::new(flag, value, reason);
    if !path.starts_with('/') {
        return Err(invalid(format!("the path on the host, {path:?}, is not absolute")).hint("start it with \"/\""));
    }
    if path.len() > LONGEST {
        return Err(invalid(format!("the path on the host is longer than {LONGEST} bytes")));
    }
    if path.contains('\0') {
        return Err(invalid("the path on the host has a NUL byte in it".to_owned()));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_iso_6_names_is_sensitive_with_its_parents_and_children() {
        for path in [
            "/",
            "/dev",
            "/dev/sda",
            "/proc",
            "/proc/1/root",
            "/sys",
            "/boot",
            "/etc",
            "/etc/shadow",
            "/lib",
            "/lib64",
            "/lib/modules",
            "/usr",
            "/usr/lib",
            "/root",
            "/root/.ssh",
            "//etc//",
            "/./etc",
            "/home/../etc",
            "/..",
            "/var/lib",
            "/var",
            "/run",
            "/var/run",
            "/bin",
            "/sbin",
        ] {
            assert!(sensitive_path(path).is_some(), "{path}");
        }
    }

    #[test]
    fn engines_are_told_apart() {
        for path in
            ["/var/run/docker.sock", "/run/docker.sock", "/home/me/.docker/run/docker.sock", "/run/podman/podman.sock"]
        {
            assert_eq!(sensitivity(path), Some(Sensitivity::EngineSocket), "{path}");
        }
        for path in
            ["/var/lib/casemate", "/var/lib/docker/overlay2", "/run/casemate/x", "/var/lib", "/run", "/var/run/crio"]
        {
            assert_eq!(sensitivity(path), Some(Sensitivity::EngineState), "{path}");
        }
    }

    #[test]
    fn data_is_not_sensitive() {
        for path in [
            "/srv",
            "/srv/etc",
            "/home/me",
            "/data",
            "/etcetera",
            "/devel",
            "/opt/app",
            "/var/www",
            "/tmp",
            "/mnt",
            "/procs",
            "/var/running",
        ] {
            assert_eq!(sensitive_path(path), None, "{path}");
        }
    }

    #[test]
    fn targets_are_absolute_and_not_the_kernels() {
        assert_eq!(target("-v", "x", "/data//a/./b/"), Ok("/data/a/b".to_owned()));
        assert_eq!(target("-v", "x", "/dev/shm"), Ok("/dev/shm".to_owned()));
        for bad in [
            "",
            "data",
            "/",
            "//",
            "/..",
            "/a/../..",
            "/proc",
            "/proc/self",
            "/proc//sys",
            "/dev",
            "/sys/",
            "/a\0b",
            "/dev/pts",
        ] {
            assert!(target("-v", "x", bad).is_err(), "{bad:?}");
        }
        assert!(target("-v", "x", &"/a".repeat(3000)).is_err());
    }

    #[test]
    fn the_lists_hold_docker_and_podman_and_are_in_order() {
        assert!(MASKED.windows(2).all(|pair| pair[0] < pair[1]));
        for path in [
            "/proc/acpi",
            "/proc/asound",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/sys/devices/virtual/powercap",
            "/sys/firmware",
            "/sys/fs/selinux",
            "/sys/devices/system/cpu/cpu*/thermal_throttle",
        ] {
            assert!(MASKED.contains(&path), "{path}");
        }
        for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
            assert!(READ_ONLY.contains(&path), "{path}");
        }
    }
}
