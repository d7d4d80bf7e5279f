//! What a specification must say as a whole, whatever else is in it.

use casemate_kernel::namespace::Namespaces;
use oci_spec::runtime::Spec;

use crate::error::Error;

/// The major version of the specification that this runtime is of. Minor versions add fields only.
const MAJOR: u64 = 1;

/// Checks the version, the root and that there is a Linux part.
pub(crate) fn spec(spec: &Spec) -> Result<(), Error> {
    version(spec.version())?;
    let root = spec.root().as_ref().ok_or_else(|| Error::field("root", "missing"))?;
    if root.path().as_os_str().is_empty() {
        return Err(Error::field("root.path", "missing"));
    }
    if spec.linux().is_none() {
        return Err(Error::field("linux", "missing: this runtime makes containers of Linux"));
    }
    Ok(())
}

/// Checks a version, which must be one of SemVer 2.0.0 and of a specification that this runtime knows.
fn version(text: &str) -> Result<(), Error> {
    let refuse = |why: &str| Err(Error::field("ociVersion", format!("{text:?} {why}")));
    if text.is_empty() {
        return Err(Error::field("ociVersion", "missing"));
    }
    let (version, build) = text.split_once('+').map_or((text, None), |(version, build)| (version, Some(build)));
    let (core, pre) = version.split_once('-').map_or((version, None), |(core, pre)| (core, Some(pre)));
    let mut numbers = core.split('.').map(number);
    let (Some(Some(major)), Some(Some(_)), Some(Some(_)), None) =
        (numbers.next(), numbers.next(), numbers.next(), numbers.next())
    else {
        return refuse("is no version");
    };
    let identifiers = |part: Option<&str>| part.is_none_or(|part| part.split('.').all(is_identifier));
    if !identifiers(pre) || !identifiers(build) {
        return refuse("is no version");
    }
    if major != MAJOR {
        return refuse("is of a specification that this runtime does not know: it knows 1.x");
    }
    Ok(())
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // "01" is no number of a version.
    digits.then(|| text.parse().ok()).flatten().filter(|_| text == "0" || !text.starts_with('0'))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A name of the container in its UTS namespace.
pub(super) fn uts_name(field: &str, value: Option<&str>, own: Namespaces) -> Result<Option<String>, Error> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    if !own.contains(Namespaces::UTS) {
        return Err(Error::field(field, "needs a UTS namespace of the container's own"));
    }
    if value.len() > 64 {
        return Err(Error::field(field, format!("{value:?} is longer than the 64 bytes the kernel keeps")));
    }
    if value.contains('\0') {
        return Err(Error::field(field, format!("{value:?} has a NUL byte")));
    }
    Ok(Some(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_first_specification_are_known() {
        for known in ["1.0.0", "1.0.2-dev", "1.3.0", "1.0.0-rc5", "1.2.0+build.7", "1.99.0-rc.1+x"] {
            assert!(version(known).is_ok(), "{known}");
        }
        for wrong in [
            "",
            "invalid",
            "1",
            "1.0",
            "1.0.0.0",
            "01.0.0",
            "1.0.x",
            "2.0.0",
            "0.5.0",
            "1.0.0-",
            "1.0.0-a..b",
            "1.0.0+ü",
        ] {
            let error = version(wrong).unwrap_err().to_string();
            assert!(error.starts_with("ociVersion: "), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_name_needs_a_place_to_be_kept_in() {
        assert_eq!(uts_name("hostname", Some(""), Namespaces::empty()).unwrap(), None);
        assert_eq!(uts_name("hostname", Some("a"), Namespaces::UTS).unwrap().as_deref(), Some("a"));
        let error = uts_name("domainname", Some("a"), Namespaces::PID).unwrap_err().to_string();
        assert!(error.starts_with("domainname: needs a UTS namespace"), "{error}");
        assert!(uts_name("hostname", Some(&"x".repeat(65)), Namespaces::UTS).is_err());
    }
}
