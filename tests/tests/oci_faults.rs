//! What an OCI runtime must survive: documents that are wrong, commands that are killed at any moment, many containers in a row and
//! at once, and almost no memory. Nothing is left of what was not made, or was removed.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use casemate_tests::bundle::{Bundle, Runtime};
use casemate_tests::{command, eventually, host};
use serde_json::{Value, json};

/// The value at a path, made where it is missing: `linux.resources.memory.limit`, `mounts[0].options`.
fn set(config: &mut Value, path: &str, value: Value) {
    let mut at = config;
    for part in path.split('.') {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => (name, Some(index.trim_end_matches(']').parse::<usize>().unwrap())),
            None => (part, None),
        };
        if at.is_null() {
            *at = json!({});
        }
        at = &mut at[name];
        if let Some(index) = index {
            at = &mut at[index];
        }
    }
    *at = value;
}

/// Wrong documents: what is set where, and what the error must name.
fn wrong() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("ociVersion", json!("invalid"), "ociVersion"),
        ("ociVersion", json!("2.0.0"), "ociVersion"),
        ("root.path", json!("nowhere"), "root.path"),
        ("root", Value::Null, "root"),
        ("process.args", json!([]), "process.args"),
        ("process.args", json!("sh"), "process.args"),
        ("process.cwd", json!("relative"), "process.cwd"),
        ("process.cwd", json!(""), "process.cwd"),
        ("process.env", json!(["A\u{0}B=1"]), "process.env"),
        ("process.user.uid", json!(-1), "process.user.uid"),
        ("process.user.uid", json!(4_294_967_295_u64), "process.user.uid"),
        ("process.user.uid", json!(4_294_967_296_u64), "process.user.uid"),
        ("process.user.umask", json!(0o1777), "process.user.umask"),
        ("process.rlimits", json!([{"type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1}]), "process.rlimits"),
        ("process.rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 1}]), "process.rlimits"),
        ("process.capabilities.bounding", json!("CAP_CHOWN"), "process.capabilities.bounding"),
        ("process.oomScoreAdj", json!(2000), "process.oomScoreAdj"),
        ("process.scheduler", json!({"policy": "SCHED_NONSENSE"}), "process.scheduler"),
        ("process.ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 99}), "process.ioPriority"),
        ("process.selinuxLabel", json!("system_u:system_r:x_t:s0"), "process.selinuxLabel"),
        ("hostname", json!("x".repeat(65)), "hostname"),
        ("hooks.prestart", json!([{"path": "relative"}]), "hooks.prestart[0].path"),
        ("hooks.poststop", json!([{"path": "/bin/true", "timeout": 0}]), "hooks.poststop[0].timeout"),
        ("linux.namespaces", json!([{"type": "nonsense"}]), "linux.namespaces[0]"),
        ("linux.namespaces", json!([{"type": "mount"}, {"type": "mount"}]), "linux.namespaces"),
        ("linux.namespaces[0].path", json!("/proc/self/ns/net"), "linux.namespaces[0].path"),
        ("linux.namespaces[0].path", json!("relative"), "linux.namespaces"),
        ("linux.namespaces[0].path", json!("/nowhere"), "linux.namespaces[0].path"),
        ("linux.uidMappings", json!([{"containerID": 0, "hostID": 0, "size": 1}]), "linux.uidMappings"),
        ("linux.rootfsPropagation", json!("sideways"), "linux.rootfsPropagation"),
        ("linux.maskedPaths", json!(["relative"]), "linux.maskedPaths"),
        ("linux.sysctl", json!({"kernel.core_pattern": "|/x"}), "linux.sysctl"),
        ("linux.sysctl", json!({"net/../kernel/core_pattern": "|/x"}), "linux.sysctl"),
        ("linux.devices", json!([{"path": "relative", "type": "c", "major": 1, "minor": 3}]), "linux.devices[0]"),
        ("linux.devices", json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]), "linux.devices[0]"),
        ("linux.cgroupsPath", json!("/../../escape"), "linux.cgroupsPath"),
        ("linux.resources.memory.limit", json!("1g"), "linux.resources.memory.limit"),
        ("linux.resources.cpu.cpus", json!("nonsense"), "linux.resources.cpu.cpus"),
        ("linux.resources.pids.limit", json!("many"), "linux.resources.pids.limit"),
        ("linux.resources.unified", json!({"../x": "1"}), "linux.resources.unified"),
        ("linux.seccomp", json!({"defaultAction": "SCMP_ACT_NONSENSE"}), "linux.seccomp.defaultAction"),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_ERRNO"}]}),
            "linux.seccomp.syscalls[0].names",
        ),
        ("linux.intelRdt", json!({"closID": "x"}), "linux.intelRdt"),
        ("linux.personality", json!({"domain": "NONSENSE"}), "linux.personality"),
        ("linux.memoryPolicy", json!({"mode": "MPOL_BIND"}), "linux.memoryPolicy"),
        ("linux.timeOffsets", json!({"monotonic": {"secs": 1}}), "linux.timeOffsets"),
        ("linux.netDevices", json!({"no such device": {}}), "linux.netDevices"),
        ("mounts[0].type", json!("nonsense"), "mounts[0]"),
        (
            "mounts",
            json!([{"destination": "/m", "type": "bind", "source": "/nowhere", "options": ["bind"]}]),
            "mounts[0].source",
        ),
    ]
}

#[test]
fn a_wrong_document_is_refused_by_field_and_nothing_is_made() {
    let runtime = Runtime::new();
    for (path, value, field) in wrong() {
        let bundle = runtime.bundle().sh("true").edit(|config| set(config, path, value.clone()));
        bundle.write();
        let log = bundle.directory().join("log.json");
        let words = ["--log", log.to_str().unwrap(), "--log-format", "json", "create", "--bundle"];
        let words: Vec<&str> = words.into_iter().chain([bundle.directory().to_str().unwrap(), &bundle.id]).collect();
        let output = runtime.run_detached(&words, bundle.directory());
        let context = format!("{path} = {value}: {output:?}");
        assert_eq!(output.code, 1, "{context}");
        let text = fs::read_to_string(&log).unwrap();
        let line: Value = serde_json::from_str(text.lines().last().expect(&context)).expect(&context);
        assert_eq!(line["level"], "error", "{context}");
        let message = line["msg"].as_str().unwrap();
        assert!(message.contains(field), "{field} is not in {message:?}: {context}");
        assert_eq!(bundle.left_over(), Vec::<String>::new(), "{context}");
    }
}

#[test]
fn what_is_no_json_is_refused_and_unknown_fields_are_not() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sh("echo fine").edit(|config| {
        set(config, "unknown", json!({"a": 1}));
        set(config, "linux.unknown", json!(true));
        set(config, "annotations", json!({"org.example.unknown": ""}));
    });
    assert_eq!(bundle.run().ok(), "fine");
    for text in ["", "{", "[]", "null", "\u{0}", "{\"ociVersion\":1}"] {
        fs::write(bundle.directory().join("config.json"), text).unwrap();
        let output = runtime.run(&["run", "--bundle", bundle.directory().to_str().unwrap(), &bundle.id]);
        assert_eq!(output.code, 1, "{text:?}: {output:?}");
        assert_eq!(bundle.left_over(), Vec::<String>::new(), "{text:?}");
    }
    fs::remove_file(bundle.directory().join("config.json")).unwrap();
    let output = runtime.run(&["run", "--bundle", bundle.directory().to_str().unwrap(), &bundle.id]);
    assert!(output.stderr.contains("config.json not found"), "{output:?}");
}

/// Runs a command and kills it after a delay; whether it had ended before.
fn killed_after(mut command: Command, delay: Duration) -> bool {
    let start = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    while start.elapsed() < delay {
        std::thread::sleep(Duration::from_micros(50));
    }
    let ended = child.try_wait().unwrap().is_some();
    command::kill_group(&child);
    child.wait().unwrap();
    ended
}

/// Kills a command at moments that are further and further from its beginning, until it ends before them, for six seconds at most;
/// how many moments these were.
fn at_each_moment(mut once: impl FnMut(Duration) -> bool) -> u32 {
    let begin = Instant::now();
    let mut delay = Duration::from_micros(300);
    let mut moments = 0;
    loop {
        let ended = once(delay);
        moments += 1;
        if ended || begin.elapsed() > Duration::from_secs(6) {
            return moments;
        }
        // Closely at first, where the most is made.
        delay += Duration::from_micros(300).max(delay / 12);
    }
}

fn gone(bundle: &Bundle<'_>) {
    bundle.delete();
    let clean = eventually(5, || bundle.left_over().is_empty());
    assert!(clean, "{:?}", bundle.left_over());
}

#[test]
fn delete_removes_what_a_create_killed_at_any_moment_has_left() {
    let runtime = Runtime::new();
    let moments = at_each_moment(|delay| {
        let bundle = runtime.bundle().sleeping();
        bundle.write();
        let words = ["create", "--bundle", bundle.directory().to_str().unwrap(), bundle.id.as_str()];
        let ended = killed_after(runtime.command(&words), delay);
        gone(&bundle);
        ended
    });
    assert!(moments >= 5, "{moments}");
}

#[test]
fn delete_removes_what_a_run_killed_at_any_moment_has_left() {
    let runtime = Runtime::new();
    let moments = at_each_moment(|delay| {
        let bundle = runtime.bundle().sh("true");
        bundle.write();
        let words = ["run", "--bundle", bundle.directory().to_str().unwrap(), bundle.id.as_str()];
        let ended = killed_after(runtime.command(&words), delay);
        gone(&bundle);
        ended
    });
    assert!(moments >= 5, "{moments}");
}

#[test]
fn a_start_or_exec_killed_at_any_moment_leaves_a_container_that_can_be_removed() {
    let runtime = Runtime::new();
    for command in ["start", "exec"] {
        let moments = at_each_moment(|delay| {
            let bundle = runtime.bundle().sleeping();
            bundle.create().ok();
            let mut words = vec![command, bundle.id.as_str()];
            if command == "exec" {
                words.extend(["/bin/true"]);
            }
            let ended = killed_after(runtime.command(&words), delay);
            let status = bundle.state()["status"].as_str().unwrap().to_owned();
            assert!(["created", "running", "stopped"].contains(&status.as_str()), "{status}");
            gone(&bundle);
            ended
        });
        assert!(moments >= 3, "{command}: {moments}");
    }
}

#[test]
fn a_delete_killed_at_any_moment_can_be_repeated() {
    let runtime = Runtime::new();
    let moments = at_each_moment(|delay| {
        let bundle = runtime.bundle().sleeping();
        bundle.launch();
        let ended = killed_after(runtime.command(&["delete", "--force", &bundle.id]), delay);
        gone(&bundle);
        ended
    });
    assert!(moments >= 3, "{moments}");
}

#[test]
fn two_hundred_in_a_row_leave_nothing() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sh("true");
    bundle.write();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    for number in 0..200 {
        let id = format!("{}-{number}", bundle.id);
        let output = runtime.run(&["run", "--bundle", bundle.directory().to_str().unwrap(), &id]);
        assert_eq!(output.code, 0, "{output:?}");
    }
    assert_eq!(runtime.run(&["list", "-q"]).ok(), "");
    assert_eq!(fs::read_dir(runtime.root()).unwrap().count(), 0);
    assert_eq!(host::cgroups_named(&format!("{}-199", bundle.id)), Vec::<std::path::PathBuf>::new());
    let left = host::mounts_with(&bundle.directory().display().to_string());
    assert_eq!(left, Vec::<String>::new(), "of {mounts} mounts before");
}

#[test]
fn fifty_at_once_leave_nothing() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sh("exit 7").edit(|config| {
        // Each in a group of its own.
        config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    });
    bundle.write();
    let ids: Vec<String> = (0..50).map(|number| format!("{}-{number}", bundle.id)).collect();
    let mut running: Vec<_> = ids
        .iter()
        .map(|id| {
            let mut command = runtime.command(&["run", "--bundle", bundle.directory().to_str().unwrap(), id]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in &mut running {
        let status = command::wait(child, Duration::from_secs(60)).expect("a container does not hang");
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(7), "{said}");
    }
    assert_eq!(runtime.run(&["list", "-q"]).ok(), "");
    for id in &ids {
        assert_eq!(host::cgroups_named(id), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn a_limit_of_half_a_mebibyte_is_enough_to_start() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().args(&["/bin/true"]).edit(|config| {
        set(config, "linux.resources.memory", json!({"limit": 512 << 10}));
    });
    bundle.run().ok();
    assert_eq!(bundle.left_over(), Vec::<String>::new());
}

#[test]
fn an_operation_in_the_wrong_status_has_no_effect() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sleeping();
    let id = bundle.id.clone();
    for words in [&["state"][..], &["start"], &["kill"], &["delete"], &["pause"], &["resume"], &["ps"], &["exec"]] {
        let mut words = words.to_vec();
        words.push(&id);
        if words[0] == "exec" {
            words.push("true");
        }
        let output = runtime.run(&words);
        assert_ne!(output.code, 0, "{output:?}");
        assert!(output.stderr.contains("does not exist"), "{output:?}");
    }
    bundle.create().ok();
    let before = bundle.state();
    for words in [&["delete", id.as_str()][..], &["resume", &id]] {
        assert_ne!(runtime.run(words).code, 0, "{words:?}");
        assert_eq!(bundle.state(), before, "{words:?}");
    }
    let again = bundle.create();
    assert!(again.stderr.contains("already exists"), "{again:?}");
    assert_eq!(bundle.state(), before);
    bundle.start().ok();
    let output = bundle.start();
    assert!(output.code != 0 && output.stderr.contains("already running"), "{output:?}");
    assert_ne!(runtime.run(&["delete", &id]).code, 0);
    assert_eq!(bundle.state()["status"], "running");
    runtime.run(&["kill", &id, "KILL"]).ok();
    bundle.wait();
    let stopped = bundle.state();
    for words in [&["start", id.as_str()][..], &["kill", &id], &["exec", &id, "true"], &["pause", &id]] {
        assert_ne!(runtime.run(words).code, 0, "{words:?}");
        assert_eq!(bundle.state(), stopped, "{words:?}");
    }
    runtime.run(&["delete", &id]).ok();
    assert_eq!(bundle.left_over(), Vec::<String>::new());
}

#[test]
fn two_starts_at_once_start_it_once() {
    let runtime = Runtime::new();
    for _ in 0..10 {
        let bundle = runtime.bundle().sh("echo started; sleep 1000");
        bundle.create().ok();
        let mut two: Vec<_> = (0..2)
            .map(|_| {
                let mut command = runtime.command(&["start", &bundle.id]);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        let codes: Vec<_> = two
            .iter_mut()
            .map(|child| command::wait(child, Duration::from_secs(20)).expect("a start does not hang").code())
            .collect();
        assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
        assert!(eventually(10, || bundle.stdout() == "started\n"), "{:?}", bundle.stdout());
        bundle.delete();
    }
}
