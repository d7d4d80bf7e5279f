//! The new process: made in its namespaces, with those to be entered entered on the way.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use casemate_kernel::cgroup::Cgroup;
use casemate_kernel::namespace::{self, Namespaces};
use casemate_kernel::process::{self, Child, Forked};
use casemate_kernel::socket;

use crate::error::{Error, Kind, Step};
use crate::init::{self, Setup};
use crate::plan::Plan;
use crate::sources::Tree;
use crate::{message, namespaces};

/// The new process, this side's end of the connection to it, and the mounts that it inherited.
pub(crate) struct Spawned {
    pub(crate) child: Child,
    pub(crate) socket: OwnedFd,
    pub(crate) trees: Vec<Tree>,
}

/// Makes the new process. With namespaces to enter, a process in between enters them and makes it, so that this one
/// stays where it is.
///
/// The new process closes this side's end of the socket: it must see it close when this process is gone.
pub(crate) fn spawn(
    plan: &Plan,
    files: &[(Namespaces, OwnedFd)],
    cgroup: Option<&Cgroup>,
    setup: Setup,
    socket: OwnedFd,
) -> Result<Spawned, Error> {
    // The others are made by the process itself, in parallel: a network namespace takes longest of all. They belong to
    // the user namespace that it is in from its first instruction.
    // Only devices of the host have to be moved into it first.
    let mut early = Namespaces::USER | Namespaces::PID | Namespaces::TIME;
    if !plan.net_devices.is_empty() {
        early |= Namespaces::NETWORK;
    }
    let new = plan.new.only(early);
    let unified = cgroup.and_then(Cgroup::unified);
    if files.is_empty() && plan.time_offsets.is_empty() {
        let made = match plan.user_namespace_owner() {
            Some(owner) => namespace::clone_owned(new, unified, owner),
            None => namespace::clone(new, unified),
        };
        return match made.step("make the container's process")? {
            Forked::Parent(child) => Ok(Spawned { child, socket, trees: setup.trees }),
            Forked::Child => {
                drop(socket);
                init::run(plan, setup)
            }
        };
    }
    match process::fork().step("make a process that enters namespaces")? {
        Forked::Parent(between) => {
            let Setup { trees, socket: theirs, .. } = setup;
            drop(theirs);
            let message = socket::receive(&socket, 8192).step("enter namespaces");
            process::wait(&between.pidfd).step("enter namespaces")?;
            let message = message?;
            match (message.data.as_slice(), message.descriptors.into_iter().next()) {
                ([b'P', pid @ ..], Some(pidfd)) => {
                    let pid = <[u8; 4]>::try_from(pid).map_err(|_| Error::step("enter namespaces", "no pid"))?;
                    Ok(Spawned { child: Child { pid: u32::from_ne_bytes(pid), pidfd }, socket, trees })
                }
                ([b'E', _, text @ ..], _) => Err(Error::new(Kind::Failed, String::from_utf8_lossy(text))),
                _ => Err(Error::step("enter namespaces", "the process that was to ended")),
            }
        }
        Forked::Child => {
            drop(socket);
            enter_and_clone(plan, new, unified, setup, files)
        }
    }
}

/// In the process in between: enters what is to be entered, makes the container's process, says which it is, and ends.
pub(crate) fn enter_and_clone(
    plan: &Plan,
    new: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    setup: Setup,
    files: &[(Namespaces, OwnedFd)],
) -> ! {
    let fail = |setup: &Setup, error: &Error| -> ! {
        message::send_failure(&setup.socket, error);
        process::exit_now(1)
    };
    let new = match namespaces::enter(plan, files, new) {
        Ok(left) => left,
        Err(error) => fail(&setup, &error),
    };
    if new.contains(Namespaces::USER)
        && let Some(owner) = plan.user_namespace_owner()
        && let Err(error) = namespace::become_owner(owner)
    {
        fail(&setup, &Error::step("make the container's process", error));
    }
    match namespace::clone_as_sibling(new, cgroup) {
        Err(error) => fail(&setup, &Error::step("make the container's process", error)),
        Ok(Forked::Child) => init::run(plan, setup),
        Ok(Forked::Parent(child)) => {
            let mut data = vec![b'P'];
            data.extend(child.pid.to_ne_bytes());
            let sent = socket::send(&setup.socket, &data, &[child.pidfd.as_fd()]);
            process::exit_now(u8::from(sent.is_err()))
        }
    }
}
