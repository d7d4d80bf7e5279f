//! Finding and executing the container's program, inside the container.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use casemate_kernel::{path, process};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Error, Kind};

/// Where programs are looked for when the environment has no `PATH` (as runc and the shell do).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that was found.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
}

/// Finds a program that can be executed, before a filter may refuse to look for it.
///
/// A name without a slash is looked for along the `PATH` of the environment given, never of ours.
pub(crate) fn find(args: &[CString], env: &[CString]) -> Result<Program, Error> {
    let Some(program) = args.first() else {
        return Err(Error::new(Kind::Invalid, "process.args: no command"));
    };
    let bytes = program.as_bytes();
    let shown = String::from_utf8_lossy(bytes).into_owned();
    if bytes.is_empty() {
        return Err(Error::new(Kind::NotFound, "the command is an empty word"));
    }
    if bytes.contains(&b'/') {
        let path = PathBuf::from(OsStr::from_bytes(bytes));
        return match check(&path) {
            Ok(()) => Ok(Program { path }),
            Err(errno) => Err(failure(&path, errno)),
        };
    }
    let mut denied = None;
    for directory in search_path(env) {
        let path = Path::new(OsStr::from_bytes(&directory)).join(OsStr::from_bytes(bytes));
        match check(&path) {
            Ok(()) => return Ok(Program { path }),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ISDIR) => {}
            Err(errno @ Errno::ACCESS) => denied = Some((path, errno)),
            Err(errno) => return Err(failure(&path, errno)),
        }
    }
    Err(match denied {
        Some((path, errno)) => failure(&path, errno),
        None => Error::new(Kind::NotFound, format!("exec: {shown:?}: executable file not found in $PATH")),
    })
}

impl Program {
    /// Executes it; returns only when that failed.
    pub(crate) fn execute(&self, args: &[CString], env: &[CString]) -> Error {
        let Ok(path) = CString::new(self.path.as_os_str().as_bytes()) else {
            return failure(&self.path, Errno::INVAL);
        };
        failure(&self.path, process::exec(&path, args, env).errno())
    }
}

/// Whether a path leads to something that this process may execute.
///
/// A program that is a magic link (`/proc/self/exe`) would be the engine's own, from outside (CVE-2019-5736).
fn check(path: &Path) -> Result<(), Errno> {
    let opened = if path.is_absolute() { open_from_root(path) } else { open_from_here(path) }?;
    if path::is_directory(&opened).unwrap_or(false) {
        return Err(Errno::ISDIR);
    }
    rustix::fs::accessat(rustix::fs::CWD, path, rustix::fs::Access::EXEC_OK, rustix::fs::AtFlags::EACCESS)
}

fn open_from_root(candidate: &Path) -> Result<std::os::fd::OwnedFd, Errno> {
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, rustix::fs::Mode::empty())?;
    path::open_in_root(root, candidate, OFlags::PATH).map_err(|error| error.errno())
}

fn open_from_here(candidate: &Path) -> Result<std::os::fd::OwnedFd, Errno> {
    use rustix::fs::{Mode, ResolveFlags};
    rustix::fs::openat2(
        rustix::fs::CWD,
        candidate,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    )
}

fn failure(candidate: &Path, errno: Errno) -> Error {
    let text = |why: &str| format!("{candidate:?}: {why}");
    match errno {
        Errno::NOENT if candidate_exists(candidate) => {
            Error::new(Kind::NotFound, text("its interpreter or loader is not in the image"))
        }
        Errno::NOENT | Errno::NOTDIR => Error::new(Kind::NotFound, text("no such file or directory")),
        Errno::ACCESS => {
            Error::new(Kind::NotExecutable, text("permission denied (not executable, or on a noexec mount)"))
        }
        Errno::ISDIR => Error::new(Kind::NotExecutable, text("permission denied: it is a directory")),
        Errno::NOEXEC => {
            Error::new(Kind::NotExecutable, text("exec format error (a script without #!, or another architecture)"))
        }
        Errno::LOOP => {
            Error::new(Kind::NotExecutable, text("permission denied: it leads through a magic link of procfs"))
        }
        other => Error::new(Kind::NotExecutable, text(&other.to_string())),
    }
}

fn candidate_exists(candidate: &Path) -> bool {
    rustix::fs::access(candidate, rustix::fs::Access::EXISTS).is_ok()
}

fn search_path(env: &[CString]) -> impl Iterator<Item = Vec<u8>> {
    let value = env.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH.as_bytes());
    value
        .split(|&byte| byte == b':')
        .map(|directory| if directory.is_empty() { b".".to_vec() } else { directory.to_vec() })
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<CString> {
        list.iter().map(|s| CString::new(*s).unwrap()).collect()
    }

    #[test]
    fn a_name_that_is_nowhere_is_not_found() {
        let error = find(&strings(&["no-such-program"]), &strings(&["PATH=/nowhere:/usr/bin"])).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
    }

    #[test]
    fn a_directory_is_not_executable() {
        assert_eq!(find(&strings(&["/usr"]), &[]).unwrap_err().kind(), Kind::NotExecutable);
    }

    #[test]
    fn a_magic_link_is_not_executed() {
        assert_eq!(find(&strings(&["/proc/self/exe"]), &[]).unwrap_err().kind(), Kind::NotExecutable);
    }

    #[test]
    fn an_empty_part_of_the_path_is_the_working_directory() {
        let parts: Vec<_> = search_path(&strings(&["PATH=/bin::/usr/bin"])).collect();
        assert_eq!(parts, [b"/bin".to_vec(), b".".to_vec(), b"/usr/bin".to_vec()]);
    }
}
