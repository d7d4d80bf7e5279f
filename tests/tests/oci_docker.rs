//! Docker with casemate as its runtime: every test has a daemon of its own, from `/etc/docker/daemon.json`'s words to its end.

use std::fs;

use casemate_tests::docker::Docker;
use casemate_tests::{eventually, host, skip};

fn docker() -> Option<Docker> {
    Docker::start().map_err(|reason| skip(&reason)).ok()
}

fn capabilities(status: &str, set: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{set}:"))).expect("the set is shown");
    u64::from_str_radix(line.trim(), 16).expect("a number")
}

const SLEEP: [&str; 2] = ["sleep", "1000"];

#[test]
fn docker_runs_programs_and_says_how_they_end() {
    let Some(docker) = docker() else { return };
    assert!(docker.call(&["info", "--format", "{{json .Runtimes}}"]).ok().contains("casemate"));

    let output = docker.run(&[], &["sh", "-c", "echo out; echo err >&2; exit 37"]).expect(37).says(&["err"]);
    assert_eq!(output.stdout(), "out");
    docker.run(&["--init"], &["sh", "-c", "kill -TERM $$"]).expect(143);
    let echoed = docker.feed(&["run", "--rm", "-i", "--network=none", "busybox", "cat"], "typed").ok();
    assert_eq!(echoed, "typed", "run -i");

    docker.run(&[], &["no-such-program"]).expect(127).says(&["executable file not found in $PATH"]);
    docker.run(&[], &["/bin/no-such-program"]).expect(127).says(&["no such file or directory"]);
    docker.run(&[], &["/bin/not-executable"]).expect(126).says(&["permission denied"]);
    docker.run(&[], &["/etc"]).expect(126).says(&["permission denied: it is a directory"]);

    assert_eq!(docker.run(&["--user=1000:33"], &["id", "-un"]).ok(), "app");
    let groups = docker.run(&["--user=app", "--group-add=777"], &["id", "-G"]).ok();
    assert_eq!(groups, "1000 33 50 777", "the groups of the image and those asked for");
    assert_eq!(docker.run(&["--workdir=/new/place"], &["pwd"]).ok(), "/new/place");
    assert_eq!(docker.run(&["--env=A=b c"], &["sh", "-c", "echo $A"]).ok(), "b c");
    assert_eq!(docker.run(&["--hostname=here"], &["hostname"]).ok(), "here");
    assert_eq!(docker.run(&["--init"], &["cat", "/proc/1/comm"]).ok(), "docker-init");
    docker.finish();
}

#[test]
fn docker_gives_a_container_what_its_flags_say_and_no_more() {
    let Some(docker) = docker() else { return };
    let status = |flags: &[&str]| docker.run(flags, &["cat", "/proc/self/status"]).ok();
    let usual = status(&[]);
    assert_eq!(capabilities(&usual, "CapEff"), 0xa804_25fb, "Docker's capabilities");
    assert!(usual.contains("Seccomp:\t2"), "{usual}");
    let few = status(&["--cap-drop=ALL", "--cap-add=CHOWN", "--security-opt=no-new-privileges"]);
    assert_eq!(capabilities(&few, "CapBnd"), 1, "only CHOWN");
    assert!(few.contains("NoNewPrivs:\t1"), "{few}");
    assert!(status(&["--security-opt=seccomp=unconfined"]).contains("Seccomp:\t0"));
    // CAP_SYS_ADMIN, and no filter.
    let all = status(&["--privileged"]);
    assert!(capabilities(&all, "CapEff") & (1 << 21) != 0 && all.contains("Seccomp:\t0"), "{all}");
    docker.run(&["--privileged"], &["sh", "-c", "mount -t tmpfs none /data && test -c /dev/kmsg"]).ok();
    docker.run(&[], &["mount", "-t", "tmpfs", "none", "/data"]).expect(1);

    docker.run(&["--read-only"], &["touch", "/file"]).expect(1).says(&["Read-only file system"]);
    let tmpfs = docker.run(&["--read-only", "--tmpfs=/data:size=1m"], &["sh", "-c", "touch /data/f; df -k /data"]).ok();
    assert!(tmpfs.contains("1024"), "{tmpfs}");
    let shared = docker.place.at("shared");
    fs::create_dir(&shared).expect("a directory");
    let volume = format!("{}:/data", shared.display());
    docker.run(&["-v", &volume], &["sh", "-c", "echo inside >/data/file"]).ok();
    assert_eq!(fs::read_to_string(shared.join("file")).expect("it was written"), "inside\n");
    docker.run(&["-v", &format!("{volume}:ro")], &["touch", "/data/file"]).expect(1);
    docker.run(&["-v", "named:/data"], &["touch", "/data/kept"]).ok();
    assert_eq!(docker.run(&["-v", "named:/data"], &["ls", "/data"]).ok(), "kept");

    let own = std::process::id().to_string();
    docker.run(&["--pid=host"], &["test", "-d", &format!("/proc/{own}")]).ok();
    assert_eq!(docker.run(&[], &["sh", "-c", "echo $$"]).ok(), "1");
    assert_eq!(docker.run(&["--sysctl=net.ipv4.ip_forward=1"], &["cat", "/proc/sys/net/ipv4/ip_forward"]).ok(), "1");
    assert_eq!(docker.run(&["--ulimit=nofile=100:200"], &["sh", "-c", "ulimit -n; ulimit -Hn"]).ok(), "100\n200");
    assert_eq!(docker.run(&["--oom-score-adj=500"], &["cat", "/proc/self/oom_score_adj"]).ok(), "500");
    assert_eq!(docker.run(&[], &["sh", "-c", "echo >/dev/null; head -c 1 /dev/zero | wc -c"]).ok(), "1");

    docker.launch("donor", &["--ipc=shareable"], &SLEEP);
    let joined = ["--network=container:donor", "--pid=container:donor", "--ipc=container:donor"];
    let words = [&["run", "--rm"], &joined[..], &["busybox", "ps", "-o", "args"]].concat();
    assert!(docker.call(&words).ok().contains("sleep 1000"), "the processes of the other container");
    docker.call(&["rm", "--force", "donor"]).ok();
    docker.finish();
}

#[test]
fn docker_looks_into_a_container_and_steers_it() {
    let Some(docker) = docker() else { return };
    docker.launch("box", &[], &["sh", "-c", "echo begun; trap 'echo ended; exit 5' TERM; while :; do sleep 0.1; done"]);
    assert!(eventually(10, || docker.call(&["logs", "box"]).ok() == "begun"), "docker logs");

    assert_eq!(
        docker.call(&["exec", "--user=app", "--workdir=/srv", "box", "sh", "-c", "id -u; pwd"]).ok(),
        "1000\n/srv"
    );
    assert_eq!(docker.feed(&["exec", "-i", "box", "cat"], "typed").ok(), "typed");
    docker.call(&["exec", "box", "sh", "-c", "exit 9"]).expect(9);
    let missing = docker.call(&["exec", "box", "no-such-program"]);
    assert!([126, 127].contains(&missing.code) && missing.line.contains("exec"), "{missing:?}");
    let full = docker.call(&["exec", "--privileged", "box", "cat", "/proc/self/status"]).ok();
    assert!(capabilities(&full, "CapEff") & (1 << 21) != 0, "{full}");
    docker.call(&["exec", "--detach", "box", "touch", "/data/detached"]).ok();
    assert!(eventually(10, || docker.call(&["exec", "box", "ls", "/data"]).ok() == "detached"), "exec --detach");
    assert!(docker.call(&["top", "box"]).ok().contains("trap"), "docker top");
    let stats = docker.call(&["stats", "--no-stream", "--format", "{{.MemUsage}} {{.PIDs}}", "box"]).ok();
    assert!(!stats.starts_with("0B") && stats.contains('B') && !stats.ends_with(" 0"), "{stats}");
    docker.call(&["cp", "/etc/hostname", "box:/data/copied"]).ok();
    docker.call(&["exec", "box", "test", "-e", "/data/copied"]).ok();

    docker.call(&["pause", "box"]).ok();
    assert_eq!(docker.inspect("box", "{{.State.Status}}"), "paused");
    docker.call(&["unpause", "box"]).ok();
    assert_eq!(docker.inspect("box", "{{.State.Status}}"), "running");
    docker.call(&["exec", "box", "true"]).ok();

    let pid = || docker.inspect("box", "{{.State.Pid}}").parse().expect("a pid");
    let update = ["update", "--memory=50m", "--memory-swap=50m", "--cpus=0.5", "--pids-limit=33", "box"];
    docker.call(&update).ok();
    assert_eq!(host::limit(pid(), "memory", "memory.limit_in_bytes", "memory.max"), "52428800");
    assert_eq!(host::limit(pid(), "pids", "pids.max", "pids.max"), "33");
    assert!(host::limit(pid(), "cpu", "cpu.cfs_quota_us", "cpu.max").starts_with("50000"), "--cpus");

    docker.call(&["kill", "--signal=TERM", "box"]).ok();
    assert_eq!(docker.call(&["wait", "box"]).ok(), "5", "the program's own handler");
    docker.call(&["start", "box"]).ok();
    docker.call(&["restart", "--time=10", "box"]).ok();
    assert_eq!(docker.inspect("box", "{{.State.Status}}"), "running");
    docker.call(&["kill", "box"]).ok();
    assert!(eventually(10, || docker.inspect("box", "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"));
    docker.call(&["start", "box"]).ok();
    docker.call(&["pause", "box"]).ok();
    docker.call(&["rm", "--force", "box"]).ok();
    docker.finish();
}

#[test]
fn docker_learns_when_a_container_falls_ill_ends_or_takes_too_much() {
    let Some(docker) = docker() else { return };
    let check = ["--health-cmd=test -e /data/ok", "--health-interval=1s", "--health-retries=1"];
    docker.launch("sick", &check, &SLEEP);
    docker.launch("failing", &["--restart=on-failure:2"], &["sh", "-c", "echo run; exit 3"]);
    let health = || docker.inspect("sick", "{{.State.Health.Status}}");
    assert!(eventually(20, || health() == "unhealthy"), "{}", health());
    docker.call(&["exec", "sick", "touch", "/data/ok"]).ok();
    assert!(eventually(20, || health() == "healthy"), "{}", health());

    let words = ["sh", "-c", "x=x; while :; do x=$x$x; done"];
    let limits = ["--memory=16m", "--memory-swap=16m", "--name=hungry"];
    docker.call(&[&["run", "--network=none"], &limits[..], &["busybox"], &words].concat()).expect(137);
    assert_eq!(docker.inspect("hungry", "{{.State.OOMKilled}}"), "true");

    let ended = || docker.inspect("failing", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}");
    assert!(eventually(20, || ended() == "2 exited 3"), "{}", ended());
    assert_eq!(docker.call(&["logs", "failing"]).ok(), "run\nrun\nrun");

    docker.launch("killed", &[], &SLEEP);
    let pid = docker.inspect("killed", "{{.State.Pid}}").parse().ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::KILL).expect("it can be killed");
    assert!(eventually(10, || docker.inspect("killed", "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"));
    docker.call(&["rm", "--force", "sick", "failing", "hungry", "killed"]).ok();
    docker.finish();
}

#[test]
fn docker_gives_a_container_a_terminal() {
    let Some(docker) = docker() else { return };
    let words = ["run", "--rm", "-it", "--network=none", "--name=shell", "busybox", "sh"];
    let mut shell = docker.type_into(&words);
    shell.send("tty; echo $((6*7))\r");
    let seen = shell.expect("42");
    assert!(seen.contains("/dev/pts/0"), "{seen}");
    let has_size = |size: &str| {
        eventually(10, || docker.call(&["exec", "shell", "stty", "-F", "/dev/pts/0", "size"]).stdout() == size)
    };
    assert!(has_size("24 80"), "the size of the client's terminal");
    shell.resize(100, 30);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(shell.pid()).expect("a pid")).expect("a pid"),
        rustix::process::Signal::WINCH,
    )
    .expect("the client runs");
    assert!(has_size("30 100"), "its new size");

    let mut other = docker.type_into(&["exec", "-it", "shell", "sh"]);
    other.send("tty; exit 4\r");
    other.expect("/dev/pts/1");
    assert_eq!(other.code(), 4, "exec -it");
    // The terminal's ^C is for what is in the foreground, and the shell goes on.
    shell.send("sleep 1000\r");
    assert!(eventually(10, || docker.call(&["top", "shell"]).ok().contains("sleep 1000")));
    shell.send("\u{3}");
    shell.send("exit 3\r");
    assert_eq!(shell.code(), 3, "run -it");
    docker.finish();
}

#[test]
fn docker_starts_twenty_containers_at_once() {
    let Some(docker) = docker() else { return };
    std::thread::scope(|scope| {
        for number in 0..20 {
            let docker = &docker;
            scope.spawn(move || {
                let word = number.to_string();
                assert_eq!(docker.run(&[], &["echo", &word]).ok(), word);
            });
        }
    });
    docker.finish();
}

#[test]
fn docker_can_not_ask_more_of_the_hardened_runtime_than_its_floor() {
    let Some(docker) = docker() else { return };
    let hardened = |flags: &[&str], words: &[&str]| docker.run(&[&["--runtime=hardened"], flags].concat(), words);
    let plain = hardened(&[], &["cat", "/proc/self/status"]).ok();
    assert_eq!(capabilities(&plain, "CapBnd"), 0x4fb, "those of the floor");
    assert!(plain.contains("NoNewPrivs:\t1") && plain.contains("Seccomp:\t2"), "{plain}");

    docker.launch("open", &["--runtime=hardened", "--privileged"], &SLEEP);
    let first = docker.call(&["exec", "open", "cat", "/proc/1/status"]).ok();
    assert_eq!(capabilities(&first, "CapBnd"), 0x4fb, "--privileged");
    let joined = docker.call(&["exec", "--privileged", "open", "cat", "/proc/self/status"]).ok();
    assert_eq!(capabilities(&joined, "CapEff"), 0x4fb, "exec --privileged");
    docker.call(&["exec", "open", "mount", "-t", "tmpfs", "none", "/data"]).expect(1);
    docker.call(&["exec", "open", "test", "-e", "/dev/kmsg"]).expect(1);
    let log = docker.runtime_log("open");
    for taken in ["process.capabilities: without", "SYS_ADMIN", "linux.devices: without", "process.noNewPrivileges"] {
        assert!(log.contains(taken), "{taken:?} is not in the runtime's log: {log}");
    }
    docker.call(&["rm", "--force", "open"]).ok();

    for (flag, word) in
        [("--pid=host", "pid namespace"), ("--ipc=host", "ipc namespace"), ("--volume=/:/host", "mounts[")]
    {
        hardened(&[flag], &["true"]).expect(125).says(&[word]);
    }
    docker.finish();
}
