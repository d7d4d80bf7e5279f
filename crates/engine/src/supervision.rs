//! Who looks after a container: the supervisor holds an advisory lock on `run/<id>` for as long as it lives.
//!
//! The lock is taken by the command that starts the container and inherited by the supervisor it forks; the kernel lets go of
//! it when the last of them ends, however it ends. So "is it running" needs no process ids and can't be wrong after a `kill -9`,
//! and two commands can't start one container at once.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::directories::{self, Directories};
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::record::{self, Live, STATE_FILE};

/// The right to start, end or remove a container.
#[derive(Debug)]
pub(crate) struct Supervision {
    directory: File,
    path: PathBuf,
    /// Whether the directory was there before: nobody held it, so whoever made it is gone.
    existed: bool,
}

/// What is known of a container's life from its run directory.
#[derive(Debug)]
pub(crate) enum Liveness {
    /// No trace of a run.
    Stopped,
    /// Somebody holds the lock but has not said that the container runs: it is being started or removed.
    Busy,
    /// It runs.
    Running(Box<Live>),
    /// Its supervisor died without recording an end.
    Abandoned,
}

/// How long a command waits for another one that is starting or removing the same container.
const PATIENCE: Duration = Duration::from_secs(10);

impl Supervision {
    /// Tries once. `None` when somebody else has it.
    pub(crate) fn try_acquire(directories: &Directories, id: &ContainerId) -> Result<Option<Self>> {
        let path = directories.run_of(id);
        loop {
            let existed = match directories::make_new(&path) {
                Ok(()) => false,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
                Err(error) => return Err(Error::file("make directory", path)(error)),
            };
            let directory = match File::open(&path) {
                Ok(directory) => directory,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::file("open", path)(error)),
            };
            match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(Error::errno("lock", &path, errno)),
            }
            // The directory may have been removed, and made anew, between open and lock.
            if is_still(&directory, &path)? {
                return Ok(Some(Self { directory, path, existed }));
            }
        }
    }

    /// Waits for whoever is starting or removing the container right now. `None` when it runs.
    pub(crate) fn acquire(directories: &Directories, id: &ContainerId) -> Result<Option<Self>> {
        let begun = Instant::now();
        loop {
            if let Some(supervision) = Self::try_acquire(directories, id)? {
                return Ok(Some(supervision));
            }
            if let Liveness::Running(_) = liveness(directories, id)? {
                return Ok(None);
            }
            if begun.elapsed() > PATIENCE {
                return Err(Error::State {
                    doing: "work on",
                    name: id.short().to_owned(),
                    why: "another command has been starting or removing it for 10 seconds".to_owned(),
                });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The descriptor that carries the lock; a supervisor keeps it open.
    pub(crate) fn into_file(self) -> File {
        self.directory
    }

    /// Whether an earlier run left something behind.
    pub(crate) fn was_abandoned(&self) -> bool {
        self.existed
    }

    /// Reads the state that a supervisor left behind.
    pub(crate) fn left_behind(&self) -> Result<Option<Live>> {
        record::read(&self.path.join(STATE_FILE))
    }

    /// Removes what an earlier run left in the run directory.
    pub(crate) fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).map_err(Error::file("list", &self.path))? {
            let path = entry.map_err(Error::file("list", &self.path))?.path();
            directories::remove_file(&path).map_err(Error::file("remove", path))?;
        }
        Ok(())
    }

    /// Removes the run directory, and with it the lock.
    pub(crate) fn remove(self) -> Result<()> {
        directories::remove_tree(&self.path).map_err(Error::file("remove", &self.path))
    }
}

fn is_still(directory: &File, path: &Path) -> Result<bool> {
    let held = directory.metadata().map_err(Error::file("look at", path))?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file("look at", path)(error)),
    }
}

/// What the run directory says of a container.
pub(crate) fn liveness(directories: &Directories, id: &ContainerId) -> Result<Liveness> {
    let path = directories.run_of(id);
    let directory = match File::open(&path) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Liveness::Stopped),
        Err(error) => return Err(Error::file("open", path)(error)),
    };
    match flock(&directory, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => {
            let state = record::read(&path.join(STATE_FILE))?;
            Ok(state.map_or(Liveness::Busy, |live| Liveness::Running(Box::new(live))))
        }
        // A directory that was just removed, or that a command which is about to lock it has made.
        Ok(()) if !is_still(&directory, &path)? => Ok(Liveness::Stopped),
        Ok(()) => Ok(Liveness::Abandoned),
        Err(errno) => Err(Error::errno("look at the lock of", &path, errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture() -> (tempfile::TempDir, Directories, ContainerId) {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories {
            data: root.path().join("data"),
            run: root.path().join("run"),
            config: root.path().join("etc"),
        };
        directories.prepare().unwrap();
        (root, directories, ContainerId::random().unwrap())
    }

    #[test]
    fn only_one_holds_it_and_death_lets_go() {
        let (_root, directories, id) = fixture();
        assert!(matches!(liveness(&directories, &id).unwrap(), Liveness::Stopped));
        let held = Supervision::try_acquire(&directories, &id).unwrap().unwrap();
        assert!(Supervision::try_acquire(&directories, &id).unwrap().is_none());
        assert!(matches!(liveness(&directories, &id).unwrap(), Liveness::Busy));
        drop(held);
        assert!(matches!(liveness(&directories, &id).unwrap(), Liveness::Abandoned));
        Supervision::try_acquire(&directories, &id).unwrap().unwrap().remove().unwrap();
        assert!(matches!(liveness(&directories, &id).unwrap(), Liveness::Stopped));
    }

    #[test]
    fn a_removed_directory_is_not_mistaken_for_the_new_one() {
        let (_root, directories, id) = fixture();
        let old = Supervision::try_acquire(&directories, &id).unwrap().unwrap();
        fs::remove_dir_all(&old.path).unwrap();
        let new = Supervision::try_acquire(&directories, &id).unwrap();
        assert!(new.is_some(), "the lock on the removed directory means nothing");
    }

    #[test]
    fn what_is_left_behind_is_cleared() {
        let (_root, directories, id) = fixture();
        let held = Supervision::try_acquire(&directories, &id).unwrap().unwrap();
        fs::write(held.path.join("hostname"), "x").unwrap();
        held.clear().unwrap();
        assert_eq!(fs::read_dir(&held.path).unwrap().count(), 0);
        assert!(held.left_behind().unwrap().is_none());
    }
}
