//! From decisions to instructions.

use casemate_kernel::seccomp::Instruction;

use super::profile::{Condition, Decision, Operator, RET_KILL_PROCESS, Table};
use crate::error::Error;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const X32_BIT: u32 = 0x4000_0000;
const AUDIT_X86_64: u32 = 0xC000_003E;

fn plain(code: u16, operand: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, operand }
}

fn returning(action: u32) -> Instruction {
    plain(RETURN, action)
}

/// A conditional jump that goes on with the next instruction if true, and skips `distance` if not.
fn unless_skip(code: u16, operand: u32, distance: usize) -> Vec<Instruction> {
    match u8::try_from(distance) {
        Ok(jump_false) => vec![Instruction { code, jump_true: 0, jump_false, operand }],
        // Conditional jumps reach 255 instructions; an unconditional one reaches anywhere.
        Err(_) => vec![
            Instruction { code, jump_true: 1, jump_false: 0, operand },
            plain(JUMP, u32::try_from(distance).unwrap_or(u32::MAX)),
        ],
    }
}

/// The whole program: which architecture, then that one's tree; others are killed.
pub(super) fn program(tables: &[Table]) -> Result<Vec<Instruction>, Error> {
    let mut program = vec![plain(LOAD, ARCHITECTURE)];
    for table in tables {
        let mut body = vec![plain(LOAD, NUMBER)];
        if table.audit == AUDIT_X86_64 && !table.x32 {
            body.push(Instruction { code: JUMP_GREATER_OR_EQUAL, jump_true: 0, jump_false: 1, operand: X32_BIT });
            body.push(returning(RET_KILL_PROCESS));
        }
        let ranges = ranges(table);
        body.extend(tree(&ranges)?);
        program.extend(unless_skip(JUMP_EQUAL, table.audit, body.len()));
        program.extend(body);
    }
    program.push(returning(RET_KILL_PROCESS));
    Ok(program)
}

/// From this number on (until the next range's), this is decided.
struct Range<'a> {
    from: u32,
    decision: std::borrow::Cow<'a, Decision>,
}

/// Neighbouring numbers with the same decision become one range.
fn ranges(table: &Table) -> Vec<Range<'_>> {
    use std::borrow::Cow;
    let default = Decision { rules: Vec::new(), otherwise: table.default };
    let mut ranges: Vec<Range<'_>> = Vec::new();
    let mut push = |from: u32, decision: Cow<'_, Decision>| {
        if ranges.last().is_none_or(|last| last.decision != decision) {
            ranges.push(Range { from, decision: Cow::Owned(decision.into_owned()) });
        }
    };
    let mut next = 0_u32;
    for (&number, decision) in &table.decisions {
        if number > next {
            push(next, Cow::Borrowed(&default));
        }
        push(number, Cow::Borrowed(decision));
        next = number.saturating_add(1);
    }
    push(next, Cow::Borrowed(&default));
    ranges
}

fn tree(ranges: &[Range<'_>]) -> Result<Vec<Instruction>, Error> {
    match ranges {
        [] => Ok(vec![returning(RET_KILL_PROCESS)]),
        [one] => leaf(&one.decision),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let (low, high) = (tree(low)?, tree(high)?.into_iter());
            // `ranges.split_at` of two or more leaves the upper half not empty.
            let pivot = ranges[ranges.len() / 2].from;
            // Number at or above the pivot: skip the lower half.
            let mut program = match u8::try_from(low.len()) {
                Ok(jump_true) => {
                    vec![Instruction { code: JUMP_GREATER_OR_EQUAL, jump_true, jump_false: 0, operand: pivot }]
                }
                Err(_) => vec![
                    Instruction { code: JUMP_GREATER_OR_EQUAL, jump_true: 0, jump_false: 1, operand: pivot },
                    plain(JUMP, u32::try_from(low.len()).unwrap_or(u32::MAX)),
                ],
            };
            program.extend(low);
            program.extend(high);
            Ok(program)
        }
    }
}

fn leaf(decision: &Decision) -> Result<Vec<Instruction>, Error> {
    let mut program = Vec::new();
    for (conditions, action) in &decision.rules {
        program.extend(rule(conditions, *action)?);
    }
    program.push(returning(decision.otherwise));
    Ok(program)
}

/// The place a comparison jumps to.
#[derive(Clone, Copy, PartialEq)]
enum Goal {
    /// The next instruction.
    Next,
    /// The end of this condition: it holds.
    Holds,
    /// The end of the rule: it does not apply.
    Fails,
}

fn rule(conditions: &[Condition], action: u32) -> Result<Vec<Instruction>, Error> {
    let blocks: Vec<Vec<(u16, u32, Goal, Goal)>> = conditions.iter().map(comparison).collect();
    let total: usize = blocks.iter().map(Vec::len).sum::<usize>() + 1;
    let mut program = Vec::with_capacity(total);
    let mut start = 0;
    for block in &blocks {
        for (index, &(code, operand, if_true, if_false)) in block.iter().enumerate() {
            let here = start + index + 1;
            let distance = |goal: Goal| {
                let target = match goal {
                    Goal::Next => here,
                    Goal::Holds => start + block.len(),
                    Goal::Fails => total,
                };
                u8::try_from(target - here).map_err(|_| {
                    Error::field("linux.seccomp.syscalls.args", format!("{} conditions in one rule", conditions.len()))
                })
            };
            program.push(Instruction { code, jump_true: distance(if_true)?, jump_false: distance(if_false)?, operand });
        }
        start += block.len();
    }
    program.push(returning(action));
    Ok(program)
}

/// One condition: the upper word is compared, then, where that leaves it open, the lower one.
fn comparison(condition: &Condition) -> Vec<(u16, u32, Goal, Goal)> {
    use Goal::{Fails, Holds, Next};
    let word = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
    let (high, low) = (word(condition.datum >> 32), word(condition.datum));
    let offset = 16 + 8 * u32::from(condition.index);
    // seccomp_data is in the byte order of the machine.
    let (high_at, low_at) = if cfg!(target_endian = "little") { (offset + 4, offset) } else { (offset, offset + 4) };
    let load = |at: u32| (LOAD, at, Next, Next);
    match condition.operator {
        Operator::Equal => {
            vec![load(high_at), (JUMP_EQUAL, high, Next, Fails), load(low_at), (JUMP_EQUAL, low, Holds, Fails)]
        }
        Operator::NotEqual => {
            vec![load(high_at), (JUMP_EQUAL, high, Next, Holds), load(low_at), (JUMP_EQUAL, low, Fails, Holds)]
        }
        Operator::Greater | Operator::GreaterOrEqual => {
            let last = if condition.operator == Operator::Greater { JUMP_GREATER } else { JUMP_GREATER_OR_EQUAL };
            vec![
                load(high_at),
                (JUMP_GREATER, high, Holds, Next),
                (JUMP_EQUAL, high, Next, Fails),
                load(low_at),
                (last, low, Holds, Fails),
            ]
        }
        Operator::Less | Operator::LessOrEqual => {
            let last = if condition.operator == Operator::Less { JUMP_GREATER_OR_EQUAL } else { JUMP_GREATER };
            vec![
                load(high_at),
                (JUMP_GREATER, high, Fails, Next),
                (JUMP_EQUAL, high, Next, Holds),
                load(low_at),
                (last, low, Fails, Holds),
            ]
        }
        Operator::Masked(mask) => vec![
            load(high_at),
            (AND, word(mask >> 32), Next, Next),
            (JUMP_EQUAL, high, Next, Fails),
            load(low_at),
            (AND, word(mask), Next, Next),
            (JUMP_EQUAL, low, Holds, Fails),
        ],
    }
}
