//! Which host ids a container's ids are: one aligned range of 65 536 for each container, from a pool that nobody else uses.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Ids in one range; with fewer, `nobody` (65534) would not be mapped.
pub(crate) const RANGE_SIZE: u32 = 65_536;

/// The first id of the pool that is used when the host says nothing: `0x7000_0000`, in the part of the id space that systemd's
/// `UIDS-GIDS.md` documents as unused. It ends before `0x7FFD_0000`, so that the last 16-bit block and the sign bit are never near.
const POOL_START: u32 = 0x7000_0000;
const POOL_SLOTS: u32 = 4_093;

/// Users whose lines in `/etc/subuid` and `/etc/subgid` are a pool for containers.
const POOL_USERS: [&str; 2] = ["casemate", "containers"];

/// The host ids that a container's ids 0..65536 are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdRange {
    /// Host user id of the container's user 0.
    pub uid: u32,
    /// Host group id of the container's group 0.
    pub gid: u32,
    /// How many ids follow, the first included.
    pub size: u32,
}

/// The slots that a container can get a range from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    uid: u32,
    gid: u32,
    slots: u32,
    excluded: Vec<(u32, u32)>,
    source: &'static str,
}

/// One line of `/etc/subuid` or `/etc/subgid`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Delegation {
    user: String,
    start: u32,
    count: u32,
}

impl Pool {
    /// The host's pool: what `/etc/subuid` and `/etc/subgid` give to the user `casemate` or `containers`, if both do; else
    /// the default range without what they give to anybody.
    pub(crate) fn of_host() -> Result<Self> {
        let uids = read_delegations(Path::new("/etc/subuid"))?;
        let gids = read_delegations(Path::new("/etc/subgid"))?;
        Ok(Self::from_delegations(&uids, &gids))
    }

    fn from_delegations(uids: &[Delegation], gids: &[Delegation]) -> Self {
        let large = |list: &[Delegation], user: &str| {
            list.iter().find(|line| line.user == user && line.count >= RANGE_SIZE).cloned()
        };
        for user in POOL_USERS {
            if let (Some(uid), Some(gid)) = (large(uids, user), large(gids, user)) {
                return Self {
                    uid: uid.start,
                    gid: gid.start,
                    slots: uid.count.min(gid.count) / RANGE_SIZE,
                    excluded: Vec::new(),
                    source: "/etc/subuid and /etc/subgid",
                };
            }
        }
        let excluded =
            uids.iter().chain(gids).map(|line| (line.start, line.start.saturating_add(line.count))).collect();
        Self { uid: POOL_START, gid: POOL_START, slots: POOL_SLOTS, excluded, source: "the default pool" }
    }

    /// All ranges of the pool, beginning with the one at `first`, so that two containers seldom try the same.
    pub(crate) fn ranges_from(&self, first: u32) -> impl Iterator<Item = IdRange> + '_ {
        (0..self.slots).filter_map(move |step| {
            let slot = (first % self.slots.max(1) + step) % self.slots.max(1);
            let uid = self.uid.checked_add(slot.checked_mul(RANGE_SIZE)?)?;
            let gid = self.gid.checked_add(slot.checked_mul(RANGE_SIZE)?)?;
            let end = uid.checked_add(RANGE_SIZE)?;
            let taken = self.excluded.iter().any(|&(from, to)| from < end && uid < to);
            (!taken).then_some(IdRange { uid, gid, size: RANGE_SIZE })
        })
    }

    #[cfg(test)]
    pub(crate) fn of_one_slot(start: u32) -> Self {
        Self { uid: start, gid: start, slots: 1, excluded: Vec::new(), source: "a test" }
    }

    pub(crate) fn slots(&self) -> u32 {
        self.slots
    }

    pub(crate) fn source(&self) -> &'static str {
        self.source
    }
}

impl IdRange {
    /// The range that `--userns-remap=USER[:GROUP]` means: the first 65 536 subordinate ids of that user and group. `default`
    /// is Docker's word for its user `dockremap`.
    pub(crate) fn of_user(remap: &str) -> Result<Self> {
        let (user, group) = remap.split_once(':').unwrap_or((remap, remap));
        let (user, group) = if user == "default" { ("dockremap", "dockremap") } else { (user, group) };
        let find = |file: &'static str, name: &str| -> Result<u32> {
            read_delegations(Path::new(file))?
                .into_iter()
                .find(|line| line.user == name && line.count >= RANGE_SIZE)
                .map(|line| line.start)
                .ok_or_else(|| {
                    Error::invalid(
                        "--userns-remap",
                        remap,
                        format!(
                            "{file} gives '{name}' no range of {RANGE_SIZE} ids; add a line such as {name}:100000:65536"
                        ),
                    )
                })
        };
        Ok(Self { uid: find("/etc/subuid", user)?, gid: find("/etc/subgid", group)?, size: RANGE_SIZE })
    }

    /// The name of the claim on this range.
    pub(crate) fn claim_name(self) -> String {
        format!("{:08x}", self.uid)
    }
}

fn read_delegations(path: &Path) -> Result<Vec<Delegation>> {
    match crate::directories::read_optional(path) {
        Ok(content) => Ok(content.map_or_else(Vec::new, |bytes| parse_delegations(&bytes))),
        Err(source) => Err(Error::file("read", path)(source)),
    }
}

/// Lines that are not `user:start:count` with numbers are skipped, as newuidmap(1) does.
fn parse_delegations(content: &[u8]) -> Vec<Delegation> {
    String::from_utf8_lossy(content)
        .lines()
        .filter_map(|line| {
            let mut parts = line.trim().splitn(3, ':');
            let user = parts.next().filter(|user| !user.is_empty() && !user.starts_with('#'))?;
            let start = parts.next()?.parse().ok()?;
            let count = parts.next()?.parse().ok()?;
            Some(Delegation { user: user.to_owned(), start, count })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(subuid: &str, subgid: &str) -> Pool {
        Pool::from_delegations(&parse_delegations(subuid.as_bytes()), &parse_delegations(subgid.as_bytes()))
    }

    #[test]
    fn the_default_pool_is_aligned_and_inside_its_bounds() {
        let pool = pool("", "");
        let all: Vec<_> = pool.ranges_from(0).collect();
        assert_eq!(all.len(), 4093);
        assert!(
            all.iter().all(|range| range.uid % RANGE_SIZE == 0 && range.uid >= 0x7000_0000 && range.uid < 0x7FFD_0000)
        );
        assert_eq!(all[0].claim_name(), "70000000");
    }

    #[test]
    fn probing_starts_anywhere_and_visits_every_slot_once() {
        let pool = pool("", "");
        let mut all: Vec<_> = pool.ranges_from(4092).map(|range| range.uid).collect();
        assert_eq!(all[0], 0x7000_0000 + 4092 * RANGE_SIZE);
        assert_eq!(all[1], 0x7000_0000);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4093);
    }

    #[test]
    fn what_others_were_given_is_left_out() {
        // Overlaps slots 0 and 1; the gid line overlaps slot 3.
        let pool = pool("alice:1879048192:65537\n", "bob:1879244900:10\n");
        let all: Vec<_> = pool.ranges_from(0).map(|range| range.uid).collect();
        assert_eq!(all.len(), 4090);
        assert_eq!(all[0], 0x7000_0000 + 2 * RANGE_SIZE);
        assert_eq!(all[1], 0x7000_0000 + 4 * RANGE_SIZE);
    }

    #[test]
    fn a_delegated_range_replaces_the_default() {
        let pool = pool("casemate:100000:200000\n", "# x\ncasemate:500000:131072\nbroken\n");
        let all: Vec<_> = pool.ranges_from(1).collect();
        assert_eq!(
            all,
            [
                IdRange { uid: 165_536, gid: 565_536, size: RANGE_SIZE },
                IdRange { uid: 100_000, gid: 500_000, size: RANGE_SIZE }
            ]
        );
    }

    #[test]
    fn one_file_alone_delegates_nothing() {
        assert_eq!(pool("containers:100000:65536\n", "").ranges_from(0).next().unwrap().uid, 0x7000_0000);
    }

    #[test]
    fn ranges_that_would_overflow_are_not_offered() {
        let pool = pool("casemate:4294900000:65536\n", "casemate:4294900000:65536\n");
        assert_eq!(pool.ranges_from(0).count(), 1);
        let high = Pool { uid: u32::MAX - 10, gid: 0, slots: 1, excluded: Vec::new(), source: "test" };
        assert_eq!(high.ranges_from(0).count(), 0);
    }
}
