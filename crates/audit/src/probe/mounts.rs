//! `/proc/self/mountinfo`: what is mounted, what is writable, and what may be done there.

use serde::Serialize;

use super::source::Source;
use super::verdict::{Facts, Judgement, Verdict, listed};

/// The most mounts that are read; more than the kernel's own limit for a container of any sense (`fs.mount-max` is 100000).
const MAX_MOUNTS: usize = 20_000;

/// The longest line of mountinfo that is read.
const MAX_LINE: usize = 16 << 10;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// The kernel's number of the mount.
    pub id: u32,
    /// The number of the mount that it is mounted on.
    pub parent: u32,
    /// Device number, `major:minor`.
    pub device: String,
    /// Which directory of the file system is mounted.
    pub root: String,
    /// Where it is mounted.
    pub target: String,
    /// Type of the file system.
    pub kind: String,
    /// What is mounted, as whoever mounted it called it.
    pub source: String,
    /// Whether it may be written, as far as the mount and the file system go.
    pub writable: bool,
    /// Whether programs on it may be executed.
    pub exec: bool,
    /// Whether set-user-id bits count on it.
    pub suid: bool,
    /// Whether device nodes on it can be opened.
    pub dev: bool,
    /// Whether owners are shown through an id map of the mount's own.
    pub idmapped: bool,
    /// `shared`, `slave` or `private`.
    pub propagation: &'static str,
    /// The size limit of a tmpfs, as the kernel shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
}

/// Parses the text of `/proc/PID/mountinfo` (proc_pid_mountinfo(5)). Lines that are not well-formed are left out.
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter(|line| line.len() <= MAX_LINE).filter_map(parse_line).take(MAX_MOUNTS).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ');
    let id = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    let device = fields.next()?.to_owned();
    let root = unescape(fields.next()?);
    let target = unescape(fields.next()?);
    let options = fields.next()?;
    let propagation =
        fields.map(|tag| tag.split(':').next().unwrap_or_default()).fold("private", |found, tag| match tag {
            "shared" => "shared",
            "master" if found == "private" => "slave",
            _ => found,
        });
    let mut fields = file_system.split(' ');
    let kind = fields.next()?.to_owned();
    let source = unescape(fields.next()?);
    let super_options = fields.next().unwrap_or_default();
    let has = |option: &str| options.split(',').any(|given| given == option);
    Some(Mount {
        id,
        parent,
        device,
        root,
        target,
        writable: has("rw") && super_options.split(',').all(|option| option != "ro"),
        exec: !has("noexec"),
        suid: !has("nosuid"),
        dev: !has("nodev"),
        idmapped: has("idmapped"),
        propagation,
        size: super_options.split(',').find_map(|option| option.strip_prefix("size=")).map(ToOwned::to_owned),
        kind,
        source,
    })
}

/// Undoes the kernel's escapes: a backslash and three octal digits.
fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes
            .get(at + 1..at + 4)
            .filter(|digits| byte == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        if let Some(digits) = digits {
            let value = digits.iter().fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            plain.push(u8::try_from(value).unwrap_or(b'?'));
            at += 4;
        } else {
            plain.push(byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// The mount that a path lies on: of the mounts at the longest prefix of the path, the last one, which covers the others.
pub(crate) fn covering<'a>(mounts: &'a [Mount], path: &str) -> Option<&'a Mount> {
    mounts.iter().filter(|mount| lies_below(path, &mount.target)).max_by_key(|mount| mount.target.len())
}

fn lies_below(path: &str, target: &str) -> bool {
    target == "/" || path.strip_prefix(target).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// File systems that hold no data of anyone's: what can be written there is judged by other topics.
fn is_pseudo(kind: &str) -> bool {
    ["proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "devtmpfs", "securityfs", "debugfs", "tracefs", "bpf"]
        .contains(&kind)
}

/// Whether no later mount covers this one at the same place.
fn is_topmost(mounts: &[Mount], mount: &Mount) -> bool {
    covering(mounts, &mount.target).is_some_and(|covering| covering.id == mount.id)
}

/// Whether a mount is a place for data: not the root, not a device node, not a mask over something of the kernel's.
fn holds_data(mount: &Mount) -> bool {
    let kernels = ["/proc", "/sys"].iter().any(|directory| lies_below(&mount.target, directory));
    mount.target != "/" && !kernels && !is_pseudo(&mount.kind) && !is_standard_device(&mount.target)
}

/// The device nodes that every engine binds into `/dev` one by one.
fn is_standard_device(target: &str) -> bool {
    ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"]
        .iter()
        .any(|name| target.strip_prefix("/dev/") == Some(*name))
}

/// Judges what is mounted.
pub(crate) fn judge(mounts: &[Mount], source: &Source) -> Judgement {
    let mut facts = Facts::default();
    if mounts.is_empty() {
        return facts.judge();
    }
    match covering(mounts, "/") {
        Some(root) if root.writable => {
            facts.note(format!("the root file system is writable ({})", root.kind));
        }
        Some(_) => facts.good("the root file system is read-only"),
        None => facts.note("the root file system's mount can't be seen"),
    }
    for (verdict, what, matches) in KERNEL_OPENINGS {
        let targets: Vec<&str> = mounts
            .iter()
            .filter(|mount| mount.writable && matches(mount, source))
            .map(|mount| mount.target.as_str())
            .collect();
        if !targets.is_empty() {
            facts.add(*verdict, format!("{what} at {}", listed(&targets, 3)));
        }
    }
    let data: Vec<&Mount> =
        mounts.iter().filter(|mount| mount.writable && holds_data(mount) && is_topmost(mounts, mount)).collect();
    let sensitive: Vec<&str> =
        data.iter().filter(|mount| is_host_root(mount)).map(|mount| mount.target.as_str()).collect();
    if !sensitive.is_empty() {
        facts.open(format!("a whole file system of the host's seems to be writable at {}", listed(&sensitive, 4)));
    }
    let mut named = |words: &str, chosen: fn(&Mount) -> bool| {
        let targets: Vec<&str> = data
            .iter()
            .filter(|mount| chosen(mount) && mount.target != "/dev")
            .map(|mount| mount.target.as_str())
            .collect();
        if !targets.is_empty() {
            facts.note(format!("writable {words}: {}", listed(&targets, 4)));
        }
    };
    named("and executable", |mount| mount.exec);
    named("with set-user-id", |mount| mount.suid);
    named("with device nodes", |mount| mount.dev);
    let shared: Vec<&str> =
        mounts.iter().filter(|mount| mount.propagation == "shared").map(|mount| mount.target.as_str()).collect();
    if !shared.is_empty() {
        facts.note(format!("mounts propagate to others from {}", listed(&shared, 3)));
    }
    let bounded = data.iter().filter(|mount| mount.kind == "tmpfs" && mount.size.is_some()).count();
    facts.good(format!("{} writable mounts beside the root, {bounded} of them bounded tmpfs", data.len()));
    facts.judge()
}

/// A disk's file system (no overlay, no tmpfs) that is mounted from its very root, writable.
fn is_host_root(mount: &Mount) -> bool {
    mount.root == "/" && mount.source.starts_with("/dev/") && !mount.target.starts_with("/etc/")
}

/// Writable mounts of the kernel's own file systems: how grave, in what words, and which.
type Opening = (Verdict, &'static str, fn(&Mount, &Source) -> bool);

const KERNEL_OPENINGS: &[Opening] = &[
    (Verdict::Open, "sysfs is writable", |mount, _| mount.kind == "sysfs"),
    (Verdict::Open, "the host's devtmpfs is mounted", |mount, _| mount.kind == "devtmpfs" && mount.root == "/"),
    (Verdict::Open, "cgroup v1 is writable", |mount, source| mount.kind == "cgroup" && source.writable(&mount.target)),
    (Verdict::Note, "cgroup v2 is writable", |mount, source| mount.kind == "cgroup2" && source.writable(&mount.target)),
    (Verdict::Open, "the kernel's internals are writable", |mount, _| {
        ["debugfs", "tracefs", "securityfs", "bpf"].contains(&mount.kind.as_str())
    }),
];

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn at<'a>(mounts: &'a [Mount], target: &str) -> &'a Mount {
        mounts.iter().find(|mount| mount.target == target).unwrap()
    }

    #[test]
    fn a_line_is_parsed_whole() {
        let line =
            "36 35 98:0 /mnt1 /mnt2 rw,noatime,nosuid,idmapped shared:1 master:2 - ext3 /dev/root rw,errors=continue";
        let mount = parse_line(line).unwrap();
        assert_eq!((mount.id, mount.parent), (36, 35));
        assert_eq!((mount.root.as_str(), mount.target.as_str()), ("/mnt1", "/mnt2"));
        assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("ext3", "/dev/root"));
        assert!(mount.writable && mount.exec && !mount.suid && mount.dev && mount.idmapped);
        assert_eq!(mount.propagation, "shared");
    }

    #[test]
    fn a_read_only_file_system_is_not_writable_through_a_writable_mount() {
        assert!(!parse_line("1 0 8:1 / / rw - ext4 /dev/sda ro").unwrap().writable);
    }

    #[test]
    fn escapes_are_undone_and_broken_lines_left_out() {
        assert_eq!(unescape(r"/a\040b\011\134c"), "/a b\t\\c");
        assert_eq!(unescape(r"/a\04"), r"/a\04");
        assert_eq!(unescape(r"\777"), "?");
        for broken in
            ["", " - ", "1 2 3 - ext4", "x 0 8:1 / / rw - ext4 /dev/sda rw", "1 0 8:1 / / rw ext4 /dev/sda rw"]
        {
            assert_eq!(parse(broken), [], "{broken:?}");
        }
        assert_eq!(parse(&format!("1 0 8:1 / /{} rw - ext4 d rw", "x".repeat(20_000))), []);
    }

    #[test]
    fn the_covering_mount_is_the_deepest_and_latest() {
        let mounts = parse(samples::DOCKER_MOUNTS);
        assert_eq!(covering(&mounts, "/etc/passwd").unwrap().kind, "overlay");
        assert_eq!(covering(&mounts, "/proc/kcore").unwrap().kind, "tmpfs");
        assert_eq!(covering(&mounts, "/proc/kcorex").unwrap().target, "/proc");
        assert_eq!(covering(&mounts, "/sys/fs/cgroup").unwrap().kind, "cgroup2");
    }

    #[test]
    fn dockers_default_is_noted_and_privileged_is_open() {
        let source = Source::new("/nonexistent");
        let judgement = judge(&parse(samples::DOCKER_MOUNTS), &source);
        assert_eq!(judgement.verdict, Verdict::Note, "{}", judgement.why);
        assert!(judgement.why.contains("the root file system is writable (overlay)"), "{}", judgement.why);
        let judgement = judge(&parse(samples::PRIVILEGED_MOUNTS), &source);
        assert_eq!(judgement.verdict, Verdict::Open, "{}", judgement.why);
        assert!(judgement.why.contains("sysfs is writable"), "{}", judgement.why);
    }

    #[test]
    fn casemates_default_is_good() {
        let mounts = parse(samples::CASEMATE_MOUNTS);
        let tmp = at(&mounts, "/tmp");
        assert!(tmp.writable && !tmp.exec && !tmp.suid && !tmp.dev);
        assert_eq!(tmp.size.as_deref(), Some("262144k"));
        let judgement = judge(&mounts, &Source::new("/nonexistent"));
        assert_eq!(judgement.verdict, Verdict::Good, "{}", judgement.why);
    }

    #[test]
    fn a_disk_of_the_host_is_an_opening() {
        let text = format!("{}900 1 8:1 / /host rw,relatime - ext4 /dev/sda1 rw\n", samples::CASEMATE_MOUNTS);
        let judgement = judge(&parse(&text), &Source::new("/nonexistent"));
        assert_eq!(judgement.verdict, Verdict::Open);
        assert!(judgement.why.contains("/host"), "{}", judgement.why);
    }
}
