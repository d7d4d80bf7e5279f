//! A profile's rules as decisions on numbers.

use std::collections::BTreeMap;

use casemate_kernel::seccomp::{
    FLAG_LOG, FLAG_SPEC_ALLOW, FLAG_TSYNC, FLAG_WAIT_KILLABLE_RECV, Instruction, MAX_INSTRUCTIONS,
};
use casemate_posture::syscalls;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};

use super::emit;
use crate::error::Error;

pub(super) const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_KILL_THREAD: u32 = 0;
const RET_TRAP: u32 = 0x0003_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_TRACE: u32 = 0x7ff0_0000;
const RET_LOG: u32 = 0x7ffc_0000;
const RET_ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 1;

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The program.
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
}

/// How an argument is compared; all comparisons are of 64 bits, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Not equal.
    NotEqual,
    /// Less than.
    Less,
    /// Less than or equal.
    LessOrEqual,
    /// Equal.
    Equal,
    /// Greater than or equal.
    GreaterOrEqual,
    /// Greater than.
    Greater,
    /// Equal to the datum after this mask.
    Masked(u64),
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub index: u8,
    /// The comparison.
    pub operator: Operator,
    /// What it is compared with.
    pub datum: u64,
}

impl Condition {
    /// Whether a call's arguments meet the condition.
    pub fn holds(&self, args: &[u64; 6]) -> bool {
        let value = args[usize::from(self.index)];
        match self.operator {
            Operator::NotEqual => value != self.datum,
            Operator::Less => value < self.datum,
            Operator::LessOrEqual => value <= self.datum,
            Operator::Equal => value == self.datum,
            Operator::GreaterOrEqual => value >= self.datum,
            Operator::Greater => value > self.datum,
            Operator::Masked(mask) => value & mask == self.datum,
        }
    }
}

/// What is done on a system call: the first rule whose conditions all hold, or else `otherwise`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) rules: Vec<(Vec<Condition>, u32)>,
    pub(super) otherwise: u32,
}

/// The decisions for one architecture.
#[derive(Debug)]
pub(super) struct Table {
    /// `AUDIT_ARCH_*`.
    pub(super) audit: u32,
    /// On x86_64: whether numbers with the x32 bit are calls of a known table rather than foreign ones.
    pub(super) x32: bool,
    pub(super) decisions: BTreeMap<u32, Decision>,
    pub(super) default: u32,
}

/// Compiles a profile.
///
/// Names that an architecture does not have are passed over, as libseccomp's users do. A rule with arguments comes
/// before one without for the same call, and among several the first that matches decides. Architectures that the
/// profile does not name are killed, x32 on x86_64 included.
///
/// # Errors
/// A field that is wrong, an action this runtime can't give, or a filter longer than the kernel takes (4096).
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter, Error> {
    let default = action_value(profile.default_action(), profile.default_errno_ret(), "linux.seccomp.defaultAction")?;
    let native = casemate_posture::seccomp::Arch::native()
        .ok_or_else(|| Error::field("linux.seccomp", "this processor's system calls are not known"))?;
    let mut tables = Vec::new();
    let listed = profile.architectures().as_deref().unwrap_or_default();
    let mut archs: Vec<casemate_posture::seccomp::Arch> = Vec::new();
    for arch in listed {
        let arch = if *arch == Arch::ScmpArchNative { Some(native) } else { known_arch(*arch) };
        // Tables of other processors' calls never apply here.
        if let Some(arch) = arch.filter(|arch| !archs.contains(arch)) {
            archs.push(arch);
        }
    }
    if !archs.contains(&native) {
        archs.insert(0, native);
    }
    for arch in archs {
        add_table(&mut tables, profile, arch, default)?;
    }
    let program = emit::program(&tables)?;
    if program.len() > MAX_INSTRUCTIONS {
        let why = format!("{} instructions; the kernel takes {MAX_INSTRUCTIONS}", program.len());
        return Err(Error::field("linux.seccomp.syscalls", why));
    }
    Ok(Filter { program, flags: flags(profile)? })
}

fn known_arch(arch: Arch) -> Option<casemate_posture::seccomp::Arch> {
    use casemate_posture::seccomp::Arch as Known;
    match arch {
        Arch::ScmpArchX86_64 => Some(Known::X86_64),
        Arch::ScmpArchX86 => Some(Known::X86),
        Arch::ScmpArchX32 => Some(Known::X32),
        Arch::ScmpArchAarch64 => Some(Known::Aarch64),
        _ => None,
    }
}

fn add_table(
    tables: &mut Vec<Table>,
    profile: &LinuxSeccomp,
    arch: casemate_posture::seccomp::Arch,
    default: u32,
) -> Result<(), Error> {
    use casemate_posture::seccomp::Arch as Known;
    let (audit, x32) = match arch {
        Known::X86_64 => (0xC000_003E, false),
        Known::X86 => (0x4000_0003, false),
        Known::X32 => (0xC000_003E, true),
        Known::Aarch64 => (0xC000_00B7, false),
        other => {
            return Err(Error::field("linux.seccomp.architectures", format!("{} is not known", other.name())));
        }
    };
    let index = tables.iter().position(|table| table.audit == audit).unwrap_or_else(|| {
        tables.push(Table { audit, x32: false, decisions: BTreeMap::new(), default });
        tables.len() - 1
    });
    let table = &mut tables[index];
    table.x32 |= x32;
    for rule in profile.syscalls().as_deref().unwrap_or_default() {
        let action = action_value(rule.action(), rule.errno_ret(), "linux.seccomp.syscalls.action")?;
        let conditions = conditions(rule)?;
        for name in rule.names() {
            let Some(number) = syscalls::number(arch, name) else {
                continue;
            };
            let decision = table.decisions.entry(number).or_insert(Decision { rules: Vec::new(), otherwise: default });
            if conditions.is_empty() {
                decision.otherwise = action;
            } else {
                decision.rules.push((conditions.clone(), action));
            }
        }
    }
    for decision in table.decisions.values_mut() {
        // What a rule says that is said anyway needs no comparison, as long as no rule after it says otherwise.
        while decision.rules.last().is_some_and(|(_, action)| *action == decision.otherwise) {
            decision.rules.pop();
        }
    }
    Ok(())
}

fn conditions(rule: &LinuxSyscall) -> Result<Vec<Condition>, Error> {
    rule.args().as_deref().unwrap_or_default().iter().map(condition).collect()
}

fn condition(arg: &LinuxSeccompArg) -> Result<Condition, Error> {
    let index = u8::try_from(arg.index()).ok().filter(|index| *index < 6).ok_or_else(|| {
        Error::field(
            "linux.seccomp.syscalls.args.index",
            format!("{}: a system call has arguments 0 to 5", arg.index()),
        )
    })?;
    let (operator, datum) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => (Operator::NotEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpLt => (Operator::Less, arg.value()),
        LinuxSeccompOperator::ScmpCmpLe => (Operator::LessOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpEq => (Operator::Equal, arg.value()),
        LinuxSeccompOperator::ScmpCmpGe => (Operator::GreaterOrEqual, arg.value()),
        LinuxSeccompOperator::ScmpCmpGt => (Operator::Greater, arg.value()),
        LinuxSeccompOperator::ScmpCmpMaskedEq => (Operator::Masked(arg.value()), arg.value_two().unwrap_or(0)),
    };
    Ok(Condition { index, operator, datum })
}

fn action_value(action: LinuxSeccompAction, errno: Option<u32>, field: &str) -> Result<u32, Error> {
    let errno = errno.unwrap_or(EPERM);
    if errno > 4095 {
        return Err(Error::field(field, format!("errno {errno}: at most 4095")));
    }
    Ok(match action {
        LinuxSeccompAction::ScmpActKillProcess => RET_KILL_PROCESS,
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => RET_KILL_THREAD,
        LinuxSeccompAction::ScmpActTrap => RET_TRAP,
        LinuxSeccompAction::ScmpActErrno => RET_ERRNO | errno,
        LinuxSeccompAction::ScmpActTrace => RET_TRACE | errno,
        LinuxSeccompAction::ScmpActLog => RET_LOG,
        LinuxSeccompAction::ScmpActAllow => RET_ALLOW,
        LinuxSeccompAction::ScmpActNotify => {
            return Err(Error::field(field, "SCMP_ACT_NOTIFY needs a listener, which this runtime does not offer"));
        }
    })
}

fn flags(profile: &LinuxSeccomp) -> Result<u32, Error> {
    if profile.listener_path().is_some() {
        return Err(Error::field("linux.seccomp.listenerPath", "this runtime does not offer notifications"));
    }
    let mut bits = 0;
    for flag in profile.flags().as_deref().unwrap_or_default() {
        bits |= match flag {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => FLAG_LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => FLAG_TSYNC,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => FLAG_WAIT_KILLABLE_RECV,
        };
    }
    Ok(bits)
}
