//! The default profile, call by call; what `docs/seccomp.md` says of it; and Docker's JSON.

use super::*;
use crate::{Capability, CapabilitySet, syscalls};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EAFNOSUPPORT: Option<u32> = Some(97);
const EPROTONOSUPPORT: Option<u32> = Some(93);
const CLOEXEC_NONBLOCK: u64 = 0x8_0800;
const KERNEL: (u32, u32) = (5, 15);

fn rules_with(caps: &[Capability]) -> Rules {
    let caps: CapabilitySet = caps.iter().copied().collect();
    Profile::default_hardened().resolve(Arch::X86_64, &caps, KERNEL)
}

fn rules() -> Rules {
    rules_with(&[])
}

/// What happens to a call with these first arguments: `None` if it is made, or its error number.
fn errno(rules: &Rules, name: &str, args: &[u64]) -> Option<u32> {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    let decision = rules.decide(name, all);
    match decision.action {
        Action::Allow => None,
        Action::Errno => decision.errno,
        other => panic!("{name}: {other:?}"),
    }
}

fn custom(json: &str) -> Rules {
    Profile::parse(json).unwrap().resolve(Arch::X86_64, &CapabilitySet::empty(), KERNEL)
}

#[test]
fn what_ordinary_programs_need_is_made() {
    let rules = rules();
    let names = "read write openat close mmap mprotect munmap brk rt_sigaction ioctl pread64 access pipe2 select mremap madvise \
        dup nanosleep getpid sendfile connect accept4 bind listen sendmsg recvmsg fork vfork execve exit_group wait4 kill uname \
        fcntl flock fsync rename mkdir rmdir unlink symlink readlink chmod fchown umask getrlimit sysinfo getuid setuid setgid \
        setgroups capget capset prctl arch_prctl futex epoll_create1 epoll_wait eventfd2 signalfd4 timerfd_create inotify_init1 \
        statx getrandom memfd_create rseq membarrier copy_file_range splice sched_setaffinity set_robust_list set_tid_address \
        shmget semop msgget mq_open io_setup io_submit pkey_alloc landlock_create_ruleset seccomp close_range openat2 faccessat2 \
        pidfd_open futex_waitv fchmodat2 mseal preadv2 name_to_handle_at mincore mlock clock_nanosleep restart_syscall";
    for name in names.split_whitespace() {
        assert!(syscalls::is_known(name), "{name}");
        assert_eq!(errno(&rules, name, &[]), None, "{name}");
    }
}

#[test]
fn what_issue_2_refuses_is_refused() {
    let rules = rules();
    let refused = "unshare setns mount umount2 pivot_root fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr bpf \
        perf_event_open keyctl add_key request_key userfaultfd ptrace process_vm_readv process_vm_writev kcmp uselib ustat sysfs \
        create_module nfsservctl modify_ldt open_by_handle_at kexec_load init_module reboot swapon acct quotactl chroot iopl \
        ioperm syslog settimeofday adjtimex clock_settime vmsplice remap_file_pages";
    for name in refused.split_whitespace() {
        assert!(syscalls::is_known(name), "{name}");
        assert_eq!(errno(&rules, name, &[]), Some(EPERM), "{name}");
    }
    // What programs fall back from.
    for name in ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "statmount", "memfd_secret"] {
        assert!(syscalls::is_known(name), "{name}");
        assert_eq!(errno(&rules, name, &[]), Some(ENOSYS), "{name}");
    }
    assert_eq!(errno(&rules, "a_call_of_next_year", &[]), Some(ENOSYS));
}

#[test]
fn threads_are_made_and_namespaces_are_not() {
    let rules = rules();
    // What glibc's pthread_create and fork, and vfork, pass.
    for flags in [0x003D_0F00, 0x0120_0011, 0x4111, 0x11, 0] {
        assert_eq!(errno(&rules, "clone", &[flags]), None, "{flags:#x}");
    }
    for flag in [0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
        for others in [0, 0x11, 0x003D_0F00, 0x8000_0000, 1 << 32, u64::MAX << 32] {
            assert_eq!(errno(&rules, "clone", &[flag | others]), Some(EPERM), "{:#x}", flag | others);
        }
    }
    let admin = rules_with(&[Capability::SysAdmin]);
    assert_eq!(errno(&admin, "clone", &[0x1000_0000]), None);
    assert_eq!(errno(&admin, "clone3", &[]), None);
    assert_eq!(errno(&admin, "unshare", &[0x1000_0000]), None);
}

#[test]
fn sockets_are_of_four_families() {
    let rules = rules();
    let socket = |family, kind, protocol| errno(&rules, "socket", &[family, kind, protocol]);
    for (family, kind, protocol) in [
        (1, 1, 0),
        (1, 2, 0),
        (1, 5, 0),
        (2, 1, 0),
        (2, 1, 6),
        (2, 2, 17),
        (2, 2, 0),
        (2, 2, 1),
        (10, 1, 0),
        (10, 2, 58),
        (16, 3, 0),
        (16, 2, 0),
    ] {
        assert_eq!(socket(family, kind, protocol), None, "{family} {kind} {protocol}");
        assert_eq!(socket(family, kind | CLOEXEC_NONBLOCK, protocol), None, "{family} {kind} {protocol}");
    }
    for family in (0..64).filter(|family| ![1, 2, 10, 16].contains(family)) {
        for kind in 0..11 {
            assert!(socket(family, kind, 0).is_some(), "family {family}, type {kind}");
        }
    }
    // Packet, Bluetooth, TIPC, RxRPC, AF_ALG, vsock, XDP.
    for family in [17, 30, 31, 33, 38, 40, 44] {
        assert_eq!(socket(family, 2, 0), EAFNOSUPPORT, "{family}");
    }
    // SCTP, UDP-Lite, SMC, MPTCP; SEQPACKET and DCCP without a protocol.
    for (kind, protocol) in [(1, 132), (5, 132), (2, 136), (1, 256), (1, 262)] {
        assert_eq!(socket(2, kind, protocol), EPROTONOSUPPORT, "{kind} {protocol}");
        assert_eq!(socket(10, kind, protocol), EPROTONOSUPPORT, "{kind} {protocol}");
    }
    for kind in [4, 5, 6, 10] {
        assert!(socket(2, kind, 0).is_some() && socket(10, kind, 0).is_some(), "{kind}");
    }
    // Netlink for anything but routes: audit, netfilter, xfrm, generic.
    for protocol in 1..32 {
        assert_eq!(socket(16, 3, protocol), EPROTONOSUPPORT, "{protocol}");
    }
    // What is above the 32 bits that the kernel reads can't smuggle anything in.
    for family in [(1 << 32) | 38, (1 << 32) | 2, u64::MAX] {
        assert!(socket(family, 1, 0).is_some(), "{family:#x}");
    }
    assert!(socket(2, 1, (1 << 32) | 6).is_some());
    assert_eq!(errno(&rules, "socketpair", &[1, 1, 0]), None);
    assert!(errno(&rules, "socketpair", &[30, 1, 0]).is_some());
}

#[test]
fn capabilities_open_sockets() {
    let raw = rules_with(&[Capability::NetRaw]);
    assert_eq!(errno(&raw, "socket", &[17, 3, 0x300]), None);
    assert_eq!(errno(&raw, "socket", &[2, 3, 255]), None);
    assert!(errno(&raw, "socket", &[38, 5, 0]).is_some());
    assert!(errno(&raw, "socket", &[16, 3, 12]).is_some());
    let admin = rules_with(&[Capability::NetAdmin]);
    assert_eq!(errno(&admin, "socket", &[16, 3, 12]), None);
    assert!(errno(&admin, "socket", &[17, 3, 0]).is_some());
    let audit = rules_with(&[Capability::AuditWrite]);
    assert_eq!(errno(&audit, "socket", &[16, 3, 9]), None);
    assert!(errno(&audit, "socket", &[16, 3, 12]).is_some());
}

#[test]
fn the_terminal_and_tls_in_the_kernel_are_out_of_reach() {
    for caps in [&[][..], &Capability::ALL] {
        let rules = rules_with(caps);
        for command in [0x5412, 0x541C] {
            // musl extends the sign; the kernel reads 32 bits.
            for upper in [0, 1 << 32, u64::MAX << 32] {
                assert_eq!(errno(&rules, "ioctl", &[0, command | upper]), Some(EPERM), "{command:#x}");
            }
        }
        for command in [0x5401, 0x5413, 0x5421, 0x8004_5430, 0xFFFF_FFFF_8004_5430] {
            assert_eq!(errno(&rules, "ioctl", &[0, command]), None, "{command:#x}");
        }
        assert_eq!(errno(&rules, "setsockopt", &[3, 6, 31]), Some(EPERM));
        assert_eq!(errno(&rules, "setsockopt", &[3, (1 << 32) | 6, (7 << 32) | 31]), Some(EPERM));
        for (level, option) in [(6, 1), (1, 31), (6, 30), (0, 31)] {
            assert_eq!(errno(&rules, "setsockopt", &[3, level, option]), None, "{level} {option}");
        }
    }
}

#[test]
fn personality_is_asked_and_not_changed() {
    let rules = rules();
    assert_eq!(errno(&rules, "personality", &[0]), None);
    assert_eq!(errno(&rules, "personality", &[0xFFFF_FFFF]), None);
    // READ_IMPLIES_EXEC, ADDR_NO_RANDOMIZE, PER_LINUX32, UNAME26.
    for persona in [0x040_0000, 0x004_0000, 8, 0x002_0000] {
        assert!(errno(&rules, "personality", &[persona]).is_some(), "{persona:#x}");
    }
}

#[test]
fn a_capability_opens_its_own_calls_and_no_others() {
    let calls = [
        (Capability::SysAdmin, "mount"),
        (Capability::SysPtrace, "ptrace"),
        (Capability::SysChroot, "chroot"),
        (Capability::SysModule, "init_module"),
        (Capability::SysTime, "clock_settime"),
        (Capability::SysBoot, "reboot"),
        (Capability::SysRawio, "iopl"),
        (Capability::SysPacct, "acct"),
        (Capability::SysTtyConfig, "vhangup"),
        (Capability::SysNice, "mbind"),
        (Capability::Syslog, "syslog"),
        (Capability::Bpf, "bpf"),
        (Capability::Perfmon, "perf_event_open"),
        (Capability::DacReadSearch, "open_by_handle_at"),
    ];
    for (cap, _) in calls {
        let rules = rules_with(&[cap]);
        for (other, name) in calls {
            assert_eq!(errno(&rules, name, &[]).is_none(), cap == other, "{name} with {cap}");
        }
    }
}

#[test]
fn only_the_native_architecture_is_filtered_rather_than_killed() {
    assert_eq!(rules().architectures, [Arch::X86_64]);
    let arm = Profile::default_hardened().resolve(Arch::Aarch64, &CapabilitySet::empty(), KERNEL);
    assert_eq!(arm.architectures, [Arch::Aarch64]);
}

/// The rules mean the same to a compiler that takes the first match and to one that tries rules with comparisons first: for no
/// set of capabilities is there a call whose rule without comparisons comes before one with.
#[test]
fn the_default_profile_has_no_contradictions() {
    let sets = Capability::ALL.iter().map(|cap| vec![*cap]).chain([vec![], Capability::ALL.to_vec()]);
    for caps in sets {
        let rules = rules_with(&caps);
        for name in syscalls::names(Arch::X86_64).chain(syscalls::names(Arch::Aarch64)) {
            let of_name: Vec<&Rule> =
                rules.rules.iter().filter(|rule| rule.names.iter().any(|known| known == name)).collect();
            let plain = of_name.iter().filter(|rule| rule.args.is_empty()).count();
            assert!(plain <= 1, "{name} with {caps:?}");
            if let Some(at) = of_name.iter().position(|rule| rule.args.is_empty()) {
                assert_eq!(at, of_name.len() - 1, "{name} with {caps:?}");
                assert!(of_name[..at].iter().all(|rule| rule.action != of_name[at].action), "{name} with {caps:?}");
            }
        }
    }
}

#[test]
fn the_default_profile_names_only_calls_that_there_are() {
    for name in Profile::default_hardened().syscalls.iter().flat_map(|rule| rule.names.iter()) {
        assert!(syscalls::is_known(name), "{name}");
    }
}

#[test]
fn the_default_profile_can_be_written_as_dockers_json_and_read_back() {
    let default = Profile::default_hardened();
    let json = serde_json::to_string(default).unwrap();
    assert_eq!(&Profile::parse(&json).unwrap(), default);
    // And means the same when it is the user's.
    let user = custom(&json);
    for name in syscalls::names(Arch::X86_64) {
        assert_eq!(user.decide(name, [0; 6]), rules().decide(name, [0; 6]), "{name}");
    }
}

/// `docs/seccomp.md` has a table of every call that Docker makes and we don't: `| \`name\` | errno | why |`.
#[test]
fn the_page_says_what_the_profile_does() {
    let page = include_str!("../../../../docs/seccomp.md");
    let rules = rules();
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let expected = match cells[1] {
            "EPERM" => EPERM,
            "ENOSYS" => ENOSYS,
            _ => continue,
        };
        for name in cells[0].split(',').map(|name| name.trim().trim_matches('`')) {
            assert!(syscalls::is_known(name), "{name}");
            assert_eq!(errno(&rules, name, &[]), Some(expected), "{name}");
            rows += 1;
        }
    }
    // What Docker's profile allows without conditions and ours does not, compared call by call in November 2026: 18 calls.
    let different = "adjtimex cachestat clock_adjtime epoll_ctl_old epoll_wait_old fanotify_mark get_thread_area listmount \
        memfd_secret modify_ldt process_mrelease process_vm_readv process_vm_writev ptrace remap_file_pages set_thread_area \
        statmount vmsplice";
    for name in different.split_whitespace() {
        assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
    assert!(rows >= 18, "{rows} calls on the page");
}

/// `docs/seccomp-default.json` is the profile in Docker's format, for people to start from.
/// `CASEMATE_WRITE_DOCS=1 cargo test` writes it anew.
#[test]
fn the_file_is_the_profile() {
    let expected = serde_json::to_string_pretty(Profile::default_hardened()).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/seccomp-default.json");
    if std::env::var_os("CASEMATE_WRITE_DOCS").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap() == expected, "docs/seccomp-default.json is not the profile");
}

#[test]
fn the_default_profile_is_never_copied() {
    let rules = rules();
    for rule in &rules.rules {
        assert!(
            matches!(rule.names, std::borrow::Cow::Borrowed(_)) && matches!(rule.args, std::borrow::Cow::Borrowed(_))
        );
    }
}

#[test]
fn a_profile_that_denies_chmod_denies_chmod() {
    let rules = custom(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod", "fchmod"], "action": "SCMP_ACT_ERRNO"}]}"#,
    );
    assert_eq!(errno(&rules, "chmod", &[]), Some(EPERM));
    assert_eq!(errno(&rules, "read", &[]), None);
}

#[test]
fn what_a_profile_denies_anywhere_it_denies() {
    let rules = custom(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read", "chmod", "ioctl"], "action": "SCMP_ACT_ALLOW", "args": []},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]},
            {"name": "chmod", "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["ioctl"], "action": "SCMP_ACT_KILL", "args": [{"index": 1, "value": 21522, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    assert_eq!(errno(&rules, "chmod", &[]), Some(13));
    assert_eq!(errno(&rules, "socket", &[2]), Some(EPERM));
    assert_eq!(rules.decide("ioctl", [0, 0x5412, 0, 0, 0, 0]).action, Action::KillThread);
    assert_eq!(errno(&rules, "ioctl", &[0, 0x5401]), None);
    // What never decides is gone, so that no compiler can take it for the decision.
    let of = |name: &str| rules.rules.iter().filter(|rule| rule.names.iter().any(|known| known == name)).count();
    assert_eq!((of("chmod"), of("socket"), of("ioctl"), of("read")), (1, 1, 2, 1));
}

#[test]
fn conditions_are_dockers() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                    {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null}],
        "syscalls": [
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.0"}, "comment": "new"},
            {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}, "excludes": {}},
            {"names": ["write"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}, "args": null},
            {"names": ["open"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}}]}"#;
    let rules = custom(json);
    assert_eq!(errno(&rules, "ptrace", &[]), None);
    assert_eq!(errno(&rules, "read", &[]), Some(38));
    assert_eq!(errno(&rules, "bpf", &[]), Some(38));
    assert_eq!(errno(&rules, "write", &[]), Some(38));
    assert_eq!(errno(&rules, "open", &[]), None);
    assert_eq!(rules.architectures, [Arch::X86_64, Arch::X86]);
    let other = Profile::parse(json).unwrap().resolve(Arch::Aarch64, &CapabilitySet::all(), (6, 1));
    assert_eq!(errno(&other, "bpf", &[]), None);
    assert_eq!(errno(&other, "read", &[]), None);
    assert_eq!(errno(&other, "write", &[]), None);
    assert_eq!(errno(&other, "open", &[]), Some(38));
    assert_eq!(other.architectures, [Arch::Aarch64]);
}

#[test]
fn comparisons_of_one_argument_are_alternatives() {
    let rules = custom(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [
            {"index": 1, "value": 9, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 15, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    assert_eq!(errno(&rules, "kill", &[1, 9]), Some(EPERM));
    assert_eq!(errno(&rules, "kill", &[1, 15]), Some(EPERM));
    assert_eq!(errno(&rules, "kill", &[1, 10]), None);
}

#[test]
fn comparisons_are_of_64_bits_without_sign() {
    let arg = |op, value| Arg { index: 0, op, value, value_two: 4 };
    for (op, below, same, above) in [
        (Op::Ne, true, false, true),
        (Op::Lt, true, false, false),
        (Op::Le, true, true, false),
        (Op::Eq, false, true, false),
        (Op::Ge, false, true, true),
        (Op::Gt, false, false, true),
    ] {
        let arg = arg(op, 5 << 32);
        assert_eq!((arg.matches(4 << 32), arg.matches(5 << 32), arg.matches(u64::MAX)), (below, same, above), "{op:?}");
    }
    assert!(arg(Op::MaskedEq, 6).matches(0xFFF5));
    assert!(!arg(Op::MaskedEq, 6).matches(0xFFF6));
}

#[test]
fn profiles_that_are_none_are_refused() {
    let message = |json: &str| Profile::parse(json).unwrap_err().to_string();
    for empty in ["", "{}", "  {} ", "null", r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}"#] {
        assert!(message(empty).contains("no rules"), "{empty}");
    }
    let rule = |rule: &str| message(&format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#));
    assert!(
        rule(r#"{"names": [], "action": "SCMP_ACT_ERRNO"}"#).contains("rule 1 of the seccomp profile: it names no")
    );
    assert!(rule(r#"{"names": ["a"], "action": "SCMP_ACT_DENY"}"#).contains("unknown variant `SCMP_ACT_DENY`"));
    assert!(rule(r#"{"names": ["a"], "action": "SCMP_ACT_NOTIFY"}"#).contains("SCMP_ACT_NOTIFY"));
    assert!(rule(r#"{"names": ["a"], "action": "SCMP_ACT_ERRNO", "exclude": {}}"#).contains("unknown field `exclude`"));
    assert!(rule(r#"{"names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096}"#).contains("no error number"));
    assert!(
        rule(r#"{"names": ["a"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_X"]}}"#)
            .contains("unknown capability")
    );
    assert!(
        rule(r#"{"names": ["a"], "action": "SCMP_ACT_ERRNO", "includes": {"minKernel": "6"}}"#)
            .contains("kernel version")
    );
    assert!(
        rule(
            r#"{"names": ["a"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "op": "SCMP_CMP_EQ", "value": 1}]}"#
        )
        .contains("no argument 6")
    );
    assert!(message(r#"{"syscalls": [{"names": ["a"], "action": "SCMP_ACT_ERRNO"}]}"#).contains("defaultAction"));
    assert!(message("[").contains("not what Docker's profiles are"));
    assert!(message(&" ".repeat((1 << 20) + 1)).contains("1048577 bytes"));
    assert!(message(&"[".repeat(100_000)).contains("not what Docker's"));
    let both = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "archMap": [{"architecture": "SCMP_ARCH_X86_64"}], "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ERRNO"}]}"#;
    assert!(message(both).contains("both"));
    let names = vec!["\"a\""; 30_000].join(",");
    assert!(rule(&format!(r#"{{"names": [{names}], "action": "SCMP_ACT_ERRNO"}}"#)).contains("more than 20000"));
}

#[test]
fn misspelt_names_are_told() {
    let profile = Profile::parse(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmodd", "read", "chmodd", "_llseek"], "action": "SCMP_ACT_ERRNO"}]}"#,
    );
    assert_eq!(profile.unwrap().unknown_names(), ["chmodd"]);
    // To allow what there is not opens nothing.
    let profile = Profile::parse(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["chmodd"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(profile.unwrap().unknown_names(), Vec::<&str>::new());
}

#[test]
fn podmans_profiles_name_their_errors() {
    let rules = custom(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "defaultErrno": "ENOSYS", "syscalls": [
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EPERM"},
            {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errno": "EINVAL"},
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}]}"#,
    );
    assert_eq!(errno(&rules, "mount", &[]), Some(EPERM));
    assert_eq!(errno(&rules, "socket", &[]), Some(22));
    assert_eq!(errno(&rules, "bpf", &[]), Some(ENOSYS));
    // A number where there is none to give is read over, as Docker does.
    assert!(rules.rules.iter().all(|rule| rule.action == Action::Errno || rule.errno.is_none()));
    let misspelt = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errno": "EPREM"}]}"#;
    assert!(Profile::parse(misspelt).unwrap_err().to_string().contains("EPREM"));
}
