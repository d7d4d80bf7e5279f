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
    /// The hooks of the runtime's side have run; the container's state, for those of the other side.
    HooksRun(OwnedFd),
    /// The container is on record: from here on the process stays when the runtime goes, and is started by whoever
    /// connects to the barrier.
    Stay,
    /// Execute the program; the container's state, when there are hooks to read it.
    Start(Option<OwnedFd>),
    /// The other side is gone, or had nothing to say.
    Closed,
}

/// From the process being set up to the runtime.
#[derive(Debug)]
pub(crate) enum FromInit {
    /// All mounts are made and the root is about to be entered: the time for the runtime's hooks.
    HooksDue,
    /// It was reached at the barrier and starts.
    Begun,
    /// It stands at the start barrier; with a terminal, this is the engine's end.
    Ready(Option<OwnedFd>),
    /// Its filter is installed; this is the end of whoever decides for it.
    Listener(OwnedFd),
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

pub(crate) fn send_hooks_run(socket: &OwnedFd, state: &OwnedFd) -> Result<(), Error> {
    socket::send(socket, b"K", &[state.as_fd()]).step("tell the container that hooks have run")
}

pub(crate) fn send_stay(socket: &OwnedFd) -> Result<(), Error> {
    socket::send(socket, b"A", &[]).step("tell the container that it is on record")
}

pub(crate) fn send_start(socket: &OwnedFd, state: Option<&OwnedFd>) -> Result<(), Error> {
    let state: Vec<BorrowedFd<'_>> = state.iter().map(|state| state.as_fd()).collect();
    socket::send(socket, b"S", &state).step("start the container's process")
}

pub(crate) fn send_hooks_due(socket: &OwnedFd) -> Result<(), Error> {
    socket::send(socket, b"H", &[]).step("report that hooks are due")
}

pub(crate) fn send_begun(socket: &OwnedFd) -> Result<(), Error> {
    socket::send(socket, b"B", &[]).step("answer at the start barrier")
}

pub(crate) fn send_listener(socket: &OwnedFd, listener: &OwnedFd) -> Result<(), Error> {
    socket::send(socket, b"L", &[listener.as_fd()]).step("hand over the filter's listener")
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
        Kind::Hook => 'h',
        Kind::NoSuchContainer | Kind::WrongStatus | Kind::Failed => 'f',
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
        (b"K", Some(state)) => Ok(ToInit::HooksRun(state)),
        (b"A", None) => Ok(ToInit::Stay),
        (b"S", state) => Ok(ToInit::Start(state)),
        ([], None) => Ok(ToInit::Closed),
        (other, _) => Err(Error::step("wait for the runtime", format!("unexpected message {other:?}"))),
    }
}

/// Waits for the next message of the process being set up.
pub(crate) fn receive_from_init(socket: &OwnedFd) -> Result<FromInit, Error> {
    // The other side ended with a message of ours unread. That is told once, before what it said itself.
    let reset = |error: &casemate_kernel::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    let message = match socket::receive(socket, LIMIT) {
        Err(error) if reset(&error) => socket::receive(socket, LIMIT),
        other => other,
    };
    let message = match message {
        Ok(message) => message,
        Err(error) if reset(&error) => return Ok(FromInit::Closed),
        Err(error) => return Err(Error::step("wait for the container's process", error)),
    };
    match message.data.split_first() {
        None => Ok(FromInit::Closed),
        Some((b'H', [])) => Ok(FromInit::HooksDue),
        Some((b'B', [])) => Ok(FromInit::Begun),
        Some((b'L', [])) => match message.descriptors.into_iter().next() {
            Some(listener) => Ok(FromInit::Listener(listener)),
            None => Err(Error::step("wait for the container's process", "a filter's listener is missing")),
        },
        Some((b'D', [])) => Ok(FromInit::Ready(message.descriptors.into_iter().next())),
        Some((b'E', [letter, text @ ..])) => {
            let kind = match letter {
                b'n' => Kind::NotFound,
                b'x' => Kind::NotExecutable,
                b'i' => Kind::Invalid,
                b'h' => Kind::Hook,
                _ => Kind::Failed,
            };
            Ok(FromInit::Failed(Error::new(kind, String::from_utf8_lossy(text))))
        }
        Some(_) => Err(Error::step("wait for the container's process", "unexpected message")),
    }
}
