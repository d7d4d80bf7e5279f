//! The paths of `/proc` and `/sys` that engines mask or make read-only, and others through which hosts were taken over.

use casemate_posture::{Capability, CapabilitySet};
use serde::Serialize;

use super::mounts::{Mount, covering};
use super::source::Source;
use super::verdict::{Facts, Judgement, listed};

/// What a path gives away or allows.
struct Sensitive {
    path: &'static str,
    /// Reading it tells of the host.
    leaks: Option<&'static str>,
    /// Writing it acts on the host.
    acts: Option<&'static str>,
}

const fn leak(path: &'static str, leaks: &'static str) -> Sensitive {
    Sensitive { path, leaks: Some(leaks), acts: None }
}

const fn act(path: &'static str, acts: &'static str) -> Sensitive {
    Sensitive { path, leaks: None, acts: Some(acts) }
}

/// The union of what Docker and Podman mask or make read-only, and of the files that published escapes wrote to.
const SENSITIVE: &[Sensitive] = &[
    leak("/proc/acpi", "the host's firmware tables"),
    leak("/proc/asound", "the host's sound hardware"),
    leak("/proc/interrupts", "timing of the host's keyboard and disks"),
    leak("/proc/kcore", "the host's memory"),
    leak("/proc/keys", "names of kernel keys"),
    leak("/proc/latency_stats", "what other processes wait for"),
    leak("/proc/sched_debug", "other processes of the host"),
    leak("/proc/scsi", "the host's disks"),
    leak("/proc/timer_list", "other processes of the host"),
    leak("/proc/timer_stats", "other processes of the host"),
    leak("/proc/kmsg", "the kernel's log"),
    leak("/proc/kallsyms", "the kernel's symbols"),
    leak("/proc/kpagecgroup", "the host's memory layout"),
    leak("/proc/kpagecount", "the host's memory layout"),
    leak("/proc/kpageflags", "the host's memory layout"),
    leak("/proc/vmallocinfo", "the kernel's addresses"),
    leak("/proc/slabinfo", "the kernel's allocations"),
    leak("/sys/firmware", "the host's firmware tables"),
    leak("/sys/devices/virtual/powercap", "power use, from which secrets of others can be told"),
    leak("/sys/dev/block", "the host's disks"),
    leak("/sys/fs/bpf", "the host's BPF programs"),
    leak("/sys/fs/pstore", "the host's crash logs"),
    leak("/sys/kernel/security", "the host's security modules"),
    leak("/sys/kernel/debug", "the kernel's internals"),
    leak("/sys/kernel/tracing", "the kernel's internals"),
    leak("/sys/fs/selinux", "the host's SELinux policy"),
    act("/proc/sysrq-trigger", "reboots the host"),
    act("/proc/sys/kernel/core_pattern", "names a program that the kernel starts as root of the host"),
    act("/proc/sys/kernel/modprobe", "names a program that the kernel starts as root of the host"),
    act("/proc/sys/kernel/hotplug", "names a program that the kernel starts as root of the host"),
    act("/proc/sys/fs/binfmt_misc/register", "names a program that the kernel starts for other programs"),
    act("/proc/sys/vm/panic_on_oom", "halts the host"),
    act("/proc/sys/kernel/sysrq", "opens the host's emergency keys"),
    act("/proc/bus/pci", "configures the host's devices"),
    act("/proc/irq/default_smp_affinity", "steers the host's interrupts"),
    act("/proc/fs/xfs", "configures file systems of the host"),
    act("/sys/kernel/uevent_helper", "names a program that the kernel starts as root of the host"),
    act("/sys/kernel/vmcoreinfo", "the kernel's addresses"),
    act("/sys/power/state", "suspends the host"),
    act("/sys/module/apparmor/parameters/mode", "switches AppArmor"),
];

/// What became of a sensitive path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is not there.
    Absent,
    /// Something is mounted over it.
    Masked,
    /// It is there, but this process is not permitted what would matter.
    Denied,
    /// This process may read it.
    Readable,
    /// This process may write it.
    Writable,
}

/// A sensitive path as this process finds it.
#[derive(Debug, Clone, Serialize)]
pub struct SensitivePath {
    /// The path.
    pub path: &'static str,
    /// How it is kept from this process, or not.
    pub state: State,
    /// What reaching it gives.
    pub gives: &'static str,
}

/// Looks at every sensitive path. Nothing is opened: permissions and mounts are asked for.
/// `effective` are the bits of the capabilities that this process holds.
pub(crate) fn read(source: &Source, mounts: &[Mount], effective: u64) -> Vec<SensitivePath> {
    SENSITIVE
        .iter()
        .map(|sensitive| SensitivePath {
            path: sensitive.path,
            state: state(source, mounts, sensitive, effective),
            gives: sensitive.leaks.or(sensitive.acts).unwrap_or_default(),
        })
        .collect()
}

fn state(source: &Source, mounts: &[Mount], sensitive: &Sensitive, effective: u64) -> State {
    if !source.exists(sensitive.path) {
        return State::Absent;
    }
    if is_masked(mounts, sensitive.path) {
        return State::Masked;
    }
    if sensitive.acts.is_some() {
        return if source.writable(sensitive.path) { State::Writable } else { State::Denied };
    }
    // Opening these asks for a capability, whatever their permissions are (proc_pid_kmsg(5), proc_kcore(5)).
    let needed = match sensitive.path {
        "/proc/kmsg" => Some(Capability::Syslog),
        "/proc/kcore" => Some(Capability::SysRawio),
        _ => None,
    };
    if needed.is_some_and(|capability| !CapabilitySet::from_bits_truncate(effective).contains(capability)) {
        return State::Denied;
    }
    // A directory that shows no name gives nothing away.
    let empty = source.path(sensitive.path).is_dir() && source.names(sensitive.path).is_empty();
    if source.readable(sensitive.path) && !empty { State::Readable } else { State::Denied }
}

/// Whether something that is not of the kernel's own file systems lies over the path.
fn is_masked(mounts: &[Mount], path: &str) -> bool {
    let Some(mount) = covering(mounts, path) else {
        return false;
    };
    let over_itself = mount.target == path || (mount.target.len() > 5 && path.starts_with(&mount.target));
    over_itself && ["tmpfs", "devtmpfs", "overlay", "ramfs"].contains(&mount.kind.as_str())
}

/// Judges the sensitive paths.
pub(crate) fn judge(paths: &[SensitivePath]) -> Judgement {
    let mut facts = Facts::default();
    let having = |state: State| -> Vec<&str> { paths.iter().filter(|p| p.state == state).map(|p| p.path).collect() };
    let writable = having(State::Writable);
    if !writable.is_empty() {
        facts.open(format!("writable: {}", listed(&writable, 4)));
    }
    let readable = having(State::Readable);
    let (grave, minor): (Vec<&str>, Vec<&str>) = readable
        .iter()
        .partition(|path| ["/proc/kcore", "/proc/kmsg", "/sys/kernel/debug", "/sys/kernel/tracing"].contains(path));
    if !grave.is_empty() {
        facts.open(format!("readable: {}", listed(&grave, 4)));
    }
    if !minor.is_empty() {
        facts.note(format!("readable: {}", listed(&minor, 4)));
    }
    let closed = paths.len() - writable.len() - readable.len();
    facts.good(format!("{closed} of {} sensitive paths are masked, denied or absent", paths.len()));
    facts.judge()
}

#[cfg(test)]
mod tests {
    use super::super::mounts;
    use super::super::samples;
    use super::super::verdict::Verdict;
    use super::*;

    #[test]
    fn what_docker_masks_is_seen_as_masked() {
        let mounts = mounts::parse(samples::DOCKER_MOUNTS);
        for path in ["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware"] {
            assert!(is_masked(&mounts, path), "{path}");
        }
        for path in ["/proc/sys/kernel/core_pattern", "/proc/kmsg", "/sys/power/state"] {
            assert!(!is_masked(&mounts, path), "{path}");
        }
        assert!(!is_masked(&mounts::parse(samples::PRIVILEGED_MOUNTS), "/proc/kcore"));
    }

    #[test]
    fn states_are_told_apart_on_a_real_tree() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        };
        make("proc/kcore");
        make("proc/sysrq-trigger");
        std::fs::create_dir_all(dir.path().join("sys/firmware")).unwrap();
        let found = read(&Source::new(dir.path()), &[], u64::MAX);
        let state = |path: &str| found.iter().find(|p| p.path == path).unwrap().state;
        assert_eq!(state("/proc/kcore"), State::Readable);
        assert_eq!(state("/proc/sysrq-trigger"), State::Writable);
        assert_eq!(state("/sys/firmware"), State::Denied);
        assert_eq!(state("/proc/keys"), State::Absent);
        assert_eq!(judge(&found).verdict, Verdict::Open);
        let found = read(&Source::new(dir.path()), &[], 0);
        assert_eq!(found.iter().find(|p| p.path == "/proc/kcore").unwrap().state, State::Denied);
    }

    #[test]
    fn all_closed_is_good() {
        assert_eq!(judge(&read(&Source::new("/nonexistent"), &[], 0)).verdict, Verdict::Good);
    }
}
