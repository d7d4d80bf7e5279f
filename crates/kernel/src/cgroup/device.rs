//! Which device files the processes of a group may open or make.

use std::fmt::Write as _;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags};

use super::bpf;
use crate::error::{Call, Result};

/// What may be done with a device: bits as in `BPF_DEVCG_ACC_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// Make the device file (`m`).
    pub const MAKE: Self = Self(1);
    /// Read (`r`).
    pub const READ: Self = Self(2);
    /// Write (`w`).
    pub const WRITE: Self = Self(4);
    /// All three.
    pub const ALL: Self = Self(7);

    /// Reads letters out of `rwm`; `None` for others, or for none.
    pub fn parse(letters: &str) -> Option<Self> {
        let mut bits = 0;
        for letter in letters.chars() {
            bits |= match letter {
                'm' => Self::MAKE.0,
                'r' => Self::READ.0,
                'w' => Self::WRITE.0,
                _ => return None,
            };
        }
        (bits != 0).then_some(Self(bits))
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }

    fn letters(self) -> String {
        [(Self::READ, 'r'), (Self::WRITE, 'w'), (Self::MAKE, 'm')]
            .into_iter()
            .filter(|(access, _)| self.0 & access.0 != 0)
            .map(|(_, letter)| letter)
            .collect()
    }
}

/// Block or character devices, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both kinds.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// One rule on devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether matching access is allowed or denied.
    pub allow: bool,
    /// The kind.
    pub kind: DeviceKind,
    /// Major number; `None` for all.
    pub major: Option<u32>,
    /// Minor number; `None` for all.
    pub minor: Option<u32>,
    /// The accesses it is about.
    pub access: Access,
}

impl DeviceRule {
    /// As the files of version 1 take it, such as `c 1:3 rwm`.
    fn text(&self) -> String {
        if self.kind == DeviceKind::All {
            return "a".to_owned();
        }
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let kind = if self.kind == DeviceKind::Block { 'b' } else { 'c' };
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(text, "{kind} {}:{} {}", number(self.major), number(self.minor), self.access.letters());
        text
    }
}

/// Writes the rules to a version 1 group, in order.
pub(super) fn write_rules(directory: BorrowedFd<'_>, rules: &[DeviceRule]) -> Result<()> {
    let open = |name: &str| {
        rustix::fs::openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("openat(cgroup, {name:?})"))
    };
    let (allow, deny) = (open("devices.allow")?, open("devices.deny")?);
    for rule in rules {
        let text = rule.text();
        let (file, name) = if rule.allow { (&allow, "devices.allow") } else { (&deny, "devices.deny") };
        rustix::io::write(file, text.as_bytes()).call(|| format!("write(cgroup file {name:?}, {text:?})"))?;
    }
    Ok(())
}

/// Attaches a program with the rules to a version 2 group.
pub(super) fn attach_program(directory: BorrowedFd<'_>, rules: &[DeviceRule]) -> Result<()> {
    bpf::attach_device_program(directory, &bpf::device_program(rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_as_the_kernel_reads_them() {
        let rule = DeviceRule {
            allow: true,
            kind: DeviceKind::Character,
            major: Some(136),
            minor: None,
            access: Access::parse("rw").unwrap(),
        };
        assert_eq!(rule.text(), "c 136:* rw");
        assert_eq!(DeviceRule { kind: DeviceKind::All, ..rule }.text(), "a");
        assert_eq!(Access::parse("rx"), None);
        assert_eq!(Access::parse(""), None);
    }
}
