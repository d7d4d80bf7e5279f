//! Named volumes: directories of the engine's that containers share and that outlive them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use casemate_kernel::mount::Attributes;
use casemate_kernel::overlay::Overlay;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::copy;
use crate::directories::{self, Directories};
use crate::error::{Error, Result};

/// Where a volume's content lies.
pub(crate) fn data_of(directories: &Directories, name: &str) -> PathBuf {
    let mut path = directories.volumes();
    path.push(name);
    path.push("_data");
    path
}

/// The content of a volume; made empty when somebody removed it since.
pub(crate) fn ensure(directories: &Directories, name: &str) -> Result<PathBuf> {
    create(directories, name, |_| Ok(()))?;
    Ok(data_of(directories, name))
}

/// Makes a volume that does not exist yet, and lets `fill` put its first content there before anybody can see it.
///
/// The content has the mode of a directory that its owner writes and all read: the directories above keep everybody else of the
/// host out. Two commands that make one volume at once both succeed; one content wins.
pub(crate) fn create(directories: &Directories, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let data = data_of(directories, name);
    if data.is_dir() {
        return Ok(());
    }
    directories::make_private(&directories.volumes().join(name))?;
    let temporary = data.with_file_name(format!("_new.{}", std::process::id()));
    directories::remove_tree(&temporary).map_err(Error::file("remove", &temporary))?;
    directories::make_private(&temporary)?;
    let made = fs::set_permissions(&temporary, fs::Permissions::from_mode(0o755))
        .map_err(Error::file("set the mode of", &temporary))
        .and_then(|()| fill(&temporary))
        .and_then(|()| match fs::rename(&temporary, &data) {
            // Somebody else was first.
            Err(error) if data.is_dir() || error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other.map_err(Error::file("make the volume", &data)),
        });
    let _ = directories::remove_tree(&temporary);
    made
}

/// Puts what an image has at `target` into a new volume, with its owners and modes; nothing when it has no directory there.
pub(crate) fn fill(layers: &[PathBuf], target: &str, data: &Path) -> Result<()> {
    let overlay = Overlay {
        layers,
        upper: None,
        idmap: None,
        attributes: Attributes::READ_ONLY | Attributes::NO_SUID | Attributes::NO_DEV,
    };
    let failed = |error: casemate_kernel::Error| Error::file("copy the image's content to", data)(error.into());
    let root = overlay.mount().map_err(failed)?;
    // In the root: a link in the image leads nowhere else (CVE-2022-23648).
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let source = match casemate_kernel::path::open_in_root(&root, Path::new(target), flags) {
        Ok(source) => source,
        Err(error) if matches!(error.errno(), Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let to = rustix::fs::open(data, flags, Mode::empty()).map_err(|errno| Error::errno("open", data, errno))?;
    copy::tree(&source, &to).map_err(|errno| Error::errno("copy the image's content to", data, errno))
}

/// Removes a volume and all that is in it.
pub(crate) fn remove(directories: &Directories, name: &str) -> Result<()> {
    let path = directories.volumes().join(name);
    directories::remove_tree(&path).map_err(Error::file("remove the volume", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_made_once_filled_once_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories {
            data: root.path().join("data"),
            run: root.path().join("run"),
            config: root.path().join("etc"),
        };
        directories.prepare().unwrap();
        create(&directories, "db", |data| {
            fs::write(data.join("seed"), "image").unwrap();
            Ok(())
        })
        .unwrap();
        let data = ensure(&directories, "db").unwrap();
        fs::write(data.join("seed"), "user").unwrap();
        create(&directories, "db", |_| panic!("filled twice")).unwrap();
        assert_eq!(fs::read_to_string(data.join("seed")).unwrap(), "user");
        assert_eq!(fs::metadata(data.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(data.parent().unwrap()).unwrap().count(), 1);
        remove(&directories, "db").unwrap();
        remove(&directories, "db").unwrap();
        assert!(!data.exists());
    }

    #[test]
    fn a_volume_that_cannot_be_filled_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories {
            data: root.path().join("data"),
            run: root.path().join("run"),
            config: root.path().join("etc"),
        };
        directories.prepare().unwrap();
        let full = |_: &Path| Err(Error::invalid("volume", "db", "disk full"));
        assert!(create(&directories, "db", full).is_err());
        assert!(!data_of(&directories, "db").exists());
    }
}
