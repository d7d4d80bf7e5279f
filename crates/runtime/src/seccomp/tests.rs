//! What is compiled, run in an interpreter of classic BPF, against what the profile says in so many words.

use casemate_kernel::seccomp::Instruction;
use casemate_posture::seccomp::Arch as Known;
use casemate_posture::syscalls;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompOperator as Op, LinuxSyscall, LinuxSyscallBuilder,
};

use super::{Condition, Operator, compile};

const X86_64: u32 = 0xC000_003E;
const I386: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

fn native() -> Known {
    Known::native().unwrap()
}

/// Runs a filter as the kernel would and counts the jumps it took to decide.
fn run(program: &[Instruction], arch: u32, number: u32, args: &[u64; 6]) -> (u32, usize) {
    let mut data = [0_u8; 64];
    data[0..4].copy_from_slice(&number.to_ne_bytes());
    data[4..8].copy_from_slice(&arch.to_ne_bytes());
    for (index, arg) in args.iter().enumerate() {
        data[16 + 8 * index..24 + 8 * index].copy_from_slice(&arg.to_ne_bytes());
    }
    let (mut accumulator, mut at, mut jumps) = (0_u32, 0_usize, 0);
    loop {
        let i = program[at];
        at += 1;
        let mut test = |truth: bool| {
            jumps += 1;
            at += usize::from(if truth { i.jump_true } else { i.jump_false });
        };
        match i.code {
            0x20 => {
                let from = i.operand as usize;
                accumulator = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
            }
            0x54 => accumulator &= i.operand,
            0x05 => at += i.operand as usize,
            0x15 => test(accumulator == i.operand),
            0x25 => test(accumulator > i.operand),
            0x35 => test(accumulator >= i.operand),
            0x06 => return (i.operand, jumps),
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn rule(names: &[&str], action: Action, args: Vec<oci_spec::runtime::LinuxSeccompArg>) -> LinuxSyscall {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    LinuxSyscallBuilder::default().names(names).action(action).args(args).build().unwrap()
}

fn arg(index: usize, op: Op, value: u64, value_two: u64) -> oci_spec::runtime::LinuxSeccompArg {
    LinuxSeccompArgBuilder::default().index(index).op(op).value(value).value_two(value_two).build().unwrap()
}

fn profile(archs: Vec<Arch>, syscalls: Vec<LinuxSyscall>) -> LinuxSeccomp {
    LinuxSeccompBuilder::default()
        .default_action(Action::ScmpActErrno)
        .default_errno_ret(38_u32)
        .architectures(archs)
        .syscalls(syscalls)
        .build()
        .unwrap()
}

#[test]
fn every_operator_decides_as_it_says_around_both_words() {
    let interesting =
        [0, 1, 2, 0xffff_fffe, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, 0x7_0000_0002, u64::MAX - 1, u64::MAX];
    let operators = [
        (Op::ScmpCmpNe, Operator::NotEqual),
        (Op::ScmpCmpLt, Operator::Less),
        (Op::ScmpCmpLe, Operator::LessOrEqual),
        (Op::ScmpCmpEq, Operator::Equal),
        (Op::ScmpCmpGe, Operator::GreaterOrEqual),
        (Op::ScmpCmpGt, Operator::Greater),
    ];
    let read = syscalls::number(native(), "read").unwrap();
    let arch = if cfg!(target_arch = "x86_64") { X86_64 } else { 0xC000_00B7 };
    for datum in interesting {
        for (op, operator) in operators {
            for index in [0, 5] {
                let filter = compile(&profile(
                    vec![],
                    vec![rule(&["read"], Action::ScmpActAllow, vec![arg(index, op, datum, 0)])],
                ))
                .unwrap();
                let condition = Condition { index: u8::try_from(index).unwrap(), operator, datum };
                for value in interesting {
                    let mut args = [7; 6];
                    args[index] = value;
                    let expected = if condition.holds(&args) { ALLOW } else { ERRNO | 38 };
                    assert_eq!(run(&filter.program, arch, read, &args).0, expected, "{op:?} {datum:#x} on {value:#x}");
                }
            }
        }
        for mask in interesting {
            let rules = vec![rule(&["read"], Action::ScmpActAllow, vec![arg(1, Op::ScmpCmpMaskedEq, mask, datum)])];
            let filter = compile(&profile(vec![], rules)).unwrap();
            for value in interesting {
                let expected = if value & mask == datum { ALLOW } else { ERRNO | 38 };
                assert_eq!(run(&filter.program, arch, read, &[0, value, 0, 0, 0, 0]).0, expected);
            }
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn architectures_that_are_not_named_are_killed() {
    let rules = vec![rule(&["read", "write"], Action::ScmpActAllow, vec![])];
    let only = compile(&profile(vec![Arch::ScmpArchX86_64], rules.clone())).unwrap();
    assert_eq!(run(&only.program, X86_64, 0, &[0; 6]).0, ALLOW);
    assert_eq!(run(&only.program, I386, 3, &[0; 6]).0, KILL);
    assert_eq!(run(&only.program, X86_64, 0x4000_0000, &[0; 6]).0, KILL, "x32");
    let both = compile(&profile(vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32], rules)).unwrap();
    assert_eq!(run(&both.program, I386, 3, &[0; 6]).0, ALLOW);
    assert_eq!(run(&both.program, I386, 5, &[0; 6]).0, ERRNO | 38);
    assert_eq!(run(&both.program, X86_64, 0x4000_0000, &[0; 6]).0, ALLOW, "x32 read");
    assert_eq!(run(&both.program, 0xC000_00B7, 63, &[0; 6]).0, KILL, "aarch64");
}

#[test]
fn every_call_of_a_large_profile_decides_as_listed_in_few_comparisons() {
    let native = native();
    let arch = if cfg!(target_arch = "x86_64") { X86_64 } else { 0xC000_00B7 };
    // Every third name, so that hardly any neighbours fold: worse than any real profile.
    let all: Vec<&str> = syscalls::names(native).collect();
    let allowed: Vec<&str> = all.iter().copied().step_by(3).collect();
    let filter = compile(&profile(vec![], vec![rule(&allowed, Action::ScmpActAllow, vec![])])).unwrap();
    let mut most = 0;
    for number in 0..600 {
        let known = syscalls::name(native, number);
        let expected = if known.is_some_and(|name| allowed.contains(&name)) { ALLOW } else { ERRNO | 38 };
        let (action, jumps) = run(&filter.program, arch, number, &[0; 6]);
        assert_eq!(action, expected, "{number} {known:?}");
        most = most.max(jumps);
    }
    assert!(most <= 12, "{most} comparisons");
}

#[test]
fn the_first_rule_that_matches_decides_and_one_without_arguments_comes_last() {
    let rules = vec![
        rule(&["ioctl"], Action::ScmpActAllow, vec![]),
        rule(&["ioctl"], Action::ScmpActErrno, vec![arg(1, Op::ScmpCmpMaskedEq, 0xffff_ffff, 0x5412)]),
    ];
    let filter = compile(&profile(vec![], rules)).unwrap();
    let ioctl = syscalls::number(native(), "ioctl").unwrap();
    let arch = if cfg!(target_arch = "x86_64") { X86_64 } else { 0xC000_00B7 };
    assert_eq!(run(&filter.program, arch, ioctl, &[0, 0x5413, 0, 0, 0, 0]).0, ALLOW);
    assert_eq!(run(&filter.program, arch, ioctl, &[0, 0x5412, 0, 0, 0, 0]).0, ERRNO | 1);
    // The kernel looks at 32 bits of the command only (CVE-2019-10063).
    assert_eq!(run(&filter.program, arch, ioctl, &[0, 0x1_0000_5412, 0, 0, 0, 0]).0, ERRNO | 1);
}

#[test]
fn what_cannot_be_given_is_refused_by_field() {
    let wrong = profile(vec![], vec![rule(&["read"], Action::ScmpActAllow, vec![arg(6, Op::ScmpCmpEq, 0, 0)])]);
    assert!(compile(&wrong).unwrap_err().to_string().starts_with("linux.seccomp.syscalls.args.index"));
    let notify = profile(vec![], vec![rule(&["read"], Action::ScmpActNotify, vec![])]);
    assert!(compile(&notify).is_err());
}
