//! casemate itself, with a store and a state directory of the bench's own.

use std::path::Path;

use crate::error::{Error, Result};
use crate::rootfs::Stage;
use crate::spawn::Invocation;

/// The image that is run.
pub(crate) const IMAGE: &str = "bench/busybox";

/// The binary and its directories.
#[derive(Debug)]
pub(crate) struct Casemate {
    binary: String,
    root: String,
    run_root: String,
}

impl Casemate {
    /// Imports the root file system.
    pub(crate) fn set_up(binary: &Path, stage: &Stage) -> Result<Self> {
        if !binary.exists() {
            return Err(Error::new(format!(
                "{} is missing: build it with cargo build --release -p casemate, or name one with --casemate",
                binary.display()
            )));
        }
        let casemate = Self {
            binary: binary.to_string_lossy().into_owned(),
            root: stage.path("casemate"),
            run_root: stage.path("casemate-run"),
        };
        casemate.command(&["import", &stage.archive.to_string_lossy(), IMAGE]).output()?;
        Ok(casemate)
    }

    /// A casemate command.
    pub(crate) fn command(&self, arguments: &[&str]) -> Invocation {
        Invocation::new(&self.binary, arguments)
            .env("CASEMATE_ROOT", &self.root)
            .env("CASEMATE_RUN_ROOT", &self.run_root)
    }

    /// The number of a running container's first process, as the host sees it.
    pub(crate) fn pid(&self, name: &str) -> Result<u32> {
        let text = self.command(&["inspect", "--format", "{{.State.Pid}}", name]).output()?;
        text.parse().map_err(|_| Error::new(format!("casemate inspect says that the process of {name} is {text:?}")))
    }
}
