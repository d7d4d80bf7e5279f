//! The file of the running program.

use std::ffi::{CString, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
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
/// is copied. A user who may not make mounts, and whose own file it is, goes on from a sealed copy in memory. Returns at once in a program that runs from such a mount, or from a read-only file system.
///
/// Whoever opens `/proc/<pid>/exe` comes to the file through the mount it was executed from (`proc_pid_exe(5)`), so that
/// not even root in the same user namespace can write to it (CVE-2019-5736).
///
/// # Errors
/// When that can't be had, although the caller could write to the file.
pub fn seal(arguments: &[OsString]) -> Result<Sealed> {
    if is_sealed_copy() {
        return Ok(Sealed::Already);
    }
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
        // Without the right to make mounts, a user whose own file it is gets a copy.
        Err(error) if error.errno() == Errno::PERM => match rustix::fs::access(SELF, rustix::fs::Access::WRITE_OK) {
            Ok(()) => Err(execute(&sealed_copy()?, arguments)),
            Err(_) => Ok(Sealed::NotOurs),
        },
        Err(error) => Err(error),
    }
}

/// What a copy has that nobody can write to, resize, or take these seals from.
const SEALS: SealFlags = SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// A copy of the program's file in memory that can't be changed.
fn sealed_copy() -> Result<OwnedFd> {
    let file =
        rustix::fs::open(SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(|| format!("open({SELF:?})"))?;
    let copy = rustix::fs::memfd_create("casemate", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .call(|| "memfd_create(\"casemate\")".into())?;
    while rustix::fs::sendfile(&copy, &file, None, 1 << 30).call(|| format!("sendfile({SELF:?})"))? > 0 {}
    rustix::fs::fcntl_add_seals(&copy, SEALS).call(|| "fcntl(F_ADD_SEALS)".into())?;
    Ok(copy)
}

fn is_sealed_copy() -> bool {
    rustix::fs::open(SELF, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(rustix::fs::fcntl_get_seals)
        .is_ok_and(|seals| seals.contains(SEALS))
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
