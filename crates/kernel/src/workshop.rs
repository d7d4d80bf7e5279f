//! A mount namespace for a moment, to make there what the kernel makes of attached mounts only.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, Result};
use crate::mount;
use crate::namespace::{self, Namespaces};
use crate::process::{self, Forked};
use crate::socket;

/// Runs `make` in a short-lived process that has a mount namespace of its own, and returns the descriptor it made. It is
/// given a place on which mounts can be attached, one over the other; nothing of that is seen outside, or stays.
///
/// # Errors
/// `EDEADLK` when this process has other threads; else what `make` answers.
pub(crate) fn in_own_mount_namespace(make: impl FnOnce(&OwnedFd) -> Result<OwnedFd>) -> Result<OwnedFd> {
    let (mine, theirs) = socket::pair()?;
    match process::fork()? {
        Forked::Child => {
            let sent = match enter().and_then(|place| make(&place)) {
                Ok(fd) => socket::send(&theirs, &[], &[fd.as_fd()]),
                Err(error) => socket::send(&theirs, error_text(&error).as_bytes(), &[]),
            };
            process::exit_now(u8::from(sent.is_err()))
        }
        Forked::Parent(child) => {
            drop(theirs);
            let received = socket::receive(&mine, 4096);
            process::wait(&child.pidfd)?;
            let message = received?;
            message.descriptors.into_iter().next().ok_or_else(|| parse_error(&message.data))
        }
    }
}

fn enter() -> Result<OwnedFd> {
    namespace::unshare(Namespaces::MOUNT)?;
    let open = |path: &str| {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call(|| format!("open({path:?})"))
    };
    mount::set_propagation(open("/")?, mount::Propagation::Private, true)?;
    // A place that surely exists; what is attached there is found again through its descriptor.
    open("/proc")
}

fn error_text(error: &Error) -> String {
    // What a message holds at most; the receiver takes no more.
    let mut text = format!("{} {}", error.raw_os_error(), error.call());
    while text.len() > 4000 {
        text.pop();
    }
    text
}

fn parse_error(data: &[u8]) -> Error {
    let text = String::from_utf8_lossy(data);
    let (number, call) = text.split_once(' ').unwrap_or(("", &text));
    let errno = number.parse().map_or(Errno::IO, Errno::from_raw_os_error);
    Error::new(call, errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_back_as_it_was() {
        let error = Error::new("move_mount([3], [4])", Errno::INVAL);
        assert_eq!(parse_error(error_text(&error).as_bytes()), error);
        let long = Error::new("é".repeat(5000), Errno::NOENT);
        assert_eq!(parse_error(error_text(&long).as_bytes()).errno(), Errno::NOENT);
    }
}
