//! The loop: container's streams → log and clients, clients' input → container, until the container has ended and everything it
//! wrote is where it belongs.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use casemate_kernel::process::{self, Exit};
use casemate_runtime::ContainerGroup;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Watch;
use super::clients::{Clients, Wish};
use crate::frame::{HEADER, LARGEST_FRAME, STDERR, STDOUT};
use crate::launch::Launched;
use crate::log::{LogWriter, Stream};
use crate::time::Timestamp;

/// How long streams that stay open after the container's end (somebody outside holds them) are still listened to in silence.
const AFTERMATH: Duration = Duration::from_millis(200);

/// How long an ended container waits for a client that takes nothing any more (one that was stopped, say).
const STANDSTILL: Duration = Duration::from_secs(10);

/// After so long in silence the supervisor gives its memory back until something happens: most containers are silent for most
/// of their lives, and short-lived ones never get there.
const IDLE: Duration = Duration::from_millis(250);

/// Input that the container has not taken yet is at most this plus one frame; then clients are not heard.
const MOST_INPUT: usize = 64 * 1024;

/// What remains when the loop is over.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) oom_killed: bool,
    pub(super) cgroup: ContainerGroup,
    pub(super) clients: Clients,
    pub(super) log_lost: u64,
}

pub(super) struct Pump<'a> {
    watch: &'a Watch,
    pidfd: OwnedFd,
    cgroup: ContainerGroup,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    error: Option<OwnedFd>,
    console: Option<OwnedFd>,
    log: Option<LogWriter>,
    clients: Clients,
    listener: OwnedFd,
    signals: OwnedFd,
    /// Read from clients; what is before `written` the container has.
    pending: Vec<u8>,
    written: usize,
    input_ended: bool,
    frame: Vec<u8>,
    exit: Option<Exit>,
}

/// How long to wait for something to happen.
#[derive(Clone, Copy)]
enum Patience {
    Until(Duration),
    /// And with as little memory as can be.
    Endless,
}

/// What a descriptor in the poll set is.
#[derive(Clone, Copy)]
enum Role {
    Process,
    Signals,
    Listener,
    Output(Stream),
    Console,
    Input,
    Client(usize),
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        launched: Launched,
        log: Option<LogWriter>,
        clients: Clients,
        listener: OwnedFd,
        signals: OwnedFd,
        watch: &'a Watch,
    ) -> Self {
        let created = launched.created;
        Self {
            watch,
            pidfd: created.pidfd,
            cgroup: created.cgroup,
            input: launched.input,
            output: launched.output,
            error: launched.error,
            console: created.console,
            log,
            clients,
            listener,
            signals,
            pending: Vec::new(),
            written: 0,
            input_ended: false,
            frame: Vec::new(),
            exit: None,
        }
    }

    /// Runs until the container has ended and its output is delivered.
    pub(super) fn run(mut self) -> Ended {
        let mut silent_since: Option<Instant> = None;
        let mut blocked_since: Option<Instant> = None;
        let mut idle = false;
        loop {
            let open = self.output.is_some() || self.error.is_some() || self.console.is_some();
            if self.exit.is_some() {
                let blocked = self.clients.is_blocked();
                blocked_since = if blocked { blocked_since.or_else(|| Some(Instant::now())) } else { None };
                if blocked_since.is_some_and(|since| since.elapsed() >= STANDSTILL) {
                    self.clients.drop_blocked();
                    continue;
                }
                let patience_over = !blocked && silent_since.is_some_and(|since| since.elapsed() >= AFTERMATH);
                if (!open || patience_over) && !blocked {
                    break;
                }
            }
            let patience = match (self.exit, idle) {
                (Some(_), _) => Patience::Until(AFTERMATH),
                (None, false) => Patience::Until(IDLE),
                (None, true) => Patience::Endless,
            };
            let happened = self.wait(patience);
            idle = happened.is_empty();
            if idle {
                self.frame = Vec::new();
                self.clients.shrink();
            }
            let heard = self.handle(&happened);
            if self.exit.is_some() {
                let now = Instant::now();
                silent_since = if heard { Some(now) } else { silent_since.or(Some(now)) };
            }
        }
        if let Some(log) = &mut self.log {
            log.finish(Timestamp::now());
        }
        let exit = self.exit.unwrap_or(Exit::Code(255));
        // Success needs no question; otherwise a death by the kernel's hand is to be told from others.
        let oom_killed = exit != Exit::Code(0) && self.cgroup.oom_kills().is_ok_and(|kills| kills.0 > 0);
        Ended {
            exit,
            oom_killed,
            cgroup: self.cgroup,
            clients: self.clients,
            log_lost: self.log.as_ref().map_or(0, LogWriter::lost),
        }
    }

    /// Waits until something can be done, and says what.
    fn wait(&self, patience: Patience) -> Vec<Role> {
        let mut set: Vec<PollFd<'_>> = Vec::with_capacity(8);
        let mut roles = Vec::with_capacity(8);
        if self.exit.is_none() {
            roles.push(Role::Process);
            set.push(PollFd::new(&self.pidfd, PollFlags::IN));
        }
        roles.push(Role::Signals);
        set.push(PollFd::new(&self.signals, PollFlags::IN));
        roles.push(Role::Listener);
        set.push(PollFd::new(&self.listener, PollFlags::IN));
        // A client that has not taken the last frame stops the container rather than lose something.
        let reading = if self.clients.is_blocked() { PollFlags::empty() } else { PollFlags::IN };
        if !reading.is_empty() {
            for (stream, end) in [(Stream::Stdout, &self.output), (Stream::Stderr, &self.error)] {
                if let Some(end) = end {
                    roles.push(Role::Output(stream));
                    set.push(PollFd::new(end, reading));
                }
            }
        }
        if let Some(console) = &self.console {
            let writing = if self.pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            if !(reading | writing).is_empty() {
                roles.push(Role::Console);
                set.push(PollFd::new(console, reading | writing));
            }
        } else if let Some(input) = self.input.as_ref().filter(|_| !self.pending.is_empty()) {
            roles.push(Role::Input);
            set.push(PollFd::new(input, PollFlags::OUT));
        }
        let taking = self.pending.len() < MOST_INPUT;
        for (index, (socket, waits)) in self.clients.sockets().enumerate() {
            let mut flags = if taking || !self.clients.gives_input(index) { PollFlags::IN } else { PollFlags::empty() };
            if waits {
                flags |= PollFlags::OUT;
            }
            // With no flag at all a hang-up is still told.
            roles.push(Role::Client(index));
            set.push(PollFd::from_borrowed_fd(socket, flags));
        }
        let happened = match patience {
            Patience::Until(time) => {
                let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
                poll(&mut set, Some(&timeout))
            }
            Patience::Endless => casemate_kernel::memory::wait_small(&mut set),
        };
        match happened {
            Ok(_) => set.iter().zip(roles).filter(|(fd, _)| !fd.revents().is_empty()).map(|(_, role)| role).collect(),
            // EINTR, or no memory for the moment: what there is will still be there.
            Err(_) => Vec::new(),
        }
    }

    /// Does what can be done. Says whether the container was heard.
    fn handle(&mut self, happened: &[Role]) -> bool {
        let mut heard = false;
        let mut wishes = Vec::new();
        let mut gone = false;
        for role in happened {
            match *role {
                Role::Signals => self.forward_signals(),
                Role::Listener => self.clients.accept(&self.listener),
                // The stream read just before may have filled a client: what it can't take yet is left in the pipe.
                Role::Output(stream) if !self.clients.is_blocked() => heard |= self.read_stream(stream),
                Role::Console => {
                    if !self.clients.is_blocked() {
                        heard |= self.read_console();
                    }
                    self.write_input();
                }
                Role::Input => self.write_input(),
                // After one is gone the numbers of the others are stale: they are heard in the next round.
                Role::Client(index) if !gone => gone = self.clients.hear(index, &mut wishes),
                Role::Output(_) | Role::Client(_) => {}
                Role::Process => self.reap(),
            }
        }
        self.clients.flush();
        if !wishes.is_empty() {
            self.fulfil(wishes);
        }
        if self.clients.is_empty() {
            self.clients.shrink();
        }
        heard
    }

    fn reap(&mut self) {
        match process::try_wait(&self.pidfd) {
            Ok(Some(exit)) => {
                self.exit = Some(exit);
                // With a PID namespace of its own everything in it is gone by now; with another's, the rest goes here.
                if self.cgroup.processes().is_ok_and(|rest| !rest.is_empty()) {
                    let _ = self.cgroup.kill();
                }
            }
            Ok(None) => {}
            // Not our child any more: cannot be, but waiting for ever would be worse than an odd code.
            Err(_) => self.exit = Some(Exit::Code(255)),
        }
    }

    fn forward_signals(&mut self) {
        while let Ok(Some(_)) = process::read_signal(&self.signals) {
            let _ = process::pidfd_send_signal(&self.pidfd, self.watch.stop_signal);
        }
    }

    fn read_stream(&mut self, stream: Stream) -> bool {
        self.frame.resize(LARGEST_FRAME, 0);
        let end = match stream {
            Stream::Stdout => &mut self.output,
            Stream::Stderr => &mut self.error,
        };
        let Some(descriptor) = end.as_ref() else { return false };
        match rustix::io::read(descriptor, self.frame.get_mut(HEADER..).unwrap_or_default()) {
            Ok(0) => {
                *end = None;
                false
            }
            Ok(length) => {
                self.deliver(stream, length);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            Err(_) => {
                *end = None;
                false
            }
        }
    }

    fn read_console(&mut self) -> bool {
        self.frame.resize(LARGEST_FRAME, 0);
        let Some(console) = &self.console else { return false };
        match rustix::io::read(console, self.frame.get_mut(HEADER..).unwrap_or_default()) {
            Ok(length) if length > 0 => {
                self.deliver(Stream::Stdout, length);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => false,
            // EIO: nobody has the terminal open. Before the container's end somebody may open it again, which only shows in
            // polling once more; a pause keeps that from being a busy loop.
            Ok(_) | Err(_) if self.exit.is_none() => {
                std::thread::sleep(Duration::from_millis(5));
                false
            }
            Ok(_) | Err(_) => {
                self.console = None;
                false
            }
        }
    }

    /// What was read lies in the frame, behind its header.
    fn deliver(&mut self, stream: Stream, length: usize) {
        if let Some(kind) = self.frame.first_mut() {
            *kind = match stream {
                Stream::Stdout => STDOUT,
                Stream::Stderr => STDERR,
            };
        }
        let frame = self.frame.get(..HEADER + length).unwrap_or_default();
        if let Some(log) = &mut self.log {
            log.write(stream, frame.get(HEADER..).unwrap_or_default(), Timestamp::now());
        }
        self.clients.send_output(frame);
    }

    fn fulfil(&mut self, wishes: Vec<Wish>) {
        for wish in wishes {
            match wish {
                Wish::Input(data) if self.input.is_some() || self.console.is_some() => self.pending.extend(data),
                Wish::Input(_) => {}
                // The pipe closes once the container has taken what came before.
                Wish::InputEnd => self.input_ended |= self.watch.stdin_once,
                Wish::Resize { columns, rows } => {
                    if let Some(console) = &self.console {
                        let _ = casemate_kernel::terminal::set_size(console, columns, rows);
                    }
                }
            }
        }
        self.write_input();
    }

    fn write_input(&mut self) {
        let Some(end) = self.console.as_ref().or(self.input.as_ref()).map(AsFd::as_fd) else {
            self.forget_input();
            return;
        };
        while let Some(rest) = self.pending.get(self.written..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(end, rest) {
                Ok(written) => self.written += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The container closed its input.
                Err(_) => {
                    self.forget_input();
                    self.input = None;
                    return;
                }
            }
        }
        self.forget_input();
        if self.input_ended {
            self.input = None;
        }
    }

    fn forget_input(&mut self) {
        self.written = 0;
        self.pending.clear();
        // Room for a burst is not kept for the container's life.
        if self.pending.capacity() > 4 * MOST_INPUT {
            self.pending = Vec::new();
        }
    }
}
