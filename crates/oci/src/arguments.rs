//! Flags and arguments as engines write them: `--flag value`, `--flag=value`, `-f value`, in any order unless the rest is
//! somebody else's command.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::Failure;

/// A flag that a command knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    long: &'static str,
    short: Option<char>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Alone, or `=true` or `=false`.
    Switch,
    /// With a value.
    Value,
}

/// A flag that is alone.
pub(crate) const fn switch(long: &'static str, short: Option<char>) -> Flag {
    Flag { long, short, kind: Kind::Switch }
}

/// A flag with a value; the last one given counts, or all do.
pub(crate) const fn value(long: &'static str, short: Option<char>) -> Flag {
    Flag { long, short, kind: Kind::Value }
}

/// Where flags end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Until {
    /// They may stand after arguments too.
    End,
    /// At the first argument: what follows is a command for somebody else, or an argument with a dash.
    FirstArgument,
}

/// What was given.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    flags: Vec<(&'static str, OsString)>,
    /// The arguments that are no flags.
    pub(crate) arguments: VecDeque<OsString>,
}

/// Reads arguments.
///
/// # Errors
/// An unknown flag, a missing value, a value where there is none.
pub(crate) fn parse(known: &[Flag], until: Until, given: VecDeque<OsString>) -> Result<Parsed, Failure> {
    let mut parsed = Parsed::default();
    let mut rest = given;
    while let Some(argument) = rest.pop_front() {
        let text = argument.to_str().unwrap_or_default();
        if text == "--" {
            parsed.arguments.append(&mut rest);
        } else if text.len() < 2 || !text.starts_with('-') || is_negative(text) {
            parsed.arguments.push_back(argument);
            if until == Until::FirstArgument {
                parsed.arguments.append(&mut rest);
            }
        } else {
            parsed.take(known, text, &mut rest)?;
        }
    }
    Ok(parsed)
}

/// `-1` is a number, as in `update --memory -1`, and never a flag.
fn is_negative(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

impl Parsed {
    fn take(&mut self, known: &[Flag], text: &str, rest: &mut VecDeque<OsString>) -> Result<(), Failure> {
        let (name, attached) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let plain = name.trim_start_matches('-');
        let flag = known
            .iter()
            .find(|flag| flag.long == plain || flag.short.is_some_and(|short| plain.chars().eq(std::iter::once(short))))
            .ok_or_else(|| Failure::new(format!("flag provided but not defined: {name}")))?;
        let value = match (flag.kind, attached) {
            (Kind::Switch, None) => OsString::from("true"),
            (_, Some(value)) => OsString::from(value),
            (Kind::Value, None) => {
                rest.pop_front().ok_or_else(|| Failure::new(format!("flag needs an argument: {name}")))?
            }
        };
        if flag.kind == Kind::Switch && boolean(&value).is_none() {
            return Err(Failure::new(format!("invalid boolean value {value:?} for {name}")));
        }
        self.flags.push((flag.long, value));
        Ok(())
    }

    /// Whether a switch was given, and not as `=false`.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.value(name).and_then(boolean).unwrap_or(false)
    }

    /// The last value given.
    pub(crate) fn value(&self, name: &str) -> Option<&OsStr> {
        self.flags.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.as_os_str())
    }

    /// The last value given, as text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        self.value(name)
            .map(|value| value.to_str().ok_or_else(|| Failure::new(format!("--{name}: {value:?} is not UTF-8"))))
            .transpose()
    }

    /// The last value given, as a path; an empty one is none.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The last value given, as a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        self.text(name)?
            .map(|text| text.parse().map_err(|_| Failure::new(format!("--{name}: {text:?} is no such number"))))
            .transpose()
    }

    /// All values given, in order.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &OsStr> {
        self.flags.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value.as_os_str())
    }

    /// The one argument that a command takes: a container's id.
    pub(crate) fn only(&mut self, command: &str) -> Result<String, Failure> {
        let id = self.first(command)?;
        if self.arguments.is_empty() {
            Ok(id)
        } else {
            Err(Failure::new(format!("{command:?} requires exactly 1 argument(s)")))
        }
    }

    /// The first argument: a container's id.
    pub(crate) fn first(&mut self, command: &str) -> Result<String, Failure> {
        let first = self
            .arguments
            .pop_front()
            .ok_or_else(|| Failure::new(format!("{command:?} requires a minimum of 1 argument(s)")))?;
        first.into_string().map_err(|text| Failure::new(format!("invalid container ID format: {text:?}")))
    }
}

fn boolean(text: &OsStr) -> Option<bool> {
    match text.to_str()? {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Some(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Flag; 3] = [value("bundle", Some('b')), switch("force", Some('f')), value("memory", None)];

    fn words(text: &str) -> VecDeque<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn flags_stand_before_and_after_the_id() {
        for text in ["--bundle /b -f id", "id -b /b --force", "-b=/b id --force=true"] {
            let mut parsed = parse(&KNOWN, Until::End, words(text)).unwrap();
            assert_eq!(parsed.path("bundle"), Some(PathBuf::from("/b")), "{text}");
            assert!(parsed.is_set("force"), "{text}");
            assert_eq!(parsed.only("x").unwrap(), "id", "{text}");
        }
    }

    #[test]
    fn a_command_for_somebody_else_keeps_its_flags() {
        let parsed = parse(&KNOWN, Until::FirstArgument, words("-f id ls -f --unknown")).unwrap();
        assert_eq!(parsed.arguments, words("id ls -f --unknown"));
    }

    #[test]
    fn unknown_flags_and_missing_values_are_refused() {
        assert!(parse(&KNOWN, Until::End, words("--nothing id")).unwrap_err().text.contains("--nothing"));
        assert!(parse(&KNOWN, Until::End, words("id --bundle")).unwrap_err().text.contains("--bundle"));
        assert!(parse(&KNOWN, Until::End, words("--force=maybe")).is_err());
    }

    #[test]
    fn a_negative_number_is_a_value() {
        let parsed = parse(&KNOWN, Until::End, words("--memory -1 id")).unwrap();
        assert_eq!(parsed.number::<i64>("memory").unwrap(), Some(-1));
    }
}
