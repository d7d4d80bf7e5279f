//! Unix sockets between our own processes: pairs, messages with descriptors, and who is at the other end.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::error::{Call, Error, Result};

/// How many descriptors one message can carry (`SCM_MAX_FD` of the kernel).
pub const MAX_DESCRIPTORS: usize = 253;

/// A connected pair of sockets that keep message boundaries (`SOCK_SEQPACKET`), closed on exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .call(|| "socketpair(AF_UNIX, SOCK_SEQPACKET)".into())
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
