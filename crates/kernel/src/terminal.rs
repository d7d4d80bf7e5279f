//! Pseudo-terminals: a container's own, from its own `devpts`.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::error::{Call, Error, Result, last_errno};
use crate::path;

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub struct Terminal {
    /// The engine's end.
    pub master: OwnedFd,
    /// The container's end.
    pub slave: OwnedFd,
}

/// Opens a new terminal of the `devpts` instance mounted at a descriptor.
///
/// The slave comes from the master itself (`TIOCGPTPEER`, Linux 4.13), not from a path that may have been exchanged
/// (CVE-2025-52565).
pub fn open(devpts: impl AsFd) -> Result<Terminal> {
    let master = path::open_beneath_same_mount(
        devpts,
        std::path::Path::new("ptmx"),
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
    )?;
    rustix::pty::unlockpt(&master).call(|| "ioctl(TIOCSPTLCK)".into())?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).call(|| "ioctl(TIOCGPTPEER)".into())?;
    Ok(Terminal { master, slave })
}

/// Makes a terminal the controlling one of the calling session leader.
pub fn set_controlling(slave: impl AsFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(slave.as_fd())
        .call(|| format!("ioctl([{}], TIOCSCTTY)", slave.as_fd().as_raw_fd()))
}

/// Tells a terminal its size.
pub fn set_size(terminal: impl AsFd, columns: u16, rows: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal.as_fd(), size)
        .call(|| format!("ioctl([{}], TIOCSWINSZ, {columns}x{rows})", terminal.as_fd().as_raw_fd()))
}

/// Makes the calling process the leader of a new session, without a controlling terminal.
pub fn new_session() -> Result<()> {
    rustix::process::setsid().call(|| "setsid()".into()).map(drop)
}

/// Changes the owner of the file behind a descriptor.
pub fn change_owner(fd: impl AsFd, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: takes a borrowed descriptor and integers.
    if unsafe { libc::fchown(fd.as_fd().as_raw_fd(), uid, gid) } < 0 {
        return Err(Error::new(format!("fchown([{}], {uid}, {gid})", fd.as_fd().as_raw_fd()), last_errno()));
    }
    Ok(())
}

/// A pair of connected pipe ends, `(read, write)`, closed on exec.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the array has room for the two descriptors, which are new and owned by nobody else.
    unsafe {
        if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) < 0 {
            return Err(Error::new("pipe2(O_CLOEXEC)", last_errno()));
        }
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}
