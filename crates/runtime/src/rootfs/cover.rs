//! Paths that are made read-only, or hidden.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use casemate_kernel::mount::{self, Attributes};
use casemate_kernel::path;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::RootTree;
use crate::error::{Error, Step};

impl RootTree {
    pub(super) fn make_read_only(&self, paths: &[PathBuf]) -> Result<(), Error> {
        for name in paths {
            let step = format!("linux.readonlyPaths: {name:?}");
            let Some(target) = self.open_if_there(name).step(&step)? else {
                continue;
            };
            let copy = mount::clone_tree(&target, true).step(&step)?;
            mount::set_attributes(&copy, Attributes::READ_ONLY, Attributes::empty(), true).step(&step)?;
            mount::attach(&copy, &target).step(&step)?;
        }
        Ok(())
    }

    /// Hides paths: a file behind the null device, a directory behind an empty one. Both are known to be what they are,
    /// whatever the image has put in the places they usually come from (CVE-2025-31133).
    pub(super) fn mask(&self, paths: &[PathBuf]) -> Result<(), Error> {
        let (mut null, mut empty): (Option<OwnedFd>, Option<OwnedFd>) = (None, None);
        let mut seen = BTreeSet::new();
        for name in paths.iter().filter(|name| seen.insert(name.as_path())) {
            let step = format!("linux.maskedPaths: {name:?}");
            let Some(target) = self.open_if_there(name).step(&step)? else {
                continue;
            };
            if path::is_directory(&target).step(&step)? {
                // One empty file system for all: attached where it is first needed, and copied from there.
                if let Some(empty) = &empty {
                    mount::attach(mount::clone_tree(empty, false).step(&step)?, &target).step(&step)?;
                } else {
                    mount::attach(empty.insert(empty_directory().step(&step)?), &target).step(&step)?;
                }
            } else {
                // The null device, seen through a mount of its own on which nothing can be done but read nothing.
                if let Some(null) = &null {
                    mount::attach(mount::clone_tree(null, false).step(&step)?, &target).step(&step)?;
                } else {
                    let cover = mount::clone_tree(self.open_null()?, false).step(&step)?;
                    let sealed = Attributes::READ_ONLY | Attributes::NO_EXEC | Attributes::NO_SUID;
                    mount::set_attributes(&cover, sealed, Attributes::empty(), false).step(&step)?;
                    mount::attach(null.insert(cover), &target).step(&step)?;
                }
            }
        }
        Ok(())
    }

    fn open_if_there(&self, name: &Path) -> Result<Option<OwnedFd>, casemate_kernel::Error> {
        match path::open_in_root(&self.root, name, OFlags::PATH) {
            Ok(fd) => Ok(Some(fd)),
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// An empty, read-only directory to hide others behind.
pub(super) fn empty_directory() -> Result<OwnedFd, casemate_kernel::Error> {
    let attributes = Attributes::READ_ONLY | Attributes::NO_EXEC | Attributes::NO_SUID | Attributes::NO_DEV;
    mount::new("tmpfs", &[("size", Some("4k")), ("nr_inodes", Some("2"))], attributes)
}
