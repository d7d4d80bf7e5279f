//! Which relaxations a host permits.

use std::fmt;

use serde::Deserialize;

use crate::relaxation::{self, Relaxation};
use crate::{path, suggest};

/// Where the host's policy is.
const FILE: &str = "/etc/casemate/policy.toml";

/// What is permitted of what is refused otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    allow: Vec<Allowed>,
}

/// A permission: for all relaxations of a name, or for one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Allowed {
    /// As it was written.
    text: String,
    name: &'static str,
    value: Option<String>,
}

/// A name that is no relaxation's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no relaxation {name:?}{}", hint(.name))]
pub struct UnknownRelaxation {
    name: String,
}

fn hint(name: &str) -> String {
    let names = || relaxation::KINDS.iter().map(|kind| kind.name);
    if let Some(near) = suggest::nearest(name, names()) {
        return format!("; did you mean {near:?}?");
    }
    let refused: Vec<_> = relaxation::KINDS.iter().filter(|kind| kind.refused).map(|kind| kind.name).collect();
    format!("; those that need to be allowed are {}", refused.join(", "))
}

/// Why a policy can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is not TOML, or not of the form that a policy has.
    #[error("the policy is not what a policy is: {0}")]
    Form(String),
    /// It has a key that means nothing.
    #[error("line {line} of the policy: unknown key {key:?}; {}", suggest::hint(.key, ["allow"]).unwrap_or_else(|| "known is \"allow\"".to_owned()))]
    Key {
        /// The key.
        key: String,
        /// Its line, counted from 1.
        line: usize,
    },
    /// It allows what there is not.
    #[error("line {line} of the policy: {unknown}")]
    Name {
        /// What it allows.
        unknown: UnknownRelaxation,
        /// Its line, counted from 1.
        line: usize,
    },
}

impl Policy {
    /// Reads `allow = ["host-network", "sensitive-mount=/etc/localtime"]`.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(default)]
            allow: Vec<toml::Spanned<String>>,
        }
        let form = |error: toml::de::Error| PolicyError::Form(error.to_string().trim_end().to_owned());
        let table: toml::Table = toml::from_str(text).map_err(form)?;
        if let Some(key) = table.keys().find(|key| *key != "allow") {
            let at = |line: &str| line.trim_start_matches(['[', ' ', '\t', '"', '\'']).starts_with(key.as_str());
            let line = text.lines().position(at).map_or(1, |index| index + 1);
            return Err(PolicyError::Key { key: key.clone(), line });
        }
        let raw: Raw = toml::from_str(text).map_err(form)?;
        let mut policy = Self::default();
        for name in raw.allow {
            let line = text.get(..name.span().start).map_or(1, |before| before.matches('\n').count() + 1);
            let allowed = parse_allowed(name.get_ref()).map_err(|unknown| PolicyError::Name { unknown, line })?;
            policy.allow.push(allowed);
        }
        Ok(policy)
    }

    /// This policy, and what `--allow` names besides: `NAME`, or `NAME=VALUE` for one of them.
    pub fn with_allowed<S: AsRef<str>>(mut self, names: &[S]) -> Result<Self, UnknownRelaxation> {
        for name in names {
            self.allow.push(parse_allowed(name.as_ref())?);
        }
        Ok(self)
    }

    /// What it permits, as it was written: `NAME` or `NAME=VALUE`.
    pub fn allowed(&self) -> impl Iterator<Item = &str> {
        self.allow.iter().map(|allowed| allowed.text.as_str())
    }

    /// Refuses what it does not permit of `relaxations`, all of it at once.
    pub fn decide(&self, relaxations: &[Relaxation]) -> Result<(), Refusal> {
        let refused: Vec<Relaxation> =
            relaxations.iter().filter(|relaxation| relaxation.refused && !self.permits(relaxation)).cloned().collect();
        if refused.is_empty() { Ok(()) } else { Err(Refusal { relaxations: refused }) }
    }

    fn permits(&self, relaxation: &Relaxation) -> bool {
        self.allow.iter().any(|allowed| {
            let same = |value: &String| relaxation.value.as_deref().is_some_and(|asked| is_same(value, asked));
            allowed.name == relaxation.name && allowed.value.as_ref().is_none_or(same)
        })
    }
}

/// Whether two values are the same, as paths if they are paths: `/etc/` is `/etc`.
fn is_same(one: &str, other: &str) -> bool {
    one == other || (one.starts_with('/') && other.starts_with('/') && path::normal(one) == path::normal(other))
}

fn parse_allowed(text: &str) -> Result<Allowed, UnknownRelaxation> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    let kind = relaxation::kind(name).ok_or_else(|| UnknownRelaxation { name: name.chars().take(64).collect() })?;
    Ok(Allowed { text: text.to_owned(), name: kind.name, value: value.map(str::to_owned) })
}

/// Relaxations that were asked for and are not permitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which; at least one.
    pub relaxations: Vec<Relaxation>,
}

impl fmt::Display for Refusal {
    /// The rule, the risk, and both ways to allow it; a line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, relaxation) in self.relaxations.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let Relaxation { name, flag, risk, .. } = relaxation;
            let what = relaxation.to_string();
            write!(
                f,
                "refused by the rule {name}: {flag}{} means that {risk}; to allow it once say --allow {}, for good put allow = [{what:?}] into {FILE}",
                relaxation.value.as_ref().map(|value| format!(" {value}")).unwrap_or_default(),
                shell_word(&what),
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// `word` as a shell takes it for one.
fn shell_word(word: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=' | '/' | '.' | ':' | ',' | '@' | '+' | '%');
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mount, Posture};

    fn asks(change: impl FnOnce(&mut Posture)) -> Vec<Relaxation> {
        let mut posture = Posture::hardened();
        change(&mut posture);
        posture.relaxations()
    }

    #[test]
    fn refuses_with_the_rule_and_both_ways_to_allow_it() {
        let asked = asks(|posture| posture.namespaces.network = crate::NetworkMode::Host);
        let words = Policy::default().decide(&asked).unwrap_err().to_string();
        assert!(words.contains("refused by the rule host-network: --network=host"), "{words}");
        assert!(words.contains("--allow host-network"), "{words}");
        assert!(words.contains("allow = [\"host-network\"] into /etc/casemate/policy.toml"), "{words}");
    }

    #[test]
    fn permits_what_is_allowed_once_or_for_good() {
        let asked = asks(|posture| posture.namespaces.network = crate::NetworkMode::Host);
        assert_eq!(Policy::parse("allow = [\"host-network\"]").unwrap().decide(&asked), Ok(()));
        assert_eq!(Policy::default().with_allowed(&["host-network"]).unwrap().decide(&asked), Ok(()));
        assert!(Policy::default().with_allowed(&["host-pid"]).unwrap().decide(&asked).is_err());
    }

    #[test]
    fn permits_one_path_and_not_its_neighbour() {
        let asked = asks(|posture| {
            posture.mounts = vec![Mount::bind("/etc/localtime", "/a"), Mount::bind("/etc/shadow", "/b")];
        });
        let policy = Policy::parse("allow = [\"sensitive-mount=/etc//localtime\"]").unwrap();
        assert_eq!(policy.allowed().collect::<Vec<_>>(), ["sensitive-mount=/etc//localtime"]);
        let refusal = policy.decide(&asked).unwrap_err();
        assert_eq!(refusal.relaxations.len(), 1);
        assert_eq!(refusal.relaxations[0].value.as_deref(), Some("/etc/shadow"));
        assert_eq!(policy.with_allowed(&["sensitive-mount"]).unwrap().decide(&asked), Ok(()));
    }

    #[test]
    fn what_is_not_refused_needs_no_permission() {
        let asked = asks(|posture| posture.read_only_root = false);
        assert!(!asked.is_empty());
        assert_eq!(Policy::default().decide(&asked), Ok(()));
    }

    #[test]
    fn wrong_policies_are_errors_with_line_and_suggestion() {
        let message = |text| Policy::parse(text).unwrap_err().to_string();
        assert_eq!(message("# x\n\nalow = []"), "line 3 of the policy: unknown key \"alow\"; did you mean \"allow\"?");
        assert_eq!(message("[rules]\nx=1"), "line 1 of the policy: unknown key \"rules\"; known is \"allow\"");
        assert_eq!(
            message("allow = [\n  \"host-pid\",\n  \"host-netwrok\",\n]"),
            "line 3 of the policy: there is no relaxation \"host-netwrok\"; did you mean \"host-network\"?"
        );
        assert!(message("allow = \"host-pid\"").contains("expected a sequence"));
        assert!(message("allow = [").contains("line 1"));
        assert_eq!(Policy::parse(""), Ok(Policy::default()));
        let unknown = Policy::default().with_allowed(&["everything"]).unwrap_err().to_string();
        assert!(unknown.contains("those that need to be allowed are privileged, host-pid"), "{unknown}");
    }
}
