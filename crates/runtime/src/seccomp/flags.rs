//! How a filter is installed (`linux.seccomp.flags`, `seccomp(2)`).

use casemate_kernel::seccomp::{
    FLAG_LOG, FLAG_NEW_LISTENER, FLAG_SPEC_ALLOW, FLAG_TSYNC, FLAG_TSYNC_ESRCH, FLAG_WAIT_KILLABLE_RECV, available,
};
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompFilterFlag as Flag};

use crate::error::Error;

/// The flags of a specification, by their bits.
pub(super) const NAMES: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", FLAG_TSYNC),
    ("SECCOMP_FILTER_FLAG_LOG", FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", FLAG_WAIT_KILLABLE_RECV),
];

/// What `seccomp(2)` is called with. Without `flags` there are none: runc and crun turn `SPEC_ALLOW` on then.
pub(super) fn bits(profile: &LinuxSeccomp, listener: bool) -> u32 {
    let mut bits = if listener { FLAG_NEW_LISTENER } else { 0 };
    for flag in profile.flags().as_deref().unwrap_or_default() {
        bits |= match flag {
            Flag::SeccompFilterFlagLog => FLAG_LOG,
            // With both, what would be the listener may be the thread that could not follow: the kernel wants it said which.
            Flag::SeccompFilterFlagTsync if listener => FLAG_TSYNC | FLAG_TSYNC_ESRCH,
            Flag::SeccompFilterFlagTsync => FLAG_TSYNC,
            Flag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
            // Nobody waits where nobody is notified, and the kernel refuses to be told how.
            Flag::SeccompFilterFlagWaitKillableRecv if !listener => 0,
            Flag::SeccompFilterFlagWaitKillableRecv => FLAG_WAIT_KILLABLE_RECV,
        };
    }
    bits
}

/// Asks the kernel whether it knows all of these.
///
/// # Errors
/// Naming the flag that it does not know.
pub(super) fn check(bits: u32) -> Result<(), Error> {
    if bits == 0 || available(bits) {
        return Ok(());
    }
    if bits & FLAG_NEW_LISTENER != 0 && !available(FLAG_NEW_LISTENER) {
        return Err(Error::field("linux.seccomp.listenerPath", "this kernel notifies nobody (since Linux 5.0)"));
    }
    let unknown = NAMES.iter().find(|(_, bit)| bits & bit != 0 && !known(*bit));
    let name = unknown.map_or("SECCOMP_FILTER_FLAG_TSYNC with notifications", |(name, _)| name);
    Err(Error::field("linux.seccomp.flags", format!("{name}: this kernel does not know it")))
}

/// Whether this kernel knows a flag of a specification.
pub(super) fn known(bit: u32) -> bool {
    // This one is refused by itself, known or not.
    available(if bit == FLAG_WAIT_KILLABLE_RECV { bit | FLAG_NEW_LISTENER } else { bit })
}
