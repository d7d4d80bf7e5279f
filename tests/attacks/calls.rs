//! What of the kernel can be reached: the entries that escapes by way of it begin with.

use std::collections::BTreeMap;

use crate::table::Attack;
use crate::ways::{self, Way};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        test: "calls::namespaces_are_made",
        section: 'E',
        ids: "CVE-2022-0185, CVE-2022-25636, CVE-2022-1015, CVE-2023-0179, CVE-2023-32233, CVE-2024-1086, CVE-2026-23111, CVE-2026-43284, CVE-2026-46300, CVE-2026-43456, CVE-2022-0492, CVE-2023-0386",
        attempt: "A user namespace, and in it a network or mount namespace, by `unshare`, `clone`, `clone3` and `setns`; a file system by `mount`, `fsopen`, `fsconfig`, `open_tree`; with and without the filter",
        defence: "The filter refuses them (EPERM, `clone3` ENOSYS); behind it, `user.max_user_namespaces` is 0 in the container's own user namespace; no capability",
        result: "EPERM, ENOSYS; without the filter ENOSPC for namespaces and EPERM for mounts",
        red: "in the test: with `seccomp=unconfined` and `--sysctl user.max_user_namespaces=10`, `unshare -U` succeeds",
    },
    Attack {
        test: "calls::socket_families_are_had",
        section: 'E',
        ids: "CVE-2016-8655, CVE-2017-7308, CVE-2020-14386, CVE-2021-22600, CVE-2025-38617 (AF_PACKET); CVE-2026-31431 (AF_ALG); CVE-2026-43500 (AF_RXRPC); CVE-2025-21756, CVE-2025-38618 (AF_VSOCK); AF_TIPC, AF_CAN, AF_XDP, AF_BLUETOOTH, AF_SMC, AF_KEY",
        attempt: "A socket of each of the 45 families, of every type; AF_ALG through the i386 entry, as `socket` and as `socketcall`, and through x32; netlink protocols beside routing; raw sockets",
        defence: "Families by allow-list: UNIX, INET, INET6, NETLINK for routing; foreign architectures are killed",
        result: "only those four; SIGSYS for i386 and x32",
        red: "in the test: with `seccomp=unconfined` more families, and the i386 entry, are had",
    },
    Attack {
        test: "calls::kernel_tls_is_switched_on",
        section: 'E',
        ids: "kTLS: eight entries of gVisor's list, such as CVE-2024-0646, CVE-2025-39946",
        attempt: "`setsockopt(SOL_TCP, TCP_ULP, \"tls\")` on a connected socket, also with high bits set in the arguments",
        defence: "The filter compares the 32 bits that the kernel looks at",
        result: "EPERM",
        red: "in the test: with `seccomp=unconfined` the kernel answers something else",
    },
    Attack {
        test: "calls::calls_that_escapes_begin_with_are_made",
        section: 'E',
        ids: "io_uring (10 of gVisor's list), bpf, perf, userfaultfd, CVE-2016-0728 (keyrings), ptrace, process_vm_*, kcmp, \"shocker\" (open_by_handle_at), modify_ldt, personality, vmsplice, adjtimex, swapon, quotactl, module and kexec loading",
        attempt: "Each of the calls, with arguments that the kernel would not refuse for their own sake where that does no harm",
        defence: "The filter",
        result: "EPERM or ENOSYS, never the kernel's own answer",
        red: "in the test: with `seccomp=unconfined` the kernel's own errors come back",
    },
    Attack {
        test: "calls::a_file_is_opened_by_its_handle",
        section: 'F',
        ids: "\"shocker\", CAP_DAC_READ_SEARCH",
        attempt: "`open_by_handle_at` of inode 2, the root of the host's file system, through a bind mount of it",
        defence: "The filter, and no CAP_DAC_READ_SEARCH in the host's user namespace",
        result: "EPERM; EPERM as well with the call and the capability allowed, in a user namespace",
        red: "in the test: with the host's user namespace, no filter and the capability it is opened",
    },
];

fn answers(way: &dyn Way, words: &[&str]) -> BTreeMap<String, String> {
    let said = way.first(words).ok();
    let lines = said.lines().filter_map(|line| line.trim_end().rsplit_once(' '));
    lines.map(|(name, what)| (name.to_owned(), what.to_owned())).collect()
}

#[test]
fn namespaces_are_made() {
    let names = [
        "unshare-user",
        "unshare-mount",
        "unshare-net",
        "clone-user",
        "clone-mount",
        "clone-pid",
        "setns",
        "mount",
        "fsopen",
        "fsconfig",
        "fsmount",
        "open_tree",
        "move_mount",
        "pivot_root",
    ];
    ways::each_hardened(|way| {
        let found = answers(way, &["/bin/prober", "calls"]);
        for name in names {
            assert_eq!(found[name], "EPERM", "{name}, {}", way.name());
        }
        assert_eq!(found["clone3"], "ENOSYS", "{}", way.name());
        for script in [
            "unshare -Ur true",
            "unshare -Urn true",
            "unshare -m true",
            "mount -t tmpfs none /tmp",
            "mount -t proc none /tmp",
            "chroot / true",
            "nsenter -t 1 -m true",
        ] {
            let output = way.sh(script);
            assert_ne!(output.code, 0, "{script}, {}", way.name());
        }
    });
    // Behind the filter there is a second wall.
    let open = ways::run(&["--security-opt", "seccomp=unconfined"]);
    for script in ["unshare -U true", "unshare -Ur true", "unshare -m true", "mount -t tmpfs none /tmp"] {
        assert_ne!(open.first(&["sh", "-c", script]).code, 0, "{script} without a filter");
    }
    let wide_open = ways::run(&["--security-opt", "seccomp=unconfined", "--sysctl", "user.max_user_namespaces=10"]);
    wide_open.first(&["sh", "-c", "unshare -U true"]).ok();
}

#[test]
fn socket_families_are_had() {
    // UNIX, INET, INET6, NETLINK.
    let allowed = ["family 1", "family 2", "family 10", "family 16"];
    ways::each_hardened(|way| {
        let found = answers(way, &[ways::ATTACKER, "families"]);
        let had: Vec<&str> = found.iter().filter(|(_, what)| *what == "ok").map(|(name, _)| name.as_str()).collect();
        for name in &had {
            assert!(allowed.contains(name), "{name}, {}", way.name());
        }
        assert_eq!(had.len(), allowed.len(), "{had:?}, {}", way.name());
        for family in 3..46 {
            let what = &found[&format!("family {family}")];
            let refused = ["EAFNOSUPPORT", "ENOSYS", "EPERM"].contains(&what.as_str());
            assert!(refused || allowed.contains(&&*format!("family {family}")), "{family}: {what}, {}", way.name());
        }
        if cfg!(target_arch = "x86_64") {
            for name in ["i386-socket", "i386-socketcall", "x32-socket"] {
                assert_eq!(found[name], "SIGSYS", "{name}, {}", way.name());
            }
        }
        let found = answers(way, &["/bin/prober", "calls"]);
        for name in [
            "socket-netlink-audit",
            "socket-netlink-netfilter",
            "socket-netlink-generic",
            "socket-packet",
            "socket-inet-raw",
            "socket-packet-high-bits",
            "socket-sctp",
            "socket-mptcp",
        ] {
            assert_ne!(found[name], "ok", "{name}, {}", way.name());
        }
    });
    let open = answers(ways::run(&["--security-opt", "seccomp=unconfined"]).as_ref(), &[ways::ATTACKER, "families"]);
    if cfg!(target_arch = "x86_64") {
        assert_ne!(open["x32-socket"], "SIGSYS");
    }
    assert!(open.values().filter(|what| *what != "ENOSYS").count() > 10, "the kernel answers: {open:?}");
}

#[test]
fn kernel_tls_is_switched_on() {
    ways::each_hardened(|way| {
        let found = answers(way, &["/bin/prober", "calls"]);
        for name in ["setsockopt-ulp", "setsockopt-ulp-high-bits"] {
            assert_eq!(found[name], "EPERM", "{name}, {}", way.name());
        }
        assert_eq!(found["setsockopt-other"], "EBADF");
        assert_eq!(way.first(&[ways::ATTACKER, "tls"]).ok(), "tls EPERM", "{}", way.name());
    });
    let open = ways::run(&["--security-opt", "seccomp=unconfined"]);
    assert_ne!(open.first(&[ways::ATTACKER, "tls"]).ok(), "tls EPERM");
}

#[test]
fn calls_that_escapes_begin_with_are_made() {
    let refused = [
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
        "io_uring_setup",
        "io_uring_enter",
        "memfd_secret",
        "unknown-call",
    ];
    ways::each_hardened(|way| {
        let found = answers(way, &["/bin/prober", "calls"]);
        for name in refused {
            assert!(["EPERM", "ENOSYS"].contains(&found[name].as_str()), "{name}: {}, {}", found[name], way.name());
        }
        assert_ne!(found["personality-read-implies-exec"], "ok", "{}", way.name());
        for name in ["iopl", "ioperm", "modify_ldt", "uselib", "ustat"].iter().filter(|_| cfg!(target_arch = "x86_64"))
        {
            assert_eq!(found[*name], "EPERM", "{name}, {}", way.name());
        }
        // A process that joins has the same filter.
        let second = way.second(&["/bin/prober", "calls"]).ok();
        for (name, what) in &found {
            assert!(
                second.contains(&format!("{name} {what}")),
                "{name} is {what} in the first process only, {}",
                way.name()
            );
        }
    });
    let open = answers(ways::run(&["--security-opt", "seccomp=unconfined"]).as_ref(), &["/bin/prober", "calls"]);
    for (name, what) in [("setns", "EBADF"), ("vmsplice", "EBADF"), ("pidfd_getfd", "EBADF")] {
        assert_eq!(open[name], what, "{name} without a filter");
    }
}

#[test]
fn a_file_is_opened_by_its_handle() {
    ways::each_hardened(|way| {
        assert_eq!(way.first(&[ways::ATTACKER, "handle", "/etc"]).ok(), "handle EPERM", "{}", way.name());
    });
    let engine = ways::engine();
    let source = engine.directory("source");
    let mount = format!("{source}:/x");
    let attempt = |flags: &[&str]| {
        let words: Vec<&str> = ["run", "--rm", "-v", &mount]
            .iter()
            .chain(flags)
            .chain(&["busybox", "attacker", "handle", "/x"])
            .copied()
            .collect();
        engine.run(&words).ok()
    };
    let capability = ["--security-opt", "seccomp=unconfined", "--cap-add", "DAC_READ_SEARCH"];
    assert_eq!(attempt(&[]), "handle EPERM");
    assert_eq!(attempt(&capability), "handle EPERM");
    let host: Vec<&str> = ["--userns", "host", "--allow", "host-userns"].iter().chain(&capability).copied().collect();
    let said = attempt(&host);
    // A file system other than ext4 and its like has other handles.
    assert!(said == "handle opened" || said == "handle ESTALE", "{said}");
}
