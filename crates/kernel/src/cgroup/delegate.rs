//! A group of version 2 handed to the user of a container, who may then make groups below it.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Uid};
use rustix::io::Errno;

use super::Cgroup;
use crate::error::{Error, Result};

/// Which files belong to whom a group is delegated to (`cgroups(7)`): none of them raises a limit.
const DELEGATE: &str = "/sys/kernel/cgroup/delegate";
/// What it lists on a kernel that has no such file.
const DELEGATED: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];

impl Cgroup {
    /// Makes a user of the host the owner of the group's directory on version 2, and of the files in it that the kernel
    /// says may be delegated. Does nothing on version 1, where this is not safe (`config-linux.md`, "Cgroup ownership").
    pub fn delegate(&self, uid: u32) -> Result<()> {
        let Some(directory) = self.unified() else {
            return Ok(());
        };
        let owner = Some(Uid::from_raw(uid));
        let call = |file: &str| format!("fchownat(cgroup {:?}, {file:?}, {uid})", self.path());
        rustix::fs::fchown(directory.as_fd(), owner, None).map_err(|errno| Error::new(call("."), errno))?;
        let listed = std::fs::read_to_string(DELEGATE).ok();
        let files = listed.as_deref().map_or_else(|| DELEGATED.to_vec(), |text| text.lines().collect());
        for file in files.into_iter().filter(|file| !file.is_empty() && !file.contains('/')) {
            match rustix::fs::chownat(directory, file, owner, None, AtFlags::SYMLINK_NOFOLLOW) {
                // Not every group has every file.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::new(call(file), errno)),
            }
        }
        Ok(())
    }
}
