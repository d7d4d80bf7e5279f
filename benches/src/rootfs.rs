//! The root file system that everything runs: Debian's static busybox.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, io};

/// The programs that busybox is called by.
const PROGRAMS: [&str; 6] = ["true", "sleep", "sh", "cat", "echo", "ls"];

/// The directory that a bench works in, with the root file system as a directory and as an archive.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) directory: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) archive: PathBuf,
}

impl Stage {
    /// Makes the directory anew.
    pub(crate) fn make(directory: &Path) -> Result<Self> {
        // What an earlier run left is looked for by a mark, so that no other directory is ever emptied.
        let mark = directory.join(".casemate-bench");
        if directory.exists()
            && !mark.exists()
            && fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
        {
            return Err(Error::new(format!("{} is not empty and not of an earlier bench", directory.display())));
        }
        let stage = Self {
            directory: directory.to_owned(),
            rootfs: directory.join("rootfs"),
            archive: directory.join("rootfs.tar"),
        };
        stage.remove();
        let make = || -> std::io::Result<()> {
            fs::create_dir_all(directory)?;
            fs::write(&mark, "")?;
            for name in ["bin", "dev", "proc", "sys", "tmp", "run", "etc", "var/tmp"] {
                fs::create_dir_all(stage.rootfs.join(name))?;
            }
            fs::copy(busybox(), stage.rootfs.join("bin/busybox"))?;
            for program in PROGRAMS {
                symlink("busybox", stage.rootfs.join("bin").join(program))?;
            }
            for file in ["hosts", "hostname", "resolv.conf"] {
                fs::write(stage.rootfs.join("etc").join(file), "")?;
            }
            fs::write(stage.rootfs.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
            let mut builder = tar::Builder::new(File::create(&stage.archive)?);
            builder.follow_symlinks(false);
            builder.append_dir_all(".", &stage.rootfs)?;
            builder.into_inner()?.sync_all()
        };
        io(make(), || format!("making a root file system in {} (needs busybox-static)", directory.display()))?;
        Ok(stage)
    }

    /// A path in the directory, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }

    /// Removes what was made; what is still mounted or in use stays for the next run to remove.
    pub(crate) fn remove(&self) {
        if self.directory.join(".casemate-bench").exists() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

fn busybox() -> &'static str {
    if Path::new("/bin/busybox").exists() { "/bin/busybox" } else { "/usr/bin/busybox" }
}
