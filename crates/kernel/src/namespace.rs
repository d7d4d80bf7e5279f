//! Namespaces: new ones by `clone3` and `unshare`, existing ones by `setns`, and the id maps of a user namespace.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

use crate::error::{Call, Error, Result, last_errno};
use crate::process::{Child, Forked, require_single_thread};

/// A set of namespace kinds, as `clone3(2)`'s flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// Mount points.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// Process ids; for children made after it is entered.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u64);
    /// Network devices, addresses, ports, rules.
    pub const NETWORK: Self = Self(libc::CLONE_NEWNET as u64);
    /// System V IPC and POSIX message queues.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// Host and domain name.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// User and group ids, capabilities, keyrings.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// The root of what is seen of the control groups.
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
    /// Boot and monotonic clocks; for children made after it is entered.
    pub const TIME: Self = Self(0x80);

    /// No kind at all.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether all kinds of `other` are in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set has no kind.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds that are in both sets.
    #[must_use]
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The set without the kinds of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::ops::BitOr for Namespaces {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Namespaces {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// `struct clone_args` of `clone3(2)`, up to `cgroup` (Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks into new namespaces and, with a directory of a version 2 hierarchy, into that control group.
///
/// # Errors
/// `EDEADLK` when the process has other threads; else what `clone3(2)` answers.
pub fn clone(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    clone_with(namespaces, cgroup, false)
}

/// As [`clone`], but the new process is a child of the caller's parent, which is the one to wait for it.
///
/// The way of a short-lived process in between: one that joined namespaces on behalf of its parent.
pub fn clone_as_sibling(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    clone_with(namespaces, cgroup, true)
}

fn clone_with(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>, sibling: bool) -> Result<Forked> {
    let call = || {
        let cgroup = cgroup.map(|fd| format!(", cgroup=[{}]", fd.as_raw_fd())).unwrap_or_default();
        format!("clone3({{flags={:#x}{cgroup}}})", namespaces.0)
    };
    require_single_thread("clone3")?;
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: namespaces.0 | CLONE_PIDFD,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if sibling {
        // With CLONE_PARENT the exit signal is the caller's own, and must be given as none (clone(2)).
        args.flags |= CLONE_PARENT;
        args.exit_signal = 0;
    }
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(fd.as_raw_fd()).map_err(|_| Error::new(call(), Errno::BADF))?;
    }
    // SAFETY: `args` is a valid clone_args of the size given and outlives the call; without CLONE_VM and with no stack
    // the child runs on a copy of this stack, exactly as after fork(2). The process has a single thread (checked
    // above), so no lock of the allocator or of anything else is held by a thread that the child lacks.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match pid {
        0 => Ok(Forked::Child),
        pid if pid > 0 => Ok(Forked::Parent(Child {
            pid: u32::try_from(pid).map_err(|_| Error::new(call(), Errno::RANGE))?,
            // SAFETY: the kernel wrote a new descriptor there, with close-on-exec, that nobody else knows.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        })),
        _ => Err(Error::new(call(), last_errno())),
    }
}

/// Makes the caller, root, another user for the moment in which it makes a user namespace, so that this belongs to that
/// user: what processes in it take of the kernel (inotify instances, queues, pending signals, locked memory) is counted for
/// its owner, too, and would use up what root may have (`user_namespaces(7)`, `create_user_ns` in the kernel).
///
/// The capabilities stay; the process is not dumpable afterwards.
///
/// # Errors
/// `EPERM` when the caller is not root.
pub fn become_owner(uid: u32) -> Result<()> {
    if uid == u32::MAX {
        return Err(Error::new(format!("setresuid(0, {uid}, 0)"), Errno::INVAL));
    }
    let before = rustix::thread::capabilities(None).call(|| "capget(0)".into())?;
    set_effective_user(uid)?;
    // The change took the effective set away; the permitted one stayed, as the saved id still is root's.
    rustix::thread::set_capabilities(None, before).call(|| "capset(0)".into())
}

fn set_effective_user(uid: u32) -> Result<()> {
    use rustix::process::Uid;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::from_raw(uid), Uid::ROOT)
        .call(|| format!("setresuid(0, {uid}, 0)"))
}

/// As [`clone`], with a new user namespace that belongs to `owner` ([`become_owner`]). The caller is as before afterwards.
pub fn clone_owned(namespaces: Namespaces, cgroup: Option<BorrowedFd<'_>>, owner: u32) -> Result<Forked> {
    become_owner(owner)?;
    match clone(namespaces, cgroup) {
        Ok(Forked::Child) => Ok(Forked::Child),
        parent => {
            set_effective_user(0)?;
            parent
        }
    }
}

/// Moves the caller into new namespaces. A PID or time namespace is entered by the next child only.
pub fn unshare(namespaces: Namespaces) -> Result<()> {
    // SAFETY: only namespace flags can be in the set, none of which unshares descriptors or memory.
    let result = unsafe { libc::syscall(libc::SYS_unshare, namespaces.0) };
    if result < 0 {
        return Err(Error::new(format!("unshare({:#x})", namespaces.0), last_errno()));
    }
    Ok(())
}

/// Enters the namespaces of the given kinds that the process behind a pidfd is in, all or none (`setns(2)`, Linux 5.8).
pub fn enter_of_process(pidfd: BorrowedFd<'_>, namespaces: Namespaces) -> Result<()> {
    setns(pidfd, namespaces)
}

/// Enters one namespace by its file (such as `/proc/7/ns/net`), which must be of the kind given: `EINVAL` if not.
pub fn enter(file: BorrowedFd<'_>, kind: Namespaces) -> Result<()> {
    setns(file, kind)
}

fn setns(fd: BorrowedFd<'_>, namespaces: Namespaces) -> Result<()> {
    let flags = libc::c_int::try_from(namespaces.0)
        .map_err(|_| Error::new(format!("setns({:#x})", namespaces.0), Errno::INVAL))?;
    // SAFETY: takes a descriptor that is borrowed for the call, and an integer; touches no memory of ours.
    if unsafe { libc::setns(fd.as_raw_fd(), flags) } < 0 {
        return Err(Error::new(format!("setns([{}], {flags:#x})", fd.as_raw_fd()), last_errno()));
    }
    Ok(())
}

/// One line of an id map: `count` ids from `inside` on are `outside` and following in the parent namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// First id in the namespace.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Writes the user and group id maps of a process that was just put into a new user namespace.
///
/// The kernel takes each map once, whole, and at most 340 lines (`user_namespaces(7)`).
pub fn write_id_maps(pid: u32, uids: &[IdMap], gids: &[IdMap]) -> Result<()> {
    write_map(&format!("/proc/{pid}/uid_map"), uids)?;
    write_map(&format!("/proc/{pid}/gid_map"), gids)
}

fn write_map(path: &str, map: &[IdMap]) -> Result<()> {
    let mut text = String::with_capacity(map.len() * 24);
    for line in map {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {} {}", line.inside, line.outside, line.count);
    }
    File::options()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .call(|| format!("write({path:?}, {text:?})"))
}

/// Gives up `setgroups(2)` in the user namespace of a process, for good: without it, one without rights over groups may
/// not write a map of them (`user_namespaces(7)`, CVE-2014-8989).
pub fn deny_setgroups(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/setgroups");
    let written = File::options().write(true).open(&path).and_then(|mut file| file.write_all(b"deny"));
    written.call(|| format!("write({path:?}, \"deny\")"))
}

/// The id maps that a process has, as the caller's user namespace sees them.
pub fn read_id_maps(pid: u32) -> Result<(Vec<IdMap>, Vec<IdMap>)> {
    Ok((read_map(&format!("/proc/{pid}/uid_map"))?, read_map(&format!("/proc/{pid}/gid_map"))?))
}

fn read_map(path: &str) -> Result<Vec<IdMap>> {
    let text = std::fs::read_to_string(path).call(|| format!("read({path:?})"))?;
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
        Some(IdMap { inside: numbers.next()??, outside: numbers.next()??, count: numbers.next()?? })
    };
    let map = text.lines().map(line).collect::<Option<Vec<IdMap>>>();
    map.ok_or_else(|| Error::new(format!("read({path:?}) = {text:?}"), Errno::BADMSG))
}

/// Opens a namespace of a process, such as `user` or `net` (the names in `/proc/<pid>/ns`).
pub fn open_of_process(pid: u32, name: &str) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/{name}");
    File::open(&path).map(OwnedFd::from).call(|| format!("open({path:?})"))
}

/// `NSFS_MAGIC` of `statfs(2)`.
const NSFS_MAGIC: u32 = 0x6e73_6673;
/// `NS_GET_NSTYPE` of `ioctl_ns(2)` (Linux 4.11).
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// Opens the file of a namespace, such as `/proc/7/ns/net` or what was bind-mounted from it.
///
/// # Errors
/// `ENOTTY` when the file is not of a namespace. Nothing else is opened to find out: a device would notice.
pub fn open_file(path: &std::path::Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let call = || format!("open({path:?})");
    let named = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call(call)?;
    let stat = rustix::fs::fstatfs(&named).call(call)?;
    if u32::try_from(stat.f_type) != Ok(NSFS_MAGIC) {
        return Err(Error::new(format!("open({path:?}): not of a namespace"), Errno::NOTTY));
    }
    let through = format!("/proc/self/fd/{}", named.as_raw_fd());
    rustix::fs::open(through, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).call(call)
}

/// Of which kind the namespace behind a descriptor is.
///
/// # Errors
/// `ENOTTY` when it is not of a namespace.
pub fn kind(file: impl AsFd) -> Result<Namespaces> {
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: NS_GET_NSTYPE takes no argument; the descriptor is borrowed for the call.
    let kind = unsafe { libc::ioctl(fd, NS_GET_NSTYPE) };
    u64::try_from(kind).map(Namespaces).map_err(|_| Error::new(format!("ioctl([{fd}], NS_GET_NSTYPE)"), last_errno()))
}

/// How far a clock of a new time namespace is from that of its parent (`time_namespaces(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: &'static str,
    /// Whole seconds.
    pub seconds: i64,
    /// And nanoseconds, below a thousand million.
    pub nanoseconds: u32,
}

/// Opens the file through which [`set_time_offsets`] sets the clocks of this process's children.
///
/// It belongs to the process that opens it and is of use also after it has entered other namespaces, with the rights it had
/// before (`file_ns_capable` of the kernel).
pub fn open_time_offsets() -> Result<File> {
    let path = "/proc/self/timens_offsets";
    File::options().write(true).open(path).call(|| format!("open({path:?})"))
}

/// Sets the clocks of the time namespace that the caller's children will be made in, before the first is.
///
/// # Errors
/// `EACCES` once a process is in it; `ERANGE` when a clock would be below zero or beyond 146 years; `EPERM` without
/// `CAP_SYS_TIME` in the user namespace that owns it.
pub fn set_time_offsets(file: &mut File, offsets: &[TimeOffset]) -> Result<()> {
    let text: String = offsets.iter().fold(String::new(), |mut text, offset| {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {} {}", offset.clock, offset.seconds, offset.nanoseconds);
        text
    });
    file.write_all(text.as_bytes()).call(|| format!("write(\"/proc/self/timens_offsets\", {text:?})"))
}

/// Sets the host name of the caller's UTS namespace (at most 64 bytes).
pub fn set_hostname(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).call(|| format!("sethostname({name:?})"))
}

/// Sets the domain name of the caller's UTS namespace (at most 64 bytes).
pub fn set_domainname(name: &str) -> Result<()> {
    rustix::system::setdomainname(name.as_bytes()).call(|| format!("setdomainname({name:?})"))
}

/// Whether two descriptors are of the same namespace.
pub fn same(a: impl AsFd, b: impl AsFd) -> Result<bool> {
    let identity = |fd: BorrowedFd<'_>| {
        rustix::fs::fstat(fd).call(|| format!("fstat([{}])", fd.as_raw_fd())).map(|s| (s.st_dev, s.st_ino))
    };
    Ok(identity(a.as_fd())? == identity(b.as_fd())?)
}
