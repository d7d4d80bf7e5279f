//! Network devices and their addresses, over `rtnetlink(7)`.
//!
//! One socket, one question at a time, waiting for the answer: no thread and no event loop.

mod address;
mod link;

use std::os::fd::{AsFd, OwnedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

pub use self::address::{Address, add_address, permanent_addresses};
pub use self::link::{is_valid_name, link_index, move_link, set_link};
use crate::error::{Call, Error, Result};

/// The longest datagram: the kernel's own bound on what it answers at once is half of it (`netlink(7)`).
const LONGEST: usize = 64 * 1024;

/// A connection to the network of one network namespace: the one that the caller was in when it was made.
#[derive(Debug)]
pub struct Route {
    socket: OwnedFd,
    sequence: u32,
}

impl Route {
    /// Connects to the caller's network namespace.
    ///
    /// # Errors
    /// What `socket(2)` answers.
    pub fn open() -> Result<Self> {
        // Protocol 0 of the family is NETLINK_ROUTE.
        let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .call(|| "socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)".to_owned())?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Asks for a change, and waits until it is made. `call` says what for, in an error.
    fn change(&mut self, message: RouteNetlinkMessage, flags: u16, call: impl Fn() -> String) -> Result<()> {
        self.ask(message, NLM_F_REQUEST | NLM_F_ACK | flags, &call, |_| ())
    }

    /// Asks for a list, and hands each entry to `each`.
    fn dump(
        &mut self,
        message: RouteNetlinkMessage,
        call: impl Fn() -> String,
        each: impl FnMut(RouteNetlinkMessage),
    ) -> Result<()> {
        self.ask(message, NLM_F_REQUEST | NLM_F_DUMP, &call, each)
    }

    fn ask(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        call: &impl Fn() -> String,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> Result<()> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        header.message_type = message.message_type();
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        rustix::net::send(self.socket.as_fd(), &bytes, SendFlags::empty()).call(call)?;
        let mut buffer = vec![0_u8; LONGEST];
        loop {
            let (_, received) = match rustix::net::recv(self.socket.as_fd(), &mut buffer[..], RecvFlags::TRUNC) {
                Err(Errno::INTR) => continue,
                other => other.call(call)?,
            };
            let mut rest = buffer.get(..received).ok_or_else(|| Error::new(call(), Errno::MSGSIZE))?;
            while !rest.is_empty() {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| Error::new(format!("{}: {error}", call()), Errno::BADMSG))?;
                rest = after(rest, answer.header.length);
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => each(message),
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => {
                        // An error of 0 is the acknowledgement that was asked for.
                        return match -error.raw_code() {
                            0 => Ok(()),
                            errno => Err(Error::new(call(), Errno::from_raw_os_error(errno))),
                        };
                    }
                    NetlinkPayload::Overrun(_) => return Err(Error::new(call(), Errno::OVERFLOW)),
                    _ => {}
                }
            }
        }
    }
}

/// What follows a message of this length in a datagram; messages begin at multiples of 4 bytes.
fn after(datagram: &[u8], length: u32) -> &[u8] {
    let aligned = usize::try_from(length).unwrap_or(usize::MAX).max(16).saturating_add(3) & !3;
    datagram.get(aligned..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_a_datagram_are_aligned() {
        assert_eq!(after(&[0; 40], 17), &[0; 20]);
        assert!(after(&[0; 16], 16).is_empty());
        // A length that makes no progress would be read for ever.
        assert_eq!(after(&[0; 40], 0), &[0; 24]);
        assert!(after(&[0; 40], u32::MAX).is_empty());
    }
}
