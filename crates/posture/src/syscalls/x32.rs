//! x32: the numbers of x86_64 with a bit set, but for a few calls whose structures differ; source: Linux 6.17 headers.

use super::table::{Name, Table};

/// The bit that marks an x32 call.
const X32_BIT: u32 = 0x4000_0000;

/// The calls that have a number of their own, without the bit.
#[rustfmt::skip]
pub(super) const OWN: &[(&str, u32)] = &[
    ("execve", 520), ("execveat", 545), ("get_robust_list", 531), ("getsockopt", 542), ("io_setup", 543), ("io_submit", 544),
    ("ioctl", 514), ("kexec_load", 528), ("move_pages", 533), ("mq_notify", 527), ("preadv", 534), ("preadv2", 546),
    ("process_vm_readv", 539), ("process_vm_writev", 540), ("ptrace", 521), ("pwritev", 535), ("pwritev2", 547),
    ("readv", 515), ("recvfrom", 517), ("recvmmsg", 537), ("recvmsg", 519), ("rt_sigaction", 512), ("rt_sigpending", 522),
    ("rt_sigqueueinfo", 524), ("rt_sigreturn", 513), ("rt_sigtimedwait", 523), ("rt_tgsigqueueinfo", 536),
    ("sendmmsg", 538), ("sendmsg", 518), ("set_robust_list", 530), ("setsockopt", 541), ("sigaltstack", 525),
    ("timer_create", 526), ("vmsplice", 532), ("waitid", 529), ("writev", 516),
];

/// The calls of x86_64 that x32 does not have, with the numbers they have there.
#[rustfmt::skip]
const ABSENT: &[(&str, u32)] = &[
    ("_sysctl", 156), ("create_module", 174), ("epoll_ctl_old", 214), ("epoll_wait_old", 215), ("get_kernel_syms", 177),
    ("get_thread_area", 211), ("nfsservctl", 180), ("query_module", 178), ("set_thread_area", 205), ("uselib", 134),
    ("vserver", 236),
];

static OWN_TABLE: Table = Table::new(OWN);

pub(super) fn number(name: &Name<'_>) -> Option<u32> {
    let number = match OWN_TABLE.number(name) {
        Some(own) => own,
        None => super::X86_64.number(name).filter(|number| ABSENT.iter().all(|(_, absent)| absent != number))?,
    };
    Some(X32_BIT | number)
}
