//! Fields that are wrong, or say what can't be given.

use casemate_kernel::seccomp::{FLAG_LOG, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_TSYNC, FLAG_WAIT_KILLABLE_RECV};
use casemate_posture::seccomp::Arch;
use serde_json::{Value, json};

use super::machine::{self, Call};
use super::profiles::parse;
use super::reference::{I386, X86_64};
use crate::seccomp::{Filter, compile, compile_for};

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

fn filter(value: Value) -> Filter {
    compile_for(&parse(value), Arch::X86_64).unwrap()
}

#[track_caller]
fn refused(value: Value, start: &str) {
    let error = compile(&parse(value)).unwrap_err().to_string();
    assert!(error.starts_with(start), "{error}");
}

fn action(filter: &Filter, arch: u32, number: u32, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    machine::run(&filter.program, &Call { number, arch, args: all }).action
}

#[test]
fn every_action_has_the_kernels_value() {
    for (name, number, value) in [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, KILL),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_ERRNO", None, ERRNO | 1),
        ("SCMP_ACT_ERRNO", Some(0), ERRNO),
        ("SCMP_ACT_ERRNO", Some(4095), ERRNO | 4095),
        ("SCMP_ACT_TRACE", None, 0x7ff0_0001),
        ("SCMP_ACT_TRACE", Some(0xffff), 0x7ff0_ffff),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
        ("SCMP_ACT_ALLOW", None, ALLOW),
    ] {
        let mut rule = json!({"names": ["getpid"], "action": name});
        let mut whole = json!({"defaultAction": name});
        if let Some(number) = number {
            rule["errnoRet"] = number.into();
            whole["defaultErrnoRet"] = number.into();
        }
        let one = filter(json!({"defaultAction": "SCMP_ACT_TRAP", "syscalls": [rule]}));
        assert_eq!(action(&one, X86_64, 39, &[]), value, "{name} {number:?}");
        assert_eq!(action(&filter(whole), X86_64, 39, &[]), value, "{name} {number:?}");
    }
}

#[test]
fn numbers_of_actions_are_checked() {
    let with = |action: &str, number: u32| {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["getpid"], "action": action, "errnoRet": number}]})
    };
    refused(with("SCMP_ACT_ERRNO", 4096), "linux.seccomp.syscalls[1].errnoRet: 4096");
    refused(with("SCMP_ACT_TRACE", 0x1_0000), "linux.seccomp.syscalls[1].errnoRet: 65536");
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_KILL", "SCMP_ACT_TRAP", "SCMP_ACT_LOG"] {
        refused(with(action, 1), "linux.seccomp.syscalls[1].errnoRet: 1");
        refused(json!({"defaultAction": action, "defaultErrnoRet": 1}), "linux.seccomp.defaultErrnoRet: 1");
    }
}

#[test]
fn names_and_arguments_are_checked() {
    let with = |names: Value, args: Value| {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": names, "action": "SCMP_ACT_ERRNO", "args": args}]})
    };
    refused(with(json!([]), json!([])), "linux.seccomp.syscalls[0].names");
    refused(with(json!(["read", ""]), json!([])), "linux.seccomp.syscalls[0].names");
    let sixth = json!([{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]);
    refused(with(json!(["read"]), sixth), "linux.seccomp.syscalls[0].args[1].index: 6");
    // Names that nobody knows are passed over, as profiles list those of all kernels.
    assert!(compile(&parse(with(json!(["a_call_of_next_year"]), json!([])))).is_ok());
    for wrong in [
        json!({"syscalls": []}),
        json!({"defaultAction": "SCMP_ACT_ALOW"}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]}),
        with(json!(["read"]), json!([{"index": 0, "value": 0, "op": "SCMP_CMP_LIKE"}])),
    ] {
        assert!(serde_json::from_value::<oci_spec::runtime::LinuxSeccomp>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn flags_are_the_kernels() {
    let with = |flags: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags});
    assert_eq!(filter(json!({"defaultAction": "SCMP_ACT_ALLOW"})).flags, 0);
    assert_eq!(
        filter(with(json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]))).flags,
        FLAG_LOG | FLAG_TSYNC
    );
    assert_eq!(filter(with(json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]))).flags, FLAG_SPEC_ALLOW);
    // Without notifications nobody waits for one, and the kernel refuses the flag.
    let wait = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"]);
    assert_eq!(filter(with(wait.clone())).flags, FLAG_TSYNC);
    let mut notifying = notify(&json!([]));
    notifying["flags"] = wait;
    assert_eq!(filter(notifying).flags, FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV | FLAG_TSYNC | 16);
}

#[test]
fn flags_that_the_kernel_does_not_know_are_refused_by_name() {
    // What this one knows it says it knows.
    for flag in crate::seccomp::features::supported_flags() {
        assert!(compile(&parse(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": [flag]}))).is_ok(), "{flag}");
    }
    let error = super::super::flags::check(FLAG_LOG | 1 << 30).unwrap_err().to_string();
    assert!(error.starts_with("linux.seccomp.flags: "), "{error}");
}

fn notify(more: &Value) -> Value {
    let mut syscalls = vec![json!({"names": ["sendmsg"], "action": "SCMP_ACT_ALLOW"})];
    syscalls.extend(more.as_array().unwrap().iter().cloned());
    syscalls.push(json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}));
    json!({"defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/run/agent.sock", "syscalls": syscalls})
}

#[test]
fn notifications_need_somebody_to_notify() {
    let listener = filter(notify(&json!([]))).listener.unwrap();
    assert_eq!((listener.path.to_str(), listener.metadata), (Some("/run/agent.sock"), None));
    assert_eq!(action(&filter(notify(&json!([]))), X86_64, 83, &[]), 0x7fc0_0000);
    let mut said = notify(&json!([]));
    said["listenerMetadata"] = "which".into();
    assert_eq!(filter(said.clone()).listener.unwrap().metadata.as_deref(), Some("which"));
    said.as_object_mut().unwrap().remove("listenerPath");
    refused(said.clone(), "linux.seccomp.listenerMetadata");
    said.as_object_mut().unwrap().remove("listenerMetadata");
    refused(said.clone(), "linux.seccomp.listenerPath");
    said["listenerPath"] = "agent.sock".into();
    refused(said.clone(), "linux.seccomp.listenerPath: \"agent.sock\" is not absolute");
    said["listenerPath"] = format!("/{}", "a".repeat(108)).into();
    refused(said, "linux.seccomp.listenerPath");
    // Where nothing is notified the path is passed over, as the specification asks.
    let unused = filter(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "x", "listenerMetadata": "y"}));
    assert_eq!((unused.flags, unused.listener), (0, None));
}

#[test]
fn the_call_that_hands_the_notifications_over_is_let_through() {
    let field = "linux.seccomp.syscalls: with SCMP_ACT_NOTIFY";
    refused(notify(&json!([{"names": ["sendmsg"], "action": "SCMP_ACT_NOTIFY"}])), field);
    let args = json!([{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}]);
    refused(notify(&json!([{"names": ["sendmsg"], "action": "SCMP_ACT_ERRNO", "args": args}])), field);
    let mut none = notify(&json!([]));
    none["syscalls"].as_array_mut().unwrap().remove(0);
    refused(none.clone(), field);
    none["defaultAction"] = "SCMP_ACT_ALLOW".into();
    assert!(filter(none.clone()).listener.is_some());
    none["defaultAction"] = "SCMP_ACT_NOTIFY".into();
    refused(none, field);
    let mut default = notify(&json!([]));
    default["defaultAction"] = "SCMP_ACT_NOTIFY".into();
    assert!(filter(default).listener.is_some());
}

#[test]
fn architectures_that_are_not_named_are_killed() {
    let with = |archs: Value| {
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5, "architectures": archs,
        "syscalls": [{"names": ["read", "write", "openat"], "action": "SCMP_ACT_ALLOW"}]})
    };
    let only = filter(with(json!(["SCMP_ARCH_X86_64"])));
    assert_eq!(action(&only, X86_64, 0, &[]), ALLOW);
    assert_eq!(action(&only, I386, 3, &[]), KILL);
    assert_eq!(action(&only, X86_64, 0x4000_0000, &[]), KILL, "x32");
    assert_eq!(action(&only, X86_64, u32::MAX, &[]), ERRNO | 38, "a call that a tracer took back");
    let all = filter(with(json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"])));
    assert_eq!(action(&all, X86_64, 0, &[]), ALLOW, "the machine's own is always there");
    assert_eq!(action(&all, I386, 3, &[]), ALLOW);
    assert_eq!(action(&all, I386, 5, &[]), ERRNO | 5);
    assert_eq!(action(&all, X86_64, 0x4000_0000, &[]), ALLOW, "x32 read");
    assert_eq!(action(&all, 0xC000_00B7, 63, &[]), KILL, "aarch64");
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let with = |default: &str| {
        filter(json!({"defaultAction": default,
        "syscalls": [{"names": ["read", "openat2"], "action": "SCMP_ACT_ALLOW"}]}))
    };
    let one = with("SCMP_ACT_ERRNO");
    assert_eq!(action(&one, X86_64, 436, &[]), ERRNO | 1, "below openat2, 437");
    assert_eq!(action(&one, X86_64, 438, &[]), ERRNO | 38);
    assert_eq!(action(&one, X86_64, 900, &[]), ERRNO | 38);
    // Who kills by default does not say that calls don't exist, and who allows allows.
    assert_eq!(action(&with("SCMP_ACT_KILL_PROCESS"), X86_64, 438, &[]), KILL);
    assert_eq!(action(&with("SCMP_ACT_ALLOW"), X86_64, 438, &[]), ALLOW);
}

#[test]
fn of_rules_that_contradict_each_other_the_strictest_decides() {
    let terminal = json!([{"index": 1, "value": 0xffff_ffff_u32, "valueTwo": 0x5412, "op": "SCMP_CMP_MASKED_EQ"}]);
    let one = filter(json!({"defaultAction": "SCMP_ACT_TRAP", "syscalls": [
        {"names": ["ioctl", "chmod", "chown"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": terminal},
        {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
        {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 14}]}));
    assert_eq!(action(&one, X86_64, 16, &[0, 0x5413]), ALLOW);
    assert_eq!(action(&one, X86_64, 16, &[0, 0x5412]), ERRNO | 1);
    // The kernel looks at 32 bits of the command only (CVE-2019-10063).
    assert_eq!(action(&one, X86_64, 16, &[0, 0x1_0000_5412]), ERRNO | 1);
    assert_eq!(action(&one, X86_64, 90, &[]), ERRNO | 13);
    assert_eq!(action(&one, X86_64, 92, &[]), ALLOW);
}

/// What the default profile refuses by arguments is refused on i386 too, if somebody lets i386 in: directly, and through
/// socketcall, where arguments are out of sight.
#[test]
fn i386_has_no_way_around_the_default_profile() {
    let profile = super::profiles::own(Arch::X86_64, &[], &[Arch::X86, Arch::X32]);
    let one = compile_for(&profile, Arch::X86_64).unwrap();
    let refused =
        |arch, number, args: &[u64]| assert_eq!(action(&one, arch, number, args) >> 16, 5, "{number} {args:x?}");
    for (arch, number) in [(I386, 359), (X86_64, 41), (X86_64, 0x4000_0029)] {
        for family in (0..64).filter(|family| ![1, 2, 10, 16].contains(family)) {
            refused(arch, number, &[family, 1, 0]);
        }
        assert_eq!(action(&one, arch, number, &[2, 1, 0]), ALLOW);
        assert_eq!(action(&one, arch, number, &[1, 1, 0]), ALLOW);
    }
    for (arch, number) in [(I386, 366), (X86_64, 54), (X86_64, 0x4000_0000 + 541)] {
        refused(arch, number, &[3, 6, 31]);
        assert_eq!(action(&one, arch, number, &[3, 6, 1]), ALLOW);
    }
    for (arch, number) in [(I386, 54), (X86_64, 16), (X86_64, 0x4000_0000 + 514)] {
        for command in [0x5412, 0x541C] {
            refused(arch, number, &[0, command]);
        }
        assert_eq!(action(&one, arch, number, &[0, 0x5401]), ALLOW);
    }
    for (call, through) in
        [(1, false), (8, false), (14, false), (2, true), (3, true), (16, true), (15, true), (21, false)]
    {
        assert_eq!(action(&one, I386, 102, &[call]) == ALLOW, through, "socketcall {call}");
    }
    // The version in the upper half does not hide which call it is.
    for call in [21, 0x1_0015, 0xffff_0015] {
        assert_eq!(action(&one, I386, 117, &[call]), ALLOW, "shmat through ipc");
    }
    assert_ne!(action(&one, I386, 117, &[5]), ALLOW);
}

#[test]
fn socketcall_is_what_the_profile_says_in_so_many_words() {
    let family = json!([{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]);
    let with = |names: Value| {
        filter(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": family},
        {"names": ["shmget"], "action": "SCMP_ACT_KILL_PROCESS"},
        {"names": names, "action": "SCMP_ACT_ALLOW"}]}))
    };
    assert_eq!(action(&with(json!(["read"])), I386, 102, &[1]), ERRNO | 1);
    assert_eq!(action(&with(json!(["socketcall", "ipc"])), I386, 102, &[1]), ALLOW);
    // What does not depend on arguments can be told, and is not given away.
    assert_eq!(action(&with(json!(["socketcall", "ipc"])), I386, 117, &[23]), KILL);
    assert_eq!(action(&with(json!(["socketcall", "ipc"])), I386, 117, &[24]), ALLOW);
}
