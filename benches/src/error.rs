//! What went wrong, as one text: a bench is read by a person.

use std::io;

/// A failure, with what was being done.
#[derive(Debug)]
pub(crate) struct Error(String);

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<casemate_kernel::Error> for Error {
    fn from(error: casemate_kernel::Error) -> Self {
        Self(error.to_string())
    }
}

/// Adds what was being done to a failure of the standard library's.
pub(crate) fn io<T>(result: io::Result<T>, doing: impl FnOnce() -> String) -> Result<T> {
    result.map_err(|error| Error(format!("{}: {error}", doing())))
}
