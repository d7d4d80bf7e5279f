//! The default profile. Each difference from Docker's, and why, is in `docs/seccomp.md`; a test holds the two together.

use std::borrow::Cow;

use super::{Action, Arg, Condition, Op, Profile, SyscallRule};
use crate::Capability;
use crate::Capability as Cap;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const EPROTONOSUPPORT: u32 = 93;
const EAFNOSUPPORT: u32 = 97;

/// The flags of clone(2) that make namespaces, all but the time namespace, which clone(2) has no flag for.
const CLONE_NEW: u64 = 0x7E02_0000;
const CLONE_NEWNS: u64 = 0x0002_0000;
const CLONE_NEWCGROUP: u64 = 0x0200_0000;
/// An argument that the kernel takes as an `int`: what is above its 32 bits does not count, and must not hide it from us.
const INT: u64 = 0xFFFF_FFFF;
/// The bits of socket(2)'s type that SOCK_STREAM (1), SOCK_DGRAM (2) and SOCK_RAW (3) don't have, and SOCK_RDM, SOCK_SEQPACKET,
/// SOCK_DCCP and SOCK_PACKET do.
const SOCK_UNUSUAL: u64 = 0xC;

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
/// A mask under which AF_INET (2) and AF_INET6 (10) are AF_INET, and nothing else is.
const AF_INET_OR_INET6: u64 = !8;
const AF_NETLINK: u64 = 16;
const AF_PACKET: u64 = 17;
const IPPROTO_ICMPV6: u64 = 58;
const NETLINK_AUDIT: u64 = 9;
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541C;
const SOL_TCP: u64 = 6;
const TCP_ULP: u64 = 31;

const fn arg(index: u8, op: Op, value: u64) -> Arg {
    Arg { index, op, value, value_two: 0 }
}

const fn masked(index: u8, mask: u64, value: u64) -> Arg {
    Arg { index, op: Op::MaskedEq, value: mask, value_two: value }
}

const fn when(caps: &'static [Capability]) -> Condition {
    Condition { caps: Cow::Borrowed(caps), arches: Cow::Borrowed(&[]), min_kernel: None }
}

/// What is the part of a rule that is left out.
macro_rules! list {
    () => {
        &[]
    };
    ($list:expr) => {
        $list
    };
}

/// A rule whose parts are all borrowed for ever.
macro_rules! rule {
    ($action:expr, $errno:expr, [$($name:literal)*], $args:expr, $includes:expr, $excludes:expr) => {
        SyscallRule {
            names: Cow::Borrowed(&[$(Cow::Borrowed($name)),*]),
            action: $action,
            errno_ret: $errno,
            args: Cow::Borrowed($args),
            includes: when($includes),
            excludes: when($excludes),
        }
    };
}

/// Calls that are made.
macro_rules! allow {
    ($($name:literal)* $(if $args:expr)? $(; with $includes:expr)? $(; without $excludes:expr)?) => {
        rule!(Action::Allow, None, [$($name)*], list!($($args)?), list!($($includes)?), list!($($excludes)?))
    };
}

/// Calls that fail with an error number.
macro_rules! fail {
    ($errno:ident: $($name:literal)* $(if $args:expr)? $(; without $excludes:expr)?) => {
        rule!(Action::Errno, Some($errno), [$($name)*], list!($($args)?), &[], list!($($excludes)?))
    };
}

/// The default profile, as `SyscallRule`s that are made by the compiler: it costs nothing to have.
static PROFILE: Profile = Profile {
    default_action: Action::Errno,
    // What the profile does not know is newer than it, or long gone: "this kernel has no such call" is what programs are
    // prepared for. What it knows and refuses is listed below, with EPERM.
    default_errno_ret: Some(ENOSYS),
    // The native architecture and no other: i386 and x32 calls kill the process.
    architectures: Cow::Borrowed(&[]),
    arch_map: Cow::Borrowed(&[]),
    flags: Cow::Borrowed(&[]),
    syscalls: Cow::Borrowed(RULES),
};

#[rustfmt::skip]
const RULES: &[SyscallRule] = &[
    // What ordinary programs need.
    allow!(
        "accept" "accept4" "access" "alarm" "arch_prctl" "bind" "brk" "capget" "capset" "chdir" "chmod"
        "chown" "clock_getres" "clock_gettime" "clock_nanosleep" "close" "close_range" "connect" "copy_file_range" "creat"
        "dup" "dup2" "dup3" "epoll_create" "epoll_create1" "epoll_ctl" "epoll_pwait" "epoll_pwait2" "epoll_wait" "eventfd"
        "eventfd2" "execve" "execveat" "exit" "exit_group" "faccessat" "faccessat2" "fadvise64" "fallocate" "fchdir" "fchmod"
        "fchmodat" "fchmodat2" "fchown" "fchownat" "fcntl" "fdatasync" "fgetxattr" "flistxattr" "flock" "fork"
        "fremovexattr" "fsetxattr" "fstat" "fstatfs" "fsync" "ftruncate" "futex" "futex_requeue" "futex_wait" "futex_waitv"
        "futex_wake" "futimesat" "get_robust_list" "getcpu" "getcwd" "getdents" "getdents64" "getegid" "geteuid" "getgid"
        "getgroups" "getitimer" "getpeername" "getpgid" "getpgrp" "getpid" "getppid" "getpriority" "getrandom" "getresgid"
        "getresuid" "getrlimit" "getrusage" "getsid" "getsockname" "getsockopt" "gettid" "gettimeofday" "getuid" "getxattr"
        "getxattrat" "inotify_add_watch" "inotify_init" "inotify_init1" "inotify_rm_watch" "io_cancel" "io_destroy"
        "io_getevents" "io_pgetevents" "io_setup" "io_submit" "ioctl" "ioprio_get" "ioprio_set" "kill"
        "landlock_add_rule" "landlock_create_ruleset" "landlock_restrict_self" "lchown" "lgetxattr" "link" "linkat" "listen"
        "listxattr" "listxattrat" "llistxattr" "lremovexattr" "lseek" "lsetxattr" "lstat" "madvise" "map_shadow_stack"
        "membarrier" "memfd_create" "mincore" "mkdir" "mkdirat" "mknod" "mknodat" "mlock" "mlock2" "mlockall" "mmap"
        "mprotect" "mq_getsetattr" "mq_notify" "mq_open" "mq_timedreceive" "mq_timedsend" "mq_unlink" "mremap" "mseal"
        "msgctl" "msgget" "msgrcv" "msgsnd" "msync" "munlock" "munlockall" "munmap" "name_to_handle_at" "nanosleep"
        "newfstatat" "open" "openat" "openat2" "pause" "pidfd_open" "pidfd_send_signal" "pipe" "pipe2" "pkey_alloc" "pkey_free"
        "pkey_mprotect" "poll" "ppoll" "prctl" "pread64" "preadv" "preadv2" "prlimit64" "pselect6" "pwrite64" "pwritev"
        "pwritev2" "read" "readahead" "readlink" "readlinkat" "readv" "recvfrom" "recvmmsg" "recvmsg" "removexattr"
        "removexattrat" "rename" "renameat" "renameat2" "restart_syscall" "rmdir" "rseq" "rt_sigaction" "rt_sigpending"
        "rt_sigprocmask" "rt_sigqueueinfo" "rt_sigreturn" "rt_sigsuspend" "rt_sigtimedwait" "rt_tgsigqueueinfo"
        "sched_get_priority_max" "sched_get_priority_min" "sched_getaffinity" "sched_getattr" "sched_getparam"
        "sched_getscheduler" "sched_rr_get_interval" "sched_setaffinity" "sched_setattr" "sched_setparam"
        "sched_setscheduler" "sched_yield" "seccomp" "select" "semctl" "semget" "semop" "semtimedop" "sendfile" "sendmmsg"
        "sendmsg" "sendto" "set_robust_list" "set_tid_address" "setfsgid" "setfsuid" "setgid" "setgroups" "setitimer"
        "setpgid" "setpriority" "setregid" "setresgid" "setresuid" "setreuid" "setrlimit" "setsid" "setsockopt" "setuid"
        "setxattr" "setxattrat" "shmat" "shmctl" "shmdt" "shmget" "shutdown" "sigaltstack" "signalfd" "signalfd4" "splice"
        "stat" "statfs" "statx" "symlink" "symlinkat" "sync" "sync_file_range" "syncfs" "sysinfo" "tee" "tgkill" "time"
        "timer_create" "timer_delete" "timer_getoverrun" "timer_gettime" "timer_settime" "timerfd_create" "timerfd_gettime"
        "timerfd_settime" "times" "tkill" "truncate" "umask" "uname" "unlink" "unlinkat" "uretprobe" "utime" "utimensat"
        "utimes" "vfork" "wait4" "waitid" "write" "writev"
    ),

    // Terminals: what is typed into one from inside is run by whoever holds its other end (CVE-2017-5226).
    fail!(EPERM: "ioctl" if &[masked(1, INT, TIOCSTI)]),
    fail!(EPERM: "ioctl" if &[masked(1, INT, TIOCLINUX)]),

    // Sockets. AF_UNIX, and of AF_INET and AF_INET6 streams, datagrams and raw sockets, which the kernel makes for CAP_NET_RAW
    // only: with protocols up to ICMPv6's these are TCP, UDP and ping sockets. The filter is short because its length is paid
    // for at each start.
    allow!("socket" if &[arg(0, Op::Eq, AF_UNIX)]),
    allow!("socket" if &[masked(0, AF_INET_OR_INET6, AF_INET), masked(1, SOCK_UNUSUAL, 0)]; without &[Cap::NetRaw]),
    fail!(EPROTONOSUPPORT: "socket" if &[arg(2, Op::Gt, IPPROTO_ICMPV6)]; without &[Cap::NetRaw]),
    allow!("socket" if &[masked(0, AF_INET_OR_INET6, AF_INET)]; with &[Cap::NetRaw]),
    // NETLINK_ROUTE: what if_nameindex(3) and getaddrinfo(3) ask.
    allow!("socket" if &[arg(0, Op::Eq, AF_NETLINK), arg(2, Op::Eq, 0)]),
    allow!("socket" if &[arg(0, Op::Eq, AF_NETLINK)]; with &[Cap::NetAdmin]),
    allow!("socket" if &[arg(0, Op::Eq, AF_NETLINK), arg(2, Op::Eq, NETLINK_AUDIT)]; with &[Cap::AuditWrite]),
    allow!("socket" if &[arg(0, Op::Eq, AF_NETLINK), arg(2, Op::Eq, NETLINK_AUDIT)]; with &[Cap::AuditControl]),
    allow!("socket" if &[arg(0, Op::Eq, AF_NETLINK), arg(2, Op::Eq, NETLINK_AUDIT)]; with &[Cap::AuditRead]),
    allow!("socket" if &[arg(0, Op::Eq, AF_PACKET)]; with &[Cap::NetRaw]),
    // For the others the words of a kernel that lacks them, which programs are prepared for (libaudit and pam, Go's MPTCP).
    fail!(EAFNOSUPPORT: "socket" if &[arg(0, Op::Gt, AF_NETLINK)]; without &[Cap::NetRaw]),
    fail!(EPROTONOSUPPORT: "socket" if &[arg(0, Op::Eq, AF_NETLINK), arg(2, Op::Gt, 0)];
        without &[Cap::NetAdmin, Cap::AuditWrite, Cap::AuditControl, Cap::AuditRead]),
    allow!("socketpair" if &[arg(0, Op::Eq, AF_UNIX)]),
    // TLS in the kernel, and the other upper-layer protocols.
    fail!(EPERM: "setsockopt" if &[masked(1, INT, SOL_TCP), masked(2, INT, TCP_ULP)]),

    // Processes and threads, without namespaces of their own. All flags that make one but CLONE_NEWNS, and CLONE_IO, are above
    // CLONE_CHILD_SETTID: one comparison tells them, where masks would need one each.
    allow!("clone" if &[masked(0, CLONE_NEW, 0)]; without &[Cap::SysAdmin]),
    fail!(EPERM: "clone" if &[arg(0, Op::Ge, CLONE_NEWCGROUP)]; without &[Cap::SysAdmin]),
    fail!(EPERM: "clone" if &[masked(0, CLONE_NEWNS, CLONE_NEWNS)]; without &[Cap::SysAdmin]),
    // A filter can't read clone3's flags. libc falls back to clone when there is no clone3.
    fail!(ENOSYS: "clone3"; without &[Cap::SysAdmin]),
    fail!(ENOSYS: "io_uring_enter" "io_uring_register" "io_uring_setup"),
    // 0 is what programs set, 0xffffffff what they ask with.
    allow!("personality" if &[arg(0, Op::Eq, 0)]),
    allow!("personality" if &[arg(0, Op::Eq, INT)]),

    // What is refused, and what the capabilities that were granted open of it.
    fail!(EPERM:
        "_sysctl" "add_key" "afs_syscall" "create_module" "epoll_ctl_old" "epoll_wait_old" "get_kernel_syms" "get_thread_area" "getpmsg"
        "kexec_file_load" "kexec_load" "keyctl" "migrate_pages" "modify_ldt" "move_pages" "nfsservctl" "pivot_root" "putpmsg"
        "query_module" "remap_file_pages" "request_key" "security" "set_thread_area" "swapoff" "swapon" "sysfs" "tuxcall" "uselib"
        "userfaultfd" "ustat" "vmsplice" "vserver"
    ),
    fail!(EPERM:
        "fanotify_init" "fanotify_mark" "fsconfig" "fsmount" "fsopen" "fspick" "lookup_dcookie" "mount" "mount_setattr" "move_mount"
        "open_tree" "quotactl" "quotactl_fd" "setdomainname" "sethostname" "setns" "umount2" "unshare";
        without &[Cap::SysAdmin]
    ),
    allow!(
        "clone" "clone3" "fanotify_init" "fanotify_mark" "fsconfig" "fsmount" "fsopen" "fspick" "listmount" "lookup_dcookie" "lsm_get_self_attr"
        "lsm_list_modules" "lsm_set_self_attr" "mount" "mount_setattr" "move_mount" "open_tree" "quotactl" "quotactl_fd"
        "setdomainname" "sethostname" "setns" "statmount" "umount2" "unshare";
        with &[Cap::SysAdmin]
    ),
    fail!(EPERM: "bpf"; without &[Cap::Bpf]),
    allow!("bpf"; with &[Cap::Bpf]),
    fail!(EPERM: "perf_event_open"; without &[Cap::Perfmon]),
    allow!("perf_event_open"; with &[Cap::Perfmon]),
    fail!(EPERM: "kcmp" "pidfd_getfd" "process_madvise" "process_vm_readv" "process_vm_writev" "ptrace"; without &[Cap::SysPtrace]),
    allow!("kcmp" "pidfd_getfd" "process_madvise" "process_vm_readv" "process_vm_writev" "ptrace"; with &[Cap::SysPtrace]),
    fail!(EPERM: "open_by_handle_at"; without &[Cap::DacReadSearch]),
    allow!("open_by_handle_at"; with &[Cap::DacReadSearch]),
    fail!(EPERM: "reboot"; without &[Cap::SysBoot]),
    allow!("reboot"; with &[Cap::SysBoot]),
    fail!(EPERM: "chroot"; without &[Cap::SysChroot]),
    allow!("chroot"; with &[Cap::SysChroot]),
    fail!(EPERM: "delete_module" "finit_module" "init_module"; without &[Cap::SysModule]),
    allow!("delete_module" "finit_module" "init_module"; with &[Cap::SysModule]),
    fail!(EPERM: "acct"; without &[Cap::SysPacct]),
    allow!("acct"; with &[Cap::SysPacct]),
    fail!(EPERM: "ioperm" "iopl"; without &[Cap::SysRawio]),
    allow!("ioperm" "iopl"; with &[Cap::SysRawio]),
    fail!(EPERM: "adjtimex" "clock_adjtime" "clock_settime" "settimeofday"; without &[Cap::SysTime]),
    allow!("adjtimex" "clock_adjtime" "clock_settime" "settimeofday"; with &[Cap::SysTime]),
    fail!(EPERM: "vhangup"; without &[Cap::SysTtyConfig]),
    allow!("vhangup"; with &[Cap::SysTtyConfig]),
    fail!(EPERM: "get_mempolicy" "mbind" "set_mempolicy" "set_mempolicy_home_node"; without &[Cap::SysNice]),
    allow!("get_mempolicy" "mbind" "set_mempolicy" "set_mempolicy_home_node"; with &[Cap::SysNice]),
    fail!(EPERM: "syslog"; without &[Cap::Syslog]),
    allow!("syslog"; with &[Cap::Syslog]),
];

impl Profile {
    /// casemate's default: stricter than Docker's in each of its parts. Made by the compiler; nothing is parsed or allocated.
    pub fn default_hardened() -> &'static Self {
        &PROFILE
    }
}
