//! What a container wrote, in Docker's json-file format: one JSON object a line, rotated.

mod reader;
mod writer;

use serde::{Deserialize, Serialize};

pub(crate) use reader::read;
pub(crate) use writer::LogWriter;

use crate::time::Timestamp;

/// The current log file in a container's directory; rotated ones end in `.1`, `.2`, ….
pub(crate) const LOG_FILE: &str = "json.log";

/// Which of its output streams a process wrote to. A terminal counts as standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line of a log, or a part of 16 KiB of a longer one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LogEntry {
    /// When it was read from the container.
    pub time: Timestamp,
    /// Which stream it was written to.
    pub stream: Stream,
    /// The text, with its newline if it had one. Bytes that are not UTF-8 are replaced, as in Docker's format. Written by the
    /// container: escape it before it goes where control characters matter.
    #[serde(rename = "log")]
    pub text: String,
}

/// Which part of a log is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is written from now on, until the container ends.
    pub follow: bool,
    /// Only this many of the last lines.
    pub tail: Option<u64>,
    /// Nothing older.
    pub since: Option<Timestamp>,
    /// Nothing younger.
    pub until: Option<Timestamp>,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { follow: false, tail: None, since: None, until: None, stdout: true, stderr: true }
    }
}
