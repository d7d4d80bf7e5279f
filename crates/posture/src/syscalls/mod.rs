//! System calls by name and number, per architecture.

mod aarch64;
mod i386;
mod x32;
mod x86_64;

use crate::seccomp::Arch;

/// The number of the system call `name` on `arch`, or `None` where that architecture has no such call (or casemate has no table
/// for it). x32 numbers carry their `0x4000_0000` bit.
pub fn number(arch: Arch, name: &str) -> Option<u32> {
    if arch == Arch::X32 {
        return x32::number(name);
    }
    let table = table(arch)?;
    table.binary_search_by_key(&name, |&(known, _)| known).ok().map(|index| table[index].1)
}

/// The name of the system call `number` on `arch`. A search through the whole table: for messages, not for a start path.
pub fn name(arch: Arch, number: u32) -> Option<&'static str> {
    if arch == Arch::X32 {
        return names(arch).find(|name| x32::number(name) == Some(number));
    }
    table(arch)?.iter().find(|&&(_, known)| known == number).map(|&(name, _)| name)
}

/// The names of all system calls of `arch`, sorted. Nothing for an architecture that casemate has no table for.
pub fn names(arch: Arch) -> impl Iterator<Item = &'static str> {
    let table = if arch == Arch::X32 { Some(x86_64::TABLE) } else { table(arch) };
    table
        .unwrap_or_default()
        .iter()
        .map(|&(name, _)| name)
        .filter(move |name| arch != Arch::X32 || x32::number(name).is_some())
}

/// Whether `name` is a system call on any architecture that casemate has a table for.
pub fn is_known(name: &str) -> bool {
    [Arch::X86_64, Arch::X86, Arch::Aarch64].into_iter().any(|arch| number(arch, name).is_some())
}

fn table(arch: Arch) -> Option<&'static [(&'static str, u32)]> {
    match arch {
        Arch::X86_64 => Some(x86_64::TABLE),
        Arch::X86 => Some(i386::TABLE),
        Arch::Aarch64 => Some(aarch64::TABLE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_without_duplicates() {
        for table in [x86_64::TABLE, i386::TABLE, aarch64::TABLE] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let mut numbers: Vec<u32> = table.iter().map(|&(_, number)| number).collect();
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
        assert_eq!(number(Arch::X86_64, "chmodd"), None);
        assert_eq!(number(Arch::Riscv64, "read"), None);
    }

    #[test]
    fn names_and_numbers_are_each_others_inverse() {
        for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
            for found in names(arch) {
                assert_eq!(number(arch, found).and_then(|number| name(arch, number)), Some(found), "{arch:?}");
            }
        }
        assert!(names(Arch::X86_64).count() > 370);
    }
}
