//! A bundle: a directory with `config.json` and a root file system (`bundle.md`).

use std::io::Read as _;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Process, Spec};

use crate::error::{Error, Step};
use crate::plan::{Plan, document};

/// The most that is read of a `config.json` or a process file, in bytes.
pub const LARGEST_CONFIG: u64 = 16 << 20;

/// What a container is made from, as an engine hands it over.
#[derive(Debug)]
pub struct Bundle {
    /// The directory, absolute.
    pub path: PathBuf,
    /// The specification.
    pub spec: Spec,
    /// The bytes it was read from: what a container was made from, whatever happens to the file afterwards.
    pub config: Vec<u8>,
    /// What was passed over in it.
    pub warnings: Vec<String>,
}

impl Bundle {
    /// Reads the specification of a bundle, from `config.json` in it or from another file.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::Kind::Invalid), naming the field, when it is no specification.
    pub fn load(path: &Path, config: Option<&Path>) -> Result<Self, Error> {
        let path = std::path::absolute(path).step("bundle")?;
        let file = config.map_or_else(|| path.join("config.json"), |file| path.join(file));
        let config = read_bounded(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::field("bundle", format!("JSON specification file {} not found", file.display()))
            }
            _ => Error::field("bundle", format!("{file:?}: {error}")),
        })?;
        let (spec, warnings) = document::spec(&config)?;
        Ok(Self { path, spec, config, warnings })
    }

    /// The root file system's path: `root.path`, in the bundle unless absolute.
    ///
    /// # Errors
    /// When the specification has none.
    pub fn rootfs(&self) -> Result<PathBuf, Error> {
        let root = self.spec.root().as_ref().ok_or_else(|| Error::field("root", "missing"))?;
        Ok(self.path.join(root.path()))
    }
}

/// Reads a specification and checks it as `create` does before it makes anything: what the fuzz target `bundle` calls.
#[doc(hidden)]
pub fn check(id: &str, config: &[u8]) -> Result<(), Error> {
    let (spec, _) = document::spec(config)?;
    Plan::new(id, &spec).map(drop)
}

/// Reads a specification that was read before: what is passed over in it has been said.
///
/// # Errors
/// [`Kind::Invalid`](crate::Kind::Invalid), naming the field.
pub(crate) fn parse(config: &[u8]) -> Result<Spec, Error> {
    document::spec(config).map(|(spec, _)| spec)
}

/// Reads a process, as `exec --process` is given one. `warn` is told what is passed over.
///
/// # Errors
/// [`Kind::Invalid`](crate::Kind::Invalid), naming the field.
pub fn load_process(path: &Path, warn: &mut dyn FnMut(&str)) -> Result<Process, Error> {
    let text = read_bounded(path).map_err(|error| Error::field("process", format!("{path:?}: {error}")))?;
    let (process, warnings) = document::process(&text)?;
    for warning in &warnings {
        warn(warning);
    }
    Ok(process)
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(LARGEST_CONFIG + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST_CONFIG {
        return Err(std::io::Error::other(format!("more than {LARGEST_CONFIG} bytes")));
    }
    Ok(text)
}
