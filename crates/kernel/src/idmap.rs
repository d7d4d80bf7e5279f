//! User namespaces that exist only to say how a mount shows its owners (`mount_setattr(2)`, idmapped mounts).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::mount::{self, Attributes};
use crate::namespace::{self, IdMap, Namespaces};
use crate::process::{self, Forked};

/// Makes a user namespace with these maps and returns a descriptor of it.
///
/// A child is made in a new namespace, its maps are written, the namespace is opened and the child is ended: from then
/// on the descriptor alone keeps it. For an idmapped mount, `inside` is the id in the file system, `outside` the id
/// that the mount shows it as.
///
/// # Errors
/// `EDEADLK` in a process with threads; `EPERM` without the right to map those ids; else what the kernel answers.
pub fn namespace(uids: &[IdMap], gids: &[IdMap]) -> Result<OwnedFd> {
    match namespace::clone(Namespaces::USER, None)? {
        Forked::Child => {
            // Killed by the parent below; a parent that dies first takes the child with it.
            let _ = process::die_with_parent();
            let _ = rustix::thread::nanosleep(&rustix::time::Timespec { tv_sec: 60, tv_nsec: 0 });
            process::exit_now(0);
        }
        Forked::Parent(child) => {
            let opened = namespace::write_id_maps(child.pid, uids, gids)
                .and_then(|()| namespace::open_of_process(child.pid, "user"));
            let _ = process::pidfd_send_signal(&child.pidfd, 9);
            process::wait(&child.pidfd)?;
            opened
        }
    }
}

/// The id maps of an existing user namespace, by its file, as the caller's own user namespace sees them.
///
/// A child enters the namespace, its maps are read, and the child is ended.
///
/// # Errors
/// `EDEADLK` in a process with threads; `EPERM` without `CAP_SYS_ADMIN` in that namespace; else what the kernel answers.
pub fn of_namespace(file: impl AsFd) -> Result<(Vec<IdMap>, Vec<IdMap>)> {
    let (entered, told) = crate::terminal::pipe()?;
    match process::fork()? {
        Forked::Child => {
            let _ = process::die_with_parent();
            drop(entered);
            if namespace::enter(file.as_fd(), Namespaces::USER).is_ok() && rustix::io::write(&told, b"E").is_ok() {
                let _ = rustix::thread::nanosleep(&rustix::time::Timespec { tv_sec: 60, tv_nsec: 0 });
            }
            process::exit_now(0);
        }
        Forked::Parent(child) => {
            drop(told);
            let maps = match rustix::io::read(&entered, &mut [0_u8; 1][..]) {
                Ok(1) => namespace::read_id_maps(child.pid),
                // It was the namespace that could not be entered: it says nothing else.
                _ => Err(Error::new(format!("setns([{}], CLONE_NEWUSER)", file.as_fd().as_raw_fd()), Errno::PERM)),
            };
            let _ = process::pidfd_send_signal(&child.pidfd, 9);
            process::wait(&child.pidfd)?;
            maps
        }
    }
}

/// Whether this kernel can show other owners on the mount that a directory is on. It is tried, on a copy that nobody sees:
/// each file system learnt it in a version of its own.
///
/// # Errors
/// As [`namespace`]; what `open_tree(2)` answers.
pub fn is_supported(directory: impl AsFd) -> Result<bool> {
    let root = [IdMap { inside: 0, outside: 0, count: 1 }];
    let namespace = namespace(&root, &root)?;
    let copy = mount::clone_tree(directory, false)?;
    match mount::set_idmap(&copy, namespace.as_fd(), Attributes::empty(), false) {
        Ok(()) => Ok(true),
        // No flag of the file system for it; a mount that is mapped already; a kernel before 5.12.
        Err(error) if matches!(error.errno(), Errno::INVAL | Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
