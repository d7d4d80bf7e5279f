//! The calls that a profile is tried with: every number of every architecture, with arguments around each of its conditions.

use std::collections::BTreeSet;

use casemate_posture::seccomp::Arch;
use casemate_posture::syscalls;
use oci_spec::runtime::LinuxSeccomp;

use super::machine::Call;
use super::reference::{AARCH64, ARM, I386, X86_64};

/// Numbers by architecture: all that there are, all that there may be soon, and where something begins or ends.
pub(crate) fn numbers(native: Arch) -> Vec<(u32, u32)> {
    let bounds = [0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX];
    let plain = || (0..600).chain(bounds);
    let mut all: Vec<(u32, u32)> = Vec::new();
    for arch in [X86_64, I386, ARM, AARCH64, 0, 0xC000_00F3] {
        all.extend(plain().map(|number| (arch, number)));
    }
    match native {
        Arch::Aarch64 => all.extend((0x000f_0000..0x000f_0010).map(|number| (ARM, number))),
        _ => all.extend((0x4000_0000..0x4000_0300).map(|number| (X86_64, number))),
    }
    all
}

/// The numbers, by architecture, that have arguments which a profile looks at, with the values that matter for each.
pub(crate) fn values(profile: &LinuxSeccomp) -> Vec<(u32, u32, [Vec<u64>; 6])> {
    let mut found: Vec<(u32, u32, [Vec<u64>; 6])> = Vec::new();
    for (audit, arch) in
        [(X86_64, Arch::X86_64), (I386, Arch::X86), (X86_64, Arch::X32), (AARCH64, Arch::Aarch64), (ARM, Arch::Arm)]
    {
        let names: BTreeSet<&str> = profile
            .syscalls()
            .iter()
            .flatten()
            .filter(|rule| rule.args().as_ref().is_some_and(|args| !args.is_empty()))
            .flat_map(|rule| rule.names().iter().map(String::as_str))
            .collect();
        for name in names {
            if let Some(number) = syscalls::number(arch, name) {
                found.push((audit, number, of_call(profile, name)));
            }
        }
    }
    // What stands for several calls: every choice, and what is not one.
    for number in [102, 117] {
        let mut values: [Vec<u64>; 6] = Default::default();
        values[0] = (0..30).chain([0x1_0001, 0x2_0018, 0xffff_0001, u64::from(u32::MAX)]).collect();
        found.push((I386, number, values));
    }
    found
}

fn of_call(profile: &LinuxSeccomp, name: &str) -> [Vec<u64>; 6] {
    let mut values: [BTreeSet<u64>; 6] = Default::default();
    for rule in profile.syscalls().iter().flatten().filter(|rule| rule.names().iter().any(|one| one == name)) {
        for condition in rule.args().iter().flatten() {
            let (one, two) = (condition.value(), condition.value_two().unwrap_or(0));
            for near in [one, two, two | !one, one & two] {
                for value in [near, near.wrapping_sub(1), near.wrapping_add(1)] {
                    let low = value & 0xffff_ffff;
                    values[condition.index()].extend([value, low, low | 1 << 32, low | 0xffff_ffff << 32, !value]);
                    values[condition.index()].extend([value ^ 1 << 31, value ^ 1 << 32, value.rotate_left(32)]);
                }
            }
        }
    }
    values.map(|one| one.into_iter().chain([0, u64::MAX]).collect())
}

/// Calls made of those values: each value on its own beside some of the others, `rounds` times over.
pub(crate) fn calls(audit: u32, number: u32, values: &[Vec<u64>; 6], rounds: u64) -> Vec<Call> {
    // On these, an argument has 32 bits.
    let mask = if matches!(audit, I386 | ARM) { 0xffff_ffff } else { u64::MAX };
    let mut state = u64::from(number) | 1;
    let mut any = |list: &[u64]| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(state >> 33).unwrap();
        if list.is_empty() { state } else { list[at % list.len()] }
    };
    let mut calls = Vec::new();
    for _ in 0..rounds {
        for index in 0..6 {
            for value in &values[index] {
                let mut args: [u64; 6] = std::array::from_fn(|other| any(&values[other]) & mask);
                args[index] = value & mask;
                calls.push(Call { number, arch: audit, args });
            }
        }
    }
    calls
}
