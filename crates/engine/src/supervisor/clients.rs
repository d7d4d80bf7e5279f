//! Those who are connected to a supervisor: the command that started the container, and whoever attached since.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use crate::frame::{LARGEST_FRAME, Reply, Request};

/// More than this many at once are turned away.
const MOST_CLIENTS: usize = 64;

/// One connection.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    wants_output: bool,
    gives_input: bool,
    /// A frame that the socket had no room for. Until it is sent nothing more is read from the container.
    waiting: Vec<u8>,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Clients {
    list: Vec<Client>,
    buffer: Vec<u8>,
}

/// What a client asks the container's streams for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Input(Vec<u8>),
    /// The input has ended: the client said so, or it is gone (and had not said that it detaches).
    InputEnd,
    Resize {
        columns: u16,
        rows: u16,
    },
}

impl Clients {
    /// The starting command is a client from the beginning.
    pub(super) fn new(command: OwnedFd, attached: bool, input: bool) -> Self {
        let first =
            Client { socket: command, wants_output: attached, gives_input: attached && input, waiting: Vec::new() };
        Self { list: vec![first], buffer: Vec::new() }
    }

    /// Tells the starting command that the container runs; one that does not stay is let go.
    pub(super) fn tell_started(&mut self, pid: u32, attached: bool) {
        self.tell(&Reply::Started { pid });
        if !attached {
            self.list.clear();
        }
    }

    /// The sockets and which of them wait for room.
    pub(super) fn sockets(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        self.list.iter().map(|client| (client.socket.as_fd(), !client.waiting.is_empty()))
    }

    /// Whether somebody has not taken what was last read.
    pub(super) fn is_blocked(&self) -> bool {
        self.list.iter().any(|client| !client.waiting.is_empty())
    }

    /// Whether anybody is there.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Lets somebody in who knocked. Only the engine's own user is.
    pub(super) fn accept(&mut self, listener: &OwnedFd) {
        let Ok(socket) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC) else { return };
        let own = rustix::process::geteuid().as_raw();
        let trusted = casemate_kernel::socket::peer_uid(&socket).is_ok_and(|uid| uid == own || uid == 0);
        if trusted && self.list.len() < MOST_CLIENTS {
            self.list.push(Client { socket, wants_output: false, gives_input: false, waiting: Vec::new() });
        }
    }

    /// Sends a frame of output, which begins with its kind, to all who want it.
    pub(super) fn send_output(&mut self, frame: &[u8]) {
        self.list.retain_mut(|client| !client.wants_output || client.send(frame));
    }

    /// Sends to everybody, waiting a little for room: for what is said once.
    pub(super) fn tell(&mut self, reply: &Reply<'_>) {
        let mut frame = Vec::new();
        reply.encode(&mut frame);
        self.list.retain(|client| {
            let mut room = [PollFd::new(&client.socket, PollFlags::OUT)];
            let patience = Timespec { tv_sec: 2, tv_nsec: 0 };
            let sent = rustix::net::send(&client.socket, &frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            match sent {
                Err(Errno::AGAIN | Errno::INTR) if poll(&mut room, Some(&patience)).is_ok_and(|count| count > 0) => {
                    rustix::net::send(&client.socket, &frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok()
                }
                sent => sent.is_ok(),
            }
        });
    }

    /// Lets those go who have taken nothing for too long.
    pub(super) fn drop_blocked(&mut self) {
        self.list.retain(|client| client.waiting.is_empty());
    }

    /// Sends what waited, as far as there is room now.
    pub(super) fn flush(&mut self) {
        self.list.retain_mut(|client| {
            let frame = std::mem::take(&mut client.waiting);
            frame.is_empty() || client.send(&frame)
        });
    }

    /// Hears client number `index`, if it says something. A client that is gone, or says what is no request, is let go: then the
    /// numbers of those after it change, and `true` is returned.
    pub(super) fn hear(&mut self, index: usize, wishes: &mut Vec<Wish>) -> bool {
        self.buffer.resize(LARGEST_FRAME, 0);
        let Some(client) = self.list.get_mut(index) else { return true };
        let length = match rustix::net::recv(&client.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return false,
            Err(_) => 0,
        };
        let request = self.buffer.get(..length).and_then(Request::decode);
        let stays = match request {
            Some(Request::Subscribe { output, input }) => {
                client.wants_output = output;
                client.gives_input = input;
                true
            }
            Some(Request::Stdin(data)) if client.gives_input => {
                wishes.push(Wish::Input(data.to_vec()));
                true
            }
            Some(Request::StdinEnd) if client.gives_input => {
                client.gives_input = false;
                wishes.push(Wish::InputEnd);
                true
            }
            Some(Request::Resize { columns, rows }) => {
                wishes.push(Wish::Resize { columns, rows });
                true
            }
            // It leaves, and the container's input stays open for the next.
            Some(Request::Detach) => false,
            Some(Request::Stdin(_) | Request::StdinEnd) => true,
            None => {
                if client.gives_input {
                    wishes.push(Wish::InputEnd);
                }
                false
            }
        };
        if !stays {
            self.list.remove(index);
        }
        !stays
    }

    /// Whether client number `index` may be heard while the container does not take input.
    pub(super) fn gives_input(&self, index: usize) -> bool {
        self.list.get(index).is_some_and(|client| client.gives_input)
    }

    /// Gives back memory that was only needed for hearing.
    pub(super) fn shrink(&mut self) {
        self.buffer = Vec::new();
    }
}

impl Client {
    /// Sends a frame, or keeps it until there is room. False when the client is gone.
    fn send(&mut self, frame: &[u8]) -> bool {
        match rustix::net::send(&self.socket, frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(_) => true,
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => {
                self.waiting = frame.to_vec();
                true
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::STDOUT;
    use crate::log::Stream;
    use crate::session::{Event, Session};

    fn connected(attached: bool, input: bool) -> (Clients, Session) {
        let (ours, theirs) = casemate_kernel::socket::pair().unwrap();
        (Clients::new(theirs, attached, input), Session::from_socket(ours, None))
    }

    fn heard(session: &mut Session) -> Vec<String> {
        let mut events = Vec::new();
        while session
            .receive(&mut |event| {
                events.push(match event {
                    Event::Output(Stream::Stdout, data) => format!("out {}", data.len()),
                    other => format!("{other:?}"),
                });
                Ok(())
            })
            .unwrap()
        {
            if events.last().is_some_and(|last| last == "Lost") {
                break;
            }
        }
        events
    }

    #[test]
    fn a_full_client_loses_nothing_and_holds_the_container_back() {
        let (mut clients, mut session) = connected(true, false);
        let frame = [vec![STDOUT], vec![b'x'; 32 * 1024]].concat();
        let mut sent = 0;
        while !clients.is_blocked() {
            clients.send_output(&frame);
            sent += 1;
            assert!(sent < 10_000, "a socket's buffer is bounded");
        }
        let mut received = heard(&mut session).len();
        clients.flush();
        assert!(!clients.is_blocked());
        received += heard(&mut session).len();
        assert_eq!(received, sent);
    }

    #[test]
    fn input_resize_and_ends_become_wishes() {
        let (mut clients, mut session) = connected(true, true);
        let mut wishes = Vec::new();
        assert_eq!(session.send_input(b"typed").unwrap(), 5);
        session.resize(100, 30).unwrap();
        session.end_input().unwrap();
        for _ in 0..4 {
            assert!(!clients.hear(0, &mut wishes));
        }
        assert_eq!(wishes, [Wish::Input(b"typed".to_vec()), Wish::Resize { columns: 100, rows: 30 }, Wish::InputEnd]);
    }

    #[test]
    fn who_vanishes_ends_the_input_and_who_detaches_does_not() {
        for (detaches, expected) in [(false, vec![Wish::InputEnd]), (true, vec![])] {
            let (mut clients, mut session) = connected(true, true);
            if detaches {
                session.leave();
            }
            drop(session);
            let mut wishes = Vec::new();
            assert!(clients.hear(0, &mut wishes), "it is let go");
            assert_eq!(wishes, expected, "detaches: {detaches}");
            assert!(clients.is_empty());
        }
    }

    #[test]
    fn who_may_not_type_is_not_heard_typing() {
        let (mut clients, mut session) = connected(true, false);
        session.send_input(b"typed").unwrap();
        let mut wishes = Vec::new();
        assert!(!clients.hear(0, &mut wishes));
        assert!(wishes.is_empty());
    }

    #[test]
    fn a_detached_start_hears_that_it_started_and_no_more() {
        let (mut clients, mut session) = connected(false, false);
        clients.tell_started(7, false);
        assert!(clients.is_empty());
        assert_eq!(heard(&mut session), ["Started { pid: 7 }", "Lost"]);
    }

    #[test]
    fn the_end_is_told_to_all() {
        let (mut clients, mut session) = connected(true, false);
        clients.tell(&Reply::Exited { code: 3, oom_killed: false });
        drop(clients);
        assert_eq!(heard(&mut session), ["Exited { code: 3, oom_killed: false }", "Lost"]);
    }
}
