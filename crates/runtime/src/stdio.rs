//! The standard descriptors of a container's process.

use std::os::fd::{AsFd, OwnedFd};

use casemate_kernel::process::{Standard, duplicate_to_standard};

use crate::error::{Error, Step};

/// Where a process's standard input, output and error come from.
///
/// The engine never gives its own: a container that held the operator's terminal could type into it (CVE-2017-5226).
#[derive(Debug)]
pub enum Stdio {
    /// Those of the caller, which are for the container: what an engine that calls an OCI runtime has set up for it.
    Inherited,
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

/// Gives inherited pipes and files to the process's user, who may want to open them anew (`/dev/stdout`).
///
/// Devices are left alone: they are not the container's. What can't be given (a socket, a read-only file system, an id
/// that is not mapped) stays as it is.
pub(crate) fn give_to(uid: u32, gid: u32) -> Result<(), Error> {
    use rustix::fs::{FileType, fstat};
    use rustix::io::Errno;
    for standard in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let stat = match fstat(standard) {
            Ok(stat) => stat,
            Err(Errno::BADF) => continue,
            Err(errno) => return Err(Error::step("stat the standard descriptors", errno)),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if stat.st_uid == uid || !matches!(kind, FileType::Fifo | FileType::Socket | FileType::RegularFile) {
            continue;
        }
        match casemate_kernel::terminal::change_owner(standard, uid, gid) {
            Err(error) if !matches!(error.errno(), Errno::INVAL | Errno::PERM | Errno::ROFS | Errno::OPNOTSUPP) => {
                return Err(Error::step("give the standard descriptors to the process's user", error));
            }
            _ => {}
        }
    }
    Ok(())
}
