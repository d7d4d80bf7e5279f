//! The five capability sets of a process.

use casemate_kernel::capability::{self, Sets};
use casemate_posture::Capability;
use oci_spec::runtime::{Capabilities, Process};

use super::document::ignored_capabilities;
use crate::error::{Error, Step};

/// The sets as they can be had, and warnings about what can't.
///
/// A capability that the running kernel does not know, or that whoever makes the process can't hand on, is left out of all
/// sets (as runc does since 1.2). In a new user namespace every capability can be had: it is over that namespace.
pub(super) fn capabilities(process: &Process, in_user_namespace: bool) -> Result<(Sets, Vec<String>), Error> {
    let Some(given) = process.capabilities() else {
        return Ok((Sets::default(), Vec::new()));
    };
    let mut sets = Sets {
        bounding: mask(given.bounding().as_ref()),
        effective: mask(given.effective().as_ref()),
        permitted: mask(given.permitted().as_ref()),
        inheritable: mask(given.inheritable().as_ref()),
        ambient: mask(given.ambient().as_ref()),
    };
    let wanted = sets.bounding | sets.effective | sets.permitted | sets.inheritable | sets.ambient;
    let mut warnings = Vec::new();
    if wanted != 0 {
        let lacking = wanted & !available(wanted, in_user_namespace)?;
        for set in
            [&mut sets.bounding, &mut sets.effective, &mut sets.permitted, &mut sets.inheritable, &mut sets.ambient]
        {
            *set &= !lacking;
        }
        warnings.extend(ignored_capabilities(names(lacking)));
    }
    // The kernel answers both with EPERM and does not say which capability it was (capset(2)).
    within(sets.effective, sets.permitted, "effective", "permitted")?;
    within(sets.inheritable, sets.bounding, "inheritable", "bounding")?;
    let not_ambient = sets.ambient & !(sets.permitted & sets.inheritable);
    if not_ambient != 0 {
        sets.ambient &= !not_ambient;
        let list = names(not_ambient).join(" ");
        warnings.push(format!("ignoring ambient capabilities that are not permitted and inheritable too: [{list}]"));
    }
    Ok((sets, warnings))
}

fn mask(set: Option<&Capabilities>) -> u64 {
    let known = set.into_iter().flatten().filter_map(|name| name.to_string().parse::<Capability>().ok());
    known.fold(0, |bits, capability| bits | 1 << capability.number())
}

/// Which of the capabilities can be given.
fn available(wanted: u64, in_user_namespace: bool) -> Result<u64, Error> {
    let permitted = if in_user_namespace { u64::MAX } else { capability::permitted().step("process.capabilities")? };
    let can = |number: u8| match capability::in_bounding_set(number) {
        None => false,
        Some(in_bounding_set) => in_user_namespace || (in_bounding_set && permitted >> number & 1 == 1),
    };
    Ok((0..64).filter(|number| wanted >> number & 1 == 1 && can(*number)).fold(0, |bits, number| bits | 1 << number))
}

fn within(set: u64, of: u64, set_name: &str, of_name: &str) -> Result<(), Error> {
    let outside = names(set & !of);
    if outside.is_empty() {
        return Ok(());
    }
    let why = format!("not in {of_name}: {} (EPERM)", outside.join(" "));
    Err(Error::field(&format!("process.capabilities.{set_name}"), why))
}

fn names(set: u64) -> Vec<String> {
    let name =
        |number: u8| Capability::from_number(number).map_or_else(|| format!("{number}"), |name| name.to_string());
    (0..64).filter(|number| set >> number & 1 == 1).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(text: &str) -> Result<(Sets, Vec<String>), Error> {
        let text = format!(r#"{{"cwd":"/","user":{{"uid":0,"gid":0}},"capabilities":{{{text}}}}}"#);
        capabilities(&serde_json::from_str(&text).unwrap(), true)
    }

    #[test]
    fn sets_must_lie_in_each_other_as_the_kernel_asks() {
        let error = sets(r#""effective":["CAP_KILL"]"#).unwrap_err().to_string();
        assert_eq!(error, "process.capabilities.effective: not in permitted: CAP_KILL (EPERM)");
        let error = sets(r#""inheritable":["CAP_SYS_ADMIN"]"#).unwrap_err().to_string();
        assert_eq!(error, "process.capabilities.inheritable: not in bounding: CAP_SYS_ADMIN (EPERM)");
        // More may be permitted than bounding: the next exec takes it away.
        assert_eq!(sets(r#""permitted":["CAP_KILL"]"#).unwrap().0.permitted, 1 << 5);
    }

    #[test]
    fn ambient_capabilities_that_cannot_be_are_warned_of() {
        let (sets, warnings) = sets(
            r#""bounding":["CAP_KILL","CAP_CHOWN"],"inheritable":["CAP_KILL"],"permitted":["CAP_KILL","CAP_CHOWN"],"ambient":["CAP_KILL","CAP_CHOWN"]"#,
        )
        .unwrap();
        assert_eq!(sets.ambient, 1 << 5);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("[CAP_CHOWN]"), "{warnings:?}");
    }

    #[test]
    fn what_the_caller_lacks_is_left_out() {
        let all = capability::permitted().unwrap();
        for number in 0..capability::count() {
            let can = all >> number & 1 == 1 && capability::in_bounding_set(number) == Some(true);
            assert_eq!(available(1 << number, false).unwrap() != 0, can, "{number}");
            assert_ne!(available(1 << number, true).unwrap(), 0);
        }
        assert_eq!(available(1 << 63, true).unwrap(), 0);
    }
}
