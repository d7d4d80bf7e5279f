//! Device files, and the links that programs expect in `/dev`.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use casemate_kernel::mount;
use casemate_kernel::path::{self, Missing};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::RootTree;
use crate::error::{Error, Step};
use crate::plan::{DevicePlan, MountKind, Plan};
use crate::sources::host_device;

impl RootTree {
    /// The device files, and the links that programs expect (`runtime-linux.md`, "Dev symbolic links").
    ///
    /// Everything is made in directories that are held, never by names that lead through the image's links
    /// (CVE-2026-41579).
    pub(super) fn populate_dev(&self, plan: &Plan, devices: Vec<Option<OwnedFd>>) -> Result<(), Error> {
        // A /dev that is bound is somebody else's, with all that is in it.
        let bound = |kind: &MountKind| matches!(kind, MountKind::Bind { .. });
        if plan.mounts.iter().any(|mount| mount.destination == Path::new("/dev") && bound(&mount.kind)) {
            return Ok(());
        }
        let dev = match path::open_or_create(&self.root, Path::new("/dev"), Missing::Directory) {
            Ok(dev) => dev,
            // A bundle without a /dev of its own on a read-only root has only what the image brings.
            Err(error) if error.errno() == Errno::ROFS && plan.devices.iter().all(|device| device.index.is_none()) => {
                return Ok(());
            }
            Err(error) => return Err(Error::step("open /dev", error)),
        };
        let mut trees = devices.into_iter();
        for device in &plan.devices {
            self.place(&dev, device, trees.next().flatten()).or_else(|error| match (error, device.index) {
                (Failure::Kernel(error), None) if error.errno() == Errno::ROFS => Ok(()),
                (Failure::Kernel(error), _) => Err(Error::step(device.field(), error)),
                (Failure::Told(error), _) => Err(error),
            })?;
        }
        let links = [
            ("/proc/self/fd", "fd"),
            ("/proc/self/fd/0", "stdin"),
            ("/proc/self/fd/1", "stdout"),
            ("/proc/self/fd/2", "stderr"),
        ];
        for (target, name) in links {
            match path::symlink(target, &dev, name) {
                Err(error) if error.errno() != Errno::ROFS => return Err(Error::step("links of /dev", error)),
                _ => {}
            }
        }
        link_ptmx(&dev)
    }

    fn place(&self, dev: &OwnedFd, device: &DevicePlan, tree: Option<OwnedFd>) -> Result<(), Failure> {
        let parent;
        let (directory, name) = if let Some(name) = device.name_in_dev() {
            (dev.as_fd(), name)
        } else {
            let (Some(above), Some(name)) = (device.path.parent(), device.path.file_name()) else { return Ok(()) };
            parent = path::open_or_create(&self.root, above, Missing::Directory)?;
            (parent.as_fd(), name)
        };
        let tree = match tree {
            Some(tree) => tree,
            None => match make(directory, name, device) {
                // Without the right to make one, the host's.
                Err(Failure::Kernel(error)) if error.errno() == Errno::PERM => host_device(device)?,
                // Something else in the place of a device that every container has is covered by it.
                Err(Failure::Told(_)) if device.index.is_none() => host_device(device)?,
                other => return other,
            },
        };
        let place = path::create_in(directory, name)?;
        if device.index.is_some() {
            let found = path::identity(&place)?;
            let empty = found.kind == FileType::RegularFile && found.length == 0;
            if !empty && !device.is(found.kind, found.of_device) {
                return Err(Failure::Told(differs(device)));
            }
        }
        Ok(mount::attach(&tree, &place)?)
    }
}

/// Why a device could not be supplied.
enum Failure {
    Kernel(casemate_kernel::Error),
    Told(Error),
}

impl From<casemate_kernel::Error> for Failure {
    fn from(error: casemate_kernel::Error) -> Self {
        Self::Kernel(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

fn differs(device: &DevicePlan) -> Error {
    Error::field(&device.field(), "there is a file already, and it is not this device")
}

/// Makes a device file, with exactly its mode and owner. One that is there already stays, when it is the same device.
fn make(directory: BorrowedFd<'_>, name: &OsStr, device: &DevicePlan) -> Result<(), Failure> {
    let fail = |call: &str, errno| casemate_kernel::Error::new(format!("{call}({:?})", device.path), errno);
    let number = if device.kind == FileType::Fifo { 0 } else { rustix::fs::makedev(device.major, device.minor) };
    let mode = Mode::from_raw_mode(device.mode);
    // The umask is 0 here.
    match rustix::fs::mknodat(directory, name, device.kind, mode, number) {
        Ok(()) if device.uid == 0 && device.gid == 0 => return Ok(()),
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let found = path::open_child(directory, name, OFlags::PATH | OFlags::NOFOLLOW);
            let same = match found {
                Ok(found) => path::identity(&found).map(|found| device.is(found.kind, found.of_device))?,
                Err(error) if error.errno() == Errno::LOOP => false,
                Err(error) => return Err(error.into()),
            };
            return if same { Ok(()) } else { Err(Failure::Told(differs(device))) };
        }
        Err(errno) => return Err(fail("mknodat", errno).into()),
    }
    // The very file, not whatever has its name by now.
    let made = path::open_child(directory, name, OFlags::PATH | OFlags::NOFOLLOW)?;
    let found = path::identity(&made)?;
    if !device.is(found.kind, found.of_device) {
        return Err(Failure::Told(differs(device)));
    }
    let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
    rustix::fs::chownat(&made, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
        .map_err(|errno| fail("fchownat", errno))?;
    Ok(())
}

/// `/dev/ptmx` leads to the container's own terminals, whatever the image has there (`config-linux.md`, "Default
/// Devices").
fn link_ptmx(dev: &OwnedFd) -> Result<(), Error> {
    let (target, name) = ("pts/ptmx", "ptmx");
    match rustix::fs::symlinkat(target, dev, name) {
        Ok(()) | Err(Errno::ROFS) => return Ok(()),
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::step("/dev/ptmx", errno)),
    }
    let there = rustix::fs::readlinkat(dev, name, Vec::new());
    if there.is_ok_and(|there| matches!(there.to_bytes(), b"pts/ptmx" | b"/dev/pts/ptmx")) {
        return Ok(());
    }
    match rustix::fs::unlinkat(dev, name, AtFlags::empty()) {
        Err(Errno::ROFS) => Ok(()),
        other => other.and_then(|()| rustix::fs::symlinkat(target, dev, name)).step("/dev/ptmx"),
    }
}
