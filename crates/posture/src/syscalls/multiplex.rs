//! Calls that 32-bit architectures also have as one number with a choice: `socketcall(2)` and `ipc(2)`; source: Linux 6.17
//! headers (`linux/net.h`, `linux/ipc.h`) and `ipc/syscall.c`.

use super::table::{Name, Table};
use crate::seccomp::Arch;

/// Another way to make a call: through a number that it shares with others, told apart by the first argument. Where it is
/// `socketcall`, the call's own arguments are in memory, where no filter sees them; `ipc` shuffles them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multiplexed {
    /// The number of `socketcall` or `ipc`.
    pub number: u32,
    /// The bits of the first argument that say which call is meant: `ipc` takes a version in the upper half of it.
    pub mask: u32,
    /// What they are for this call.
    pub call: u32,
}

#[rustfmt::skip]
const SOCKETCALL: &[(&str, u32)] = &[
    ("accept", 5), ("accept4", 18), ("bind", 2), ("connect", 3), ("getpeername", 7), ("getsockname", 6),
    ("getsockopt", 15), ("listen", 4), ("recv", 10), ("recvfrom", 12), ("recvmmsg", 19), ("recvmsg", 17), ("send", 9),
    ("sendmmsg", 20), ("sendmsg", 16), ("sendto", 11), ("setsockopt", 14), ("shutdown", 13), ("socket", 1),
    ("socketpair", 8),
];

#[rustfmt::skip]
const IPC: &[(&str, u32)] = &[
    ("msgctl", 14), ("msgget", 13), ("msgrcv", 12), ("msgsnd", 11), ("semctl", 3), ("semget", 2), ("semop", 1),
    ("semtimedop", 4), ("shmat", 21), ("shmctl", 24), ("shmdt", 22), ("shmget", 23),
];

static SOCKETCALLS: Table = Table::new(SOCKETCALL);
static IPCS: Table = Table::new(IPC);

/// The names that a number stands for on an architecture, if it is one that several calls share.
pub fn multiplexed(arch: Arch, name: &Name<'_>) -> Option<Multiplexed> {
    // 32-bit Arm has both numbers for the calling convention before EABI only; no kernel that runs containers has that.
    if arch != Arch::X86 {
        return None;
    }
    if let Some(call) = SOCKETCALLS.number(name) {
        return Some(Multiplexed { number: 102, mask: u32::MAX, call });
    }
    IPCS.number(name).map(|call| Multiplexed { number: 117, mask: 0xFFFF, call })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscalls;

    #[test]
    fn both_tables_are_sorted_and_their_numbers_are_the_kernels() {
        for calls in [SOCKETCALL, IPC] {
            assert!(calls.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        assert_eq!(syscalls::name(Arch::X86, 102), Some("socketcall"));
        assert_eq!(syscalls::name(Arch::X86, 117), Some("ipc"));
        assert_eq!(
            multiplexed(Arch::X86, &Name::new("socket")),
            Some(Multiplexed { number: 102, mask: u32::MAX, call: 1 })
        );
        assert_eq!(
            multiplexed(Arch::X86, &Name::new("shmctl")),
            Some(Multiplexed { number: 117, mask: 0xFFFF, call: 24 })
        );
        assert_eq!(multiplexed(Arch::X86, &Name::new("read")), None);
        assert_eq!(multiplexed(Arch::X86_64, &Name::new("socket")), None);
        assert_eq!(multiplexed(Arch::Arm, &Name::new("socket")), None);
    }
}
