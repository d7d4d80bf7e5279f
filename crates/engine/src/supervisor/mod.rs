//! The one process that stays with a container: it makes it, pumps its streams, writes its log, serves those who attach, and
//! records how it ended.
//!
//! It is forked from the command that starts the container and holds the lock on `run/<id>` ([`crate::supervision`]). Its own memory
//! is what a running container costs, so what the start needed is given back before the loop begins.

mod clients;
mod finish;
mod pump;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use casemate_kernel::process;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::claims::Owner;
use crate::directories::Directories;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Reply;
use crate::launch::{self, Launched, Plan};
use crate::log::LogWriter;
use crate::record::{self, Live, Record, STATE_FILE};
use crate::removal::Leaving;
use crate::session;
use crate::time::Timestamp;

use clients::Clients;

/// Everything that the supervisor is given; no descriptor is among it.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) directories: Directories,
    pub(crate) record: Record,
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) init: Option<PathBuf>,
    /// Whether the command that starts the container stays connected.
    pub(crate) attached: bool,
    /// Whether it sends input.
    pub(crate) input: bool,
}

/// SIGHUP, SIGINT, SIGQUIT, SIGTERM: whoever sends one of these to a supervisor means the container.
const FORWARDED: [u8; 4] = [1, 2, 3, 15];

/// What the loop needs of the record once the container runs.
#[derive(Debug)]
struct Watch {
    directories: Directories,
    run: PathBuf,
    started: Timestamp,
    stop_signal: u8,
    auto_remove: bool,
    stdin_once: bool,
    leaving: Leaving,
}

/// The supervisor's whole life. `descriptors`: the lock on the run directory, and our end of the starting command's connection.
pub(crate) fn run(descriptors: Vec<OwnedFd>, order: Order) -> u8 {
    let mut descriptors = descriptors.into_iter();
    let (Some(lock), Some(command)) = (descriptors.next(), descriptors.next()) else { return 125 };
    let lock = File::from(lock);
    // Only cosmetic: `ps` shows it.
    let _ = process::set_name(c"casemate-sup");
    let mut clients = Clients::new(command, order.attached, order.input && order.record.process.open_stdin);
    match start(&order, &lock) {
        Ok((launched, watch, signals, listener)) => {
            let pid = launched.created.pid;
            let log = LogWriter::new(&watch.directories.container(&order.record.identity.id), &order.record.log);
            let log = (order.record.log.driver == crate::LogDriver::JsonFile).then_some(log);
            clients.tell_started(pid, order.attached);
            drop(order);
            casemate_kernel::memory::trim();
            let ended = pump::Pump::new(launched, log, clients, listener, signals, &watch).run();
            finish::finish(ended, &watch, lock);
            0
        }
        Err(error) => {
            let kind = error.kind();
            finish::never_started(&order, &error);
            clients.tell(&Reply::Failed { kind, text: &error.to_string() });
            drop(lock);
            1
        }
    }
}

type Begun = (Launched, Watch, OwnedFd, OwnedFd);

fn start(order: &Order, lock: &File) -> Result<Begun> {
    let record = &order.record;
    let id = &record.identity.id;
    let signals = process::signal_fd(&FORWARDED).map_err(|error| Error::kernel("receive signals")(error.into()))?;
    let plan = Plan { directories: &order.directories, record, layers: &order.layers, init: order.init.as_deref() };
    let mut launched = launch::create(&plan)?;
    let run = order.directories.run_of(id);
    let started = Timestamp::now();
    let begun = (|| {
        let listener = listen(&run, lock)?;
        write_state(order, &run, &launched, started)?;
        launched.created.start().map_err(|error| launch::from_runtime(&error))?;
        Ok(listener)
    })();
    match begun {
        Ok(listener) => {
            let watch = Watch {
                directories: order.directories.clone(),
                run,
                started,
                stop_signal: record.stop_signal,
                auto_remove: record.identity.auto_remove,
                stdin_once: record.process.stdin_once,
                leaving: Leaving::of(record),
            };
            Ok((launched, watch, signals, listener))
        }
        Err(error) => {
            // Whatever stands at the barrier goes with its control group.
            let _ = process::pidfd_send_signal(&launched.created.pidfd, 9);
            let _ = process::wait(&launched.created.pidfd);
            let _ = launched.created.cgroup.kill();
            let _ = launched.created.cgroup.remove();
            Err(error)
        }
    }
}

/// The socket through which others attach: a path in a directory that is the engine's alone, for the engine's user only.
fn listen(run: &Path, directory: &File) -> Result<OwnedFd> {
    let path = run.join(session::SOCKET);
    let fail = |errno| Error::errno("listen on", &path, errno);
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .map_err(fail)?;
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(0o600)).map_err(fail)?;
    rustix::net::bind(&socket, &session::address_in(directory)?).map_err(fail)?;
    rustix::net::listen(&socket, 16).map_err(fail)?;
    Ok(socket)
}

/// Written before the program is executed, so that whoever is told that it runs finds it running.
fn write_state(order: &Order, run: &Path, launched: &Launched, started: Timestamp) -> Result<()> {
    let pid = launched.created.pid;
    let me = Owner::this_process(&order.record.identity.id)?;
    let start_time = process::start_time(pid).ok_or_else(|| Error::Launch {
        kind: ErrorKind::Internal,
        text: "the container's process was killed before it was started".to_owned(),
    })?;
    let live = Live {
        identity: order.record.identity.clone(),
        pid,
        start_time,
        supervisor: me.pid,
        supervisor_start_time: me.start,
        started,
        cgroup: launched.created.cgroup.path().to_owned(),
    };
    record::write(&run.join(STATE_FILE), &live, false)
}
