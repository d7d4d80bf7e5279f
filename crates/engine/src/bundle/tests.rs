use std::collections::BTreeMap;
use std::time::Duration;

use casemate_posture::{Capability, Mount, Posture};
use serde_json::{Value, json};

use super::*;
use crate::config::LogConfig;
use crate::id::ContainerId;
use crate::record::{Identity, ProcessRecord, RECORD_VERSION};
use crate::time::Timestamp;

const FIRST_ID: u32 = 0x7000_0000;

fn record(posture: Posture) -> Record {
    let id = ContainerId::random().unwrap();
    let host = posture.namespaces.user.is_host();
    Record {
        identity: Identity {
            id,
            name: "test".to_owned(),
            image: "debian".to_owned(),
            image_id: "sha256:00".to_owned(),
            command: vec!["true".to_owned()],
            created: Timestamp::from_unix(0, 0),
            labels: BTreeMap::new(),
            mounts: Vec::new(),
            networks: Vec::new(),
            posture: posture.summary(),
            auto_remove: true,
        },
        version: RECORD_VERSION,
        process: ProcessRecord {
            entrypoint: Vec::new(),
            command: vec!["true".to_owned()],
            env: vec!["PATH=/bin".to_owned()],
            workdir: "/".to_owned(),
            user: "0".to_owned(),
            tty: false,
            terminal_size: None,
            open_stdin: false,
            stdin_once: false,
        },
        user: Identified { uid: 0, gid: 0, groups: vec![0], home: "/root".to_owned() },
        hostname: "box".to_owned(),
        domainname: String::new(),
        extra_hosts: Vec::new(),
        dns: Vec::new(),
        init: false,
        stop_signal: 15,
        stop_timeout: Duration::from_secs(10),
        log: LogConfig::default(),
        asked: posture.clone(),
        posture,
        shortfalls: Vec::new(),
        allow: Vec::new(),
        id_range: (!host).then_some(IdRange { uid: FIRST_ID, gid: FIRST_ID, size: 65_536 }),
        range_claimed: !host,
        joined: None,
        layers: Vec::new(),
        anonymous_volumes: Vec::new(),
        upper: false,
        annotations: BTreeMap::new(),
    }
}

fn spec_of(record: &Record, joined: &Joined, sources: &Sources) -> Value {
    let materials = Materials { record, user: &record.user, joined, sources, kernel: (6, 12) };
    serde_json::to_value(specification(&materials).unwrap()).unwrap()
}

fn plain(record: &Record) -> Value {
    spec_of(record, &Joined::default(), &Sources::default())
}

fn mount_at<'a>(spec: &'a Value, target: &str) -> Option<&'a Value> {
    spec["mounts"].as_array().unwrap().iter().find(|mount| mount["destination"] == target)
}

fn has_option(mount: &Value, option: &str) -> bool {
    mount["options"].as_array().unwrap().iter().any(|found| found == option)
}

fn namespaces_of(spec: &Value) -> Vec<String> {
    let list = spec["linux"]["namespaces"].as_array().unwrap();
    let mut names: Vec<String> = list.iter().map(|namespace| namespace["type"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_hardened_posture_is_in_the_specification() {
    let spec = plain(&record(Posture::hardened()));
    assert_eq!(namespaces_of(&spec), ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]);
    let map = json!([{ "hostID": FIRST_ID, "containerID": 0, "size": 65_536 }]);
    assert_eq!(spec["linux"]["uidMappings"], map);
    assert_eq!(spec["linux"]["gidMappings"], map);
    assert_eq!(spec["root"]["readonly"], true);
    assert_eq!(spec["process"]["noNewPrivileges"], true);
    for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
        assert_eq!(spec["process"]["capabilities"][set], json!([]), "{set}");
    }
    assert_eq!(spec["linux"]["resources"]["memory"]["limit"], 512 << 20);
    assert_eq!(spec["linux"]["resources"]["memory"]["swap"], 512 << 20);
    assert_eq!(spec["linux"]["resources"]["pids"]["limit"], 512);
    assert_eq!(spec["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    let masked = spec["linux"]["maskedPaths"].as_array().unwrap();
    assert!(masked.contains(&json!("/proc/kcore")) && masked.iter().all(|path| !path.as_str().unwrap().contains('*')));
    let limits = spec["process"]["rlimits"].as_array().unwrap();
    assert!(limits.contains(&json!({ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096 })));
    assert!(limits.contains(&json!({ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 })));
    for target in ["/tmp", "/run", "/var/tmp"] {
        let mount = mount_at(&spec, target).unwrap();
        for option in ["nosuid", "nodev", "noexec"] {
            assert!(has_option(mount, option), "{target} {option}");
        }
        assert!(
            mount["options"].as_array().unwrap().iter().any(|o| o.as_str().unwrap().starts_with("size=")),
            "{target}"
        );
    }
    assert!(has_option(mount_at(&spec, "/sys").unwrap(), "ro"));
    assert!(has_option(mount_at(&spec, "/sys/fs/cgroup").unwrap(), "ro"));
}

#[test]
fn nothing_of_the_builders_defaults_leaks_in() {
    let spec = plain(&record(Posture::hardened()));
    let text = spec.to_string();
    for foreign in ["youki", "CAP_AUDIT_WRITE", "TERM=xterm", "/usr/local"] {
        assert!(!text.contains(foreign), "{foreign}");
    }
    assert_eq!(spec["hostname"], "box");
    assert_eq!(spec["process"]["env"], json!(["PATH=/bin", "HOME=/root"]));
    assert!(spec.get("hooks").is_none());
}

#[test]
fn devices_are_denied_before_any_is_allowed() {
    let mut posture = Posture::hardened();
    posture.devices.push(casemate_posture::Device::parse("/dev/null:/dev/other:r").unwrap());
    let spec = plain(&record(posture));
    let rules = spec["linux"]["resources"]["devices"].as_array().unwrap();
    assert_eq!(rules[0]["allow"], false);
    assert_eq!((&rules[0]["type"], &rules[0]["access"]), (&json!("a"), &json!("rwm")));
    assert_eq!((&rules[1]["major"], &rules[1]["minor"], &rules[1]["access"]), (&json!(1), &json!(3), &json!("r")));
    assert_eq!(spec["linux"]["devices"][0]["path"], "/dev/other");
}

#[test]
fn granted_capabilities_work_for_root_and_for_others() {
    let mut posture = Posture::hardened();
    posture.capabilities.insert(Capability::NetBindService);
    let mut record = record(posture);
    let root = plain(&record);
    assert_eq!(root["process"]["capabilities"]["ambient"], json!([]));
    assert_eq!(root["process"]["capabilities"]["inheritable"], json!([]), "CVE-2022-24769");
    assert_eq!(root["process"]["capabilities"]["bounding"].as_array().unwrap().len(), 1);
    record.user = Identified { uid: 33, gid: 33, groups: vec![33], home: "/".to_owned() };
    let other = plain(&record);
    assert_eq!(other["process"]["capabilities"]["ambient"].as_array().unwrap().len(), 1);
    assert_eq!(other["process"]["user"]["additionalGids"], json!([33]));
}

#[test]
fn host_namespaces_are_left_out_and_what_shows_them_is_bound() {
    let mut posture = Posture::hardened();
    posture.namespaces.network = NetworkMode::Host;
    posture.namespaces.pid = NamespaceMode::Host;
    posture.namespaces.ipc = IpcMode::Host;
    posture.namespaces.uts = NamespaceMode::Host;
    let spec = plain(&record(posture));
    assert_eq!(namespaces_of(&spec), ["cgroup", "mount", "user"]);
    let sys = mount_at(&spec, "/sys").unwrap();
    assert_eq!(sys["type"], "bind");
    assert!(has_option(sys, "rro"));
    assert_eq!(mount_at(&spec, "/proc").unwrap()["type"], "bind");
    assert!(mount_at(&spec, "/dev/mqueue").is_none());
    assert_eq!(spec["hostname"], "");
    let sysctls = spec["linux"].get("sysctl").cloned().unwrap_or(json!({}));
    assert!(
        sysctls.as_object().unwrap().keys().all(|key| !key.starts_with("net.")),
        "the host's own settings are not touched"
    );
}

#[test]
fn the_hosts_ids_mean_no_maps_and_no_idmapped_mounts() {
    let mut posture = Posture::hardened();
    posture.namespaces.user = UserMode::Host;
    posture.mounts.push(Mount::volume(Some("db".into()), "/data"));
    let mut sources = Sources::default();
    sources.mounts.push(Source { path: "/v".into(), uid: 0, gid: 0 });
    let spec = spec_of(&record(posture), &Joined::default(), &sources);
    assert!(!namespaces_of(&spec).contains(&"user".to_owned()));
    assert!(spec["linux"].get("uidMappings").is_none());
    assert!(!has_option(mount_at(&spec, "/data").unwrap(), "idmap"));
}

#[test]
fn a_bind_mounts_owner_is_the_containers_user() {
    let mut posture = Posture::hardened();
    posture.mounts.push(Mount::bind("/srv", "/data"));
    posture.mounts.push(Mount::volume(Some("db".into()), "/db"));
    let mut record = record(posture);
    record.user = Identified { uid: 33, gid: 34, groups: vec![34], home: "/".to_owned() };
    let sources = Sources {
        mounts: vec![
            Source { path: "/proc/self/fd/7".into(), uid: 1234, gid: 5678 },
            Source { path: "/proc/self/fd/8".into(), uid: 0, gid: 0 },
        ],
        ..Sources::default()
    };
    let spec = spec_of(&record, &Joined::default(), &sources);
    let bind = mount_at(&spec, "/data").unwrap();
    assert_eq!(bind["source"], "/proc/self/fd/7");
    assert_eq!(bind["uidMappings"], json!([{ "hostID": FIRST_ID + 33, "containerID": 1234, "size": 1 }]));
    assert_eq!(bind["gidMappings"], json!([{ "hostID": FIRST_ID + 34, "containerID": 5678, "size": 1 }]));
    for option in ["ro", "rro", "nosuid", "nodev"] {
        assert!(has_option(bind, option), "{option}");
    }
    let volume = mount_at(&spec, "/db").unwrap();
    for option in ["rw", "nosuid", "nodev", "noexec", "idmap"] {
        assert!(has_option(volume, option), "{option}");
    }
}

#[test]
fn what_the_user_mounts_replaces_the_default_there_and_parents_come_first() {
    let mut posture = Posture::hardened();
    posture.mounts.push(Mount::volume(Some("deep".into()), "/srv/a/b"));
    posture.mounts.push(Mount::volume(Some("tmp".into()), "/tmp"));
    posture.mounts.push(Mount::volume(Some("srv".into()), "/srv"));
    let mut sources = Sources::default();
    for name in ["/1", "/2", "/3"] {
        sources.mounts.push(Source { path: name.into(), uid: 0, gid: 0 });
    }
    let spec = spec_of(&record(posture), &Joined::default(), &sources);
    let order: Vec<&str> =
        spec["mounts"].as_array().unwrap().iter().map(|mount| mount["destination"].as_str().unwrap()).collect();
    assert_eq!(order.iter().filter(|target| **target == "/tmp").count(), 1);
    let at = |target: &str| order.iter().position(|found| *found == target).unwrap();
    assert!(at("/srv") < at("/srv/a/b"));
    assert!(at("/dev") < at("/dev/shm"));
}

#[test]
fn a_joined_user_namespace_has_a_path_and_no_maps() {
    let mut posture = Posture::hardened();
    let other = ContainerId::random().unwrap();
    posture.namespaces.network = NetworkMode::Container(other.to_string());
    let mut record = record(posture);
    record.joined = Some(other);
    let joined =
        Joined { user: Some("/proc/self/fd/3".into()), network: Some("/proc/self/fd/4".into()), ..Joined::default() };
    let spec = spec_of(&record, &joined, &Sources::default());
    let list = spec["linux"]["namespaces"].as_array().unwrap();
    assert!(list.contains(&json!({ "type": "user", "path": "/proc/self/fd/3" })));
    assert!(list.contains(&json!({ "type": "network", "path": "/proc/self/fd/4" })));
    assert!(spec["linux"].get("uidMappings").is_none());
}

#[test]
fn init_comes_before_the_command() {
    let mut record = record(Posture::hardened());
    record.init = true;
    let sources = Sources { init: Some("/layers/x/casemate-probe".into()), ..Sources::default() };
    let spec = spec_of(&record, &Joined::default(), &sources);
    assert_eq!(spec["process"]["args"], json!(["/dev/casemate-init", "--", "true"]));
    assert!(has_option(mount_at(&spec, "/dev/casemate-init").unwrap(), "ro"));
}

#[test]
fn a_further_process_has_the_same_filter_and_group() {
    let record = record(Posture::hardened());
    let process = exec_process(&record, &record.user, vec!["id".into()], vec!["A=1".into()], "/", true).unwrap();
    let spec = serde_json::to_value(specification_for_exec(&record, (6, 12), process).unwrap()).unwrap();
    let first = plain(&record);
    assert_eq!(spec["linux"]["seccomp"], first["linux"]["seccomp"]);
    assert_eq!(spec["linux"]["cgroupsPath"], first["linux"]["cgroupsPath"]);
    assert_eq!(spec["process"]["capabilities"], first["process"]["capabilities"]);
    assert_eq!(spec["process"]["noNewPrivileges"], true);
    assert_eq!(namespaces_of(&spec), namespaces_of(&first));
    assert!(spec["process"]["env"].as_array().unwrap().contains(&json!("TERM=xterm")));
}

#[test]
fn the_cgroup_is_below_the_parent_that_was_asked_for() {
    let mut posture = Posture::hardened();
    posture.cgroup_parent = Some("jobs/".to_owned());
    let record = record(posture);
    assert_eq!(cgroup_path(&record), format!("/jobs/{}", record.identity.id));
}
