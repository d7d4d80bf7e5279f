//! `--tmpfs PATH[:OPTIONS]`: file systems in memory.

use serde::{Deserialize, Serialize};

use crate::limits::MIB;
use crate::{InvalidValue, bytes, path, suggest};

/// A file system in memory. Its pages count against the container's memory limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tmpfs {
    /// Where in the container.
    pub target: String,
    /// Bytes. `None`: as much as the memory limit lets it have.
    pub size: Option<u64>,
    /// Files and directories. `None`: half as many as the host has pages.
    pub inodes: Option<u64>,
    /// The mode of its root directory.
    pub mode: u32,
    /// The owner of its root directory, as an id in the container.
    pub uid: u32,
    /// The group of its root directory, as an id in the container.
    pub gid: u32,
    /// Whether nothing can be written to it.
    pub read_only: bool,
    /// Whether programs on it can be executed.
    pub exec: bool,
    /// Whether set-user-id and set-group-id bits on it count.
    pub suid: bool,
    /// Whether device nodes on it work.
    pub dev: bool,
}

impl Tmpfs {
    /// The bytes of one that nobody gave a size.
    pub const SIZE: u64 = 256 * MIB;
    /// The files of one that nobody gave a number.
    pub const INODES: u64 = 65_536;

    /// A bounded one, writable by all, on `target`: nosuid, nodev, noexec.
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            size: Some(Self::SIZE),
            inodes: Some(Self::INODES),
            mode: 0o1777,
            uid: 0,
            gid: 0,
            read_only: false,
            exec: false,
            suid: false,
            dev: false,
        }
    }

    /// Those that every container has, so that a read-only root can be worked with.
    pub fn defaults() -> Vec<Self> {
        let run = Self { size: Some(64 * MIB), mode: 0o755, ..Self::new("/run") };
        vec![Self::new("/tmp"), run, Self::new("/var/tmp")]
    }

    /// Reads `/cache`, `/cache:size=64m,mode=700,exec`. What is not said is nosuid, nodev, noexec and bounded.
    pub fn parse(text: &str) -> Result<Self, InvalidValue> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mut tmpfs = Self::new(path::target("--tmpfs", text, target)?);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            tmpfs.set(text, option)?;
        }
        Ok(tmpfs)
    }

    fn set(&mut self, text: &str, option: &str) -> Result<(), InvalidValue> {
        let invalid = |reason: String| InvalidValue::new("--tmpfs", text, reason);
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let id = |what: &str, value: &str| {
            crate::user::id(value).ok_or_else(|| invalid(format!("{value:?} is no {what} id")))
        };
        match (name, value) {
            ("ro", None) => self.read_only = true,
            ("rw", None) => self.read_only = false,
            ("exec", None) => self.exec = true,
            ("noexec", None) => self.exec = false,
            ("suid", None) => self.suid = true,
            ("nosuid", None) => self.suid = false,
            ("dev", None) => self.dev = true,
            ("nodev", None) => self.dev = false,
            // What Docker accepts and what makes no difference here.
            (
                "defaults" | "async" | "atime" | "noatime" | "diratime" | "nodiratime" | "relatime" | "norelatime"
                | "strictatime" | "nostrictatime" | "private" | "rprivate",
                None,
            ) => {}
            ("size", Some(value)) => self.size = size(text, value)?,
            ("nr_inodes", Some(value)) => {
                let inodes =
                    bytes::parse("--tmpfs", value).map_err(|_| invalid(format!("nr_inodes={value} is no number")))?;
                self.inodes = (inodes > 0).then_some(inodes);
            }
            ("mode", Some(value)) => self.mode = mode("--tmpfs", text, value)?,
            ("uid", Some(value)) => self.uid = id("user", value)?,
            ("gid", Some(value)) => self.gid = id("group", value)?,
            _ => {
                let known = [
                    "ro",
                    "rw",
                    "exec",
                    "noexec",
                    "suid",
                    "nosuid",
                    "dev",
                    "nodev",
                    "size=",
                    "nr_inodes=",
                    "mode=",
                    "uid=",
                    "gid=",
                ];
                let near = suggest::hint(option, known);
                let hint = near.unwrap_or_else(|| format!("known are {}", known.join(", ")));
                return Err(invalid(format!("unknown option {option:?}")).hint(hint));
            }
        }
        Ok(())
    }

    /// The options of its mount, as OCI and mount(8) write them.
    pub fn options(&self) -> Vec<String> {
        let mut options = flags(self.read_only, [self.exec, self.suid, self.dev]);
        options.push(format!("mode={:o}", self.mode));
        if let Some(size) = self.size {
            options.push(format!("size={size}"));
        }
        if let Some(inodes) = self.inodes {
            options.push(format!("nr_inodes={inodes}"));
        }
        if self.uid != 0 {
            options.push(format!("uid={}", self.uid));
        }
        if self.gid != 0 {
            options.push(format!("gid={}", self.gid));
        }
        options
    }
}

/// The mount options that say what a mount is good for: whether it can't be written, and what else is (`exec`, `suid`, `dev`).
pub(crate) fn flags(read_only: bool, [exec, suid, dev]: [bool; 3]) -> Vec<String> {
    let mut options = vec![if read_only { "ro" } else { "rw" }.to_owned()];
    for (allowed, word) in [(exec, "noexec"), (suid, "nosuid"), (dev, "nodev")] {
        if !allowed {
            options.push(word.to_owned());
        }
    }
    options
}

/// A size; 0 is none, as in Docker.
pub(crate) fn size(text: &str, value: &str) -> Result<Option<u64>, InvalidValue> {
    if value.ends_with('%') {
        return Err(InvalidValue::new("--tmpfs", text, "a size in percent depends on the host's memory")
            .hint("write bytes, as in size=64m"));
    }
    let size = bytes::parse("--tmpfs", value)?;
    Ok((size > 0).then_some(size))
}

/// A mode in octal.
pub(crate) fn mode(flag: &'static str, text: &str, value: &str) -> Result<u32, InvalidValue> {
    u32::from_str_radix(value, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777 && value.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| {
            InvalidValue::new(flag, text, format!("{value:?} is no mode in octal")).hint("write it as in mode=1777")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_hardened() {
        let tmpfs = Tmpfs::parse("/cache").unwrap();
        assert_eq!(tmpfs, Tmpfs::new("/cache"));
        assert_eq!(
            tmpfs.options(),
            ["rw", "noexec", "nosuid", "nodev", "mode=1777", "size=268435456", "nr_inodes=65536"]
        );
    }

    #[test]
    fn options_are_read() {
        let tmpfs = Tmpfs::parse("/run/app/:exec,size=64m,mode=700,uid=1000,gid=1001,nr_inodes=10k").unwrap();
        let expected = Tmpfs {
            size: Some(64 * MIB),
            inodes: Some(10_240),
            mode: 0o700,
            uid: 1000,
            gid: 1001,
            exec: true,
            ..Tmpfs::new("/run/app")
        };
        assert_eq!(tmpfs, expected);
        assert_eq!(Tmpfs::parse("/a:size=0").unwrap().size, None);
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let message = |text| Tmpfs::parse(text).unwrap_err().to_string();
        assert!(message("cache").contains("not absolute"));
        assert!(message("/proc").contains("nothing can be mounted on /proc"));
        assert!(message("/a:noexe").contains("did you mean \"noexec\""));
        assert!(message("/a:size=10%").contains("percent"));
        assert!(message("/a:mode=9").contains("octal"));
        assert!(message("/a:mode=+7").contains("octal"));
        assert!(message("/a:mode=77777").contains("octal"));
        assert!(message("/a:uid=-1").contains("no user id"));
        assert!(message("/a:ro=1").contains("unknown option"));
        assert!(message("").contains("not absolute"));
    }
}
