//! `run`: what the process gets, and what comes back.
#![forbid(unsafe_code)]

use std::fs;

use casemate_tests::{Engine, archive, command, eventually, host};
use serde_json::json;
use tar::EntryType;

#[test]
fn exit_codes_are_dockers() {
    let engine = Engine::new();
    for (script, code) in [("exit 0", 0), ("exit 1", 1), ("exit 42", 42), ("exit 255", 255)] {
        engine.sh(&[], script).expect(code);
    }
    engine.sh(&["--init"], "kill -9 $$").expect(137);
    engine.sh(&["--init"], "kill -15 $$").expect(143);
    engine.run(&["run", "--rm", "busybox", "/nonexistent"]).expect(127).says(&["/nonexistent"]);
    engine.run(&["run", "--rm", "busybox", "no-such-program"]).expect(127).says(&["no-such-program"]);
    engine.run(&["run", "--rm", "busybox", "/bin/not-executable"]).expect(126).says(&["/bin/not-executable"]);
    engine.run(&["run", "--rm", "busybox", "/etc"]).expect(126);
    engine.run(&["run", "--rm", "--nonsense", "busybox"]).expect(125).says(&["--nonsense"]);
    engine.run(&["run", "--rm", "--memory", "lots", "busybox"]).expect(125).says(&["lots"]);
    engine.assert_nothing_left();
}

#[test]
fn signals_reach_the_process_and_come_back_as_the_exit_code() {
    let engine = Engine::new();
    let mut child = engine.spawn(&[
        "run",
        "--rm",
        "--name",
        "proxied",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 7' TERM; while :; do sleep 0.05; done",
    ]);
    assert!(eventually(10, || engine.run(&["ps", "-q", "--filter", "name=proxied"]).ok() != ""));
    std::thread::sleep(std::time::Duration::from_millis(200));
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let status = command::wait(&mut child, std::time::Duration::from_secs(10)).expect("it ends");
    assert_eq!(command::code(status), 7);
    engine.assert_nothing_left();
}

#[test]
fn environment_comes_from_image_flags_and_files() {
    let engine = Engine::empty();
    let tar = casemate_tests::images::busybox().display().to_string();
    engine.run(&["import", "-c", "ENV A=image B=image", &tar, "busybox"]).ok();
    let file = engine.file("env", "# a comment\nB=file\nC=with = sign and  blanks \nFROM_CALLER\nNOT_THERE\n");
    let mut run = engine.command(&[
        "run",
        "--rm",
        "--env-file",
        &file,
        "-e",
        "A=flag",
        "-e",
        "D=",
        "--env",
        "ALSO",
        "-h",
        "named",
        "busybox",
        "env",
    ]);
    run.env("FROM_CALLER", "caller's").env("ALSO", "too").env("SECRET_OF_HOST", "leaked");
    let said = command::run(&mut run, None, command::LIMIT).ok();
    for line in [
        "A=flag",
        "B=file",
        "C=with = sign and  blanks ",
        "D=",
        "FROM_CALLER=caller's",
        "ALSO=too",
        "HOME=/root",
        "HOSTNAME=named",
    ] {
        assert!(said.lines().any(|found| found == line), "{line:?} is missing in:\n{said}");
    }
    assert!(said.contains("PATH=/usr/local/sbin:"), "{said}");
    for name in ["NOT_THERE", "SECRET_OF_HOST", "CASEMATE"] {
        assert!(!said.contains(name), "{name} is not the container's:\n{said}");
    }
    let wrong = engine.file("wrong", "A=1\nB C=2\n");
    engine.run(&["run", "--rm", "--env-file", &wrong, "busybox", "env"]).expect(125).says(&["line 2"]);
}

#[test]
fn an_image_can_not_read_the_hosts_environment() {
    // CVE-2026-57231: a variable without a value in an image is not looked up here.
    let engine = Engine::empty();
    let mut layer = archive::builder();
    archive::add(&mut layer, EntryType::Directory, "bin/", 0o755);
    archive::file(&mut layer, "bin/busybox", 0o755, &fs::read(casemate_tests::program("busybox").unwrap()).unwrap());
    archive::link(&mut layer, EntryType::Symlink, "bin/env", "busybox");
    let config =
        json!({"architecture": architecture(), "os": "linux", "config": {"Env": ["HOST_SECRET"], "Cmd": ["/bin/env"]}});
    let directory = engine.scratch().join("image");
    archive::oci_layout(&directory, "leak:1", &archive::finish(layer), &config);
    let loaded = engine.run(&["load", &directory.display().to_string()]);
    if loaded.code == 0 {
        let mut run = engine.command(&["run", "--rm", "leak:1"]);
        let output = command::run(run.env("HOST_SECRET", "hunter2"), None, command::LIMIT);
        assert!(!output.stdout().contains("hunter2") && !output.stderr.contains("hunter2"), "{}", output.stdout());
    }
}

#[test]
fn the_working_directory_is_inside_whatever_it_is_called() {
    let engine = Engine::new();
    assert_eq!(engine.sh(&["-w", "/srv"], "pwd").ok(), "/srv");
    assert_eq!(engine.sh(&["-w", "/not/there/yet"], "pwd; ls -la | wc -l").ok(), "/not/there/yet\n3");
    assert_eq!(engine.sh(&["-w", "/tmp/in/a/tmpfs"], "pwd").ok(), "/tmp/in/a/tmpfs");
    // CVE-2024-21626. Whatever becomes of it, it is not a directory of the host.
    for number in 3..20 {
        let path = format!("/proc/self/fd/{number}");
        let output = engine.sh(&["-w", &path], "cat ../../../../../../../etc/hostname; ls");
        assert!(
            output.code == 125 || output.code == 127 || output.code == 126,
            "{path}: {} {}",
            output.code,
            output.stdout()
        );
        assert_eq!(output.stdout(), "", "{path}");
    }
    engine.sh(&["-w", "relative"], "pwd").expect(125).says(&["relative"]);
    engine.sh(&["-w", "/etc/passwd"], "pwd").expect(125).says(&["/etc/passwd"]);
    engine.assert_nothing_left();
}

#[test]
fn users_are_ids_or_names_and_digits_are_never_names() {
    let engine = Engine::new();
    for (user, ids) in [
        ("root", "uid 0 0 0 gid 0 0 0 groups 0"),
        ("app", "uid 1000 1000 1000 gid 1000 1000 1000 groups 33 50 1000"),
        ("app:web", "uid 1000 1000 1000 gid 33 33 33 groups 33"),
        ("1000", "uid 1000 1000 1000 gid 1000 1000 1000 groups 33 50 1000"),
        ("1000:7", "uid 1000 1000 1000 gid 7 7 7 groups 7"),
        // The image has a user with this name and the id 0.
        ("1234", "uid 1234 1234 1234 gid 0 0 0 groups 0"),
        ("65535", "uid 65535 65535 65535 gid 0 0 0 groups 0"),
        ("web:staff", "uid 33 33 33 gid 50 50 50 groups 50"),
    ] {
        let said = engine.run(&["run", "--rm", "-u", user, "busybox", "prober", "ids"]).ok();
        assert_eq!(sorted_groups(&said), sorted_groups(ids), "-u {user}");
    }
    let said = engine
        .run(&["run", "--rm", "-u", "1000", "--group-add", "staff", "--group-add", "77", "busybox", "prober", "ids"])
        .ok();
    assert!(said.contains("50") && said.contains("77"), "{said}");
    for user in [
        "4294967295",
        "4294967296",
        "18446744073709551616",
        "-1",
        "nobody-here",
        "root\nx",
        ":",
        "app:nogroup",
        "70000",
    ] {
        let output = engine.run(&["run", "--rm", &format!("--user={user}"), "busybox", "prober", "ids"]);
        assert_eq!(output.code, 125, "-u {user:?} {}", output.stdout());
    }
    engine.assert_nothing_left();
}

fn sorted_groups(ids: &str) -> (String, Vec<String>) {
    let (head, groups) = ids.split_once(" groups").unwrap();
    let mut groups: Vec<String> = groups.split_whitespace().map(str::to_owned).collect();
    groups.sort();
    (head.to_owned(), groups)
}

#[test]
fn entry_point_command_and_names() {
    let engine = Engine::empty();
    let tar = casemate_tests::images::busybox().display().to_string();
    engine.run(&["import", "-c", "ENTRYPOINT [\"echo\",\"entry\"]", "-c", "CMD [\"command\"]", &tar, "busybox"]).ok();
    assert_eq!(engine.run(&["run", "--rm", "busybox"]).ok(), "entry command");
    assert_eq!(engine.run(&["run", "--rm", "busybox", "other"]).ok(), "entry other");
    assert_eq!(engine.run(&["run", "--rm", "--entrypoint", "printf", "busybox", "%s-%s", "a", "b"]).ok(), "a-b");
    assert_eq!(engine.run(&["run", "--rm", "--entrypoint", "", "busybox", "echo", "alone"]).ok(), "alone");
    // Flags after the image belong to the command.
    assert_eq!(engine.run(&["run", "--rm", "busybox", "--rm", "-e"]).ok(), "entry --rm -e");
    let said = engine
        .run(&[
            "run",
            "--rm",
            "--entrypoint",
            "sh",
            "--hostname",
            "tower.example",
            "--domainname",
            "fort",
            "busybox",
            "-c",
            "hostname; cat /etc/hostname; cat /proc/sys/kernel/domainname",
        ])
        .ok();
    assert_eq!(said, "tower.example\ntower.example\nfort");
    let id = engine.run(&["run", "--rm", "--entrypoint", "hostname", "busybox"]).ok();
    assert_eq!(id.len(), 12, "the host name is the short id: {id}");
    let hosts = engine
        .run(&[
            "run",
            "--rm",
            "--entrypoint",
            "cat",
            "--add-host",
            "db:10.9.8.7",
            "--dns",
            "10.0.0.53",
            "busybox",
            "/etc/hosts",
            "/etc/resolv.conf",
        ])
        .ok();
    assert!(hosts.contains("10.9.8.7\tdb") || hosts.contains("10.9.8.7 db"), "{hosts}");
    assert!(hosts.contains("nameserver 10.0.0.53"), "{hosts}");
}

#[test]
fn the_engines_own_program_can_not_be_run_or_written() {
    // CVE-2019-5736.
    let engine = Engine::new();
    for words in [
        &["--entrypoint", "/proc/self/exe", "busybox"][..],
        &["busybox", "/proc/self/exe", "version"],
        &["busybox", "/proc/1/exe", "version"],
        &["busybox", "/proc/thread-self/exe"],
        &["busybox", "/proc/self/fd/3"],
    ] {
        let all: Vec<&str> = ["run", "--rm"].iter().chain(words).copied().collect();
        let output = engine.run(&all);
        assert!([125, 126, 127].contains(&output.code), "{words:?}: {} {}", output.code, output.stdout());
        assert!(!output.stdout().contains("casemate"), "{words:?} ran the engine: {}", output.stdout());
    }
    // A link of the image to it is no other way.
    let mut layer = archive::builder();
    archive::link(&mut layer, EntryType::Symlink, "entry", "/proc/self/exe");
    let path = engine.file("link.tar", archive::finish(layer));
    engine.run(&["import", &path, "link"]).ok();
    let output = engine.run(&["run", "--rm", "link", "/entry", "version"]);
    assert!([125, 126, 127].contains(&output.code) && !output.stdout().contains("casemate"), "{}", output.stdout());
    let before = fs::read(casemate_tests::binary()).unwrap();
    engine.sh(&["--read-only=false"], "for p in /proc/[0-9]*; do echo x > $p/exe; done 2>/dev/null; true").ok();
    assert!(fs::read(casemate_tests::binary()).unwrap() == before, "the binary is what it was");
}

#[test]
fn removed_containers_leave_nothing() {
    let engine = Engine::new();
    let cidfile = engine.scratch().join("cid").display().to_string();
    engine
        .run(&[
            "run",
            "--rm",
            "--cidfile",
            &cidfile,
            "-v",
            "/anonymous",
            "--read-only=false",
            "busybox",
            "sh",
            "-c",
            "echo x > /file",
        ])
        .ok();
    let id = fs::read_to_string(&cidfile).unwrap();
    assert_eq!(id.len(), 64);
    engine.assert_nothing_left();
    assert_eq!(host::cgroups_named(&id), Vec::<std::path::PathBuf>::new());
    let volumes = fs::read_dir(engine.data().join("volumes")).map_or(0, Iterator::count);
    assert_eq!(volumes, 0, "--rm removes volumes without a name");
    engine.run(&["run", "--rm", "--cidfile", &cidfile, "busybox", "true"]).expect(125).says(&["exists"]);
}

#[test]
fn names_are_taken_once() {
    let engine = Engine::new();
    let first = engine.sleeper("tower", &["-l", "wall=thick", "--label", "gate"]);
    engine.run(&["run", "-d", "--name", "tower", "busybox", "true"]).expect(125).says(&["tower", &first.id[..12]]);
    engine.run(&["create", "--name", "tower", "busybox"]).expect(125);
    for name in ["-x", "a/b", "", "ä", "a b", &"n".repeat(300)] {
        engine.run(&["create", &format!("--name={name}"), "busybox"]).expect(125);
    }
    assert_eq!(
        engine.run(&["ps", "--filter", "label=wall=thick", "--filter", "label=gate", "--format", "{{.Names}}"]).ok(),
        "tower"
    );
    first.remove();
    engine.sleeper("tower", &[]);
}

#[test]
fn the_init_reaps_and_passes_signals_on() {
    let engine = Engine::new();
    let zombies = |flags: &[&str]| {
        let script = "prober orphans 20; sleep 0.3; ps -o stat | grep -c Z; true";
        engine.sh(flags, script).ok().lines().last().unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(zombies(&["--init"]), 0);
    let running = engine.background(
        "signals",
        &["--init", "--stop-signal", "INT"],
        &["sh", "-c", "trap 'echo got INT; exit 3' INT; while :; do sleep 0.05; done"],
    );
    std::thread::sleep(std::time::Duration::from_millis(200));
    engine.run(&["stop", "signals"]).ok();
    assert_eq!(engine.field("signals", "{{.State.ExitCode}}"), "3");
    assert_eq!(engine.run(&["logs", &running.id]).ok(), "got INT");
}

#[test]
fn fifty_megabytes_pass_in_both_directions() {
    let engine = Engine::new();
    let bytes = noise(50 << 20);
    let output = engine
        .run_with_input(&["run", "--rm", "-i", "--log-driver", "none", "busybox", "cat"], bytes.clone())
        .expect(0);
    assert_eq!(output.bytes.len(), bytes.len());
    assert!(output.bytes == bytes, "not a byte is lost or changed");
    let count = engine.run_with_input(&["run", "--rm", "-i", "busybox", "wc", "-c"], bytes).ok();
    assert_eq!(count, (50 << 20).to_string());
}

#[test]
fn large_output_on_both_streams_is_whole() {
    let engine = Engine::new();
    let script = "i=0; while [ $i -lt 20000 ]; do echo \"out $i\"; echo \"err $i\" >&2; i=$((i+1)); done";
    let output = engine.sh(&[], script).expect(0);
    let expected = |name: &str| (0..20000).map(|i| format!("{name} {i}")).collect::<Vec<_>>();
    assert!(output.stdout().lines().eq(expected("out")), "standard output");
    assert!(output.stderr.lines().eq(expected("err")), "standard error");
    // What ends at once after writing has written it all.
    for _ in 0..20 {
        let size = engine.sh(&[], "head -c 300000 /dev/zero").expect(0).bytes.len();
        assert_eq!(size, 300_000);
    }
}

#[test]
fn without_i_there_is_no_input() {
    let engine = Engine::new();
    assert_eq!(engine.run_with_input(&["run", "--rm", "busybox", "wc", "-c"], "ignored").ok(), "0");
    // With it, the end of the input is the end of the process's.
    assert_eq!(engine.run_with_input(&["run", "--rm", "-i", "busybox", "cat"], "").ok(), "");
}

#[test]
fn a_reader_that_goes_away_ends_the_command_only() {
    let engine = Engine::new();
    let script = format!("'{}' run --name yes busybox yes | head -1", casemate_tests::binary().display());
    let mut shell = std::process::Command::new("sh");
    engine.environment(&mut shell);
    let output = command::run(shell.args(["-c", &script]), None, command::LIMIT);
    assert_eq!(output.stdout(), "y");
    engine.run(&["rm", "-f", "yes"]).ok();
}

#[test]
fn what_is_asked_of_docker_and_not_here_is_answered() {
    let engine = Engine::new();
    engine.run(&["run", "-p", "80:80", "busybox"]).expect(125).says(&["network"]);
    engine.run(&["run", "--resart", "always", "busybox"]).expect(125);
    engine.run(&["run", "--cap-ad", "KILL", "busybox"]).expect(125).says(&["--cap-add"]);
    engine.run(&["rnu", "busybox"]).expect(1).says(&["run"]);
    engine.run(&["run", "--cap-add", "NET_RAWW", "busybox"]).expect(125).says(&["NET_RAW"]);
    engine.run(&["run", "--network", "hots", "busybox"]).expect(125).says(&["host"]);
    engine.run(&["run", "--tmpfs", "/x:noexce", "busybox"]).expect(125).says(&["noexec"]);
    engine.run(&["run", "--ulimit", "nofiles=5", "busybox"]).expect(125).says(&["nofile"]);
    engine.run(&["run", "--stop-signal", "TERN", "busybox"]).expect(125).says(&["TERM"]);
    engine.run(&["run"]).expect(125).says(&["IMAGE"]);
    engine.run(&["exec", "nobody", "true"]).expect(125).says(&["nobody"]);
    let help = engine.run(&["run", "--help"]).ok();
    for flag in ["--cap-add", "--memory", "--read-only", "--security-opt", "Example"] {
        assert!(help.contains(flag), "{flag} is in the help");
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}
