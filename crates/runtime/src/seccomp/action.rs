//! What happens to a call, as the kernel is told it (`SECCOMP_RET_*`, `seccomp(2)`).

use oci_spec::runtime::LinuxSeccompAction;

use crate::error::Error;

pub(super) const KILL_PROCESS: u32 = 0x8000_0000;
const KILL_THREAD: u32 = 0;
const TRAP: u32 = 0x0003_0000;
const ERRNO: u32 = 0x0005_0000;
pub(super) const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
pub(super) const ALLOW: u32 = 0x7fff_0000;

/// The part of a value that says what is done; the rest says with which number.
const KIND: u32 = 0xffff_0000;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// The largest error number a call can fail with (`MAX_ERRNO` of the kernel).
const MAX_ERRNO: u32 = 4095;

/// The value of an action of a specification; `action_field` and `errno_field` are where it is written.
///
/// # Errors
/// A number with an action that has none, which the specification asks to refuse, and one that the kernel can't give.
pub(super) fn value(
    action: LinuxSeccompAction,
    errno: Option<u32>,
    errno_field: impl Fn() -> String,
) -> Result<u32, Error> {
    use LinuxSeccompAction as Action;
    let (kind, most) = match action {
        Action::ScmpActKill | Action::ScmpActKillThread => (KILL_THREAD, None),
        Action::ScmpActKillProcess => (KILL_PROCESS, None),
        Action::ScmpActTrap => (TRAP, None),
        Action::ScmpActErrno => (ERRNO, Some(MAX_ERRNO)),
        Action::ScmpActNotify => (NOTIFY, None),
        Action::ScmpActTrace => (TRACE, Some(0xffff)),
        Action::ScmpActLog => (LOG, None),
        Action::ScmpActAllow => (ALLOW, None),
    };
    match (errno, most) {
        (None, None) => Ok(kind),
        (None, Some(_)) => Ok(kind | EPERM),
        (Some(number), Some(most)) if number <= most => Ok(kind | number),
        (Some(number), Some(most)) => {
            Err(Error::field(&errno_field(), format!("{number} with {action}: at most {most}")))
        }
        (Some(number), None) => Err(Error::field(&errno_field(), format!("{number}: {action} has no number"))),
    }
}

/// Less for what is stricter, in the order in which the kernel itself takes the results of several filters; below 8.
pub(super) fn leniency(value: u32) -> u8 {
    match value & KIND {
        KILL_PROCESS => 0,
        KILL_THREAD => 1,
        TRAP => 2,
        ERRNO => 3,
        NOTIFY => 4,
        TRACE => 5,
        LOG => 6,
        _ => 7,
    }
}

/// Whether the call is made, without asking anybody.
pub(super) fn lets_through(value: u32) -> bool {
    matches!(value & KIND, ALLOW | LOG)
}

/// What a call gets that is newer than the profile, whose default is `default`: refused in any case, but in the words of a
/// kernel that has no such call, where the profile would have said another error.
pub(super) fn newer(default: u32) -> u32 {
    if default & KIND == ERRNO { ERRNO | ENOSYS } else { default }
}
