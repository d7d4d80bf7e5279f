//! Kernel keyrings: a container must not search, or leave keys in, the session keyring of whoever started it.

use crate::error::{Error, Result, last_errno};

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Gives the calling process a new, empty, anonymous session keyring (`keyctl_join_session_keyring(3)`).
///
/// # Errors
/// `ENOSYS` where the kernel has no keyrings; `EDQUOT` when the user's quota of keys is used up.
pub fn join_new_session() -> Result<()> {
    // SAFETY: a null name asks for an anonymous keyring; no memory of ours is read.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    if result < 0 {
        return Err(Error::new("keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)", last_errno()));
    }
    Ok(())
}
