//! Differences from the hardened posture: by name, with what is to be feared of each.

mod difference;
mod kinds;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use crate::Posture;

pub use kinds::KINDS;

/// A kind of relaxation. All of them are in [`KINDS`]; `docs/relaxations.md` is the same list for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Its name, as `--allow`, policies and `inspect` have it.
    pub name: &'static str,
    /// The flag that asks for it.
    pub flag: &'static str,
    /// What whoever is inside can do by it.
    pub risk: &'static str,
    /// The checks that it fails: of the CIS Docker Benchmark (`5.4`) and of ANSSI's guide (`R8`).
    pub checks: &'static [&'static str],
    /// Whether it is refused unless a policy or `--allow` names it.
    pub refused: bool,
}

/// One difference of a posture from the hardened one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Relaxation {
    /// Its kind's name.
    pub name: &'static str,
    /// On what: a capability, a path, a limit.
    pub value: Option<String>,
    /// What whoever is inside can do by it.
    pub risk: &'static str,
    /// The checks that it fails: of the CIS Docker Benchmark (`5.4`) and of ANSSI's guide (`R8`).
    pub checks: &'static [&'static str],
    /// The flag that asks for it.
    pub flag: &'static str,
    /// Whether it is refused unless a policy or `--allow` names it.
    pub refused: bool,
}

impl Relaxation {
    fn new(kind: Kind, value: Option<String>) -> Self {
        let Kind { name, flag, risk, checks, refused } = kind;
        Self { name, value, risk, checks, flag, refused }
    }
}

impl fmt::Display for Relaxation {
    /// `cap-add=NET_RAW`, `writable-root`: what `--allow` takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

/// The kind of that name.
pub fn kind(name: &str) -> Option<Kind> {
    KINDS.iter().copied().find(|kind| kind.name == name)
}

impl Posture {
    /// How it differs from [`Posture::hardened`] in what lets something through. What only tightens is not among them.
    ///
    /// Paths are judged by their words: resolve the symbolic links of mounts' sources and devices first.
    pub fn relaxations(&self) -> Vec<Relaxation> {
        difference::relaxations(self, &[])
    }

    /// As [`Posture::relaxations`], for an engine whose state is in these directories rather than in the usual ones.
    pub fn relaxations_beside(&self, state: &[&str]) -> Vec<Relaxation> {
        difference::relaxations(self, state)
    }

    /// `hardened`, or `relaxed: cap-add=NET_RAW,writable-root`.
    pub fn summary(&self) -> String {
        let relaxations: Vec<String> = self.relaxations().iter().map(ToString::to_string).collect();
        if relaxations.is_empty() { "hardened".to_owned() } else { format!("relaxed: {}", relaxations.join(",")) }
    }
}
