//! The life of OCI bundles: when a container is started, and what is left when its hooks fail (`runtime.md`, "Lifecycle").
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use casemate_tests::bundle::{Bundle, Runtime};
use serde_json::{Value, json};

/// A hook that adds a line to a file of the bundle, then ends so.
fn hook(log: &Path, line: &str, code: u8) -> Value {
    let script = format!("echo {line} >> {}; exit {code}", log.display());
    json!({"path": "/bin/sh", "args": ["sh", "-c", script]})
}

/// A bundle with hooks, and the file they write to.
fn with_hooks(runtime: &Runtime, hooks: impl FnOnce(&Path) -> Value) -> (Bundle<'_>, PathBuf) {
    let bundle = runtime.bundle();
    let log = bundle.directory().join("log");
    let hooks = hooks(&log);
    (bundle.edit(|config| config["hooks"] = hooks), log)
}

#[test]
fn a_container_is_running_as_soon_as_start_returns() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sleeping();
    for _ in 0..20 {
        bundle.create().expect(0);
        assert_eq!(bundle.state()["status"], "created");
        bundle.start().expect(0);
        assert_eq!(bundle.state()["status"], "running");
        bundle.delete();
    }
}

#[test]
fn a_program_that_cannot_be_executed_leaves_a_stopped_container() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().args(&["/script"]);
    let script = bundle.rootfs().join("script");
    fs::write(&script, "#!/nowhere\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bundle.create().expect(0);
    let output = bundle.start();
    assert_ne!(output.code, 0, "{output:?}");
    assert_eq!(bundle.state()["status"], "stopped");
    runtime.run(&["delete", &bundle.id]).expect(0);
    assert_eq!(bundle.left_over(), Vec::<String>::new());
}

#[test]
fn a_hook_that_fails_at_the_start_ends_the_container() {
    let runtime = Runtime::new();
    for kind in ["startContainer", "poststart"] {
        let (bundle, log) = with_hooks(&runtime, |log| {
            let failing = match kind {
                "startContainer" => json!({"path": "/bin/false"}),
                _ => hook(log, "failed", 3),
            };
            json!({kind: [failing, hook(log, "never", 0)], "poststop": [hook(log, "stopped", 0)]})
        });
        let bundle = bundle.sleeping();
        bundle.create().expect(0);
        let output = bundle.start();
        assert_ne!(output.code, 0, "{output:?}");
        assert!(output.stderr.contains(&format!("hooks.{kind}[0]")), "{output:?}");
        let output = runtime.run(&["state", &bundle.id]);
        assert!(output.code != 0 && output.stderr.contains("does not exist"), "{output:?}");
        let lines = fs::read_to_string(&log).unwrap();
        assert_eq!(lines, if kind == "poststart" { "failed\nstopped\n" } else { "stopped\n" });
        assert_eq!(bundle.left_over(), Vec::<String>::new());
    }
}

#[test]
fn a_hook_that_fails_while_a_container_is_made_ends_it() {
    let runtime = Runtime::new();
    for kind in ["prestart", "createRuntime", "createContainer"] {
        for command in ["create", "run"] {
            let (bundle, log) = with_hooks(&runtime, |log| {
                let hooks = [hook(log, "first", 0), hook(log, "failed", 1), hook(log, "never", 0)];
                json!({kind: hooks, "poststop": [hook(log, "bad", 1), hook(log, "stopped", 0)]})
            });
            let output = if command == "create" { bundle.create() } else { bundle.run() };
            assert_ne!(output.code, 0, "{output:?}");
            assert!(output.stderr.contains(&format!("hooks.{kind}[1]")), "{output:?}");
            assert_eq!(fs::read_to_string(&log).unwrap(), "first\nfailed\nbad\nstopped\n", "{kind} of {command}");
            assert_eq!(bundle.left_over(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_process_is_put_into_groups_below_the_containers() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sleeping();
    bundle.launch();
    let own = fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid())).unwrap();
    let place = own.lines().find(|line| line.contains(":pids:") || line.starts_with("0::/")).unwrap();
    let (controller, path) = place.split_once(':').unwrap().1.split_once(':').unwrap();
    let directory = PathBuf::from(format!("/sys/fs/cgroup/{controller}{path}/below"));
    fs::create_dir(&directory).unwrap();
    let asked = if controller.is_empty() { "below".to_owned() } else { "pids:below".to_owned() };
    let flag = format!("--cgroup={asked}");
    let pid_file = bundle.directory().join("pid");
    let flags = [flag.as_str(), "--detach", "--pid-file", pid_file.to_str().unwrap()];
    let exec: Vec<&str> = ["exec"].iter().chain(&flags).chain(&[bundle.id.as_str(), "sleep", "60"]).copied().collect();
    runtime.run_detached(&exec, bundle.directory()).expect(0);
    let pid = fs::read_to_string(&pid_file).unwrap();
    assert_eq!(fs::read_to_string(directory.join("cgroup.procs")).unwrap().trim(), pid);
    // In every other hierarchy it is where the container's limits are.
    let there = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let moved = place.to_owned() + "/below";
    assert_eq!(there.replace(&moved, place), own);
    bundle.exec(&["--cgroup=/"], &["true"]).expect(0);
    for (wrong, word) in
        [("..", "bad sub cgroup path"), ("nonesuch", "No such file"), ("whaaat:/", "unknown controller")]
    {
        let output = bundle.exec(&[&format!("--cgroup={wrong}")], &["true"]);
        assert!(output.code == 255 && output.stderr.contains(word), "{output:?}");
    }
    bundle.delete();
    assert_eq!(bundle.left_over(), Vec::<String>::new());
}

#[test]
fn no_descriptor_is_inherited_that_was_not_there() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().args(&["ls", "/proc/self/fd"]);
    // Of the listing itself, and of whoever runs this test.
    let listing = Command::new("ls").arg("/proc/self/fd").stdin(Stdio::null()).output().unwrap();
    let listing = String::from_utf8(listing.stdout).unwrap();
    let in_range: Vec<&str> = listing.lines().filter(|number| number.parse::<u32>().unwrap() < 103).collect();
    for (count, there) in [("0", "0\n1\n2\n3"), ("100", &in_range.join("\n"))] {
        assert_eq!(bundle.run_with(&["--preserve-fds", count]).ok(), there);
    }
    let refused = bundle.run_with(&["--preserve-fds", "4000000000"]);
    assert!(refused.code != 0 && refused.stderr.contains("--preserve-fds: "), "{refused:?}");
}
