//! What the runtime's commands print and take: engines and scripts read it.
#![forbid(unsafe_code)]

use std::fs;

use casemate_tests::bundle::Runtime;
use casemate_tests::eventually;
use serde_json::Value;

#[test]
fn state_and_list_say_what_the_container_is() {
    let runtime = Runtime::new();
    assert_eq!(runtime.run(&["list", "--format", "json"]).ok(), "null");
    let bundle = runtime.bundle().sleeping().edit(|config| config["annotations"] = serde_json::json!({"a": "b"}));
    bundle.create().ok();
    let state = bundle.state();
    assert_eq!(state["ociVersion"], bundle.config["ociVersion"]);
    assert_eq!(state["id"], bundle.id.as_str());
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], bundle.directory().to_str().unwrap());
    assert_eq!(state["rootfs"], bundle.rootfs().to_str().unwrap());
    assert_eq!(state["annotations"], serde_json::json!({"a": "b"}));
    assert!(std::path::Path::new(&format!("/proc/{}", bundle.pid())).exists());
    let rows: Value = serde_json::from_str(&runtime.run(&["list", "--format", "json"]).ok()).unwrap();
    assert_eq!((&rows[0]["id"], &rows[0]["owner"]), (&state["id"], &Value::from("root")));
    let table = runtime.run(&["list"]).ok();
    assert!(table.starts_with("ID ") && table.contains("created"), "{table}");
    bundle.start().ok();
    assert_eq!(bundle.state()["status"], "running");
    runtime.run(&["pause", &bundle.id]).ok();
    assert_eq!(bundle.state()["status"], "paused");
    assert!(bundle.exec_sh("true").stderr.contains("paused"));
    runtime.run(&["resume", &bundle.id]).ok();
    assert_eq!(bundle.exec_sh("echo again").ok(), "again");
    runtime.run(&["kill", &bundle.id, "SIGKILL"]).ok();
    bundle.wait();
    assert_eq!(bundle.state()["pid"], 0);
}

#[test]
fn ps_lists_processes_as_the_host_numbers_them() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sh("sleep 1001 & sleep 1002; true");
    bundle.launch();
    assert!(eventually(10, || runtime.run(&["ps", "--format", "json", &bundle.id]).ok().matches(',').count() == 2));
    let pids: Vec<u32> = serde_json::from_str(&runtime.run(&["ps", "--format", "json", &bundle.id]).ok()).unwrap();
    assert!(pids.contains(&bundle.pid()), "{pids:?}");
    let table = runtime.run(&["ps", &bundle.id, "-o", "pid,args"]).ok();
    assert!(table.contains("sleep 1001") && table.contains("sleep 1002"), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");
}

#[test]
fn pid_files_hold_the_number_and_nothing_else() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sleeping();
    let file = bundle.directory().join("pid");
    bundle.create_with(&["--pid-file", file.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), bundle.pid().to_string());
    bundle.start().ok();
    let file = bundle.directory().join("exec-pid");
    let words = ["exec", "--detach", "--pid-file", file.to_str().unwrap(), &bundle.id, "sleep", "1000"];
    runtime.run_detached(&words, bundle.directory()).ok();
    let pid: u32 = fs::read_to_string(&file).unwrap().parse().unwrap();
    let pids: Vec<u32> = serde_json::from_str(&runtime.run(&["ps", "--format", "json", &bundle.id]).ok()).unwrap();
    assert!(pids.contains(&pid), "{pid} is not in {pids:?}");
}

#[test]
fn exec_takes_what_its_flags_say() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sleeping();
    bundle.launch();
    let flags = ["--user", "33:44", "--additional-gids", "55", "--cwd", "/etc", "--env", "ADDED=yes", "--no-new-privs"];
    let script = "id -u; id -G; pwd; echo $ADDED; grep NoNewPrivs /proc/self/status";
    let output = bundle.exec(&flags, &["/bin/sh", "-c", script]).ok();
    assert_eq!(output, "33\n44 55\n/etc\nyes\nNoNewPrivs:\t1");
    assert_eq!(bundle.exec_sh("exit 9").code, 9);
    assert_eq!(bundle.exec_sh("kill -9 $$").code, 137);
    let missing = bundle.exec(&[], &["/no/such/program"]);
    assert_eq!(missing.code, 255, "{missing:?}");
    assert!(missing.stderr.contains("no such file or directory"), "{missing:?}");
    for user in ["-1", "root", "1:", "4294967295", "4294967296", "0x1", "1:2:3"] {
        let output = bundle.exec(&["--user", user], &["id"]);
        assert_eq!(output.code, 255, "{user}: {output:?}");
    }
    let process = bundle.directory().join("process.json");
    fs::write(
        &process,
        r#"{"cwd":"/","args":["sh","-c","echo from a file; echo $X"],"user":{"uid":0,"gid":0},"env":["X=1"]}"#,
    )
    .unwrap();
    assert_eq!(runtime.run(&["exec", "--process", process.to_str().unwrap(), &bundle.id]).ok(), "from a file\n1");
}

#[test]
fn features_are_those_that_are_taken() {
    let runtime = Runtime::new();
    let features: Value = serde_json::from_str(&runtime.run(&["features"]).ok()).unwrap();
    assert_eq!(features["ociVersionMax"], "1.3.0");
    assert_eq!(features["hooks"].as_array().unwrap().len(), 6);
    let namespaces = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];
    assert_eq!(features["linux"]["namespaces"], serde_json::json!(namespaces));
    // Every option that is offered is one that a mount can have; a word that is none is given to the file system, which refuses it.
    let options = features["mountOptions"].as_array().unwrap().clone();
    assert!(options.len() > 50, "{options:?}");
    for option in options.iter().filter_map(Value::as_str) {
        let asks_for_more =
            ["bind", "rbind", "remount", "idmap", "ridmap", "copy-symlink", "src-nofollow", "dest-nofollow"];
        if asks_for_more.contains(&option) || option.contains("unbindable") {
            continue;
        }
        let bundle = runtime.bundle().sh("true").mount(casemate_tests::bundle::tmpfs("/mnt", &[option]));
        assert_eq!(bundle.run().code, 0, "{option}");
    }
    let bundle = runtime.bundle().sh("true").mount(casemate_tests::bundle::tmpfs("/mnt", &["no-such-option"]));
    assert_ne!(bundle.run().code, 0);
    let actions = features["linux"]["seccomp"]["actions"].to_string();
    assert!(actions.contains("SCMP_ACT_NOTIFY") && actions.contains("SCMP_ACT_KILL_PROCESS"), "{actions}");
}

#[test]
fn spec_writes_a_document_that_runs() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle();
    let directory = bundle.directory().to_str().unwrap();
    runtime.run(&["spec", "--bundle", directory]).ok();
    let again = runtime.run(&["spec", "--bundle", directory]);
    assert!(again.code == 1 && again.stderr.contains("exists. Remove it first"), "{again:?}");
    let path = bundle.directory().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["process"]["terminal"] = false.into();
    config["process"]["args"] =
        serde_json::json!(["sh", "-c", "grep CapEff /proc/self/status; touch /x || echo sealed"]);
    fs::write(&path, config.to_string()).unwrap();
    let output = runtime.run(&["run", "--bundle", directory, &bundle.id]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.line.contains("run"));
    let text = String::from_utf8_lossy(&output.bytes).into_owned();
    assert_eq!(text, "CapEff:\t0000000000000000\nsealed\n", "{output:?}");
}

#[test]
fn what_is_not_supported_says_so() {
    let runtime = Runtime::new();
    for command in ["checkpoint", "restore"] {
        let output = runtime.run(&[command, "x"]);
        assert!(output.code == 1 && output.stderr.contains("not supported"), "{output:?}");
    }
    assert!(runtime.run(&["nonsense"]).stderr.contains("nonsense"));
    assert!(runtime.run(&["create", "--nonsense", "x"]).stderr.contains("--nonsense"));
    assert!(runtime.run(&["--version"]).ok().contains("spec: 1.3.0"));
}

#[test]
fn hardened_takes_away_and_refuses_and_says_both() {
    let runtime = Runtime::new();
    let path = runtime.program().to_owned();
    let bundle =
        runtime.bundle().sh("grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; unshare -U true || echo refused");
    bundle.write();
    let run = |extra: &[&str]| {
        let mut command = std::process::Command::new(&path);
        command.args(["oci", "--hardened", "--root"]).arg(runtime.root()).arg("run").args(extra);
        command.arg("--bundle").arg(bundle.directory()).arg(&bundle.id);
        casemate_tests::command::run(&mut command, None, casemate_tests::command::LIMIT)
    };
    let output = run(&[]);
    assert_eq!(output.code, 0, "{output:?}");
    let text = String::from_utf8_lossy(&output.bytes).into_owned();
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE.
    assert_eq!(text, "CapBnd:\t00000000000004fb\nNoNewPrivs:\t1\nSeccomp:\t2\nrefused\n", "{output:?}");
    assert!(output.stderr.contains("CAP_NET_RAW") || output.stderr.contains("NET_RAW"), "{output:?}");
    let bundle = bundle.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    });
    bundle.write();
    let mut command = std::process::Command::new(&path);
    command.args(["oci", "--hardened", "--root"]).arg(runtime.root()).arg("run");
    command.arg("--bundle").arg(bundle.directory()).arg(&bundle.id);
    let output = casemate_tests::command::run(&mut command, None, casemate_tests::command::LIMIT);
    assert!(output.code == 1 && output.stderr.contains("the host's pid namespace is not shared"), "{output:?}");
    assert_eq!(bundle.left_over(), Vec::<String>::new());
}
