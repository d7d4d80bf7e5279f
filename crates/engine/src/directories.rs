//! Where the engine keeps its state, and the one way in which it makes directories and writes files there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::id::ContainerId;

/// No state file of ours comes near this; what is larger is not ours.
const LARGEST_STATE_FILE: u64 = 16 << 20;

/// The two roots of the engine's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// What survives a reboot: images, containers, volumes, claims. `/var/lib/casemate`.
    pub data: PathBuf,
    /// What a reboot may forget: process ids, sockets. `/run/casemate`.
    pub run: PathBuf,
    /// Configuration: `policy.toml`. `/etc/casemate`.
    pub config: PathBuf,
}

impl Default for Directories {
    fn default() -> Self {
        Self {
            data: PathBuf::from("/var/lib/casemate"),
            run: PathBuf::from("/run/casemate"),
            config: PathBuf::from("/etc/casemate"),
        }
    }
}

impl Directories {
    /// The defaults, overridden by what `lookup` knows of `CASEMATE_ROOT`, `CASEMATE_RUN_ROOT` and `CASEMATE_CONFIG`
    /// (the environment, in a program). Empty values count as absent.
    pub fn from_environment(lookup: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let given = |name: &str, default: PathBuf| {
            lookup(name).filter(|value| !value.is_empty()).map_or(default, PathBuf::from)
        };
        let default = Self::default();
        Self {
            data: given("CASEMATE_ROOT", default.data),
            run: given("CASEMATE_RUN_ROOT", default.run),
            config: given("CASEMATE_CONFIG", default.config),
        }
    }

    /// The host's policy file.
    pub fn policy_file(&self) -> PathBuf {
        self.config.join("policy.toml")
    }

    /// The two roots as a mount's source is looked at: with symbolic links resolved. What is not UTF-8 can't be a source either.
    pub(crate) fn real(&self) -> [String; 2] {
        [&self.data, &self.run].map(|root| {
            fs::canonicalize(root).unwrap_or_else(|_| root.clone()).into_os_string().into_string().unwrap_or_default()
        })
    }

    pub(crate) fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    pub(crate) fn container(&self, id: &ContainerId) -> PathBuf {
        let mut path = self.containers();
        path.push(id.as_str());
        path
    }

    pub(crate) fn run_of(&self, id: &ContainerId) -> PathBuf {
        self.run.join(id.as_str())
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    pub(crate) fn claims(&self, kind: &str) -> PathBuf {
        let mut path = self.data.join("claims");
        path.push(kind);
        path
    }

    /// Makes what is missing. Only looks at one directory when everything is there.
    pub(crate) fn prepare(&self) -> Result<()> {
        for root in [&self.data, &self.run] {
            if !root.is_absolute() {
                return Err(Error::invalid("state directory", root.display().to_string(), "must be an absolute path"));
            }
        }
        // The last directory that is made says that the others exist.
        let last = self.claims("shared");
        if !last.is_dir() {
            for directory in [
                self.data.clone(),
                self.containers(),
                self.volumes(),
                self.data.join("claims"),
                self.claims("names"),
                self.claims("ids"),
                last,
            ] {
                make_private(&directory)?;
            }
        }
        if !self.run.is_dir() {
            make_private(&self.run)?;
        }
        Ok(())
    }
}

/// Makes a directory that is its owner's alone, whatever the umask, and its parents if need be.
pub(crate) fn make_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = path.parent().map_or(Ok(()), fs::create_dir_all);
            made.and_then(|()| DirBuilder::new().mode(0o700).create(path))
                .map_err(Error::file("make directory", path))?;
        }
        Err(error) => return Err(Error::file("make directory", path)(error)),
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(Error::file("set the mode of", path))
}

/// Makes one directory, 0700, that must not exist.
pub(crate) fn make_new(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Creates a file that must not exist, 0600, with this content.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)
}

/// Replaces a file's content in one step: whoever reads sees the old or the new, never a part. With `durable` the content
/// also survives a loss of power once this has returned.
pub(crate) fn replace(path: &Path, content: &[u8], durable: bool) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            if durable { file.sync_data() } else { Ok(()) }
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The error that is told is the first one; a left-over is collected by `system check`.
        let _ = fs::remove_file(&temporary);
    } else if durable && let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    written
}

/// Reads a state file whole; `None` when it does not exist.
pub(crate) fn read_optional(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut file = file.take(LARGEST_STATE_FILE);
    let mut content = vec![0; 8192];
    let length = file.read(&mut content)?;
    // A regular file is read short only at its end: most state files cost one call.
    if length == content.len() {
        file.read_to_end(&mut content)?;
    } else {
        content.truncate(length);
    }
    Ok(Some(content))
}

/// Removes a file; one that is gone already is fine.
pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a directory and all in it; one that is gone already is fine. Symbolic links in it are removed, not followed.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn state_is_private_and_made_once() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories {
            data: root.path().join("a/data"),
            run: root.path().join("run"),
            config: root.path().join("etc"),
        };
        directories.prepare().unwrap();
        directories.prepare().unwrap();
        for path in [&directories.data, &directories.run, &directories.claims("ids")] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn relative_roots_are_refused() {
        let directories = Directories { data: "state".into(), ..Directories::default() };
        assert!(directories.prepare().unwrap_err().to_string().contains("absolute"));
    }

    #[test]
    fn environment_overrides_and_empty_does_not() {
        let directories = Directories::from_environment(|name| match name {
            "CASEMATE_ROOT" => Some("/srv/c".into()),
            "CASEMATE_RUN_ROOT" => Some("".into()),
            _ => None,
        });
        assert_eq!(directories.data, Path::new("/srv/c"));
        assert_eq!(directories.run, Path::new("/run/casemate"));
    }

    #[test]
    fn replacing_is_whole_and_leaves_nothing_beside() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("record.json");
        replace(&path, b"one", false).unwrap();
        replace(&path, b"two", true).unwrap();
        assert_eq!(read_optional(&path).unwrap().unwrap(), b"two");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        assert!(read_optional(&root.path().join("none")).unwrap().is_none());
    }
}
