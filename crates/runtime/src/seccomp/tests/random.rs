//! Profiles that no person would write.

use oci_spec::runtime::LinuxSeccomp;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::profiles::parse;

fn any_condition() -> impl Strategy<Value = Value> {
    let ops = select(vec![
        "SCMP_CMP_NE",
        "SCMP_CMP_LT",
        "SCMP_CMP_LE",
        "SCMP_CMP_EQ",
        "SCMP_CMP_GE",
        "SCMP_CMP_GT",
        "SCMP_CMP_MASKED_EQ",
    ]);
    let values = prop_oneof![
        0..4_u64,
        select(vec![
            0xffff_ffff,
            0x1_0000_0000,
            0x1_0000_0001,
            0x8000_0000,
            0xffff_ffff_8000_0000,
            u64::MAX - 1,
            u64::MAX
        ]),
        any::<u64>(),
        any::<u32>().prop_map(u64::from),
    ];
    (0..3_u8, ops, values.clone(), values, any::<bool>()).prop_map(|(index, op, value, two, fits)| {
        json!({"index": index, "op": op, "value": value, "valueTwo": if fits { two & value } else { two }})
    })
}

fn any_rule() -> impl Strategy<Value = Value> {
    let names = select(vec![
        "read",
        "write",
        "open",
        "close",
        "stat",
        "fstat",
        "ioctl",
        "socket",
        "socketcall",
        "ipc",
        "shmget",
        "semop",
        "setsockopt",
        "send",
        "clone",
        "clone3",
        "openat",
        "futex",
        "execve",
        "set_tls",
        "statx",
        "_llseek",
        "not_a_call",
    ]);
    let actions = select(vec![
        ("SCMP_ACT_KILL", false),
        ("SCMP_ACT_KILL_PROCESS", false),
        ("SCMP_ACT_KILL_THREAD", false),
        ("SCMP_ACT_TRAP", false),
        ("SCMP_ACT_ERRNO", true),
        ("SCMP_ACT_TRACE", true),
        ("SCMP_ACT_LOG", false),
        ("SCMP_ACT_ALLOW", false),
        ("SCMP_ACT_ALLOW", false),
    ]);
    let names = proptest::collection::vec(names, 1..5);
    let args = proptest::collection::vec(any_condition(), 0..4);
    (names, actions, 0..40_u32, args).prop_map(|(names, (action, numbered), errno, args)| {
        let mut rule = json!({"names": names, "action": action, "args": args});
        if numbered && errno > 0 {
            rule["errnoRet"] = errno.into();
        }
        rule
    })
}

pub(crate) fn any_profile() -> impl Strategy<Value = LinuxSeccomp> {
    let defaults =
        select(vec!["SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_LOG"]);
    let archs = proptest::sample::subsequence(
        vec!["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_S390X"],
        0..=5,
    );
    (defaults, archs, proptest::collection::vec(any_rule(), 0..12)).prop_map(|(default, archs, rules)| {
        parse(json!({"defaultAction": default, "architectures": archs, "syscalls": rules}))
    })
}
