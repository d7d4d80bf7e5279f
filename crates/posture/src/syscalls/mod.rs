//! System calls by name and number, per architecture.

mod aarch64;
mod arm;
mod i386;
mod multiplex;
mod table;
mod x32;
mod x86_64;

pub use multiplex::{Multiplexed, multiplexed};
pub use table::Name;
use table::Table;

use crate::seccomp::Arch;

static X86_64: Table = Table::new(x86_64::TABLE);
static X86: Table = Table::new(i386::TABLE);
static AARCH64: Table = Table::new(aarch64::TABLE);
static ARM: Table = Table::new(arm::TABLE);

/// The number of the system call `name` on `arch`, or `None` where that architecture has no such call (or casemate has no table
/// for it). x32 numbers carry their `0x4000_0000` bit.
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    number_of(arch, &Name::new(name))
}

/// As [`number`], for a name that is looked for on several architectures.
pub fn number_of(arch: Arch, name: &Name<'_>) -> Option<u32> {
    if arch == Arch::X32 {
        return x32::number(name);
    }
    table(arch)?.number(name)
}

/// The name of the system call `number` on `arch`. A search through the whole table: for messages, not for a start path.
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    if arch == Arch::X32 {
        return names(arch).find(|name| x32::number(&Name::new(name)) == Some(number));
    }
    table(arch)?.entries.iter().find(|&&(_, known)| known == number).map(|&(name, _)| name)
}

/// The names of all system calls of `arch`, sorted. Nothing for an architecture that casemate has no table for.
pub fn names(arch: Arch) -> impl Iterator<Item = &'static str> {
    let table = if arch == Arch::X32 { Some(&X86_64) } else { table(arch) };
    table
        .map(|table| table.entries)
        .unwrap_or_default()
        .iter()
        .map(|&(name, _)| name)
        .filter(move |name| arch != Arch::X32 || x32::number(&Name::new(name)).is_some())
}

/// Whether `name` is a system call on any architecture that casemate has a table for.
pub fn is_known(name: &str) -> bool {
    [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm]
        .into_iter()
        .any(|arch| number(arch, name).is_some() || multiplexed(arch, &Name::new(name)).is_some())
}

fn table(arch: Arch) -> Option<&'static Table> {
    match arch {
        Arch::X86_64 => Some(&X86_64),
        Arch::X86 => Some(&X86),
        Arch::Aarch64 => Some(&AARCH64),
        Arch::Arm => Some(&ARM),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_without_duplicates() {
        for table in [x86_64::TABLE, i386::TABLE, aarch64::TABLE, arm::TABLE] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
            // One call of Arm's has two names.
            let known = table.iter().filter(|(name, _)| *name != "arm_sync_file_range");
            let mut numbers: Vec<u32> = known.map(|&(_, number)| number).collect();
            numbers.sort_unstable();
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        }
        assert!(x32::OWN.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(number(Arch::X86_64, "read"), Some(0));
        assert_eq!(number(Arch::X86_64, "execve"), Some(59));
        assert_eq!(number(Arch::X86_64, "clone3"), Some(435));
        assert_eq!(number(Arch::X86, "execve"), Some(11));
        assert_eq!(number(Arch::X86, "socketcall"), Some(102));
        assert_eq!(number(Arch::Aarch64, "execve"), Some(221));
        assert_eq!(number(Arch::Aarch64, "open"), None);
        assert_eq!(number(Arch::X32, "read"), Some(0x4000_0000));
        assert_eq!(number(Arch::X32, "execve"), Some(0x4000_0000 + 520));
        assert_eq!(number(Arch::Arm, "execve"), Some(11));
        assert_eq!(number(Arch::Arm, "set_tls"), Some(0x000f_0005));
        assert_eq!(number(Arch::Arm, "sync_file_range2"), number(Arch::Arm, "arm_sync_file_range"));
        assert_eq!(number(Arch::X86_64, "chmodd"), None);
        assert_eq!(number(Arch::Riscv64, "read"), None);
    }

    #[test]
    fn names_and_numbers_are_each_others_inverse() {
        for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm] {
            for found in names(arch).filter(|name| *name != "sync_file_range2") {
                assert_eq!(number(arch, found).and_then(|number| name(arch, number)), Some(found), "{arch:?}");
            }
        }
        assert!(names(Arch::X86_64).count() > 370);
    }
}
