//! `--user USER[:GROUP]` and `--group-add GROUP`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::InvalidValue;

/// A user or group: an id, or a name that the image's `/etc/passwd` or `/etc/group` knows. Digits are always an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Principal {
    /// An id in the container.
    Id(u32),
    /// A name, to be looked up in the image.
    Name(String),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user.
    pub user: Principal,
    /// The group; `None`: the user's own.
    pub group: Option<Principal>,
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.user)?;
        self.group.as_ref().map_or(Ok(()), |group| write!(f, ":{group}"))
    }
}

/// The greatest id: 2^32 - 1 means "nobody" or "leave as it is" to the kernel.
const GREATEST: u32 = u32::MAX - 1;

/// A plain decimal id within what the kernel takes, or `None`.
pub(crate) fn id(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|id| *id <= GREATEST)
}

/// Reads `1000`, `1000:1000`, `app`, `app:web`, `1000:web`; the `USER` of an image as well as the flag.
pub fn parse(text: &str) -> Result<User, InvalidValue> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let group = group.map(|group| principal("--user", text, "group", group)).transpose()?;
    Ok(User { user: principal("--user", text, "user", user)?, group })
}

/// Reads one group of `--group-add`.
pub fn parse_group(text: &str) -> Result<Principal, InvalidValue> {
    principal("--group-add", text, "group", text)
}

fn principal(flag: &'static str, value: &str, what: &str, text: &str) -> Result<Principal, InvalidValue> {
    let invalid = |reason: String| InvalidValue::new(flag, value, reason);
    if text.is_empty() {
        return Err(invalid(format!("the {what} is empty")).hint("write USER[:GROUP], as names or ids"));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Never a name: an image could call its root "1000".
        return id(text)
            .map(Principal::Id)
            .ok_or_else(|| invalid(format!("{what} id {text} is above {GREATEST}, the greatest there is")));
    }
    if text.len() > 256 {
        return Err(invalid(format!("the {what}'s name is longer than 256 bytes")));
    }
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '@' | '+');
    match text.chars().find(|&c| !fits(c)) {
        Some(odd) => Err(invalid(format!("{odd:?} can't be in a {what}'s name"))),
        None if text.starts_with(['-', '+']) => Err(invalid(format!("{text:?} is neither an id nor a name"))),
        None => Ok(Principal::Name(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names() {
        assert_eq!(parse("0"), Ok(User { user: Principal::Id(0), group: None }));
        assert_eq!(
            parse("1000:web"),
            Ok(User { user: Principal::Id(1000), group: Some(Principal::Name("web".to_owned())) })
        );
        assert_eq!(parse("www-data").unwrap().to_string(), "www-data");
        assert_eq!(parse("4294967294").unwrap().user, Principal::Id(4_294_967_294));
        assert_eq!(parse("007").unwrap().user, Principal::Id(7));
        assert_eq!(parse_group("27"), Ok(Principal::Id(27)));
    }

    #[test]
    fn nothing_wraps_around_to_root() {
        for text in [
            "4294967295",
            "4294967296",
            "18446744073709551616",
            "-1",
            "+1",
            "1000:-1",
            ":0",
            "",
            "0:",
            "root\nx",
            "a:b:c",
            "ro ot",
            "0x0",
            "1000:4294967296",
        ] {
            let parsed = parse(text);
            assert!(
                parsed.is_err() || matches!(parsed, Ok(User { user: Principal::Name(_), .. })),
                "{text:?} became {parsed:?}"
            );
        }
        assert!(parse("4294967295").unwrap_err().to_string().contains("4294967294"));
        // Not a number, so a name that no image has; never 0.
        assert_eq!(parse("0x0").unwrap().user, Principal::Name("0x0".to_owned()));
    }
}
