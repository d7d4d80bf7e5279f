//! Being connected to a process in a container: through its supervisor's socket, or directly to one that `exec` made.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use casemate_kernel::process;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Error, Result};
use crate::frame::{LARGEST_CONTENT, LARGEST_FRAME, Reply, Request};
use crate::log::Stream;
use crate::signal::Signal;

/// The socket's name in a container's run directory.
pub(crate) const SOCKET: &str = "attach.sock";

/// A connection to a container's first process, or to one that `exec` started. Dropping it detaches.
#[derive(Debug)]
pub struct Session {
    peer: Peer,
    /// The process that signals go to.
    target: Option<OwnedFd>,
    buffer: Vec<u8>,
    frame: Vec<u8>,
}

#[derive(Debug)]
enum Peer {
    Supervisor(OwnedFd),
    Child(Child),
}

/// A process that is our own child.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pidfd: OwnedFd,
    pub(crate) input: Option<OwnedFd>,
    pub(crate) output: Option<OwnedFd>,
    pub(crate) error: Option<OwnedFd>,
    /// The terminal, which is input and output in one.
    pub(crate) console: Option<OwnedFd>,
}

/// What is heard on a session.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The process wrote this.
    Output(Stream, &'a [u8]),
    /// It is running.
    Started {
        /// Its id on the host.
        pid: u32,
    },
    /// It could not be started.
    Failed(crate::ErrorKind, &'a str),
    /// It has ended; nothing follows.
    Exited {
        /// Its exit code, or 128 plus the signal that ended it.
        code: i32,
        /// Whether the kernel killed it for lack of memory.
        oom_killed: bool,
    },
    /// The other end is gone and has not said how the process ended; nothing follows.
    Lost,
}

impl Session {
    pub(crate) fn from_socket(socket: OwnedFd, target: Option<OwnedFd>) -> Self {
        Self { peer: Peer::Supervisor(socket), target, buffer: vec![0; LARGEST_FRAME], frame: Vec::new() }
    }

    pub(crate) fn from_child(child: Child) -> Result<Self> {
        for end in [&child.input, &child.output, &child.error, &child.console].into_iter().flatten() {
            set_nonblocking(end)?;
        }
        Ok(Self { peer: Peer::Child(child), target: None, buffer: vec![0; LARGEST_FRAME], frame: Vec::new() })
    }

    /// Connects to the supervisor that listens in a run directory. `None` when nobody listens (any more).
    pub(crate) fn connect(
        run_directory: &Path,
        output: bool,
        input: bool,
        target: Option<OwnedFd>,
    ) -> Result<Option<Self>> {
        let directory = match File::open(run_directory) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("open", run_directory)(error)),
        };
        let path = run_directory.join(SOCKET);
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|errno| Error::errno("make a socket for", &path, errno))?;
        match rustix::net::connect(&socket, &address_in(&directory)?) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(None),
            Err(errno) => return Err(Error::errno("connect to", &path, errno)),
        }
        let mut session = Self::from_socket(socket, target);
        match session.control(&Request::Subscribe { output, input }) {
            Ok(()) => Ok(Some(session)),
            Err(Error::Kernel { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The descriptors on which something may be heard, for a caller with a poll loop of its own.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match &self.peer {
            Peer::Supervisor(socket) => vec![socket.as_fd()],
            Peer::Child(child) => [&child.output, &child.error, &child.console]
                .into_iter()
                .flatten()
                .map(AsFd::as_fd)
                .chain([child.pidfd.as_fd()])
                .collect(),
        }
    }

    /// The descriptor that becomes writable when input can be taken again.
    pub fn input_descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.peer {
            Peer::Supervisor(socket) => Some(socket.as_fd()),
            Peer::Child(child) => child.input.as_ref().or(child.console.as_ref()).map(AsFd::as_fd),
        }
    }

    /// Hears one thing, if there is one; never waits. After `Exited`, `Failed` or `Lost` nothing follows.
    ///
    /// # Errors
    /// What the kernel answers to the read, or [`Error::Damaged`] for what no supervisor says.
    pub fn receive(&mut self, sink: &mut dyn FnMut(Event<'_>) -> Result<()>) -> Result<bool> {
        match &mut self.peer {
            Peer::Supervisor(socket) => {
                let length = match rustix::net::recv(&*socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                    Ok((length, _)) => length,
                    Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
                    Err(Errno::CONNRESET | Errno::PIPE) => 0,
                    Err(errno) => return Err(Error::kernel("hear from the container's supervisor")(errno.into())),
                };
                let message = self.buffer.get(..length).unwrap_or_default();
                if message.is_empty() {
                    sink(Event::Lost)?;
                    return Ok(true);
                }
                let event = match Reply::decode(message) {
                    Some(Reply::Stdout(data)) => Event::Output(Stream::Stdout, data),
                    Some(Reply::Stderr(data)) => Event::Output(Stream::Stderr, data),
                    Some(Reply::Started { pid }) => Event::Started { pid },
                    Some(Reply::Failed { kind, text }) => Event::Failed(kind, text),
                    Some(Reply::Exited { code, oom_killed }) => Event::Exited { code, oom_killed },
                    None => {
                        return Err(Error::Damaged {
                            path: SOCKET.into(),
                            why: "the supervisor sent a message that is none of its protocol".to_owned(),
                        });
                    }
                };
                sink(event)?;
                Ok(true)
            }
            Peer::Child(child) => child.receive(&mut self.buffer, sink),
        }
    }

    /// Gives input to the process; says how much of it was taken, possibly nothing. Never waits.
    pub fn send_input(&mut self, data: &[u8]) -> Result<usize> {
        match &self.peer {
            Peer::Supervisor(socket) => {
                let part = data.get(..LARGEST_CONTENT).unwrap_or(data);
                if part.is_empty() {
                    return Ok(0);
                }
                Request::Stdin(part).encode(&mut self.frame);
                match rustix::net::send(socket, &self.frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                    Ok(_) => Ok(part.len()),
                    Err(Errno::AGAIN | Errno::INTR) => Ok(0),
                    // The process or its supervisor is gone: the end is told on the reading side.
                    Err(Errno::PIPE | Errno::CONNRESET) => Ok(data.len()),
                    Err(errno) => Err(Error::kernel("send input to the container")(errno.into())),
                }
            }
            Peer::Child(child) => {
                let Some(end) = child.input.as_ref().or(child.console.as_ref()) else { return Ok(data.len()) };
                match rustix::io::write(end, data) {
                    Ok(written) => Ok(written),
                    Err(Errno::AGAIN | Errno::INTR) => Ok(0),
                    Err(Errno::PIPE | Errno::IO) => Ok(data.len()),
                    Err(errno) => Err(Error::kernel("send input to the process")(errno.into())),
                }
            }
        }
    }

    /// Ends the process's input.
    pub fn end_input(&mut self) -> Result<()> {
        match &mut self.peer {
            Peer::Supervisor(_) => match self.control(&Request::StdinEnd) {
                Err(Error::Kernel { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                other => other,
            },
            Peer::Child(child) => {
                child.input = None;
                Ok(())
            }
        }
    }

    /// Tells the process's terminal its size; without a terminal nothing happens.
    pub fn resize(&mut self, columns: u16, rows: u16) -> Result<()> {
        match &self.peer {
            Peer::Supervisor(_) => self.control(&Request::Resize { columns, rows }),
            Peer::Child(child) => match &child.console {
                Some(console) => casemate_kernel::terminal::set_size(console, columns, rows)
                    .map_err(|error| Error::kernel("resize the terminal")(error.into())),
                None => Ok(()),
            },
        }
    }

    /// Sends a signal to the process. One that has ended needs none.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let target = match (&self.target, &self.peer) {
            (Some(target), _) => target,
            (None, Peer::Child(child)) => &child.pidfd,
            (None, Peer::Supervisor(_)) => return Ok(()),
        };
        match process::pidfd_send_signal(target, signal.number()) {
            Err(error) if error.errno() != Errno::SRCH => Err(Error::kernel("signal the process")(error.into())),
            _ => Ok(()),
        }
    }

    /// Leaves on purpose: the process's input stays open for whoever attaches next.
    pub(crate) fn leave(&mut self) {
        // A supervisor that is gone needs no farewell.
        let _ = self.control(&Request::Detach);
    }

    fn control(&mut self, request: &Request<'_>) -> Result<()> {
        let Peer::Supervisor(socket) = &self.peer else { return Ok(()) };
        request.encode(&mut self.frame);
        rustix::io::retry_on_intr(|| rustix::net::send(socket, &self.frame, SendFlags::NOSIGNAL))
            .map(drop)
            .map_err(|errno| Error::kernel("speak to the container's supervisor")(errno.into()))
    }

    pub(crate) fn set_target(&mut self, target: Option<OwnedFd>) {
        self.target = target;
    }
}

impl Child {
    /// Output first, the end last: what the process wrote before it ended is in the pipes by then.
    fn receive(&mut self, buffer: &mut [u8], sink: &mut dyn FnMut(Event<'_>) -> Result<()>) -> Result<bool> {
        // Asked before the pipes are read, so that nothing can be written between an empty pipe and the end.
        let ended =
            process::try_wait(&self.pidfd).map_err(|error| Error::kernel("wait for the process")(error.into()))?;
        let mut heard = false;
        // A descendant may hold the pipes and go on writing after the end: what a pipe can hold, and a bit, is enough.
        for _ in 0..64 {
            let mut heard_now = false;
            for (stream, end) in [
                (Stream::Stdout, &mut self.output),
                (Stream::Stderr, &mut self.error),
                (Stream::Stdout, &mut self.console),
            ] {
                let Some(descriptor) = end.as_ref() else { continue };
                match rustix::io::read(descriptor, &mut *buffer) {
                    // EIO: the other side of a terminal is closed.
                    Ok(0) | Err(Errno::IO) => *end = None,
                    Ok(length) => {
                        sink(Event::Output(stream, buffer.get(..length).unwrap_or_default()))?;
                        heard_now = true;
                    }
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(errno) => return Err(Error::kernel("read what the process writes")(errno.into())),
                }
            }
            heard |= heard_now;
            if !heard_now || ended.is_none() {
                break;
            }
        }
        if let Some(exit) = ended {
            sink(Event::Exited { code: exit.code(), oom_killed: false })?;
            return Ok(true);
        }
        Ok(heard)
    }
}

pub(crate) fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let set = || -> rustix::io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(fd.as_fd())?;
        rustix::fs::fcntl_setfl(fd.as_fd(), flags | OFlags::NONBLOCK)
    };
    set().map_err(|errno| Error::kernel("set a descriptor non-blocking")(errno.into()))
}

/// The socket's address by way of the directory's descriptor: a path of any length fits.
pub(crate) fn address_in(directory: &File) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
        .map_err(|errno| Error::kernel("name the attach socket")(errno.into()))
}
