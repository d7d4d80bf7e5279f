//! The one error of every parser of a flag's value.

use std::borrow::Cow;

/// A value of a flag (or of the field of an API body or Compose file that the flag stands for) that casemate refuses.
///
/// Its words name the flag, the value as it was given, what is wrong with it and, where there is one, what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid value {value:?} for {flag}: {reason}{}", Hint(.hint.as_deref()))]
pub struct InvalidValue {
    flag: Cow<'static, str>,
    value: String,
    reason: String,
    hint: Option<String>,
}

/// `; hint`, or nothing.
struct Hint<'a>(Option<&'a str>);

impl std::fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// The longest part of a value that an error repeats: what comes from outside may be megabytes.
const SHOWN: usize = 200;

impl InvalidValue {
    /// A refusal of `value`, given to `flag` (`"--memory"`), because of `reason`.
    pub fn new(flag: impl Into<Cow<'static, str>>, value: &str, reason: impl Into<String>) -> Self {
        let mut shown: String = value.chars().take(SHOWN).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        Self { flag: flag.into(), value: shown, reason: reason.into(), hint: None }
    }

    /// Adds what the user can write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The flag whose value was refused.
    pub fn flag(&self) -> &str {
        &self.flag
    }

    /// The value, cut to 200 characters.
    pub fn value(&self) -> &str {
        &self.value
    }
}
