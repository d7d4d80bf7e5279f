//! The cgroup limits as they can be seen from inside, on v1, v2 and hybrid hosts.

use serde::Serialize;

use super::mounts::Mount;
use super::source::Source;
use super::verdict::{Facts, Judgement};

/// How many directories are looked at from the process's cgroup upwards.
const MAX_DEPTH: usize = 32;

/// v1 says "no limit" by a number near the largest that is a multiple of a page.
const V1_UNLIMITED: u64 = 1 << 62;

/// A limit: a number, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// No limit in any cgroup that can be seen.
    Max,
    /// The tightest limit that can be seen.
    At(u64),
}

impl Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Max => serializer.serialize_str("max"),
            Self::At(number) => serializer.serialize_u64(*number),
        }
    }
}

/// What can be seen of cgroups. `None`: it can't be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cgroup {
    /// `v1`, `v2`, `hybrid`, by what the kernel has; `None` when `/proc/self/cgroup` can't be read.
    pub version: Option<&'static str>,
    /// The lines of `/proc/self/cgroup`: controllers and path.
    pub paths: Vec<String>,
    /// Whether a cgroup file system is mounted.
    pub mounted: bool,
    /// Bytes.
    pub memory: Option<Limit>,
    /// Bytes of swap beside the memory.
    pub swap: Option<Limit>,
    /// Processes and threads.
    pub pids: Option<Limit>,
    /// Thousandths of a CPU.
    pub millicpus: Option<Limit>,
    /// The CPUs that may be used.
    pub cpuset: Option<String>,
}

/// The membership of a process in one hierarchy, from `/proc/PID/cgroup`.
#[derive(Debug, PartialEq, Eq)]
struct Membership<'a> {
    /// Empty for v2.
    controllers: Vec<&'a str>,
    path: &'a str,
}

fn parse_memberships(text: &str) -> Vec<Membership<'_>> {
    text.lines()
        .take(64)
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':');
            fields.next()?.parse::<u32>().ok()?;
            let controllers = fields.next()?.split(',').filter(|name| !name.is_empty()).collect();
            Some(Membership { controllers, path: fields.next()? })
        })
        .collect()
}

impl Cgroup {
    pub(crate) fn read(source: &Source, mounts: &[Mount]) -> Self {
        let Some(text) = source.text("/proc/self/cgroup") else {
            return Self::default();
        };
        let memberships = parse_memberships(&text);
        let unified = memberships.iter().any(|member| member.controllers.is_empty());
        let legacy = memberships.iter().any(|member| !member.controllers.is_empty());
        let mut cgroup = Self {
            version: match (unified, legacy) {
                (true, true) => Some("hybrid"),
                (true, false) => Some("v2"),
                (false, true) => Some("v1"),
                (false, false) => None,
            },
            paths: text.lines().take(64).map(ToOwned::to_owned).collect(),
            mounted: mounts.iter().any(|mount| mount.kind == "cgroup" || mount.kind == "cgroup2"),
            ..Self::default()
        };
        for membership in &memberships {
            let directories = directories(mounts, membership);
            for directory in &directories {
                cgroup.add(source, directory);
            }
            let seen = directories.first().is_some_and(|directory| source.exists(&format!("{directory}/cgroup.procs")));
            if seen {
                cgroup.add_absent(&membership.controllers, legacy);
            }
        }
        cgroup
    }

    /// A hierarchy that can be seen and has no file for a limit, in any directory, sets none: so it is in the root cgroup.
    fn add_absent(&mut self, controllers: &[&str], legacy: bool) {
        let rules = |controller: &str| controllers.contains(&controller) || (controllers.is_empty() && !legacy);
        for (controller, limit) in
            [("memory", &mut self.memory), ("pids", &mut self.pids), ("cpu", &mut self.millicpus)]
        {
            if rules(controller) {
                limit.get_or_insert(Limit::Max);
            }
        }
    }

    /// Takes the limits of one directory in, where they are tighter than what is known.
    fn add(&mut self, source: &Source, directory: &str) {
        let file = |name: &str| source.line(&format!("{directory}/{name}"));
        tighten(&mut self.memory, file("memory.max").and_then(|text| parse_max(&text)));
        tighten(&mut self.swap, file("memory.swap.max").and_then(|text| parse_max(&text)));
        tighten(&mut self.pids, file("pids.max").and_then(|text| parse_max(&text)));
        tighten(&mut self.millicpus, file("cpu.max").and_then(|text| parse_cpu_max(&text)));
        let memory = file("memory.limit_in_bytes").and_then(|text| parse_v1(&text));
        tighten(&mut self.memory, memory);
        let both = file("memory.memsw.limit_in_bytes").and_then(|text| parse_v1(&text));
        tighten(&mut self.swap, both.zip(memory).map(|(both, memory)| swap_of(both, memory)));
        let quota = file("cpu.cfs_quota_us").zip(file("cpu.cfs_period_us"));
        tighten(&mut self.millicpus, quota.and_then(|(quota, period)| parse_cfs(&quota, &period)));
        if self.cpuset.is_none() {
            self.cpuset = file("cpuset.cpus.effective").or_else(|| file("cpuset.effective_cpus"));
        }
    }

    pub(crate) fn judge(&self) -> Judgement {
        let mut facts = Facts::default();
        if !self.mounted {
            facts.note("no cgroup file system is mounted: limits can't be seen from inside");
            return facts.judge();
        }
        match self.memory {
            Some(Limit::At(bytes)) => facts.good(format!("memory {}", mebibytes(bytes))),
            Some(Limit::Max) => facts.open("no memory limit: a memory hog hurts the host"),
            None => facts.note("the memory limit can't be seen"),
        }
        match (self.swap, self.memory) {
            (Some(Limit::At(0)), _) => facts.good("no swap"),
            (Some(Limit::At(bytes)), _) => facts.good(format!("swap {}", mebibytes(bytes))),
            (Some(Limit::Max), Some(Limit::At(_))) => facts.note("swap is not limited"),
            _ => {}
        }
        match self.pids {
            Some(Limit::At(count)) => facts.good(format!("pids {count}")),
            Some(Limit::Max) => facts.open("no limit on processes: a fork bomb hurts the host"),
            None => facts.note("the limit on processes can't be seen"),
        }
        match self.millicpus {
            Some(Limit::At(milli)) => {
                facts.good(format!("{}.{:02} CPUs", milli / 1000, milli % 1000 / 10));
            }
            Some(Limit::Max) => facts.note("no CPU ceiling"),
            None => facts.note("the CPU ceiling can't be seen"),
        }
        facts.judge()
    }
}

/// The directories of a membership, from the process's own cgroup up to the root of what is mounted.
fn directories(mounts: &[Mount], membership: &Membership<'_>) -> Vec<String> {
    let Some(mount) = mounts.iter().rev().find(|mount| holds(mount, membership)) else {
        return Vec::new();
    };
    // Without a cgroup namespace the mount shows a part of the tree, and the path starts with that part's name.
    let below = membership.path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or_default();
    if below.split('/').any(|part| part == "..") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut path = below.trim_end_matches('/');
    while found.len() < MAX_DEPTH {
        found.push(format!("{}{path}", mount.target.trim_end_matches('/')));
        let Some((parent, _)) = path.rsplit_once('/') else {
            break;
        };
        path = parent;
    }
    found
}

/// Whether a mount is that of a membership's hierarchy.
fn holds(mount: &Mount, membership: &Membership<'_>) -> bool {
    if membership.controllers.is_empty() {
        return mount.kind == "cgroup2";
    }
    let name = mount.target.rsplit('/').next().unwrap_or_default();
    mount.kind == "cgroup"
        && membership.controllers.iter().any(|controller| name.split(',').any(|part| part == *controller))
}

fn tighten(known: &mut Option<Limit>, seen: Option<Limit>) {
    *known = match (*known, seen) {
        (Some(Limit::At(a)), Some(Limit::At(b))) => Some(Limit::At(a.min(b))),
        (Some(Limit::At(a)), _) => Some(Limit::At(a)),
        (known, None) => known,
        (_, seen) => seen,
    };
}

fn parse_max(text: &str) -> Option<Limit> {
    if text == "max" { Some(Limit::Max) } else { text.parse().ok().map(Limit::At) }
}

fn parse_v1(text: &str) -> Option<Limit> {
    let number: u64 = text.parse().ok()?;
    Some(if number >= V1_UNLIMITED { Limit::Max } else { Limit::At(number) })
}

/// v1 limits memory and swap together.
fn swap_of(both: Limit, memory: Limit) -> Limit {
    match (both, memory) {
        (Limit::At(both), Limit::At(memory)) => Limit::At(both.saturating_sub(memory)),
        (Limit::At(both), Limit::Max) => Limit::At(both),
        (Limit::Max, _) => Limit::Max,
    }
}

fn parse_cpu_max(text: &str) -> Option<Limit> {
    let (quota, period) = text.split_once(' ')?;
    if quota == "max" { Some(Limit::Max) } else { parse_cfs(quota, period) }
}

fn parse_cfs(quota: &str, period: &str) -> Option<Limit> {
    if quota == "-1" {
        return Some(Limit::Max);
    }
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    Some(Limit::At(quota.checked_mul(1000)?.checked_div(period)?))
}

/// A number of bytes in words: whole MiB where it is one.
fn mebibytes(bytes: u64) -> String {
    if bytes >= 1 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}

#[cfg(test)]
mod tests {
    use super::super::mounts;
    use super::super::verdict::Verdict;
    use super::*;
    use std::fs;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let source = Source::new(dir.path());
        (dir, source)
    }

    #[test]
    fn v2_takes_the_tightest_of_all_levels() {
        let (_dir, source) = tree(&[
            ("proc/self/cgroup", "0::/inner/most\n"),
            ("sys/fs/cgroup/memory.max", "536870912\n"),
            ("sys/fs/cgroup/pids.max", "max\n"),
            ("sys/fs/cgroup/cpu.max", "180000 100000\n"),
            ("sys/fs/cgroup/memory.swap.max", "0\n"),
            ("sys/fs/cgroup/inner/memory.max", "max\n"),
            ("sys/fs/cgroup/inner/most/pids.max", "512\n"),
        ]);
        let mounts = mounts::parse("1 0 0:1 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        let cgroup = Cgroup::read(&source, &mounts);
        assert_eq!(cgroup.version, Some("v2"));
        assert_eq!(cgroup.memory, Some(Limit::At(512 << 20)));
        assert_eq!(cgroup.swap, Some(Limit::At(0)));
        assert_eq!(cgroup.pids, Some(Limit::At(512)));
        assert_eq!(cgroup.millicpus, Some(Limit::At(1800)));
        let judgement = cgroup.judge();
        assert_eq!(judgement.verdict, Verdict::Good);
        assert_eq!(judgement.why, "memory 512 MiB; no swap; pids 512; 1.80 CPUs");
    }

    #[test]
    fn v1_and_hybrid_without_a_cgroup_namespace() {
        let (_dir, source) = tree(&[
            (
                "proc/self/cgroup",
                "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n2:pids:/docker/abc\n0::/docker/abc\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
            ("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "536870912\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/pids/pids.max", "max\n"),
        ]);
        let mounts = mounts::parse(concat!(
            "1 0 0:1 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            "2 0 0:2 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n",
            "3 0 0:3 /docker/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n",
        ));
        let cgroup = Cgroup::read(&source, &mounts);
        assert_eq!(cgroup.version, Some("hybrid"));
        assert_eq!(cgroup.memory, Some(Limit::At(256 << 20)));
        assert_eq!(cgroup.swap, Some(Limit::At(256 << 20)));
        assert_eq!(cgroup.pids, Some(Limit::Max));
        assert_eq!(cgroup.millicpus, Some(Limit::Max));
        assert_eq!(cgroup.judge().verdict, Verdict::Open);
    }

    #[test]
    fn a_path_above_the_namespace_is_not_followed() {
        let mounts = mounts::parse("1 0 0:1 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        let membership = Membership { controllers: vec![], path: "/../../other" };
        assert_eq!(directories(&mounts, &membership), Vec::<String>::new());
    }

    #[test]
    fn numbers_are_parsed_strictly() {
        assert_eq!(parse_v1("9223372036854771712"), Some(Limit::Max));
        assert_eq!(parse_v1("x"), None);
        assert_eq!(parse_cfs("100", "0"), None);
        assert_eq!(parse_cpu_max("max 100000"), Some(Limit::Max));
        assert_eq!(parse_max("-1"), None);
        assert_eq!(parse_memberships("x:y\n1:cpu:/a:b\n").len(), 1);
        assert_eq!(parse_memberships("1:cpu:/a:b\n")[0].path, "/a:b");
    }

    #[test]
    fn the_root_cgroup_has_no_limit() {
        let (_dir, source) = tree(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cgroup.procs", "1\n")]);
        let mounts = mounts::parse("1 0 0:1 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
        let cgroup = Cgroup::read(&source, &mounts);
        assert_eq!(cgroup.pids, Some(Limit::Max));
        assert_eq!(cgroup.memory, Some(Limit::Max));
        assert_eq!(cgroup.judge().verdict, Verdict::Open);
    }

    #[test]
    fn nothing_mounted_is_a_note() {
        let (_dir, source) = tree(&[("proc/self/cgroup", "0::/\n")]);
        let cgroup = Cgroup::read(&source, &[]);
        assert!(!cgroup.mounted);
        assert_eq!(cgroup.judge().verdict, Verdict::Note);
    }
}
