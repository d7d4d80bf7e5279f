//! A process that outlives the command it comes from, and holds nothing of it but what it was given.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags};

use crate::error::{Call, Error, Result, last_errno};
use crate::process::{Child, Forked, Standard, duplicate_to_standard, exit_now, fork};
use crate::terminal;

/// Forks a process that outlives its maker: a session of its own, `/` as its directory, `/dev/null` as its standard
/// descriptors, and of all other descriptors only those in `keep`, whatever the maker's caller had left open.
///
/// In the child `run` gets the kept descriptors, in order, and the state; the child exits with what it returns. The
/// parent keeps its own copies of everything but `keep`, which are closed in it.
///
/// `State: Clone` keeps descriptors out of it: `OwnedFd`, `File` and sockets are not `Clone`, and would be closed under
/// their owner here.
///
/// # Errors
/// As [`fork`]. A child that cannot set itself up exits with 255.
pub fn fork_detached<State: Clone + 'static>(
    keep: Vec<OwnedFd>,
    state: State,
    run: fn(Vec<OwnedFd>, State) -> u8,
) -> Result<Child> {
    match fork()? {
        Forked::Parent(child) => Ok(child),
        Forked::Child => {
            let detached = detach(&keep);
            exit_now(if detached.is_ok() { run(keep, state) } else { 255 })
        }
    }
}

fn detach(keep: &[OwnedFd]) -> Result<()> {
    terminal::new_session()?;
    rustix::process::chdir("/").call(|| "chdir(\"/\")".into())?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .call(|| "open(\"/dev/null\")".into())?;
    for standard in [Standard::Input, Standard::Output, Standard::Error] {
        duplicate_to_standard(null.as_fd(), standard)?;
    }
    drop(null);
    let mut numbers: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    numbers.sort_unstable();
    let mut from = 3_u32;
    for number in numbers.iter().filter_map(|&n| u32::try_from(n).ok()) {
        if number > from {
            close_range(from, number - 1)?;
        }
        from = from.max(number + 1);
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: called in a process just forked by `fork_detached`, which goes on in `run` with nothing but the kept
    // descriptors and a state that can't own others; the frames below it are never returned to (exit_now), so no
    // value that owns one of these numbers is used or dropped again.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0_u32) } < 0 {
        return Err(Error::new(format!("close_range({first}, {last})"), last_errno()));
    }
    Ok(())
}
