//! The lowest layer of every container: directories and empty files to mount on.

use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::time::UNIX_EPOCH;

use rustix::fs::{CWD, Mode, RenameFlags, chmod, renameat_with};
use rustix::io::Errno;

use super::{SKELETON, Staging};
use crate::error::Error;

const DIRECTORIES: [(&str, u32); 9] = [
    ("", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("proc", 0o555),
    ("run", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/tmp", 0o1777),
];
const FILES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// Makes the skeleton in a store that has none.
pub(super) fn make(root: &Path) -> Result<(), Error> {
    let place = root.join("layers").join(SKELETON);
    if place.exists() {
        return Ok(());
    }
    let staging = Staging::create(&root.join("staging"))?;
    let made = staging.new_path();
    fs::create_dir(&made).map_err(Error::io("make", &made))?;
    let top = made.join("fs");
    for (name, mode) in DIRECTORIES {
        let path = if name.is_empty() { top.clone() } else { top.join(name) };
        fs::create_dir(&path).map_err(Error::io("make", &path))?;
        chmod(&path, Mode::from_raw_mode(mode)).map_err(Error::os("set the mode of", &path))?;
    }
    for name in FILES {
        let path = top.join(name);
        fs::write(&path, "").map_err(Error::io("make", &path))?;
        chmod(&path, Mode::from_raw_mode(0o644)).map_err(Error::os("set the mode of", &path))?;
    }
    // The same on every host: nothing in a container tells when its engine was installed.
    let times = FileTimes::new().set_modified(UNIX_EPOCH);
    let directories = DIRECTORIES.iter().rev().map(|(name, _)| *name);
    for name in FILES.into_iter().chain(directories) {
        let path = top.join(name);
        File::open(&path).and_then(|file| file.set_times(times)).map_err(Error::io("set the times of", &path))?;
    }
    chmod(&made, Mode::RWXU).map_err(Error::os("protect", &made))?;
    match renameat_with(CWD, &made, CWD, &place, RenameFlags::NOREPLACE) {
        // Another command was first.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(Error::os("make", &place)(errno)),
    }
}
