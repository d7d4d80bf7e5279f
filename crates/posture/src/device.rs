//! `--device` and `--device-cgroup-rule`: ISO-7.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{InvalidValue, path};

/// What a container may do with a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// Open it for reading.
    pub read: bool,
    /// Open it for writing.
    pub write: bool,
    /// Make nodes for it.
    pub mknod: bool,
}

impl Permissions {
    /// What most devices need to be of any use: to be read and written. Making nodes is not part of that.
    pub const DEFAULT: Self = Self { read: true, write: true, mknod: false };

    fn parse(text: &str) -> Option<Self> {
        let mut permissions = Self { read: false, write: false, mknod: false };
        for letter in text.bytes() {
            let seen = match letter {
                b'r' => &mut permissions.read,
                b'w' => &mut permissions.write,
                b'm' => &mut permissions.mknod,
                _ => return None,
            };
            if std::mem::replace(seen, true) {
                return None;
            }
        }
        (!text.is_empty()).then_some(permissions)
    }
}

impl fmt::Display for Permissions {
    /// `rwm`, in that order, as the kernel's device cgroup and OCI write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (has, letter) in [(self.read, "r"), (self.write, "w"), (self.mknod, "m")] {
            if has {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// A device of the host that the container has too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its path on the host. Resolve symbolic links before you ask for relaxations.
    pub host: String,
    /// Its path in the container.
    pub container: String,
    /// What the container may do with it.
    pub permissions: Permissions,
}

impl Device {
    /// Reads `HOST[:CONTAINER[:rwm]]` or `HOST:rwm`. Permissions are `rw` unless said.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        const FLAG: &str = "--device";
        let invalid = |reason: String| InvalidValue::new(FLAG, text, reason);
        let form = "write HOST[:CONTAINER[:rwm]], as in /dev/fuse or /dev/ttyUSB0:/dev/modem:rw";
        let parts: Vec<&str> = text.split(':').collect();
        let (host, container, permissions) = match *parts.as_slice() {
            [host] => (host, host, None),
            [host, second] if second.starts_with('/') => (host, second, None),
            [host, second] => (host, host, Some(second)),
            [host, container, permissions] => (host, container, Some(permissions)),
            _ => return Err(invalid("it has more than three parts".to_owned()).hint(form)),
        };
        let permissions = match permissions {
            Some(letters) => Permissions::parse(letters).ok_or_else(|| {
                invalid(format!("{letters:?} are no permissions: each of r, w and m at most once")).hint(form)
            })?,
            None => Permissions::DEFAULT,
        };
        let host = path::source(FLAG, text, host)?;
        let container = path::target(FLAG, text, container)?;
        if !path::within(&container, "/dev") {
            return Err(invalid(format!(
                "{container} is not under /dev, and devices work nowhere else in the container"
            )));
        }
        Ok(Self { host, container, permissions })
    }

    /// Why this device hands the host over, or `None` where it does not.
    pub fn danger(&self) -> Option<&'static str> {
        dangerous_device(&self.host)
    }
}

/// Devices that hand the host over, by what the name under `/dev` begins with, and how. A `/` at the end: all in that directory.
const DANGEROUS: &[(&str, &str)] = &[
    ("mem", "all of the host's memory"),
    ("kmem", "the kernel's memory"),
    ("port", "the host's I/O ports"),
    ("kmsg", "the kernel's log"),
    ("console", "the host's console"),
    ("tty0", "the host's console"),
    ("vcs", "what is on the host's screens"),
    ("snapshot", "an image of all of the host's memory"),
    ("sd", "a disk of the host"),
    ("hd", "a disk of the host"),
    ("vd", "a disk of the host"),
    ("xvd", "a disk of the host"),
    ("nvme", "a disk of the host"),
    ("mmcblk", "a disk of the host"),
    ("dm-", "a disk of the host"),
    ("md", "a disk of the host"),
    ("nbd", "a disk of the host"),
    ("zd", "a disk of the host"),
    ("bcache", "a disk of the host"),
    ("pmem", "a disk of the host"),
    ("dax", "a disk of the host"),
    ("loop", "the host's loop devices, which turn files into disks"),
    ("loop-control", "the host's loop devices, which turn files into disks"),
    ("ram", "a disk of the host"),
    ("sg", "raw access to disks of the host"),
    ("bsg/", "raw access to disks of the host"),
    ("disk/", "a disk of the host"),
    ("block/", "a disk of the host"),
    ("mapper/", "a disk of the host"),
    ("cpu/", "the processors' model-specific registers"),
    ("cpu_dma_latency", "the host's power management"),
    ("vfio/", "hardware with direct access to memory"),
    ("uio", "hardware with direct access to memory"),
    ("hpet", "the host's timers"),
    ("hwrng", "the host's source of randomness"),
    ("input/", "what is typed on the host"),
    ("uinput", "keystrokes of its choice on the host"),
    ("uhid", "keystrokes of its choice on the host"),
    ("watchdog", "a reset of the host"),
    ("rtc", "the host's clock"),
    ("kvm", "the kernel's virtual machine monitor, which has been escaped through"),
    ("vhost-", "the kernel's virtual machine back-ends, which have been escaped through"),
    ("vsock", "the channel to the machine that the host runs on"),
    ("bus/usb/", "every USB device of the host"),
    ("tpm", "the host's keys"),
    ("nvram", "the firmware's settings"),
    ("fb", "what is on the host's screen"),
    ("autofs", "the host's mounts"),
    ("btrfs-control", "the host's file systems"),
    ("zfs", "the host's file systems"),
    ("userfaultfd", "a lever of many kernel exploits"),
];

/// Why the device at `path` of the host hands the host over, or `None` where it does not.
pub(crate) fn dangerous_device(host: &str) -> Option<&'static str> {
    let clean = path::normal(host);
    let Some(name) = clean.strip_prefix("/dev") else {
        // A node outside of /dev, or by way of /proc/PID/root, can be any device.
        return Some("a device that is not under /dev: it can be any");
    };
    let name = name.strip_prefix('/').unwrap_or(name);
    if name.is_empty() {
        return Some("all of the host's devices");
    }
    let tail_fits =
        |tail: &str| tail.is_empty() || tail.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    DANGEROUS.iter().find_map(|&(prefix, what)| {
        let hit = match prefix.strip_suffix('/') {
            Some(directory) => path::within(name, directory),
            None => match prefix {
                // Names that are whole words: "mem" is one, "memory_bandwidth" is another device.
                "mem" | "kmem" | "port" | "kmsg" | "console" | "tty0" | "snapshot" | "hpet" | "kvm" | "vsock"
                | "nvram" | "zfs" | "autofs" | "uinput" | "uhid" | "userfaultfd" => name == prefix,
                _ => name.strip_prefix(prefix).is_some_and(tail_fits),
            },
        };
        hit.then_some(what)
    })
}

/// Which nodes a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    /// Block and character devices.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// A rule of the device cgroup that lets the container use devices whose nodes it gets by other ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRule {
    /// Which nodes.
    pub kind: DeviceKind,
    /// The major number; `None`: all.
    pub major: Option<u32>,
    /// The minor number; `None`: all.
    pub minor: Option<u32>,
    /// What the container may do with them.
    pub permissions: Permissions,
}

impl DeviceRule {
    /// Reads `c 189:* rmw`, as the kernel's device cgroup writes it.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let invalid = |reason: String| {
            InvalidValue::new("--device-cgroup-rule", text, reason)
                .hint("write TYPE MAJOR:MINOR rwm, as in \"c 189:* rw\"")
        };
        let parts: Vec<&str> = text.split(' ').collect();
        let [kind, numbers, permissions] = *parts.as_slice() else {
            return Err(invalid("it does not have three parts".to_owned()));
        };
        let kind = match kind {
            "a" => DeviceKind::All,
            "b" => DeviceKind::Block,
            "c" => DeviceKind::Character,
            other => return Err(invalid(format!("{other:?} is no type: a, b or c"))),
        };
        let number = |part: &str| match part {
            "*" => Ok(None),
            digits => {
                crate::user::id(digits).map(Some).ok_or_else(|| invalid(format!("{digits:?} is no device number")))
            }
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(|| invalid(format!("{numbers:?} has no \":\"")))?;
        let (major, minor) = (number(major)?, number(minor)?);
        let permissions =
            Permissions::parse(permissions).ok_or_else(|| invalid(format!("{permissions:?} are no permissions")))?;
        Ok(Self { kind, major, minor, permissions })
    }

    /// Why this rule hands the host over, or `None` where it does not.
    pub fn danger(&self) -> Option<&'static str> {
        match (self.kind, self.major) {
            (DeviceKind::All, _) => Some("all of the host's devices"),
            (DeviceKind::Block, _) => Some("disks of the host"),
            (DeviceKind::Character, None) => Some("all of the host's character devices"),
            (DeviceKind::Character, Some(1)) if !matches!(self.minor, Some(3 | 5 | 7 | 8 | 9)) => {
                Some("the host's memory")
            }
            (DeviceKind::Character, Some(_)) => None,
        }
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::All => 'a',
            DeviceKind::Block => 'b',
            DeviceKind::Character => 'c',
        };
        write!(f, "{kind} ")?;
        for (number, after) in [(self.major, ":"), (self.minor, " ")] {
            match number {
                Some(number) => write!(f, "{number}{after}")?,
                None => write!(f, "*{after}")?,
            }
        }
        write!(f, "{}", self.permissions)
    }
}

/// The devices that every container has, and nothing else: name under `/dev`, major and minor number. All are character
/// devices that belong to nobody.
pub const DEFAULT_DEVICES: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_docker_does_but_without_mknod() {
        let device = |host: &str, container: &str, letters| Device {
            host: host.to_owned(),
            container: container.to_owned(),
            permissions: Permissions::parse(letters).unwrap(),
        };
        assert_eq!(Device::parse("/dev/fuse"), Ok(device("/dev/fuse", "/dev/fuse", "rw")));
        assert_eq!(Device::parse("/dev/fuse:r"), Ok(device("/dev/fuse", "/dev/fuse", "r")));
        assert_eq!(Device::parse("/dev/fuse:/dev/x"), Ok(device("/dev/fuse", "/dev/x", "rw")));
        assert_eq!(Device::parse("/dev/fuse:/dev/x:mrw"), Ok(device("/dev/fuse", "/dev/x", "rwm")));
    }

    #[test]
    fn odd_devices_are_refused() {
        for text in [
            "",
            "dev/fuse",
            "/dev/fuse:",
            "/dev/fuse:/dev/x:",
            "/dev/fuse:rr",
            "/dev/fuse:x",
            "/dev/a:/dev/b:r:w",
            "/dev/fuse:/etc/x",
            "/dev/fuse:/dev/../etc/x",
            "/dev/a:/dev",
        ] {
            assert!(Device::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn devices_that_own_the_host_are_known() {
        for path in [
            "/dev/mem",
            "/dev/kmem",
            "/dev/port",
            "/dev/sda",
            "/dev/sda1",
            "/dev/nvme0n1",
            "/dev/vda",
            "/dev/dm-0",
            "/dev/mapper/root",
            "/dev/disk/by-id/x",
            "/dev/kvm",
            "/dev/loop0",
            "/dev/loop-control",
            "/dev/cpu/0/msr",
            "/dev/bus/usb/001/002",
            "/dev",
            "/tmp/sda",
            "/dev/../tmp/x",
            "/dev//mem",
            "/dev/mapper",
        ] {
            assert!(dangerous_device(path).is_some(), "{path}");
        }
        for path in [
            "/dev/null",
            "/dev/fuse",
            "/dev/net/tun",
            "/dev/dri/card0",
            "/dev/snd/pcm",
            "/dev/ttyUSB0",
            "/dev/memory_bandwidth",
            "/dev/nvidia0",
            "/dev/shm/x",
        ] {
            assert_eq!(dangerous_device(path), None, "{path}");
        }
    }

    #[test]
    fn rules_are_read_and_written_back() {
        for text in ["c 189:* rw", "b 8:0 r", "a *:* rwm", "c 1:3 m"] {
            assert_eq!(DeviceRule::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "c 1:3", "d 1:3 r", "c 1 r", "c -1:3 r", "c 1:3 x", "c  1:3 r", "c 1:3 r w"] {
            assert!(DeviceRule::parse(text).is_err(), "{text:?}");
        }
        assert!(DeviceRule::parse("b 8:0 r").unwrap().danger().is_some());
        assert!(DeviceRule::parse("c 1:1 r").unwrap().danger().is_some());
        assert!(DeviceRule::parse("c 1:* r").unwrap().danger().is_some());
        assert!(DeviceRule::parse("c 1:3 r").unwrap().danger().is_none());
        assert!(DeviceRule::parse("c 189:* rw").unwrap().danger().is_none());
    }
}
