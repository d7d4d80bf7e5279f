//! What happens to a container between its making and its removal.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use casemate_tests::{Engine, command, eventually, host};

#[test]
fn create_start_stop_start_remove() {
    let engine = Engine::new();
    let id = engine
        .run(&["create", "--name", "job", "--read-only=false", "busybox", "sh", "-c", "echo run >> /log; cat /log"])
        .ok();
    assert_eq!(id.len(), 64);
    assert_eq!(engine.field("job", "{{.State.Status}}"), "created");
    assert_eq!(engine.run(&["ps", "-q"]).ok(), "");
    assert_eq!(engine.run(&["start", "job"]).ok(), "job");
    assert_eq!(engine.run(&["wait", "job"]).ok(), "0");
    assert_eq!(engine.field("job", "{{.State.Status}} {{.State.ExitCode}}"), "exited 0");
    // What it wrote to its own root is there again.
    assert_eq!(engine.run(&["start", "-a", "job"]).ok(), "run\nrun");
    assert_eq!(engine.run(&["logs", "job"]).ok(), "run\nrun\nrun");
    assert_eq!(engine.run(&["rm", &id[..8]]).ok(), id[..8]);
    engine.run(&["rm", "job"]).expect(1).says(&["job"]);
    engine.assert_nothing_left();
}

#[test]
fn stop_asks_then_kills() {
    let engine = Engine::new();
    let polite = ["sh", "-c", "trap 'echo asked; exit 5' TERM; while :; do sleep 0.05; done"];
    engine.background("polite", &[], &polite);
    std::thread::sleep(Duration::from_millis(200));
    let begin = Instant::now();
    assert_eq!(engine.run(&["stop", "polite"]).ok(), "polite");
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(engine.field("polite", "{{.State.ExitCode}}"), "5");
    engine.background("deaf", &["--stop-timeout", "1"], &["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"]);
    std::thread::sleep(Duration::from_millis(200));
    let begin = Instant::now();
    engine.run(&["stop", "deaf"]).ok();
    assert!(
        begin.elapsed() >= Duration::from_secs(1) && begin.elapsed() < Duration::from_secs(6),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(engine.field("deaf", "{{.State.ExitCode}}"), "137");
    // One that has ended stays as it is.
    engine.run(&["stop", "deaf"]).ok();
    engine.run(&["stop", "nobody"]).expect(1).says(&["nobody"]);
    let sleeper = engine.sleeper("now", &[]);
    engine.run(&["stop", "-t", "0", &sleeper.id]).ok();
    assert_eq!(engine.field("now", "{{.State.ExitCode}} {{.State.Pid}} {{.State.Running}}"), "137 0 false");
}

#[test]
fn kill_sends_what_is_asked_for() {
    let engine = Engine::new();
    let running = engine.background(
        "kk",
        &[],
        &["sh", "-c", "trap 'echo hup' HUP; trap 'exit 9' USR1; while :; do sleep 0.05; done"],
    );
    std::thread::sleep(Duration::from_millis(200));
    engine.run(&["kill", "-s", "HUP", "kk"]).ok();
    assert!(eventually(5, || engine.run(&["logs", "kk"]).ok() == "hup"));
    engine.run(&["kill", "--signal", "SIGUSR1", "kk"]).ok();
    assert_eq!(engine.run(&["wait", &running.id]).ok(), "9");
    engine.run(&["kill", "kk"]).expect(1).says(&["not run"]);
    engine.run(&["start", "kk"]).ok();
    engine.run(&["kill", "-s", "NOSUCH", "kk"]).expect(1).says(&["NOSUCH"]);
    engine.run(&["kill", "kk"]).ok();
    assert_eq!(engine.run(&["wait", "kk"]).ok(), "137");
}

#[test]
fn a_running_container_is_removed_by_force_only() {
    let engine = Engine::new();
    let running = engine.sleeper("busy", &[]);
    let pid = running.pid();
    engine.run(&["rm", "busy"]).expect(1).says(&["it runs"]);
    engine.run(&["rm", "-f", "busy"]).ok();
    assert!(eventually(5, || !fs::exists(format!("/proc/{pid}")).unwrap()));
    engine.assert_nothing_left();
    assert!(host::cgroups_named(&running.id).is_empty());
}

#[test]
fn wait_gives_the_code_of_each() {
    let engine = Engine::new();
    engine.background("three", &[], &["sh", "-c", "sleep 0.3; exit 3"]);
    engine.background("four", &[], &["sh", "-c", "exit 4"]);
    assert_eq!(engine.run(&["wait", "three", "four"]).ok(), "3\n4");
}

#[test]
fn ps_shows_what_dockers_does() {
    let engine = Engine::new();
    let up = engine.sleeper("up", &["-l", "tier=front"]);
    engine.background("down", &["-l", "tier=back"], &["sh", "-c", "exit 2"]);
    engine.run(&["wait", "down"]).ok();
    engine.run(&["create", "--name", "new", "busybox", "true"]).ok();
    let table = engine.run(&["ps", "-a"]).ok();
    let heading: Vec<&str> =
        table.lines().next().unwrap().split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
    assert_eq!(heading, ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]);
    assert_eq!(table.lines().count(), 4);
    assert!(table.lines().nth(1).unwrap().ends_with("new"), "the newest is first:\n{table}");
    let line = |name: &str| table.lines().find(|line| line.ends_with(name)).unwrap().to_owned();
    assert!(
        line("up").contains("\"sleep 1000\"") && line("up").contains("Up ") && line("up").starts_with(&up.id[..12])
    );
    assert!(line("down").contains("Exited (2) "), "{table}");
    assert!(line("new").contains("Created"));
    let names = |words: &[&str]| {
        let all: Vec<&str> = ["ps", "--format", "{{.Names}}"].iter().chain(words).copied().collect();
        engine.run(&all).ok().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["up"]);
    assert_eq!(names(&["-a", "--filter", "status=exited"]), ["down"]);
    assert_eq!(names(&["-a", "--filter", "exited=2"]), ["down"]);
    assert_eq!(names(&["-a", "--filter", "label=tier"]), ["down", "up"]);
    assert_eq!(names(&["-a", "--filter", "label=tier=front"]), ["up"]);
    assert_eq!(names(&["-a", "--filter", "name=n"]), ["new", "down"]);
    assert_eq!(names(&["-a", "--filter", "ancestor=busybox", "--filter", "status=created"]), ["new"]);
    assert_eq!(names(&["-l"]), ["new"]);
    assert_eq!(names(&["-n", "2"]), ["new", "down"]);
    assert_eq!(names(&["-a", "--filter", "since=up"]), ["new", "down"]);
    assert_eq!(names(&["-a", "--filter", "before=down"]), ["up"]);
    assert_eq!(engine.run(&["ps", "-q", "--no-trunc"]).ok(), up.id);
    assert_eq!(
        engine.run(&["container", "ls", "--format", "{{.ID}} {{.State}} {{.Posture}} {{.Label \"tier\"}}"]).ok(),
        format!("{} running hardened front", &up.id[..12])
    );
    let json: serde_json::Value =
        serde_json::from_str(engine.run(&["ps", "--format", "json"]).ok().lines().next().unwrap()).unwrap();
    assert_eq!((json["Names"].as_str(), json["Image"].as_str()), (Some("up"), Some("busybox")));
    let table = engine.run(&["ps", "-a", "--format", "table {{.Names}}\t{{.Status}}"]).ok();
    assert!(table.starts_with("NAMES"), "{table}");
    engine.run(&["ps", "--filter", "nmae=x"]).expect(125).says(&["name"]);
    engine.run(&["ps", "--format", "{{.Nmaes}}"]).expect(1).says(&["Nmaes"]);
}

#[test]
fn logs_are_kept_cut_and_followed() {
    let engine = Engine::new();
    let script = "for i in 1 2 3; do echo out $i; echo err $i >&2; done; sleep 1.5; echo late; sleep 0.5; echo last";
    engine.background("talks", &[], &["sh", "-c", script]);
    assert!(eventually(5, || engine.run(&["logs", "talks"]).ok().contains("out 3")));
    let both = engine.run(&["logs", "talks"]).expect(0);
    assert_eq!((both.stdout().as_str(), both.stderr.as_str()), ("out 1\nout 2\nout 3", "err 1\nerr 2\nerr 3\n"));
    let stamped = engine.run(&["logs", "-t", "--tail", "2", "talks"]).expect(0);
    let lines: Vec<String> = stamped.stdout().lines().chain(stamped.stderr.lines()).map(str::to_owned).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.as_bytes()[10] == b'T' && line.contains("Z ")), "{lines:?}");
    let followed = engine.run(&["logs", "-f", "talks"]).expect(0);
    assert!(followed.stdout().ends_with("late\nlast"), "{}", followed.stdout());
    let recent = engine.run(&["logs", "--since", "1s", "talks"]).ok();
    assert!(recent.ends_with("last") && !recent.contains("out 1"), "{recent}");
    assert_eq!(
        engine
            .run(&["logs", "--since", "1h", "--until", "2030-01-01T00:00:00Z", "--tail", "all", "talks"])
            .ok()
            .lines()
            .count(),
        5
    );
    assert_eq!(engine.run(&["logs", "--tail", "0", "talks"]).ok(), "");
    engine.run(&["logs", "--tail", "x", "talks"]).expect(125);
    // Bytes that are no text come back; half a line too.
    engine.background("odd", &[], &["printf", "a\\000b\\033[1mc"]);
    engine.run(&["wait", "odd"]).ok();
    assert_eq!(engine.run(&["logs", "odd"]).expect(0).bytes, b"a\0b\x1b[1mc");
}

#[test]
fn logs_are_rotated() {
    let engine = Engine::new();
    let flags = ["--log-opt", "max-size=100k", "--log-opt", "max-file=2"];
    let running = engine.background(
        "chatty",
        &flags,
        &["sh", "-c", "i=0; while [ $i -lt 9000 ]; do echo line number $i; i=$((i+1)); done"],
    );
    engine.run(&["wait", "chatty"]).ok();
    let directory = engine.data().join("containers").join(&running.id);
    let mut sizes = Vec::new();
    let mut pending = vec![directory];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            if entry.path().is_dir() {
                pending.push(entry.path());
            } else if entry.path().display().to_string().contains("log") {
                sizes.push(entry.metadata().unwrap().len());
            }
        }
    }
    assert_eq!(sizes.len(), 2, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 110_000), "{sizes:?}");
    let said = engine.run(&["logs", "chatty"]).ok();
    assert!(said.ends_with("line number 8999"));
    let first: usize = said.lines().next().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(first > 0 && said.lines().count() == 9000 - first, "no line is missing in what is kept");
    assert_eq!(engine.field("chatty", "{{.HostConfig.LogConfig.Type}}"), "json-file");
}

#[test]
fn exec_runs_beside_the_first_process_with_the_same_walls() {
    let engine = Engine::new();
    let running = engine.sleeper("main", &["-e", "A=main", "-w", "/srv", "-u", "app"]);
    assert_eq!(engine.run(&["exec", "main", "sh", "-c", "id -u; pwd; echo $A"]).ok(), "1000\n/srv\nmain");
    let words =
        ["exec", "-u", "33:50", "-w", "/data", "-e", "A=exec", "main", "sh", "-c", "id -u; id -g; pwd; echo $A"];
    assert_eq!(engine.run(&words).ok(), "33\n50\n/data\nexec");
    engine.run(&["exec", "main", "sh", "-c", "exit 7"]).expect(7);
    engine.run(&["exec", "main", "/nonexistent"]).expect(127);
    engine.run(&["exec", "main", "/etc/passwd"]).expect(126);
    engine.run(&["exec", "main", "sh", "-c", "kill -9 $$"]).expect(137);
    engine.run(&["exec", "-u", "4294967295", "main", "true"]).expect(125);
    let bytes = vec![7_u8; 5 << 20];
    assert_eq!(engine.run_with_input(&["exec", "-i", "main", "wc", "-c"], bytes).ok(), (5 << 20).to_string());
    assert_eq!(engine.run(&["exec", "-u", "0", "-d", "main", "sh", "-c", "echo done > /tmp/mark; sleep 30"]).ok(), "");
    assert!(eventually(5, || engine.run(&["exec", "main", "cat", "/tmp/mark"]).code == 0));
    // What it is, from outside.
    let processes = engine.run(&["exec", "main", "ps", "-o", "pid,comm"]).ok();
    assert!(processes.contains("1 sleep"), "{processes}");
    let inside = engine
        .run(&[
            "exec",
            "-u",
            "0",
            "main",
            "sh",
            "-c",
            "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; cat /proc/self/cgroup; prober fds",
        ])
        .ok();
    let pid = running.pid();
    for field in ["CapBnd:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(inside.contains(field), "{field} in {inside}");
    }
    assert!(inside.trim_end().ends_with("\n0 1 2"), "only the standard descriptors: {inside}");
    let groups = fs::read_to_string(host::cgroup(pid, "pids").join("cgroup.procs")).unwrap();
    assert!(groups.lines().count() >= 2, "the process that runs on is in the container's control group: {groups}");
    engine.run(&["rm", "-f", "main"]).ok();
    engine.run(&["exec", "main", "true"]).expect(125);
    engine.assert_nothing_left();
}

#[test]
fn exec_in_what_does_not_run_is_refused() {
    let engine = Engine::new();
    engine.run(&["create", "--name", "still", "busybox"]).ok();
    engine.run(&["exec", "still", "true"]).expect(125).says(&["does not run"]);
}

#[test]
fn attach_shows_input_and_output() {
    let engine = Engine::new();
    // As with Docker, the end of what is attached is not the end of the input of what was started without anybody.
    let running = engine.background("cat", &["-i"], &["cat"]);
    let mut attached = engine.command(&["attach", "cat"]);
    let mut attached = attached.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    attached.stdin.take().unwrap().write_all(b"through\n").unwrap();
    let mut line = [0_u8; 8];
    attached.stdout.take().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"through\n");
    attached.kill().unwrap();
    attached.wait().unwrap();
    assert_eq!(engine.field("cat", "{{.State.Status}}"), "running");
    running.remove();
    engine.run(&["create", "-i", "--name", "once", "busybox", "cat"]).ok();
    assert_eq!(engine.run_with_input(&["start", "-ai", "once"], "to the end\n").ok(), "to the end");
    engine.background("ends", &[], &["sh", "-c", "sleep 0.5; echo bye; exit 6"]);
    assert_eq!(engine.run(&["attach", "ends"]).expect(6).stdout(), "bye");
    engine.run(&["attach", "ends"]).expect(1).says(&["not run"]);
    // Two at once see the same.
    engine.background("two", &[], &["sh", "-c", "sleep 0.7; echo both"]);
    let mut other = engine.spawn(&["attach", "two"]);
    assert_eq!(engine.run(&["attach", "two"]).expect(0).stdout(), "both");
    command::wait(&mut other, Duration::from_secs(5)).expect("it ends");
    let mut seen = String::new();
    other.stdout.take().unwrap().read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "both\n");
}

#[test]
fn inspect_has_dockers_fields() {
    let engine = Engine::new();
    let running = engine.sleeper("seen", &["-e", "A=1", "-h", "tower", "--memory", "64m", "-v", "data:/data"]);
    let found = engine.inspect("seen");
    assert_eq!(found["Id"], running.id.as_str());
    assert_eq!(found["Name"], "/seen");
    assert_eq!(found["State"]["Status"], "running");
    assert_eq!(found["Config"]["Hostname"], "tower");
    assert_eq!(found["Config"]["Image"], "busybox");
    assert_eq!(found["Path"], "sleep");
    assert_eq!(found["Args"][0], "1000");
    assert_eq!(found["HostConfig"]["Memory"], 64 << 20);
    assert_eq!(found["HostConfig"]["PidsLimit"], 512);
    assert_eq!(found["HostConfig"]["ReadonlyRootfs"], true);
    assert_eq!(found["HostConfig"]["NetworkMode"], "none");
    assert_eq!(found["HostConfig"]["Privileged"], false);
    assert_eq!(found["Mounts"][0]["Name"], "data");
    assert!(found["Config"]["Env"].as_array().unwrap().iter().any(|entry| entry == "A=1"));
    assert!(fs::metadata(format!("/proc/{}", found["State"]["Pid"])).is_ok());
    assert_eq!(engine.field("seen", "{{json .State.Running}}"), "true");
    assert_eq!(engine.field("seen", "{{range .Mounts}}{{.Destination}}{{end}}"), "/data");
    engine.run(&["inspect", "--format", "{{.Stat}}", "seen"]).expect(1).says(&["Stat"]);
    engine.run(&["inspect", "--type", "image", "seen"]).expect(1);
    engine.run(&["container", "inspect", "busybox"]).expect(1);
    assert_eq!(engine.run(&["inspect", "nobody", "seen"]).code, 1);
}

#[test]
fn info_version_and_check() {
    let engine = Engine::new();
    engine.sleeper("one", &[]);
    assert_eq!(engine.run(&["info", "--format", "{{.Containers}} {{.ContainersRunning}} {{.Images}}"]).ok(), "1 1 1");
    let version = engine.run(&["version", "--format", "{{.Client.Version}}"]).ok();
    assert!(version.split('.').count() == 3, "{version}");
    assert!(engine.run(&["--version"]).ok().contains(&version));
    engine.run(&["system", "check"]).ok();
    // A layer's blob that rots is named, and its image not run from it.
    let blobs: Vec<_> = fs::read_dir(engine.data().join("images/blobs/sha256")).unwrap().flatten().collect();
    let config = blobs
        .iter()
        .find(|blob| {
            let content = fs::read(blob.path()).unwrap();
            content.windows(8).any(|window| window == b"diff_ids")
        })
        .unwrap();
    let mut content = fs::read(config.path()).unwrap();
    let at = content.len() / 2;
    content[at] ^= 1;
    fs::write(config.path(), content).unwrap();
    let name = config.file_name().to_string_lossy().into_owned();
    let checked = engine.run(&["system", "check"]);
    assert_ne!(checked.code, 0);
    assert!(
        format!("{}{}", checked.stdout(), checked.stderr).contains(&name),
        "{} {}",
        checked.stdout(),
        checked.stderr
    );
    engine.run(&["run", "--rm", "busybox", "true"]).expect(125).says(&[&name]);
}

#[test]
fn a_container_that_ends_while_nobody_looks_is_known_to_have_ended() {
    let engine = Engine::new();
    let running = engine.sleeper("killed", &[]);
    let pid = i32::try_from(running.pid()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    assert_eq!(engine.run(&["wait", "killed"]).ok(), "137");
    assert_eq!(engine.field("killed", "{{.State.Status}} {{.State.OOMKilled}}"), "exited false");
}
