//! From flags to postures.

use super::*;
use crate::seccomp::Action;
use crate::{Limits, MountKind, Resource};

fn posture(options: Options) -> Posture {
    options.into_posture().unwrap()
}

fn message(options: Options) -> String {
    options.into_posture().unwrap_err().to_string()
}

#[allow(clippy::unnecessary_wraps, reason = "what it makes are fields that are optional")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn list(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

macro_rules! options {
    ($($field:ident: $value:expr),*) => { Options { $($field: $value,)* ..Options::default() } };
}

#[test]
fn no_flags_are_the_hardened_posture() {
    assert_eq!(posture(Options::default()), Posture::hardened());
}

#[test]
fn namespaces() {
    let asked = posture(options! {
        pid: some("host"), ipc: some("shareable"), uts: some("container:web"), network: some("host"), userns: some("host"),
        cgroupns: some("host"), timens: some("private")
    })
    .namespaces;
    assert_eq!(asked.pid, NamespaceMode::Host);
    assert_eq!(asked.ipc, IpcMode::Shareable);
    assert_eq!(asked.uts, NamespaceMode::Container("web".to_owned()));
    assert!(asked.network.is_host() && asked.user.is_host() && asked.cgroup.is_host() && asked.time);
    assert_eq!(
        posture(options! { network: some("none"), pid: some("private"), userns: some("private") }),
        Posture::hardened()
    );
    let remapped = posture(options! { userns_remap: some("default") });
    assert_eq!(remapped.namespaces.user, UserMode::Remap("default".to_owned()));

    assert!(message(options! { pid: some("hots") }).contains("did you mean \"host\""));
    assert!(message(options! { pid: some("container:") }).contains("empty"));
    assert!(message(options! { network: some("bridge") }).contains("no such network"));
    assert!(message(options! { userns: some("host"), userns_remap: some("default") }).contains("don't go together"));
    assert!(message(options! { cgroup_parent: some("/a/../b") }).contains("\"..\""));
}

#[test]
fn capabilities_as_docker_combines_them() {
    let caps = |add: &[&str], drop: &[&str], privileged| {
        let asked = posture(options! { cap_add: list(add), cap_drop: list(drop), privileged: privileged });
        asked.capabilities.iter().map(Capability::short_name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(caps(&[], &["ALL"], false), "");
    assert_eq!(caps(&["net_raw", "CAP_CHOWN"], &[], false), "CHOWN NET_RAW");
    assert_eq!(caps(&["net_raw", "chown"], &["net_raw"], false), "CHOWN");
    assert_eq!(caps(&["chown"], &["all"], false), "CHOWN");
    assert_eq!(caps(&["ALL"], &["SYS_ADMIN"], false).split(' ').count(), 40);
    assert_eq!(caps(&[], &["SYS_ADMIN"], true).split(' ').count(), 40);
    assert_eq!(caps(&["kill,chown"], &[], false), "CHOWN KILL");
    assert!(message(options! { cap_add: list(&["SYS_ADMN"]) }).contains("did you mean SYS_ADMIN?"));
}

#[test]
fn security_options() {
    let asked = posture(
        options! { security_opt: list(&["no-new-privileges=false", "seccomp=unconfined", "systempaths=unconfined"]) },
    );
    assert!(!asked.no_new_privileges && asked.masked_paths.is_empty() && asked.read_only_paths.is_empty());
    assert_eq!(asked.seccomp, SeccompChoice::Unconfined);

    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let options = options! { security_opt: list(&["seccomp=/p.json"]), seccomp_profile: some(json) };
    assert_eq!(options.seccomp_file(), Ok(some("/p.json")));
    let asked = posture(options);
    let rules = asked.seccomp.resolve(crate::seccomp::Arch::X86_64, &asked.capabilities, (5, 15)).unwrap();
    assert_eq!(rules.decide("chmod", [0; 6]).action, Action::Errno);

    assert!(
        message(options! { security_opt: list(&["seccomp=/p.json"]), seccomp_profile: some("{}") })
            .contains("/p.json: the seccomp profile has no rules")
    );
    assert!(message(options! { security_opt: list(&["seccomp=/p.json"]) }).contains("was not read"));
    let last = options! { security_opt: list(&["seccomp=/p.json", "seccomp=unconfined"]) };
    assert_eq!(last.seccomp_file(), Ok(None));
}

#[test]
fn file_systems() {
    let asked = posture(options! {
        read_only: Some(false), tmpfs: list(&["/tmp:exec"]), volume: list(&["/srv:/run", "db:/db"]),
        mount: list(&["type=tmpfs,target=/x", "type=bind,src=./a,dst=/a"]), base_directory: some("/home/me")
    });
    assert!(!asked.read_only_root);
    let tmpfs: Vec<&str> = asked.tmpfs.iter().map(|tmpfs| tmpfs.target.as_str()).collect();
    assert_eq!(tmpfs, ["/var/tmp", "/tmp", "/x"]);
    assert!(asked.tmpfs[1].exec);
    let targets: Vec<&str> = asked.mounts.iter().map(|mount| mount.target.as_str()).collect();
    assert_eq!(targets, ["/run", "/db", "/a"]);
    assert_eq!(asked.mounts[2].source(), Some("/home/me/./a"));
    assert!(matches!(asked.mounts[1].kind, MountKind::Volume { .. }));

    assert!(message(options! { volume: list(&["/a:/x", "/b:/x/"]) }).contains("two things"));
    assert!(message(options! { tmpfs: list(&["/x"]), volume: list(&["/b:/x"]) }).contains("two things"));
    assert!(message(options! { storage_opt: list(&["size=1g"]) }).contains("--tmpfs"));
}

#[test]
fn memory() {
    let limits = |options: Options| posture(options).limits;
    let asked = limits(options! { memory: some("1g") });
    assert_eq!((asked.memory, asked.memory_swap, asked.swap()), (Some(1 << 30), Some(1 << 30), Some(0)));
    let asked = limits(options! { memory: some("1g"), memory_swap: some("2g") });
    assert_eq!(asked.swap(), Some(1 << 30));
    let asked = limits(options! { memory_swap: some("-1") });
    assert_eq!((asked.memory, asked.swap()), (Some(512 << 20), None));
    assert_eq!(limits(options! { memory_swap: some("0") }), Limits::default());
    let asked = limits(options! { memory: some("0") });
    assert_eq!((asked.memory, asked.memory_swap), (None, None));
    assert_eq!(limits(options! { memory_swappiness: some("60") }).memory_swappiness, Some(60));
    assert_eq!(limits(options! { memory_swappiness: some("-1") }).memory_swappiness, None);

    assert!(message(options! { memory: some("1m") }).contains("below 6m"));
    assert!(message(options! { memory: some("1g"), memory_swap: some("512m") }).contains("below --memory"));
    assert!(message(options! { memory: some("0"), memory_swap: some("512m") }).contains("not limited"));
    assert!(message(options! { memory_reservation: some("1g") }).contains("above --memory"));
    assert!(message(options! { memory_swappiness: some("101") }).contains("from 0 to 100"));
    assert!(message(options! { memory: some("0"), oom_kill_disable: true }).contains("don't go together"));
}

#[test]
fn processors_and_processes() {
    let asked = posture(options! {
        cpus: some("1.5"), cpu_shares: some("512"), cpuset_cpus: some("0-1"), cpuset_mems: some("0"), pids_limit: some("100"),
        ulimit: list(&["nofile=10", "nproc=5:6"])
    })
    .limits;
    assert_eq!(asked.cpu_quota_and_period(), Some((150_000, 100_000)));
    assert_eq!(asked.pids, Some(100));
    assert_eq!(asked.ulimits[&Resource::Nofile].hard, 10);
    assert_eq!(asked.ulimits[&Resource::Core].hard, 0);
    assert_eq!(posture(options! { pids_limit: some("-1") }).limits.pids, None);
    assert_eq!(posture(options! { pids_limit: some("0") }).limits.pids, None);
    assert_eq!(
        posture(options! { cpu_quota: some("5000"), cpu_period: some("10000") }).limits.cpu_quota_and_period(),
        Some((5000, 10_000))
    );
    assert_eq!(
        posture(options! { cpus: some("0"), cpu_shares: some("0"), cpu_period: some("0"), cpu_quota: some("0") }),
        Posture::hardened()
    );

    assert!(message(options! { cpus: some("1"), cpu_quota: some("5000") }).contains("don't go together"));
    assert!(message(options! { pids_limit: some("-2") }).contains("from 1 to"));
    assert!(message(options! { pids_limit: some("+2") }).contains("from 1 to"));
    assert!(message(options! { cpu_period: some("999") }).contains("from 1000"));
    assert!(message(options! { cpu_shares: some("1") }).contains("from 2"));
    assert!(message(options! { cpuset_cpus: some("3-1") }).contains("ends before it begins"));
}

#[test]
fn devices_and_the_rest() {
    let asked = posture(options! {
        device: list(&["/dev/fuse"]), device_cgroup_rule: list(&["c 189:* rw"]), device_read_bps: list(&["/dev/sda:10m"]),
        device_write_iops: list(&["/dev/sda:100"]), blkio_weight: some("300"), shm_size: some("128m"), oom_score_adj: some("-5"),
        group_add: list(&["27", "audio"]), sysctl: list(&["net.core.somaxconn=9"]), cgroup_parent: some("/batch")
    });
    assert_eq!(asked.devices.len(), 1);
    assert_eq!(asked.device_rules.len(), 1);
    assert_eq!(asked.limits.device_read_bps[0].rate, 10 << 20);
    assert_eq!(asked.limits.device_write_iops[0].rate, 100);
    assert_eq!(asked.limits.blkio_weight, Some(300));
    assert_eq!(asked.limits.shm_size, 128 << 20);
    assert_eq!(asked.limits.oom_score_adj, -5);
    assert_eq!(asked.group_add, [crate::Principal::Id(27), crate::Principal::Name("audio".to_owned())]);
    assert_eq!(asked.sysctls.len(), 3);
    assert_eq!(asked.cgroup_parent.as_deref(), Some("/batch"));

    assert!(message(options! { blkio_weight: some("5") }).contains("10 to 1000"));
    assert!(message(options! { device_read_bps: list(&["/dev/sda"]) }).contains("no \":\""));
    assert!(message(options! { device_read_bps: list(&["/etc/passwd:1m"]) }).contains("not under /dev"));
    assert!(message(options! { device_read_iops: list(&["/dev/sda:1m"]) }).contains("no number"));
    assert!(message(options! { shm_size: some("0") }).contains("more than 0"));
    assert!(message(options! { oom_score_adj: some("1001") }).contains("-1000 to 1000"));
}

#[test]
fn a_shared_network_gets_no_settings() {
    let shared = posture(options! { network: some("host") });
    assert_eq!(shared.sysctls.keys().collect::<Vec<_>>(), ["user.max_user_namespaces"]);
    assert!(
        message(options! { network: some("container:a"), sysctl: list(&["net.core.somaxconn=9"]) })
            .contains("not the container's own")
    );
}

#[test]
fn privileged_is_the_hosts_root() {
    let asked = posture(options! { privileged: true });
    assert!(asked.namespaces.user.is_host() && !asked.no_new_privileges && asked.masked_paths.is_empty());
    assert_eq!(asked.seccomp, SeccompChoice::Unconfined);
    // What is said beside it stays.
    let asked =
        posture(options! { privileged: true, userns: some("private"), security_opt: list(&["no-new-privileges"]) });
    assert!(!asked.namespaces.user.is_host() && asked.no_new_privileges);
}

#[test]
fn options_are_read_from_json_by_the_flags_names() {
    let options: Options = serde_json::from_str(r#"{"cap-add": ["NET_RAW"], "read-only": false}"#).unwrap();
    assert_eq!(options, options! { cap_add: list(&["NET_RAW"]), read_only: Some(false) });
    assert!(serde_json::from_str::<Options>(r#"{"cap_add": []}"#).is_err());
}

mod any_text {
    use proptest::prelude::*;

    use super::*;

    /// Text near what the flags take: words and signs of theirs, in any order.
    fn text() -> impl Strategy<Value = String> {
        let words = prop::sample::select(vec![
            "/",
            "/etc",
            "/srv",
            "a",
            "container",
            "host",
            "none",
            "type",
            "bind",
            "tmpfs",
            "source",
            "target",
            "size",
            "nofile",
            "rw",
            "ro",
            "exec",
            "c",
            "b",
            "*",
            "0",
            "1",
            "512",
            "18446744073709551616",
            "m",
            "g",
            ".",
            "..",
            "-",
            "-1",
            ":",
            "=",
            ",",
            "\"",
            " ",
            "%",
            "\0",
            "\n",
            "é",
            "ALL",
            "CAP_",
            "NET_RAW",
            "seccomp",
            "unconfined",
            "no-new-privileges",
            "net",
        ]);
        prop_oneof![prop::collection::vec(words, 0..8).prop_map(|words| words.concat()), ".*"]
    }

    proptest! {
        #[test]
        fn never_panics_and_what_is_taken_holds_its_promises(
            value in text(), other in text(),
        ) {
            let one = || vec![value.clone()];
            let set: Vec<fn(&mut Options, String)> = vec![
                |o, v| o.pid = Some(v), |o, v| o.ipc = Some(v), |o, v| o.network = Some(v), |o, v| o.userns = Some(v),
                |o, v| o.userns_remap = Some(v), |o, v| o.cgroup_parent = Some(v), |o, v| o.memory = Some(v), |o, v| o.memory_swap = Some(v),
                |o, v| o.cpus = Some(v), |o, v| o.cpuset_cpus = Some(v), |o, v| o.pids_limit = Some(v), |o, v| o.shm_size = Some(v),
                |o, v| o.cap_add = vec![v], |o, v| o.security_opt = vec![v], |o, v| o.tmpfs = vec![v], |o, v| o.volume = vec![v],
                |o, v| o.mount = vec![v], |o, v| o.device = vec![v], |o, v| o.device_cgroup_rule = vec![v], |o, v| o.ulimit = vec![v],
                |o, v| o.device_read_bps = vec![v], |o, v| o.sysctl = vec![v], |o, v| o.group_add = vec![v],
            ];
            for set in set {
                let mut options = Options { base_directory: Some("/base".to_owned()), ..Options::default() };
                set(&mut options, value.clone());
                let Ok(posture) = options.into_posture() else { continue };
                for mount in &posture.mounts {
                    prop_assert!(mount.target.starts_with('/') && !mount.target.starts_with("/proc"));
                    prop_assert!(!mount.target.split('/').any(|part| part == ".."));
                    prop_assert!(mount.source().is_none_or(|source| source.starts_with('/') && !source.contains('\0')));
                }
                for device in &posture.devices {
                    prop_assert!(device.container.starts_with("/dev/"));
                }
                for key in posture.sysctls.keys() {
                    prop_assert!(key.starts_with("net.") || key.starts_with("kernel.") || key.starts_with("fs.mqueue.") || key == "user.max_user_namespaces");
                }
                let json = serde_json::to_string(&posture).unwrap();
                prop_assert_eq!(serde_json::from_str::<Posture>(&json).unwrap(), posture);
            }
            drop(user::parse(&value));
            drop(crate::duration::parse("--since", &value));
            drop(crate::Policy::parse(&value));
            drop(crate::Policy::default().with_allowed(&one()));
            drop(Profile::parse(&value));
            prop_assert!(suggest::nearest(&value, [other.as_str()]).is_none_or(|found| found == other));
            let _ = crate::sensitive_path(&value);
        }

        #[test]
        fn a_sensitive_path_stays_sensitive_however_it_is_written(
            parts in prop::collection::vec(prop::sample::select(vec!["", ".", "x/..", "y/z/../.."]), 0..4),
            path in prop::sample::select(vec!["etc", "usr/bin", "proc/1", "lib64", "root", "var/lib/docker", "run/docker.sock", "dev"]),
        ) {
            let written = format!("/{}/{path}", parts.join("/"));
            prop_assert!(crate::sensitive_path(&written).is_some(), "{}", written);
        }

        #[test]
        fn sizes_are_read_as_they_are_meant(number in 0..1_u64 << 20, unit in prop::sample::select(vec![("", 0), ("k", 10), ("MB", 20), ("GiB", 30)])) {
            prop_assert_eq!(crate::bytes::parse("--memory", &format!("{number}{}", unit.0)), Ok(number << unit.1));
        }
    }
}
