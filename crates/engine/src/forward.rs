//! Copying between a session and descriptors: the loop that an interactive front end, or a hijacked HTTP connection, sits in.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::log::Stream;
use crate::session::{Event, Session};

/// Docker's detach keys: Ctrl-P, Ctrl-Q.
const DETACH_KEYS: &[u8] = &[0x10, 0x11];

/// Which descriptors a session is copied from and to.
#[derive(Debug, Clone)]
pub struct Forward<'a> {
    /// Read from here into the process; `None` sends nothing and leaves the process's input as it is.
    pub input: Option<BorrowedFd<'a>>,
    /// The process's output, or its terminal.
    pub output: Option<BorrowedFd<'a>>,
    /// The process's error output.
    pub error: Option<BorrowedFd<'a>>,
    /// A signalfd (`casemate_kernel::process::signal_fd`): each signal read from it is handed to the callback.
    pub signals: Option<BorrowedFd<'a>>,
    /// The keys that detach when they come in this order; empty for none.
    pub detach_keys: &'a [u8],
}

impl Forward<'static> {
    /// This process's standard streams; input only when asked for.
    pub fn standard(input: bool) -> Self {
        Self {
            input: input.then(rustix::stdio::stdin),
            output: Some(rustix::stdio::stdout()),
            error: Some(rustix::stdio::stderr()),
            signals: None,
            detach_keys: &[],
        }
    }

    /// The same with Docker's detach keys.
    #[must_use]
    pub fn detachable(mut self) -> Self {
        self.detach_keys = DETACH_KEYS;
        self
    }
}

/// How a session came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The process ended.
    Exited {
        /// Its exit code, or 128 plus the signal.
        code: i32,
        /// Whether it was killed for lack of memory.
        oom_killed: bool,
    },
    /// The detach keys were typed; the process runs on.
    Detached,
    /// The supervisor is gone without a word; `Engine::wait` tells what became of the container.
    Lost,
}

/// Finds the detach keys in what is typed.
#[derive(Debug)]
struct Keys<'a> {
    sequence: &'a [u8],
    matched: usize,
}

impl Keys<'_> {
    /// Appends to `out` what is to be sent on; true when the sequence is complete.
    fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        if self.sequence.is_empty() {
            out.extend_from_slice(typed);
            return false;
        }
        for &byte in typed {
            if self.sequence.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.sequence.len() {
                    return true;
                }
                continue;
            }
            // What was held back was no sequence after all; this byte may begin one.
            out.extend(self.sequence.get(..self.matched).unwrap_or_default());
            self.matched = usize::from(self.sequence.first() == Some(&byte));
            if self.matched == 0 {
                out.push(byte);
            }
        }
        false
    }
}

/// Input on its way: read, not yet taken.
#[derive(Debug, Default)]
struct Pending {
    data: Vec<u8>,
    sent: usize,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.sent >= self.data.len()
    }

    fn send(&mut self, session: &mut Session) -> Result<()> {
        while !self.is_empty() {
            let taken = session.send_input(self.data.get(self.sent..).unwrap_or_default())?;
            if taken == 0 {
                return Ok(());
            }
            self.sent += taken;
        }
        self.data.clear();
        self.sent = 0;
        Ok(())
    }
}

impl Session {
    /// Copies until the process ends, the detach keys are typed, or the supervisor is gone.
    ///
    /// Nothing is lost: input that the process does not take yet is kept and no more is read; output that can't be written
    /// is waited for. Each signal from `signals` is given to `on_signal` with the session, which can resize or signal.
    ///
    /// # Errors
    /// A descriptor that can't be read from or written to (a closed pipe among them). The process runs on.
    pub fn forward(&mut self, forward: &Forward<'_>, on_signal: &mut dyn FnMut(&mut Self, u8)) -> Result<Outcome> {
        let mut keys = Keys { sequence: forward.detach_keys, matched: 0 };
        let mut input = forward.input;
        let mut pending = Pending::default();
        let mut buffer = vec![0_u8; 16 * 1024];
        loop {
            let ready = self.wait(input.filter(|_| pending.is_empty()), forward.signals, !pending.is_empty())?;
            if ready.signal
                && let Some(signals) = forward.signals
            {
                while let Ok(Some(number)) = casemate_kernel::process::read_signal(signals) {
                    on_signal(self, number);
                }
            }
            if ready.input
                && let Some(descriptor) = input
            {
                match rustix::io::read(descriptor, &mut buffer[..]) {
                    // A terminal that hung up is an end like any other.
                    Ok(0) | Err(Errno::IO) => {
                        self.end_input()?;
                        input = None;
                    }
                    Ok(length) => {
                        let typed = buffer.get(..length).unwrap_or_default();
                        if keys.filter(typed, &mut pending.data) {
                            pending.send(self)?;
                            self.leave();
                            return Ok(Outcome::Detached);
                        }
                    }
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(errno) => return Err(Error::kernel("read standard input")(errno.into())),
                }
            }
            pending.send(self)?;
            if let Some(outcome) = self.drain(forward)? {
                return Ok(outcome);
            }
        }
    }

    /// Waits for this session to end, hearing nothing but that.
    pub fn wait_end(&mut self) -> Result<Outcome> {
        let silent = Forward { input: None, output: None, error: None, signals: None, detach_keys: &[] };
        self.forward(&silent, &mut |_, _| {})
    }

    /// Waits until something can be done, at most `milliseconds`; false when nothing could.
    pub(crate) fn wait_readable(&self, milliseconds: u32) -> Result<bool> {
        let mut set: Vec<PollFd<'_>> =
            self.descriptors().iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let timeout = rustix::event::Timespec {
            tv_sec: i64::from(milliseconds / 1000),
            tv_nsec: i64::from(milliseconds % 1000) * 1_000_000,
        };
        match poll(&mut set, Some(&timeout)) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(Error::kernel("wait for the container")(errno.into())),
        }
    }

    fn wait(&self, input: Option<BorrowedFd<'_>>, signals: Option<BorrowedFd<'_>>, sending: bool) -> Result<Ready> {
        let own = self.descriptors();
        let mut set: Vec<PollFd<'_>> = own.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let input_at = input.map(|fd| {
            set.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            set.len() - 1
        });
        let signal_at = signals.map(|fd| {
            set.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
            set.len() - 1
        });
        if let Some(fd) = self.input_descriptor().filter(|_| sending) {
            set.push(PollFd::from_borrowed_fd(fd, PollFlags::OUT));
        }
        match poll(&mut set, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::kernel("wait for the container")(errno.into())),
        }
        let happened = |at: Option<usize>| at.and_then(|at| set.get(at)).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready { input: happened(input_at), signal: happened(signal_at) })
    }

    /// Hears everything that is there, and writes it out.
    fn drain(&mut self, forward: &Forward<'_>) -> Result<Option<Outcome>> {
        let mut outcome = None;
        while outcome.is_none() {
            let heard = self.receive(&mut |event| {
                match event {
                    Event::Output(stream, data) => {
                        let (to, name) = match stream {
                            Stream::Stdout => (forward.output, "write standard output"),
                            Stream::Stderr => (forward.error, "write standard error"),
                        };
                        if let Some(to) = to {
                            write_all(to, data, name)?;
                        }
                    }
                    Event::Started { .. } => {}
                    Event::Failed(kind, text) => return Err(Error::Launch { kind, text: text.to_owned() }),
                    Event::Exited { code, oom_killed } => outcome = Some(Outcome::Exited { code, oom_killed }),
                    Event::Lost => outcome = Some(Outcome::Lost),
                }
                Ok(())
            })?;
            if !heard {
                break;
            }
        }
        Ok(outcome)
    }
}

struct Ready {
    input: bool,
    signal: bool,
}

/// Writes everything, also to a descriptor that somebody made non-blocking.
fn write_all(to: BorrowedFd<'_>, mut data: &[u8], doing: &'static str) -> Result<()> {
    while !data.is_empty() {
        match rustix::io::write(to, data) {
            Ok(written) => data = data.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut set = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                match poll(&mut set, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(Error::kernel(doing)(errno.into())),
                }
            }
            Err(errno) => return Err(Error::kernel(doing)(errno.into())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(parts: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut keys = Keys { sequence: DETACH_KEYS, matched: 0 };
        let mut out = Vec::new();
        for part in parts {
            if keys.filter(part, &mut out) {
                return (out, true);
            }
        }
        (out, false)
    }

    #[test]
    fn detach_keys_are_found_also_when_split() {
        assert_eq!(typed(&[b"ab\x10\x11cd"]), (b"ab".to_vec(), true));
        assert_eq!(typed(&[b"a\x10", b"\x11"]), (b"a".to_vec(), true));
    }

    #[test]
    fn half_a_sequence_is_sent_on() {
        assert_eq!(typed(&[b"\x10x"]), (b"\x10x".to_vec(), false));
        assert_eq!(typed(&[b"\x10\x10\x11"]), (b"\x10".to_vec(), true));
        assert_eq!(typed(&[b"\x11"]), (b"\x11".to_vec(), false));
    }

    #[test]
    fn no_keys_means_everything_is_sent() {
        let mut keys = Keys { sequence: &[], matched: 0 };
        let mut out = Vec::new();
        assert!(!keys.filter(b"\x10\x11", &mut out));
        assert_eq!(out, b"\x10\x11");
    }
}
