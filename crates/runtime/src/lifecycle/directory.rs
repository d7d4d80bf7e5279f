//! Where the runtime keeps what it knows of its containers: one directory for each, below a root of its own.

use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use casemate_kernel::socket;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::bundle::LARGEST_CONFIG;
use crate::error::{Error, Step};
use crate::init::Barrier;
use crate::lifecycle::record::Record;

const RECORD: &str = "state.json";
const CONFIG: &str = "config.json";
const BARRIER: &str = "start";
const LOCK: &str = "not-started";
/// Every name that may be in a container's directory, in the order in which they are removed: the record last, as it says
/// what else there is to remove.
const FILES: [&str; 6] = [BARRIER, LOCK, CONFIG, ".state.json", ".config.json", RECORD];

/// The root of the runtime's state (`--root`).
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    directory: OwnedFd,
}

impl Root {
    /// Opens the root; `None` when there is none yet.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(directory) => Ok(Some(Self { path: path.to_owned(), directory })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::step(format!("open the state root {path:?}"), errno)),
        }
    }

    /// Opens the root, making it, for its owner alone, where there is none.
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        if let Some(root) = Self::open(path)? {
            return Ok(root);
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).step(&format!("make {parent:?}"))?;
        }
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::step(format!("make the state root {path:?}"), errno)),
        }
        Self::open(path)?.ok_or_else(|| Error::step(format!("open the state root {path:?}"), Errno::NOENT))
    }

    /// The ids that have a directory, in order.
    pub(super) fn ids(&self) -> Result<Vec<String>, Error> {
        let step = format!("list {:?}", self.path);
        let mut ids = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.directory).step(&step)? {
            let entry = entry.step(&step)?;
            if let Ok(name) = entry.file_name().to_str()
                && check_id(name).is_ok()
            {
                ids.push(name.to_owned());
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// A container's directory; `None` when there is none.
    pub(super) fn container(&self, id: &str) -> Result<Option<Directory>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.directory, id, flags, Mode::empty()) {
            Ok(directory) => Ok(Some(Directory { id: id.to_owned(), directory })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(Error::step(format!("open the state of {id:?}"), errno)),
        }
    }

    /// Makes a container's directory, which claims its id.
    pub(super) fn claim(&self, id: &str) -> Result<Directory, Error> {
        match rustix::fs::mkdirat(&self.directory, id, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                return Err(Error::field("id", format!("container with given ID already exists: {id:?}")));
            }
            Err(errno) => return Err(Error::step(format!("make the state of {id:?}"), errno)),
        }
        self.container(id)?.ok_or_else(|| Error::step(format!("open the state of {id:?}"), Errno::NOENT))
    }

    /// Removes a container's directory. What is there already gone is no error.
    pub(super) fn release(&self, directory: &Directory) -> Result<(), Error> {
        for name in FILES {
            match rustix::fs::unlinkat(&directory.directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(Error::step(format!("remove {name:?} of {:?}", directory.id), errno)),
            }
        }
        match rustix::fs::unlinkat(&self.directory, directory.id.as_str(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::step(format!("remove the state of {:?}", directory.id), errno)),
        }
    }
}

/// Checks what a container may be called: letters, digits and `_+-.`, as engines agree on; a name in a directory.
///
/// # Errors
/// When it is none.
pub fn check_id(id: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() {
        return Err(Error::field("id", "container id cannot be empty"));
    }
    if id.len() > 255 || id == "." || id == ".." || !id.chars().all(plain) {
        return Err(Error::field("id", format!("invalid container ID format: {id:?}")));
    }
    Ok(())
}

/// One container's directory.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) id: String,
    directory: OwnedFd,
}

impl Directory {
    /// Writes the record, whole or not at all.
    pub(super) fn write_record(&self, record: &Record) -> Result<(), Error> {
        let text = serde_json::to_vec(record).step("write the container's state")?;
        self.replace(RECORD, &text)
    }

    /// Reads the record; `None` when its maker did not come so far.
    pub(super) fn read_record(&self) -> Result<Option<Record>, Error> {
        let Some(text) = self.read(RECORD)? else { return Ok(None) };
        let record = serde_json::from_slice(&text)
            .map_err(|error| Error::step(format!("read the state of {:?}", self.id), error))?;
        Ok(Some(record))
    }

    /// Keeps the specification as it was when the container was made.
    pub(super) fn write_config(&self, config: &[u8]) -> Result<(), Error> {
        self.replace(CONFIG, config)
    }

    pub(super) fn read_config(&self) -> Result<Vec<u8>, Error> {
        self.read(CONFIG)?.ok_or_else(|| Error::step(format!("read the specification of {:?}", self.id), Errno::NOENT))
    }

    fn replace(&self, name: &str, text: &[u8]) -> Result<(), Error> {
        let step = format!("write {name:?} of {:?}", self.id);
        let draft = format!(".{name}");
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, draft.as_str(), flags, Mode::RUSR | Mode::WUSR).step(&step)?;
        std::io::Write::write_all(&mut std::fs::File::from(file), text).step(&step)?;
        rustix::fs::renameat_with(&self.directory, draft.as_str(), &self.directory, name, RenameFlags::empty())
            .step(&step)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let step = format!("read {name:?} of {:?}", self.id);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.directory, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(Error::step(step, errno)),
        };
        let mut text = Vec::new();
        std::fs::File::from(file).take(2 * LARGEST_CONFIG).read_to_end(&mut text).step(&step)?;
        Ok(Some(text))
    }

    /// Makes the start barrier: a socket that whoever starts the container connects to, and a lock that is held until
    /// its program is executed. Both are held by whoever holds the descriptors, and by nothing on disk.
    pub(super) fn make_barrier(&self) -> Result<Barrier, Error> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock =
            rustix::fs::openat(&self.directory, LOCK, flags, Mode::RUSR | Mode::WUSR).step("make the start barrier")?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).step("make the start barrier")?;
        let listener = socket::listen(&self.directory, BARRIER, 0o600).step("make the start barrier")?;
        Ok(Barrier { listener, lock })
    }

    /// Whether a process stands at the barrier.
    pub(super) fn is_waited_at(&self) -> Result<bool, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = match rustix::fs::openat(&self.directory, LOCK, flags, Mode::empty()) {
            Ok(lock) => lock,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(Error::step("look at the start barrier", errno)),
        };
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(Error::step("look at the start barrier", errno)),
        }
    }

    /// Connects to the process at the barrier.
    pub(super) fn connect_to_barrier(&self) -> Result<OwnedFd, Error> {
        socket::connect(self.directory.as_fd(), BARRIER).step("connect to the container's process")
    }
}
