//! `start`.

use super::{Container, Runtime, Status};
use crate::create::wait_for_program;
use crate::error::{Error, Kind};
use crate::hooks::{self, Hooks};
use crate::message::{self, FromInit};

impl Runtime {
    /// Starts a container that was created.
    ///
    /// # Errors
    /// [`Kind::WrongStatus`] with no effect when it is not `created`; what kept its program from being executed, and the
    /// container is stopped then; a hook that failed ([`Kind::Hook`]), and nothing of the container is left then
    /// (`runtime.md`, "Lifecycle", steps 7 and 9).
    pub fn start(&self, id: &str) -> Result<(), Error> {
        let container = self.open(id)?;
        match container.status()? {
            Status::Created => {}
            Status::Stopped => {
                return Err(Error::new(Kind::WrongStatus, "cannot start a container that has stopped"));
            }
            Status::Running => {
                return Err(Error::new(Kind::WrongStatus, "cannot start an already running container"));
            }
            other => {
                return Err(Error::new(Kind::WrongStatus, format!("cannot start a container in the {other} state")));
            }
        }
        let spec = crate::bundle::parse(&container.directory.read_config()?)?;
        let hooks = Hooks::new(&spec)?;
        let state = if hooks.start_container.is_empty() { None } else { Some(container.state_file(Status::Created)?) };
        let socket = container.directory.connect_to_barrier()?;
        message::send_start(&socket, state.as_ref())?;
        match message::receive_from_init(&socket)? {
            FromInit::Begun => {}
            // Somebody else was first, or it was killed.
            _ => return Err(Error::new(Kind::WrongStatus, "cannot start an already running container")),
        }
        let started = wait_for_program(&socket, &mut |_| {
            Err(Error::step("linux.seccomp.listenerPath", "nobody asked for a listener"))
        });
        match started.and_then(|()| container.after_start(&hooks)) {
            Err(error) if error.kind() == Kind::Hook => {
                if let Err(another) = self.clear_away(container, None) {
                    (self.warn)(&another.to_string());
                }
                Err(error)
            }
            Err(error) => {
                // It ends by itself; whoever asks next is to find it stopped.
                if let Some(pidfd) = container.first_process()? {
                    super::delete::wait_for_end(&pidfd, 2)?;
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }
}

impl Container {
    /// Runs the hooks of a container that runs.
    pub(super) fn after_start(&self, hooks: &Hooks) -> Result<(), Error> {
        if hooks.poststart.is_empty() {
            return Ok(());
        }
        hooks::run_all(&hooks.poststart, &self.state_file(Status::Running)?)
    }
}
