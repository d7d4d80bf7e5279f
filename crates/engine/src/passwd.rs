//! The image's `/etc/passwd` and `/etc/group`: who a name is. Written by whoever made the image, so bounded in every direction.

use casemate_posture::{Principal, User};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Larger files than this are not read (CVE-2026-47262).
pub(crate) const LARGEST_FILE: usize = 4 << 20;
const LONGEST_LINE: usize = 64 * 1024;
/// The kernel's own bound on supplementary groups.
const MOST_GROUPS: usize = 65_536;

/// Who a process is, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identified {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, the primary one included (its absence would let a process past a mode that denies its group).
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

struct PasswdLine<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupLine<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Looks a user up. Digits are always an id, never a name; a user that is named must be in the file.
pub(crate) fn identify(user: &User, group_add: &[Principal], passwd: &[u8], group: &[u8]) -> Result<Identified> {
    let passwd = String::from_utf8_lossy(passwd);
    let group = String::from_utf8_lossy(group);
    let known = passwd_lines(&passwd).find(|line| match &user.user {
        Principal::Id(uid) => line.uid == *uid,
        Principal::Name(name) => line.name == name,
    });
    let uid = match (&user.user, &known) {
        (Principal::Id(uid), _) => *uid,
        (Principal::Name(_), Some(line)) => line.uid,
        (Principal::Name(name), None) => {
            return Err(unknown("user", name, "/etc/passwd", passwd_lines(&passwd).map(|line| line.name)));
        }
    };
    let gid = match &user.group {
        Some(group_name) => group_id(group_name, &group)?,
        None => known.as_ref().map_or(0, |line| line.gid),
    };
    let mut groups = vec![gid];
    // As Docker does: a group that is asked for replaces those that the file lists for the user.
    if user.group.is_none()
        && let Some(line) = &known
    {
        groups.extend(
            group_lines(&group)
                .filter(|entry| entry.members.split(',').any(|member| member.trim() == line.name))
                .map(|entry| entry.gid)
                .take(MOST_GROUPS),
        );
    }
    for extra in group_add {
        groups.push(group_id(extra, &group)?);
    }
    groups.sort_unstable();
    groups.dedup();
    let home = known.map(|line| line.home).filter(|home| home.starts_with('/')).unwrap_or("/").to_owned();
    Ok(Identified { uid, gid, groups, home })
}

fn group_id(principal: &Principal, group: &str) -> Result<u32> {
    match principal {
        Principal::Id(gid) => Ok(*gid),
        Principal::Name(name) => group_lines(group)
            .find(|line| line.name == name)
            .map(|line| line.gid)
            .ok_or_else(|| unknown("group", name, "/etc/group", group_lines(group).map(|line| line.name))),
    }
}

fn unknown<'a>(what: &'static str, name: &str, file: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let near = casemate_posture::suggest::hint(name, known).map_or_else(String::new, |hint| format!("; {hint}"));
    Error::invalid(what, name, format!("not in the image's {file}{near}; an id in numbers needs no entry"))
}

fn bounded_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| line.len() <= LONGEST_LINE && !line.is_empty() && !line.starts_with('#'))
}

fn passwd_lines(text: &str) -> impl Iterator<Item = PasswdLine<'_>> {
    bounded_lines(text).filter_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        let _password = parts.next()?;
        let uid = id(parts.next()?)?;
        let gid = id(parts.next()?)?;
        let _comment = parts.next();
        Some(PasswdLine { name, uid, gid, home: parts.next().unwrap_or("") })
    })
}

fn group_lines(text: &str) -> impl Iterator<Item = GroupLine<'_>> {
    bounded_lines(text).filter_map(|line| {
        let mut parts = line.split(':');
        let name = parts.next()?;
        let _password = parts.next()?;
        let gid = id(parts.next()?)?;
        Some(GroupLine { name, gid, members: parts.next().unwrap_or("") })
    })
}

/// A line whose id is too large for the kernel is no line: it must not wrap around to root (CVE-2024-40635).
fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n# comment\nweb:x:33:34:web:/var/www:/bin/false\n\
        wrap:x:4294967296:0::/:\nmax:x:4294967295:0::/:\n1000:x:0:0:trap:/root:/bin/sh\nbroken\nlast:x:7:8::relative";
    const GROUP: &[u8] = b"root:x:0:\nadm:x:4:web,root\nweb:x:34:\nextra:x:99: web \nbad:x:-1:web\n";

    fn run(user: &str) -> Result<Identified> {
        identify(&casemate_posture::user::parse(user).unwrap(), &[], PASSWD, GROUP)
    }

    #[test]
    fn names_and_their_groups() {
        let web = run("web").unwrap();
        assert_eq!((web.uid, web.gid), (33, 34));
        assert_eq!(web.groups, [4, 34, 99]);
        assert_eq!(web.home, "/var/www");
    }

    #[test]
    fn numbers_are_never_names() {
        let user = run("1000").unwrap();
        assert_eq!((user.uid, user.gid), (1000, 0));
        assert_eq!(user.groups, [0]);
        assert_eq!(user.home, "/");
    }

    #[test]
    fn a_known_number_gets_its_groups_and_home() {
        assert_eq!(run("33").unwrap().groups, [4, 34, 99]);
        assert_eq!(run("0").unwrap().home, "/root");
    }

    #[test]
    fn an_explicit_group_replaces_the_listed_ones() {
        let user = run("web:adm").unwrap();
        assert_eq!((user.gid, user.groups.as_slice()), (4, &[4][..]));
        assert_eq!(run("5:6").unwrap().groups, [6]);
    }

    #[test]
    fn groups_are_added_by_name_and_number() {
        let add = [Principal::Name("extra".to_owned()), Principal::Id(1234)];
        let user = identify(&casemate_posture::user::parse("root").unwrap(), &add, PASSWD, GROUP).unwrap();
        assert_eq!(user.groups, [0, 4, 99, 1234]);
    }

    #[test]
    fn ids_that_would_wrap_are_no_users() {
        for name in ["wrap", "max", "broken"] {
            assert!(run(name).is_err(), "{name}");
        }
        assert_eq!(run("last").unwrap().home, "/");
    }

    #[test]
    fn an_unknown_name_gets_a_suggestion() {
        let error = run("wep").unwrap_err().to_string();
        assert!(error.contains("web"), "{error}");
    }

    #[test]
    fn without_files_numbers_work() {
        let user = identify(&casemate_posture::user::parse("0").unwrap(), &[], b"", b"").unwrap();
        assert_eq!(user, Identified { uid: 0, gid: 0, groups: vec![0], home: "/".to_owned() });
    }
}
