//! The operations of an OCI runtime on containers that outlive the command that makes them (`runtime.md`).
//!
//! Each command does its work and exits. What it must know of a container is in a directory of its own below the state
//! root; what a container is doing is asked of the kernel each time, so that nothing is wrong after a `kill -9`.

mod create;
mod delete;
mod directory;
mod exec;
mod group;
mod record;
mod signal;
mod start;
mod status;
mod watch;

use std::path::{Path, PathBuf};

pub use create::{Attend, Console, CreateOptions, Finished, RunOptions};
pub use directory::check_id;
pub use exec::{ExecOptions, Executed};
pub use status::{State, Status};

use crate::error::{Error, Kind};
use directory::{Directory, Root};
use record::Record;

/// An OCI runtime with a state root of its own.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Where it keeps its state.
    pub root: PathBuf,
    /// Whether control groups are made by systemd.
    pub systemd: bool,
    /// Whether the posture's floor is applied to whatever an engine hands over.
    pub hardened: bool,
    /// Whom to tell what is not an error and should be known.
    pub warn: fn(&str),
    /// Whom to tell what only somebody looking for a fault wants to know.
    pub debug: fn(&str),
}

/// A container that is on record.
#[derive(Debug)]
struct Container {
    root: Root,
    directory: Directory,
    record: Record,
}

impl Runtime {
    /// A runtime that keeps its state below `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), systemd: false, hardened: false, warn: |_| {}, debug: |_| {} }
    }

    /// The containers, in the order of their ids. One that is being made or removed just now may be missing.
    ///
    /// # Errors
    /// When the state can't be read.
    pub fn list(&self) -> Result<Vec<State>, Error> {
        let Some(root) = Root::open(&self.root)? else { return Ok(Vec::new()) };
        let mut states = Vec::new();
        for id in root.ids()? {
            match self.state(&id) {
                Ok(state) => states.push(state),
                Err(error) if error.kind() == Kind::NoSuchContainer => {}
                Err(error) => (self.warn)(&error.to_string()),
            }
        }
        Ok(states)
    }

    fn open(&self, id: &str) -> Result<Container, Error> {
        check_id(id)?;
        let missing = || Error::new(Kind::NoSuchContainer, format!("{id:?}: container does not exist"));
        let root = Root::open(&self.root)?.ok_or_else(missing)?;
        let directory = root.container(id)?.ok_or_else(missing)?;
        let record = directory.read_record()?.ok_or_else(missing)?;
        Ok(Container { root, directory, record })
    }
}
