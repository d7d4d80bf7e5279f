//! The kernel's side: classic BPF on `struct seccomp_data`, and what `seccomp_check_filter` asks of a program. Written from
//! `linux/bpf_common.h`, `linux/seccomp.h` and `Documentation/networking/filter.rst`; it knows nothing of the compiler.

use casemate_kernel::seccomp::Instruction;

/// A system call as a filter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: u32,
    /// `AUDIT_ARCH_*`.
    pub(crate) arch: u32,
    pub(crate) args: [u64; 6],
}

/// What a filter says, and what that cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// `SECCOMP_RET_*` with its data.
    pub(crate) action: u32,
    /// Conditional jumps that were taken or not.
    pub(crate) comparisons: usize,
}

/// Runs a program that [`check`] has passed.
pub(crate) fn run(program: &[Instruction], call: &Call) -> Verdict {
    let mut data = [0_u8; 64];
    data[0..4].copy_from_slice(&call.number.to_ne_bytes());
    data[4..8].copy_from_slice(&call.arch.to_ne_bytes());
    // The instruction pointer: no filter may depend on it.
    data[8..16].copy_from_slice(&[0xA5; 8]);
    for (index, arg) in call.args.iter().enumerate() {
        data[16 + 8 * index..24 + 8 * index].copy_from_slice(&arg.to_ne_bytes());
    }
    let (mut accumulator, mut at, mut comparisons) = (0_u32, 0_usize, 0);
    loop {
        let Instruction { code, jump_true, jump_false, operand } = program[at];
        at += 1;
        let truth = match code {
            0x20 => {
                let from = operand as usize;
                accumulator = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
                continue;
            }
            0x54 => {
                accumulator &= operand;
                continue;
            }
            0x05 => {
                at += operand as usize;
                continue;
            }
            0x06 => return Verdict { action: operand, comparisons },
            0x15 => accumulator == operand,
            0x25 => accumulator > operand,
            0x35 => accumulator >= operand,
            0x45 => accumulator & operand != 0,
            other => panic!("instruction {other:#x}"),
        };
        comparisons += 1;
        at += usize::from(if truth { jump_true } else { jump_false });
    }
}

/// What the kernel asks of a filter, and that nothing in it can't be reached.
pub(crate) fn check(program: &[Instruction]) {
    assert!((1..=4096).contains(&program.len()), "{} instructions", program.len());
    assert_eq!(program.last().unwrap().code, 0x06, "the last instruction returns");
    let mut reached = vec![false; program.len()];
    reached[0] = true;
    for (at, i) in program.iter().enumerate() {
        assert!(reached[at], "instruction {at} is never reached");
        let mut go = |by: usize| {
            let to = at + 1 + by;
            assert!(to < program.len(), "instruction {at} jumps out of the program");
            reached[to] = true;
        };
        match i.code {
            0x20 => {
                assert!(i.operand < 64 && i.operand % 4 == 0, "load of {}", i.operand);
                go(0);
            }
            0x54 => go(0),
            0x05 => go(i.operand as usize),
            0x06 => {}
            0x15 | 0x25 | 0x35 | 0x45 => {
                go(i.jump_true.into());
                go(i.jump_false.into());
            }
            other => panic!("instruction {at}: {other:#x}"),
        }
    }
}
