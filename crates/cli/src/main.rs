//! casemate: a container engine that is hardened by default and proves it.
//!
//! This is the command line: arguments become engine calls, answers become text. What another front end would need too
//! is not here but in the engine.
//!
//! The path of `casemate run` is counted in microseconds: the command is found by hand from `argv[1]`, and only its own
//! flags are built.
#![forbid(unsafe_code)]

mod commands;
mod context;
mod dispatch;
mod failure;
mod options;
mod output;
mod refused;
mod suggest;
mod terminal;

use std::path::Path;
use std::process::ExitCode;

/// The other name of this program: an image of one file, for `casemate/probe`.
const PROBE_NAME: &str = "casemate-probe";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    match Path::new(&program).file_name() {
        Some(name) if name == PROBE_NAME => casemate_audit::probe::main(arguments),
        Some(name) if name == casemate_oci::NAME => casemate_oci::main(&arguments.collect::<Vec<_>>(), false),
        Some(name) if name == casemate_oci::HARDENED_NAME => casemate_oci::main(&arguments.collect::<Vec<_>>(), true),
        Some(name) if name == casemate_engine::INIT_NAME => ExitCode::from(casemate_engine::init_main(arguments)),
        _ => dispatch::main(arguments.collect()),
    }
}
