//! Relaxations: each is visible; those that hand the host over are refused until they are allowed by name.
#![forbid(unsafe_code)]

use std::fs;
use std::process::Command;

use casemate_tests::{Engine, command, host};

/// What `ps` and `inspect` say of a container with these flags.
#[track_caller]
fn posture(engine: &Engine, flags: &[&str]) -> (String, Vec<String>) {
    let words: Vec<&str> = ["create"].iter().chain(flags).chain(&["busybox", "true"]).copied().collect();
    let id = engine.run(&words).ok();
    let listed =
        engine.run(&["ps", "-a", "--no-trunc", "--filter", &format!("id={id}"), "--format", "{{.Posture}}"]).ok();
    let found = engine.inspect(&id);
    assert_eq!(found["PostureSummary"], listed.as_str(), "ps and inspect say the same");
    let names = found["Relaxations"].as_array().expect("a list").iter();
    let names =
        names.map(|entry| entry["Name"].as_str().or(entry["name"].as_str()).expect("a name").to_owned()).collect();
    engine.run(&["rm", &id]).ok();
    (listed, names)
}

#[test]
fn without_flags_a_container_is_hardened() {
    let engine = Engine::new();
    assert_eq!(posture(&engine, &[]), ("hardened".to_owned(), vec![]));
    // What only tightens is no relaxation.
    let tighter = [
        "--memory",
        "64m",
        "--pids-limit",
        "20",
        "--cpus",
        "0.5",
        "--cap-drop",
        "ALL",
        "--ulimit",
        "nofile=64:64",
        "--shm-size",
        "1m",
        "--security-opt",
        "no-new-privileges",
        "--read-only",
        "--network",
        "none",
        "--tmpfs",
        "/scratch:size=1m",
        "--init",
        "-u",
        "app",
    ];
    assert_eq!(posture(&engine, &tighter).0, "hardened");
}

#[test]
fn every_relaxation_is_visible() {
    let engine = Engine::new();
    let source = engine.directory("source");
    let profile = engine.file(
        "profile.json",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["acct"],"action":"SCMP_ACT_ERRNO"}]}"#,
    );
    let profile = format!("seccomp={profile}");
    let (read_only, writable) = (format!("{source}:/x"), format!("{source}:/x:rw"));
    let cases: &[(&[&str], &str)] = &[
        (&["--cap-add", "net_raw"], "cap-add"),
        (&["--security-opt", "no-new-privileges=false"], "new-privileges"),
        (&["--security-opt", "seccomp=unconfined"], "seccomp-unconfined"),
        (&["--security-opt", &profile], "seccomp-profile"),
        (&["--security-opt", "apparmor=unconfined"], "apparmor-unconfined"),
        (&["--security-opt", "label=disable"], "label-disabled"),
        (&["--security-opt", "systempaths=unconfined"], "unmasked-paths"),
        (&["--read-only=false"], "writable-root"),
        (&["--tmpfs", "/x:exec"], "tmpfs-exec"),
        (&["--tmpfs", "/x:suid"], "tmpfs-suid"),
        (&["--tmpfs", "/x:dev"], "tmpfs-dev"),
        (&["--tmpfs", "/x:size=2g"], "tmpfs-size"),
        (&["-v", &read_only], "bind-mount"),
        (&["-v", &writable], "writable-bind"),
        (&["-v", "data:/x"], "volume"),
        (&["-v", "data:/x:exec"], "mount-exec"),
        (&["-v", "data:/x:suid"], "mount-suid"),
        (&["-v", "data:/x:dev"], "mount-dev"),
        (&["-v", "data:/x:noidmap"], "mount-unmapped"),
        (&["--device", "/dev/null:/dev/extra"], "device"),
        (&["--device-cgroup-rule", "c 10:200 rw"], "device-cgroup-rule"),
        (&["--sysctl", "net.ipv4.ip_forward=1"], "sysctl"),
        (&["--group-add", "50"], "group-add"),
        (&["--memory", "1g"], "memory"),
        (&["--memory", "64m", "--memory-swap", "128m"], "memory-swap"),
        (&["--memory-reservation", "32m"], "memory-reservation"),
        (&["--oom-kill-disable"], "oom-kill-disable"),
        (&["--oom-score-adj", "0"], "oom-score-adj"),
        (&["--pids-limit", "1000"], "pids-limit"),
        (&["--cpu-quota", "-1"], "cpu-unlimited"),
        (&["--cpu-shares", "2048"], "cpu-shares"),
        (&["--blkio-weight", "900"], "blkio-weight"),
        (&["--ulimit", "nofile=8192"], "ulimit"),
        (&["--ulimit", "core=-1"], "ulimit"),
        (&["--shm-size", "1g"], "shm-size"),
        (&["--ipc", "shareable"], "shareable-ipc"),
    ];
    for (flags, name) in cases {
        let (words, names) = posture(&engine, flags);
        assert!(names.contains(&(*name).to_owned()), "{flags:?}: {names:?}");
        assert!(words.starts_with("relaxed: ") && words.contains(name), "{flags:?}: {words}");
    }
    assert_eq!(
        posture(&engine, &["--cap-add", "NET_RAW", "--read-only=false"]).0,
        "relaxed: cap-add=NET_RAW,writable-root"
    );
}

#[test]
fn what_hands_the_host_over_is_refused_with_the_rule_and_both_ways() {
    let engine = Engine::new();
    let cases: &[(&[&str], &str)] = &[
        (&["--privileged"], "privileged"),
        (&["--pid", "host"], "host-pid"),
        (&["--ipc", "host"], "host-ipc"),
        (&["--uts", "host"], "host-uts"),
        (&["--network", "host"], "host-network"),
        (&["--net=host"], "host-network"),
        (&["--userns", "host"], "host-userns"),
        (&["--cgroupns", "host"], "host-cgroupns"),
        (&["--cgroup-parent", "/other"], "cgroup-parent"),
        (&["-v", "/:/host"], "sensitive-mount"),
        (&["-v", "/etc:/x"], "sensitive-mount"),
        (&["-v", "/etc/passwd:/x:ro"], "sensitive-mount"),
        (&["-v", "/proc:/x"], "sensitive-mount"),
        (&["-v", "/sys:/x"], "sensitive-mount"),
        (&["-v", "/dev:/x"], "sensitive-mount"),
        (&["-v", "/root:/x"], "sensitive-mount"),
        (&["-v", "/usr:/x"], "sensitive-mount"),
        (&["-v", "/lib:/x"], "sensitive-mount"),
        (&["-v", "/home/../etc:/x"], "sensitive-mount"),
        (&["--mount", "type=bind,source=/etc,target=/x"], "sensitive-mount"),
        (&["--device-cgroup-rule", "a *:* rwm"], "host-device"),
    ];
    // Whichever of them this host has.
    let devices = ["/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/mem", "/dev/kmsg", "/dev/loop0"];
    let device = devices.into_iter().find(|device| fs::exists(device).unwrap()).expect("a device that is the host's");
    for (flags, rule) in cases.iter().chain(&[(&["--device", device][..], "host-device")]) {
        let words: Vec<&str> = ["run", "--rm"].iter().chain(*flags).chain(&["busybox", "true"]).copied().collect();
        let output = engine.run(&words);
        let output = output.expect(125);
        for said in
            [format!("refused by the rule {rule}"), "--allow ".to_owned(), "/etc/casemate/policy.toml".to_owned()]
        {
            assert!(output.stderr.contains(&said), "{flags:?} says {said:?}: {}", output.stderr);
        }
    }
    engine.assert_nothing_left();
}

#[test]
fn no_way_around_leads_to_a_sensitive_path() {
    let engine = Engine::new();
    let link = engine.scratch().join("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    let through = engine.scratch().join("through");
    std::os::unix::fs::symlink("link", &through).unwrap();
    for source in [
        link.display().to_string(),
        through.display().to_string(),
        format!("{}/shadow", through.display()),
        format!("/proc/{}/root", std::process::id()),
        "/proc/self/root/etc".to_owned(),
        "/proc/self/cwd/../../etc".to_owned(),
    ] {
        let output = engine.run(&["run", "--rm", "-v", &format!("{source}:/x"), "busybox", "ls", "/x"]);
        assert_eq!(output.code, 125, "{source}: {}", output.stdout());
        assert!(output.stderr.contains("sensitive-mount"), "{source}: {}", output.stderr);
    }
    // The engine's own state and sockets.
    let data = engine.data().display().to_string();
    let run_root = engine.run_root().display().to_string();
    for source in
        ["/var/lib/casemate".to_owned(), "/run/casemate".to_owned(), "/var/lib/docker".to_owned(), data, run_root]
    {
        let output = engine.run(&["run", "--rm", "-v", &format!("{source}:/x"), "busybox", "ls", "/x"]);
        assert_eq!(output.code, 125, "{source}: {}", output.stdout());
    }
    let socket = engine.scratch().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let output = engine.run(&["run", "--rm", "-v", &format!("{}:/x", socket.display()), "busybox", "ls", "/x"]);
    output.expect(125).says(&["engine-socket"]);
}

#[test]
fn allowing_by_name_allows_that_and_nothing_else() {
    let engine = Engine::new();
    let running = engine.sleeper("shared", &["--network", "host", "--allow", "host-network"]);
    assert_eq!(host::namespace(running.pid(), "net"), host::namespace(std::process::id(), "net"));
    assert_ne!(host::namespace(running.pid(), "pid"), host::namespace(std::process::id(), "pid"));
    assert_eq!(engine.field("shared", "{{.PostureSummary}}"), "relaxed: host-network");
    running.remove();
    let said = engine
        .run(&["run", "--rm", "-v", "/etc:/x", "--allow", "sensitive-mount=/etc", "busybox", "ls", "/x/passwd"])
        .ok();
    assert_eq!(said, "/x/passwd");
    engine
        .run(&["run", "--rm", "-v", "/root:/x", "--allow", "sensitive-mount=/etc", "busybox", "true"])
        .expect(125)
        .says(&["/root"]);
    engine
        .run(&["run", "--rm", "--privileged", "--allow", "host-pid", "busybox", "true"])
        .expect(125)
        .says(&["privileged"]);
    engine.run(&["run", "--rm", "--allow", "host-netwrok", "busybox", "true"]).expect(125).says(&["host-network"]);
}

#[test]
fn the_policy_file_allows_for_good() {
    let engine = Engine::new();
    engine.policy("# of the host\nallow = [\"host-pid\", \"sensitive-mount=/etc/hostname\"]\n");
    let running = engine.sleeper("allowed", &["--pid", "host"]);
    assert_eq!(host::namespace(running.pid(), "pid"), host::namespace(std::process::id(), "pid"));
    running.remove();
    engine.run(&["run", "--rm", "-v", "/etc/hostname:/x", "busybox", "cat", "/x"]).ok();
    engine.run(&["run", "--rm", "-v", "/etc/shadow:/x", "busybox", "cat", "/x"]).expect(125);
    assert!(engine.run(&["info"]).ok().contains("host-pid"));
    // A policy that can't be understood permits nothing, and says where it is wrong.
    for (text, says) in
        [("alow = []", "did you mean \"allow\""), ("allow = [\"host-pdi\"]", "host-pid"), ("allow = [", "line 1")]
    {
        engine.policy(text);
        engine.run(&["run", "--rm", "busybox", "true"]).expect(125).says(&[says, "policy.toml"]);
    }
}

#[test]
fn shared_host_namespaces_are_the_hosts() {
    let engine = Engine::new();
    for (flag, kind) in [
        ("--pid", "pid"),
        ("--ipc", "ipc"),
        ("--uts", "uts"),
        ("--network", "net"),
        ("--userns", "user"),
        ("--cgroupns", "cgroup"),
    ] {
        let name = format!("host-{}", flag.trim_start_matches('-'));
        let running = engine.sleeper(&name, &[flag, "host", "--allow", &name]);
        let pid = running.pid();
        assert_eq!(host::namespace(pid, kind), host::namespace(std::process::id(), kind), "{flag}");
        assert_eq!(host::status(pid, "CapBnd"), "0000000000000000", "{flag} gives no capability");
        assert_eq!(running.sh("echo fine").ok(), "fine", "{flag}");
        running.remove();
    }
    let running = engine.sleeper("root-outside", &["--userns", "host", "--allow", "host-userns"]);
    assert_eq!(host::status(running.pid(), "Uid"), "0 0 0 0");
}

#[test]
fn namespaces_of_another_container_are_joined() {
    let engine = Engine::new();
    let owner = engine.sleeper("owner", &["--ipc", "shareable", "--hostname", "keep"]);
    for (flag, kind) in
        [("--pid", "pid"), ("--ipc", "ipc"), ("--uts", "uts"), ("--network", "net"), ("--userns", "user")]
    {
        let name = format!("joins{}", flag.replace("--", "-"));
        let running = engine.sleeper(&name, &[flag, "container:owner"]);
        assert_eq!(host::namespace(running.pid(), kind), host::namespace(owner.pid(), kind), "{flag}");
        assert_ne!(host::namespace(running.pid(), kind), host::namespace(std::process::id(), kind), "{flag}");
        assert!(engine.field(&name, "{{.PostureSummary}}").contains("shared-"), "{flag}");
        running.remove();
    }
    engine.run(&["run", "--rm", "--network", "container:nobody", "busybox", "true"]).expect(125).says(&["nobody"]);
    engine.sleeper("alone", &[]);
    engine.run(&["run", "--rm", "--ipc", "container:alone", "busybox", "true"]).expect(125).says(&["shareable"]);
    // They share a loopback.
    owner.sh("nc -l -p 6000 > /tmp/got &").ok();
    std::thread::sleep(std::time::Duration::from_millis(200));
    engine.sh(&["--network", "container:owner"], "echo neighbour | nc -w 1 127.0.0.1 6000").ok();
    assert_eq!(owner.sh("cat /tmp/got").ok(), "neighbour");
    let said = engine.sh(&["--pid", "container:owner"], "ps -o comm | grep -c sleep").ok();
    assert_eq!(said, "1");
}

#[test]
fn privileged_is_root_on_the_host_and_says_so() {
    let engine = Engine::new();
    let running = engine.sleeper("all", &["--privileged", "--allow", "privileged"]);
    let pid = running.pid();
    let whole = host::status(std::process::id(), "CapEff");
    assert_eq!(host::status(pid, "CapEff"), whole, "as many as this process has");
    assert_eq!(host::status(pid, "Uid"), "0 0 0 0");
    assert_eq!(host::status(pid, "Seccomp"), "0");
    assert_eq!(running.sh("mount -t tmpfs none /tmp && echo mounted").ok(), "mounted");
    assert_eq!(engine.field("all", "{{.HostConfig.Privileged}}"), "true");
    let said = engine.field("all", "{{.PostureSummary}}");
    assert!(said.starts_with("relaxed: privileged"), "{said}");
}

#[test]
fn a_remapped_user_is_the_subordinate_ids_of_that_user() {
    let engine = Engine::new();
    // With an /etc of the test's own, in a mount namespace of the test's own: the host's stays as it is.
    let etc = engine.directory("etc-of-host");
    for (name, text) in [
        ("subuid", "keeper:3000000:65536\n"),
        ("subgid", "keeper:4000000:65536\n"),
        ("passwd", "keeper:x:1000:1000::/:\n"),
    ] {
        fs::write(format!("{etc}/{name}"), text).unwrap();
    }
    let run = |user: &str, script: &str| {
        let mut command = Command::new("unshare");
        engine.environment(&mut command);
        let line = format!(
            "mount --bind '{etc}' /etc && exec '{}' run --rm --userns-remap {user} busybox sh -c '{script}'",
            casemate_tests::binary().display()
        );
        command::run(command.args(["--mount", "sh", "-c", &line]), None, command::LIMIT)
    };
    let maps = run("keeper", "cat /proc/self/uid_map /proc/self/gid_map").ok();
    let fields: Vec<&str> = maps.split_whitespace().collect();
    assert_eq!(fields, ["0", "3000000", "65536", "0", "4000000", "65536"]);
    run("no-such-user", "true").expect(125).says(&["no-such-user"]);
}
