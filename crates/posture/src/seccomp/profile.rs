//! Docker's JSON model of a profile.

use std::borrow::Cow;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Action, Arch, Arg, Flag, errno};
use crate::Capability;

/// The longest profile that is read: Docker's own is 16 KiB.
const LONGEST: usize = 1 << 20;

/// The most rules, names and comparisons that a profile may have in total.
const MOST: usize = 20_000;

/// A profile as Docker's `--security-opt seccomp=FILE` reads it.
///
/// Unknown keys beside the rules are read over, as Docker does; in a rule they are errors: a misspelt `excludes` must not become a
/// rule that always holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "RawProfile")]
pub struct Profile {
    /// What happens to a call that no rule matches.
    pub default_action: Action,
    /// The error number of a default action of [`Action::Errno`]; `None`: EPERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// The architectures whose calls are filtered rather than fatal. Empty: as `arch_map` says.
    #[serde(skip_serializing_if = "is_empty")]
    pub architectures: Cow<'static, [Arch]>,
    /// For a native architecture, which others are filtered too. Not together with `architectures`.
    #[serde(skip_serializing_if = "is_empty")]
    pub arch_map: Cow<'static, [ArchMap]>,
    /// How the filter is installed.
    #[serde(skip_serializing_if = "is_empty")]
    pub flags: Cow<'static, [Flag]>,
    /// The rules.
    pub syscalls: Cow<'static, [SyscallRule]>,
}

/// A profile as it is in files: Podman's also have the error's name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProfile {
    default_action: Action,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    default_errno: Option<String>,
    #[serde(default, deserialize_with = "null_as_empty")]
    architectures: Vec<Arch>,
    #[serde(default, deserialize_with = "null_as_empty")]
    arch_map: Vec<ArchMap>,
    #[serde(default, deserialize_with = "null_as_empty")]
    flags: Vec<Flag>,
    #[serde(deserialize_with = "null_as_empty")]
    syscalls: Vec<SyscallRule>,
}

impl TryFrom<RawProfile> for Profile {
    type Error = String;

    fn try_from(raw: RawProfile) -> Result<Self, String> {
        Ok(Self {
            default_action: raw.default_action,
            default_errno_ret: errno_of(raw.default_errno.as_deref(), raw.default_errno_ret)?,
            architectures: raw.architectures.into(),
            arch_map: raw.arch_map.into(),
            flags: raw.flags.into(),
            syscalls: raw.syscalls.into(),
        })
    }
}

/// An error by name, which Podman's profiles have beside the number, and which counts there.
fn errno_of(name: Option<&str>, number: Option<u32>) -> Result<Option<u32>, String> {
    match name.filter(|name| !name.is_empty()) {
        None => Ok(number),
        Some(name) => errno::number(name).map(Some).ok_or_else(|| format!("{name:?} is no error")),
    }
}

/// The architectures that a host of `architecture` runs besides.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchMap {
    /// The host's.
    pub architecture: Arch,
    /// The others.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub sub_architectures: Vec<Arch>,
}

/// What happens to the calls of some names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, try_from = "RawRule")]
pub struct SyscallRule {
    /// The calls.
    pub names: Cow<'static, [Cow<'static, str>]>,
    /// What happens to them.
    pub action: Action,
    /// The error number of [`Action::Errno`] and the message of [`Action::Trace`]; `None`: EPERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Comparisons that must all hold; if two are of the same argument, any (Docker's rule).
    #[serde(skip_serializing_if = "is_empty")]
    pub args: Cow<'static, [Arg]>,
    /// When the rule holds; each list must be satisfied.
    #[serde(skip_serializing_if = "Condition::is_empty")]
    pub includes: Condition,
    /// When the rule does not hold: if any of this is so.
    #[serde(skip_serializing_if = "Condition::is_empty")]
    pub excludes: Condition,
}

/// A rule as it is in files: with the old `name` for a single call, and `null` for what is empty.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRule {
    #[serde(default, deserialize_with = "null_as_empty")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "null_as_empty")]
    name: String,
    action: Action,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    errno: Option<String>,
    #[serde(default, deserialize_with = "null_as_empty")]
    args: Vec<Arg>,
    #[serde(default, deserialize_with = "null_as_empty")]
    includes: Condition,
    #[serde(default, deserialize_with = "null_as_empty")]
    excludes: Condition,
    #[serde(default, rename = "comment")]
    _comment: Option<serde::de::IgnoredAny>,
}

impl TryFrom<RawRule> for SyscallRule {
    type Error = String;

    fn try_from(raw: RawRule) -> Result<Self, String> {
        let mut names: Vec<Cow<'static, str>> = raw.names.into_iter().map(Cow::Owned).collect();
        if !raw.name.is_empty() {
            names.push(Cow::Owned(raw.name));
        }
        Ok(Self {
            names: names.into(),
            action: raw.action,
            errno_ret: errno_of(raw.errno.as_deref(), raw.errno_ret)?,
            args: raw.args.into(),
            includes: raw.includes,
            excludes: raw.excludes,
        })
    }
}

/// What a rule's holding depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// Capabilities of the container.
    #[serde(default, skip_serializing_if = "is_empty", deserialize_with = "null_as_empty")]
    pub caps: Cow<'static, [Capability]>,
    /// Architectures of the host, by Docker's names.
    #[serde(default, skip_serializing_if = "is_empty", deserialize_with = "null_as_empty")]
    pub arches: Cow<'static, [Cow<'static, str>]>,
    /// The oldest kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_kernel: Option<KernelVersion>,
}

impl Condition {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.caps.is_empty() && self.arches.is_empty() && self.min_kernel.is_none()
    }
}

/// A kernel's version without its patch level: `5.15`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion(pub u32, pub u32);

impl FromStr for KernelVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (major, minor) =
            text.split_once('.').ok_or_else(|| format!("{text:?} is no kernel version such as 5.15"))?;
        match (major.parse(), minor.parse()) {
            (Ok(major), Ok(minor)) if (major, minor) != (0, 0) => Ok(Self(major, minor)),
            _ => Err(format!("{text:?} is no kernel version such as 5.15")),
        }
    }
}

impl Serialize for KernelVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{}", self.0, self.1))
    }
}

impl<'de> Deserialize<'de> for KernelVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn is_empty<T: Clone>(list: &[T]) -> bool {
    list.is_empty()
}

fn null_as_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Why a profile can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// It is larger than a profile has any reason to be.
    #[error("the seccomp profile has {size} bytes; more than {LONGEST} are not read")]
    TooLong {
        /// Its size in bytes.
        size: usize,
    },
    /// It is not the JSON that Docker's profiles are.
    #[error("the seccomp profile is not what Docker's profiles are: {0}")]
    Json(String),
    /// It has no rules and would filter nothing, or refuse everything.
    #[error("the seccomp profile has no rules; to run without a filter say seccomp=unconfined")]
    Empty,
    /// It has both lists.
    #[error("the seccomp profile has both \"architectures\" and \"archMap\"; keep one of them")]
    BothArchitectures,
    /// A rule is not one.
    #[error("rule {number} of the seccomp profile: {reason}")]
    Rule {
        /// Which rule, counted from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// It has more rules, names and comparisons than any filter could hold.
    #[error("the seccomp profile has more than {MOST} rules, names and comparisons")]
    TooMany,
}

impl Profile {
    /// Reads Docker's JSON. It is bounded, and an empty profile is an error rather than no filter.
    pub fn parse(json: &str) -> Result<Self, ProfileError> {
        if json.len() > LONGEST {
            return Err(ProfileError::TooLong { size: json.len() });
        }
        if matches!(json.trim(), "" | "{}" | "null") {
            return Err(ProfileError::Empty);
        }
        let profile: Self = serde_json::from_str(json).map_err(|error| ProfileError::Json(error.to_string()))?;
        profile.check()?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), ProfileError> {
        if self.syscalls.is_empty() {
            return Err(ProfileError::Empty);
        }
        if !self.architectures.is_empty() && !self.arch_map.is_empty() {
            return Err(ProfileError::BothArchitectures);
        }
        let total: usize = self.syscalls.iter().map(|rule| 1 + rule.names.len() + rule.args.len()).sum();
        if total > MOST {
            return Err(ProfileError::TooMany);
        }
        for (index, rule) in self.syscalls.iter().enumerate() {
            let wrong = |reason: String| ProfileError::Rule { number: index + 1, reason };
            if rule.names.is_empty() {
                return Err(wrong("it names no system call".to_owned()));
            }
            if rule.action == Action::Notify {
                return Err(wrong(
                    "SCMP_ACT_NOTIFY needs a process that decides, and containers of casemate have none".to_owned(),
                ));
            }
            if let Some(arg) = rule.args.iter().find(|arg| arg.index > 5) {
                return Err(wrong(format!("there is no argument {}: they are 0 to 5", arg.index)));
            }
            if let Some(errno) = rule.errno_ret.filter(|errno| *errno > 4095) {
                return Err(wrong(format!("{errno} is no error number: they are 0 to 4095")));
            }
        }
        if self.default_action == Action::Notify {
            return Err(ProfileError::Json("defaultAction can't be SCMP_ACT_NOTIFY".to_owned()));
        }
        if let Some(errno) = self.default_errno_ret.filter(|errno| *errno > 4095) {
            return Err(ProfileError::Json(format!("defaultErrnoRet {errno} is no error number: they are 0 to 4095")));
        }
        Ok(())
    }

    /// Names of which it wants less than what happens to all others, and that are no system call of any architecture that casemate
    /// knows: newer than this casemate, or misspelt. Such a rule does nothing, so whoever gave the profile should be told.
    pub fn unknown_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .syscalls
            .iter()
            .filter(|rule| rule.action.leniency() < self.default_action.leniency())
            .flat_map(|rule| rule.names.iter())
            .map(AsRef::as_ref)
            .filter(|name| !crate::syscalls::is_known(name))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
