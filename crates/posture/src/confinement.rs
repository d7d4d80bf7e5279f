//! `--security-opt`: no-new-privileges, seccomp, AppArmor, SELinux, system paths.

use serde::{Deserialize, Serialize};

use crate::seccomp::{Arch, Profile, Rules};
use crate::{CapabilitySet, InvalidValue, suggest};

/// Which system-call filter a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeccompChoice {
    /// casemate's own profile.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// The user's.
    Custom {
        /// The profile.
        profile: Box<Profile>,
        /// Where it was read from, for messages.
        path: String,
    },
}

impl SeccompChoice {
    /// The rules that hold for a container whose bounding set is `caps`, on a host of `arch` with `kernel`; `None`: no filter.
    pub fn resolve(&self, arch: Arch, caps: &CapabilitySet, kernel: (u32, u32)) -> Option<Rules> {
        match self {
            Self::Default => Some(Profile::default_hardened().resolve(arch, caps, kernel)),
            Self::Custom { profile, .. } => Some(profile.resolve(arch, caps, kernel)),
            Self::Unconfined => None,
        }
    }
}

/// Which AppArmor profile a container runs under, where the host has AppArmor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Apparmor {
    /// What the host gives by default.
    #[default]
    Default,
    /// None.
    Unconfined,
}

/// Which SELinux label a container runs under, where the host has SELinux.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Label {
    /// What the host gives by default.
    #[default]
    Default,
    /// None of its own: `label=disable`.
    Disabled,
}

/// One `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecurityOpt {
    /// `no-new-privileges[=BOOL]`
    NoNewPrivileges(bool),
    /// `seccomp=builtin`
    SeccompDefault,
    /// `seccomp=unconfined`
    SeccompUnconfined,
    /// `seccomp=FILE`
    SeccompFile(String),
    /// `apparmor=unconfined`
    ApparmorUnconfined,
    /// `label=disable`
    LabelDisable,
    /// `systempaths=unconfined`
    SystemPathsUnconfined,
}

const FLAG: &str = "--security-opt";
const KNOWN: &str = "known are no-new-privileges[=false], seccomp=FILE, seccomp=unconfined, apparmor=unconfined, label=disable, \
                     systempaths=unconfined";

impl SecurityOpt {
    /// Reads one value of `--security-opt`; `name:value` as well as `name=value`, as Docker does.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let invalid = |reason: String| InvalidValue::new(FLAG, text, reason);
        let (name, value) = match text.find(['=', ':']) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        match (name, value) {
            ("no-new-privileges", None | Some("true" | "1")) => Ok(Self::NoNewPrivileges(true)),
            ("no-new-privileges", Some("false" | "0")) => Ok(Self::NoNewPrivileges(false)),
            ("no-new-privileges", Some(other)) => Err(invalid(format!("{other:?} is neither true nor false"))),
            ("seccomp", Some("unconfined")) => Ok(Self::SeccompUnconfined),
            ("seccomp", Some("builtin")) => Ok(Self::SeccompDefault),
            ("seccomp", Some(path)) if !path.is_empty() => Ok(Self::SeccompFile(path.to_owned())),
            ("apparmor", Some("unconfined")) => Ok(Self::ApparmorUnconfined),
            ("apparmor", Some(_)) => {
                Err(invalid("this version of casemate applies no AppArmor profiles by name".to_owned())
                    .hint("say apparmor=unconfined, or leave it out for what the host gives"))
            }
            ("label", Some("disable")) => Ok(Self::LabelDisable),
            ("label", Some(_)) => Err(invalid("this version of casemate sets no SELinux labels".to_owned())
                .hint("say label=disable, or leave it out for what the host gives")),
            ("systempaths", Some("unconfined")) => Ok(Self::SystemPathsUnconfined),
            ("seccomp" | "apparmor" | "label" | "systempaths", _) => {
                Err(invalid(format!("{name} has no value that is known")).hint(KNOWN))
            }
            (name, _) => {
                let near = suggest::hint(name, ["no-new-privileges", "seccomp", "apparmor", "label", "systempaths"]);
                Err(invalid(format!("unknown option {name:?}")).hint(near.unwrap_or_else(|| KNOWN.to_owned())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let ok = |text| SecurityOpt::parse(text).unwrap();
        assert_eq!(ok("no-new-privileges"), SecurityOpt::NoNewPrivileges(true));
        assert_eq!(ok("no-new-privileges=false"), SecurityOpt::NoNewPrivileges(false));
        assert_eq!(ok("no-new-privileges:true"), SecurityOpt::NoNewPrivileges(true));
        assert_eq!(ok("seccomp=unconfined"), SecurityOpt::SeccompUnconfined);
        assert_eq!(ok("seccomp=/etc/p:1=2.json"), SecurityOpt::SeccompFile("/etc/p:1=2.json".to_owned()));
        assert_eq!(ok("systempaths=unconfined"), SecurityOpt::SystemPathsUnconfined);
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let message = |text| SecurityOpt::parse(text).unwrap_err().to_string();
        assert!(message("no-new-privilege").contains("did you mean \"no-new-privileges\""));
        assert!(message("no-new-privileges=maybe").contains("neither true nor false"));
        assert!(message("seccomp").contains("known are"));
        assert!(message("seccomp=").contains("known are"));
        assert!(message("apparmor=docker-default").contains("AppArmor"));
        assert!(message("label=type:svirt_t").contains("SELinux"));
        assert!(message("").contains("unknown option"));
    }
}
