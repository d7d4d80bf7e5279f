//! What `config.json` says of namespaces, their clocks and their network devices: made, entered, or refused by place before
//! anything is made.
#![forbid(unsafe_code)]

use std::fs;
use std::process::{Child, Command, Stdio};

use casemate_tests::{Bundle, Output, Runtime, command, host, missing, skip};
use serde_json::{Value, json};

/// Refused with these words, and nothing of the container is left.
#[track_caller]
fn refused(bundle: &Bundle<'_>, words: &[&str]) {
    bundle.create().expect(1).says(words);
    assert_eq!(bundle.left_over(), Vec::<String>::new());
}

fn without(kind: &str) -> impl FnOnce(&mut Value) + use<'_> {
    move |config| config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != kind)
}

fn joining(kind: &str, path: String) -> impl FnOnce(&mut Value) + use<'_> {
    move |config| {
        without(kind)(config);
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": kind, "path": path}));
    }
}

/// A command in another, which is given it as its last words.
fn wrapped(inner: &mut Command, program: &str, words: &[&str]) -> Command {
    let mut outer = Command::new(program);
    outer.args(words).arg(inner.get_program()).args(inner.get_args());
    outer
}

#[test]
fn clocks_of_a_time_namespace_are_where_they_are_to_be() {
    let runtime = Runtime::new();
    let offsets = json!({"boottime": {"secs": 1_000_000_000}, "monotonic": {"secs": 5, "nanosecs": 6}});
    for users in [false, true] {
        let bundle = runtime.bundle().sleeping().edit(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
            config["linux"]["timeOffsets"] = offsets.clone();
        });
        let bundle = if users { bundle.user_namespace() } else { bundle };
        bundle.launch();
        let seconds = |text: String| text.split(['.', ' ']).next().unwrap().parse::<u64>().unwrap();
        assert!(seconds(bundle.exec_sh("cat /proc/uptime").ok()) > 1_000_000_000);
        assert!(seconds(fs::read_to_string("/proc/uptime").unwrap()) < 1_000_000_000);
        let set = fs::read_to_string(format!("/proc/{}/timens_offsets", bundle.pid())).unwrap();
        let fields: Vec<&str> = set.split_whitespace().collect();
        assert_eq!(fields, ["monotonic", "5", "6", "boottime", "1000000000", "0"], "user: {users}");
        assert_ne!(host::namespace(bundle.pid(), "time"), host::namespace(std::process::id(), "time"));
        if users {
            assert_ne!(host::namespace(bundle.pid(), "user"), host::namespace(std::process::id(), "user"));
        }
        assert_eq!(bundle.exec_sh("echo $$ > /dev/null; cat /proc/1/comm").ok(), "sleep");
        bundle.delete();
    }
    let refuse = |offsets: Value, time: bool, words: &[&str]| {
        let bundle = runtime.bundle().edit(|config| {
            if time {
                config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
            }
            config["linux"]["timeOffsets"] = offsets;
        });
        refused(&bundle, words);
    };
    refuse(json!({"boottime": {"secs": 1}}), false, &["linux.timeOffsets", "new time namespace"]);
    refuse(json!({"realtime": {"secs": 1}}), true, &["linux.timeOffsets.realtime"]);
    refuse(json!({"boottime": {"secs": -1_000_000_000_i64}}), true, &["linux.timeOffsets"]);
}

#[test]
fn namespaces_of_another_container_are_entered() {
    let runtime = Runtime::new();
    let other = runtime.bundle().sleeping().edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
    });
    other.launch();
    let kinds =
        [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup"), ("time", "time")];
    for (kind, file) in kinds {
        let path = format!("/proc/{}/ns/{file}", other.pid());
        let bundle = runtime.bundle().sleeping().edit(joining(kind, path)).edit(|config| {
            config.as_object_mut().unwrap().remove("hostname");
        });
        bundle.launch();
        for (_, file) in kinds {
            let same = host::namespace(bundle.pid(), file) == host::namespace(other.pid(), file);
            // One of time is new only for the other.
            assert_eq!(same, file == kinds.iter().find(|(name, _)| *name == kind).unwrap().1, "{kind}: {file}");
        }
        assert_eq!(bundle.exec_sh("echo in").ok(), "in", "{kind}");
        bundle.delete();
    }
}

#[test]
fn a_user_namespace_of_another_container_is_entered_with_its_maps_only() {
    let runtime = Runtime::new();
    let other = runtime.bundle().sleeping().user_namespace();
    other.launch();
    let join = |map: Option<Value>| {
        let bundle = runtime.bundle().sleeping().user_namespace();
        let path = format!("/proc/{}/ns/user", other.pid());
        bundle.edit(joining("user", path)).edit(|config| {
            let linux = config["linux"].as_object_mut().unwrap();
            for name in ["uidMappings", "gidMappings"] {
                match &map {
                    Some(map) => linux.insert(name.into(), map.clone()),
                    None => linux.remove(name),
                };
            }
        })
    };
    let own = json!([{"containerID": 0, "hostID": casemate_tests::bundle::FIRST_ID, "size": 65_536}]);
    for map in [None, Some(own)] {
        let bundle = join(map);
        bundle.launch();
        assert_eq!(host::namespace(bundle.pid(), "user"), host::namespace(other.pid(), "user"));
        assert_ne!(host::namespace(bundle.pid(), "net"), host::namespace(other.pid(), "net"));
        bundle.delete();
    }
    let another = json!([{"containerID": 0, "hostID": 1_000_000, "size": 65_536}]);
    refused(&join(Some(another)), &["linux.uidMappings", "linux.namespaces[6].path"]);
    // A network of the other container belongs to its user namespace: it is entered after that, or before, as may be.
    let path = format!("/proc/{}/ns/net", other.pid());
    let bundle = join(None).edit(joining("network", path));
    bundle.launch();
    assert_eq!(host::namespace(bundle.pid(), "net"), host::namespace(other.pid(), "net"));
}

#[test]
fn a_wrong_namespace_is_refused_by_its_place() {
    let runtime = Runtime::new();
    let net = "/proc/self/ns/net".to_owned();
    refused(&runtime.bundle().edit(joining("ipc", net)), &["linux.namespaces[5].path", "not of a ipc namespace"]);
    let fifo = runtime.scratch().join("fifo");
    command::run(Command::new("mkfifo").arg(&fifo), None, command::LIMIT).ok();
    for path in ["/etc/passwd", fifo.to_str().unwrap(), "/no/such/file", "/dev/null"] {
        refused(&runtime.bundle().edit(joining("network", path.to_owned())), &["linux.namespaces[5].path", path]);
    }
    refused(
        &runtime.bundle().edit(joining("pid", "proc/1/ns/pid".into())),
        &["linux.namespaces[5].path", "not absolute"],
    );
    let twice = runtime.bundle().edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "pid"}));
    });
    refused(&twice, &["linux.namespaces[6].type", "pid is named twice"]);
    let unknown = runtime.bundle().edit(|config| config["linux"]["namespaces"][1]["type"] = json!("thread"));
    refused(&unknown, &["linux.namespaces[1].type", "thread"]);
    let maps = json!([{"containerID": 0, "hostID": 1000, "size": 10}, {"containerID": 9, "hostID": 5000, "size": 1}]);
    refused(
        &runtime.bundle().user_namespace().edit(|config| config["linux"]["gidMappings"] = maps),
        &["linux.gidMappings[1]", "overlaps"],
    );
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    refused(&runtime.bundle().edit(|config| config["linux"]["uidMappings"] = map), &["linux.uidMappings"]);
}

#[test]
fn what_is_not_named_is_the_runtimes_own() {
    let runtime = Runtime::new();
    for (kind, file) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("cgroup", "cgroup")] {
        let bundle = runtime.bundle().sleeping().edit(without(kind)).edit(|config| {
            config.as_object_mut().unwrap().remove("hostname");
        });
        bundle.launch();
        assert_eq!(host::namespace(bundle.pid(), file), host::namespace(std::process::id(), file), "{kind}");
        bundle.delete();
    }
}

/// Runs the bundle from a network of its own, in which `setup` made devices; what `inside` of the container says.
#[track_caller]
fn run_with_devices(runtime: &Runtime, bundle: &Bundle<'_>, setup: &str) -> Output {
    bundle.write();
    let mut inner = runtime.command(&["run", "--bundle", bundle.directory().to_str().unwrap(), &bundle.id]);
    let script = format!("set -e; {setup}; exec \"$@\"");
    let mut outer = wrapped(&mut inner, "unshare", &["--net", "sh", "-c", &script, "sh"]);
    command::run(&mut outer, None, command::LIMIT)
}

#[test]
fn network_devices_are_handed_over_with_their_addresses() {
    if let Some(reason) = missing(&["ip", "unshare"]) {
        return skip(&reason);
    }
    let runtime = Runtime::new();
    let setup = "ip link add cm0 type veth peer name cm1; ip link add cm2 type veth peer name cm3; \
        ip addr add 10.9.0.1/24 brd 10.9.0.255 dev cm0; ip addr add 10.9.0.2/24 dev cm0; \
        ip addr add fd00:9::1/64 dev cm0 nodad; ip addr add 10.8.0.1/24 scope link dev cm0; \
        ip addr add 10.9.1.1/24 valid_lft 900 preferred_lft 900 dev cm0; ip link set cm0 up; ip link set cm1 up";
    for users in [false, true] {
        let bundle = runtime.bundle().sh("ip -o addr; ip -o link").edit(|config| {
            config["linux"]["netDevices"] = json!({"cm0": {"name": "eth0"}, "cm2": {"name": "ctr%d"}, "cm3": {}});
            config["linux"]["sysctl"] = json!({"net.ipv4.conf.eth0.log_martians": "1"});
        });
        let bundle = if users { bundle.user_namespace() } else { bundle };
        let said = run_with_devices(&runtime, &bundle, setup).ok();
        let words: Vec<&str> = said.split_whitespace().collect();
        let line = words.join(" ");
        for address in ["eth0 inet 10.9.0.1/24 brd 10.9.0.255", "eth0 inet 10.9.0.2/24", "eth0 inet6 fd00:9::1/64"] {
            assert!(line.contains(address), "user: {users}: {address}: {line}");
        }
        // Not global, or not for good: no addresses for another network.
        assert!(!line.contains("10.8.0.1") && !line.contains("10.9.1.1"), "{line}");
        for device in ["eth0", "ctr0", "cm3"] {
            assert!(said.lines().any(|l| l.contains(&format!(": {device}")) && l.contains("UP")), "{device}: {said}");
        }
        assert!(!line.contains(" cm0") && !line.contains(" cm1"), "{line}");
    }
}

#[test]
fn wrong_network_devices_are_refused() {
    if let Some(reason) = missing(&["ip", "unshare"]) {
        return skip(&reason);
    }
    let runtime = Runtime::new();
    let with = |devices: Value| runtime.bundle().edit(|config| config["linux"]["netDevices"] = devices);
    refused(&with(json!({"no-such-dev": {}})), &["linux.netDevices[no-such-dev]"]);
    refused(&with(json!({"lo": {"name": "a/b"}})), &["linux.netDevices[lo].name"]);
    refused(
        &with(json!({"lo": {"name": "eth0"}})).edit(without("network")),
        &["linux.netDevices", "network namespace"],
    );
    // What can't be known before the kernel is asked: the loopback device stays where it is, and has its name inside.
    let setup = "ip link add cm0 type veth peer name cm1";
    for (devices, words) in [
        (json!({"lo": {"name": "lo1"}}), ["linux.netDevices[lo]", "RTM_NEWLINK"]),
        (json!({"cm0": {"name": "lo"}}), ["linux.netDevices[cm0].name", "has a device"]),
    ] {
        let bundle = with(devices);
        run_with_devices(&runtime, &bundle, setup).expect(1).says(&words);
        assert_eq!(bundle.left_over(), Vec::<String>::new());
    }
}

/// A process that is ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_namespace_that_was_kept_by_a_mount_is_entered() {
    let runtime = Runtime::new();
    let kept = runtime.scratch().join("uts");
    fs::write(&kept, "").unwrap();
    let mut holder = Command::new("unshare");
    let script = format!("hostname kept; mount --bind /proc/self/ns/uts {0}; exec sleep 1000", kept.display());
    // The mount must be seen here: only the UTS namespace is new.
    holder.args(["--uts", "sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let holder = Ended(holder.spawn().unwrap());
    assert!(casemate_tests::eventually(10, || host::mounts_with(kept.to_str().unwrap()).len() == 1));
    drop(holder);
    let bundle =
        runtime.bundle().sh("hostname").edit(joining("uts", kept.to_str().unwrap().to_owned())).edit(|config| {
            config.as_object_mut().unwrap().remove("hostname");
        });
    let output = bundle.run();
    command::run(Command::new("umount").arg(&kept), None, command::LIMIT).ok();
    assert_eq!(output.ok(), "kept");
}
