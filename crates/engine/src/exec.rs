//! A further process in a running container.
//!
//! It is a child of the calling process, which is its supervisor: nothing else stays for it, and nothing of it is recorded.

use std::os::fd::OwnedFd;
use std::path::Path;

use casemate_kernel::{detach, process, socket};
use casemate_posture::user;
use casemate_runtime::ExecRequest;
use oci_spec::runtime::{Process, Spec};
use rustix::fs::{Mode, OFlags};

use crate::bundle;
use crate::config::ExecConfig;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::frame::Reply;
use crate::id::ContainerId;
use crate::image_config::{Environment, check_env, check_workdir};
use crate::launch::{self, Streams};
use crate::lifecycle::{not_now, wait_for_start};
use crate::passwd::{self, Identified};
use crate::record::Record;
use crate::session::{Child, Session};

/// A process that `exec` started.
#[derive(Debug)]
pub struct Exec {
    /// Its id on the host.
    pub pid: u32,
    /// The connection to it; none when it was detached.
    pub session: Option<Session>,
}

impl Engine {
    /// Whether a container's ids are the host's, or another container's: they may then be those of the engine's own files.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn has_ids_of_others(&self, target: &str) -> Result<bool> {
        let record = self.record(&self.find(target)?)?;
        Ok(!record.posture.namespaces.user.is_own())
    }

    /// Starts a process in a running container: in its namespaces, its control group, with its capabilities and under its filter.
    ///
    /// The calling process must have one thread: the process is its child.
    ///
    /// # Errors
    /// [`Error::State`] when the container does not run; [`Error::Launch`] with the kind for Docker's exit code.
    pub fn exec(&self, target: &str, config: &ExecConfig) -> Result<Exec> {
        let id = self.find(target)?;
        let live = self.running("execute in", &id)?;
        let record = self.record(&id)?;
        if config.command.is_empty() {
            return Err(Error::invalid("command", "", "write one after the container"));
        }
        // Held until the new process stands in the container: the number can't be given to another process meanwhile.
        let _pidfd = live.open_process().ok_or_else(|| not_now("execute in", &id, "it has just ended"))?;
        let user = exec_user(&record, config, live.pid)?;
        let process = exec_process(&record, config, &user)?;
        let spec = bundle::specification_for_exec(&record, process::kernel_version(), process.clone())?;
        if config.detach {
            return exec_detached(Order { id, pid: live.pid, spec, process, config: config.clone() });
        }
        let (pid, child) = start(&id, live.pid, &spec, &process, config)?;
        Ok(Exec { pid, session: Some(Session::from_child(child)?) })
    }
}

/// The container's own user, or one that is looked up in its files as they are now.
fn exec_user(record: &Record, config: &ExecConfig, pid: u32) -> Result<Identified> {
    let Some(name) = config.user.as_deref().filter(|name| !name.is_empty()) else { return Ok(record.user.clone()) };
    let parsed = user::parse(name).map_err(|error| Error::invalid("user", name, error.to_string()))?;
    let path = format!("/proc/{pid}/root");
    let root = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::errno("open the container's root", Path::new(&path), errno))?;
    // Written by the container: resolved in its root, regular files of bearable size only.
    let file = |path: &str| {
        casemate_kernel::path::read_in_root(&root, Path::new(path), passwd::LARGEST_FILE).unwrap_or_default()
    };
    passwd::identify(&parsed, &record.posture.group_add, &file("/etc/passwd"), &file("/etc/group"))
}

fn exec_process(record: &Record, config: &ExecConfig, user: &Identified) -> Result<Process> {
    let mut env = Environment(record.process.env.clone());
    for entry in &config.env {
        check_env(entry)?;
        if entry.contains('=') { env.set(entry) } else { env.remove(entry) }
    }
    let workdir = check_workdir(config.workdir.clone().unwrap_or_else(|| record.process.workdir.clone()))?;
    bundle::exec_process(record, user, config.command.clone(), env.0, &workdir, config.tty)
}

fn start(id: &ContainerId, pid: u32, spec: &Spec, process: &Process, config: &ExecConfig) -> Result<(u32, Child)> {
    let streams = if config.tty { Streams::terminal(config.terminal_size) } else { Streams::pipes(config.open_stdin)? };
    let created = casemate_runtime::exec(ExecRequest { id: id.as_str(), pid, spec, process, stdio: streams.theirs })
        .map_err(|error| launch::from_runtime(&error))?;
    let child = Child {
        pidfd: created.pidfd,
        input: streams.input,
        output: streams.output,
        error: streams.error,
        console: created.console,
    };
    Ok((created.pid, child))
}

/// What the parent of a detached process is given.
#[derive(Debug, Clone)]
struct Order {
    id: ContainerId,
    pid: u32,
    spec: Spec,
    process: Process,
    config: ExecConfig,
}

/// A process of ours stays as its parent, so that it is reaped, and reads away what it writes.
fn exec_detached(order: Order) -> Result<Exec> {
    let (ours, theirs) = socket::pair().map_err(|error| Error::kernel("connect to the new process")(error.into()))?;
    detach::fork_detached(vec![theirs], order, stay)
        .map_err(|error| Error::kernel("fork the process's parent")(error.into()))?;
    let pid = wait_for_start(&mut Session::from_socket(ours, None))?;
    Ok(Exec { pid, session: None })
}

fn stay(mut descriptors: Vec<OwnedFd>, order: Order) -> u8 {
    let Some(socket) = descriptors.pop() else { return 125 };
    let tell = |reply: &Reply<'_>| {
        let mut frame = Vec::new();
        reply.encode(&mut frame);
        // Whoever asked may be gone; the process runs all the same.
        let _ = rustix::net::send(&socket, &frame, rustix::net::SendFlags::NOSIGNAL);
    };
    // Only cosmetic: `ps` shows it.
    let _ = process::set_name(c"casemate-exec");
    let started = start(&order.id, order.pid, &order.spec, &order.process, &order.config);
    drop(order);
    match started {
        Ok((pid, child)) => {
            tell(&Reply::Started { pid });
            drop(socket);
            casemate_kernel::memory::trim();
            let ended = Session::from_child(child).and_then(|mut session| session.wait_end());
            u8::from(ended.is_err())
        }
        Err(error) => {
            tell(&Reply::Failed { kind: error.kind(), text: &error.to_string() });
            1
        }
    }
}
