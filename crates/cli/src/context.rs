//! What every command is given: where the engine keeps its state, and how the command was called.

use std::path::PathBuf;

use casemate_engine::{Directories, Engine};

use crate::failure::Failure;

/// The global options and the name under which the command was called.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// `--data-root`.
    pub(crate) data_root: Option<PathBuf>,
    /// `--run-root`.
    pub(crate) run_root: Option<PathBuf>,
    /// What the user typed: "casemate container ls".
    pub(crate) called: String,
}

impl Context {
    /// Opens the engine's state; makes its directories when they are missing.
    pub(crate) fn engine(&self) -> Result<Engine, Failure> {
        Ok(Engine::open(self.directories())?)
    }

    /// Flags win over the environment, which wins over the defaults.
    fn directories(&self) -> Directories {
        let mut directories = Directories::from_environment(|name| std::env::var_os(name));
        if let Some(data) = &self.data_root {
            directories.data.clone_from(data);
        }
        if let Some(run) = &self.run_root {
            directories.run.clone_from(run);
        }
        directories
    }
}
