//! The device nodes in `/dev`.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use serde::Serialize;

use super::source::Source;
use super::verdict::{Facts, Judgement, listed};

/// Directories below `/dev` that are looked into, and how deep.
const MAX_DEPTH: usize = 3;

/// The most device nodes that are reported.
const MAX_DEVICES: usize = 1024;

/// What every container has, and what is no device of the host's.
const STANDARD: &[&str] = &["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"];

/// Character devices through which the host can be reached, by how their name starts.
const GRAVE: &[(&str, &str)] = &[
    ("mem", "the host's memory"),
    ("kmem", "the kernel's memory"),
    ("port", "the host's ports"),
    ("cpu/", "the host's processor registers"),
    ("loop-control", "block devices of its own"),
    ("mapper/control", "the host's volumes"),
    ("vfio/", "the host's devices"),
    ("raw", "the host's disks"),
    ("sg", "the host's disks"),
    ("nvme", "the host's disks"),
    ("btrfs-control", "the host's file systems"),
    ("uinput", "the host's keyboard"),
    ("input/", "the host's keyboard"),
    ("uhid", "the host's keyboard"),
    ("watchdog", "the host's watchdog"),
    ("hpet", "the host's clock"),
    ("kmsg", "the kernel's log"),
    ("vcs", "the host's screens"),
    ("ttyS", "the host's serial lines"),
];

/// A device node that not every container has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its path.
    pub path: String,
    /// `block` or `character`.
    pub kind: &'static str,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Whether this process may read it, by its permissions; the device cgroup may still refuse.
    pub readable: bool,
    /// Whether this process may write it, by its permissions; the device cgroup may still refuse.
    pub writable: bool,
}

/// What is in `/dev`.
#[derive(Debug, Clone, Serialize)]
pub struct Devices {
    /// The standard ones that are there, by name.
    pub standard: Vec<&'static str>,
    /// All others.
    pub others: Vec<Device>,
}

impl Devices {
    pub(crate) fn read(source: &Source) -> Self {
        let standard = STANDARD.iter().copied().filter(|name| source.exists(&format!("/dev/{name}"))).collect();
        let mut others = Vec::new();
        walk(source, "/dev", 0, &mut others);
        Self { standard, others }
    }

    pub(crate) fn judge(&self) -> Judgement {
        let mut facts = Facts::default();
        let reachable = |device: &&Device| device.readable || device.writable;
        let blocks: Vec<&str> =
            self.others.iter().filter(reachable).filter(|d| d.kind == "block").map(|d| d.path.as_str()).collect();
        if !blocks.is_empty() {
            facts.open(format!("block devices: {}", listed(&blocks, 4)));
        }
        let (mut grave, mut minor) = (Vec::new(), Vec::new());
        for device in self.others.iter().filter(reachable).filter(|d| d.kind == "character") {
            match danger(&device.path) {
                Some(what) => grave.push(format!("{} ({what})", device.path)),
                None => minor.push(device.path.as_str()),
            }
        }
        if !grave.is_empty() {
            facts.open(format!("dangerous devices: {}", listed(&grave, 3)));
        }
        if !minor.is_empty() {
            facts.note(format!("other devices: {}", listed(&minor, 4)));
        }
        facts.good(format!("{} of the standard devices", self.standard.len()));
        facts.judge()
    }
}

fn danger(path: &str) -> Option<&'static str> {
    let name = path.strip_prefix("/dev/")?;
    GRAVE
        .iter()
        .find(|(start, _)| {
            // A name that ends in a letter must be whole or be followed by a number: `mem` is not `memory_bandwidth`.
            name.strip_prefix(start)
                .is_some_and(|rest| start.ends_with('/') || !rest.starts_with(|c: char| c.is_ascii_lowercase()))
        })
        .map(|(_, what)| *what)
}

fn walk(source: &Source, directory: &str, depth: usize, found: &mut Vec<Device>) {
    for name in source.names(directory) {
        if found.len() >= MAX_DEVICES {
            return;
        }
        let path = format!("{directory}/{name}");
        let Ok(metadata) = fs::symlink_metadata(source.path(&path)) else {
            continue;
        };
        let kind = metadata.file_type();
        if kind.is_dir() && depth + 1 < MAX_DEPTH && !["/dev/pts", "/dev/shm", "/dev/mqueue"].contains(&path.as_str()) {
            walk(source, &path, depth + 1, found);
        }
        let standard = depth == 0 && STANDARD.contains(&name.as_str());
        if standard || !(kind.is_block_device() || kind.is_char_device()) {
            continue;
        }
        found.push(Device {
            kind: if kind.is_block_device() { "block" } else { "character" },
            major: rustix::fs::major(metadata.rdev()),
            minor: rustix::fs::minor(metadata.rdev()),
            readable: source.readable(&path),
            writable: source.writable(&path),
            path,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Verdict;
    use super::*;

    fn device(path: &str, kind: &'static str) -> Device {
        Device { path: path.to_owned(), kind, major: 1, minor: 1, readable: true, writable: true }
    }

    fn judged(others: Vec<Device>) -> Judgement {
        Devices { standard: STANDARD.to_vec(), others }.judge()
    }

    #[test]
    fn standard_devices_are_good() {
        assert_eq!(judged(vec![]).verdict, Verdict::Good);
    }

    #[test]
    fn disks_and_memory_are_open_and_others_noted() {
        assert_eq!(judged(vec![device("/dev/sda", "block")]).verdict, Verdict::Open);
        assert_eq!(judged(vec![device("/dev/mem", "character")]).verdict, Verdict::Open);
        assert_eq!(judged(vec![device("/dev/ttyS0", "character")]).verdict, Verdict::Open);
        assert_eq!(judged(vec![device("/dev/net/tun", "character")]).verdict, Verdict::Note);
        let mut denied = device("/dev/sda", "block");
        (denied.readable, denied.writable) = (false, false);
        assert_eq!(judged(vec![denied]).verdict, Verdict::Good);
    }

    #[test]
    fn names_are_not_taken_for_others_that_start_alike() {
        assert_eq!(danger("/dev/memory_bandwidth"), None);
        assert_eq!(danger("/dev/vcs1"), Some("the host's screens"));
        assert_eq!(danger("/dev/input/event0"), Some("the host's keyboard"));
        assert_eq!(danger("/dev/inputs"), None);
    }

    #[test]
    fn regular_files_in_dev_are_no_devices() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("dev/shm")).unwrap();
        fs::write(dir.path().join("dev/file"), "").unwrap();
        fs::write(dir.path().join("dev/null"), "").unwrap();
        let devices = Devices::read(&Source::new(dir.path()));
        assert_eq!(devices.others, []);
        assert_eq!(devices.standard, ["null"]);
    }
}
