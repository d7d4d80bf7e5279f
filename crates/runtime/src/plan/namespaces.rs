//! Namespaces to make and to enter, and the id maps of a new user namespace.

use std::path::PathBuf;

use casemate_kernel::namespace::{IdMap, Namespaces, TimeOffset};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType};

use crate::error::Error;

/// Every type of namespace, by the specification's word.
pub(crate) const NAMESPACES: [(LinuxNamespaceType, Namespaces); 8] = [
    (LinuxNamespaceType::Cgroup, Namespaces::CGROUP),
    (LinuxNamespaceType::Ipc, Namespaces::IPC),
    (LinuxNamespaceType::Mount, Namespaces::MOUNT),
    (LinuxNamespaceType::Network, Namespaces::NETWORK),
    (LinuxNamespaceType::Pid, Namespaces::PID),
    (LinuxNamespaceType::Time, Namespaces::TIME),
    (LinuxNamespaceType::User, Namespaces::USER),
    (LinuxNamespaceType::Uts, Namespaces::UTS),
];

/// The kernel's kind for a type of the specification.
pub(crate) fn kind(namespace: LinuxNamespaceType) -> Namespaces {
    NAMESPACES.iter().find(|(known, _)| *known == namespace).map_or(Namespaces::empty(), |(_, kind)| *kind)
}

/// The namespaces to make and to enter; the kinds of a specification that [`exec`](crate::exec()) enters.
///
/// A container stays in the runtime's own namespace of every kind that is not named.
pub(crate) fn namespaces(linux: &Linux) -> Result<(Namespaces, Vec<(Namespaces, PathBuf)>), Error> {
    let (mut new, mut joined, mut seen) = (Namespaces::empty(), Vec::new(), Namespaces::empty());
    for (index, namespace) in linux.namespaces().as_deref().unwrap_or_default().iter().enumerate() {
        let kind = kind(namespace.typ());
        if seen.contains(kind) {
            let why = format!("{} is named twice", namespace.typ());
            return Err(Error::field(&format!("linux.namespaces[{index}].type"), why));
        }
        seen |= kind;
        match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            None => new |= kind,
            Some(path) if path.is_absolute() => joined.push((kind, path.clone())),
            Some(path) => {
                let why = format!("{path:?} is not absolute");
                return Err(Error::field(&format!("linux.namespaces[{index}].path"), why));
            }
        }
    }
    Ok((new, joined))
}

/// `linux.timeOffsets`, which need a new time namespace: the clocks of one that exists can't be changed.
pub(crate) fn time_offsets(linux: &Linux, new: Namespaces) -> Result<Vec<TimeOffset>, Error> {
    let Some(offsets) = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty()) else {
        return Ok(Vec::new());
    };
    if !new.contains(Namespaces::TIME) {
        return Err(Error::field("linux.timeOffsets", "needs a new time namespace"));
    }
    let mut list: Vec<TimeOffset> = offsets
        .iter()
        .map(|(name, offset)| {
            let field = |part: &str| format!("linux.timeOffsets.{name}{part}");
            let clock = ["monotonic", "boottime"]
                .into_iter()
                .find(|clock| *clock == name)
                .ok_or_else(|| Error::field(&field(""), "neither monotonic nor boottime"))?;
            let nanoseconds = offset.nanosecs().unwrap_or(0);
            if nanoseconds >= 1_000_000_000 {
                return Err(Error::field(&field(".nanosecs"), format!("{nanoseconds} is a second or more")));
            }
            Ok(TimeOffset { clock, seconds: offset.secs().unwrap_or(0), nanoseconds })
        })
        .collect::<Result<_, _>>()?;
    list.sort_by_key(|offset| offset.clock);
    Ok(list)
}

/// The mount namespace that the process is to be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountNamespace {
    /// One of its own.
    Own,
    /// The one this runtime is in, since the specification names none.
    Runtimes,
    /// Another one, by its file.
    Joined(PathBuf),
}

impl MountNamespace {
    /// Takes the mount namespace out of those to make and to enter, and puts in its place a new one: the container's tree
    /// is always made in one that nobody else sees. One that is joined, or the host's, is entered when that is done.
    pub(super) fn take(new: &mut Namespaces, joined: &mut Vec<(Namespaces, PathBuf)>) -> Result<Self, Error> {
        let wanted = if new.contains(Namespaces::MOUNT) {
            return Ok(Self::Own);
        } else if let Some(position) = joined.iter().position(|(kind, _)| *kind == Namespaces::MOUNT) {
            Self::Joined(joined.remove(position).1)
        } else {
            Self::Runtimes
        };
        let user = new.contains(Namespaces::USER) || joined.iter().any(|(kind, _)| *kind == Namespaces::USER);
        if user && wanted == Self::Runtimes {
            // Nobody but the host's root may enter it, and by then the process is that no more.
            let why = "a container with a user namespace needs a mount namespace, which is not listed";
            return Err(Error::field("linux.namespaces", why));
        }
        *new |= Namespaces::MOUNT;
        Ok(wanted)
    }
}

/// The lines of an id map, checked for what the kernel would refuse without saying why.
///
/// A new user namespace needs them; one that is entered has its own, which those given must be
/// (see [`open_joined`](crate::namespaces::open_joined)).
pub(super) fn id_maps(
    field: &str,
    maps: Option<&[LinuxIdMapping]>,
    new: bool,
    joined: bool,
) -> Result<Vec<IdMap>, Error> {
    let maps = maps.unwrap_or_default();
    if maps.is_empty() && new {
        return Err(Error::field(field, "a new user namespace needs at least one mapping"));
    }
    if !maps.is_empty() && !new && !joined {
        return Err(Error::field(field, "given, but linux.namespaces has no user namespace"));
    }
    convert_maps(field, maps)
}

pub(crate) fn convert_maps(field: &str, maps: &[LinuxIdMapping]) -> Result<Vec<IdMap>, Error> {
    if maps.len() > 340 {
        return Err(Error::field(field, format!("{} mappings; the kernel takes 340", maps.len())));
    }
    let mut list: Vec<IdMap> = Vec::with_capacity(maps.len());
    for (index, map) in maps.iter().enumerate() {
        let (inside, outside, count) = (map.container_id(), map.host_id(), map.size());
        let field = format!("{field}[{index}]");
        let fits = |first: u32| first.checked_add(count).is_some();
        if count == 0 || !fits(inside) || !fits(outside) {
            return Err(Error::field(&field, format!("{inside} {outside} {count}: not a range of ids")));
        }
        let meets = |a: u32, b: u32, b_count: u32| a < b + b_count && b < a + count;
        let other = list
            .iter()
            .position(|known| meets(inside, known.inside, known.count) || meets(outside, known.outside, known.count));
        if let Some(other) = other {
            return Err(Error::field(&field, format!("{inside} {outside} {count}: overlaps the mapping [{other}]")));
        }
        list.push(IdMap { inside, outside, count });
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(text: &str) -> Linux {
        serde_json::from_str(text).unwrap()
    }

    fn maps(text: &str) -> Result<Vec<IdMap>, Error> {
        let linux = linux(&format!(r#"{{"uidMappings":{text}}}"#));
        id_maps("linux.uidMappings", linux.uid_mappings().as_deref(), true, false)
    }

    #[test]
    fn all_eight_kinds_are_made_and_entered() {
        let names = ["mount", "cgroup", "uts", "ipc", "user", "pid", "network", "time"];
        let list = |path: &str| {
            let each: Vec<String> = names.iter().map(|name| format!(r#"{{"type":"{name}"{path}}}"#)).collect();
            linux(&format!(r#"{{"namespaces":[{}]}}"#, each.join(",")))
        };
        let (new, joined) = namespaces(&list("")).unwrap();
        assert!(joined.is_empty() && new.contains(Namespaces::TIME | Namespaces::USER | Namespaces::CGROUP));
        let (new, joined) = namespaces(&list(r#","path":"/proc/1/ns/x""#)).unwrap();
        assert!(new.is_empty());
        assert_eq!(joined.len(), 8);
        assert!(namespaces(&list(r#","path":"""#)).unwrap().1.is_empty());
    }

    #[test]
    fn a_wrong_list_is_refused_by_place() {
        let error = |text: &str| namespaces(&linux(text)).unwrap_err().to_string();
        let twice = r#"{"namespaces":[{"type":"pid"},{"type":"uts"},{"type":"pid","path":"/x"}]}"#;
        assert_eq!(error(twice), "linux.namespaces[2].type: pid is named twice");
        let relative = r#"{"namespaces":[{"type":"pid","path":"proc/1/ns/pid"}]}"#;
        assert!(error(relative).starts_with("linux.namespaces[0].path: "));
    }

    #[test]
    fn time_offsets_are_of_two_clocks_of_a_new_namespace() {
        let text = r#"{"timeOffsets":{"monotonic":{"secs":-7},"boottime":{"secs":1,"nanosecs":999999999}}}"#;
        let list = time_offsets(&linux(text), Namespaces::TIME).unwrap();
        let (boottime, monotonic) = (list[0], list[1]);
        assert_eq!((boottime.clock, boottime.seconds, boottime.nanoseconds), ("boottime", 1, 999_999_999));
        assert_eq!((monotonic.clock, monotonic.seconds, monotonic.nanoseconds), ("monotonic", -7, 0));
        assert!(time_offsets(&linux(text), Namespaces::PID).is_err());
        for (wrong, field) in [
            (r#"{"timeOffsets":{"realtime":{"secs":1}}}"#, "linux.timeOffsets.realtime: "),
            (r#"{"timeOffsets":{"boottime":{"nanosecs":1000000000}}}"#, "linux.timeOffsets.boottime.nanosecs: "),
        ] {
            let error = time_offsets(&linux(wrong), Namespaces::TIME).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }

    #[test]
    fn ranges_of_ids_must_be_ranges_and_apart() {
        let fine = r#"[{"containerID":0,"hostID":1000,"size":10},{"containerID":10,"hostID":5,"size":1}]"#;
        assert_eq!(maps(fine).unwrap().len(), 2);
        for wrong in [
            r#"[{"containerID":0,"hostID":0,"size":0}]"#,
            r#"[{"containerID":4294967295,"hostID":0,"size":1}]"#,
            r#"[{"containerID":0,"hostID":0,"size":4294967295},{"containerID":4294967294,"hostID":0,"size":1}]"#,
            r#"[{"containerID":0,"hostID":1000,"size":10},{"containerID":9,"hostID":0,"size":1}]"#,
            r#"[{"containerID":0,"hostID":1000,"size":10},{"containerID":50,"hostID":1009,"size":1}]"#,
        ] {
            assert!(maps(wrong).unwrap_err().to_string().starts_with("linux.uidMappings["), "{wrong}");
        }
        assert!(maps("[]").is_err());
        let given = linux(r#"{"gidMappings":[{"containerID":0,"hostID":0,"size":1}]}"#);
        let given = given.gid_mappings().as_deref();
        assert!(id_maps("linux.gidMappings", given, false, false).is_err());
        assert!(id_maps("linux.gidMappings", given, false, true).is_ok());
    }
}
