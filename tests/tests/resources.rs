//! Limits: the defaults hold, and every flag is seen where the kernel reads it.
#![forbid(unsafe_code)]

use std::fs;

use casemate_tests::{Engine, eventually, host, skip};

#[test]
fn the_defaults_are_in_the_control_group() {
    let engine = Engine::new();
    let running = engine.sleeper("default", &[]);
    let pid = running.pid();
    assert_eq!(host::limit(pid, "memory", "memory.limit_in_bytes", "memory.max"), (512 << 20).to_string());
    if host::on_v1("memory") {
        let both = host::cgroup(pid, "memory").join("memory.memsw.limit_in_bytes");
        // Not every kernel counts swap; one without swap has none to give either.
        if both.exists() {
            assert_eq!(fs::read_to_string(both).unwrap().trim(), (512 << 20).to_string());
        }
    } else {
        assert_eq!(host::limit(pid, "memory", "", "memory.swap.max"), "0");
    }
    assert_eq!(host::limit(pid, "pids", "pids.max", "pids.max"), "512");
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    let quota: u64 = if host::on_v1("cpu") {
        host::limit(pid, "cpu", "cpu.cfs_quota_us", "").parse().unwrap()
    } else {
        host::limit(pid, "cpu", "", "cpu.max").split(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(quota, cpus * 90_000, "all but a tenth of {cpus} processors");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("Max open files"), ["1024", "4096"]);
    assert_eq!(line("Max core file size"), ["0", "0"]);
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    let score: i32 = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().parse().unwrap();
    assert!(score > own, "it is killed before what started it: {score} and {own}");
    assert_eq!(score, 500);
    assert_eq!(running.sh("df -k /dev/shm | tail -1 | awk '{print $2}'").ok(), "65536");
    // The process was never elsewhere: its group holds it, and the engine's does not.
    assert!(host::cgroup(pid, "pids").ends_with(&running.id));
}

/// Flags, the controller, and what its file says: name and value in version 1, and in version 2.
type Case<'a> = (&'a [&'a str], &'a str, &'a str, &'a str, &'a str, &'a str);

#[test]
fn every_flag_is_seen_by_the_kernel() {
    let engine = Engine::new();
    let cases: &[Case<'_>] = &[
        (&["--memory", "64m"], "memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864"),
        (&["-m", "1g"], "memory", "memory.limit_in_bytes", "1073741824", "memory.max", "1073741824"),
        (
            &["--memory", "64m", "--memory-reservation", "32m"],
            "memory",
            "memory.soft_limit_in_bytes",
            "33554432",
            "memory.low",
            "33554432",
        ),
        (&["--cpus", "0.5"], "cpu", "cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"),
        (
            &["--cpu-period", "50000", "--cpu-quota", "20000"],
            "cpu",
            "cpu.cfs_quota_us",
            "20000",
            "cpu.max",
            "20000 50000",
        ),
        (
            &["--cpu-period", "50000", "--cpu-quota", "20000"],
            "cpu",
            "cpu.cfs_period_us",
            "50000",
            "cpu.max",
            "20000 50000",
        ),
        (&["--cpu-shares", "512"], "cpu", "cpu.shares", "512", "cpu.weight", "20"),
        (&["--cpuset-cpus", "0"], "cpuset", "cpuset.cpus", "0", "cpuset.cpus", "0"),
        (&["--cpuset-mems", "0"], "cpuset", "cpuset.mems", "0", "cpuset.mems", "0"),
        (&["--pids-limit", "33"], "pids", "pids.max", "33", "pids.max", "33"),
        (&["--pids-limit", "-1"], "pids", "pids.max", "max", "pids.max", "max"),
    ];
    for (number, (flags, controller, v1, v1_value, v2, v2_value)) in cases.iter().enumerate() {
        let running = engine.sleeper(&format!("case-{number}"), flags);
        let value = host::limit(running.pid(), controller, v1, v2);
        assert_eq!(value, *if host::on_v1(controller) { v1_value } else { v2_value }, "{flags:?}");
        running.remove();
    }
    let running = engine.sleeper("oom", &["--oom-score-adj", "700"]);
    assert_eq!(fs::read_to_string(format!("/proc/{}/oom_score_adj", running.pid())).unwrap().trim(), "700");
    running.remove();
    assert_eq!(engine.sh(&["--shm-size", "8m"], "df -k /dev/shm | tail -1 | awk '{print $2}'").ok(), "8192");
    assert_eq!(
        engine.sh(&["--ulimit", "nofile=100:200", "--ulimit", "nproc=77"], "ulimit -n; ulimit -Hn; ulimit -u").ok(),
        "100\n200\n77"
    );
}

#[test]
fn block_device_limits_are_seen_by_the_kernel() {
    let engine = Engine::new();
    // Of a whole disk, whichever there is.
    let disk = fs::read_dir("/sys/block").unwrap().flatten().find(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        fs::exists(format!("/dev/{name}")).unwrap_or(false) && !name.starts_with("ram")
    });
    let Some(disk) = disk else { return skip("no-block-device: there is none in /sys/block with a file in /dev") };
    let device = format!("/dev/{}", disk.file_name().to_string_lossy());
    let numbers = fs::read_to_string(disk.path().join("dev")).unwrap().trim().to_owned();
    let cases = [
        ("--device-read-bps", "1m", "blkio.throttle.read_bps_device", "1048576", "rbps"),
        ("--device-write-bps", "2m", "blkio.throttle.write_bps_device", "2097152", "wbps"),
        ("--device-read-iops", "100", "blkio.throttle.read_iops_device", "100", "riops"),
        ("--device-write-iops", "200", "blkio.throttle.write_iops_device", "200", "wiops"),
    ];
    for (flag, rate, v1, value, v2) in cases {
        let running = engine.sleeper(&format!("io{flag}"), &[flag, &format!("{device}:{rate}")]);
        let pid = running.pid();
        if !host::cgroup(pid, "blkio").join(if host::on_v1("blkio") { v1 } else { "io.max" }).exists() {
            skip("no-blkio-throttle: this kernel does not limit block devices");
            // Then it must say so.
            assert!(
                engine.inspect(&running.id)["Warnings"].to_string().contains("disk"),
                "{flag} is not dropped silently"
            );
            return;
        }
        let found = host::limit(pid, "blkio", v1, "io.max");
        let expected = if host::on_v1("blkio") { format!("{numbers} {value}") } else { format!("{v2}={value}") };
        assert!(found.contains(&expected), "{flag}: {found}");
        running.remove();
    }
    engine
        .run(&["run", "--rm", "--device-read-bps", "/dev/null:1m", "busybox", "true"])
        .expect(125)
        .says(&["/dev/null"]);
    engine
        .run(&["run", "--rm", "--device-read-bps", "/dev/nothing:1m", "busybox", "true"])
        .expect(125)
        .says(&["/dev/nothing"]);
}

#[test]
fn what_the_host_can_not_give_is_said() {
    let engine = Engine::new();
    // More processors than there are.
    let running = engine.run(&["run", "-d", "--name", "many", "--cpus", "4096", "busybox", "sleep", "1000"]).expect(0);
    assert_eq!(running.stderr.lines().count(), 1, "a line of warning: {}", running.stderr);
    assert!(running.stderr.contains("warning: ") && running.stderr.contains("processors"), "{}", running.stderr);
    assert!(engine.inspect("many")["Warnings"][0].as_str().unwrap().contains("processors"));
    let quiet = engine.sh(&[], "true").expect(0);
    let known = engine.run(&["info", "--format", "{{json .Warnings}}"]).ok();
    if known == "[]" {
        assert_eq!(quiet.stderr, "");
    }
}

#[test]
fn a_fork_bomb_is_contained() {
    let engine = Engine::new();
    // The shell that forks gives up when it can't; what it started stays, with the first process.
    let bomb = "sh -c 'while :; do sleep 100 & done'; while :; do :; done";
    let running = engine.background("bomb", &[], &["sh", "-c", bomb]);
    let pids = host::cgroup(running.pid(), "pids");
    let count = || fs::read_to_string(pids.join("pids.current")).unwrap_or_default().trim().parse::<u32>().unwrap_or(0);
    let mut most = 0;
    eventually(10, || {
        most = most.max(count());
        most >= 512
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!((510..=512).contains(&most) && count() <= 512, "{most}, then {} processes", count());
    // And the host is none the worse for it.
    assert_eq!(engine.sh(&[], "echo fine").ok(), "fine");
    engine.run(&["rm", "-f", "bomb"]).ok();
    assert!(!pids.exists());
    engine.assert_nothing_left();
}

#[test]
fn a_memory_hog_is_killed_and_that_is_told() {
    let engine = Engine::new();
    engine.run(&["run", "--name", "hog", "busybox", "prober", "eat", "700"]).expect(137);
    assert_eq!(engine.field("hog", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    engine.run(&["run", "--name", "small", "-m", "32m", "busybox", "prober", "eat", "64"]).expect(137);
    assert_eq!(engine.field("small", "{{.State.OOMKilled}}"), "true");
    assert_eq!(engine.run(&["run", "--rm", "-m", "128m", "busybox", "prober", "eat", "64"]).ok(), "took 64 MiB");
    // What is in its tmpfs counts as its own.
    engine.run(&["run", "--name", "full", "-m", "32m", "busybox", "sh", "-c", "head -c 64000000 /dev/zero > /tmp/x"]);
    assert_eq!(engine.field("full", "{{.State.OOMKilled}}"), "true");
    // A child that is killed is not the container.
    let said = engine.sh(&["-m", "32m", "--name", "child"], "prober eat 64; echo code $?").ok();
    assert_eq!(said, "code 137");
}

#[test]
fn the_processor_ceiling_holds() {
    let engine = Engine::new();
    let running = engine.background("busy", &["--cpus", "0.2"], &["sh", "-c", "while :; do :; done"]);
    let pid = running.pid();
    let used = || {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<&str> = text.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = used();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let ticks = used() - before;
    // 100 ticks a second: 40 in two seconds; twice that would be no ceiling.
    assert!((10..=80).contains(&ticks), "{ticks} hundredths of a second of two seconds");
}

#[test]
fn wrong_limits_are_named() {
    let engine = Engine::new();
    for (flags, says) in [
        (&["--memory", "1"][..], "memory"),
        (&["--memory=-5"], "memory"),
        (&["--memory", "10x"], "10x"),
        (&["--memory", "128m", "--memory-swap", "64m"], "memory-swap"),
        (&["--cpus=-1"], "cpus"),
        (&["--cpus", "x"], "cpus"),
        (&["--cpus", "1", "--cpu-quota", "5000"], "cpu"),
        (&["--cpuset-cpus", "9999"], "cpuset"),
        (&["--cpuset-cpus", "0-"], "cpuset"),
        (&["--pids-limit", "many"], "pids-limit"),
        (&["--ulimit", "nofile=5:2"], "nofile"),
        (&["--ulimit", "core"], "core"),
        (&["--shm-size", "huge"], "shm-size"),
        (&["--oom-score-adj", "5000"], "oom-score-adj"),
        (&["--blkio-weight", "5"], "blkio-weight"),
    ] {
        let words: Vec<&str> = ["run", "--rm"].iter().chain(flags).chain(&["busybox", "true"]).copied().collect();
        let output = engine.run(&words);
        assert_eq!(output.code, 125, "{flags:?}: {}", output.stderr);
        assert!(output.stderr.contains(says), "{flags:?} should speak of {says}: {}", output.stderr);
    }
    engine.assert_nothing_left();
}
