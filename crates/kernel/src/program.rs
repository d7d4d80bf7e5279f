//! The file of the running program.

use std::ffi::{CString, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, Result, last_errno};
use crate::mount::{self, Attributes};

const SELF: &str = "/proc/self/exe";
/// Set for the second run, so that one that is not sealed even then does not go on for ever.
const MARK: &str = "CASEMATE_SEALED";

/// What there was to seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// The program runs from a mount that can't be written to.
    Already,
    /// The caller may neither make mounts nor write to the file, so that a container of its making can't either.
    NotOurs,
}

/// Executes the program again, with `arguments` after its name, from a detached, read-only mount of its own file: nothing
/// is copied. Returns at once in a program that runs from such a mount, or from a read-only file system.
///
/// Whoever opens `/proc/<pid>/exe` comes to the file through the mount it was executed from (`proc_pid_exe(5)`), so that
/// not even root in the same user namespace can write to it (CVE-2019-5736).
///
/// # Errors
/// When that can't be had, although the caller could write to the file.
pub fn seal(arguments: &[OsString]) -> Result<Sealed> {
    let stat = rustix::fs::statvfs(SELF).call(|| format!("statvfs({SELF:?})"))?;
    if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Ok(Sealed::Already);
    }
    if std::env::var_os(MARK).is_some() {
        return Err(Error::new(format!("statvfs({SELF:?}): writable after it was made read-only"), Errno::ROFS));
    }
    let file =
        rustix::fs::open(SELF, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open({SELF:?})"))?;
    match mount::clone_tree(&file, false) {
        Ok(copy) => {
            mount::set_attributes(&copy, Attributes::READ_ONLY | Attributes::NO_SUID, Attributes::empty(), false)?;
            Err(execute(&copy, arguments))
        }
        Err(error) if error.errno() == Errno::PERM => {
            if rustix::fs::access(SELF, rustix::fs::Access::WRITE_OK).is_ok() {
                Err(error)
            } else {
                Ok(Sealed::NotOurs)
            }
        }
        Err(error) => Err(error),
    }
}

/// Returns only when it failed.
fn execute(file: &OwnedFd, arguments: &[OsString]) -> Error {
    let string = |text: &[u8]| CString::new(text).unwrap_or_default();
    let name = std::env::args_os().next().unwrap_or_default();
    let args: Vec<CString> =
        std::iter::once(&name).chain(arguments).map(|argument| string(argument.as_bytes())).collect();
    let mark = string(format!("{MARK}=1").as_bytes());
    let env: Vec<CString> = std::env::vars_os()
        .map(|(key, value)| string(&[key.as_bytes(), b"=", value.as_bytes()].concat()))
        .chain(std::iter::once(mark))
        .collect();
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
    };
    let (argv, envp) = (pointers(&args), pointers(&env));
    // SAFETY: the descriptor is borrowed for the call; the empty path and the strings behind both arrays are
    // NUL-terminated and outlive the call, and both arrays end in a null pointer, as execveat(2) asks.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    Error::new(format!("execveat([{}], \"\")", file.as_raw_fd()), last_errno())
}
