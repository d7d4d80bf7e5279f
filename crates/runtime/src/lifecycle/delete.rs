//! `delete`.

use std::os::fd::OwnedFd;

use casemate_kernel::process;
use rustix::event::{PollFd, PollFlags};

use super::{Container, Runtime, Status};
use crate::error::{Error, Kind, Step};
use crate::hooks::Hooks;
use crate::plan::Plan;

impl Runtime {
    /// Removes a container that is stopped, and everything that was made for it; with `force`, whatever it is doing.
    ///
    /// # Errors
    /// [`Kind::WrongStatus`] with no effect when it is not stopped and not forced;
    /// [`Kind::NoSuchContainer`] when there is none, unless forced.
    pub fn delete(&self, id: &str, force: bool) -> Result<(), Error> {
        let container = match self.open(id) {
            Ok(container) => container,
            Err(error) if force && error.kind() == Kind::NoSuchContainer => return self.release_unrecorded(id),
            Err(error) => return Err(error),
        };
        let status = container.status()?;
        if status != Status::Stopped && !force {
            return Err(Error::new(
                Kind::WrongStatus,
                format!("cannot delete container {id} that is not stopped: {status}"),
            ));
        }
        self.clear_away(container, None)
    }

    /// A directory whose maker was killed before it wrote a record: nothing else was made.
    fn release_unrecorded(&self, id: &str) -> Result<(), Error> {
        super::directory::check_id(id)?;
        let Some(root) = super::directory::Root::open(&self.root)? else { return Ok(()) };
        match root.container(id)? {
            Some(directory) => root.release(&directory),
            None => Ok(()),
        }
    }

    /// Ends what is left of a container and removes all of it, the record last.
    pub(super) fn clear_away(&self, container: Container, plan: Option<&Plan>) -> Result<(), Error> {
        container.end()?;
        if let Some(group) = container.group_if_there()? {
            group.kill().step("end the container's processes")?;
            group.remove()?;
        } else if let Err(error) = container.record.cgroup.forget() {
            (self.warn)(&error.to_string());
        }
        crate::resctrl::remove(&container.record.resctrl)?;
        let kept;
        let hooks = if let Some(plan) = plan {
            &plan.hooks
        } else {
            kept = container.kept_hooks();
            &kept
        };
        self.after_stop(&container, hooks);
        let Container { root, directory, .. } = container;
        root.release(&directory)
    }

    /// Hooks of a container that is gone; the specification has one that fails be said, and nothing else.
    pub(super) fn after_stop(&self, container: &Container, hooks: &Hooks) {
        if hooks.poststop.is_empty() {
            return;
        }
        match container.state_file(Status::Stopped) {
            Ok(state) => {
                for error in hooks.poststop.iter().filter_map(|hook| hook.run(&state, &[]).err()) {
                    (self.warn)(&error.to_string());
                }
            }
            Err(error) => (self.warn)(&error.to_string()),
        }
    }
}

impl Container {
    /// The hooks of the specification it was made from; none when that was not kept.
    fn kept_hooks(&self) -> Hooks {
        self.directory
            .read_config()
            .and_then(|config| crate::bundle::parse(&config))
            .and_then(|spec| Hooks::new(&spec))
            .unwrap_or_default()
    }

    /// Kills the command that is making it, if one is, and its first process.
    fn end(&self) -> Result<(), Error> {
        let maker = self.record.maker;
        // The number is looked at once more now that the descriptor holds it.
        if !self.record.complete
            && maker.is_alive()
            && maker.pid != std::process::id()
            && let Ok(pidfd) = process::pidfd_open(maker.pid)
            && maker.is_alive()
        {
            // It may end by itself meanwhile.
            let _ = process::pidfd_send_signal(&pidfd, 9);
        }
        if let Some(pidfd) = self.first_process()? {
            let _ = process::pidfd_send_signal(&pidfd, 9);
            if let Ok(Some(group)) = self.group_if_there() {
                // A frozen process does not end before it is let go on.
                let _ = group.freeze(false);
            }
            if !wait_for_end(&pidfd, 10)? {
                return Err(Error::step("end the container", "its process does not end"));
            }
        }
        Ok(())
    }
}

/// Waits, so many seconds at most, until a process that is no child of ours has ended; whether it has.
pub(super) fn wait_for_end(pidfd: &OwnedFd, seconds: i64) -> Result<bool, Error> {
    let mut set = [PollFd::new(pidfd, PollFlags::IN)];
    let limit = rustix::time::Timespec { tv_sec: seconds, tv_nsec: 0 };
    match rustix::event::poll(&mut set, Some(&limit)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(Error::step("wait for the container's end", errno)),
    }
}
