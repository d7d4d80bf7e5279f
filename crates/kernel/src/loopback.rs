//! The loopback device of a network namespace: there from the beginning, and down until somebody raises it.

use std::os::fd::AsRawFd as _;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::{Call, Error, Result, last_errno};

/// The name that the kernel gives it in every network namespace.
const NAME: &[u8] = b"lo";

/// `IFF_UP | IFF_RUNNING` as an ifreq has it: all the flags that can be set of a device that is up.
const UP_AND_RUNNING: libc::c_short = 0x41;

/// Raises the loopback device of the caller's network namespace, so that 127.0.0.1 and ::1 can be reached (`netdevice(7)`).
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` in the user namespace that owns the network namespace.
pub fn raise() -> Result<()> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .call(|| "socket(AF_UNIX, SOCK_DGRAM)".to_owned())?;
    // SAFETY: all zeros is a valid ifreq: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (field, byte) in request.ifr_name.iter_mut().zip(NAME) {
        *field = libc::c_char::from_ne_bytes([*byte]);
    }
    request.ifr_ifru.ifru_flags = UP_AND_RUNNING;
    // SAFETY: SIOCSIFFLAGS reads an ifreq, whose name ends in a NUL byte because the rest of the field is zero, and keeps no
    // pointer to it.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } < 0 {
        return Err(Error::new("ioctl(SIOCSIFFLAGS, {lo, IFF_UP|IFF_RUNNING})", last_errno()));
    }
    Ok(())
}
