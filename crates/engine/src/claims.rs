//! Claims: names and id ranges that belong to one container, taken by `link(2)` so that two commands can't both get one.
//!
//! Each container has one small owner file, `containers/<id>/owner`, and a claim is a further hard link to it: the kernel lets
//! exactly one link of a name succeed. Taking needs no lock. Letting go does, for a moment, because "it is stale" and
//! "remove it" are two steps between which the claim may have become somebody else's.
//!
//! A claim is stale when no container of its id exists and the process that made it is gone. Any command may collect it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::directories::{self, Directories};
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::idrange::{IdRange, Pool};

/// The file in a container's directory that its claims are links to.
pub(crate) const OWNER_FILE: &str = "owner";

/// Who claims: a container, and the process that is making it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) id: ContainerId,
    pub(crate) pid: u32,
    pub(crate) start: u64,
}

impl Owner {
    /// This process, making the container `id`.
    pub(crate) fn this_process(id: &ContainerId) -> Result<Self> {
        let pid = std::process::id();
        let start = casemate_kernel::process::start_time(pid).ok_or_else(|| {
            Error::kernel("read the start time of this process from /proc")(io::ErrorKind::NotFound.into())
        })?;
        Ok(Self { id: id.clone(), pid, start })
    }

    /// Whether the process that made the claim still runs.
    pub(crate) fn is_alive(&self) -> bool {
        casemate_kernel::process::start_time(self.pid) == Some(self.start)
    }
}

/// The claims of one state directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claims<'a>(pub(crate) &'a Directories);

/// Held while claims are let go; released when dropped or when the process dies.
struct Lock(#[allow(dead_code, reason = "the open file is the lock")] File);

impl Claims<'_> {
    fn owner_file(self, id: &ContainerId) -> PathBuf {
        self.0.container(id).join(OWNER_FILE)
    }

    fn record_exists(self, id: &ContainerId) -> bool {
        self.0.container(id).join(crate::record::RECORD_FILE).exists()
    }

    fn lock(self) -> Result<Lock> {
        let path = self.0.claims("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|errno| Error::errno("lock", &path, errno))?;
        Ok(Lock(file))
    }

    /// Makes a container's directory, with its owner file.
    pub(crate) fn make_directory(self, id: &ContainerId) -> Result<()> {
        // Known before the directory is there: one without an owner must not last.
        let owner = serde_json::to_vec(&Owner::this_process(id)?).unwrap_or_default();
        let directory = self.0.container(id);
        directories::make_new(&directory).map_err(Error::file("make directory", &directory))?;
        let path = directory.join(OWNER_FILE);
        directories::write_new(&path, &owner).map_err(|error| {
            // The disk is full, say: the error is what to tell of, not what it left.
            let _ = directories::remove_tree(&directory);
            Error::file("write", path)(error)
        })
    }

    /// Takes a name. `NameTaken` when a container, or a command that is making one, has it.
    pub(crate) fn take_name(self, id: &ContainerId, name: &str) -> Result<()> {
        let claim = self.0.claims("names").join(name);
        let owner = self.owner_file(id);
        for _ in 0..8 {
            match fs::hard_link(&owner, &claim) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if let Some(holder) = self.holder_unless_stale(&claim)? {
                        return Err(Error::NameTaken { name: name.to_owned(), holder: holder.short().to_owned() });
                    }
                    self.collect_one(&claim)?;
                }
                Err(error) => return Err(Error::file("claim the name", &claim)(error)),
            }
        }
        Err(Error::State {
            doing: "name",
            name: name.to_owned(),
            why: "other commands keep taking the name; try again".to_owned(),
        })
    }

    /// Takes a free range of ids, probing from a slot that follows from the container's random id.
    pub(crate) fn take_range(self, id: &ContainerId, pool: &Pool) -> Result<IdRange> {
        let owner = self.owner_file(id);
        let directory = self.0.claims("ids");
        for pass in 0..2 {
            for range in pool.ranges_from(id.spread(pool.slots())) {
                let claim = directory.join(range.claim_name());
                match fs::hard_link(&owner, &claim) {
                    Ok(()) => return Ok(range),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(Error::file("claim the id range", claim)(error)),
                }
            }
            // Only when everything seems held is it worth asking of each whether it is still wanted.
            if pass == 0 {
                self.collect_in(&directory)?;
            }
        }
        Err(Error::NoIdRange { slots: pool.slots(), source_of_range: pool.source() })
    }

    /// Holds the range of another container as well, so that it stays claimed when that one is removed first.
    pub(crate) fn share_range(self, id: &ContainerId, range: IdRange) -> Result<()> {
        let _lock = self.lock()?;
        let main = self.0.claims("ids").join(range.claim_name());
        if !main.exists() {
            return Err(Error::State {
                doing: "share the ids of",
                name: id.short().to_owned(),
                why: "the container that it should join was removed meanwhile".to_owned(),
            });
        }
        let directory = self.sharers(range);
        match directories::make_new(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::file("make directory", directory)(error));
            }
            _ => {}
        }
        let claim = directory.join(id.as_str());
        fs::hard_link(self.owner_file(id), &claim).map_err(Error::file("claim the shared id range", claim))
    }

    fn sharers(self, range: IdRange) -> PathBuf {
        self.0.claims("shared").join(range.claim_name())
    }

    /// Lets go of what a container holds: its name and its range. What has become somebody else's is left alone.
    pub(crate) fn release(self, id: &ContainerId, name: Option<&str>, range: Option<IdRange>) -> Result<()> {
        let owner_path = self.owner_file(id);
        let owner = match fs::metadata(&owner_path) {
            Ok(found) => (found.dev(), found.ino()),
            // Without it nothing can be linked to it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::file("look at", owner_path)(error)),
        };
        let _lock = self.lock()?;
        if let Some(name) = name {
            remove_if_linked(&self.0.claims("names").join(name), owner)?;
        }
        if let Some(range) = range {
            let claim = self.0.claims("ids").join(range.claim_name());
            if is_linked(&claim, owner)? {
                self.release_main(&claim, range.claim_name().as_str())?;
            } else {
                let directory = self.sharers(range);
                remove_if_linked(&directory.join(id.as_str()), owner)?;
                // Fails while others share, which is how it should be.
                let _ = fs::remove_dir(directory);
            }
        }
        Ok(())
    }

    /// Frees a range, or hands it to one of those that share it. The lock is held.
    fn release_main(self, claim: &Path, range_name: &str) -> Result<()> {
        let directory = self.0.claims("shared").join(range_name);
        let heir = fs::read_dir(&directory).ok().and_then(|mut entries| entries.next()).and_then(Result::ok);
        if let Some(heir) = heir {
            fs::rename(heir.path(), claim).map_err(Error::file("hand over the id range", claim))?;
            let _ = fs::remove_dir(directory);
            return Ok(());
        }
        directories::remove_file(claim).map_err(Error::file("release", claim))
    }

    /// The container that has a name; `None` when nobody has.
    pub(crate) fn holder_of_name(self, name: &str) -> Result<Option<ContainerId>> {
        Ok(read_owner(&self.0.claims("names").join(name))?.map(|owner| owner.id))
    }

    /// The holder of a claim, or `None` when the claim is stale or gone.
    fn holder_unless_stale(self, claim: &Path) -> Result<Option<ContainerId>> {
        Ok(read_owner(claim)?.filter(|owner| self.record_exists(&owner.id) || owner.is_alive()).map(|owner| owner.id))
    }

    /// Removes one claim if it is stale. Says whether it did.
    fn collect_one(self, claim: &Path) -> Result<bool> {
        let _lock = self.lock()?;
        // Asked again under the lock: since the first look it may have been collected and taken anew.
        if !claim.exists() || self.holder_unless_stale(claim)?.is_some() {
            return Ok(false);
        }
        let in_ids = claim.parent() == Some(self.0.claims("ids").as_path());
        match claim.file_name().and_then(|name| name.to_str()).filter(|_| in_ids) {
            Some(range_name) => self.release_main(claim, range_name)?,
            None => directories::remove_file(claim).map_err(Error::file("release", claim))?,
        }
        Ok(true)
    }

    fn collect_in(self, directory: &Path) -> Result<Vec<PathBuf>> {
        let mut collected = Vec::new();
        for entry in fs::read_dir(directory).map_err(Error::file("list", directory))? {
            let path = entry.map_err(Error::file("list", directory))?.path();
            if self.holder_unless_stale(&path)?.is_none() && self.collect_one(&path)? {
                collected.push(path);
            }
        }
        Ok(collected)
    }

    /// Removes every stale claim and says which.
    pub(crate) fn collect(self) -> Result<Vec<PathBuf>> {
        let shared = self.0.claims("shared");
        let mut collected = Vec::new();
        for entry in fs::read_dir(&shared).map_err(Error::file("list", &shared))? {
            let directory = entry.map_err(Error::file("list", &shared))?.path();
            collected.extend(self.collect_in(&directory)?);
            let _ = fs::remove_dir(directory);
        }
        for kind in ["names", "ids"] {
            collected.extend(self.collect_in(&self.0.claims(kind))?);
        }
        Ok(collected)
    }
}

fn is_linked(claim: &Path, owner: (u64, u64)) -> Result<bool> {
    match fs::symlink_metadata(claim) {
        Ok(found) => Ok((found.dev(), found.ino()) == owner),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file("look at", claim)(error)),
    }
}

fn remove_if_linked(claim: &Path, owner: (u64, u64)) -> Result<()> {
    if is_linked(claim, owner)? {
        directories::remove_file(claim).map_err(Error::file("release", claim))?;
    }
    Ok(())
}

/// The owner that a claim names. One that can't be read (a kill between creating and writing it) owns nothing.
pub(crate) fn read_owner(claim: &Path) -> Result<Option<Owner>> {
    let content = directories::read_optional(claim).map_err(Error::file("read", claim))?;
    Ok(content.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
