//! What a profile says of a call, by reading it: `docs/seccomp.md` in code, with nothing of the compiler's.

use std::collections::HashMap;

use casemate_posture::seccomp::Arch;
use casemate_posture::syscalls;
use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator as Op,
    LinuxSyscall,
};

use super::machine::Call;

pub(crate) const I386: u32 = 0x4000_0003;
pub(crate) const X86_64: u32 = 0xC000_003E;
pub(crate) const ARM: u32 = 0x4000_0028;
pub(crate) const AARCH64: u32 = 0xC000_00B7;
const KILL_PROCESS: u32 = 0x8000_0000;
const ENOSYS: u32 = 0x0005_0000 + 38;

/// A profile, read.
pub(crate) struct Reference<'a> {
    profile: &'a LinuxSeccomp,
    native: Arch,
    /// By architecture and number: the rules that name it.
    rules: HashMap<(Arch, u32), Vec<&'a LinuxSyscall>>,
    /// By architecture: the largest number that is named.
    largest: HashMap<Arch, u32>,
}

impl<'a> Reference<'a> {
    pub(crate) fn new(profile: &'a LinuxSeccomp, native: Arch) -> Self {
        let mut one = Self { profile, native, rules: HashMap::new(), largest: HashMap::new() };
        for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm] {
            let mut numbers: HashMap<&str, u32> = HashMap::new();
            for name in syscalls::names(arch) {
                numbers.insert(name, syscalls::number(arch, name).unwrap());
            }
            for rule in profile.syscalls().iter().flatten() {
                for name in rule.names() {
                    let Some(number) = numbers.get(name.as_str()) else { continue };
                    one.rules.entry((arch, *number)).or_default().push(rule);
                    let largest = one.largest.entry(arch).or_default();
                    *largest = (*number).max(*largest);
                }
            }
            // The shared numbers stand for the calls too.
            for (shared, names) in if arch == Arch::X86 { &SHARED[..] } else { &[] } {
                let named = |rule: &LinuxSyscall| rule.names().iter().any(|name| names.iter().any(|(n, _)| n == name));
                if profile.syscalls().iter().flatten().any(named) {
                    let largest = one.largest.entry(arch).or_default();
                    *largest = (*shared).max(*largest);
                }
            }
        }
        one
    }

    /// `SECCOMP_RET_*` with its data.
    pub(crate) fn decide(&self, call: &Call) -> u32 {
        let Some(arch) = self.table(call) else { return KILL_PROCESS };
        let default = value(self.profile.default_action(), self.profile.default_errno_ret());
        let mut candidates: Vec<(u32, bool)> = Vec::new();
        for rule in self.rules.get(&(arch, call.number)).into_iter().flatten() {
            if holds(rule, &call.args, arch) {
                candidates.push((value(rule.action(), rule.errno_ret()), conditions(rule).is_empty()));
            }
        }
        candidates.extend(self.shared(arch, call, default).map(|action| (action, false)));
        // The strictest; of equals, one without conditions; then the first. min_by_key takes the first of equals.
        if let Some((action, _)) = candidates.iter().min_by_key(|(action, always)| (rank(*action), !always)) {
            return *action;
        }
        let newer = self.largest.get(&arch).is_some_and(|largest| call.number > *largest);
        if newer && self.profile.default_action() == Action::ScmpActErrno { ENOSYS } else { default }
    }

    /// Whose numbers these are, if they are filtered at all.
    fn table(&self, call: &Call) -> Option<Arch> {
        let listed = |arch| self.profile.architectures().iter().flatten().any(|one| *one == arch);
        match (self.native, call.arch) {
            (Arch::X86_64, I386) => listed(OciArch::ScmpArchX86).then_some(Arch::X86),
            (Arch::X86_64, X86_64) if call.number < 0x4000_0000 => Some(Arch::X86_64),
            (Arch::X86_64, X86_64) if listed(OciArch::ScmpArchX32) => Some(Arch::X32),
            (Arch::X86_64, X86_64) if call.number == u32::MAX => Some(Arch::X86_64),
            (Arch::Aarch64, ARM) => listed(OciArch::ScmpArchArm).then_some(Arch::Arm),
            (Arch::Aarch64, AARCH64) => Some(Arch::Aarch64),
            _ => None,
        }
    }

    /// What rules for a call come to where it is made through socketcall or ipc.
    fn shared(&self, arch: Arch, call: &Call, default: u32) -> Option<u32> {
        if arch != Arch::X86 {
            return None;
        }
        let (_, names) = SHARED.iter().find(|(number, _)| *number == call.number)?;
        let choice = if call.number == 117 { call.args[0] & 0xFFFF } else { call.args[0] };
        let (name, _) = names.iter().find(|(_, number)| u64::from(*number) == choice)?;
        let about = |rule: &&LinuxSyscall| rule.names().iter().any(|one| one == name);
        let rules: Vec<&LinuxSyscall> = self.profile.syscalls().iter().flatten().filter(about).collect();
        if rules.is_empty() {
            return None;
        }
        let of = |rule: &LinuxSyscall| value(rule.action(), rule.errno_ret());
        let always =
            rules.iter().filter(|rule| conditions(rule).is_empty()).map(|rule| of(rule)).min_by_key(|a| rank(*a));
        let mut possible = vec![always.unwrap_or(default)];
        for rule in rules.iter().filter(|rule| !conditions(rule).is_empty()) {
            if always.is_none_or(|always| rank(of(rule)) < rank(always)) {
                possible.push(of(rule));
            }
        }
        let spoken_of =
            self.rules.get(&(arch, call.number)).into_iter().flatten().any(|rule| conditions(rule).is_empty());
        if possible.iter().any(|action| *action != possible[0]) && spoken_of {
            return None;
        }
        // Of equally strict conditions the compiler takes the default's, then the profile's order.
        possible.into_iter().min_by_key(|action| rank(*action))
    }
}

fn conditions(rule: &LinuxSyscall) -> &[LinuxSeccompArg] {
    rule.args().as_deref().unwrap_or_default()
}

fn holds(rule: &LinuxSyscall, args: &[u64; 6], arch: Arch) -> bool {
    let conditions = conditions(rule);
    let narrow = matches!(arch, Arch::X86 | Arch::Arm);
    let mut indices: Vec<usize> = conditions.iter().map(LinuxSeccompArg::index).collect();
    indices.sort_unstable();
    if indices.windows(2).any(|pair| pair[0] == pair[1]) {
        conditions.iter().any(|one| compares(one, args[one.index()], narrow))
    } else {
        conditions.iter().all(|one| compares(one, args[one.index()], narrow))
    }
}

fn compares(condition: &LinuxSeccompArg, arg: u64, narrow: bool) -> bool {
    // An int of 32 bits, written with 64.
    let number = |value: u64| {
        let int = value >= 0xFFFF_FFFF_8000_0000;
        if narrow && int { value & 0xFFFF_FFFF } else { value }
    };
    let value = condition.value();
    match condition.op() {
        Op::ScmpCmpNe => arg != number(value),
        Op::ScmpCmpLt => arg < number(value),
        Op::ScmpCmpLe => arg <= number(value),
        Op::ScmpCmpEq => arg == number(value),
        Op::ScmpCmpGe => arg >= number(value),
        Op::ScmpCmpGt => arg > number(value),
        Op::ScmpCmpMaskedEq => {
            let two = condition.value_two().unwrap_or(0);
            arg & value == number(two) & value
        }
    }
}

pub(crate) fn value(action: Action, number: Option<u32>) -> u32 {
    match action {
        Action::ScmpActKill | Action::ScmpActKillThread => 0,
        Action::ScmpActKillProcess => KILL_PROCESS,
        Action::ScmpActTrap => 0x0003_0000,
        Action::ScmpActErrno => 0x0005_0000 + number.unwrap_or(1),
        Action::ScmpActNotify => 0x7FC0_0000,
        Action::ScmpActTrace => 0x7FF0_0000 + number.unwrap_or(1),
        Action::ScmpActLog => 0x7FFC_0000,
        Action::ScmpActAllow => 0x7FFF_0000,
    }
}

/// The order of `seccomp(2)`, the strictest first.
pub(crate) fn rank(action: u32) -> usize {
    [0x8000, 0x0000, 0x0003, 0x0005, 0x7FC0, 0x7FF0, 0x7FFC, 0x7FFF]
        .iter()
        .position(|kind| *kind == action >> 16)
        .unwrap()
}

/// `linux/net.h` and `linux/ipc.h`.
const SHARED: [(u32, &[(&str, u32)]); 2] = [
    (
        102,
        &[
            ("socket", 1),
            ("bind", 2),
            ("connect", 3),
            ("listen", 4),
            ("accept", 5),
            ("getsockname", 6),
            ("getpeername", 7),
            ("socketpair", 8),
            ("send", 9),
            ("recv", 10),
            ("sendto", 11),
            ("recvfrom", 12),
            ("shutdown", 13),
            ("setsockopt", 14),
            ("getsockopt", 15),
            ("sendmsg", 16),
            ("recvmsg", 17),
            ("accept4", 18),
            ("recvmmsg", 19),
            ("sendmmsg", 20),
        ],
    ),
    (
        117,
        &[
            ("semop", 1),
            ("semget", 2),
            ("semctl", 3),
            ("semtimedop", 4),
            ("msgsnd", 11),
            ("msgrcv", 12),
            ("msgget", 13),
            ("msgctl", 14),
            ("shmat", 21),
            ("shmdt", 22),
            ("shmget", 23),
            ("shmctl", 24),
        ],
    ),
];
