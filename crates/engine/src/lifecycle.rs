//! Starting, stopping, waiting for and removing containers.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use casemate_image::{DiffId, Digest};
use casemate_kernel::{detach, process, socket};

use crate::config::ContainerConfig;
use crate::create::Made;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::forward::Outcome;
use crate::id::ContainerId;
use crate::record::{EXIT_FILE, Ended, Live, Record};
use crate::removal::{self, Leaving};
use crate::session::{Event, Session};
use crate::signal::Signal;
use crate::supervision::{Liveness, Supervision};
use crate::supervisor::{self, Order};
use crate::time::Timestamp;
use crate::{events, init, record};

/// A container that was started.
#[derive(Debug)]
pub struct Started {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Where the host can't give what was asked for; a line each.
    pub warnings: Vec<String>,
    /// The connection to it, when one was asked for.
    pub session: Option<Session>,
    /// Whether it has a terminal.
    pub tty: bool,
}

/// How the starting command is connected, and whether the container was made just before.
#[derive(Clone, Copy)]
struct Connection {
    attach: bool,
    input: bool,
    new: bool,
}

/// How long a container directory may be without its owner's file: whoever lives needs microseconds for that.
const UNSIGNED: Duration = Duration::from_secs(2);

/// How long the end of a supervisor that was told to end is waited for.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    /// Makes a container and starts it. With `attach` the session is connected before the program runs: nothing it writes is missed.
    ///
    /// The calling process must have one thread: the supervisor is forked from it.
    ///
    /// # Errors
    /// As [`Engine::create`] and [`Engine::start`]. A container that could not be started stays (unless `auto_remove`), as with
    /// Docker.
    pub fn run(&self, mut config: ContainerConfig, attach: bool) -> Result<Started> {
        config.stdin_once |= attach && config.open_stdin;
        let made = self.make(config)?;
        let id = made.record.identity.id.clone();
        let supervision = Supervision::acquire(&self.directories, &id)?
            .ok_or_else(|| not_now("start", &id, "another command started it already"))?;
        self.launch(made, supervision, Connection { attach, input: attach, new: true })
    }

    /// Starts a container that does not run. One that runs is left alone, and attached to when that is asked for.
    ///
    /// # Errors
    /// [`Error::Launch`] when it could not be brought to life; its kind says which of Docker's exit codes that is.
    pub fn start(&self, target: &str, attach: bool, input: bool) -> Result<Started> {
        let id = self.find(target)?;
        let Some(supervision) = Supervision::acquire(&self.directories, &id)? else {
            let record = self.record(&id)?;
            let session = if attach { Some(self.attach(target, input)?) } else { None };
            return Ok(Started {
                id,
                name: record.identity.name,
                warnings: Vec::new(),
                session,
                tty: record.process.tty,
            });
        };
        if supervision.was_abandoned() {
            self.record_abandoned(&id, supervision.left_behind()?.as_ref())?;
            supervision.clear()?;
        }
        let record = match self.record(&id) {
            Ok(record) => record,
            Err(error) => {
                supervision.remove()?;
                return Err(error);
            }
        };
        let layers = self.layers_of(&record)?;
        let tty = record.process.tty;
        let mut started =
            self.launch(Made { record, layers }, supervision, Connection { attach, input, new: false })?;
        started.warnings = Vec::new();
        started.tty = tty;
        Ok(started)
    }

    /// Forks the supervisor, and waits until it says that the container runs, or why not.
    fn launch(&self, made: Made, supervision: Supervision, connection: Connection) -> Result<Started> {
        let Connection { attach, input, new } = connection;
        let warnings = made.warnings();
        let Made { record, layers } = made;
        let init = if record.init { Some(init::program(&self.images)?) } else { None };
        let (ours, theirs) =
            socket::pair().map_err(|error| Error::kernel("connect to the supervisor")(error.into()))?;
        let leaving = Leaving::of(&record);
        let (name, tty) = (record.identity.name.clone(), record.process.tty);
        let order = Order { directories: self.directories.clone(), record, layers, init, attached: attach, input };
        let lock = OwnedFd::from(supervision.into_file());
        detach::fork_detached(vec![lock, theirs], order, supervisor::run)
            .map_err(|error| Error::kernel("fork the supervisor")(error.into()))?;
        let mut session = Session::from_socket(ours, None);
        let pid = match wait_for_start(&mut session) {
            Ok(pid) => pid,
            Err(error) => {
                if new {
                    events::append(&self.directories, &["create"], &leaving, None);
                }
                return Err(error);
            }
        };
        events::append(&self.directories, if new { &["create", "start"] } else { &["start"] }, &leaving, None);
        // A container that has ended by now needs no signals.
        session.set_target(process::pidfd_open(pid).ok());
        Ok(Started { id: leaving.id, name, warnings, session: attach.then_some(session), tty })
    }

    pub(crate) fn layers_of(&self, record: &Record) -> Result<Vec<PathBuf>> {
        let mut layers: Vec<PathBuf> = Vec::with_capacity(record.layers.len() + 1);
        for id in record.layers.iter().rev() {
            let digest = Digest::parse(id).map_err(|error| Error::invalid("layer", id.clone(), error.to_string()))?;
            let path = self.images.layer(&DiffId(digest));
            // Overlayfs takes no directory twice; what is uppermost decides.
            if !layers.contains(&path) {
                layers.push(path);
            }
        }
        layers.push(self.images.skeleton());
        Ok(layers)
    }

    /// Connects to a running container.
    ///
    /// # Errors
    /// [`Error::State`] when it does not run.
    pub fn attach(&self, target: &str, input: bool) -> Result<Session> {
        let id = self.find(target)?;
        self.connect(&id, true, input)?
            .ok_or_else(|| not_now("attach to", &id, "it does not run; start it with `casemate start -a`"))
    }

    fn connect(&self, id: &ContainerId, output: bool, input: bool) -> Result<Option<Session>> {
        let begun = Instant::now();
        loop {
            match self.liveness(id)? {
                Liveness::Running(live) => {
                    return Session::connect(&self.directories.run_of(id), output, input, live.open_process());
                }
                Liveness::Busy if begun.elapsed() < KILL_PATIENCE => std::thread::sleep(Duration::from_millis(1)),
                Liveness::Abandoned => {
                    self.bury(id)?;
                    return Ok(None);
                }
                Liveness::Stopped | Liveness::Busy => return Ok(None),
            }
        }
    }

    /// Sends a signal to the container's first process.
    ///
    /// # Errors
    /// [`Error::State`] when it does not run.
    pub fn kill(&self, target: &str, signal: &str) -> Result<()> {
        let signal = Signal::parse(signal)?;
        let id = self.find(target)?;
        let live = self.running("kill", &id)?;
        let pidfd = live.open_process().ok_or_else(|| not_now("kill", &id, "it has just ended"))?;
        send(&pidfd, signal)?;
        if signal == Signal::KILL {
            self.await_end(&id, &pidfd, KILL_PATIENCE)?;
        }
        Ok(())
    }

    /// Asks the container to end, and kills it when it has not after `timeout` (the container's own when `None`). One that does not
    /// run is fine.
    pub fn stop(&self, target: &str, timeout: Option<Duration>, signal: Option<&str>) -> Result<()> {
        let signal = signal.map(Signal::parse).transpose()?;
        let id = self.find(target)?;
        let Ok(live) = self.running("stop", &id) else { return Ok(()) };
        let record = self.record(&id)?;
        let Some(pidfd) = live.open_process() else { return Ok(()) };
        let asked = signal.or_else(|| Signal::from_number(record.stop_signal)).unwrap_or(Signal::TERM);
        send(&pidfd, asked)?;
        events::append(&self.directories, &["stop"], &Leaving::of(&record), None);
        if self.await_end(&id, &pidfd, timeout.unwrap_or(record.stop_timeout))? {
            return Ok(());
        }
        send(&pidfd, Signal::KILL)?;
        if self.await_end(&id, &pidfd, KILL_PATIENCE)? {
            return Ok(());
        }
        Err(not_now(
            "stop",
            &id,
            "its process does not end although it was killed; the kernel holds it (an I/O that hangs?)",
        ))
    }

    /// Waits until the container has ended and its supervisor has recorded it; false when `timeout` is over first.
    fn await_end(&self, id: &ContainerId, pidfd: &OwnedFd, timeout: Duration) -> Result<bool> {
        let begun = Instant::now();
        if !readable(pidfd, timeout)? {
            return Ok(false);
        }
        // Docker answers a stop, and a kill, when the container is known to have ended.
        while begun.elapsed() < timeout.max(KILL_PATIENCE) {
            match self.liveness(id)? {
                Liveness::Running(live) if live.open_process().is_some() => return Ok(true),
                Liveness::Running(_) | Liveness::Busy => std::thread::sleep(Duration::from_micros(500)),
                Liveness::Abandoned => {
                    self.bury(id)?;
                    return Ok(true);
                }
                Liveness::Stopped => return Ok(true),
            }
        }
        Ok(true)
    }

    /// Waits for the container's end and returns its exit code; at once when it has ended.
    pub fn wait(&self, target: &str) -> Result<i32> {
        let id = self.find(target)?;
        loop {
            let Some(mut session) = self.connect(&id, false, false)? else {
                match self.summary(&id)? {
                    Some(summary) if summary.status == crate::Status::Created => return self.await_start(&id),
                    Some(summary) if summary.status == crate::Status::Exited => {
                        return Ok(summary.exit_code.unwrap_or(0));
                    }
                    // It ends right now: its supervisor does not listen any more, and has not written down how it ended.
                    Some(_) => std::thread::sleep(Duration::from_millis(2)),
                    // Removed with its end, between two looks: what it ended with is nowhere any more.
                    None => {
                        return Err(Error::NotFound { what: "container", name: target.to_owned(), suggestion: None });
                    }
                }
                continue;
            };
            match session.wait_end()? {
                Outcome::Exited { code, .. } => return Ok(code),
                // Its supervisor was killed; the next round records that.
                Outcome::Lost | Outcome::Detached => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Docker's `wait` on a container that was never started waits for its first end.
    fn await_start(&self, id: &ContainerId) -> Result<i32> {
        loop {
            std::thread::sleep(Duration::from_millis(20));
            if let Some(mut session) = self.connect(id, false, false)?
                && let Outcome::Exited { code, .. } = session.wait_end()?
            {
                return Ok(code);
            }
            match self.summary(id)? {
                Some(summary) if summary.status == crate::Status::Exited => return Ok(summary.exit_code.unwrap_or(0)),
                Some(_) => {}
                None => {
                    return Err(Error::NotFound { what: "container", name: id.short().to_owned(), suggestion: None });
                }
            }
        }
    }

    /// Removes a container; with `force` one that runs is killed first. `volumes`: and the volumes that were its own alone.
    ///
    /// # Errors
    /// [`Error::State`] when it runs and `force` is not given.
    pub fn remove(&self, target: &str, force: bool, volumes: bool) -> Result<()> {
        let id = match self.find(target) {
            // A half-made or half-removed one has no record to be found by; its full id finds it.
            Err(error @ Error::NotFound { .. }) => match ContainerId::parse(target) {
                Some(id) if self.directories.container(&id).exists() => return self.collect_unrecorded(&id),
                _ => return Err(error),
            },
            other => other?,
        };
        let supervision = loop {
            match Supervision::acquire(&self.directories, &id)? {
                Some(supervision) => break supervision,
                None if !force => {
                    return Err(not_now("remove", &id, "it runs; stop it first, or use --force"));
                }
                None => {
                    // It may end, or be started again, between these steps: the loop ends when it is ours.
                    if let Ok(live) = self.running("remove", &id)
                        && let Some(pidfd) = live.open_process()
                    {
                        send(&pidfd, Signal::KILL)?;
                        self.await_end(&id, &pidfd, KILL_PATIENCE)?;
                    }
                }
            }
        };
        if supervision.was_abandoned() {
            self.kill_remnants(&id, supervision.left_behind()?.as_ref());
        }
        let result = self.leaving(&id, target).and_then(|mut leaving| {
            if !volumes {
                leaving.volumes.clear();
            }
            removal::remove(&self.directories, &leaving)?;
            events::append(&self.directories, &["destroy"], &leaving, None);
            Ok(())
        });
        supervision.remove()?;
        match result {
            // `--rm` had already removed it when it was killed: what was asked for has happened.
            Err(Error::NotFound { .. }) if force => Ok(()),
            other => other,
        }
    }

    /// What is to be removed with a container, also when its record can't be read.
    fn leaving(&self, id: &ContainerId, target: &str) -> Result<Leaving> {
        match self.record(id) {
            Ok(record) => Ok(Leaving::of(&record)),
            Err(Error::Damaged { .. }) => Ok(Leaving {
                id: id.clone(),
                name: target.to_owned(),
                image: String::new(),
                range: None,
                volumes: Vec::new(),
            }),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn running(&self, doing: &'static str, id: &ContainerId) -> Result<Live> {
        match self.liveness(id)? {
            Liveness::Running(live) => Ok(*live),
            Liveness::Abandoned => {
                self.bury(id)?;
                Err(not_now(doing, id, "it does not run (its supervisor was killed)"))
            }
            Liveness::Stopped | Liveness::Busy => Err(not_now(doing, id, "it does not run")),
        }
    }

    /// Ends what a killed supervisor left: the container's processes, its run directory, and with `--rm` the container.
    pub(crate) fn bury(&self, id: &ContainerId) -> Result<()> {
        // Somebody else is at it.
        let Some(supervision) = Supervision::try_acquire(&self.directories, id)? else { return Ok(()) };
        self.record_abandoned(id, supervision.left_behind()?.as_ref())?;
        supervision.remove()
    }

    /// Without a state it never came to run; all that can be left is its control group, and the process at the barrier.
    fn record_abandoned(&self, id: &ContainerId, left: Option<&Live>) -> Result<()> {
        self.kill_remnants(id, left);
        let Some(left) = left else { return Ok(()) };
        let directory = self.directories.container(id);
        if left.identity.auto_remove {
            let record = self.record(id);
            if let Ok(record) = record {
                removal::remove(&self.directories, &Leaving::of(&record))?;
            }
            return Ok(());
        }
        if !self.exists(id) {
            return Ok(());
        }
        let end = Ended {
            exit_code: 137,
            oom_killed: false,
            started: left.started,
            finished: Timestamp::now(),
            error: "its supervisor was killed, and the container with it".to_owned(),
        };
        record::write(&directory.join(EXIT_FILE), &end, false)
    }

    fn kill_remnants(&self, id: &ContainerId, left: Option<&Live>) {
        let path = match left {
            Some(left) => left.cgroup.clone(),
            None => {
                self.record(id).map_or_else(|_| format!("/casemate/{id}"), |record| crate::bundle::cgroup_path(&record))
            }
        };
        let Ok(layout) = casemate_kernel::cgroup::Layout::detect() else { return };
        if let Ok(cgroup) = casemate_kernel::cgroup::Cgroup::open(&layout, &path) {
            // What resists is found again by `system check`.
            let _ = cgroup.kill();
            let _ = cgroup.remove();
        }
    }

    /// Removes a container directory without a record, if nobody is making or removing it any more.
    pub(crate) fn collect_unrecorded(&self, id: &ContainerId) -> Result<()> {
        if self.is_given_up(id)? {
            let directory = self.directories.container(id);
            crate::directories::remove_tree(&directory).map_err(Error::file("remove", directory))?;
        }
        Ok(())
    }

    /// Whether a container directory without a record was left by a command that is gone.
    pub(crate) fn is_given_up(&self, id: &ContainerId) -> Result<bool> {
        let directory = self.directories.container(id);
        if self.exists(id) || !directory.exists() {
            return Ok(false);
        }
        Ok(match crate::claims::read_owner(&directory.join(crate::claims::OWNER_FILE))? {
            Some(owner) => !owner.is_alive(),
            // Killed before it could say who it is.
            None => directory
                .metadata()
                .and_then(|found| found.modified())
                .ok()
                .and_then(|made| made.elapsed().ok())
                .is_some_and(|age| age > UNSIGNED),
        })
    }
}

pub(crate) fn wait_for_start(session: &mut Session) -> Result<u32> {
    loop {
        let mut answer: Option<Result<u32>> = None;
        session.receive(&mut |event| {
            answer = match event {
                Event::Started { pid } => Some(Ok(pid)),
                Event::Failed(kind, text) => Some(Err(Error::Launch { kind, text: text.to_owned() })),
                Event::Lost => Some(Err(Error::Launch {
                    kind: crate::ErrorKind::Internal,
                    text: "the container's supervisor was killed before the container ran".to_owned(),
                })),
                Event::Output(..) | Event::Exited { .. } => None,
            };
            Ok(())
        })?;
        match answer {
            Some(answer) => return answer,
            None => {
                session.wait_readable(60_000)?;
            }
        }
    }
}

fn send(pidfd: &OwnedFd, signal: Signal) -> Result<()> {
    match process::pidfd_send_signal(pidfd, signal.number()) {
        Err(error) if error.errno() != rustix::io::Errno::SRCH => {
            Err(Error::kernel("signal the container")(error.into()))
        }
        _ => Ok(()),
    }
}

fn readable(pidfd: &OwnedFd, timeout: Duration) -> Result<bool> {
    let deadline = Instant::now().checked_add(timeout);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let time = left.map(|left| rustix::event::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let mut set = [rustix::event::PollFd::from_borrowed_fd(pidfd.as_fd(), rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut set, time.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::kernel("wait for the container")(io::Error::from(errno))),
        }
    }
}

pub(crate) fn not_now(doing: &'static str, id: &ContainerId, why: &str) -> Error {
    Error::State { doing, name: id.short().to_owned(), why: why.to_owned() }
}
