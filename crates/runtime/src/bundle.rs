//! A bundle: a directory with `config.json` and a root file system (`bundle.md`).

use std::io::Read as _;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Process, Spec};
use serde::de::DeserializeOwned;

use crate::error::{Error, Step};

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
        let spec = parse(&config)?;
        Ok(Self { path, spec, config })
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

/// Reads a specification.
///
/// # Errors
/// [`Kind::Invalid`](crate::Kind::Invalid), naming the field.
pub fn parse(config: &[u8]) -> Result<Spec, Error> {
    parse_named("config.json", config)
}

/// Reads a process, as `exec --process` is given one.
///
/// # Errors
/// As [`parse`].
pub fn load_process(path: &Path, _warn: &mut dyn FnMut(&str)) -> Result<Process, Error> {
    let text = read_bounded(path).map_err(|error| Error::field("process", format!("{path:?}: {error}")))?;
    parse_named("process", &text)
}

/// The field is looked for only when something is wrong: that costs another reading.
pub(crate) fn parse_named<T: DeserializeOwned>(what: &str, text: &[u8]) -> Result<T, Error> {
    match serde_json::from_slice(text) {
        Ok(value) => Ok(value),
        Err(plain) => {
            let mut reader = serde_json::Deserializer::from_slice(text);
            Err(match serde_path_to_error::deserialize::<_, T>(&mut reader) {
                Err(error) if error.path().iter().next().is_some() => {
                    Error::field(&error.path().to_string(), error.into_inner())
                }
                _ => Error::field(what, plain),
            })
        }
    }
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(LARGEST_CONFIG + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST_CONFIG {
        return Err(std::io::Error::other(format!("more than {LARGEST_CONFIG} bytes")));
    }
    Ok(text)
}
