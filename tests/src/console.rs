//! The other end of `--console-socket`: a Unix socket that a container's terminal is sent to.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// A socket that waits for terminals.
#[derive(Debug)]
pub struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    /// Listens in `directory`, whose path must be short.
    pub fn listen(directory: &Path) -> Self {
        let path = directory.join("console");
        let listener = UnixListener::bind(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { listener, path }
    }

    /// What `--console-socket` is given.
    pub fn path(&self) -> &str {
        self.path.to_str().expect("a path of ours")
    }

    /// The master of the terminal that was sent.
    #[track_caller]
    pub fn receive(&self) -> Master {
        assert!(ready(&self.listener, Duration::from_secs(20)), "no terminal is sent to {}", self.path.display());
        let (stream, _) = self.listener.accept().expect("a connection");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0_u8; 4096];
        assert!(ready(&stream, Duration::from_secs(20)), "nothing is sent over {}", self.path.display());
        recvmsg(&stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC).expect("a message");
        let descriptors = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        Master { descriptor: descriptors.expect("a descriptor in the message") }
    }
}

/// The master of a container's terminal.
#[derive(Debug)]
pub struct Master {
    /// The descriptor.
    pub descriptor: OwnedFd,
}

impl Master {
    /// Types.
    #[track_caller]
    pub fn send(&self, keys: &str) {
        rustix::io::write(&self.descriptor, keys.as_bytes()).expect("the terminal takes input");
    }

    /// Everything that appears until `text` has, or nobody has the other end open, or for 20 seconds.
    pub fn read_until(&self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        let mut seen = String::new();
        let mut buffer = [0_u8; 4096];
        while !seen.contains(text) && ready(&self.descriptor, end.saturating_duration_since(Instant::now())) {
            match rustix::io::read(&self.descriptor, &mut buffer[..]) {
                Ok(count) if count > 0 => seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
                // EIO: nobody has the other end open.
                _ => break,
            }
        }
        seen
    }
}

fn ready(descriptor: &impl std::os::fd::AsFd, limit: Duration) -> bool {
    let timeout = Timespec::try_from(limit).expect("a short time");
    let mut polled = [PollFd::new(descriptor, PollFlags::IN)];
    poll(&mut polled, Some(&timeout)).expect("it can be polled") > 0
}
