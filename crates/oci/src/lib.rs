//! The command line of the OCI runtime: what Docker, containerd, Podman and CRI-O call runtimes with.
//!
//! Commands, flags, output and exit codes are runc's, which engines were written for; crun's additions are understood
//! where engines use them. Arguments are read by hand: an engine calls a runtime several times for each container.
#![forbid(unsafe_code)]

mod arguments;
mod attend;
mod commands;
mod globals;
mod log;
mod seal;

use std::ffi::OsString;
use std::process::ExitCode;

use globals::Globals;

/// The name of a link to casemate that is the runtime: `casemate-oci create …` is `casemate oci create …`.
pub const NAME: &str = "casemate-oci";
/// As [`NAME`], with `--hardened`.
pub const HARDENED_NAME: &str = "casemate-oci-hardened";

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }

    /// With the exit code that callers of the command expect.
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Says what was being done.
    pub(crate) fn during(mut self, what: &str) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }
}

impl From<casemate_runtime::Error> for Failure {
    fn from(error: casemate_runtime::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// Runs what the arguments (without the program's name) ask for. `hardened`: as if `--hardened` were among them.
///
/// The process must have one thread only.
pub fn main(arguments: &[OsString], hardened: bool) -> ExitCode {
    let mut rest: std::collections::VecDeque<OsString> = arguments.to_vec().into();
    // `casemate oci …`: the word is part of what is executed again, and of nothing else.
    if rest.front().is_some_and(|word| word == "oci") {
        rest.pop_front();
    }
    let globals = match Globals::parse(&mut rest) {
        Ok(globals) => Globals { hardened: globals.hardened || hardened, ..globals },
        Err(failure) => return log::fail(&failure.text, failure.code),
    };
    if let Err(failure) = log::open(&globals.log) {
        return log::fail(&failure.text, failure.code);
    }
    match commands::dispatch(&globals, rest, arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => log::fail(&failure.text, failure.code),
    }
}
