//! The system-call filter, by making the calls.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use casemate_tests::{Engine, images, skip};

#[track_caller]
fn calls(engine: &Engine, flags: &[&str]) -> BTreeMap<String, String> {
    let words: Vec<&str> =
        ["run", "--rm"].iter().chain(flags).chain(&["busybox", "prober", "calls"]).copied().collect();
    let said = engine.run(&words).ok();
    said.lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, what)| (name.to_owned(), what.to_owned()))
        .collect()
}

/// What the default filter makes of each call; the errno tells the filter's word from the kernel's.
const DEFAULT: &[(&str, &[&str])] = &[
    (
        "ok",
        &[
            "getpid",
            "fchmod",
            "clone",
            "personality-ask",
            "socket-unix",
            "socket-inet",
            "socket-inet6",
            "socket-netlink-route",
        ],
    ),
    (
        "EPERM",
        &[
            "unshare-user",
            "unshare-mount",
            "unshare-net",
            "clone-user",
            "clone-mount",
            "clone-pid",
            "setns",
            "mount",
            "umount2",
            "pivot_root",
            "chroot",
            "fsopen",
            "fsconfig",
            "fsmount",
            "open_tree",
            "move_mount",
            "mount_setattr",
            "bpf",
            "perf_event_open",
            "keyctl",
            "add_key",
            "request_key",
            "userfaultfd",
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "pidfd_getfd",
            "kcmp",
            "open_by_handle_at",
            "init_module",
            "finit_module",
            "delete_module",
            "kexec_load",
            "reboot",
            "swapon",
            "swapoff",
            "acct",
            "quotactl",
            "syslog",
            "settimeofday",
            "clock_settime",
            "adjtimex",
            "sethostname",
            "fanotify_init",
            "vmsplice",
            "remap_file_pages",
            "ioctl-tiocsti",
            "ioctl-tiocsti-high-bits",
            "ioctl-tioclinux",
            "setsockopt-ulp",
            "setsockopt-ulp-high-bits",
        ],
    ),
    ("ENOSYS", &["clone3", "io_uring_setup", "io_uring_enter", "memfd_secret", "unknown-call"]),
    (
        "EAFNOSUPPORT",
        &[
            "socket-packet",
            "socket-can",
            "socket-tipc",
            "socket-bluetooth",
            "socket-rxrpc",
            "socket-alg",
            "socket-vsock",
            "socket-smc",
            "socket-xdp",
        ],
    ),
    (
        "EPROTONOSUPPORT",
        &["socket-netlink-audit", "socket-netlink-netfilter", "socket-netlink-generic", "socket-sctp", "socket-mptcp"],
    ),
    // Not refused: the kernel is asked, which the errors of no descriptor show.
    ("EBADF", &["ioctl-other", "setsockopt-other"]),
];

#[test]
fn the_default_filter_refuses_what_escapes_are_built_from() {
    let engine = Engine::new();
    for flags in [&[][..], &["-u", "app"], &["-t"]] {
        // A terminal makes lines end with CR LF.
        let found: BTreeMap<_, _> =
            calls(&engine, flags).into_iter().map(|(name, what)| (name, what.trim_end().to_owned())).collect();
        for (what, names) in DEFAULT {
            for name in *names {
                assert_eq!(found.get(*name).map(String::as_str), Some(*what), "{name} {flags:?}");
            }
        }
        // However the refusal is worded.
        for name in [
            "personality-read-implies-exec",
            "socket-key",
            "socket-inet-packet",
            "socket-packet-high-bits",
            "socketpair-tipc",
        ] {
            assert_ne!(found[name], "ok", "{name}");
        }
        if cfg!(target_arch = "x86_64") {
            for name in ["iopl", "ioperm", "modify_ldt", "uselib", "ustat"] {
                assert_eq!(found[name], "EPERM", "{name}");
            }
            for name in ["x32-getpid", "i386-getpid"] {
                assert_eq!(found[name], "SIGSYS", "{name}");
            }
        }
    }
}

#[test]
fn exec_has_the_same_filter() {
    let engine = Engine::new();
    let running = engine.sleeper("filtered", &[]);
    let said = running.sh("prober calls").ok();
    for line in ["unshare-user EPERM", "mount EPERM", "bpf EPERM", "clone3 ENOSYS", "ioctl-tiocsti EPERM"] {
        assert!(said.lines().any(|found| found == line), "{line}:\n{said}");
    }
}

#[test]
fn without_the_filter_the_kernel_answers() {
    // This is what shows that the other tests see the filter and not a kernel that would refuse anyway.
    let engine = Engine::new();
    let open = calls(&engine, &["--security-opt", "seccomp=unconfined"]);
    for (name, what) in [
        ("setns", "EBADF"),
        ("ioctl-tiocsti", "EBADF"),
        ("setsockopt-ulp", "EBADF"),
        ("vmsplice", "EBADF"),
        ("unknown-call", "ENOSYS"),
    ] {
        assert_eq!(open[name], what, "{name}");
    }
    assert_ne!(open["personality-ask"], "EPERM");
    assert_ne!(open["keyctl"], "EPERM");
    assert_eq!(
        engine.sh(&["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status").ok(),
        "Seccomp:\t0"
    );
    // A user namespace is refused by a second wall: there may be none.
    assert_ne!(open["unshare-user"], "ok", "user.max_user_namespaces is 0 inside");
}

#[test]
fn capabilities_open_their_calls() {
    let engine = Engine::new();
    let ptrace = calls(&engine, &["--cap-add", "SYS_PTRACE"]);
    assert_eq!(ptrace["ptrace"], "ok");
    assert_eq!(ptrace["pidfd_getfd"], "EBADF");
    assert_eq!(ptrace["bpf"], "EPERM", "and no others");
    let admin = calls(&engine, &["--cap-add", "SYS_ADMIN"]);
    assert_eq!(admin["setns"], "EBADF");
    assert_eq!(admin["unshare-mount"], "ok");
    for name in ["keyctl", "userfaultfd", "ioctl-tiocsti", "setsockopt-ulp", "bpf", "perf_event_open"] {
        assert_eq!(admin[name], "EPERM", "{name}");
    }
    let raw = calls(&engine, &["--cap-add", "NET_RAW"]);
    assert_eq!(raw["socket-packet"], "ok");
    assert_ne!(raw["socket-alg"], "ok");
    assert_eq!(raw["socket-netlink-netfilter"], "EPROTONOSUPPORT");
}

#[test]
fn a_profile_of_dockers_that_denies_chmod_denies_it() {
    let engine = Engine::new();
    let deny = engine.file(
        "deny.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
            "syscalls": [{"names": ["chmod", "fchmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO"}]}"#,
    );
    let option = format!("seccomp={deny}");
    let flags = ["--security-opt", option.as_str()];
    let script = "touch /tmp/f; chmod 400 /tmp/f";
    engine.sh(&[], script).ok();
    engine.sh(&flags, script).expect(1).says(&["Operation not permitted"]);
    let found = calls(&engine, &flags);
    assert_eq!(found["fchmod"], "EPERM");
    assert_eq!(found["setns"], "EBADF", "what the profile does not deny is made");
    // The policy is in force for a further process as well.
    let running = engine.sleeper("denied", &flags);
    running.sh(script).expect(1).says(&["Operation not permitted"]);
}

#[test]
fn profiles_with_conditions_arguments_and_errors() {
    let engine = Engine::new();
    let profile = engine.file(
        "conditions.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
            "syscalls": [
              {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
              {"names": ["acct"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "includes": {"caps": ["CAP_CHOWN"]}},
              {"names": ["swapoff"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "includes": {"minKernel": "99.0"}},
              {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71, "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
              {"names": ["setns"], "action": "SCMP_ACT_KILL_PROCESS"}
            ]}"#,
    );
    let option = format!("seccomp={profile}");
    let found = calls(&engine, &["--security-opt", &option]);
    assert_eq!(found["getpid"], "EOPNOTSUPP");
    assert_eq!(found["acct"], "EPERM", "the kernel's word: the rule is for a capability that it has not");
    assert_ne!(found["swapoff"], "EIO", "the rule is for a kernel to come");
    assert_eq!(found["socket-unix"], "EPROTO");
    assert_eq!(found["socket-inet"], "ok");
    assert_eq!(found["setns"], "SIGSYS");
    let found = calls(&engine, &["--security-opt", &option, "--cap-add", "CHOWN"]);
    assert_eq!(found["acct"], "EIO");
}

/// casemate's own profile in Docker's format, with another word in it.
fn own_profile(engine: &Engine, name: &str, old: &str, new: &str) -> String {
    let text = include_str!("../../docs/seccomp-default.json");
    assert!(text.contains(old), "{old}");
    format!("seccomp={}", engine.file(name, text.replacen(old, new, 1)))
}

#[test]
fn calls_newer_than_a_profile_do_not_exist() {
    let engine = Engine::new();
    // Docker's profiles say EPERM where ours says ENOSYS.
    let option = own_profile(&engine, "eperm.json", r#""defaultErrnoRet": 38"#, r#""defaultErrnoRet": 1"#);
    let found = calls(&engine, &["--security-opt", &option]);
    assert_eq!(found["unknown-call"], "ENOSYS", "newer than all that the profile names");
    assert_eq!(found["memfd_secret"], "EPERM", "older than some, and not named");
    assert_eq!(found["setns"], "EPERM");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn i386_that_a_profile_lets_in_has_no_way_around_it() {
    let engine = Engine::new();
    let with = r#""archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}],
        "syscalls": ["#;
    let option = own_profile(&engine, "i386.json", r#""syscalls": ["#, with);
    let found = calls(&engine, &["--security-opt", &option]);
    for (name, what) in [
        ("i386-getpid", "ok"),
        ("i386-socket-inet", "ok"),
        ("i386-socket-alg", "EAFNOSUPPORT"),
        // Its arguments are out of sight: the strictest of what may be meant.
        ("i386-socketcall-inet", "ENOSYS"),
        ("i386-socketcall-alg", "ENOSYS"),
        ("i386-socketcall-shutdown", "EBADF"),
        ("i386-ioctl-tiocsti", "EPERM"),
        ("i386-ioctl-other", "EBADF"),
        ("i386-setsockopt-ulp", "EPERM"),
    ] {
        assert_eq!(found[name], what, "{name}");
    }
    // Not refused, whatever the kernel makes of a size of 0; the version does not hide the call.
    assert_eq!(found["i386-ipc-shmget"], found["i386-shmget"]);
    assert_eq!(found["i386-ipc-shmget-version"], found["i386-shmget"]);
    assert_ne!(found["i386-shmget"], "EPERM");
}

#[test]
fn the_profile_that_podman_installs_is_read() {
    let path = "/usr/share/containers/seccomp.json";
    if !std::path::Path::new(path).exists() {
        return skip("no /usr/share/containers/seccomp.json: install golang-github-containers-common");
    }
    let engine = Engine::new();
    let option = format!("seccomp={path}");
    let found = calls(&engine, &["--security-opt", &option]);
    for (name, what) in
        [("getpid", "ok"), ("mount", "EPERM"), ("socket-netlink-audit", "EINVAL"), ("unknown-call", "ENOSYS")]
    {
        assert_eq!(found[name], what, "{name}");
    }
    if cfg!(target_arch = "x86_64") {
        for name in ["i386-getpid", "x32-getpid"] {
            assert_ne!(found[name], "SIGSYS", "{name}: Podman lets it in");
        }
        assert_eq!(found["i386-socketcall-inet"], "ok", "the profile names socketcall");
    }
}

#[test]
fn profiles_that_say_nothing_are_errors() {
    let engine = Engine::new();
    for (name, text) in [
        ("empty", ""),
        ("braces", "{}"),
        ("action", r#"{"defaultAction":"SCMP_ACT_ALOW"}"#),
        ("text", "not json"),
        ("key", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"chmod","actoin":"SCMP_ACT_ERRNO"}]}"#),
    ] {
        let path = engine.file(name, text);
        let output = engine.run(&["run", "--rm", "--security-opt", &format!("seccomp={path}"), "busybox", "true"]);
        assert_eq!(output.code, 125, "{name}: {}", output.stderr);
        assert!(output.stderr.contains(&path), "{name} is named: {}", output.stderr);
    }
    engine
        .run(&["run", "--rm", "--security-opt", "seccomp=/nonexistent", "busybox", "true"])
        .expect(125)
        .says(&["/nonexistent"]);
    engine
        .run(&["run", "--rm", "--security-opt", "seccmp=unconfined", "busybox", "true"])
        .expect(125)
        .says(&["seccomp"]);
}

#[test]
fn ordinary_programs_do_not_notice() {
    let tar = match images::debian() {
        Ok(tar) => tar,
        Err(reason) => return skip(&reason),
    };
    let engine = Engine::empty();
    engine.run(&["import", &tar.display().to_string(), "debian"]).ok();
    let script = "set -e; perl -e 'use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0) or die; my $pid = fork; exit 0 if !$pid; wait; print \"perl\\n\"'; \
        getent hosts localhost >/dev/null; mkfifo /tmp/f; (echo pipe > /tmp/f &); cat /tmp/f; timeout 5 bash -c 'sleep 0.1 & wait'; \
        tar -cf /tmp/x.tar -C /etc passwd; sha256sum /tmp/x.tar >/dev/null; echo done";
    let said = engine.run(&["run", "--rm", "debian", "bash", "-c", script]).ok();
    assert_eq!(said, "perl\npipe\ndone");
}
