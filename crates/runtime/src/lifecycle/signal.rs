//! `kill`.

use std::os::fd::OwnedFd;

use casemate_kernel::process;
use rustix::io::Errno;

use super::{Container, Runtime, Status};
use crate::error::{Error, Kind, Step};

const KILL: u8 = 9;

impl Runtime {
    /// Sends a signal to a container's first process or, with `all`, to every process of it.
    ///
    /// Where the container has no PID namespace of its own, `SIGKILL` goes to all its processes: the kernel does not end
    /// them with the first.
    ///
    /// # Errors
    /// [`Kind::WrongStatus`] when it neither is created nor runs.
    pub fn kill(&self, id: &str, signal: u8, all: bool) -> Result<(), Error> {
        let container = self.open(id)?;
        let status = container.status()?;
        if all || (signal == KILL && container.shares_processes()?) {
            let Some(group) = container.group_if_there()? else {
                return if all { Ok(()) } else { Err(not_running(status)) };
            };
            if signal == KILL {
                return group.kill().step("kill the container's processes");
            }
            for pid in group.processes().step("list the container's processes")? {
                // One that ended meanwhile needs no signal.
                if let Ok(pidfd) = process::pidfd_open(pid) {
                    send(&pidfd, signal)?;
                }
            }
            return Ok(());
        }
        let Some(pidfd) = container.first_process()?.filter(|_| status != Status::Stopped) else {
            return Err(not_running(status));
        };
        send(&pidfd, signal)?;
        if signal == KILL && status == Status::Paused {
            container.group()?.freeze(false).step("let the container end")?;
        }
        if signal == KILL {
            // Whoever kills and then deletes finds it stopped.
            super::delete::wait_for_end(&pidfd, 2)?;
        }
        Ok(())
    }
}

fn not_running(status: Status) -> Error {
    Error::new(Kind::WrongStatus, format!("container not running: {status}"))
}

fn send(pidfd: &OwnedFd, signal: u8) -> Result<(), Error> {
    match process::pidfd_send_signal(pidfd, signal) {
        Err(error) if error.errno() != Errno::SRCH => Err(Error::step("signal the container", error)),
        _ => Ok(()),
    }
}

impl Container {
    /// A descriptor of the first process, known to be it; `None` when it has ended.
    pub(super) fn first_process(&self) -> Result<Option<OwnedFd>, Error> {
        let Some(init) = self.record.init else { return Ok(None) };
        match process::pidfd_open(init.pid) {
            // The number is looked at once more now that the descriptor holds it.
            Ok(pidfd) => Ok(init.is_alive().then_some(pidfd)),
            Err(error) if error.errno() == Errno::SRCH => Ok(None),
            Err(error) => Err(Error::step("find the container's process", error)),
        }
    }

    /// Whether its processes are in a PID namespace that is not its own.
    fn shares_processes(&self) -> Result<bool, Error> {
        let spec = crate::bundle::parse(&self.directory.read_config()?)?;
        let Some(linux) = spec.linux() else { return Ok(true) };
        let (new, _) = crate::plan::namespaces(linux)?;
        Ok(!new.contains(casemate_kernel::namespace::Namespaces::PID))
    }
}
