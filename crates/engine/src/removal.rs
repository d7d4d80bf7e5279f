//! Taking a container away: its claims, its directory, and the volumes that were only its own.

use std::fs;
use std::io;
use std::path::Path;

use crate::claims::{Claims, OWNER_FILE};
use crate::directories::{self, Directories};
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::idrange::IdRange;
use crate::record::{RECORD_FILE, Record, STATE_FILE};
use crate::session::SOCKET;
use crate::volumes;

/// What the record becomes when the removal has begun: from then on the container does not exist, whatever happens.
pub(crate) const REMOVING_FILE: &str = "removing";

/// What a container leaves behind; small, because a supervisor keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Leaving {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) range: Option<IdRange>,
    /// Volumes that were made for this container alone.
    pub(crate) volumes: Vec<String>,
}

impl Leaving {
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            id: record.identity.id.clone(),
            name: record.identity.name.clone(),
            image: record.identity.image.clone(),
            range: record.id_range.filter(|_| record.range_claimed),
            volumes: record.anonymous_volumes.clone(),
        }
    }
}

/// Removes a container that does not run. The caller holds its supervision lock.
pub(crate) fn remove(directories: &Directories, leaving: &Leaving) -> Result<()> {
    let directory = directories.container(&leaving.id);
    let record = directory.join(RECORD_FILE);
    match fs::rename(&record, directory.join(REMOVING_FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file("remove", record)(error)),
        _ => {}
    }
    Claims(directories).release(&leaving.id, Some(&leaving.name), leaving.range)?;
    for volume in &leaving.volumes {
        volumes::remove(directories, volume)?;
    }
    remove_known(&directory, &[REMOVING_FILE, OWNER_FILE]).map_err(Error::file("remove", directory))
}

/// Removes a run directory.
pub(crate) fn remove_run(run: &Path) -> io::Result<()> {
    remove_known(run, &[STATE_FILE, SOCKET, "hostname"])
}

/// Removes a directory with the files that it surely has; where there is more, that too. A short-lived container's directory
/// goes without being read.
fn remove_known(directory: &Path, files: &[&str]) -> io::Result<()> {
    for file in files {
        directories::remove_file(&directory.join(file))?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => directories::remove_tree(directory),
        Ok(()) => Ok(()),
    }
}
