//! Image references: `[domain/]name[:tag][@digest]`, as Docker writes and completes them.
//!
//! No regular expression: compiling Docker's costs more than a whole container start.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// Docker's bound on domain and path together.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
const MAX_INPUT: usize = MAX_NAME + 1 + MAX_TAG + 1 + "sha256:".len() + 64;

/// A complete image reference: domain and path always, and a tag, a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What was written is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{input:?} is not an image reference: {reason}{}", hint(.suggestion.as_deref()))]
pub struct InvalidReference {
    /// The start of what was written.
    pub input: String,
    /// What is wrong with it.
    pub reason: String,
    /// A reference that was perhaps meant.
    pub suggestion: Option<String>,
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion
        .map_or_else(|| " (for example: debian:bookworm)".to_owned(), |meant| format!("; did you mean {meant:?}?"))
}

impl Reference {
    /// Parses and completes a reference: `debian` becomes `docker.io/library/debian:latest`.
    ///
    /// # Errors
    /// [`InvalidReference`] with the reason, and a suggestion where one is valid.
    pub fn parse(input: &str) -> Result<Self, InvalidReference> {
        parse(input).map_err(|reason| InvalidReference {
            input: input.chars().take(120).collect(),
            reason,
            suggestion: suggest(input),
        })
    }

    /// The registry's name, for example `docker.io`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, for example `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if there is one. There is one unless a digest was written without.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Domain and path, without tag and digest: `docker.io/library/debian`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Domain and path as people write them: `debian` for `docker.io/library/debian`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        let short = match self.path.strip_prefix(OFFICIAL) {
            Some(short) if !short.contains('/') => short,
            _ => &self.path,
        };
        // A path whose first component could be a registry, or a name that could be an id, means something else when it is shortened.
        match parse(short) {
            Ok(again) if again.same_name(self) => short.to_owned(),
            _ => self.name(),
        }
    }

    /// The reference as people write it: `debian:bookworm`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// True when both name the same repository, whatever the tags.
    pub fn same_name(&self, other: &Self) -> bool {
        self.domain == other.domain && self.path == other.path
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

fn parse(input: &str) -> Result<Reference, String> {
    if input.is_empty() {
        return Err("it is empty".to_owned());
    }
    if input.len() > MAX_INPUT {
        return Err(format!("it is longer than {MAX_INPUT} bytes"));
    }
    let (rest, digest) = match input.split_once('@') {
        Some((rest, digest)) => {
            let digest = Digest::parse(digest).map_err(|error| error.to_string())?;
            (rest, Some(digest))
        }
        None => (input, None),
    };
    // A colon before the last slash is a registry's port.
    let tag_at = rest.rfind(':').filter(|at| !rest[*at..].contains('/'));
    let (name, tag) = match tag_at {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    if Digest::from_hex(name).is_some() {
        return Err("64 hexadecimal digits are an id, not a name".to_owned());
    }
    let (domain, path) = split_domain(name);
    check_domain(domain)?;
    let path = match domain {
        DEFAULT_DOMAIN if !path.contains('/') => format!("{OFFICIAL}{path}"),
        _ => path.to_owned(),
    };
    for component in path.split('/') {
        check_component(component)?;
    }
    if domain.len() + 1 + path.len() > MAX_NAME {
        return Err(format!("its name is longer than {MAX_NAME} bytes"));
    }
    let tag = match (tag, digest) {
        (Some(tag), _) => Some(tag.to_owned()),
        (None, Some(_)) => None,
        (None, None) => Some(DEFAULT_TAG.to_owned()),
    };
    Ok(Reference { domain: domain.to_owned(), path, tag, digest })
}

/// Docker's rule: what stands before the first slash is a registry if it could not be a repository's first component.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((LEGACY_DOMAIN, path)) => (DEFAULT_DOMAIN, path),
        Some((first, path))
            if first.contains(['.', ':']) || first == "localhost" || first.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (first, path)
        }
        _ => (DEFAULT_DOMAIN, name),
    }
}

fn check_domain(domain: &str) -> Result<(), String> {
    let (host, port) = if let Some(bracketed) = domain.strip_prefix('[') {
        let Some((address, rest)) = bracketed.split_once(']') else {
            return Err(format!("the registry {domain:?} lacks a closing bracket"));
        };
        if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
            return Err(format!("{address:?} is not an IPv6 address"));
        }
        let port = match rest {
            "" => None,
            _ => Some(
                rest.strip_prefix(':')
                    .ok_or_else(|| format!("what follows the registry's address must be \":PORT\", not {rest:?}"))?,
            ),
        };
        (None, port)
    } else {
        match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        }
    };
    if let Some(port) = port
        && (port.is_empty() || port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(format!("the registry's port {port:?} is not a number"));
    }
    let Some(host) = host else { return Ok(()) };
    for label in host.split('.') {
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = label.as_bytes();
        if !edge(bytes.first()) || !edge(bytes.last()) || !bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        {
            return Err(format!("the registry's name {host:?} is not a host name"));
        }
    }
    Ok(())
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn check_component(component: &str) -> Result<(), String> {
    let bytes = component.as_bytes();
    if bytes.is_empty() {
        return Err("a part of its name is empty".to_owned());
    }
    if let Some(c) = component.chars().find(char::is_ascii_uppercase) {
        return Err(format!("names are lower case, {c:?} is not"));
    }
    if let Some(c) = component.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')) {
        return Err(format!("a name cannot contain {c:?}"));
    }
    let alphanumeric = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    for separator in bytes.split(alphanumeric).filter(|part| !part.is_empty()) {
        let fits = matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-');
        if !fits {
            return Err(format!("{:?} cannot join the parts of a name", String::from_utf8_lossy(separator)));
        }
    }
    if !bytes.first().is_some_and(alphanumeric) || !bytes.last().is_some_and(alphanumeric) {
        return Err(format!("{component:?} must begin and end with a letter or digit"));
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let bytes = tag.as_bytes();
    if bytes.is_empty() {
        return Err("the tag after the colon is empty".to_owned());
    }
    if bytes.len() > MAX_TAG {
        return Err(format!("the tag is longer than {MAX_TAG} bytes"));
    }
    if !word(&bytes[0]) || !bytes.iter().all(|b| word(b) || matches!(b, b'.' | b'-')) {
        return Err(format!(
            "the tag {tag:?} must be letters, digits, '_', '.' and '-', and begin with a letter, digit or '_'"
        ));
    }
    Ok(())
}

/// The same in lower case and without surrounding white space or a scheme, if that is valid.
fn suggest(input: &str) -> Option<String> {
    if input.len() > MAX_INPUT {
        return None;
    }
    let trimmed = input.trim();
    let bare = trimmed
        .strip_prefix("https://")
        .or_else(|| trimmed.strip_prefix("http://"))
        .or_else(|| trimmed.strip_prefix("docker://"))
        .unwrap_or(trimmed)
        .trim_end_matches(['/', ':']);
    [bare.to_owned(), bare.to_ascii_lowercase()]
        .into_iter()
        .find(|candidate| candidate != input && parse(candidate).is_ok())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        Self::parse(text)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_docker_does() {
        for (input, full, familiar) in [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            ("debian:12", "docker.io/library/debian:12", "debian:12"),
            ("a/b", "docker.io/a/b:latest", "a/b:latest"),
            ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
            ("index.docker.io/debian:1", "docker.io/library/debian:1", "debian:1"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/x:v", "localhost:5000/x:v", "localhost:5000/x:v"),
            ("example.org/a/b/c:T_1.2-3", "example.org/a/b/c:T_1.2-3", "example.org/a/b/c:T_1.2-3"),
            ("Registry/x", "Registry/x:latest", "Registry/x:latest"),
            ("[fd00::1]:5000/x", "[fd00::1]:5000/x:latest", "[fd00::1]:5000/x:latest"),
            ("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
            ("docker.io/localhost/c", "docker.io/localhost/c:latest", "docker.io/localhost/c:latest"),
            ("a--b/c__d.e", "docker.io/a--b/c__d.e:latest", "a--b/c__d.e:latest"),
        ] {
            let reference = Reference::parse(input).unwrap();
            assert_eq!(reference.to_string(), full);
            assert_eq!(reference.familiar(), familiar);
        }
    }

    #[test]
    fn a_digest_replaces_the_default_tag() {
        let by_digest = Reference::parse(&format!("debian@sha256:{HEX}")).unwrap();
        assert_eq!(by_digest.tag(), None);
        assert_eq!(by_digest.to_string(), format!("docker.io/library/debian@sha256:{HEX}"));
        let both = Reference::parse(&format!("debian:12@sha256:{HEX}")).unwrap();
        assert_eq!((both.tag(), both.digest()), (Some("12"), Digest::from_hex(HEX)));
    }

    #[test]
    fn what_is_wrong_is_refused_with_a_suggestion_where_there_is_one() {
        let long = "a".repeat(256);
        let long_tag = format!("a:{}", "t".repeat(129));
        for wrong in [
            "",
            " ",
            "/",
            ":",
            "@",
            "a:",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "a b",
            "a\n",
            "a\0",
            "../a",
            "a/../b",
            "é",
            "a:é",
            "a:-x",
            "a@sha256:00",
            "a@md5:00",
            ".io/x",
            "x-.io/x",
            "h:port/x",
            "h:/x",
            "[::1/x",
            "[]/x",
            "[::1]x/y",
            HEX,
            &long,
            &long_tag,
        ] {
            assert!(Reference::parse(wrong).is_err(), "{wrong:?} was accepted");
        }
        let upper = Reference::parse("Debian:Bookworm").unwrap_err();
        assert_eq!(upper.suggestion.as_deref(), Some("debian:bookworm"));
        let url = Reference::parse("https://example.org/a/b").unwrap_err();
        assert_eq!(url.suggestion.as_deref(), Some("example.org/a/b"));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_survives_a_round_trip(input in "[a-zA-Z0-9./:@_\\[\\]-]{0,60}") {
            if let Ok(reference) = Reference::parse(&input) {
                prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
                prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
            }
        }
    }
}
