//! Unix sockets between our own processes: pairs, messages with descriptors, and who is at the other end.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::error::{Call, Error, Result};

/// How many descriptors one message can carry (`SCM_MAX_FD` of the kernel).
pub const MAX_DESCRIPTORS: usize = 253;

/// A connected pair of sockets that keep message boundaries (`SOCK_SEQPACKET`), closed on exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)".into())
}

/// Listens on a new socket of the same kind, `name` in a directory.
///
/// Whoever may search the directory and write the socket (`mode`) can connect, from whichever network namespace.
pub fn listen(directory: impl AsFd, name: &str, mode: u32) -> Result<OwnedFd> {
    let call = |what: &str| format!("{what}([{}]/{name})", directory.as_fd().as_raw_fd());
    let socket = new()?;
    // The mode a socket is bound with is that of its descriptor (unix(7)): there is no moment in which it is wider.
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(mode)).call(|| call("fchmod"))?;
    rustix::net::bind(&socket, &address(directory.as_fd(), name)?).call(|| call("bind"))?;
    rustix::net::listen(&socket, 8).call(|| call("listen"))?;
    Ok(socket)
}

/// Connects to a socket made with [`listen`].
///
/// # Errors
/// `ECONNREFUSED` when nobody holds the listening end any more; `ENOENT` when there is no such file.
pub fn connect(directory: impl AsFd, name: &str) -> Result<OwnedFd> {
    let socket = new()?;
    rustix::net::connect(&socket, &address(directory.as_fd(), name)?)
        .call(|| format!("connect([{}]/{name})", directory.as_fd().as_raw_fd()))?;
    Ok(socket)
}

/// Connects to a stream socket by its path, as engines listen for terminals (`--console-socket`) and filters.
pub fn connect_stream(path: &std::path::Path) -> Result<OwnedFd> {
    let call = || format!("connect({path:?})");
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .call(|| "socket(AF_UNIX, SOCK_STREAM)".into())?;
    // A path may be longer than a socket's address (108 bytes): the last part is named in its directory.
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err(Error::new(call(), Errno::INVAL));
    };
    let parent = if parent.as_os_str().is_empty() { std::path::Path::new(".") } else { parent };
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, rustix::fs::Mode::empty()).call(call)?;
    rustix::net::connect(&socket, &address(directory.as_fd(), name)?).call(call)?;
    Ok(socket)
}

/// Waits for somebody to connect.
pub fn accept(listener: impl AsFd) -> Result<OwnedFd> {
    loop {
        match rustix::net::accept_with(listener.as_fd(), SocketFlags::CLOEXEC) {
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            other => return other.call(|| format!("accept4([{}])", listener.as_fd().as_raw_fd())),
        }
    }
}

fn new() -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call(|| "socket(AF_UNIX, SOCK_SEQPACKET)".into())
}

/// A name in a directory that is held, whatever the length of the directory's path (an address holds 108 bytes).
fn address(directory: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix> {
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    SocketAddrUnix::new(&path).call(|| format!("address({path:?})"))
}

/// A message received.
#[derive(Debug)]
pub struct Message {
    /// Its bytes; none, and no descriptors, at the end of the stream.
    pub data: Vec<u8>,
    /// The descriptors that came with it, closed on exec.
    pub descriptors: Vec<OwnedFd>,
}

/// Sends one message. An empty one with descriptors is sent with a single zero byte, as a message needs one.
pub fn send(socket: impl AsFd, data: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    let socket = socket.as_fd();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Error::new(format!("sendmsg({} descriptors)", descriptors.len()), Errno::TOOMANYREFS));
    }
    let data = if data.is_empty() { &[0_u8][..] } else { data };
    loop {
        match sendmsg(socket, &[IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => {
                let call = format!(
                    "sendmsg([{}], {} bytes, {} descriptors)",
                    socket.as_raw_fd(),
                    data.len(),
                    descriptors.len()
                );
                return Err(Error::new(call, errno));
            }
        }
    }
}

/// Receives one message of at most `limit` bytes, waiting for it.
///
/// # Errors
/// `EMSGSIZE` when it was longer, or came with more descriptors than fit.
pub fn receive(socket: impl AsFd, limit: usize) -> Result<Message> {
    let socket = socket.as_fd();
    let mut data = vec![0_u8; limit];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let call = || format!("recvmsg([{}])", socket.as_raw_fd());
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut data)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other.call(call)?,
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            descriptors.extend(fds);
        }
    }
    if received.flags.intersects(rustix::net::ReturnFlags::TRUNC | rustix::net::ReturnFlags::CTRUNC) {
        return Err(Error::new(call(), Errno::MSGSIZE));
    }
    data.truncate(received.bytes);
    Ok(Message { data, descriptors })
}

/// The effective user id of the process at the other end when it connected (`SO_PEERCRED`, `unix(7)`).
pub fn peer_uid(socket: impl AsFd) -> Result<u32> {
    rustix::net::sockopt::socket_peercred(socket.as_fd())
        .call(|| format!("getsockopt([{}], SO_PEERCRED)", socket.as_fd().as_raw_fd()))
        .map(|credentials| credentials.uid.as_raw())
}
