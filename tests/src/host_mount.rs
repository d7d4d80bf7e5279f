//! A mount of the host's own for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mount of the host's own, unmounted with all below it when the test ends.
#[derive(Debug)]
pub struct HostMount(PathBuf);

impl HostMount {
    /// One that the test has made itself.
    pub fn of(path: PathBuf) -> Self {
        Self(path)
    }

    /// A new tmpfs, with a directory to mount it on.
    #[track_caller]
    pub fn tmpfs(path: &Path, options: &str) -> Self {
        fs::create_dir_all(path).expect("a directory can be made");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", options, "casemate-test"]).arg(path);
        assert!(command.status().expect("mount can be run").success(), "{command:?}");
        Self(path.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes it shared, private and so on: an option of `mount(8)`.
    #[track_caller]
    pub fn make(&self, propagation: &str) {
        let mut command = Command::new("mount");
        command.arg(propagation).arg(&self.0);
        assert!(command.status().expect("mount can be run").success(), "{command:?}");
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-R", "-l"]).arg(&self.0).status();
    }
}
