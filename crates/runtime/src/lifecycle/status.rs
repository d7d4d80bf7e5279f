//! What a container is doing, asked of the kernel.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::{Container, Runtime};
use crate::error::Error;

/// The status of a container (`runtime.md`, "State").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being made.
    Creating,
    /// Its process stands at the start barrier.
    Created,
    /// Its program runs.
    Running,
    /// Its control group is frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// A container's state, with the fields of the specification and those that runc adds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The version of the specification that its configuration names.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// Its first process, as this PID namespace sees it; 0 when it is stopped.
    pub pid: u32,
    /// What it is doing.
    pub status: Status,
    /// Its bundle, absolute.
    pub bundle: PathBuf,
    /// Its root file system, absolute.
    pub rootfs: PathBuf,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// The annotations of its specification.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The id of the user that made it.
    #[serde(skip)]
    pub owner: u32,
}

impl Runtime {
    /// A container's state.
    ///
    /// # Errors
    /// [`Kind::NoSuchContainer`](crate::Kind::NoSuchContainer); else when the state can't be read.
    pub fn state(&self, id: &str) -> Result<State, Error> {
        let container = self.open(id)?;
        let status = container.status()?;
        Ok(container.state(status))
    }
}

impl Container {
    /// What it is doing now.
    pub(super) fn status(&self) -> Result<Status, Error> {
        let alive = self.record.init.is_some_and(super::record::Identity::is_alive);
        if !self.record.complete {
            let making = self.record.maker.is_alive();
            return Ok(if making { Status::Creating } else { Status::Stopped });
        }
        if !alive {
            return Ok(Status::Stopped);
        }
        if self.is_frozen()? {
            return Ok(Status::Paused);
        }
        Ok(if self.directory.is_waited_at()? { Status::Created } else { Status::Running })
    }

    /// Its state, with a status given: hooks are told one that is not yet, or no longer, what the kernel says.
    pub(super) fn state(&self, status: Status) -> State {
        let record = &self.record;
        let pid = record.init.map_or(0, |init| init.pid);
        State {
            oci_version: record.oci_version.clone(),
            id: record.id.clone(),
            pid: if status == Status::Stopped { 0 } else { pid },
            status,
            bundle: record.bundle.clone(),
            rootfs: record.rootfs.clone(),
            created: record.created.clone(),
            annotations: record.annotations.clone(),
            owner: record.owner,
        }
    }
}
