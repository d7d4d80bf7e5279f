//! What a container gets with no flag at all: the list of hardened defaults, read from inside and from outside.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use casemate_tests::{Engine, command, host};
use serde_json::Value;

fn probe(engine: &Engine, flags: &[&str]) -> Value {
    let words: Vec<&str> = ["run", "--rm"].iter().chain(flags).chain(&["casemate/probe", "--json"]).copied().collect();
    serde_json::from_str(&engine.run(&words).ok()).expect("the probe prints JSON")
}

#[test]
fn the_probe_finds_nothing_open() {
    let engine = Engine::empty();
    let report = probe(&engine, &[]);
    assert_eq!(report["score"]["open"], 0, "{:#}", report["topics"]);
    let topics = report["topics"].as_array().unwrap();
    assert!(topics.len() >= 13);
    for topic in topics {
        // No AppArmor or SELinux on this host is a note about the host.
        let good = topic["verdict"] == "good" || topic["topic"] == "kernel";
        assert!(good, "{topic:#}");
    }
    assert!(engine.run(&["run", "--rm", "casemate/probe"]).ok().contains("identity"));
    engine.assert_nothing_left();
}

#[test]
fn the_probe_tells_when_something_is_open() {
    let engine = Engine::empty();
    let opened = [
        (&["--security-opt", "seccomp=unconfined"][..], "seccomp"),
        (&["--cap-add", "SYS_ADMIN"], "capabilities"),
        (&["--security-opt", "no-new-privileges=false"], "no-new-privileges"),
        (&["--network", "host", "--allow", "host-network"], "network"),
        (&["--userns", "host", "--allow", "host-userns"], "identity"),
        (&["--pid", "host", "--allow", "host-pid"], "namespaces"),
        (&["--read-only=false"], "mounts"),
        (&["--pids-limit", "-1"], "cgroup"),
    ];
    for (flags, topic) in opened {
        let report = probe(&engine, flags);
        let found = report["topics"].as_array().unwrap().iter().find(|entry| entry["topic"] == topic).unwrap();
        assert_ne!(found["verdict"], "good", "{flags:?}: {found:#}");
    }
}

#[test]
fn every_namespace_is_its_own() {
    let engine = Engine::new();
    let first = engine.sleeper("first", &[]).pid();
    let second = engine.sleeper("second", &[]).pid();
    for kind in ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"] {
        let names =
            [host::namespace(std::process::id(), kind), host::namespace(first, kind), host::namespace(second, kind)];
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2], "{kind}: {names:?}");
    }
    assert_eq!(host::namespace(first, "time"), host::namespace(std::process::id(), "time"));
    let third = engine.sleeper("third", &["--timens", "private"]).pid();
    assert_ne!(host::namespace(third, "time"), host::namespace(std::process::id(), "time"));
}

#[test]
fn ids_are_mapped_to_a_range_of_its_own() {
    let engine = Engine::new();
    let first = engine.sleeper("first", &[]).pid();
    let second = engine.sleeper("second", &["-u", "app"]).pid();
    let base = |pid: u32| {
        let map = |kind: &str| fs::read_to_string(format!("/proc/{pid}/{kind}_map")).unwrap();
        let fields: Vec<u32> = map("uid").split_whitespace().map(|field| field.parse().unwrap()).collect();
        assert_eq!((fields[0], fields[2], fields.len()), (0, 65_536, 3), "{fields:?}");
        assert_eq!(map("uid").split_whitespace().next(), map("gid").split_whitespace().next());
        fields[1]
    };
    assert!(base(first) >= 65_536, "no id of the host's own");
    assert!(base(first).abs_diff(base(second)) >= 65_536, "the ranges do not overlap");
    let expected = format!("{0} {0} {0} {0}", base(first));
    assert_eq!(host::status(first, "Uid"), expected);
    let expected = format!("{0} {0} {0} {0}", base(second) + 1000);
    assert_eq!(host::status(second, "Uid"), expected);
    assert_eq!(host::status(second, "Gid"), expected);
    // The image's files belong to the container's root, and nothing was copied for that.
    let owner = |path: &str| {
        let metadata = fs::symlink_metadata(format!("/proc/{first}/root/{path}")).unwrap();
        std::os::unix::fs::MetadataExt::uid(&metadata)
    };
    assert_eq!(owner("bin/busybox"), base(first));
    assert_eq!(owner("home/app"), base(first) + 1000);
    let layers: Vec<_> = fs::read_dir(engine.data().join("layers")).unwrap().flatten().collect();
    let layer = layers.iter().find(|layer| layer.file_name() != "skeleton").unwrap().path().join("fs/bin/busybox");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(layer).unwrap()), 0);
}

#[test]
fn a_range_is_not_given_away_while_it_is_held() {
    let engine = Engine::new();
    let mut bases = Vec::new();
    for number in 0..6 {
        let name = format!("held-{number}");
        let running = engine.sleeper(&name, &[]);
        bases.push(host::first_uid(running.pid()));
        if number % 2 == 0 {
            // Stopped, not removed: its range stays its own.
            engine.run(&["kill", &name]).ok();
            engine.run(&["wait", &name]).ok();
        }
    }
    engine.run(&["start", "held-0"]).ok();
    let again: u32 = engine.field("held-0", "{{.State.Pid}}").parse().unwrap();
    assert_eq!(host::first_uid(again), bases[0], "it has the same ids when it is started again");
    bases.sort_unstable();
    assert!(bases.windows(2).all(|pair| pair[1] - pair[0] >= 65_536), "{bases:?}");
}

#[test]
fn the_process_has_no_rights_as_the_host_sees_it() {
    let engine = Engine::new();
    for flags in [&[][..], &["-u", "1000"], &["--init"], &["-t"]] {
        let running = engine.sleeper("bare", flags);
        let pid = running.pid();
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(host::status(pid, set), "0000000000000000", "{set} {flags:?}");
        }
        assert_eq!(host::status(pid, "NoNewPrivs"), "1");
        assert_eq!(host::status(pid, "Seccomp"), "2");
        let groups = host::status(pid, "Groups");
        let base = host::first_uid(pid);
        assert!(groups.split_whitespace().all(|group| group.parse::<u32>().unwrap() >= base), "{groups}");
        running.remove();
    }
}

#[test]
fn no_descriptor_but_the_standard_ones_is_open() {
    let engine = Engine::new();
    assert_eq!(engine.run(&["run", "--rm", "busybox", "prober", "fds"]).ok().trim(), "0 1 2");
    // Nor what the caller left open (CVE-2024-21626).
    let script = format!(
        "exec 3</etc/shadow 7</ 9</root; exec '{}' run --rm busybox sh -c 'prober fds; ls -la /proc/1/fd /proc/self/fd'",
        casemate_tests::binary().display()
    );
    let mut shell = std::process::Command::new("bash");
    engine.environment(&mut shell);
    let said = command::run(shell.args(["-c", &script]), None, command::LIMIT).ok();
    assert!(said.starts_with("0 1 2 \n"), "{said}");
    assert!(!said.contains("shadow") && !said.contains("-> /root"), "{said}");
    let running = engine.sleeper("open", &[]);
    let open: Vec<_> =
        fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(open.len(), 3, "{open:?}");
}

#[test]
fn the_root_is_read_only_and_the_rest_is_bounded() {
    let engine = Engine::new();
    for path in [
        "/file",
        "/etc/file",
        "/bin/file",
        "/root/file",
        "/etc/hosts",
        "/etc/resolv.conf",
        "/sys/file",
        "/proc/sys/kernel/hostname",
    ] {
        let output = engine.sh(&[], &format!("echo x > {path}"));
        assert_ne!(output.code, 0, "{path} can be written to");
    }
    for path in ["/tmp", "/run", "/var/tmp", "/dev/shm"] {
        let script = format!("set -e; cp /bin/busybox {path}/x; chmod 755 {path}/x; {path}/x true");
        let output = engine.sh(&[], &script).expect(126);
        assert!(output.stderr.contains("Permission denied"), "{path}: {}", output.stderr);
    }
    let running = engine.sleeper("mounts", &[]);
    let mounts = mountinfo(running.pid());
    let options =
        |target: &str| mounts.iter().rfind(|mount| mount.0 == target).map(|mount| mount.1.clone()).unwrap_or_default();
    assert!(options("/").contains(&"ro".to_owned()), "{mounts:?}");
    for flag in ["nosuid", "nodev"] {
        assert!(options("/").contains(&flag.to_owned()), "/ is {flag}");
    }
    for target in ["/tmp", "/run", "/var/tmp", "/dev/shm"] {
        for flag in ["nosuid", "nodev", "noexec"] {
            assert!(options(target).contains(&flag.to_owned()), "{target} is {flag}: {:?}", options(target));
        }
        assert!(options(target).iter().any(|option| option.starts_with("size=")), "{target} is bounded");
    }
    for (target, what) in [
        ("/proc/sys", "ro"),
        ("/proc/bus", "ro"),
        ("/proc/irq", "ro"),
        ("/proc/fs", "ro"),
        ("/sys", "ro"),
        ("/sys/fs/cgroup", "ro"),
    ] {
        assert!(options(target).contains(&what.to_owned()), "{target}: {:?}", options(target));
    }
    // The host's tree is not there any more, and nothing propagates.
    for (target, _, propagation) in &mounts {
        assert!(propagation.is_empty(), "{target} is {propagation}");
    }
    assert!(!mounts.iter().any(|mount| mount.0.contains("casemate") || mount.0.starts_with("/.")), "{mounts:?}");
    let size = engine
        .sh(&[], "df -k /tmp | tail -1 | awk '{print $2}'; head -c 300000000 /dev/zero > /tmp/full; echo $?")
        .ok();
    assert_eq!(size.lines().next(), Some("262144"));
    assert_ne!(size.lines().last(), Some("0"), "it can't hold more than its size");
}

/// Target, options of the mount and its file system, and how it propagates.
fn mountinfo(pid: u32) -> Vec<(String, Vec<String>, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    text.lines()
        .map(|line| {
            let (mount, system) = line.split_once(" - ").unwrap();
            let fields: Vec<&str> = mount.split(' ').collect();
            let options = fields[5].split(',').chain(system.rsplit(' ').next().unwrap().split(','));
            (fields[4].to_owned(), options.map(str::to_owned).collect(), fields[6..].join(" ").trim().to_owned())
        })
        .collect()
}

#[test]
fn what_the_kernel_tells_of_the_host_is_masked() {
    let engine = Engine::new();
    let running = engine.sleeper("masked", &[]);
    let lists = [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/kallsyms",
        "/proc/kmsg",
        "/proc/interrupts",
        "/proc/kpagecount",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/timer_stats",
        "/proc/acpi",
        "/proc/scsi",
        "/proc/asound",
        "/sys/firmware",
        "/sys/kernel/debug",
        "/sys/kernel/security",
        "/sys/kernel/tracing",
        "/sys/fs/bpf",
        "/sys/devices/virtual/powercap",
    ];
    for path in lists {
        if !Path::new(path).exists() {
            continue;
        }
        let script = format!("if [ -d {path} ]; then ls {path}; else cat {path}; fi");
        let output = running.sh(&script);
        assert_eq!(output.stdout(), "", "{path} tells something");
    }
    for path in [
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/sys/kernel/uevent_helper",
        "/proc/irq/default_smp_affinity",
    ] {
        assert_ne!(running.sh(&format!("echo x > {path}")).code, 0, "{path} can be written to");
    }
    assert_eq!(running.sh("dmesg").stdout(), "");
    // Nobody else's processes.
    assert!(running.sh("ls -d /proc/[0-9]* | wc -l").ok().parse::<u32>().unwrap() <= 4);
}

#[test]
fn the_devices_are_the_few_that_programs_need() {
    let engine = Engine::new();
    let list = engine.sh(&[], "find /dev -type c -o -type b | sort").ok();
    let expected = [
        "/dev/full",
        "/dev/null",
        "/dev/ptmx",
        "/dev/pts/ptmx",
        "/dev/random",
        "/dev/tty",
        "/dev/urandom",
        "/dev/zero",
    ];
    assert!(list.lines().all(|device| expected.contains(&device)), "{list}");
    assert_eq!(list.lines().filter(|device| device.starts_with("/dev/")).count(), list.lines().count());
    let script = "set -e; head -c 4 /dev/urandom | wc -c; echo x > /dev/null; head -c 2 /dev/zero | wc -c; for l in stdout fd ptmx; do readlink /dev/$l; done; \
        echo x > /dev/full";
    let output = engine.sh(&[], script).expect(1);
    assert!(output.stdout().starts_with("4\n2\n/proc/self/fd/1\n/proc/self/fd\npts/ptmx"), "{}", output.stdout());
    for (kind, numbers) in [("b", "8 0"), ("c", "1 1"), ("c", "10 200")] {
        assert_ne!(engine.sh(&[], &format!("mknod /tmp/d {kind} {numbers}")).code, 0, "{kind} {numbers}");
    }
}

#[test]
fn the_network_is_its_own_loopback_and_nothing_else() {
    let engine = Engine::new();
    assert_eq!(engine.sh(&[], "ls /sys/class/net").ok(), "lo");
    assert_eq!(engine.sh(&[], "ip route; ip -6 route | grep -v -E 'lo|^$'; true").ok(), "");
    assert_eq!(engine.run(&["run", "--rm", "-u", "app", "busybox", "prober", "bind", "80"]).ok(), "listening on 80");
    let script =
        "nc -l -p 5000 > /tmp/got & sleep 0.2; echo over loopback | nc -w 1 127.0.0.1 5000; wait; cat /tmp/got";
    assert_eq!(engine.sh(&[], script).ok(), "over loopback");
    assert_ne!(engine.sh(&[], "ip link add type dummy").code, 0);
    assert_ne!(engine.sh(&[], "nc -w 1 1.1.1.1 53 </dev/null").code, 0);
}

#[test]
fn the_state_is_for_the_engine_only() {
    let engine = Engine::new();
    let running = engine.sleeper("closed", &[]);
    for path in [engine.data().to_path_buf(), engine.run_root(), engine.data().join("containers").join(&running.id)] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700, "{}", path.display());
    }
    // Whatever the umask.
    let other = Engine::empty();
    let script = format!("umask 0; exec '{}' images", casemate_tests::binary().display());
    let mut shell = std::process::Command::new("sh");
    other.environment(&mut shell);
    command::run(shell.args(["-c", &script]), None, command::LIMIT).ok();
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(other.data()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
    // Sockets have paths: a name of the network namespace could be reached from containers on the host's network.
    let sockets = fs::read_to_string("/proc/net/unix").unwrap();
    let abstract_ones = sockets.lines().filter(|line| line.contains('@') && line.contains("casemate")).count();
    assert_eq!(abstract_ones, 0);
}

#[test]
fn a_container_can_not_see_or_signal_its_supervisor() {
    let engine = Engine::new();
    let running = engine.sleeper("inside", &[]);
    let supervisors = host::processes_with(&engine.mark());
    assert!(!supervisors.is_empty(), "something looks after it");
    assert!(!supervisors.contains(&running.pid()), "the container's environment has nothing of the engine's");
    for supervisor in supervisors {
        for kind in ["pid", "mnt", "user"] {
            assert_eq!(host::namespace(supervisor, kind), host::namespace(std::process::id(), kind));
        }
    }
    assert_eq!(running.sh("cat /proc/1/environ | tr '\\0' '\\n' | grep -c CASEMATE").stdout(), "0");
}

#[test]
fn cgroups_show_nothing_of_the_host() {
    let engine = Engine::new();
    let said = engine.sh(&[], "cat /proc/self/cgroup; ls /sys/fs/cgroup; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; true").ok();
    for line in said.lines().filter(|line| line.contains(':')) {
        assert!(line.ends_with(":/"), "the container's own group is the root of what it sees: {line}");
    }
    assert!(said.lines().any(|line| line == "512"), "it can read its limits: {said}");
    for write in [
        "echo 1000 > /sys/fs/cgroup/pids/pids.max",
        "echo 1 > /sys/fs/cgroup/pids.max",
        "mkdir /sys/fs/cgroup/pids/x",
        "mkdir /sys/fs/cgroup/x",
    ] {
        assert_ne!(engine.sh(&[], write).code, 0, "{write}");
    }
}
