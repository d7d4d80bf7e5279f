//! Being told when a group is out of memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::usage::value_of;
use super::{Cgroup, Controller, Place, exists, write_file};
use crate::error::{Call, Error, Result};

/// What happened to a group since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomEvents {
    /// How often it was out of memory (version 1), or processes were killed for it (version 2), groups below it included.
    pub times: u64,
    /// Whether it is gone, or (version 2) its last process: nothing more will happen.
    pub ended: bool,
}

/// Watches a group for lack of memory. Its descriptor is readable when there is something to be asked for.
#[derive(Debug)]
pub struct OomWatch {
    watch: Watch,
}

#[derive(Debug)]
enum Watch {
    /// `cgroup.event_control` of version 1: the descriptor counts; the directory tells whether the group is still there.
    V1 { counter: OwnedFd, directory: OwnedFd },
    /// Files of version 2 that the kernel marks urgent (`POLLPRI`) when they change, until they are read.
    V2 { poll: OwnedFd, memory: OwnedFd, group: OwnedFd, kills: u64 },
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.watch {
            Watch::V1 { counter, .. } => counter.as_fd(),
            Watch::V2 { poll, .. } => poll.as_fd(),
        }
    }
}

impl Cgroup {
    /// Watches the group from now on.
    ///
    /// # Errors
    /// `EOPNOTSUPP` when its memory is not controlled.
    pub fn watch_oom(&self) -> Result<OomWatch> {
        let no_memory =
            || Error::new(format!("watch(cgroup {:?}): no memory controller", self.path()), Errno::OPNOTSUPP);
        let place = self.place(Controller::Memory).ok_or_else(no_memory)?;
        let watch = if place.unified { watch_v2(place) } else { watch_v1(place) };
        match watch {
            Ok(watch) => Ok(OomWatch { watch }),
            // A group of version 2 that the controller was not handed down to.
            Err(error) if error.errno() == Errno::NOENT => Err(no_memory()),
            Err(error) => Err(error),
        }
    }
}

fn open(place: Place<'_>, file: &str) -> Result<OwnedFd> {
    rustix::fs::openat(place.directory, file, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())
        .call(|| format!("openat(cgroup, {file:?})"))
}

fn watch_v1(place: Place<'_>) -> Result<Watch> {
    let counter = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).call(|| "eventfd(0)".into())?;
    let control = open(place, "memory.oom_control")?;
    write_file(place.directory, "cgroup.event_control", &format!("{} {}", counter.as_raw_fd(), control.as_raw_fd()))?;
    let directory = place.directory.try_clone_to_owned().call(|| "dup(cgroup)".into())?;
    Ok(Watch::V1 { counter, directory })
}

fn watch_v2(place: Place<'_>) -> Result<Watch> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).call(|| "epoll_create1".into())?;
    let (memory, group) = (open(place, "memory.events")?, open(place, "cgroup.events")?);
    // Reading marks what was seen; only then does a change show.
    let kills = read_value(&memory, "oom_kill")?.unwrap_or(0);
    read_value(&group, "populated")?;
    for (file, number) in [(&memory, 0), (&group, 1)] {
        epoll::add(&poll, file, epoll::EventData::new_u64(number), epoll::EventFlags::PRI)
            .call(|| "epoll_ctl(EPOLL_CTL_ADD, cgroup file)".into())?;
    }
    Ok(Watch::V2 { poll, memory, group, kills })
}

impl OomWatch {
    /// What happened since this was last asked; does not wait.
    pub fn take(&mut self) -> Result<OomEvents> {
        match &mut self.watch {
            Watch::V1 { counter, directory } => {
                let mut number = [0_u8; 8];
                match rustix::io::read(&*counter, &mut number) {
                    Ok(_) => {}
                    Err(Errno::AGAIN) => return Ok(OomEvents::default()),
                    Err(errno) => return Err(Error::new("read(eventfd)", errno)),
                }
                // The kernel counts the end of the group, too.
                let ended = !exists(&*directory, "memory.oom_control");
                Ok(OomEvents { times: u64::from_ne_bytes(number) - u64::from(ended), ended })
            }
            Watch::V2 { memory, group, kills, .. } => {
                let now = read_value(memory, "oom_kill")?;
                let populated = read_value(group, "populated")?;
                let times = now.map_or(0, |now| now.saturating_sub(*kills));
                *kills += times;
                Ok(OomEvents { times, ended: populated != Some(1) })
            }
        }
    }

    /// Waits until there is something to be asked for; `false` when the time, in milliseconds, is over before.
    pub fn wait(&self, milliseconds: u32) -> Result<bool> {
        let mut waiting = [rustix::event::PollFd::new(self, rustix::event::PollFlags::IN)];
        let time =
            Timespec { tv_sec: i64::from(milliseconds / 1000), tv_nsec: i64::from(milliseconds % 1000) * 1_000_000 };
        match rustix::event::poll(&mut waiting, Some(&time)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(Error::new("poll(cgroup events)", errno)),
        }
    }
}

/// The number after a key in a file of version 2; `None` when the group is gone.
fn read_value(file: &OwnedFd, key: &str) -> Result<Option<u64>> {
    let mut buffer = [0_u8; 1024];
    match rustix::io::pread(file, &mut buffer, 0) {
        Ok(length) => Ok(value_of(&String::from_utf8_lossy(&buffer[..length]), key)),
        Err(Errno::NODEV) => Ok(None),
        Err(errno) => Err(Error::new(format!("read(cgroup file, {key:?})"), errno)),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::tests::Bench;
    use super::super::{Limits, Version};
    use super::*;

    #[test]
    fn lack_of_memory_and_the_end_are_told() {
        let Some(bench) = Bench::new("oom") else { return };
        let cgroup = Cgroup::create(&bench.layout, &bench.path, &[Controller::Memory]).unwrap();
        let Ok(mut watch) = cgroup.watch_oom() else {
            eprintln!("SKIP: needs the memory controller");
            return;
        };
        let mib = 1 << 20;
        cgroup.apply(&Limits { memory: Some(8 * mib), memory_and_swap: Some(8 * mib), ..Limits::default() }).unwrap();
        assert!(!watch.wait(0).unwrap());
        // It waits for a line, so that it can be moved first; then it takes more memory than there is.
        let mut child = Command::new("sh")
            .args(["-c", "read go; x=0123456789abcdef; while :; do x=$x$x; done"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let place = cgroup.place(Controller::Memory).unwrap();
        write_file(place.directory, "cgroup.procs", &child.id().to_string()).unwrap();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(watch.wait(5000).unwrap());
        assert!(watch.take().unwrap().times >= 1);
        assert!(cgroup.oom_kills().unwrap().0 >= 1);
        cgroup.remove().unwrap();
        if bench.layout.version() == Version::V1 || !place.unified {
            assert!(watch.wait(5000).unwrap());
        }
        assert!(watch.take().unwrap().ended);
    }
}
