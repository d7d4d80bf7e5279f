//! What `config.json` says of a process: each field is in force, or refused by its name before anything is made.
#![forbid(unsafe_code)]

use casemate_tests::{Bundle, Output, Runtime, command, host, missing, skip};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;

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

#[test]
fn a_real_time_process_gets_the_bandwidth_of_its_control_group() {
    if !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        return skip("no-cgroup-v1: only version 1 has real-time bandwidth of groups");
    }
    let runtime = Runtime::new();
    for users in [false, true] {
        let bundle = runtime.bundle().sleeping().edit(|config| {
            config["linux"]["resources"]["cpu"] = json!({"realtimePeriod": 1_000_000, "realtimeRuntime": 10_000});
            config["process"]["scheduler"] = json!({"policy": "SCHED_RR", "priority": 3});
        });
        let bundle = if users { bundle.user_namespace() } else { bundle };
        bundle.launch();
        // Policy and real-time priority.
        assert_eq!((stat(bundle.pid(), 41), stat(bundle.pid(), 40)), ("2".into(), "3".into()), "user: {users}");
        bundle.delete();
    }
}
