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
    /// [`Kind::WrongStatus`] with no effect when it is not `created`; what kept its program from being executed; a hook
    /// that failed, and the container is stopped then.
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
        wait_for_program(&socket, &mut |_| {
            Err(Error::step("linux.seccomp.listenerPath", "nobody asked for a listener"))
        })?;
        container.after_start(&hooks)
    }
}

impl Container {
    /// Runs the hooks of a container that runs. One that fails ends it.
    pub(super) fn after_start(&self, hooks: &Hooks) -> Result<(), Error> {
        if hooks.poststart.is_empty() {
            return Ok(());
        }
        let state = self.state_file(Status::Running)?;
        hooks::run_all(&hooks.poststart, &state).inspect_err(|_| {
            if let Ok(Some(group)) = self.group_if_there() {
                let _ = group.kill();
            }
        })
    }
}
