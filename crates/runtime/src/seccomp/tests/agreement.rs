//! The compiled filter, run as the kernel runs it, says of every call what the profile says.

use casemate_posture::seccomp::Arch;
use casemate_posture::{Capability, syscalls};
use oci_spec::runtime::LinuxSeccomp;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::calls::{calls, numbers, values};
use super::machine::{self, Call};
use super::profiles::{INSTALLED, installed, like_dockers, own, parse};
use super::random::any_profile;
use super::reference::Reference;
use crate::seccomp::{Filter, compile_for};

/// Compares on every number, and `rounds` times on every value that matters. Returns the filter and the most comparisons that
/// a call without conditions cost.
fn agree(profile: &LinuxSeccomp, native: Arch, rounds: u64) -> (Filter, usize) {
    let filter = compile_for(profile, native).unwrap();
    machine::check(&filter.program);
    let reference = Reference::new(profile, native);
    let mut most = 0;
    let looked_at = values(profile);
    for (arch, number) in numbers(native) {
        for args in [[0; 6], [u64::from(u32::MAX); 6]] {
            let call = Call { number, arch, args };
            let verdict = machine::run(&filter.program, &call);
            assert_eq!(verdict.action, reference.decide(&call), "{call:x?} of {profile:?}");
            if !looked_at.iter().any(|(audit, other, _)| (*audit, *other) == (arch, number)) {
                most = most.max(verdict.comparisons);
            }
        }
    }
    for (audit, number, values) in &looked_at {
        for call in calls(*audit, *number, values, rounds) {
            let verdict = machine::run(&filter.program, &call);
            assert_eq!(verdict.action, reference.decide(&call), "{call:x?} of {profile:?}");
        }
    }
    (filter, most)
}

#[test]
fn the_default_profile() {
    let sets = Capability::ALL.iter().map(|cap| vec![*cap]).chain([vec![], Capability::ALL.to_vec()]);
    for capabilities in sets {
        for (arch, others) in
            [(Arch::X86_64, &[][..]), (Arch::X86_64, &[Arch::X86, Arch::X32]), (Arch::Aarch64, &[Arch::Arm])]
        {
            let profile = own(arch, &capabilities, others);
            let (filter, most) = agree(&profile, arch, 3);
            assert!(most <= 11, "{most} comparisons with {capabilities:?}");
            assert!(!others.is_empty() || filter.program.len() < 150, "{} instructions", filter.program.len());
        }
    }
}

#[test]
fn a_profile_like_dockers() {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        let (filter, most) = agree(&like_dockers(arch), arch, 20);
        assert!(most <= 11, "{most} comparisons");
        assert!(filter.program.len() < 300, "{} instructions", filter.program.len());
    }
}

#[test]
fn the_profile_that_debian_installs() {
    for arch in [Arch::X86_64, Arch::Aarch64] {
        for capabilities in [&[][..], &[Capability::SysAdmin, Capability::AuditWrite], &Capability::ALL] {
            let Some(profile) = installed(arch, capabilities) else {
                eprintln!("skipped: no {INSTALLED}: install golang-github-containers-common");
                return;
            };
            agree(&profile, arch, 20);
        }
    }
}

/// The bound that `docs/seccomp.md` states: comparisons on the number grow with the logarithm of the profile. `calls` names make
/// at most twice as many ranges and one more, x32 three more; the architectures are asked before.
#[test]
fn a_number_is_found_in_logarithmic_time() {
    for step in [1, 2, 3, 5, 7] {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            // Every third name, say, is allowed and the next fails with an error of its own: hardly any neighbours fold.
            let all: Vec<&str> = syscalls::names(arch).step_by(step).collect();
            let rules: Vec<Value> = all
                .iter()
                .enumerate()
                .map(|(at, name)| json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": at % 40 + 100}))
                .collect();
            let profile = parse(json!({"defaultAction": "SCMP_ACT_KILL", "syscalls": rules}));
            let (filter, most) = agree(&profile, arch, 1);
            let ranges = 2 * all.len() + 4;
            let bound = 1 + usize::try_from(ranges.next_power_of_two().ilog2()).unwrap() + 2;
            assert!(most <= bound, "{most} comparisons for {} names, {bound} stated", all.len());
            assert!(filter.program.len() <= 3 * ranges, "{} instructions for {ranges} ranges", filter.program.len());
        }
    }
}

/// What is called often costs less than what is not.
#[test]
fn what_is_called_often_is_decided_first() {
    let filter = compile_for(&like_dockers(Arch::X86_64), Arch::X86_64).unwrap();
    let cost = |name: &str| {
        let number = syscalls::number(Arch::X86_64, name).unwrap();
        machine::run(&filter.program, &Call { number, arch: super::reference::X86_64, args: [0; 6] }).comparisons
    };
    let all: Vec<usize> = syscalls::names(Arch::X86_64).map(cost).collect();
    let sum: usize = all.iter().sum();
    for name in ["read", "write", "futex", "close", "openat", "epoll_wait"] {
        assert!(cost(name) * all.len() < sum, "{name}: {} where {} calls cost {sum}", cost(name), all.len());
    }
}

/// Programs so long that conditional jumps do not reach the end of a tree, with conditions so that blocks are shared.
#[test]
fn jumps_that_are_too_far_for_one_instruction() {
    let names: Vec<&str> = syscalls::names(Arch::X86_64).collect();
    let rules: Vec<Value> = names
        .iter()
        .enumerate()
        .flat_map(|(at, name)| {
            let one = |index: usize, value: usize, action: &str| {
                json!({"names": [name], "action": action, "args": [
                    {"index": index, "value": value, "op": "SCMP_CMP_EQ"},
                    {"index": (index + 1) % 6, "value": value << 30, "valueTwo": value << 30, "op": "SCMP_CMP_MASKED_EQ"}]})
            };
            [one(at % 6, at % 7, "SCMP_ACT_ALLOW"), one((at + 1) % 6, at % 5, "SCMP_ACT_TRAP")]
        })
        .collect();
    let profile = parse(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    let (filter, _) = agree(&profile, Arch::X86_64, 1);
    assert!(filter.program.len() > 1500, "{} instructions", filter.program.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_profile_agrees_on_any_call(profile in any_profile(), native in select(vec![Arch::X86_64, Arch::Aarch64])) {
        agree(&profile, native, 2);
    }
}
