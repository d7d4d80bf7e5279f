//! Reading a container's log by name, on while it runs.

use std::ops::ControlFlow;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;

use crate::LogDriver;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::log::{self, LogEntry, LogOptions};
use crate::session::{Event, Session};
use crate::supervision::Liveness;

impl Engine {
    /// Gives the entries of a container's log to `sink`, oldest first, until that breaks. With `follow` it goes on until the
    /// container ends.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the container has no log (`--log-driver none`).
    pub fn logs(
        &self,
        target: &str,
        options: &LogOptions,
        sink: &mut dyn FnMut(LogEntry) -> ControlFlow<()>,
    ) -> Result<()> {
        let id = self.find(target)?;
        let record = self.record(&id)?;
        if record.log.driver == LogDriver::None {
            return Err(Error::invalid(
                "log driver",
                "none",
                "keeps nothing to read; create the container with json-file",
            ));
        }
        let directory = self.directories.container(&id);
        let mut follower = if options.follow {
            match self.liveness(&id)? {
                Liveness::Running(_) => {
                    let session = Session::connect(&self.directories.run_of(&id), false, false, None)?;
                    session.map(|session| Follower::new(session, &directory)).transpose()?
                }
                _ => None,
            }
        } else {
            None
        };
        let mut wait = || follower.as_mut().map_or(Ok(false), Follower::wait);
        log::read(&directory, options, &mut wait, sink)
    }

    /// Where a container's current log file is (Docker's `LogPath`).
    pub(crate) fn log_path(&self, id: &crate::ContainerId) -> String {
        self.directories.container(id).join(log::LOG_FILE).display().to_string()
    }
}

/// Wakes when a log grows, and knows when its container has ended.
struct Follower {
    session: Session,
    watch: std::os::fd::OwnedFd,
    ended: bool,
    first: bool,
}

impl Follower {
    fn new(session: Session, directory: &std::path::Path) -> Result<Self> {
        let fail = |errno| Error::errno("watch", directory, errno);
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).map_err(fail)?;
        let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&watch, directory, what).map_err(fail)?;
        Ok(Self { session, watch, ended: false, first: true })
    }

    /// True when there may be more to read.
    fn wait(&mut self) -> Result<bool> {
        if self.ended {
            return Ok(false);
        }
        // What was written between the first reading and the watch is read without waiting.
        if std::mem::take(&mut self.first) {
            return Ok(true);
        }
        {
            let mut set: Vec<PollFd<'_>> =
                self.session.descriptors().iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
            set.push(PollFd::new(&self.watch, PollFlags::IN));
            match poll(&mut set, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::kernel("wait for the log")(errno.into())),
            }
        }
        let mut buffer = [0_u8; 4096];
        while rustix::io::read(&self.watch, &mut buffer[..]).is_ok_and(|length| length > 0) {}
        let mut ended = false;
        while self.session.receive(&mut |event| {
            ended |= matches!(event, Event::Exited { .. } | Event::Lost);
            Ok(())
        })? {
            if ended {
                break;
            }
        }
        self.ended = ended;
        // The end is told after the last line was written: one more reading gets everything.
        Ok(!ended)
    }
}
