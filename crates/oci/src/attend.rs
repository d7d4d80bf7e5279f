//! Staying with a process until it ends: signals are passed on, and its terminal is the caller's.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use casemate_kernel::process::{self, Exit};
use casemate_runtime::Error;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios};

use crate::Failure;

/// SIGWINCH: the terminal has another size.
const WINCH: u8 = 28;
/// What is passed on: everything that is meant for a program and does not mean a fault of this one.
const PASSED_ON: [u8; 12] = [1, 2, 3, 10, 12, 14, 15, 18, 20, 21, 22, WINCH];
/// How much input may wait for a program that does not read, in bytes.
const WAITING: usize = 1 << 16;

/// The signals of this process, held back from before the container is made: one that comes in between is not lost.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

impl Signals {
    pub(crate) fn hold() -> Result<Self, Failure> {
        process::signal_fd(&PASSED_ON).map(Self).map_err(|error| Failure::new(error.to_string()))
    }

    /// Waits until the process ends. `console` is the engine's end of its terminal, if it has one.
    pub(crate) fn attend(&self, pidfd: &OwnedFd, console: Option<OwnedFd>) -> Result<Exit, Error> {
        match console {
            None => self.wait(pidfd),
            Some(console) => Screen::new(console)?.serve(self, pidfd),
        }
    }

    fn wait(&self, pidfd: &OwnedFd) -> Result<Exit, Error> {
        loop {
            let mut set = [PollFd::new(pidfd, PollFlags::IN), PollFd::new(&self.0, PollFlags::IN)];
            ready(poll(&mut set, None))?;
            if !set[0].revents().is_empty() {
                return process::wait(pidfd).map_err(Error::from);
            }
            self.pass_on(pidfd, None)?;
        }
    }

    fn pass_on(&self, pidfd: &OwnedFd, console: Option<&OwnedFd>) -> Result<(), Error> {
        while let Some(signal) = process::read_signal(&self.0)? {
            match console {
                Some(console) if signal == WINCH => copy_size(console),
                // A process that has just ended can't be told anything; its end is what is heard next.
                _ => drop(process::pidfd_send_signal(pidfd, signal)),
            }
        }
        Ok(())
    }
}

/// A poll that was interrupted is a poll.
fn ready(polled: rustix::io::Result<usize>) -> Result<(), Error> {
    match polled {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(Error::other("poll", errno)),
    }
}

/// The caller's terminal, raw, in place of the program's.
struct Screen {
    console: OwnedFd,
    /// Input that the program did not take yet.
    waiting: Vec<u8>,
    input_open: bool,
    before: Option<Termios>,
}

impl Screen {
    fn new(console: OwnedFd) -> Result<Self, Error> {
        let input = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(input).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            rustix::termios::tcsetattr(input, OptionalActions::Now, &raw)
                .map_err(|errno| Error::other("put the terminal into raw mode", errno))?;
        }
        copy_size(&console);
        rustix::io::ioctl_fionbio(&console, true).map_err(|errno| Error::other("serve the terminal", errno))?;
        Ok(Self { console, waiting: Vec::new(), input_open: true, before })
    }

    fn serve(mut self, signals: &Signals, pidfd: &OwnedFd) -> Result<Exit, Error> {
        loop {
            let stdin = rustix::stdio::stdin();
            let mut console = PollFlags::IN;
            if !self.waiting.is_empty() {
                console |= PollFlags::OUT;
            }
            let mut set = vec![
                PollFd::new(pidfd, PollFlags::IN),
                PollFd::new(&signals.0, PollFlags::IN),
                PollFd::new(&self.console, console),
            ];
            if self.input_open && self.waiting.len() < WAITING {
                set.push(PollFd::new(&stdin, PollFlags::IN));
            }
            ready(poll(&mut set, None))?;
            let happened: Vec<PollFlags> = set.iter().map(PollFd::revents).collect();
            drop(set);
            let is = |index: usize| happened.get(index).is_some_and(|flags| !flags.is_empty());
            if is(3) {
                self.read_input(stdin);
            }
            self.write_input();
            let more = self.copy_output();
            if is(0) {
                // What it wrote before it ended is there by now.
                while self.copy_output() {}
                return process::wait(pidfd).map_err(Error::from);
            }
            if is(1) {
                signals.pass_on(pidfd, Some(&self.console))?;
            }
            if !more && happened.get(2).is_some_and(|flags| flags.contains(PollFlags::HUP)) {
                // Every process has closed the terminal; the first one still runs.
                let exit = signals.wait(pidfd);
                return exit;
            }
        }
    }

    fn read_input(&mut self, stdin: BorrowedFd<'_>) {
        let mut buffer = [0_u8; 4096];
        match rustix::io::read(stdin, &mut buffer) {
            Ok(0) => self.input_open = false,
            Ok(length) => self.waiting.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.input_open = false,
        }
    }

    fn write_input(&mut self) {
        while !self.waiting.is_empty() {
            match rustix::io::write(&self.console, &self.waiting) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Copies what there is; whether there was something.
    fn copy_output(&self) -> bool {
        let mut buffer = [0_u8; 4096];
        let Ok(length @ 1..) = rustix::io::read(&self.console, &mut buffer) else { return false };
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            match rustix::io::write(rustix::stdio::stdout(), rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                // Nobody reads any more: the program goes on all the same.
                Err(_) => return true,
            }
        }
        true
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // The terminal may be gone.
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Gives the program's terminal the size of the caller's, if that is one.
fn copy_size(console: &OwnedFd) {
    if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
        let _ = rustix::termios::tcsetwinsize(console.as_fd(), size);
    }
}
