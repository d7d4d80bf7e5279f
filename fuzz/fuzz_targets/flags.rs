//! The values of Docker's flags. The first byte chooses the flag.
#![no_main]

use casemate_posture::{
    Capability, Device, DeviceRule, Mount, Namespaces, Policy, SecurityOpt, Tmpfs, User, bytes, cpu, duration, path, sysctl,
    ulimit, user,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str)| {
    let (flag, text) = input;
    match flag % 16 {
        0 => drop(bytes::parse("--memory", text)),
        1 => drop(cpu::parse(text)),
        2 => {
            if let Ok(list) = cpu::parse_list("--cpuset-cpus", text) {
                assert!(list.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'-')), "{list:?}");
            }
        }
        3 => drop(Device::parse(text)),
        4 => drop(DeviceRule::parse(text)),
        5 => drop(duration::parse("--stop-timeout", text)),
        6 => drop(Mount::parse_long(text, Some("/base"))),
        7 => drop(Mount::parse_short(text, Some("/base"))),
        8 => {
            if let Ok(tmpfs) = Tmpfs::parse(text) {
                assert!(tmpfs.target.starts_with('/'), "{tmpfs:?}");
            }
        }
        9 => drop(ulimit::parse(text)),
        10 => user_is_strict(text),
        11 => drop(SecurityOpt::parse(text)),
        12 => drop(text.parse::<Capability>()),
        13 => drop(sysctl::parse(text, &Namespaces::default())),
        14 => drop(Policy::parse(text)),
        _ => drop(path::sensitive_path(text)),
    }
    let _ = user::parse_group(text);
});

/// Digits are never a name, and no number wraps to another user (CVE-2024-40635, CVE-2026-30892).
fn user_is_strict(text: &str) {
    let parsed: Result<User, _> = user::parse(text);
    if parsed.is_ok()
        && let Some(first) = text.split(':').next()
        && !first.is_empty()
        && first.bytes().all(|byte| byte.is_ascii_digit())
    {
        let number: u64 = first.parse().expect("a number that was accepted fits");
        assert!(number < u64::from(u32::MAX), "{text:?} was accepted");
    }
}
