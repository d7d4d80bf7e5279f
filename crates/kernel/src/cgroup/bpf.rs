//! The device controller of version 2: a small eBPF program for each group (`BPF_PROG_TYPE_CGROUP_DEVICE`).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::device::{DeviceKind, DeviceRule};
use crate::error::{Error, Result, last_errno};

/// One eBPF instruction, as the kernel lays it out (`struct bpf_insn`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    code: u8,
    /// Destination in the low four bits, source in the high ones.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
const ATTACH_ALLOW_MULTI: u32 = 2;

const LOAD_WORD: u8 = 0x61;
const MOVE_IMMEDIATE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const AND_IMMEDIATE_32: u8 = 0x54;
const RIGHT_SHIFT_32: u8 = 0x74;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5d;
const EXIT: u8 = 0x95;

const DEVICE_BLOCK: i32 = 1;
const DEVICE_CHARACTER: i32 = 2;

fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: destination | source << 4, offset, immediate }
}

/// The program: type in r2, access in r3, major in r4, minor in r5; then one block for each rule, the last rule first,
/// since the last that matches decides.
///
/// Allow: every access asked for must be in the rule (otherwise an earlier rule may still allow it, or nothing does).
/// Deny: any access asked for that the rule names is enough.
pub(super) fn device_program(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        // struct bpf_cgroup_dev_ctx { u32 access_type (access << 16 | type), major, minor }
        instruction(LOAD_WORD, 2, 1, 0, 0),
        instruction(MOVE_REGISTER, 3, 2, 0, 0),
        instruction(AND_IMMEDIATE_32, 2, 0, 0, 0xffff),
        instruction(RIGHT_SHIFT_32, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, 4, 0),
        instruction(LOAD_WORD, 5, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        append_rule(&mut program, rule);
        if decides_all(rule) {
            // What would follow can't be reached, and the verifier refuses a program that has such instructions.
            return program;
        }
    }
    program.extend(returning(false));
    program
}

/// Whether a rule matches every access, so that none before it matters.
fn decides_all(rule: &DeviceRule) -> bool {
    rule.kind == DeviceKind::All && rule.major.is_none() && rule.minor.is_none()
}

fn append_rule(program: &mut Vec<Instruction>, rule: &DeviceRule) {
    let kind = match rule.kind {
        DeviceKind::All => None,
        DeviceKind::Block => Some(DEVICE_BLOCK),
        DeviceKind::Character => Some(DEVICE_CHARACTER),
    };
    // The tests, each jumping over the rest of the rule when it does not match; the distance is filled in at the end.
    let mut block: Vec<Instruction> = Vec::new();
    let number = |n: u32| i32::from_ne_bytes(n.to_ne_bytes());
    for (register, value) in [(2, kind), (4, rule.major.map(number)), (5, rule.minor.map(number))] {
        if let Some(value) = value {
            block.push(instruction(JUMP_NOT_EQUAL, register, 0, 0, value));
        }
    }
    let bits = i32::from(rule.access.bits());
    if bits != 7 && kind.is_some() {
        block.push(instruction(MOVE_REGISTER, 1, 3, 0, 0));
        block.push(instruction(AND_IMMEDIATE_32, 1, 0, 0, bits));
        if rule.allow {
            block.push(instruction(JUMP_NOT_EQUAL_REGISTER, 1, 3, 0, 0));
        } else {
            // No bit in common: not this rule's. A second jump is needed, as the test is for "equal to zero".
            block.push(instruction(0x15, 1, 0, 0, 0));
        }
    }
    let end = block.len() + returning(rule.allow).len();
    for (index, instruction) in block.iter_mut().enumerate() {
        if matches!(instruction.code, JUMP_NOT_EQUAL | JUMP_NOT_EQUAL_REGISTER | 0x15) {
            // At most eight instructions a rule.
            instruction.offset = i16::try_from(end - index - 1).unwrap_or(i16::MAX);
        }
    }
    program.extend(block);
    program.extend(returning(rule.allow));
}

fn returning(allow: bool) -> [Instruction; 2] {
    [instruction(MOVE_IMMEDIATE, 0, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a program and attaches it to a group: it stays for as long as the group does.
pub(super) fn attach_device_program(group: BorrowedFd<'_>, program: &[Instruction]) -> Result<()> {
    let call = |what: &str| format!("bpf({what}, {} instructions for cgroup [{}])", program.len(), group.as_raw_fd());
    let load = LoadAttributes {
        kind: PROG_TYPE_CGROUP_DEVICE,
        count: u32::try_from(program.len())
            .map_err(|_| Error::new(call("BPF_PROG_LOAD"), rustix::io::Errno::TOOBIG))?,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..LoadAttributes::default()
    };
    // SAFETY: the attributes are of the size given and point at the instructions and a NUL-terminated licence, which
    // outlive the call; the kernel verifies the program.
    let loaded = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<LoadAttributes>()) };
    if loaded < 0 {
        return Err(Error::new(call("BPF_PROG_LOAD"), last_errno()));
    }
    let number =
        libc::c_int::try_from(loaded).map_err(|_| Error::new(call("BPF_PROG_LOAD"), rustix::io::Errno::RANGE))?;
    // SAFETY: the kernel returned a new descriptor that nobody else knows.
    let program_fd = unsafe { OwnedFd::from_raw_fd(number) };
    let raw = |fd: i32| u32::try_from(fd).map_err(|_| Error::new(call("BPF_PROG_ATTACH"), rustix::io::Errno::BADF));
    let attach = AttachAttributes {
        target: raw(group.as_raw_fd())?,
        program: raw(program_fd.as_raw_fd())?,
        kind: ATTACH_TYPE_CGROUP_DEVICE,
        // Besides programs of groups above: access must be allowed by all.
        flags: ATTACH_ALLOW_MULTI,
    };
    // SAFETY: the attributes are of the size given and hold two descriptors that stay open over the call.
    if unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<AttachAttributes>()) } < 0 {
        return Err(Error::new(call("BPF_PROG_ATTACH"), last_errno()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::device::Access;
    use super::*;

    fn rule(allow: bool, kind: DeviceKind, numbers: Option<(u32, u32)>, access: Access) -> DeviceRule {
        DeviceRule { allow, kind, major: numbers.map(|n| n.0), minor: numbers.map(|n| n.1), access }
    }

    /// Runs a program as the kernel would; only the instructions that are made here.
    fn decide(program: &[Instruction], kind: i32, access: u32, major: u32, minor: u32) -> bool {
        let mut registers = [0_u64; 6];
        let context = [access << 16 | u32::try_from(kind).unwrap(), major, minor];
        let mut at = 0;
        loop {
            let i = program[at];
            let (d, s) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let immediate = i64::from(i.immediate).cast_unsigned();
            let skip = usize::try_from(i.offset).unwrap();
            at += 1;
            match i.code {
                LOAD_WORD => registers[d] = u64::from(context[skip / 4]),
                MOVE_IMMEDIATE => registers[d] = immediate,
                MOVE_REGISTER => registers[d] = registers[s],
                AND_IMMEDIATE_32 => registers[d] &= immediate & 0xffff_ffff,
                RIGHT_SHIFT_32 => registers[d] >>= i.immediate,
                JUMP_NOT_EQUAL if registers[d] != immediate => at += skip,
                JUMP_NOT_EQUAL_REGISTER if registers[d] != registers[s] => at += skip,
                0x15 if registers[d] == immediate => at += skip,
                JUMP_NOT_EQUAL | JUMP_NOT_EQUAL_REGISTER | 0x15 => {}
                EXIT => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let program = device_program(&[
            rule(false, DeviceKind::All, None, Access::ALL),
            rule(true, DeviceKind::Character, Some((1, 3)), Access::parse("rw").unwrap()),
            rule(true, DeviceKind::Block, Some((8, 0)), Access::READ),
            rule(false, DeviceKind::Character, Some((1, 3)), Access::WRITE),
        ]);
        let (read, write, make) = (2, 4, 1);
        assert!(decide(&program, DEVICE_CHARACTER, read, 1, 3));
        assert!(!decide(&program, DEVICE_CHARACTER, write, 1, 3));
        assert!(!decide(&program, DEVICE_CHARACTER, make, 1, 3));
        assert!(!decide(&program, DEVICE_CHARACTER, read, 1, 5));
        assert!(decide(&program, DEVICE_BLOCK, read, 8, 0));
        assert!(!decide(&program, DEVICE_BLOCK, read | write, 8, 0));
        assert!(!decide(&program, DEVICE_CHARACTER, read, 8, 0));
    }

    /// The verifier answers `EINVAL` to instructions that no path leads to.
    #[test]
    fn nothing_follows_a_rule_that_matches_everything() {
        let all = rule(false, DeviceKind::All, None, Access::ALL);
        let null = rule(true, DeviceKind::Character, Some((1, 3)), Access::ALL);
        let program = device_program(&[null, all, null]);
        assert_eq!(program, device_program(&[all, null]));
        assert_eq!(program.iter().filter(|instruction| instruction.code == EXIT).count(), 2);
        let (read, write) = (2, 4);
        assert!(decide(&program, DEVICE_CHARACTER, read | write, 1, 3));
        assert!(!decide(&program, DEVICE_CHARACTER, read, 1, 5));
    }
}
