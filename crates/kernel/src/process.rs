//! Processes: making them, waiting for them, signalling them, and what a process may say of itself.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::Read as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::error::{Call, Error, Result, last_errno};

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The calling process, with its child.
    Parent(Child),
}

/// A child process: its number, and a descriptor that keeps meaning this very process.
#[derive(Debug)]
pub struct Child {
    /// The process id as the caller's PID namespace sees it.
    pub pid: u32,
    /// A pidfd: readable once the process has ended (`pidfd_open(2)`), closed on exec.
    pub pidfd: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code from `main` or `exit(3)`.
    Code(u8),
    /// This signal killed it; the flag says whether a core was dumped.
    Signal(u8, bool),
}

impl Exit {
    /// The code a shell (and Docker) reports: the exit code, or 128 plus the signal's number.
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => i32::from(code),
            Self::Signal(signal, _) => 128 + i32::from(signal),
        }
    }
}

/// Fails with `EDEADLK` when the process has more than one thread.
///
/// A fork copies only the calling thread: a lock that another one held would stay locked for ever in the child. The
/// link count of `/proc/self/task` is 2 plus the number of threads (`proc_task_getattr` in the kernel).
pub(crate) fn require_single_thread(call: &str) -> Result<()> {
    let links = fs::metadata("/proc/self/task").call(|| "stat(\"/proc/self/task\")".into())?.nlink();
    if links > 3 {
        return Err(Error::new(format!("{call} in a process of {} threads", links - 2), Errno::DEADLK));
    }
    Ok(())
}

/// Makes a copy of the calling process.
///
/// # Errors
/// `EDEADLK` when other threads exist (see [`Forked`]); else what `clone3(2)` answers.
pub fn fork() -> Result<Forked> {
    crate::namespace::clone(crate::namespace::Namespaces::empty(), None)
}

/// The first two numbers of the running kernel's version, as in `(6, 1)`; `(0, 0)` when it has none.
pub fn kernel_version() -> (u32, u32) {
    let system = rustix::system::uname();
    parse_version(&system.release().to_string_lossy()).unwrap_or((0, 0))
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Opens a descriptor for a process that is running or a zombie.
pub fn pidfd_open(pid: u32) -> Result<OwnedFd> {
    rustix::process::pidfd_open(to_pid(pid)?, PidfdFlags::empty()).call(|| format!("pidfd_open({pid})"))
}

/// Sends a signal to the process behind a pidfd. `ESRCH` when it has ended.
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: u8) -> Result<()> {
    let pidfd = pidfd.as_fd();
    // SAFETY: the descriptor is borrowed for the call and the info pointer is null, which the kernel reads as "a signal
    // as kill(2) would send it"; no memory is touched.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::c_int::from(signal),
            std::ptr::null::<libc::c_void>(),
            0_u32,
        )
    };
    if result < 0 {
        return Err(Error::new(format!("pidfd_send_signal([{}], {signal})", pidfd.as_raw_fd()), last_errno()));
    }
    Ok(())
}

/// Waits for a child to end and reaps it.
pub fn wait(pidfd: impl AsFd) -> Result<Exit> {
    let pidfd = pidfd.as_fd();
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return Ok(exit_of(&status)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(Error::new(format!("waitid([{}], WEXITED)", pidfd.as_raw_fd()), errno));
            }
        }
    }
}

/// Reaps a child if it has ended; `None` when it still runs.
pub fn try_wait(pidfd: impl AsFd) -> Result<Option<Exit>> {
    let pidfd = pidfd.as_fd();
    rustix::process::waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
        .call(|| format!("waitid([{}], WEXITED|WNOHANG)", pidfd.as_raw_fd()))
        .map(|status| status.as_ref().map(exit_of))
}

fn exit_of(status: &rustix::process::WaitIdStatus) -> Exit {
    let low = |n: i32| u8::try_from(n & 0xff).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(low(code)),
        (None, Some(signal)) => Exit::Signal(low(signal), status.dumped()),
        // Neither exited nor killed: cannot be with WEXITED alone. A value that no success has is the safe reading.
        (None, None) => Exit::Code(255),
    }
}

/// Reaps one child, whichever ended; `None` when there are no children left or none has ended.
pub fn reap_any() -> Option<u32> {
    match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
        Ok(Some((pid, _))) => u32::try_from(pid.as_raw_nonzero().get()).ok(),
        _ => None,
    }
}

/// When a process was started, in clock ticks since boot (`proc_pid_stat(5)`, field 22): with the pid it names one
/// process for as long as the system is up. `None` when there is no such process or it is a zombie.
pub fn start_time(pid: u32) -> Option<u64> {
    // The line is some 300 bytes; the kernel gives it whole in one read.
    let mut stat = [0_u8; 1024];
    let length = fs::File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut stat)).ok()?;
    parse_start_time(stat.get(..length)?)
}

fn parse_start_time(stat: &[u8]) -> Option<u64> {
    // The name (field 2) may hold spaces and parentheses: the last ')' ends it.
    let after = stat.iter().rposition(|&b| b == b')')? + 1;
    let mut fields = std::str::from_utf8(stat.get(after..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    // The state was field 3; the start time is field 22.
    fields.nth(18)?.parse().ok()
}

/// Sets the name that `ps` shows (at most 15 bytes are kept).
pub fn set_name(name: &CStr) -> Result<()> {
    rustix::thread::set_name(name).call(|| format!("prctl(PR_SET_NAME, {name:?})"))
}

/// Makes this process's memory, and its `/proc` entry, out of reach for anyone without `CAP_SYS_PTRACE` in the user
/// namespace it was started in (CVE-2016-9962, CVE-2019-5736). An ordinary exec resets it.
pub fn set_undumpable() -> Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .call(|| "prctl(PR_SET_DUMPABLE, 0)".into())
}

/// Asks the kernel to kill this process when its parent thread ends. Cleared by a change of ids, so it comes after it.
pub fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .call(|| "prctl(PR_SET_PDEATHSIG, SIGKILL)".into())
}

/// Gives up gaining privileges by exec, for good (`PR_SET_NO_NEW_PRIVS`).
pub fn set_no_new_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true).call(|| "prctl(PR_SET_NO_NEW_PRIVS, 1)".into())
}

/// Adopts orphaned descendants, so that they can be waited for here.
pub fn become_subreaper() -> Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .call(|| "prctl(PR_SET_CHILD_SUBREAPER, 1)".into())
}

/// Ends this process at once: no destructors, no `atexit` handlers, nothing flushed. The way out of a forked child
/// that must not run its parent's clean-up.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit(2) takes an integer and does not return; skipping destructors is its purpose.
    unsafe { libc::_exit(libc::c_int::from(code)) }
}

/// Sets the user and group ids of the calling thread, real, effective and saved, and its supplementary groups.
///
/// The groups are always set, to nothing if need be: inherited ones would let a process past a mode that denies its
/// group (CVE-2022-36109, CVE-2023-25173). Needs `CAP_SETGID` and `CAP_SETUID`; ids are those of the caller's user
/// namespace.
pub fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    use rustix::process::{Gid, Uid};
    if uid == u32::MAX || gid == u32::MAX || groups.contains(&u32::MAX) {
        return Err(Error::new(format!("setresuid({uid}), setresgid({gid}), setgroups({groups:?})"), Errno::INVAL));
    }
    let list: Vec<Gid> = groups.iter().map(|&g| Gid::from_raw(g)).collect();
    match rustix::thread::set_thread_groups(&list) {
        Err(Errno::PERM) if groups.is_empty() && setgroups_denied() => {}
        other => other.call(|| format!("setgroups({groups:?})"))?,
    }
    let g = Gid::from_raw(gid);
    rustix::thread::set_thread_res_gid(g, g, g).call(|| format!("setresgid({gid}, {gid}, {gid})"))?;
    let u = Uid::from_raw(uid);
    rustix::thread::set_thread_res_uid(u, u, u).call(|| format!("setresuid({uid}, {uid}, {uid})"))
}

/// Whether groups can't be set in the caller's user namespace, by anybody (`user_namespaces(7)`): the price of a map that
/// its owner wrote without help. The groups are then those of who made the namespace.
fn setgroups_denied() -> bool {
    fs::read("/proc/self/setgroups").is_ok_and(|text| text.starts_with(b"deny"))
}

/// Puts every signal back to its default action and unblocks all: an exec keeps what was ignored or blocked, and a
/// container's program must not inherit what its engine did with `SIGPIPE` or `SIGINT`.
pub fn reset_signals() -> Result<()> {
    for signal in 1..=64 {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP || (32..=33).contains(&signal) {
            continue;
        }
        // SAFETY: SIG_DFL installs no handler, so nothing of ours can be called; the numbers are those of the kernel,
        // less the two that can't be changed and the two that glibc keeps for itself.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: sigemptyset fills the local set before it is read; a null old set is allowed.
    let result = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut())
    };
    if result < 0 {
        return Err(Error::new("sigprocmask(SIG_SETMASK, [])", last_errno()));
    }
    Ok(())
}

/// A descriptor on which the given signals are read instead of being delivered; they are blocked for the process.
///
/// # Errors
/// What `sigprocmask(2)` or `signalfd(2)` answers.
pub fn signal_fd(signals: &[u8]) -> Result<OwnedFd> {
    // SAFETY: the set is a local that sigemptyset initialises before use; signalfd copies it. The descriptor returned
    // is new and owned by nobody else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, libc::c_int::from(signal));
        }
        if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) < 0 {
            return Err(Error::new(format!("sigprocmask(SIG_BLOCK, {signals:?})"), last_errno()));
        }
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(Error::new(format!("signalfd({signals:?})"), last_errno()));
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Reads one signal from a [`signal_fd`]: its number, or `None` when none is waiting.
pub fn read_signal(fd: impl AsFd) -> Result<Option<u8>> {
    // signalfd_siginfo is 128 bytes; its first word is the signal's number (signalfd(2)).
    let mut buffer = [0_u8; 128];
    match rustix::io::read(fd.as_fd(), &mut buffer) {
        Ok(128) => {
            let number = u32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
            Ok(u8::try_from(number).ok())
        }
        Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(Error::new(format!("read([{}] signalfd)", fd.as_fd().as_raw_fd()), errno)),
    }
}

/// Replaces the program of this process (`execve(2)`). Returns only when that failed.
pub fn exec(path: &CStr, args: &[CString], env: &[CString]) -> Error {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
    };
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: path and the strings behind both arrays are NUL-terminated and outlive the call, and both arrays end in a
    // null pointer, as execve(2) asks. On success nothing of this program is left to care.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Error::new(format!("execve({path:?})"), last_errno())
}

/// Marks every descriptor from `first` on as closed by exec (`close_range(2)`, Linux 5.11), and with it whatever the
/// caller of casemate left open (CVE-2024-21626).
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: close_range with CLOSE_RANGE_CLOEXEC changes flags of descriptors and nothing else: no owner of one is
    // left with a closed number.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result < 0 {
        return Err(Error::new(format!("close_range({first}, ~0, CLOSE_RANGE_CLOEXEC)"), last_errno()));
    }
    Ok(())
}

/// Puts a descriptor at a number, closing what was there, and without close-on-exec.
pub fn duplicate_to_standard(fd: BorrowedFd<'_>, standard: Standard) -> Result<()> {
    let call = || format!("dup2([{}], {standard:?})", fd.as_raw_fd());
    match standard {
        Standard::Input => rustix::stdio::dup2_stdin(fd).call(call),
        Standard::Output => rustix::stdio::dup2_stdout(fd).call(call),
        Standard::Error => rustix::stdio::dup2_stderr(fd).call(call),
    }
}

/// The three standard descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// Descriptor 0.
    Input,
    /// Descriptor 1.
    Output,
    /// Descriptor 2.
    Error,
}

fn to_pid(pid: u32) -> Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| Error::new(format!("pid {pid}"), Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_survives_a_hostile_name() {
        let stat = b"7 (a) R 1 2) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2 3";
        assert_eq!(parse_start_time(stat), Some(4711));
    }

    #[test]
    fn a_zombie_has_no_start_time() {
        let stat = b"7 (x) Z 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2 3";
        assert_eq!(parse_start_time(stat), None);
    }

    #[test]
    fn the_own_process_started_before_now() {
        assert!(start_time(std::process::id()).is_some_and(|ticks| ticks > 0));
    }

    #[test]
    fn exit_codes_are_a_shells() {
        assert_eq!(Exit::Code(3).code(), 3);
        assert_eq!(Exit::Signal(9, false).code(), 137);
    }

    #[test]
    fn ids_that_mean_no_change_are_refused() {
        assert_eq!(set_ids(u32::MAX, 0, &[]).unwrap_err().errno(), Errno::INVAL);
        assert_eq!(set_ids(0, 0, &[u32::MAX]).unwrap_err().errno(), Errno::INVAL);
    }

    #[test]
    fn a_process_with_threads_is_not_forked() {
        // The test harness runs this on a thread of its own beside the main one.
        assert_eq!(fork().unwrap_err().errno(), Errno::DEADLK);
    }

    #[test]
    fn releases_of_all_distributions() {
        for (release, version) in
            [("6.18.44-fc-v595", (6, 18)), ("5.15.0-91-generic", (5, 15)), ("6.1.0-13-amd64", (6, 1)), ("7.0", (7, 0))]
        {
            assert_eq!(parse_version(release), Some(version), "{release}");
        }
        assert_eq!(parse_version("linux"), None);
    }
}
