//! The tree becomes the process's root.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use casemate_kernel::mount;
use casemate_kernel::namespace::{self, Namespaces};
use casemate_kernel::path;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};

use super::RootTree;
use super::cover::empty_directory;
use crate::error::{Error, Step};
use crate::init;
use crate::plan::Plan;

impl RootTree {
    /// Makes the tree the process's root, out of reach of the host's. Returns the working directory, which is `cwd` unless
    /// the tree had to be copied.
    ///
    /// With a mount namespace to be in, a copy of the tree becomes the root there: it is attached to nothing, so that
    /// nobody else in that namespace sees it, and it is gone with the last process that has it as its root. No path leads
    /// out of it; but as anywhere, `chroot(2)` does, for a process with `CAP_SYS_CHROOT`.
    pub(crate) fn enter(
        self,
        plan: &Plan,
        into: Option<&OwnedFd>,
        no_pivot: bool,
        cwd: OwnedFd,
    ) -> Result<OwnedFd, Error> {
        let step = "enter the root file system";
        if let Some(namespace) = into {
            let copy = mount::clone_tree(&self.root, true).step(step)?;
            if let Some((propagation, recursive)) = plan.propagation {
                mount::set_propagation(&copy, propagation, recursive).step("linux.rootfsPropagation")?;
            }
            namespace::enter(namespace.as_fd(), Namespaces::MOUNT).step("linux.namespaces.path")?;
            rustix::process::fchdir(&copy).step(step)?;
            mount::change_root_to_working_directory().step(step)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            return path::open_in_root(&copy, &plan.process.cwd, flags).step("process.cwd");
        }
        if no_pivot {
            if self.in_place {
                mount::attach(&self.root, init::open_root()?).step(step)?;
            }
            self.take_the_host_away()?;
            rustix::process::fchdir(&self.root).step(step)?;
            mount::change_root_to_working_directory().step(step)?;
        } else {
            rustix::process::fchdir(&self.root).step(step)?;
            mount::pivot_to_working_directory().step(step)?;
        }
        if let Some((propagation, recursive)) = plan.propagation {
            mount::set_propagation(init::open_root()?, propagation, recursive).step("linux.rootfsPropagation")?;
        }
        Ok(cwd)
    }

    /// Without `pivot_root` (which an initramfs does not allow) the host's root stays beneath the container's. What is
    /// mounted on it is taken away; where that is not permitted, a procfs or sysfs, with which a process that got there
    /// could do most, is covered.
    fn take_the_host_away(&self) -> Result<(), Error> {
        let step = "take away the host's mounts";
        let table = fs::read("/proc/self/mountinfo").step(step)?;
        let mounts: Vec<Line> = table.split(|&byte| byte == b'\n').filter_map(Line::parse).collect();
        let (root, host) = (mount_of(&self.root).step(step)?, mount_of(init::open_root()?).step(step)?);
        let mut kept = false;
        for line in mounts.iter().filter(|line| line.parent == host && line.id != root && line.id != host) {
            kept |= mount::detach(&line.path).is_err();
        }
        if !kept {
            return Ok(());
        }
        let ours = |mut id: u64| {
            // As deep as the table is long, at most.
            for _ in 0..mounts.len() {
                if id == root {
                    return true;
                }
                match mounts.iter().find(|line| line.id == id) {
                    Some(line) if line.parent != id => id = line.parent,
                    _ => return false,
                }
            }
            false
        };
        for line in mounts.iter().filter(|line| line.kernel_file_system && !ours(line.id)) {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(there) = rustix::fs::open(&line.path, flags, Mode::empty())
                && path::is_directory(&there).step(step)?
            {
                mount::attach(empty_directory().step(step)?, &there).step(step)?;
            }
        }
        Ok(())
    }
}

/// The id of the mount that a descriptor is on, as `mountinfo` has it.
fn mount_of(fd: impl AsFd) -> Result<u64, rustix::io::Errno> {
    rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).map(|found| found.stx_mnt_id)
}

/// A line of `mountinfo` (`proc_pid_mountinfo(5)`).
#[derive(Debug)]
struct Line {
    id: u64,
    parent: u64,
    path: PathBuf,
    /// A procfs or sysfs.
    kernel_file_system: bool,
}

impl Line {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
        let (id, parent) = (number()?, number()?);
        let path = PathBuf::from(std::ffi::OsString::from_vec(unescape(fields.nth(2)?)));
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        Some(Self { id, parent, path, kernel_file_system: kind == b"proc" || kind == b"sysfs" })
    }
}

/// Spaces and such are written in octal: `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((&byte, after)) = rest.split_first() {
        let code = match (byte, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        plain.push(code.unwrap_or(byte));
        rest = after.get(if code.is_some() { 3 } else { 0 }..).unwrap_or_default();
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_mount_table_are_read() {
        let line = br"36 35 98:0 /mnt1 /mnt\040two\\x rw,noatime shared:1 master:2 - proc /dev/root rw,errors=continue";
        let line = Line::parse(line).unwrap();
        assert_eq!((line.id, line.parent, line.kernel_file_system), (36, 35, true));
        assert_eq!(line.path, PathBuf::from(r"/mnt two\\x"));
        assert!(Line::parse(b"").is_none() && Line::parse(b"1 2 3:4 / /x").is_none());
        let table = fs::read("/proc/self/mountinfo").unwrap();
        let lines = table.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        assert!(lines.clone().count() > 0 && lines.clone().all(|line| Line::parse(line).is_some()));
        let root = mount_of(init::open_root().unwrap()).unwrap();
        assert!(lines.filter_map(Line::parse).any(|line| line.id == root));
    }
}
