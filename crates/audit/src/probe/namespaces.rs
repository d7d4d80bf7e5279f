//! Which namespaces are the container's own and which are the initial ones of the kernel.
//!
//! The numbers of the initial namespaces are part of the kernel's interface (`include/linux/proc_ns.h`, and since 6.18
//! `include/uapi/linux/nsfs.h`). For network and mount namespaces older kernels hand out a number at boot, so other
//! evidence is read there.

use serde::Serialize;

use super::source::Source;
use super::status::Status;
use super::verdict::{Facts, Judgement, listed};

/// Number of the first namespace that is made at run time (`PROC_DYNAMIC_FIRST`).
const FIRST_DYNAMIC: u32 = 0xF000_0000;

/// From this kernel on, all initial namespaces have fixed numbers.
const ALL_FIXED_SINCE: (u32, u32) = (6, 18);

/// A kind of namespace: its name, its link in `/proc/self/ns`, the initial one's number, and whether that number was fixed from
/// the start.
const KINDS: [(&str, &str, u32, bool); 8] = [
    ("user", "user", 0xEFFF_FFFD, true),
    ("mount", "mnt", 0xEFFF_FFF8, false),
    ("pid", "pid", 0xEFFF_FFFC, true),
    ("network", "net", 0xEFFF_FFF9, false),
    ("ipc", "ipc", 0xEFFF_FFFF, true),
    ("uts", "uts", 0xEFFF_FFFE, true),
    ("cgroup", "cgroup", 0xEFFF_FFFB, true),
    ("time", "time", 0xEFFF_FFFA, true),
];

/// One namespace of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Namespace {
    /// Kind, in Docker's words: user, mount, pid, network, ipc, uts, cgroup, time.
    pub kind: &'static str,
    /// The kernel's number for it.
    pub inode: Option<u32>,
    /// Whether it is the initial one, the host's; `None` when that can't be told from inside.
    pub initial: Option<bool>,
    /// How that is known.
    pub evidence: String,
}

/// What can be seen of namespaces.
#[derive(Debug, Clone, Serialize)]
pub struct Namespaces {
    /// One entry for each kind that the kernel has.
    pub kinds: Vec<Namespace>,
    /// Process ids of the probe, from the PID namespace that `/proc` shows to its own.
    pub pids: Vec<u32>,
    /// How many processes `/proc` shows.
    pub visible_processes: usize,
}

/// Evidence beside the numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// Major and minor of the kernel's release.
    pub(crate) kernel: Option<(u32, u32)>,
    /// Whether `/proc/sys/net/core` holds what only the initial network namespace has.
    pub(crate) net_core: Option<bool>,
    /// Whether a network interface is backed by a device of the machine.
    pub(crate) hardware_interface: bool,
}

impl Namespaces {
    pub(crate) fn read(source: &Source, status: &Status) -> Self {
        let evidence = Evidence {
            kernel: source.line("/proc/sys/kernel/osrelease").and_then(|release| parse_release(&release)),
            net_core: source
                .exists("/proc/sys/net/core/somaxconn")
                .then(|| source.exists("/proc/sys/net/core/netdev_max_backlog")),
            hardware_interface: source
                .names("/sys/class/net")
                .iter()
                .any(|name| source.exists(&format!("/sys/class/net/{name}/device"))),
        };
        let kinds = KINDS
            .iter()
            .filter_map(|(kind, link, number, fixed)| {
                let path = format!("/proc/self/ns/{link}");
                let inode = source.link(&path).and_then(|text| parse_link(&text));
                if inode.is_none() && !source.exists("/proc/self/ns/user") && !source.exists("/proc/self/ns/mnt") {
                    return Some(unseen(kind));
                }
                // A kernel without this kind of namespace has no link: there is nothing to judge.
                let inode = inode?;
                Some(decide(kind, inode, *number, *fixed, &evidence))
            })
            .collect();
        let visible = source.names("/proc").iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())).count();
        Self { kinds, pids: status.pids.clone(), visible_processes: visible }
    }

    /// The namespace of a kind.
    pub(crate) fn kind(&self, kind: &str) -> Option<&Namespace> {
        self.kinds.iter().find(|namespace| namespace.kind == kind)
    }

    pub(crate) fn judge(&self) -> Judgement {
        let mut facts = Facts::default();
        let having = |state: Option<bool>| -> Vec<&str> {
            // A time namespace only gives clocks of one's own: sharing the host's is no opening.
            self.kinds.iter().filter(|n| n.initial == state && n.kind != "time").map(|n| n.kind).collect()
        };
        let shared = having(Some(true));
        let (grave, minor): (Vec<&str>, Vec<&str>) =
            shared.iter().partition(|kind| ["mount", "pid", "network", "ipc"].contains(kind));
        if !grave.is_empty() {
            facts.open(format!("shares the host's {}", listed(&grave, 8)));
        }
        if !minor.is_empty() {
            facts.note(format!("shares the host's {}", listed(&minor, 8)));
        }
        let unknown = having(None);
        if !unknown.is_empty() {
            facts.note(format!("can't be told from inside: {}", listed(&unknown, 8)));
        }
        if self.pids.len() > 1 {
            facts.note("/proc shows an outer PID namespace");
        }
        let own = having(Some(false));
        if !own.is_empty() {
            facts.good(format!("own {}", listed(&own, 8)));
        }
        facts.judge()
    }
}

fn unseen(kind: &'static str) -> Namespace {
    Namespace { kind, inode: None, initial: None, evidence: "/proc/self/ns can't be read".to_owned() }
}

/// Decides whether the namespace with number `inode` is the initial one.
fn decide(kind: &'static str, inode: u32, number: u32, fixed: bool, evidence: &Evidence) -> Namespace {
    let answer = |initial: Option<bool>, words: &str| Namespace {
        kind,
        inode: Some(inode),
        initial,
        evidence: words.to_owned(),
    };
    if inode == number {
        return answer(Some(true), "has the number of the initial one");
    }
    if fixed || evidence.kernel.is_some_and(|kernel| kernel >= ALL_FIXED_SINCE) {
        return answer(Some(false), "has not the number of the initial one");
    }
    match kind {
        "network" => match evidence.net_core {
            Some(true) => answer(Some(true), "/proc/sys/net/core has what only the initial one has"),
            Some(false) => answer(Some(false), "/proc/sys/net/core lacks what the initial one has"),
            None if evidence.hardware_interface => answer(None, "has an interface of the machine's hardware"),
            None => answer(None, "this kernel numbers it at boot"),
        },
        // Kernels before 6.18 make the initial mount namespace first or second of all.
        _ if inode <= FIRST_DYNAMIC + 1 => answer(Some(true), "has the number that kernels give at boot"),
        _ => answer(Some(false), "was made after the kernel had booted"),
    }
}

/// The number in `kind:[4026531837]`.
fn parse_link(text: &str) -> Option<u32> {
    let (_, number) = text.split_once(":[")?;
    number.strip_suffix(']')?.parse().ok()
}

/// Major and minor of a release such as `6.1.0-25-amd64`.
pub(crate) fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Verdict;
    use super::*;

    fn namespaces(kinds: Vec<Namespace>) -> Namespaces {
        Namespaces { kinds, pids: vec![1], visible_processes: 1 }
    }

    fn all(numbers: [u32; 8], evidence: &Evidence) -> Namespaces {
        namespaces(
            KINDS
                .iter()
                .zip(numbers)
                .map(|((kind, _, number, fixed), inode)| decide(kind, inode, *number, *fixed, evidence))
                .collect(),
        )
    }

    const OWN: [u32; 8] = [4_026_532_300; 8];

    #[test]
    fn links_and_releases_are_parsed() {
        assert_eq!(parse_link("user:[4026531837]"), Some(4_026_531_837));
        assert_eq!(parse_link("user:[4026531837"), None);
        assert_eq!(parse_link("user:[x]"), None);
        assert_eq!(parse_release("6.1.0-25-amd64"), Some((6, 1)));
        assert_eq!(parse_release("5.15-generic"), Some((5, 15)));
        assert_eq!(parse_release("linux"), None);
    }

    #[test]
    fn the_initial_numbers_are_the_hosts() {
        let evidence = Evidence { kernel: Some((6, 18)), ..Evidence::default() };
        let host = all(KINDS.map(|kind| kind.2), &evidence);
        assert!(host.kinds.iter().all(|n| n.initial == Some(true)));
        assert_eq!(host.judge().verdict, Verdict::Open);
        let own = all(OWN, &evidence);
        assert!(own.kinds.iter().all(|n| n.initial == Some(false)));
        assert_eq!(own.judge().verdict, Verdict::Good);
    }

    #[test]
    fn an_older_kernel_is_judged_by_evidence() {
        let mut evidence = Evidence { kernel: Some((6, 1)), net_core: Some(true), hardware_interface: false };
        let seen = all(OWN, &evidence);
        assert_eq!(seen.kind("network").unwrap().initial, Some(true));
        assert_eq!(seen.kind("mount").unwrap().initial, Some(false));
        evidence.net_core = Some(false);
        assert_eq!(all(OWN, &evidence).kind("network").unwrap().initial, Some(false));
        evidence.net_core = None;
        assert_eq!(all(OWN, &evidence).kind("network").unwrap().initial, None);
        assert_eq!(decide("mount", 4_026_531_841, 0xEFFF_FFF8, false, &evidence).initial, Some(true));
    }

    #[test]
    fn one_shared_namespace_is_an_opening() {
        let evidence = Evidence { kernel: Some((6, 18)), ..Evidence::default() };
        let mut numbers = OWN;
        numbers[2] = 0xEFFF_FFFC;
        let judgement = all(numbers, &evidence).judge();
        assert_eq!(judgement.verdict, Verdict::Open);
        assert!(judgement.why.starts_with("shares the host's pid;"), "{}", judgement.why);
    }

    #[test]
    fn a_shared_time_namespace_is_no_opening() {
        let evidence = Evidence { kernel: Some((6, 18)), ..Evidence::default() };
        let mut numbers = OWN;
        numbers[7] = 0xEFFF_FFFA;
        assert_eq!(all(numbers, &evidence).judge().verdict, Verdict::Good);
    }
}
