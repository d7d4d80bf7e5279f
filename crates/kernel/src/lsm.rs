//! Linux security modules: whether one is in force, and the label a process has from its next exec on.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, Result};
use crate::path::{is_proc, open_beneath_same_mount};

/// `SELINUX_MAGIC` of `statfs(2)`.
const SELINUX_MAGIC: u32 = 0xf97c_ff8c;
/// The inode of every procfs's root directory (`PROC_ROOT_INO` of the kernel).
const PROC_ROOT_INODE: u64 = 1;

/// Whether AppArmor is in force.
pub fn apparmor_enabled() -> bool {
    starts_with("/sys/module/apparmor/parameters/enabled", b"Y")
}

/// Whether SELinux is in force, with a policy.
pub fn selinux_enabled() -> bool {
    let mounted =
        rustix::fs::statfs("/sys/fs/selinux").is_ok_and(|stat| u32::try_from(stat.f_type) == Ok(SELINUX_MAGIC));
    // Until a policy is loaded all processes are "kernel".
    mounted && !starts_with("/proc/self/attr/current", b"kernel\0")
}

fn starts_with(path: &str, beginning: &[u8]) -> bool {
    let mut first = vec![0; beginning.len()];
    fs::File::open(path).is_ok_and(|mut file| file.read_exact(&mut first).is_ok()) && first == beginning
}

/// A file below `/proc/<pid>/attr` of the calling thread, to write a label to.
#[derive(Debug)]
pub struct Attribute(OwnedFd);

impl Attribute {
    /// Opens the first of these attributes that the kernel has, such as `apparmor/exec` and `exec`.
    ///
    /// The file is the calling thread's, in a procfs that was verified: `/proc` must be the root of a procfs, and nothing
    /// may be mounted over, or be a link, on the way down (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881). It can be
    /// written to by this thread only, also after it has left the file system in which it opened it.
    ///
    /// # Errors
    /// `ENOENT` when the kernel has none of them; `ENOTTY` when `/proc` is no procfs.
    pub fn open(names: &[&str]) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty()).call(|| "open(\"/proc\")".to_owned())?;
        let stat = rustix::fs::fstat(&proc).call(|| "fstat(\"/proc\")".to_owned())?;
        if !is_proc(&proc) || stat.st_ino != PROC_ROOT_INODE {
            return Err(Error::new("open(\"/proc\"): not the root of a procfs", Errno::NOTTY));
        }
        // Which process this is depends on the PID namespace that the procfs is of.
        let thread = rustix::fs::readlinkat(&proc, "thread-self", Vec::new())
            .call(|| "readlinkat([proc], \"thread-self\")".to_owned())?;
        let thread = thread.to_string_lossy().into_owned();
        let mut missing = Error::new(format!("open(/proc/{thread}/attr/{names:?})"), Errno::NOENT);
        for name in names {
            match open_beneath_same_mount(&proc, Path::new(&format!("{thread}/attr/{name}")), OFlags::WRONLY) {
                Ok(file) => return Ok(Self(file)),
                Err(error) if error.errno() == Errno::NOENT => missing = error,
                Err(error) => return Err(error),
            }
        }
        Err(missing)
    }

    /// Writes a label; an empty one takes it back.
    ///
    /// # Errors
    /// `ENOENT` for a profile that is not loaded, `EINVAL` for a label the policy does not know, `EACCES` or `EPERM` for
    /// one the process may not change to.
    pub fn write(&self, label: &str) -> Result<()> {
        let call = || format!("write([{}], {label:?})", self.0.as_raw_fd());
        let written = rustix::io::write(self.0.as_fd(), label.as_bytes()).call(call)?;
        if written == label.len() { Ok(()) } else { Err(Error::new(call(), Errno::IO)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_opened_in_procfs_and_the_first_there_is() {
        // Every kernel with a security module has attr/exec, and one without answers a write with EINVAL.
        let attribute = Attribute::open(&["no-such-module/exec", "exec"]).unwrap();
        if !apparmor_enabled() && !selinux_enabled() {
            assert_eq!(attribute.write("exec a-profile").unwrap_err().errno(), Errno::INVAL);
        }
        assert_eq!(Attribute::open(&["no-such-module/exec"]).unwrap_err().errno(), Errno::NOENT);
    }

    #[test]
    fn modules_that_are_not_there_are_not_in_force() {
        assert_eq!(
            apparmor_enabled(),
            fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text == b"Y\n")
        );
        if !Path::new("/sys/fs/selinux/enforce").exists() {
            assert!(!selinux_enabled());
        }
    }
}
