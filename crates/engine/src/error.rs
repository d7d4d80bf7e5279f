//! What can go wrong, in a form that a front end can turn into words, an exit code or an HTTP status.

use std::io;
use std::path::{Path, PathBuf};

/// The class of an [`Error`], which decides exit codes (Docker's 125, 126, 127) and HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// There is no such container, image or volume (HTTP 404).
    NotFound,
    /// A name or an object is in use, or is in a state in which this cannot be done (HTTP 409).
    Conflict,
    /// What was asked for makes no sense (HTTP 400).
    Invalid,
    /// The host's policy does not permit it (HTTP 403).
    Refused,
    /// The container's program does not exist (exit code 127).
    CommandNotFound,
    /// The container's program cannot be executed (exit code 126).
    CommandNotExecutable,
    /// The kernel, the disk or the store failed (exit code 125, HTTP 500).
    Internal,
}

impl ErrorKind {
    /// The exit code that Docker's `run`, `start` and `exec` end with for this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::CommandNotFound => 127,
            Self::CommandNotExecutable => 126,
            _ => 125,
        }
    }

    pub(crate) const fn to_wire(self) -> u8 {
        match self {
            Self::NotFound => 1,
            Self::Conflict => 2,
            Self::Invalid => 3,
            Self::Refused => 4,
            Self::CommandNotFound => 5,
            Self::CommandNotExecutable => 6,
            Self::Internal => 7,
        }
    }

    pub(crate) const fn from_wire(byte: u8) -> Self {
        match byte {
            1 => Self::NotFound,
            2 => Self::Conflict,
            3 => Self::Invalid,
            4 => Self::Refused,
            5 => Self::CommandNotFound,
            6 => Self::CommandNotExecutable,
            _ => Self::Internal,
        }
    }
}

/// The engine's error: what was being done, on what, and what was answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No object of this name or id.
    #[error("no such {what}: {name}{}", did_you_mean(suggestion.as_deref()))]
    NotFound {
        /// "container", "volume", …
        what: &'static str,
        /// What was asked for.
        name: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// An id prefix that more than one container begins with.
    #[error("'{prefix}' is the beginning of {count} container ids (for example {example}): write more of it")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many begin so.
        count: usize,
        /// One of them.
        example: String,
    },
    /// The name belongs to another container.
    #[error("the name '{name}' is used by container {holder}: remove or rename it, or choose another name")]
    NameTaken {
        /// The name that was asked for.
        name: String,
        /// The short id of the container that has it.
        holder: String,
    },
    /// The object is in a state in which this cannot be done.
    #[error("cannot {doing} container {name}: {why}")]
    State {
        /// The verb.
        doing: &'static str,
        /// The container, as the user named it.
        name: String,
        /// What state it is in, and what to do about it.
        why: String,
    },
    /// A value that was asked for cannot be used.
    #[error("{what} '{value}': {why}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// The value.
        value: String,
        /// What is wrong with it and what would be right.
        why: String,
    },
    /// The host's policy does not permit a relaxation.
    #[error(transparent)]
    Refused(#[from] casemate_posture::Refusal),
    /// The policy file cannot be used; nothing starts until it can.
    #[error("policy file {}: {why}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file or directory of the engine's state.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// The verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A state file that does not say what it should.
    #[error("{} is damaged: {why}; `casemate system check` tells more, `casemate rm -f` removes the container", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A call of the kernel that concerns no file.
    #[error("cannot {doing}: {source}")]
    Kernel {
        /// The verb and its object.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The image store.
    #[error(transparent)]
    Image(#[from] casemate_image::Error),
    /// Every range of ids is claimed.
    #[error(
        "no free range of user ids: all {slots} of {source_of_range} are held by containers; remove some with `casemate rm`"
    )]
    NoIdRange {
        /// How many there are.
        slots: u32,
        /// Where they come from.
        source_of_range: &'static str,
    },
    /// The container could not be brought to life; told by its supervisor or by the runtime.
    #[error("{text}")]
    Launch {
        /// The class that the runtime gave.
        kind: ErrorKind,
        /// The runtime's words.
        text: String,
    },
}

impl Error {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NameTaken { .. } | Self::State { .. } => ErrorKind::Conflict,
            Self::Ambiguous { .. } | Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Refused(_) => ErrorKind::Refused,
            Self::Launch { kind, .. } => *kind,
            Self::Image(error) => image_kind(error),
            Self::Policy { .. }
            | Self::File { .. }
            | Self::Damaged { .. }
            | Self::Kernel { .. }
            | Self::NoIdRange { .. } => ErrorKind::Internal,
        }
    }

    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }

    pub(crate) fn errno(doing: &'static str, path: &Path, errno: rustix::io::Errno) -> Self {
        Self::File { doing, path: path.to_path_buf(), source: errno.into() }
    }

    pub(crate) fn kernel(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Kernel { doing, source }
    }

    pub(crate) fn invalid(what: &'static str, value: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { what, value: value.into(), why: why.into() }
    }
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean '{name}'?"))
}

fn image_kind(error: &casemate_image::Error) -> ErrorKind {
    match error.kind() {
        casemate_image::Kind::NotFound => ErrorKind::NotFound,
        casemate_image::Kind::Invalid | casemate_image::Kind::Refused => ErrorKind::Invalid,
        casemate_image::Kind::Conflict => ErrorKind::Conflict,
        _ => ErrorKind::Internal,
    }
}
