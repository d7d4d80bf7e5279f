//! `--filter KEY=VALUE`: values of one key are alternatives, different keys must all match.

use std::collections::BTreeMap;

use crate::failure::Failure;
use crate::suggest;

/// The filters of one command line, checked against the keys that the command knows.
#[derive(Debug, Default, Clone)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads `KEY=VALUE` arguments.
    ///
    /// # Errors
    /// No `=`, or a key that is not in `known`.
    pub(crate) fn parse(arguments: &[String], known: &[&str]) -> Result<Self, Failure> {
        let mut filters = BTreeMap::<String, Vec<String>>::new();
        for argument in arguments {
            let (key, value) = argument.split_once('=').ok_or_else(|| {
                Failure::usage(format!("--filter \"{argument}\": write KEY=VALUE; keys here: {}", known.join(", ")))
            })?;
            let key = key.trim().to_lowercase();
            if !known.contains(&key.as_str()) {
                return Err(Failure::usage(format!(
                    "--filter \"{argument}\": there is no key \"{key}\"; keys here: {}{}",
                    known.join(", "),
                    suggest::hint(&key, known.iter().copied())
                )));
            }
            filters.entry(key).or_default().push(value.trim().to_owned());
        }
        Ok(Self(filters))
    }

    /// The values given for a key.
    pub(crate) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether the key was not given, or one of its values satisfies `matches`.
    pub(crate) fn allows(&self, key: &str, matches: impl Fn(&str) -> bool) -> bool {
        self.0.get(key).is_none_or(|values| values.iter().any(|value| matches(value)))
    }
}

/// Docker's label filter: `KEY` (present) or `KEY=VALUE`. All given labels must match, unlike other keys.
pub(crate) fn labels_match<'a>(filters: &Filters, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    filters.values("label").iter().all(|wanted| match wanted.split_once('=') {
        Some((key, value)) => label(key) == Some(value),
        None => label(wanted).is_some(),
    })
}

/// Docker's name filter without its regular expressions: a part of the name, with `^` and `$` as its ends.
pub(crate) fn name_matches(pattern: &str, name: &str) -> bool {
    let (pattern, start) = pattern.strip_prefix('^').map_or((pattern, false), |p| (p, true));
    let (pattern, end) = pattern.strip_suffix('$').map_or((pattern, false), |p| (p, true));
    // Docker's names begin with a slash inside; people write it.
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    match (start, end) {
        (true, true) => name == pattern,
        (true, false) => name.starts_with(pattern),
        (false, true) => name.ends_with(pattern),
        (false, false) => name.contains(pattern),
    }
}

/// Shell-like pattern (`*` and `?`; `*` doesn't cross `/`), for `reference=`.
pub(crate) fn glob_matches(pattern: &str, text: &str) -> bool {
    fn matches(pattern: &[char], text: &[char]) -> bool {
        // Iterative with one point to come back to per star: no exponential patterns.
        let (mut p, mut t) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some('?') if text[t] != '/' => {
                    p += 1;
                    t += 1;
                }
                Some(c) if *c == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => match star {
                    Some((at, from)) if text[from] != '/' => {
                        star = Some((at, from + 1));
                        p = at + 1;
                        t = from + 1;
                    }
                    _ => return false,
                },
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    matches(&pattern, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(arguments: &[&str]) -> Result<Filters, Failure> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        Filters::parse(&arguments, &["name", "status", "label"])
    }

    #[test]
    fn same_key_is_or_and_unknown_keys_are_errors() {
        let two = filters(&["status=exited", "status=running"]).unwrap();
        assert!(two.allows("status", |s| s == "running"));
        assert!(!two.allows("status", |s| s == "created"));
        assert!(two.allows("name", |_| false));
        let failure = filters(&["staus=x"]).unwrap_err();
        assert!(failure.message().contains("did you mean \"status\""), "{}", failure.message());
        assert!(filters(&["status"]).is_err());
    }

    #[test]
    fn labels_are_and() {
        let both = filters(&["label=a", "label=b=1"]).unwrap();
        let find = |key: &str| match key {
            "a" => Some(""),
            "b" => Some("1"),
            _ => None,
        };
        assert!(labels_match(&both, find));
        assert!(!labels_match(&filters(&["label=a", "label=c"]).unwrap(), find));
        assert!(!labels_match(&filters(&["label=b=2"]).unwrap(), find));
    }

    #[test]
    fn names_and_globs() {
        assert!(name_matches("we", "web"));
        assert!(name_matches("^/web$", "web"));
        assert!(!name_matches("^eb", "web"));
        assert!(glob_matches("deb*", "debian"));
        assert!(glob_matches("*/app:v?", "team/app:v1"));
        assert!(!glob_matches("deb*", "debian/x"));
        assert!(!glob_matches("a*b", "a/b"));
        assert!(!glob_matches("debian", "debianx"));
        assert!(!glob_matches(&"*a".repeat(30), &"b".repeat(2000)));
    }
}
