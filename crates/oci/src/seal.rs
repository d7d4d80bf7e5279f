//! The program's own file, out of reach of containers (CVE-2019-5736).

use std::ffi::OsString;

use casemate_kernel::program::{self, Sealed};

use crate::Failure;

/// Goes on from a read-only mount of the program's own file that nobody else has, by executing it from there once.
///
/// A container without a user namespace of its own can make the kernel execute the runtime's file inside it, by a program
/// that begins with `#!/proc/self/exe`, and then write to it through `/proc/<pid>/exe`. Through the mount that it was
/// executed from it can't be written, whatever the container may do.
///
/// Returns when there is nothing (more) to be done.
///
/// # Errors
/// When the file can't be protected.
pub(crate) fn seal(arguments: &[OsString]) -> Result<(), Failure> {
    match program::seal(arguments) {
        Ok(Sealed::Already | Sealed::NotOurs) => Ok(()),
        Err(error) => Err(Failure::new(format!("protect the runtime's own file: {error}"))),
    }
}
