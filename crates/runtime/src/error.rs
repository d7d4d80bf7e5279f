//! What went wrong, at which step.

use std::fmt;

/// Which of Docker's exit codes a failure is reported with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The container's program was not found (127).
    NotFound,
    /// The container's program can't be executed (126).
    NotExecutable,
    /// The specification is wrong: nothing was made.
    Invalid,
    /// There is no container of that id.
    NoSuchContainer,
    /// The container is not in a status in which that can be done; nothing was.
    WrongStatus,
    /// A hook failed, after which the container is given up (125).
    Hook,
    /// Anything else (125).
    Failed,
}

/// A failure to create or start a container or a process in it.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    text: String,
}

impl Error {
    /// A field of the specification that is wrong or can't be had on this host; `field` as in `process.user.uid`.
    pub(crate) fn field(field: &str, why: impl fmt::Display) -> Self {
        Self { kind: Kind::Invalid, text: format!("{field}: {why}") }
    }

    /// A step that failed.
    pub(crate) fn step(step: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self { kind: Kind::Failed, text: format!("{step}: {why}") }
    }

    /// A failure of whoever attends a container, in the same words as a step of the runtime.
    pub fn other(what: &str, why: impl fmt::Display) -> Self {
        Self::step(what, why)
    }

    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// Which of Docker's exit codes it is reported with.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

impl From<casemate_kernel::Error> for Error {
    fn from(error: casemate_kernel::Error) -> Self {
        Self { kind: Kind::Failed, text: error.to_string() }
    }
}

/// Names the step in which a kernel call failed.
pub(crate) trait Step<T> {
    fn step(self, step: &str) -> Result<T, Error>;
}

impl<T, E: fmt::Display> Step<T> for Result<T, E> {
    fn step(self, step: &str) -> Result<T, Error> {
        self.map_err(|error| Error::step(step, error))
    }
}
