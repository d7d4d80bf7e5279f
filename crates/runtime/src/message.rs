//! What the two sides of a start say to each other over their socket pair.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use casemate_kernel::cgroup::Controller;
use casemate_kernel::socket;

use crate::error::{Error, Kind, Step};

/// The longest message: a failure with its text.
const LIMIT: usize = 8192;

/// From the runtime to the process being set up.
#[derive(Debug)]
pub(crate) enum ToInit {
    /// The id maps are written and the control group exists: the ways into it, and what is shown of it.
    Mapped {
        /// For `cgroup::join`; none when the process was made in its group.
        entrances: Vec<OwnedFd>,
        /// The container's own directories of version 1 hierarchies, detached.
        shown: Vec<(Controller, OwnedFd)>,
    },
    /// The root file system, detached, and whatever else was waited for is ready.
    Root(OwnedFd),
    /// Execute the program.
    Start,
}

/// From the process being set up to the runtime.
#[derive(Debug)]
pub(crate) enum FromInit {
    /// It stands at the start barrier; with a terminal, this is the engine's end.
    Ready(Option<OwnedFd>),
    /// It could not.
    Failed(Error),
    /// It closed its end: the program runs, or the process is gone.
    Closed,
}

pub(crate) fn send_mapped(
    socket: &OwnedFd,
    entrances: &[OwnedFd],
    shown: &[(Controller, OwnedFd)],
) -> Result<(), Error> {
    // Which controller each tree is of, by its place in the list of all; what is left are entrances.
    let place = |controller| Controller::ALL.iter().position(|known| *known == controller).unwrap_or(usize::MAX);
    let mut data = vec![b'M'];
    data.extend(shown.iter().map(|(controller, _)| u8::try_from(place(*controller)).unwrap_or(u8::MAX)));
    let descriptors: Vec<BorrowedFd<'_>> =
        shown.iter().map(|(_, tree)| tree.as_fd()).chain(entrances.iter().map(AsFd::as_fd)).collect();
    socket::send(socket, &data, &descriptors).step("tell the container that its ids are mapped")
}

pub(crate) fn send_root(socket: &OwnedFd, root: BorrowedFd<'_>) -> Result<(), Error> {
    socket::send(socket, b"R", &[root]).step("hand the root file system to the container")
}

pub(crate) fn send_start(socket: &OwnedFd) -> Result<(), Error> {
    socket::send(socket, b"S", &[]).step("start the container's process")
}

pub(crate) fn send_ready(socket: &OwnedFd, console: Option<BorrowedFd<'_>>) -> Result<(), Error> {
    let descriptors: &[BorrowedFd<'_>] = match &console {
        Some(fd) => std::slice::from_ref(fd),
        None => &[],
    };
    socket::send(socket, b"D", descriptors).step("report that the container is ready")
}

pub(crate) fn send_failure(socket: &OwnedFd, error: &Error) {
    let letter = match error.kind() {
        Kind::NotFound => 'n',
        Kind::NotExecutable => 'x',
        Kind::Invalid => 'i',
        Kind::Failed => 'f',
    };
    let mut text = format!("E{letter}{error}");
    let mut end = text.len().min(LIMIT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    // Whoever should read it may be gone; there is nobody else to tell.
    let _ = socket::send(socket, text.as_bytes(), &[]);
}

/// Waits for the runtime's next message.
///
/// # Errors
/// When the runtime is gone or says something else than a start consists of.
pub(crate) fn receive_to_init(socket: &OwnedFd) -> Result<ToInit, Error> {
    let message = socket::receive(socket, LIMIT).step("wait for the runtime")?;
    let mut descriptors = message.descriptors.into_iter();
    if let [b'M', places @ ..] = message.data.as_slice() {
        let shown = places
            .iter()
            .map(|place| Some((*Controller::ALL.get(usize::from(*place))?, descriptors.next()?)))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::step("wait for the runtime", "a control group is missing"))?;
        return Ok(ToInit::Mapped { entrances: descriptors.collect(), shown });
    }
    match (message.data.as_slice(), descriptors.next()) {
        (b"R", Some(root)) => Ok(ToInit::Root(root)),
        (b"S", None) => Ok(ToInit::Start),
        ([], None) => Err(Error::step("wait for the runtime", "it ended")),
        (other, _) => Err(Error::step("wait for the runtime", format!("unexpected message {other:?}"))),
    }
}

/// Waits for the next message of the process being set up.
pub(crate) fn receive_from_init(socket: &OwnedFd) -> Result<FromInit, Error> {
    let message = match socket::receive(socket, LIMIT) {
        Ok(message) => message,
        // The other side died with a message of ours unread.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
            return Ok(FromInit::Closed);
        }
        Err(error) => return Err(Error::step("wait for the container's process", error)),
    };
    match message.data.split_first() {
        None => Ok(FromInit::Closed),
        Some((b'D', [])) => Ok(FromInit::Ready(message.descriptors.into_iter().next())),
        Some((b'E', [letter, text @ ..])) => {
            let kind = match letter {
                b'n' => Kind::NotFound,
                b'x' => Kind::NotExecutable,
                b'i' => Kind::Invalid,
                _ => Kind::Failed,
            };
            Ok(FromInit::Failed(Error::new(kind, String::from_utf8_lossy(text))))
        }
        Some(_) => Err(Error::step("wait for the container's process", "unexpected message")),
    }
}
