//! Which device files the processes of a group may open or make.

use std::fmt::Write as _;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::bpf;
use crate::error::{Call, Error, Result};

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

    /// Whether all of `other` are among them.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }
}

impl std::fmt::Display for Access {
    /// Letters out of `rwm`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        [(Self::READ, 'r'), (Self::WRITE, 'w'), (Self::MAKE, 'm')]
            .into_iter()
            .filter(|(access, _)| self.0 & access.0 != 0)
            .try_for_each(|(_, letter)| f.write_char(letter))
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
        let _ = write!(text, "{kind} {}:{} {}", number(self.major), number(self.minor), self.access);
        text
    }
}

impl DeviceRule {
    /// Whether some access to some device is in both rules.
    fn overlaps(&self, other: &Self) -> bool {
        let numbers = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind
            && numbers(self.major, other.major)
            && numbers(self.minor, other.minor)
            && self.access.0 & other.access.0 != 0
    }

    fn is_on_same_devices(&self, other: &Self) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }
}

/// Refuses rules that version 1 takes and does not follow.
///
/// A version 1 group allows, or denies, everything with exceptions, and takes an exception back only when it is on just the
/// same devices (`dev_exception_rm` in the kernel): what is denied of a range that was allowed stays allowed.
fn require_followed(rules: &[DeviceRule]) -> Result<()> {
    let mut exceptions: Vec<&DeviceRule> = Vec::new();
    let mut default_allow = true;
    for rule in rules {
        if rule.kind == DeviceKind::All {
            default_allow = rule.allow;
            exceptions.clear();
        } else if rule.allow != default_allow {
            exceptions.push(rule);
        } else if let Some(kept) =
            exceptions.iter().find(|exception| exception.overlaps(rule) && !exception.is_on_same_devices(rule))
        {
            let call =
                format!("device rule {:?} against {:?}: version 1 can't split a range", rule.text(), kept.text());
            return Err(Error::new(call, Errno::INVAL));
        }
    }
    Ok(())
}

/// Writes the rules to a version 1 group, in order.
pub(super) fn write_rules(directory: BorrowedFd<'_>, rules: &[DeviceRule]) -> Result<()> {
    require_followed(rules)?;
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

    #[test]
    fn what_version_1_would_not_follow_is_refused() {
        let rule = |allow, major, minor, access| DeviceRule {
            allow,
            kind: DeviceKind::Character,
            major,
            minor,
            access: Access::parse(access).unwrap(),
        };
        let all = |allow| DeviceRule { allow, kind: DeviceKind::All, major: None, minor: None, access: Access::ALL };
        let range = rule(true, Some(1), None, "rw");
        assert!(require_followed(&[all(false), range, rule(false, Some(1), Some(3), "w")]).is_err());
        assert!(require_followed(&[all(false), range, rule(false, Some(1), Some(3), "m")]).is_ok());
        assert!(require_followed(&[all(false), range, rule(false, Some(1), None, "w")]).is_ok());
        assert!(require_followed(&[all(true), range, rule(false, Some(1), Some(3), "w")]).is_ok());
        assert!(require_followed(&[all(false), range, all(false), rule(false, Some(1), Some(3), "w")]).is_ok());
    }
}
