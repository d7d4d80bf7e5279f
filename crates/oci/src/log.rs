//! What the runtime says of itself, in the two formats that engines read: logfmt and JSON, a line each.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::Failure;

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Format {
    /// `time="…" level=error msg="…"`.
    Text,
    /// One object a line.
    Json,
}

/// Where lines go.
#[derive(Debug)]
pub(crate) struct Target {
    /// A file; standard error without one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) debug: bool,
}

#[derive(Debug)]
struct Log {
    file: Option<File>,
    format: Format,
    debug: bool,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Opens the log; lines written before go to standard error.
pub(crate) fn open(target: &Target) -> Result<(), Failure> {
    let file = match &target.file {
        None => None,
        Some(path) => Some(
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .map_err(|error| Failure::new(format!("--log {}: {error}", path.display())))?,
        ),
    };
    // It is set once, here.
    let _ = LOG.set(Log { file, format: target.format, debug: target.debug });
    Ok(())
}

/// Something that is not an error and should be known.
pub(crate) fn warn(message: &str) {
    write("warning", message);
}

/// Something for whoever asked for `--debug`.
pub(crate) fn debug(message: &str) {
    if LOG.get().is_some_and(|log| log.debug) {
        write("debug", message);
    }
}

/// The one error that ends a command: in the log, which engines read, and on standard error, which people do.
pub(crate) fn fail(message: &str, code: u8) -> ExitCode {
    write("error", message);
    if LOG.get().is_some_and(|log| log.file.is_some()) {
        // There is nowhere to say that this failed.
        let _ = writeln!(std::io::stderr(), "error: {message}");
    }
    ExitCode::from(code)
}

fn write(level: &str, message: &str) {
    let log = LOG.get();
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let quoted = serde_json::Value::from(message);
    let line = match log.map_or(Format::Text, |log| log.format) {
        Format::Text => format!("time=\"{time}\" level={level} msg={quoted}\n"),
        Format::Json => format!("{{\"level\":\"{level}\",\"msg\":{quoted},\"time\":\"{time}\"}}\n"),
    };
    // One write: lines of several commands in one file stay whole. There is nowhere to say that it failed.
    let _ = match log.and_then(|log| log.file.as_ref()) {
        Some(mut file) => file.write_all(line.as_bytes()),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
}
