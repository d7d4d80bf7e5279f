//! Capabilities: none by default, those that are asked for where they work, in no set where they don't belong.
#![forbid(unsafe_code)]

use casemate_tests::{Engine, host};

const NET_RAW: &str = "0000000000002000";
const NONE: &str = "0000000000000000";

#[track_caller]
fn sets(pid: u32) -> [String; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| host::status(pid, set))
}

#[test]
fn one_that_is_asked_for_is_had_by_root_and_by_users() {
    let engine = Engine::new();
    let root = engine.sleeper("root", &["--cap-add", "CAP_NET_RAW"]);
    assert_eq!(sets(root.pid()), [NONE, NET_RAW, NET_RAW, NET_RAW, NONE]);
    // A user has it through the ambient set, which the kernel lets be there only where it is inheritable.
    let user = engine.sleeper("user", &["--cap-add", "net_raw", "-u", "app"]);
    assert_eq!(sets(user.pid()), [NET_RAW; 5]);
    for running in [root, user] {
        assert!(running.sh("prober calls | grep socket-inet-raw").ok().ends_with(" ok"), "{}", running.id);
    }
    let none = engine.sleeper("none", &["-u", "app"]);
    assert_eq!(sets(none.pid()), [NONE; 5]);
    assert!(none.sh("prober calls | grep socket-inet-raw").ok().ends_with(" EPERM"));
}

#[test]
fn dropping_takes_away_and_all_is_understood() {
    let engine = Engine::new();
    let running = engine.sleeper("kept", &["--cap-add", "CHOWN", "--cap-add", "KILL", "--cap-drop", "kill"]);
    assert_eq!(sets(running.pid())[3], "0000000000000001");
    running.remove();
    let running = engine.sleeper("again", &["--cap-drop", "all", "--cap-add", "CHOWN"]);
    assert_eq!(sets(running.pid())[3], "0000000000000001");
}

#[test]
fn all_are_those_that_the_engine_has() {
    let engine = Engine::new();
    let running = engine.sleeper("all", &["--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"]);
    let mut expected = u64::from_str_radix(&host::status(std::process::id(), "CapBnd"), 16).unwrap();
    expected &= !(1 << 24);
    assert_eq!(u64::from_str_radix(&sets(running.pid())[3], 16).unwrap(), expected);
}

#[test]
fn every_capability_has_a_name_that_is_understood() {
    let engine = Engine::new();
    let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
    let names = [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ];
    assert!(names.len() > last as usize);
    let mut words = vec!["create", "--name", "named"];
    for name in names {
        words.extend(["--cap-add", name]);
    }
    words.extend(["busybox", "true"]);
    engine.run(&words).ok();
    assert_eq!(engine.field("named", "{{len .HostConfig.CapAdd}}"), "41");
    for (wrong, meant) in [("SYS_ADMINN", "SYS_ADMIN"), ("CAP_NET_RWA", "NET_RAW"), ("", "")] {
        engine.run(&["create", &format!("--cap-add={wrong}"), "busybox"]).expect(125).says(&[meant]);
    }
}

#[test]
fn what_a_capability_gives_is_given_inside_only() {
    let engine = Engine::new();
    let chown = "touch /tmp/f && chown 33 /tmp/f && stat -c %u /tmp/f";
    assert_ne!(engine.sh(&[], chown).code, 0);
    assert_eq!(engine.sh(&["--cap-add", "CHOWN"], chown).ok(), "33");
    let switch = "su app -c 'id -u'";
    assert_ne!(engine.sh(&[], switch).code, 0);
    assert_eq!(engine.sh(&["--cap-add", "SETUID", "--cap-add", "SETGID"], switch).ok(), "1000");
    // With all of the container's, still nothing of the host's: the host's clock, modules and kernel settings.
    let flags =
        ["--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "--read-only=false"];
    for script in [
        "date -s 2001-01-01 2>&1 | grep -v permitted | grep -v 2001",
        "insmod /nonexistent.ko",
        "echo x > /proc/sys/kernel/core_pattern",
        "mknod /disk b 8 0",
        "dmesg -c | grep .",
    ] {
        assert_ne!(engine.sh(&flags, script).code, 0, "{script}");
    }
}

#[test]
fn a_set_user_id_program_gains_nothing() {
    let engine = Engine::new();
    let said = engine.run(&["run", "--rm", "-u", "app", "busybox", "prober-suid", "ids"]).ok();
    assert!(said.starts_with("uid 1000 1000 1000 gid 1000 1000 1000"), "{said}");
    // Not even in a mount that was asked to let the bits count: no-new-privileges stands behind it.
    let script = "cp /bin/prober-suid /x/p && chmod 6755 /x/p && /x/p ids";
    let said = engine.sh(&["--tmpfs", "/x:exec,suid,uid=1000", "-u", "app"], script).ok();
    assert!(said.starts_with("uid 1000 1000 1000"), "{said}");
    // Where it is asked for, it works as ever.
    let said = engine
        .run(&[
            "run",
            "--rm",
            "-u",
            "app",
            "--security-opt",
            "no-new-privileges=false",
            "busybox",
            "prober-suid",
            "ids",
        ])
        .ok();
    assert!(said.starts_with("uid 1000 0 0"), "{said}");
    assert_eq!(
        engine.sh(&["--security-opt", "no-new-privileges=false"], "grep NoNewPrivs /proc/self/status").ok(),
        "NoNewPrivs:\t0"
    );
}
