//! Hooks: when each is run, with what, and what becomes of the container when one fails.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use casemate_tests::bundle::{Bundle, Runtime};
use serde_json::{Value, json};

/// A hook of the host's shell that notes its name, and the state that it reads, in a file each.
fn noting(directory: &Path, name: &str) -> Value {
    let (order, state) = (directory.join("order"), directory.join(format!("state-{name}")));
    let script =
        format!("cat > {}; echo {name} >> {}; env > {}-env", state.display(), order.display(), state.display());
    json!([{"path": "/bin/sh", "args": ["named-sh", "-c", script], "env": ["ONLY=this", "PATH=/bin:/usr/bin"], "timeout": 20}])
}

fn order(bundle: &Bundle<'_>) -> Vec<String> {
    let text = fs::read_to_string(bundle.directory().join("order")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn state_read_by(bundle: &Bundle<'_>, name: &str) -> Value {
    let text = fs::read_to_string(bundle.directory().join(format!("state-{name}"))).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name} read {text:?}: {error}"))
}

#[test]
fn each_is_run_at_its_point_with_the_state_of_the_container() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sh("echo program >> /order; sleep 1000");
    let directory = bundle.directory().to_owned();
    let inside = json!([{"path": "/bin/sh", "args": ["sh", "-c", "cat > /state; echo startContainer >> /order"]}]);
    let bundle = bundle.edit(|config| {
        config["annotations"] = json!({"org.example.key": "value"});
        config["hooks"] = json!({"startContainer": inside});
        for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            config["hooks"][name] = noting(&directory, name);
        }
    });
    bundle.create().ok();
    assert_eq!(order(&bundle), ["prestart", "createRuntime", "createContainer"]);
    assert!(!bundle.rootfs().join("order").exists(), "nothing inside runs before the start");
    let state = bundle.state();
    for name in ["prestart", "createRuntime", "createContainer"] {
        let read = state_read_by(&bundle, name);
        for field in ["id", "pid", "bundle", "annotations", "ociVersion"] {
            assert_eq!(read[field], state[field], "{field} for {name}");
        }
    }
    let env = fs::read_to_string(directory.join("state-prestart-env")).unwrap();
    assert!(env.contains("ONLY=this") && !env.contains("CARGO"), "nothing of the runtime's environment: {env}");

    bundle.start().ok();
    assert!(casemate_tests::eventually(10, || bundle.rootfs().join("order").exists()));
    let inside = fs::read_to_string(bundle.rootfs().join("order")).unwrap();
    assert!(inside.starts_with("startContainer\n"), "{inside}");
    assert_eq!(order(&bundle).last().unwrap(), "poststart");
    assert_eq!(state_read_by(&bundle, "poststart")["status"], "running");
    let text = fs::read_to_string(bundle.rootfs().join("state")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["id"], state["id"]);

    bundle.delete();
    assert_eq!(order(&bundle).last().unwrap(), "poststop");
    assert_eq!(state_read_by(&bundle, "poststop")["status"], "stopped");
    assert_eq!(bundle.left_over(), Vec::<String>::new());
}

#[test]
fn create_container_hooks_see_the_containers_mounts_and_the_hosts_tree() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sh("cat /made/by-a-hook");
    let place = bundle.rootfs().join("made");
    fs::create_dir(&place).unwrap();
    let script = format!("echo seen > {}/by-a-hook", place.display());
    let bundle = bundle.mount(casemate_tests::bundle::tmpfs("/made", &["mode=755"])).edit(|config| {
        config["hooks"] = json!({"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
    });
    assert_eq!(bundle.run().ok(), "seen");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "the host does not see it");
}

#[test]
fn one_that_fails_or_hangs_ends_the_creation() {
    let runtime = Runtime::new();
    for (hook, words) in [
        (json!({"path": "/bin/sh", "args": ["sh", "-c", "echo why it failed >&2; exit 3"]}), "why it failed"),
        (json!({"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}), "did not end within 1s"),
        (json!({"path": "/no/such/hook"}), "/no/such/hook"),
    ] {
        for point in ["prestart", "createRuntime", "createContainer"] {
            let bundle = runtime.bundle().sleeping();
            let directory = bundle.directory().to_owned();
            let bundle = bundle.edit(|config| {
                config["hooks"][point] = json!([hook]);
                config["hooks"]["poststart"] = noting(&directory, "poststart");
            });
            let output = bundle.create();
            assert_eq!(output.code, 1, "{point}: {output:?}");
            assert!(output.stderr.contains(&format!("hooks.{point}[0]")), "{point}: {output:?}");
            assert!(output.stderr.contains(words), "{point}: {output:?}");
            assert_eq!(order(&bundle), Vec::<String>::new());
            assert_eq!(bundle.left_over(), Vec::<String>::new(), "{point}");
        }
    }
}

#[test]
fn one_that_fails_after_the_end_is_only_told() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sleeping();
    let directory = bundle.directory().to_owned();
    let mut after = noting(&directory, "second");
    after.as_array_mut().unwrap().insert(0, json!({"path": "/bin/false"}));
    let bundle = bundle.edit(|config| config["hooks"]["poststop"] = after);
    bundle.launch();
    let output = runtime.run(&["delete", "--force", &bundle.id]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stderr.contains("hooks.poststop[0]"), "{output:?}");
    assert_eq!(order(&bundle), ["second"]);
    assert_eq!(bundle.left_over(), Vec::<String>::new());
}
