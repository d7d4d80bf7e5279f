//! casemate-oci: the OCI runtime of casemate as a program of its own, for engines to call.
//!
//! It is `casemate oci` without the rest: an engine executes a runtime several times for each container, and a small program
//! starts faster and takes less memory. Called through a link whose name ends in `-hardened` it holds what it is given to the
//! posture's floor.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let hardened = Path::new(&program).file_name().is_some_and(|name| name == casemate_oci::HARDENED_NAME);
    casemate_oci::main(&arguments.collect::<Vec<_>>(), hardened)
}
