//! What `config.json` says of a process and of its namespaces: each field is in force, or refused by its name before anything
//! is made.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use casemate_tests::{Bundle, Output, Runtime, command, host, missing, skip};
use serde_json::{Value, json};

/// Refused with these words, and nothing of the container is left.
#[track_caller]
fn refused(bundle: &Bundle<'_>, words: &[&str]) {
    bundle.create().expect(1).says(words);
    assert_eq!(bundle.left_over(), Vec::<String>::new());
}

/// Fields of `/proc/<pid>/stat`, by their numbers in `proc_pid_stat(5)`.
#[track_caller]
fn stat(pid: u32, field: usize) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    text.rsplit_once(')').unwrap().1.split_whitespace().nth(field - 3).unwrap().to_owned()
}

fn io_priority(pid: u32) -> String {
    command::run(Command::new("ionice").args(["-p", &pid.to_string()]), None, command::LIMIT).ok()
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

#[test]
fn a_scheduler_and_an_io_priority_are_set_in_a_user_namespace_too() {
    let runtime = Runtime::new();
    // A nice value below 0 is a right over the host, which no user namespace has.
    for users in [false, true] {
        let bundle = runtime.bundle().sleeping().edit(|config| {
            config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": -5});
            config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
        });
        let bundle = if users { bundle.user_namespace() } else { bundle };
        bundle.launch();
        assert_eq!((stat(bundle.pid(), 19), stat(bundle.pid(), 41)), ("-5".into(), "3".into()), "user: {users}");
        assert_eq!(io_priority(bundle.pid()), "best-effort: prio 6");
        // The process of exec has its own.
        let process = json!({
            "args": ["/bin/sh", "-c", "cat /proc/self/stat; true"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "scheduler": {"policy": "SCHED_OTHER", "nice": -3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        });
        let file = bundle.directory().join("process.json");
        fs::write(&file, process.to_string()).unwrap();
        let said = bundle.exec(&["--process", file.to_str().unwrap()], &[]).ok();
        // `cat` is a child of the shell: with the flag it starts at 0.
        assert_eq!(said.rsplit_once(')').unwrap().1.split_whitespace().nth(16), Some("0"), "{said}");
        bundle.delete();
    }
}

#[test]
fn a_wrong_scheduler_is_refused() {
    let runtime = Runtime::new();
    for (scheduler, field) in [
        (json!({"policy": "SCHED_FIFO"}), "process.scheduler.priority"),
        (json!({"policy": "SCHED_OTHER", "nice": 20}), "process.scheduler.nice"),
        (json!({"policy": "SCHED_OTHER", "runtime": 1}), "process.scheduler.runtime"),
        (json!({"policy": "SCHED_FAIR"}), "process.scheduler.policy"),
        (json!({"policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_FAST"]}), "process.scheduler.flags[0]"),
    ] {
        refused(&runtime.bundle().edit(|config| config["process"]["scheduler"] = scheduler), &[field]);
    }
    let priority = json!({"class": "IOPRIO_CLASS_BE", "priority": 8});
    refused(
        &runtime.bundle().edit(|config| config["process"]["ioPriority"] = priority),
        &["process.ioPriority.priority"],
    );
}

#[test]
fn a_process_of_exec_begins_and_stays_on_its_processors() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sleeping();
    bundle.launch();
    let before = host::status(std::process::id(), "Cpus_allowed_list");
    let run = |affinity: Value| -> Output {
        let process = json!({
            "args": ["/bin/grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "execCPUAffinity": affinity,
        });
        let file = bundle.directory().join("process.json");
        fs::write(&file, process.to_string()).unwrap();
        let words = ["--debug", "exec", "--process", file.to_str().unwrap(), &bundle.id];
        runtime.run(&words)
    };
    let output = run(json!({"initial": "0", "final": ""}));
    assert!(output.stderr.contains("affinity: 0x1"), "{}", output.stderr);
    assert_eq!(output.ok(), "Cpus_allowed_list:\t0");
    if before != "0" {
        assert_eq!(run(json!({"initial": "0", "final": "1"})).ok(), "Cpus_allowed_list:\t1");
        assert_eq!(run(json!({"final": "1"})).ok(), "Cpus_allowed_list:\t1");
    }
    run(json!({"initial": "8000"})).expect(255).says(&["process.execCPUAffinity.initial"]);
    run(json!({"final": "x"})).expect(255).says(&["process.execCPUAffinity.final"]);
}

#[test]
fn limits_are_set_and_named_when_they_cannot_be() {
    let runtime = Runtime::new();
    let limits = json!([
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NPROC", "soft": 50, "hard": 60}, {"type": "RLIMIT_RTTIME", "soft": 7, "hard": 8},
    ]);
    let bundle = runtime.bundle().sh("cat /proc/self/limits").edit(|config| config["process"]["rlimits"] = limits);
    let shown = bundle.run().ok();
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("Max open files"), "100 200");
    assert_eq!(line("Max core file size"), "0 0");
    assert_eq!(line("Max processes"), "50 60");
    assert_eq!(line("Max realtime timeout"), "7 8");
    let with = |limits: Value| runtime.bundle().edit(|config| config["process"]["rlimits"] = limits);
    let core = json!({"type": "RLIMIT_CORE", "soft": 0, "hard": 0});
    refused(&with(json!([core, {"type": "RLIMIT_TEST", "soft": 0, "hard": 0}])), &["process.rlimits[1].type"]);
    refused(&with(json!([core, core])), &["process.rlimits[1]", "twice"]);
    refused(&with(json!([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}])), &["process.rlimits[0]", "soft 2"]);
    let capabilities = u64::from_str_radix(&host::status(std::process::id(), "CapEff"), 16).unwrap();
    if capabilities >> 24 & 1 == 0 {
        let all = with(json!([core, {"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1_000_000_000}]));
        refused(&all, &["process.rlimits[1]", "CAP_SYS_RESOURCE"]);
    }
}

#[test]
fn a_limit_above_the_runtimes_own_is_raised_by_who_may() {
    let capabilities = u64::from_str_radix(&host::status(std::process::id(), "CapEff"), 16).unwrap();
    if capabilities >> 24 & 1 == 0 {
        return skip("no-cap-sys-resource: this host's root may not raise limits");
    }
    let runtime = Runtime::new();
    for users in [false, true] {
        let bundle = runtime.bundle().sh("ulimit -Hc").edit(|config| {
            config["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 1 << 30}]);
        });
        let bundle = if users { bundle.user_namespace() } else { bundle };
        bundle.write();
        let mut inner = runtime.command(&["run", "--bundle", bundle.directory().to_str().unwrap(), &bundle.id]);
        let mut outer = wrapped(&mut inner, "prlimit", &["--core=0:0"]);
        assert_eq!(command::run(&mut outer, None, command::LIMIT).ok(), ((1 << 30) / 512).to_string());
    }
}

#[test]
fn capabilities_nobody_can_have_are_passed_over_with_a_warning() {
    let runtime = Runtime::new();
    let names = ["CAP_CHOWN", "CAP_TEST"];
    let bundle = runtime.bundle().sh("grep Cap /proc/self/status").capabilities(&names);
    let output = bundle.run();
    assert!(output.stderr.contains("ignoring unknown or unavailable capabilities: [CAP_TEST]"), "{}", output.stderr);
    assert!(output.ok().contains("CapBnd:\t0000000000000001"));
    // What the caller lacks, a container without a user namespace can't have; over its own namespace it can.
    let own = u64::from_str_radix(&host::status(std::process::id(), "CapBnd"), 16).unwrap();
    if own >> 24 & 1 == 0 {
        let bundle = runtime.bundle().sh("grep CapEff /proc/self/status").capabilities(&["CAP_SYS_RESOURCE"]);
        let output = bundle.run();
        assert!(output.stderr.contains("capabilities: [CAP_SYS_RESOURCE]"), "{}", output.stderr);
        assert_eq!(output.ok(), "CapEff:\t0000000000000000");
        let output = bundle.user_namespace().run();
        assert!(!output.stderr.contains("ignoring"), "{}", output.stderr);
        assert_eq!(output.ok(), "CapEff:\t0000000001000000");
    }
}

#[test]
fn capability_sets_are_each_what_they_are_said_to_be() {
    let runtime = Runtime::new();
    let sets = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"], "permitted": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL", "CAP_CHOWN"],
    });
    let bundle = runtime.bundle().sh("grep Cap /proc/self/status").edit(|config| {
        config["process"]["capabilities"] = sets;
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    });
    let output = bundle.run();
    assert!(output.stderr.contains("ambient capabilities"), "{}", output.stderr);
    let kill = "0000000000000020";
    let expected =
        format!("CapInh:\t{kill}\nCapPrm:\t{kill}\nCapEff:\t{kill}\nCapBnd:\t00000000000000a1\nCapAmb:\t{kill}");
    assert_eq!(output.ok(), expected);
    let with = |sets: Value| runtime.bundle().edit(|config| config["process"]["capabilities"] = sets);
    refused(&with(json!({"effective": ["CAP_KILL"]})), &["process.capabilities.effective", "CAP_KILL", "EPERM"]);
    refused(&with(json!({"inheritable": ["CAP_KILL"]})), &["process.capabilities.inheritable", "CAP_KILL", "EPERM"]);
    let none = runtime.bundle().sh("grep CapBnd /proc/self/status").edit(|config| {
        config["process"].as_object_mut().unwrap().remove("capabilities");
    });
    assert_eq!(none.run().ok(), "CapBnd:\t0000000000000000");
}

#[test]
fn a_filter_without_no_new_privileges_leaves_nobody_a_capability() {
    let runtime = Runtime::new();
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["setresuid", "setgroups", "mkdir", "mkdirat", "setrlimit", "prlimit64"], "action": "SCMP_ACT_ERRNO"}],
    });
    for (uid, no_new_privileges) in [(0, false), (1000, false), (1000, true)] {
        // What the filter refuses are things that had to be done before it.
        let bundle = runtime
            .bundle()
            .sh("grep -E 'Cap|Seccomp:|NoNew' /proc/self/status; mkdir /tmp/x 2>/dev/null || echo refused");
        let bundle = bundle.capabilities(&["CAP_CHOWN"]).edit(|config| {
            config["linux"]["seccomp"] = filter.clone();
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["process"]["user"] = json!({"uid": uid, "gid": 5, "additionalGids": [7]});
            config["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
        });
        let effective = if uid == 0 { "0000000000000001" } else { "0000000000000000" };
        let expected = format!(
            "CapInh:\t0000000000000000\nCapPrm:\t{effective}\nCapEff:\t{effective}\nCapBnd:\t0000000000000001\n\
             CapAmb:\t0000000000000000\nNoNewPrivs:\t{}\nSeccomp:\t2\nrefused",
            u8::from(no_new_privileges)
        );
        assert_eq!(bundle.run().ok(), expected, "uid {uid}");
    }
}

#[test]
fn ids_groups_and_umask_are_the_processs() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sh("grep -E '^(Uid|Gid|Groups|Umask)' /proc/self/status").edit(|config| {
        config["process"]["user"] =
            json!({"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 0o77, "username": "of another system"});
    });
    assert_eq!(bundle.run().ok(), "Umask:\t0077\nUid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t9 10 ");
    let with = |user: Value| runtime.bundle().edit(|config| config["process"]["user"] = user);
    refused(&with(json!({"uid": 4_294_967_295_u32, "gid": 0})), &["process.user.uid"]);
    refused(&with(json!({"uid": 0, "gid": 0, "umask": 512})), &["process.user.umask"]);
    let unmapped = with(json!({"uid": 70_000, "gid": 0})).user_namespace();
    refused(&unmapped, &["process.user.uid", "not mapped"]);
}

#[test]
fn the_environment_is_what_is_given_and_a_home() {
    let runtime = Runtime::new();
    let run = |env: Value, uid: u32| {
        let bundle = runtime.bundle().args(&["/bin/env"]).edit(|config| {
            config["process"]["env"] = env;
            config["process"]["user"]["uid"] = json!(uid);
        });
        fs::write(bundle.rootfs().join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/var/www:/bin/sh\n")
            .unwrap();
        bundle.run().ok()
    };
    assert_eq!(run(json!(["A=1", "B=2", "A=3"]), 33), "B=2\nA=3\nHOME=/var/www");
    assert_eq!(run(json!(["HOME=/given"]), 33), "HOME=/given");
    assert_eq!(run(json!(["HOME="]), 0), "HOME=/root");
    assert_eq!(run(json!([]), 1000), "HOME=/");
    refused(&runtime.bundle().edit(|config| config["process"]["env"] = json!(["A=\u{0}"])), &["process.env[0]", "NUL"]);
    // A passwd file that is none keeps nobody waiting.
    let bundle = runtime.bundle().sh("echo $HOME").edit(|config| config["process"]["env"] = json!([]));
    fs::remove_file(bundle.rootfs().join("etc/passwd")).unwrap();
    command::run(Command::new("mkfifo").arg(bundle.rootfs().join("etc/passwd")), None, command::LIMIT).ok();
    assert_eq!(bundle.run().ok(), "/");
}

#[test]
fn a_personality_and_a_memory_policy_are_those_of_all_processes() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sleeping().edit(|config| {
        config["linux"]["personality"] = json!({"domain": "LINUX32"});
        config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
    });
    bundle.launch();
    let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", bundle.pid())).unwrap();
    assert_eq!(read("personality").trim(), "00000008");
    assert!(read("numa_maps").contains(" bind=static:0 "), "{}", read("numa_maps"));
    assert_eq!(bundle.exec_sh("uname -m").ok(), "i686");
    assert!(bundle.exec_sh("cat /proc/self/numa_maps").ok().contains(" bind=static:0 "));
    let with = |name: &str, value: Value| runtime.bundle().edit(|config| config["linux"][name] = value);
    refused(&with("personality", json!({"domain": "LINUX", "flags": ["X"]})), &["linux.personality.flags"]);
    refused(&with("personality", json!({"domain": "BSD"})), &["linux.personality.domain"]);
    refused(&with("memoryPolicy", json!({"mode": "MPOL_BIND"})), &["linux.memoryPolicy.nodes"]);
    refused(&with("memoryPolicy", json!({"mode": "MPOL_LAST"})), &["linux.memoryPolicy.mode"]);
    // A node that is not there can't be known before the kernel is asked.
    refused(&with("memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "900"})), &["linux.memoryPolicy"]);
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

#[test]
fn names_need_a_place_and_versions_are_checked() {
    let runtime = Runtime::new();
    refused(&runtime.bundle().edit(without("uts")), &["hostname", "UTS namespace"]);
    let domain = runtime.bundle().edit(without("uts")).edit(|config| {
        config.as_object_mut().unwrap().remove("hostname");
        config["domainname"] = json!("example.org");
    });
    refused(&domain, &["domainname", "UTS namespace"]);
    let named = runtime.bundle().sh("hostname; cat /proc/sys/kernel/domainname");
    assert_eq!(named.edit(|config| config["domainname"] = json!("example.org")).run().ok(), "bundle\nexample.org");
    for version in ["invalid", "2.0.0", "1.0", ""] {
        refused(&runtime.bundle().edit(|config| config["ociVersion"] = json!(version)), &["ociVersion"]);
    }
    for field in ["root", "linux"] {
        let bundle = runtime.bundle().edit(|config| {
            config.as_object_mut().unwrap().remove(field);
        });
        refused(&bundle, &[field, "missing"]);
    }
    refused(&runtime.bundle().edit(|config| config["process"]["cwd"] = json!("tmp")), &["process.cwd"]);
    refused(&runtime.bundle().edit(|config| config["process"]["args"] = json!([])), &["process.args"]);
    let unknown = runtime.bundle().sh("echo fine").edit(|config| {
        config["something"] = json!({"new": true});
        config["linux"]["newer"] = json!(1);
        config["annotations"] = json!({"org.example.a": ""});
    });
    assert_eq!(unknown.run().ok(), "fine");
}

#[test]
fn the_oom_score_is_set() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sleeping().edit(|config| config["process"]["oomScoreAdj"] = json!(345));
    bundle.launch();
    assert_eq!(fs::read_to_string(format!("/proc/{}/oom_score_adj", bundle.pid())).unwrap().trim(), "345");
    refused(&runtime.bundle().edit(|config| config["process"]["oomScoreAdj"] = json!(1001)), &["process.oomScoreAdj"]);
}

#[test]
fn labels_and_caches_that_this_host_does_not_have_are_refused() {
    let runtime = Runtime::new();
    if !fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|enabled| enabled.starts_with('Y')) {
        let with = |profile: &str| {
            runtime.bundle().sh("echo in").edit(|config| config["process"]["apparmorProfile"] = json!(profile))
        };
        refused(&with("docker-default"), &["process.apparmorProfile", "AppArmor is not enabled"]);
        assert_eq!(with("unconfined").run().ok(), "in");
        assert_eq!(with("").run().ok(), "in");
    }
    if !Path::new("/sys/fs/selinux/enforce").exists() {
        let label = json!("system_u:system_r:container_t:s0:c1,c2");
        refused(
            &runtime.bundle().edit(|config| config["process"]["selinuxLabel"] = label),
            &["process.selinuxLabel", "SELinux"],
        );
    }
    if !fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - resctrl ") {
        let rdt = json!({"closID": "class", "l3CacheSchema": "L3:0=f"});
        refused(&runtime.bundle().edit(|config| config["linux"]["intelRdt"] = rdt), &["linux.intelRdt", "resctrl"]);
    }
}

#[test]
fn a_profile_that_is_loaded_confines() {
    if !fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|enabled| enabled.starts_with('Y')) {
        return skip("no-apparmor: this kernel runs without it");
    }
    if let Some(reason) = missing(&["apparmor_parser"]) {
        return skip(&reason);
    }
    let profile = "profile casemate-test flags=(attach_disconnected) { file, deny /etc/passwd r, }\n";
    let load = |flag: &str| {
        command::run(Command::new("apparmor_parser").arg(flag), Some(profile.as_bytes().to_vec()), command::LIMIT).ok()
    };
    load("-r");
    let runtime = Runtime::new();
    let with = |name: &str| runtime.bundle().edit(|config| config["process"]["apparmorProfile"] = json!(name));
    let bundle = with("casemate-test").sh("cat /proc/self/attr/current; cat /etc/passwd || echo denied");
    let output = bundle.run();
    load("-R");
    assert_eq!(output.ok(), "casemate-test (enforce)\ndenied");
    refused(&with("casemate-no-such-profile"), &["process.apparmorProfile", "no such profile"]);
}

/// A command in another, which is given it as its last words.
fn wrapped(inner: &mut Command, program: &str, words: &[&str]) -> Command {
    let mut outer = Command::new(program);
    outer.args(words).arg(inner.get_program()).args(inner.get_args());
    outer
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
