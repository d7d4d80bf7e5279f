//! The processes of a group: listed, stopped, resumed, signalled and killed, with those of the groups below it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::{Cgroup, Controller, Place, read_file, walk, write_file};
use crate::error::{Call, Error, Result};

/// How long a group may take to stand still. A version 1 freezer waits for system calls that can't be interrupted.
const FREEZE_PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// The processes of the group and of all below it, as the caller's PID namespace numbers them (0 for one that is not
    /// in it), each once.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        let Some(directory) = self.census() else {
            return Ok(found);
        };
        walk::walk(
            directory,
            |group| {
                found.extend(direct_processes(group)?);
                Ok(())
            },
            |_, _| Ok(()),
        )?;
        // A process may have moved from one group to another meanwhile.
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The directory that tells which processes are in the group: that of the hierarchy which stops them, if there is one.
    fn census(&self) -> Option<BorrowedFd<'_>> {
        self.directory_of(Controller::Freezer).or_else(|| self.members.first().map(|member| member.directory.as_fd()))
    }

    /// Stops all processes of the group where they are, and returns when they stand; or lets them go on.
    ///
    /// # Errors
    /// `EOPNOTSUPP` without a freezer; `ETIMEDOUT` when they did not all stand within ten seconds: they then run on.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let place = self.freezer()?;
        set_frozen(place, frozen)?;
        if !frozen {
            return Ok(());
        }
        let waited = if place.unified { wait_frozen_v2(place.directory) } else { wait_frozen_v1(place.directory) };
        if waited.is_err() {
            // Half frozen is no state to leave a container in.
            let _ = set_frozen(place, false);
        }
        waited
    }

    /// Whether the group was frozen ([`Cgroup::freeze`]), as opposed to one above it.
    ///
    /// A group without a freezer is not.
    pub fn is_frozen(&self) -> Result<bool> {
        let Some(place) = self.place(Controller::Freezer) else {
            return Ok(false);
        };
        let file = if place.unified { "cgroup.freeze" } else { "freezer.self_freezing" };
        match read_file(place.directory, file) {
            Ok(text) => Ok(text.trim() == "1"),
            // A kernel before 5.2, or a group that is gone.
            Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn freezer(&self) -> Result<Place<'_>> {
        self.place(Controller::Freezer)
            .ok_or_else(|| Error::new(format!("freeze(cgroup {:?}): no freezer", self.path()), Errno::OPNOTSUPP))
    }

    /// Sends a signal to every process of the group, each once. One that is stopped by [`Cgroup::freeze`] gets it when it
    /// goes on.
    pub fn signal(&self, signal: u8) -> Result<()> {
        for pid in self.processes()? {
            send(pid, signal);
        }
        Ok(())
    }

    /// Kills every process of the group, also while more are made; frozen ones too. They may take a moment to be gone.
    pub fn kill(&self) -> Result<()> {
        if let Some(directory) = self.directory_of(Controller::Core) {
            match write_file(directory, "cgroup.kill", "1") {
                // Before Linux 5.14; in a threaded group.
                Err(error) if matches!(error.errno(), Errno::NOENT | Errno::OPNOTSUPP) => {}
                other => return other,
            }
        }
        // Frozen, nothing can fork away from the list. A version 1 freezer takes its time and may not come to an end (a
        // process in an uninterruptible sleep), so the list is read until nothing new is on it.
        let freezer = self.place(Controller::Freezer).filter(|place| set_frozen(*place, true).is_ok());
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut known: Vec<u32> = Vec::new();
        let outcome = loop {
            let found = match self.processes() {
                Ok(found) => found,
                Err(error) => break Err(error),
            };
            let mut new = found.iter().filter(|pid| !known.contains(pid)).peekable();
            if new.peek().is_none() || Instant::now() > deadline {
                break Ok(());
            }
            for &pid in new {
                send(pid, 9);
            }
            known = found;
        };
        if let Some(place) = freezer {
            set_frozen(place, false)?;
        }
        outcome
    }
}

/// Signals a process that may be gone by now: then there is nobody to signal.
fn send(pid: u32, signal: u8) {
    if let Ok(pidfd) = crate::process::pidfd_open(pid) {
        let _ = crate::process::pidfd_send_signal(pidfd, signal);
    }
}

/// The processes of one group alone.
pub(super) fn direct_processes(group: BorrowedFd<'_>) -> Result<Vec<u32>> {
    let text = match read_file(group, "cgroup.procs") {
        Ok(text) => text,
        // Gone meanwhile.
        Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NODEV) => return Ok(Vec::new()),
        // A threaded group lists threads only; its processes are on the list of the group it belongs to.
        Err(error) if error.errno() == Errno::OPNOTSUPP => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Whether any process or thread is in one group.
pub(super) fn is_occupied(group: BorrowedFd<'_>) -> Result<bool> {
    match read_file(group, "cgroup.procs") {
        // A threaded group.
        Err(error) if error.errno() == Errno::OPNOTSUPP => Ok(!read_file(group, "cgroup.threads")?.is_empty()),
        Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NODEV) => Ok(false),
        other => Ok(!other?.is_empty()),
    }
}

fn set_frozen(place: Place<'_>, frozen: bool) -> Result<()> {
    if place.unified {
        write_file(place.directory, "cgroup.freeze", if frozen { "1" } else { "0" })
    } else {
        write_file(place.directory, "freezer.state", if frozen { "FROZEN" } else { "THAWED" })
    }
}

fn late() -> Error {
    Error::new("freeze(cgroup): its processes do not stand still", Errno::TIMEDOUT)
}

/// Waits until `cgroup.events` says `frozen 1`. The kernel wakes who polls it for each change (`cgroup-v2.rst`).
fn wait_frozen_v2(directory: BorrowedFd<'_>) -> Result<()> {
    let call = || "read(cgroup file \"cgroup.events\")".to_owned();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let events = rustix::fs::openat(directory, "cgroup.events", flags, Mode::empty()).call(call)?;
    let deadline = Instant::now() + FREEZE_PATIENCE;
    let mut buffer = [0_u8; 256];
    loop {
        let length = rustix::io::pread(&events, &mut buffer, 0).call(call)?;
        if buffer[..length].split(|byte| *byte == b'\n').any(|line| line == b"frozen 1") {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        let left = Timespec { tv_sec: 0, tv_nsec: left.as_nanos().min(100_000_000).try_into().unwrap_or(0) };
        let mut waiting = [PollFd::new(&events, PollFlags::PRI)];
        match rustix::event::poll(&mut waiting, Some(&left)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::new("poll(cgroup.events)", errno)),
        }
    }
}

/// Waits until `freezer.state` is `FROZEN`. A process that is made while its group freezes can leave the group half
/// frozen; what helps is to ask again, and now and then to let go first (`freezer-subsystem.rst`; runc does the same).
fn wait_frozen_v1(directory: BorrowedFd<'_>) -> Result<()> {
    let deadline = Instant::now() + FREEZE_PATIENCE;
    for round in 1_u32.. {
        if read_file(directory, "freezer.state")?.trim() == "FROZEN" {
            return Ok(());
        }
        if Instant::now() > deadline {
            break;
        }
        if round % 50 == 0 {
            write_file(directory, "freezer.state", "THAWED")?;
            std::thread::sleep(Duration::from_millis(10));
        } else if round > 5 {
            std::thread::sleep(Duration::from_micros(u64::from(round.min(50)) * 20));
        }
        write_file(directory, "freezer.state", "FROZEN")?;
    }
    Err(late())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Bench, sleeper};
    use super::*;

    fn state(pid: u32) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    }

    #[test]
    fn processes_of_groups_below_are_listed_frozen_and_killed() {
        let Some(bench) = Bench::new("processes") else { return };
        let cgroup = Cgroup::create(&bench.layout, &bench.path, &[Controller::Freezer, Controller::Pids]).unwrap();
        let mut above = sleeper(&cgroup, ".");
        let mut below = sleeper(&cgroup, "a/b");
        let mut expected = vec![above.id(), below.id()];
        expected.sort_unstable();
        assert_eq!(cgroup.processes().unwrap(), expected);

        assert!(!cgroup.is_frozen().unwrap());
        cgroup.freeze(true).unwrap();
        assert!(cgroup.is_frozen().unwrap());
        // A stop shows only when a process gets to see its signals.
        cgroup.signal(19).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert_ne!((state(above.id()), state(below.id())), ('T', 'T'));
        assert!(above.is_running() && below.is_running());
        cgroup.kill().unwrap();
        assert_eq!((above.signal_of_end(), below.signal_of_end()), (Some(9), Some(9)));
        cgroup.freeze(false).unwrap();
        assert!(!cgroup.is_frozen().unwrap());
        cgroup.remove().unwrap();
    }

    #[test]
    fn a_signal_reaches_all() {
        let Some(bench) = Bench::new("signal") else { return };
        let cgroup = Cgroup::create(&bench.layout, &bench.path, &[Controller::Freezer]).unwrap();
        let (mut above, mut below) = (sleeper(&cgroup, "."), sleeper(&cgroup, "a"));
        cgroup.signal(15).unwrap();
        assert_eq!((above.signal_of_end(), below.signal_of_end()), (Some(15), Some(15)));
        cgroup.remove().unwrap();
    }
}
