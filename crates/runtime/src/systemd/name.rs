//! Names of units, and where systemd puts their control groups.

use crate::error::Error;

const FIELD: &str = "linux.cgroupsPath";
/// What systemd allows in a name of a unit (`systemd.unit(5)`).
const LONGEST: usize = 255;

/// A scope to be made, as `linux.cgroupsPath` names it under the systemd driver: `slice:prefix:name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScopeName {
    /// The slice it is in; the manager's default when that is open.
    pub(crate) slice: Option<String>,
    /// Its own name, with `.scope`.
    pub(crate) scope: String,
}

impl ScopeName {
    /// Reads a path; without one the scope is named after the container.
    pub(crate) fn new(id: &str, path: Option<&str>) -> Result<Self, Error> {
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return Self::checked(None, format!("casemate-{id}.scope"));
        };
        let parts: Vec<&str> = path.split(':').collect();
        let [slice, prefix, name] = parts.as_slice() else {
            return Err(Error::field(FIELD, format!("{path:?}: systemd's form is slice:prefix:name")));
        };
        if name.is_empty() || name.strip_suffix(".slice").is_some() {
            return Err(Error::field(FIELD, format!("{path:?}: {name:?} is no name of a scope")));
        }
        let slice = if slice.is_empty() { None } else { Some((*slice).to_owned()) };
        let scope = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        Self::checked(slice, scope)
    }

    fn checked(slice: Option<String>, scope: String) -> Result<Self, Error> {
        // With an `@` it would be an instance of a template, which no scope is.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte);
        for name in slice.iter().chain(std::iter::once(&scope)) {
            if name.len() > LONGEST || !name.bytes().all(plain) {
                return Err(Error::field(FIELD, format!("{name:?} is no name of a unit")));
            }
        }
        if let Some(slice) = &slice {
            slice_path(slice)?;
        }
        Ok(Self { slice, scope })
    }
}

/// The control group of a slice, relative to its manager's: each part of `a-b-c.slice` is a slice in the one before
/// (`systemd.slice(5)`).
pub(crate) fn slice_path(slice: &str) -> Result<String, Error> {
    let wrong = || Error::field(FIELD, format!("{slice:?} is no name of a slice"));
    let name = slice.strip_suffix(".slice").ok_or_else(wrong)?;
    if name == "-" {
        return Ok(String::new());
    }
    let mut path = String::new();
    let mut whole = String::new();
    for part in name.split('-') {
        if part.is_empty() || part.contains('/') {
            return Err(wrong());
        }
        if !whole.is_empty() {
            whole.push('-');
        }
        whole.push_str(part);
        path.push('/');
        path.push_str(&whole);
        path.push_str(".slice");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_slice_and_scope() {
        let name = |path: &str| ScopeName::new("c1", Some(path)).map(|name| (name.slice, name.scope));
        let slice = Some("system.slice".to_owned());
        assert_eq!(name("system.slice:docker:abc").unwrap(), (slice.clone(), "docker-abc.scope".into()));
        assert_eq!(name("system.slice::abc").unwrap(), (slice, "abc.scope".into()));
        assert_eq!(name(":p:abc").unwrap(), (None, "p-abc.scope".into()));
        assert_eq!(ScopeName::new("c1", None).unwrap().scope, "casemate-c1.scope");
        for wrong in [
            "/docker/abc",
            "a.slice:b",
            "a.slice:b:c:d",
            "a:b:c",
            "a.slice:b:",
            "a.slice:b:c.slice",
            "a/../b.slice:p:n",
            "a--b.slice:p:n",
            "a.slice:p:n/m",
            "a.slice:p: n",
            "a.slice:p:n@m",
        ] {
            assert!(name(wrong).unwrap_err().to_string().starts_with("linux.cgroupsPath: "), "{wrong}");
        }
    }

    #[test]
    fn slices_are_in_each_other() {
        let path = |slice: &str| slice_path(slice).unwrap();
        assert_eq!(path("system.slice"), "/system.slice");
        assert_eq!(path("-.slice"), "");
        assert_eq!(path("kubepods-pod1.slice"), "/kubepods.slice/kubepods-pod1.slice");
        for wrong in ["a", "-a.slice", "a-.slice", "a--b.slice", ".slice", "a/b.slice"] {
            assert!(slice_path(wrong).is_err(), "{wrong}");
        }
    }
}
