//! `/proc/self/status` and the id maps: who the process is and what it may do.

use casemate_posture::Capability;
use serde::Serialize;

use super::source::Source;
use super::verdict::{Facts, Judgement, listed};

/// The most ranges that an id map can have (`UID_GID_MAP_MAX_EXTENTS`).
const MAX_RANGES: usize = 340;

/// What `/proc/self/status` says of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// Real, effective, saved and file-system user id.
    pub(crate) uid: [u32; 4],
    /// Real, effective, saved and file-system group id.
    pub(crate) gid: [u32; 4],
    pub(crate) groups: Vec<u32>,
    pub(crate) inheritable: u64,
    pub(crate) permitted: u64,
    pub(crate) effective: u64,
    pub(crate) bounding: u64,
    pub(crate) ambient: u64,
    pub(crate) no_new_privileges: Option<bool>,
    pub(crate) seccomp_mode: Option<u32>,
    pub(crate) seccomp_filters: Option<u32>,
    /// Process id in each PID namespace, from that of the `/proc` mount to the process's own.
    pub(crate) pids: Vec<u32>,
}

impl Status {
    /// Parses the text of `/proc/PID/status`. Lines that are not known or not well-formed are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut status = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match key {
                "Uid" => status.uid = four(value).unwrap_or_default(),
                "Gid" => status.gid = four(value).unwrap_or_default(),
                "Groups" => {
                    status.groups = value.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
                }
                "CapInh" => status.inheritable = hexadecimal(value),
                "CapPrm" => status.permitted = hexadecimal(value),
                "CapEff" => status.effective = hexadecimal(value),
                "CapBnd" => status.bounding = hexadecimal(value),
                "CapAmb" => status.ambient = hexadecimal(value),
                "NoNewPrivs" => {
                    status.no_new_privileges = value.parse::<u8>().ok().map(|set| set != 0);
                }
                "Seccomp" => status.seccomp_mode = value.parse().ok(),
                "Seccomp_filters" => status.seccomp_filters = value.parse().ok(),
                "NSpid" => {
                    status.pids = value.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect();
                }
                _ => {}
            }
        }
        status
    }
}

fn four(value: &str) -> Option<[u32; 4]> {
    let ids: Vec<u32> = value.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
    ids.try_into().ok()
}

fn hexadecimal(value: &str) -> u64 {
    u64::from_str_radix(value, 16).unwrap_or(0)
}

/// One range of an id map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id outside: in the parent user namespace.
    pub outside: u32,
    /// How many ids.
    pub size: u32,
}

/// Parses `/proc/PID/uid_map` or `gid_map`: at most 340 ranges, ill-formed lines left out.
pub(crate) fn parse_id_map(text: &str) -> Vec<IdRange> {
    text.lines()
        .filter_map(|line| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse);
            let range =
                IdRange { inside: numbers.next()?.ok()?, outside: numbers.next()?.ok()?, size: numbers.next()?.ok()? };
            numbers.next().is_none().then_some(range)
        })
        .take(MAX_RANGES)
        .collect()
}

/// Who the process is, inside and outside.
#[derive(Debug, Clone, Serialize)]
pub struct Identity {
    /// Effective user id inside.
    pub uid: u32,
    /// Effective group id inside.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The id outside that `uid` stands for; `None` when no map could be read or it maps nowhere.
    pub outside_uid: Option<u32>,
    /// The id outside that root inside stands for; `None` when root is not mapped.
    pub outside_root: Option<u32>,
    /// Whether this is the initial user namespace, where every id is the host's; `None` when it could not be seen.
    pub initial_user_namespace: Option<bool>,
    /// User ids.
    pub uid_map: Vec<IdRange>,
    /// Group ids.
    pub gid_map: Vec<IdRange>,
    /// Whether the process may set its supplementary groups.
    pub setgroups: Option<String>,
}

impl Identity {
    pub(crate) fn read(source: &Source, status: &Status) -> Self {
        let uid_map = source.text("/proc/self/uid_map").map(|text| parse_id_map(&text)).unwrap_or_default();
        let gid_map = source.text("/proc/self/gid_map").map(|text| parse_id_map(&text)).unwrap_or_default();
        Self {
            uid: status.uid[1],
            gid: status.gid[1],
            groups: status.groups.clone(),
            outside_uid: outside(&uid_map, status.uid[1]),
            outside_root: outside(&uid_map, 0),
            initial_user_namespace: (!uid_map.is_empty()).then(|| is_identity(&uid_map)),
            uid_map,
            gid_map,
            setgroups: source.line("/proc/self/setgroups"),
        }
    }

    pub(crate) fn judge(&self) -> Judgement {
        let mut facts = Facts::default();
        let uid = self.uid;
        match (self.initial_user_namespace, self.outside_uid) {
            (None, _) => facts.note("the id map can't be read"),
            (Some(true), _) if uid == 0 => {
                facts.open("root inside is root of the host: no user namespace");
            }
            (Some(true), _) => facts.note(format!("no user namespace: user {uid} inside is user {uid} of the host")),
            (Some(false), Some(0)) => facts.open(format!("user {uid} inside is user 0 outside")),
            (Some(false), Some(outside)) => {
                facts.good(format!("user {uid} inside is user {outside} outside"));
            }
            (Some(false), None) => facts.note(format!("user {uid} has no id outside")),
        }
        if self.initial_user_namespace == Some(false) && self.outside_root == Some(0) && self.outside_uid != Some(0) {
            facts.note("root inside is mapped to user 0 outside");
        }
        let host_groups = outside(&self.gid_map, self.gid) == Some(0);
        if self.initial_user_namespace == Some(false) && host_groups {
            facts.note(format!("group {} inside is group 0 outside", self.gid));
        }
        facts.judge()
    }
}

/// The id outside for `id` inside.
fn outside(map: &[IdRange], id: u32) -> Option<u32> {
    map.iter().find_map(|range| {
        let distance = id.checked_sub(range.inside)?;
        if distance < range.size { range.outside.checked_add(distance) } else { None }
    })
}

/// The map of the initial user namespace: every id stands for itself.
fn is_identity(map: &[IdRange]) -> bool {
    matches!(map, [IdRange { inside: 0, outside: 0, size: u32::MAX }])
}

/// The five capability sets, by name.
#[derive(Debug, Clone, Serialize)]
pub struct Capabilities {
    /// What the process holds now.
    pub effective: Vec<String>,
    /// What it could take into effect.
    pub permitted: Vec<String>,
    /// What a program with file capabilities would keep.
    pub inheritable: Vec<String>,
    /// The most that any program started here can get.
    pub bounding: Vec<String>,
    /// What a program without file capabilities would keep.
    pub ambient: Vec<String>,
    /// What the dangerous ones among all of these allow.
    pub dangerous: Vec<Danger>,
}

/// A dangerous capability that is held in at least one set.
#[derive(Debug, Clone, Serialize)]
pub struct Danger {
    /// Its name.
    pub capability: String,
    /// What it allows.
    pub allows: &'static str,
    /// Whether it is held now (effective or permitted), not only possible.
    pub held: bool,
}

/// The names of a set of bits; bits that have no name are called by number.
fn names(bits: u64) -> Vec<String> {
    (0u8..64)
        .filter(|number| bits >> number & 1 == 1)
        .map(|number| match named(number) {
            Some(capability) => capability.name().to_owned(),
            None => format!("CAP_{number}"),
        })
        .collect()
}

fn named(number: u8) -> Option<Capability> {
    Capability::ALL.iter().copied().find(|capability| capability.number() == number)
}

impl Capabilities {
    pub(crate) fn new(status: &Status) -> Self {
        let any = status.effective | status.permitted | status.inheritable | status.bounding | status.ambient;
        let dangerous = Capability::ALL
            .iter()
            .filter(|capability| any >> capability.number() & 1 == 1)
            .filter_map(|capability| {
                Some(Danger {
                    capability: capability.name().to_owned(),
                    allows: capability.danger()?,
                    held: (status.effective | status.permitted) >> capability.number() & 1 == 1,
                })
            })
            .collect();
        Self {
            effective: names(status.effective),
            permitted: names(status.permitted),
            inheritable: names(status.inheritable),
            bounding: names(status.bounding),
            ambient: names(status.ambient),
            dangerous,
        }
    }

    /// Judged with the identity: in a user namespace of its own, a capability reaches only what belongs to that namespace.
    pub(crate) fn judge(&self, identity: &Identity, no_new_privileges: Option<bool>) -> Judgement {
        let mut facts = Facts::default();
        let confined = identity.initial_user_namespace == Some(false);
        let held: Vec<&str> = self.dangerous.iter().filter(|d| d.held).map(|d| d.capability.as_str()).collect();
        if !held.is_empty() && confined {
            facts.note(format!("holds {} (within its own user namespace)", listed(&held, 4)));
        } else if !held.is_empty() {
            facts.open(format!("holds dangerous capabilities: {}", listed(&held, 4)));
        } else if !(self.effective.is_empty() && self.permitted.is_empty()) {
            let count = self.effective.len().max(self.permitted.len());
            facts.note(format!("holds {count} capabilities, none of the dangerous ones"));
        }
        if !self.inheritable.is_empty() {
            facts.note(format!("the inheritable set is not empty: {}", listed(&self.inheritable, 4)));
        }
        let none_held = self.effective.is_empty() && self.permitted.is_empty();
        if none_held && !self.bounding.is_empty() {
            let count = self.bounding.len();
            if no_new_privileges == Some(true) {
                facts.note(format!("none held; {count} in the bounding set, out of reach under no-new-privileges"));
            } else {
                facts.open(format!("none held, but a set-user-id program could gain {count} from the bounding set"));
            }
        }
        if none_held && self.bounding.is_empty() && self.inheritable.is_empty() && self.ambient.is_empty() {
            facts.good("none in any of the five sets");
        }
        facts.judge()
    }
}

/// The system-call filter of this process.
#[derive(Debug, Clone, Serialize)]
pub struct Seccomp {
    /// `disabled`, `strict` or `filter`; `None` when the kernel does not say.
    pub mode: Option<&'static str>,
    /// How many filters are installed; `None` before Linux 5.9.
    pub filters: Option<u32>,
}

impl Seccomp {
    pub(crate) fn new(status: &Status) -> Self {
        let mode = status.seccomp_mode.and_then(|mode| ["disabled", "strict", "filter"].get(mode as usize).copied());
        Self { mode, filters: status.seccomp_filters }
    }

    pub(crate) fn judge(&self) -> Judgement {
        let mut facts = Facts::default();
        match (self.mode, self.filters) {
            (Some("filter"), Some(count)) => {
                facts.good(format!("system calls are filtered ({count} filter{})", if count == 1 { "" } else { "s" }));
            }
            (Some("filter" | "strict"), _) => facts.good("system calls are filtered"),
            (Some(_), _) => {
                facts.open("no system-call filter: the whole kernel interface is reachable");
            }
            (None, _) => facts.note("the kernel does not say whether system calls are filtered"),
        }
        facts.judge()
    }
}

/// Judges the no-new-privileges bit.
pub(crate) fn judge_no_new_privileges(set: Option<bool>) -> Judgement {
    let mut facts = Facts::default();
    match set {
        Some(true) => facts.good("set: a set-user-id program gains nothing"),
        Some(false) => facts.open("not set: a set-user-id program gains its owner's rights"),
        None => facts.note("the kernel does not say"),
    }
    facts.judge()
}
