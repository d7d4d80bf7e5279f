//! What the kernel answered, and to which question.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// The result of a call in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A system call that failed: the call with its arguments, and the kernel's answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    call: String,
    errno: Errno,
}

impl Error {
    /// Builds an error from the call as a person would read it in a trace, such as `mkdirat([5], "proc", 0755)`.
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        Self(Box::new(Inner { call: call.into(), errno }))
    }

    /// As [`Error::new`], from an error of the standard library; one without an errno becomes `EIO`.
    pub fn from_io(call: impl Into<String>, error: &io::Error) -> Self {
        Self::new(call, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// The kernel's answer.
    pub fn errno(&self) -> Errno {
        self.0.errno
    }

    /// The kernel's answer as a number, positive, as in `errno(3)`.
    pub fn raw_os_error(&self) -> i32 {
        self.0.errno.raw_os_error()
    }

    /// The kernel's answer in the standard library's terms.
    pub fn kind(&self) -> io::ErrorKind {
        self.0.errno.kind()
    }

    /// The call with its arguments.
    pub fn call(&self) -> &str {
        &self.0.call
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.call, self.0.errno)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?}", self.0.call, self.0.errno)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.kind(), error)
    }
}

/// Attaches the call to an errno; the text is only made when something failed.
pub(crate) trait Call<T> {
    fn call(self, text: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Call<T> for rustix::io::Result<T> {
    fn call(self, text: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::new(text(), errno))
    }
}

impl<T> Call<T> for io::Result<T> {
    fn call(self, text: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::from_io(text(), &error))
    }
}

/// The last error of a raw system call made through libc.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}
