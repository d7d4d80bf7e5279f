//! Calls that another process decides on: who that is, and how it gets the descriptor to do it with.
//!
//! The container's process installs the filter, which makes the descriptor, and sends it to the runtime; the runtime sends it
//! to the socket that the specification names (`config-linux.md`, "The Container Process State").

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::{ContainerProcessState, ContainerProcessStateBuilder, LinuxSeccomp, SECCOMP_FD_NAME, State};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use super::rules::Rule;
use super::{Listener, action};
use crate::error::{Error, Step};

/// How long whoever is notified may take to accept the connection and to read from it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is notified, if anybody is.
///
/// # Errors
/// Nobody to notify; or no way to tell them: once the filter is in force, the process must still send the descriptor.
pub(super) fn listener(profile: &LinuxSeccomp, rules: &[Rule<'_>], default: u32) -> Result<Option<Listener>, Error> {
    let path = profile.listener_path().as_ref().filter(|path| !path.as_os_str().is_empty());
    let metadata = profile.listener_metadata().clone().filter(|metadata| !metadata.is_empty());
    if path.is_none() && metadata.is_some() {
        return Err(Error::field("linux.seccomp.listenerMetadata", "there is no listenerPath to send it to"));
    }
    if default != action::NOTIFY && rules.iter().all(|rule| rule.action != action::NOTIFY) {
        return Ok(None);
    }
    let Some(path) = path else {
        return Err(Error::field("linux.seccomp.listenerPath", "SCMP_ACT_NOTIFY needs somebody to notify"));
    };
    if !path.is_absolute() {
        return Err(Error::field("linux.seccomp.listenerPath", format!("{path:?} is not absolute")));
    }
    SocketAddrUnix::new(path)
        .map_err(|errno| Error::field("linux.seccomp.listenerPath", format!("{path:?} as a socket's name: {errno}")))?;
    let own = |rule: &&Rule<'_>| rule.names.iter().any(|name| name.text() == "sendmsg");
    let always = rules.iter().filter(own).any(|rule| rule.conditions.is_empty());
    let refuses = rules.iter().filter(own).any(|rule| !action::lets_through(rule.action));
    if refuses || !(always || action::lets_through(default)) {
        let why = "with SCMP_ACT_NOTIFY in a profile, it must let sendmsg through whatever its arguments: \
            the process sends the descriptor of the notifications with it";
        return Err(Error::field("linux.seccomp.syscalls", why));
    }
    Ok(Some(Listener { path: path.clone(), metadata }))
}

/// What whoever is notified is told: of which process of which container the calls are.
///
/// # Errors
/// None that a state can cause; the builder's, by its type.
pub fn state(listener: &Listener, oci_version: &str, pid: i32, state: State) -> Result<ContainerProcessState, Error> {
    let mut builder = ContainerProcessStateBuilder::default()
        .version(oci_version)
        .fds(vec![SECCOMP_FD_NAME.to_owned()])
        .pid(pid)
        .state(state);
    if let Some(metadata) = &listener.metadata {
        builder = builder.metadata(metadata.clone());
    }
    builder.build().step("describe the container's process")
}

/// Sends the descriptor on which calls are notified, and what it is, to the socket at `path`, over a connection of its own.
///
/// # Errors
/// Nobody listens there, or takes it within ten seconds.
pub fn send(path: &Path, descriptor: BorrowedFd<'_>, state: &ContainerProcessState) -> Result<(), Error> {
    let step = format!("linux.seccomp.listenerPath: hand the notifications to {path:?}");
    let text = serde_json::to_vec(state).step(&step)?;
    deliver(path, descriptor, &text).map_err(|errno| Error::step(step, errno))
}

fn deliver(path: &Path, descriptor: BorrowedFd<'_>, mut text: &[u8]) -> rustix::io::Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(PATIENCE))?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    // In one message if the socket takes it, as listeners expect; the descriptor goes with the first in any case.
    while !text.is_empty() {
        match rustix::net::sendmsg(socket.as_fd(), &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                text = text.get(sent..).unwrap_or_default();
                control.clear();
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
