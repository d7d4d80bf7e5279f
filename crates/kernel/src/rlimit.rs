//! Resource limits of a process (`getrlimit(2)`).

use std::io;

use crate::error::{Error, Result, last_errno};

/// The resources, by the names that OCI and `ulimit` use.
pub const RESOURCES: [(&str, u32); 16] = [
    ("RLIMIT_AS", libc::RLIMIT_AS),
    ("RLIMIT_CORE", libc::RLIMIT_CORE),
    ("RLIMIT_CPU", libc::RLIMIT_CPU),
    ("RLIMIT_DATA", libc::RLIMIT_DATA),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", libc::RLIMIT_NICE),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
    ("RLIMIT_RSS", libc::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", libc::RLIMIT_STACK),
];

/// No limit.
pub const UNLIMITED: u64 = libc::RLIM_INFINITY;

/// A resource that can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource(u32, &'static str);

impl Resource {
    /// Finds a resource by its OCI name, such as `RLIMIT_NOFILE`.
    pub fn from_name(name: &str) -> Option<Self> {
        RESOURCES.iter().find(|(known, _)| *known == name).map(|&(name, number)| Self(number, name))
    }

    /// The OCI name.
    pub fn name(self) -> &'static str {
        self.1
    }
}

/// The soft and the hard limit of the calling process.
pub fn get(resource: Resource) -> Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the number is one of the kernel's (only RESOURCES makes a Resource); the struct is a local the call fills.
    if unsafe { libc::getrlimit(resource.0 as _, &raw mut limit) } < 0 {
        return Err(Error::new(format!("getrlimit({})", resource.1), last_errno()));
    }
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets both limits of the calling process.
///
/// # Errors
/// `EPERM` when the hard limit would rise and the caller lacks `CAP_SYS_RESOURCE` in the initial user namespace;
/// `EINVAL` when soft is above hard.
pub fn set(resource: Resource, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: as for get; the struct is only read.
    if unsafe { libc::setrlimit(resource.0 as _, &raw const limit) } < 0 {
        return Err(Error::new(format!("setrlimit({}, {soft}, {hard})", resource.1), last_errno()));
    }
    Ok(())
}

/// Sets both limits of another process.
pub fn set_of_process(pid: u32, resource: Resource, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let call = || format!("prlimit({pid}, {}, {soft}, {hard})", resource.1);
    let Ok(number) = libc::pid_t::try_from(pid) else {
        return Err(Error::from_io(call(), &io::Error::from_raw_os_error(libc::ESRCH)));
    };
    // SAFETY: as for set; a null old limit is allowed.
    if unsafe { libc::prlimit64(number, resource.0 as _, &raw const limit, std::ptr::null_mut()) } < 0 {
        return Err(Error::new(call(), last_errno()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowering_a_soft_limit_shows() {
        let core = Resource::from_name("RLIMIT_CORE").unwrap();
        let (_, hard) = get(core).unwrap();
        set(core, 0, hard).unwrap();
        assert_eq!(get(core).unwrap().0, 0);
    }

    #[test]
    fn unknown_names_are_none() {
        assert!(Resource::from_name("RLIMIT_FILES").is_none());
    }
}
