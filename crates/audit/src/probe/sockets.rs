//! Unix sockets that can be reached: those with a path, found by a bounded walk, and the abstract ones of the network namespace.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::mounts::Mount;
use super::source::Source;
use super::verdict::{Facts, Judgement, listed};

/// The most directory entries that the walk looks at, the deepest directory, and the longest time that it takes.
const MAX_ENTRIES: usize = 50_000;
const MAX_DEPTH: usize = 12;
const MAX_TIME: Duration = Duration::from_millis(500);

/// The most sockets of each kind that are reported.
const MAX_SOCKETS: usize = 1024;

/// Where the sockets of container engines and of the host's own managers lie.
const ENGINES: &[&str] = &[
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/buildkit/buildkitd.sock",
    "/run/casemate/casemate.sock",
    "/run/dockershim.sock",
    "/run/libvirt/libvirt-sock",
    "/run/systemd/private",
    "/run/dbus/system_bus_socket",
    "/var/run/dbus/system_bus_socket",
    "/run/snapd.socket",
    "/run/lxd/unix.socket",
    "/var/lib/lxd/unix.socket",
    "/var/lib/incus/unix.socket",
];

/// File names of engine sockets, wherever they are mounted.
const ENGINE_NAMES: &[&str] = &[
    "docker.sock",
    "containerd.sock",
    "podman.sock",
    "crio.sock",
    "buildkitd.sock",
    "casemate.sock",
    "balena-engine.sock",
];

/// A socket with a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PathSocket {
    /// Where it is.
    pub path: String,
    /// Whether this process may connect, by its permissions.
    pub connectable: bool,
    /// Whether it is a container engine's or a manager of the host's.
    pub engine: bool,
}

/// What sockets can be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sockets {
    /// Sockets with a path.
    pub paths: Vec<PathSocket>,
    /// Names of abstract sockets that are listened on in this network namespace.
    pub abstract_names: Vec<String>,
    /// Whether the walk saw everything; if not, more sockets may be reachable.
    pub complete: bool,
}

impl Sockets {
    pub(crate) fn read(source: &Source, mounts: &[Mount]) -> Self {
        let mut found: Vec<PathSocket> = ENGINES.iter().filter_map(|path| socket(source, path)).collect();
        let complete = walk(source, mounts, &mut found);
        found.sort_unstable();
        found.dedup();
        let abstract_names = source.text("/proc/net/unix").map(|text| parse_abstract(&text)).unwrap_or_default();
        Self { paths: found, abstract_names, complete }
    }

    /// Judged with whether the network namespace is the host's.
    pub(crate) fn judge(&self, host_network: Option<bool>) -> Judgement {
        let mut facts = Facts::default();
        let (engines, others): (Vec<&PathSocket>, Vec<&PathSocket>) =
            self.paths.iter().filter(|socket| socket.connectable).partition(|socket| socket.engine);
        let names = |sockets: &[&PathSocket]| sockets.iter().map(|socket| socket.path.clone()).collect::<Vec<_>>();
        if !engines.is_empty() {
            facts.open(format!("an engine's or manager's socket is in reach: {}", listed(&names(&engines), 3)));
        }
        if !others.is_empty() {
            facts.note(format!("sockets in reach: {}", listed(&names(&others), 4)));
        }
        if !self.abstract_names.is_empty() {
            let words = format!("abstract sockets in reach: {}", listed(&self.abstract_names, 4));
            if host_network == Some(true) {
                facts.open(words);
            } else {
                facts.note(words);
            }
        }
        if !self.complete {
            facts.note("the file system is too large to have been searched whole");
        }
        if self.paths.iter().all(|socket| !socket.connectable) && self.abstract_names.is_empty() {
            facts.good("no socket of anyone else's is in reach");
        }
        facts.judge()
    }
}

/// The socket at a path, if there is one.
fn socket(source: &Source, path: &str) -> Option<PathSocket> {
    let metadata = fs::metadata(source.path(path)).ok()?;
    metadata.file_type().is_socket().then(|| describe(source, path.to_owned()))
}

fn describe(source: &Source, path: String) -> PathSocket {
    let name = path.rsplit('/').next().unwrap_or_default();
    let engine = ENGINES.contains(&path.as_str()) || ENGINE_NAMES.contains(&name);
    // connect(2) asks for the right to write.
    PathSocket { connectable: source.writable(&path), engine, path }
}

/// Walks breadth first from every mount that can hold sockets; says whether it saw everything.
fn walk(source: &Source, mounts: &[Mount], found: &mut Vec<PathSocket>) -> bool {
    let deadline = Instant::now() + MAX_TIME;
    // What is mounted into the container is looked at before its own root: sockets from outside come that way.
    let mut queue: VecDeque<(String, usize)> = ["/run", "/var/run", "/tmp"].map(|path| (path.to_owned(), 1)).into();
    queue.extend(
        mounts.iter().filter(|mount| can_hold_sockets(mount) && mount.target != "/").map(|m| (m.target.clone(), 1)),
    );
    queue.push_back((String::new(), 0));
    let skipped: HashSet<&str> =
        mounts.iter().filter(|mount| !can_hold_sockets(mount)).map(|mount| mount.target.as_str()).collect();
    let mut seen: HashSet<String> = HashSet::new();
    let (mut looked, mut complete) = (0usize, true);
    while let Some((directory, depth)) = queue.pop_front() {
        if !seen.insert(directory.clone()) || skipped.contains(directory.as_str()) || is_kernels(&directory) {
            continue;
        }
        if depth > MAX_DEPTH || looked >= MAX_ENTRIES || found.len() >= MAX_SOCKETS || Instant::now() >= deadline {
            complete = false;
            continue;
        }
        let at = if directory.is_empty() { "/" } else { &directory };
        if let Ok(metadata) = fs::metadata(source.path(at))
            && metadata.file_type().is_socket()
        {
            found.push(describe(source, directory.clone()));
            continue;
        }
        let Ok(entries) = fs::read_dir(source.path(at)) else {
            continue;
        };
        for entry in entries.flatten() {
            looked += 1;
            if looked >= MAX_ENTRIES {
                complete = false;
                break;
            }
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let path = format!("{directory}/{}", entry.file_name().to_string_lossy());
            if kind.is_socket() {
                found.push(describe(source, path));
            } else if kind.is_dir() {
                queue.push_back((path, depth + 1));
            }
        }
    }
    complete
}

/// Directories of the kernel's own file systems, skipped even where no mount table could be read.
fn is_kernels(directory: &str) -> bool {
    ["/proc", "/sys"].contains(&directory)
}

fn can_hold_sockets(mount: &Mount) -> bool {
    !["proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "securityfs", "debugfs", "tracefs", "bpf"]
        .contains(&mount.kind.as_str())
}

/// The names of listening abstract sockets in `/proc/net/unix`.
fn parse_abstract(text: &str) -> Vec<String> {
    let mut names: Vec<String> = text
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
            let path = fields.nth(3)?;
            // __SO_ACCEPTCON: somebody listens.
            (path.starts_with('@') && flags & 0x1_0000 != 0).then(|| path.to_owned())
        })
        .take(MAX_SOCKETS)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Verdict;
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn listening_abstract_sockets_are_named() {
        let text = concat!(
            "Num       RefCount Protocol Flags    Type St Inode Path\n",
            "0000000000000000: 00000002 00000000 00010000 0001 01 22522 @/tmp/.X11-unix/X0\n",
            "0000000000000000: 00000003 00000000 00000000 0001 03 22523 @not-listening\n",
            "0000000000000000: 00000002 00000000 00010000 0001 01 22524 /run/path\n",
            "0000000000000000: 00000002 00000000 00010000 0001 01 22525\n",
            "short\n",
        );
        assert_eq!(parse_abstract(text), ["@/tmp/.X11-unix/X0"]);
    }

    #[test]
    fn the_walk_finds_sockets_and_knows_an_engines() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("run")).unwrap();
        fs::create_dir_all(dir.path().join("srv/deep/er")).unwrap();
        let _engine = UnixListener::bind(dir.path().join("run/docker.sock")).unwrap();
        let _other = UnixListener::bind(dir.path().join("srv/deep/er/app")).unwrap();
        let sockets = Sockets::read(&Source::new(dir.path()), &[]);
        let paths: Vec<(&str, bool)> = sockets.paths.iter().map(|s| (s.path.as_str(), s.engine)).collect();
        assert_eq!(paths, [("/run/docker.sock", true), ("/srv/deep/er/app", false)]);
        assert!(sockets.complete);
        assert_eq!(sockets.judge(Some(false)).verdict, Verdict::Open);
    }

    #[test]
    fn none_is_good_and_abstract_ones_of_the_host_are_open() {
        let mut sockets = Sockets { complete: true, ..Sockets::default() };
        assert_eq!(sockets.judge(Some(false)).verdict, Verdict::Good);
        sockets.abstract_names.push("@shim".to_owned());
        assert_eq!(sockets.judge(Some(false)).verdict, Verdict::Note);
        assert_eq!(sockets.judge(Some(true)).verdict, Verdict::Open);
    }
}
