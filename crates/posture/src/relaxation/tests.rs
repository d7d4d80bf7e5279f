//! Every field of a posture, and every kind of relaxation.

use super::*;
use crate::limits::Throttle;
use crate::seccomp::Profile;
use crate::{
    Apparmor, Capability, CapabilitySet, Device, DeviceRule, IpcMode, Label, Mount, NamespaceMode, NetworkMode,
    Principal, Propagation, Resource, SeccompChoice, Tmpfs, Ulimit, UserMode,
};

#[test]
fn names_are_kebab_case_and_unique() {
    let mut names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert!(names.iter().all(|name| { name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') }));
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn checks_are_the_benchmarks() {
    for kind in KINDS {
        for check in kind.checks {
            let anssi = check.strip_prefix('R').is_some_and(|number| {
                number.trim_end_matches('-').parse::<u8>().is_ok_and(|number| (1..=16).contains(&number))
            });
            let cis = check.split_once('.').is_some_and(|(section, number)| {
                matches!(section, "2" | "5") && number.parse::<u8>().is_ok_and(|number| (1..=32).contains(&number))
            });
            assert!(anssi || cis, "{} {check}", kind.name);
        }
    }
}

#[test]
fn the_hardened_posture_has_none() {
    assert_eq!(Posture::hardened().relaxations(), []);
    assert_eq!(Posture::hardened().summary(), "hardened");
}

fn changed(change: impl FnOnce(&mut Posture)) -> Vec<String> {
    let mut posture = Posture::hardened();
    change(&mut posture);
    assert_ne!(posture, Posture::hardened(), "the change changes nothing");
    posture.relaxations().iter().map(ToString::to_string).collect()
}

type Change = fn(&mut Posture);

/// A change of each field that lets something through, and what it is called.
fn loosenings() -> Vec<(Change, &'static str)> {
    vec![
        (|p| p.privileged = true, "privileged"),
        (|p| p.namespaces.pid = NamespaceMode::Host, "host-pid"),
        (|p| p.namespaces.pid = NamespaceMode::Container("a".into()), "shared-pid=a"),
        (|p| p.namespaces.ipc = IpcMode::Host, "host-ipc"),
        (|p| p.namespaces.ipc = IpcMode::Shareable, "shareable-ipc"),
        (|p| p.namespaces.ipc = IpcMode::Container("a".into()), "shared-ipc=a"),
        (|p| p.namespaces.uts = NamespaceMode::Host, "host-uts"),
        (|p| p.namespaces.uts = NamespaceMode::Container("a".into()), "shared-uts=a"),
        (|p| p.namespaces.network = NetworkMode::Host, "host-network"),
        (|p| p.namespaces.network = NetworkMode::Container("a".into()), "shared-network=a"),
        (|p| p.namespaces.user = UserMode::Host, "host-userns"),
        (|p| p.namespaces.user = UserMode::Remap("a".into()), "remapped-userns=a"),
        (|p| p.namespaces.user = UserMode::Container("a".into()), "shared-userns=a"),
        (|p| p.namespaces.cgroup = NamespaceMode::Host, "host-cgroupns"),
        (|p| p.namespaces.cgroup = NamespaceMode::Container("a".into()), "shared-cgroupns=a"),
        (|p| p.capabilities.insert(Capability::NetRaw), "cap-add=NET_RAW"),
        (|p| p.no_new_privileges = false, "new-privileges"),
        (|p| p.seccomp = SeccompChoice::Unconfined, "seccomp-unconfined"),
        (
            |p| {
                let profile = Box::new(Profile::default_hardened().clone());
                p.seccomp = SeccompChoice::Custom { profile, path: "/p.json".into() };
            },
            "seccomp-profile=/p.json",
        ),
        (|p| p.apparmor = Apparmor::Unconfined, "apparmor-unconfined"),
        (|p| p.label = Label::Disabled, "label-disabled"),
        (|p| p.read_only_root = false, "writable-root"),
        (|p| p.tmpfs[0].exec = true, "tmpfs-exec=/tmp"),
        (|p| p.tmpfs[0].suid = true, "tmpfs-suid=/tmp"),
        (|p| p.tmpfs[0].dev = true, "tmpfs-dev=/tmp"),
        (|p| p.tmpfs[0].size = None, "tmpfs-size=/tmp"),
        (|p| p.tmpfs[0].size = Some(1 << 40), "tmpfs-size=/tmp"),
        (|p| p.tmpfs[0].inodes = None, "tmpfs-size=/tmp"),
        (|p| p.mounts.push(Mount::bind("/srv", "/a")), "bind-mount=/srv"),
        (|p| p.mounts.push(Mount { read_only: false, ..Mount::bind("/srv", "/a") }), "writable-bind=/srv"),
        (|p| p.mounts.push(Mount::bind("/usr/../etc", "/a")), "sensitive-mount=/usr/../etc"),
        (|p| p.mounts.push(Mount::bind("/run/docker.sock", "/a")), "engine-socket=/run/docker.sock"),
        (|p| p.mounts.push(Mount::bind("/var/lib/docker", "/a")), "engine-state=/var/lib/docker"),
        (|p| p.mounts.push(Mount::volume(Some("db".into()), "/a")), "volume=db"),
        (|p| p.mounts.push(Mount { exec: true, ..Mount::volume(None, "/a") }), "mount-exec=/a"),
        (|p| p.mounts.push(Mount { suid: true, ..Mount::bind("/srv", "/a") }), "mount-suid=/a"),
        (|p| p.mounts.push(Mount { dev: true, ..Mount::bind("/srv", "/a") }), "mount-dev=/a"),
        (|p| p.mounts.push(Mount { idmap: false, ..Mount::bind("/srv", "/a") }), "mount-unmapped=/a"),
        (
            |p| p.mounts.push(Mount { propagation: Propagation::Rshared, ..Mount::bind("/srv", "/a") }),
            "mount-propagation=/a:rshared",
        ),
        (|p| p.devices.push(Device::parse("/dev/fuse").unwrap()), "device=/dev/fuse"),
        (|p| p.devices.push(Device::parse("/dev/sda").unwrap()), "host-device=/dev/sda"),
        (|p| p.device_rules.push(DeviceRule::parse("c 189:* rw").unwrap()), "device-cgroup-rule=c 189:* rw"),
        (|p| p.device_rules.push(DeviceRule::parse("b 8:0 r").unwrap()), "host-device=b 8:0 r"),
        (|p| p.masked_paths.retain(|path| path != "/proc/kcore"), "unmasked-paths"),
        (|p| p.read_only_paths.retain(|path| path != "/proc/sys"), "writable-system-paths"),
        (|p| p.limits.memory = Some(2 << 30), "memory=2g"),
        (|p| p.limits.memory = None, "memory=unlimited"),
        (|p| p.limits.memory_swap = None, "memory-swap=unlimited"),
        (|p| p.limits.memory_swap = Some(513 << 20), "memory-swap=1m"),
        (|p| p.limits.memory_reservation = Some(1), "memory-reservation=1"),
        (|p| p.limits.oom_kill_disable = true, "oom-kill-disable"),
        (|p| p.limits.oom_score_adj = 499, "oom-score-adj=499"),
        (|p| p.limits.pids = Some(513), "pids-limit=513"),
        (|p| p.limits.pids = None, "pids-limit=unlimited"),
        (|p| p.limits.cpu_quota = Some(-1), "cpu-unlimited"),
        (|p| p.limits.cpu_shares = Some(1025), "cpu-shares=1025"),
        (|p| p.limits.blkio_weight = Some(501), "blkio-weight=501"),
        (|p| p.limits.ulimits.get_mut(&Resource::Nofile).unwrap().hard = 4097, "ulimit=nofile=1024:4097"),
        (
            |p| {
                p.limits.ulimits.remove(&Resource::Core);
            },
            "ulimit=core=inherited",
        ),
        (
            |p| {
                p.limits.ulimits.insert(Resource::Nproc, Ulimit { soft: 1, hard: 1 });
            },
            "ulimit=nproc=1:1",
        ),
        (|p| p.limits.shm_size = 65 << 20, "shm-size=65m"),
        (
            |p| {
                p.sysctls.insert("net.core.somaxconn".into(), "9".into());
            },
            "sysctl=net.core.somaxconn=9",
        ),
        (
            |p| {
                p.sysctls.remove("user.max_user_namespaces");
            },
            "sysctl=user.max_user_namespaces=unlimited",
        ),
        (|p| p.group_add.push(Principal::Id(27)), "group-add=27"),
        (|p| p.cgroup_parent = Some("/x".into()), "cgroup-parent=/x"),
    ]
}

#[test]
fn each_loosening_is_told() {
    for (change, expected) in loosenings() {
        let told = changed(change);
        assert!(told.iter().any(|told| told == expected), "{expected} is not among {told:?}");
    }
}

#[test]
fn each_kind_is_reached() {
    let told: Vec<String> = loosenings().into_iter().flat_map(|(change, _)| changed(change)).collect();
    for kind in KINDS {
        assert!(told.iter().any(|told| told.split('=').next() == Some(kind.name)), "nothing leads to {}", kind.name);
    }
}

#[test]
fn what_only_tightens_is_not_told() {
    let tightenings: Vec<Change> = vec![
        |p| p.namespaces.time = true,
        |p| p.namespaces.ipc = IpcMode::None,
        |p| {
            p.limits.memory = Some(64 << 20);
            p.limits.memory_swap = Some(64 << 20);
        },
        |p| p.limits.memory_swappiness = Some(0),
        |p| p.limits.pids = Some(10),
        |p| p.limits.nano_cpus = Some(500_000_000),
        |p| p.limits.cpu_quota = Some(50_000),
        |p| p.limits.cpu_period = Some(50_000),
        |p| p.limits.cpu_shares = Some(512),
        |p| p.limits.cpuset_cpus = Some("0".into()),
        |p| p.limits.cpuset_mems = Some("0".into()),
        |p| p.limits.blkio_weight = Some(100),
        |p| p.limits.device_read_bps = vec![Throttle { device: "/dev/sda".into(), rate: 1 }],
        |p| p.limits.device_write_bps = vec![Throttle { device: "/dev/sda".into(), rate: 1 }],
        |p| p.limits.device_read_iops = vec![Throttle { device: "/dev/sda".into(), rate: 1 }],
        |p| p.limits.device_write_iops = vec![Throttle { device: "/dev/sda".into(), rate: 1 }],
        |p| p.limits.oom_score_adj = 1000,
        |p| p.limits.shm_size = 1 << 20,
        |p| {
            p.limits.ulimits.insert(Resource::Nofile, Ulimit { soft: 10, hard: 10 });
        },
        |p| p.tmpfs.push(Tmpfs::new("/cache")),
        |p| p.tmpfs.clear(),
        |p| p.tmpfs[0].read_only = true,
        |p| p.masked_paths.push("/proc/cpuinfo".into()),
        |p| p.read_only_paths.push("/proc/asound".into()),
        |p| {
            p.sysctls.remove("net.ipv4.ip_unprivileged_port_start");
        },
    ];
    for (index, change) in tightenings.into_iter().enumerate() {
        let told = changed(change);
        assert_eq!(told, Vec::<String>::new(), "tightening {index}");
    }
}

#[test]
fn an_engines_own_state_is_known_wherever_it_is() {
    let mut posture = Posture::hardened();
    posture.mounts.push(Mount::bind("/srv/casemate/layers", "/a"));
    assert_eq!(posture.summary(), "relaxed: bind-mount=/srv/casemate/layers");
    for state in ["/srv/casemate", "/srv/casemate/", "/srv/casemate/layers/x"] {
        let told = posture.relaxations_beside(&[state]);
        assert_eq!(told[0].to_string(), "engine-state=/srv/casemate/layers", "{state}");
        assert!(told[0].refused);
    }
    assert_eq!(posture.relaxations_beside(&["/srv/case"]), posture.relaxations());
}

#[test]
fn privileged_says_all_that_it_comes_to() {
    let options = crate::Options { privileged: true, ..crate::Options::default() };
    let posture = options.into_posture().unwrap();
    assert_eq!(posture.capabilities, CapabilitySet::all());
    assert_eq!(posture.summary(), "relaxed: privileged");
    assert!(posture.relaxations()[0].refused);
}

#[test]
fn a_dangerous_capability_is_told_with_its_own_risk() {
    let mut posture = Posture::hardened();
    posture.capabilities.insert(Capability::SysModule);
    assert_eq!(Some(posture.relaxations()[0].risk), Capability::SysModule.danger());
    assert_eq!(posture.summary(), "relaxed: cap-add=SYS_MODULE");
}

#[test]
fn what_is_refused_is_what_the_requirements_name() {
    let refused: Vec<&str> = KINDS.iter().filter(|kind| kind.refused).map(|kind| kind.name).collect();
    let expected = [
        "privileged",
        "host-pid",
        "host-ipc",
        "host-uts",
        "host-network",
        "host-userns",
        "host-cgroupns",
        "sensitive-mount",
        "engine-socket",
        "engine-state",
        "host-device",
        "cgroup-parent",
    ];
    assert_eq!(refused, expected);
}

/// `docs/relaxations.md` has a row for each kind: name, flag, risk, checks, in the table that says whether it is refused.
#[test]
fn the_page_is_complete() {
    let page = include_str!("../../../../docs/relaxations.md");
    let (refused, allowed) = page.split_once("## Allowed, and told").unwrap();
    for kind in KINDS {
        let checks = if kind.checks.is_empty() { "–".to_owned() } else { kind.checks.join(" ") };
        let row = format!("| `{}` | `{}` | {} | {checks} |", kind.name, kind.flag, kind.risk);
        let part = if kind.refused { refused } else { allowed };
        assert!(part.lines().any(|line| line == row), "docs/relaxations.md lacks this row:\n{row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, KINDS.len(), "docs/relaxations.md has rows for what there is not");
}

#[test]
fn a_posture_survives_json_and_what_is_missing_is_hardened() {
    for (change, _) in loosenings() {
        let mut posture = Posture::hardened();
        change(&mut posture);
        let json = serde_json::to_string(&posture).unwrap();
        assert_eq!(serde_json::from_str::<Posture>(&json).unwrap(), posture);
    }
    assert_eq!(serde_json::from_str::<Posture>("{}").unwrap(), Posture::hardened());
    assert!(serde_json::from_str::<Posture>(r#"{"privilegd": true}"#).is_err());
}
