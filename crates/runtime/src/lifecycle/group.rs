//! A container's control group, after it was made: pausing, listing, ending.

use super::{Container, Runtime, Status};
use crate::cgroup::ContainerGroup;
use crate::error::{Error, Kind, Step};

impl Runtime {
    /// Freezes all processes of a container.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self, id: &str) -> Result<(), Error> {
        let container = self.open(id)?;
        match container.status()? {
            Status::Running | Status::Created => {}
            other => {
                return Err(Error::new(Kind::WrongStatus, format!("container not running or created: {other}")));
            }
        }
        container.group()?.freeze(true).step("pause the container")
    }

    /// Lets the processes of a paused container go on.
    ///
    /// # Errors
    /// When it is not paused.
    pub fn resume(&self, id: &str) -> Result<(), Error> {
        let container = self.open(id)?;
        if container.status()? != Status::Paused {
            return Err(Error::new(Kind::WrongStatus, "container not paused"));
        }
        container.group()?.freeze(false).step("resume the container")
    }

    /// The processes of a container, as this PID namespace numbers them; none when it is gone.
    ///
    /// # Errors
    /// When there is no such container, or its control group can't be read.
    pub fn processes(&self, id: &str) -> Result<Vec<u32>, Error> {
        match self.open(id)?.group_if_there()? {
            Some(group) => group.processes().step("list the container's processes"),
            None => Ok(Vec::new()),
        }
    }
}

impl Container {
    pub(super) fn group(&self) -> Result<ContainerGroup, Error> {
        ContainerGroup::open(&self.record.cgroup)
    }

    /// The control group; `None` when it is gone, or was never made.
    pub(super) fn group_if_there(&self) -> Result<Option<ContainerGroup>, Error> {
        ContainerGroup::open_if_there(&self.record.cgroup)
    }

    pub(super) fn is_frozen(&self) -> Result<bool, Error> {
        match self.group_if_there()? {
            Some(group) => group.is_frozen().step("look whether the container is paused"),
            None => Ok(false),
        }
    }
}
