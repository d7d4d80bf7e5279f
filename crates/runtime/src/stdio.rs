//! The standard descriptors of a container's process.

use std::os::fd::{AsFd, OwnedFd};

use casemate_kernel::process::{Standard, duplicate_to_standard};

use crate::error::{Error, Step};

/// Where a process's standard input, output and error come from.
///
/// Never the caller's own descriptors: a container that held the operator's terminal could type into it (CVE-2017-5226).
#[derive(Debug)]
pub enum Stdio {
    /// The container's ends of pipes (or files). Without an input, the process reads from an empty `/dev/null`.
    Pipes {
        /// Standard input.
        stdin: Option<OwnedFd>,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
    /// A new terminal of the container's own `devpts`, of this size.
    Terminal {
        /// Width in characters; 0 when not known.
        columns: u16,
        /// Height in characters; 0 when not known.
        rows: u16,
    },
}

/// Puts pipes at 0, 1 and 2. `null` serves as the input when there is none.
pub(crate) fn connect_pipes(
    stdin: Option<&OwnedFd>,
    stdout: &OwnedFd,
    stderr: &OwnedFd,
    null: &OwnedFd,
) -> Result<(), Error> {
    let input = stdin.unwrap_or(null);
    duplicate_to_standard(input.as_fd(), Standard::Input).step("connect standard input")?;
    duplicate_to_standard(stdout.as_fd(), Standard::Output).step("connect standard output")?;
    duplicate_to_standard(stderr.as_fd(), Standard::Error).step("connect standard error")
}

/// Puts one terminal at 0, 1 and 2.
pub(crate) fn connect_terminal(slave: &OwnedFd) -> Result<(), Error> {
    for standard in [Standard::Input, Standard::Output, Standard::Error] {
        duplicate_to_standard(slave.as_fd(), standard).step("connect the terminal")?;
    }
    Ok(())
}
