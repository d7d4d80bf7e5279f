//! `create` and `run`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use casemate_kernel::namespace::Namespaces;
use casemate_kernel::process::{self, Exit};
use casemate_kernel::socket;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::directory::Root;
use super::record::{Identity, Record};
use super::{Container, Runtime, Status};
use crate::bundle::Bundle;
use crate::cgroup::{CgroupRecord, ScopePlan};
use crate::create::{Attendance, Created, create_attended};
use crate::error::{Error, Kind, Step};
use crate::hooks;
use crate::init::Lifetime;
use crate::plan::Plan;
use crate::seccomp::{Filter, notify};
use crate::stdio::Stdio;
use crate::{floor, namespaces, resctrl, sources};

/// How a container is made.
#[derive(Debug, Default)]
pub struct CreateOptions {
    /// The bundle's directory.
    pub bundle: PathBuf,
    /// Another file than `config.json` in it.
    pub config: Option<PathBuf>,
    /// Who is given the terminal.
    pub console: Console,
    /// Who is given a descriptor of the first process: a socket's path.
    pub pidfd_socket: Option<PathBuf>,
    /// Where the number of the first process is written.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors after the standard ones the program inherits.
    pub preserved: u32,
    /// How many sockets of a service manager come before them, which the program is told of.
    pub listened: u32,
    /// Whether the caller's session keyring is kept.
    pub keep_keyring: bool,
    /// Whether the root is entered without `pivot_root`.
    pub no_pivot: bool,
}

/// Who is given the other end of a container's terminal.
#[derive(Debug, Default)]
pub enum Console {
    /// Nobody: a terminal is refused.
    #[default]
    None,
    /// Whoever listens at this path.
    Socket(PathBuf),
    /// The caller.
    Caller,
}

/// What `run` does beyond `create`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Whether the command ends when the container runs.
    pub detach: bool,
    /// Whether the container is kept when it has ended.
    pub keep: bool,
}

/// Stays with a process, whose terminal it is given if that has one, until it ends.
pub type Attend<'a> = dyn FnMut(&OwnedFd, Option<OwnedFd>) -> Result<Exit, Error> + 'a;

/// How a container that was waited for ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// The code that a shell would report.
    pub code: i32,
}

/// A container whose process stands at the barrier.
struct Made {
    container: Container,
    created: Created,
    plan: Plan,
}

impl Runtime {
    /// Makes a container, whose process waits to be started.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::Kind::Invalid) before anything was made; else the step that failed, and nothing of the
    /// container is left.
    pub fn create(&self, id: &str, options: &CreateOptions) -> Result<(), Error> {
        let made = self.make(id, options, true)?;
        match made.created.leave_at_barrier() {
            Ok(()) => Ok(()),
            Err(error) => {
                self.undo(made, &error);
                Err(error)
            }
        }
    }

    /// Makes a container and starts it; then, unless it is to be detached, hands its first process to `attend`, which
    /// returns when that has ended, and removes the container.
    ///
    /// # Errors
    /// As [`Runtime::create`] and [`Runtime::start`].
    pub fn run(
        &self,
        id: &str,
        options: &CreateOptions,
        run: RunOptions,
        attend: &mut Attend<'_>,
    ) -> Result<Finished, Error> {
        let mut made = self.make(id, options, run.detach)?;
        if let Err(error) = made.start() {
            self.undo(made, &error);
            return Err(error);
        }
        let Made { container, created, plan } = made;
        if run.detach {
            return Ok(Finished { code: 0 });
        }
        let exit = attend(&created.pidfd, created.console)?;
        if !run.keep {
            self.clear_away(container, Some(&plan))?;
        }
        Ok(Finished { code: exit.code() })
    }

    fn make(&self, id: &str, options: &CreateOptions, detached: bool) -> Result<Made, Error> {
        super::directory::check_id(id)?;
        let inherited = inherited(options.preserved.saturating_add(options.listened))?;
        let mut bundle = Bundle::load(&options.bundle, options.config.as_deref())?;
        // Before anything that may come of what they tell.
        bundle.warnings.iter().for_each(|warning| (self.warn)(warning));
        if self.hardened {
            for taken in floor::apply(&mut bundle.spec)? {
                (self.warn)(&format!("hardened: {taken}"));
            }
            // What later commands are to find is what the container was made from.
            bundle.config = serde_json::to_vec(&bundle.spec).step("config.json")?;
        }
        let mut plan = self.plan(id, &bundle)?;
        if self.hardened {
            plan.process.floor = Some(floor::filter()?);
        }
        plan.process.tell_of_sockets(options.listened)?;
        check_console(&plan, &options.console, detached)?;
        let joined = match bundle.spec.linux() {
            Some(linux) => namespaces::open_joined(linux)?,
            None => Vec::new(),
        };
        plan.process.warnings.iter().for_each(|warning| (self.warn)(warning));
        let rootfs = bundle.rootfs()?;
        let tree = sources::open_rootfs(&rootfs, &bundle.spec)?;
        let record = self.record(id, &bundle, rootfs, &plan)?;
        let root = Root::create(&self.root)?;
        let directory = root.claim(id)?;
        let container = Container { root, directory, record };
        let prepared = container.prepare(&bundle);
        drop(bundle);
        let made = prepared.and_then(|lifetime| {
            container.made(
                &plan,
                &joined,
                tree,
                options,
                Lifetime {
                    preserved: inherited,
                    keep_keyring: options.keep_keyring,
                    no_pivot: options.no_pivot,
                    ..lifetime
                },
            )
        });
        match made {
            Ok((record, created)) => {
                let mut made = Made { container: Container { record, ..container }, created, plan };
                match made.hand_out(options) {
                    Ok(()) => Ok(made),
                    Err(error) => {
                        self.undo(made, &error);
                        Err(error)
                    }
                }
            }
            Err(error) => {
                self.release(container, &plan, &error);
                Err(error)
            }
        }
    }

    /// Gives up a container whose process stands at the barrier, or runs.
    fn undo(&self, made: Made, error: &Error) {
        give_up(&made.created, &made.container.record);
        self.release(made.container, &made.plan, error);
    }

    /// Removes the record of a container of which nothing else is left. When that is because of a hook, those that tell of
    /// its end are run first (`runtime.md`, "Lifecycle", step 13).
    fn release(&self, container: Container, plan: &Plan, error: &Error) {
        if error.kind() == Kind::Hook {
            self.after_stop(&container, &plan.hooks);
        }
        let Container { root, directory, .. } = container;
        // The error that led here is the one to tell.
        let _ = root.release(&directory);
    }

    /// The plan of a bundle.
    pub(super) fn plan(&self, id: &str, bundle: &Bundle) -> Result<Plan, Error> {
        let mut plan = Plan::new(id, &bundle.spec)?;
        plan.in_bundle(&bundle.path, bundle.rootfs()?);
        if self.systemd {
            let (scope, path) = ScopePlan::new(id, &bundle.spec)?;
            (plan.scope, plan.cgroup) = (Some(scope), path);
        }
        Ok(plan)
    }

    fn record(&self, id: &str, bundle: &Bundle, rootfs: PathBuf, plan: &Plan) -> Result<Record, Error> {
        let maker =
            Identity::of(std::process::id()).ok_or_else(|| Error::step("find the own process", "no start time"))?;
        Ok(Record {
            oci_version: bundle.spec.version().clone(),
            id: id.to_owned(),
            bundle: bundle.path.clone(),
            rootfs,
            annotations: bundle.spec.annotations().clone().unwrap_or_default().into_iter().collect(),
            created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
            owner: rustix::process::getuid().as_raw(),
            maker,
            init: None,
            complete: false,
            // As far as it is known before it is made: whoever clears up after a kill looks into all hierarchies.
            cgroup: CgroupRecord::expected(plan),
            resctrl: resctrl::Made::default(),
            hardened: self.hardened,
        })
    }
}

impl Container {
    /// Everything on disk that must be there before there is a process.
    fn prepare(&self, bundle: &Bundle) -> Result<Lifetime, Error> {
        self.directory.write_config(&bundle.config)?;
        self.directory.write_record(&self.record)?;
        Ok(Lifetime { barrier: Some(self.directory.make_barrier()?), ..Lifetime::default() })
    }

    /// Makes the process, and records it.
    fn made(
        &self,
        plan: &Plan,
        joined: &[(Namespaces, OwnedFd)],
        tree: OwnedFd,
        options: &CreateOptions,
        lifetime: Lifetime,
    ) -> Result<(Record, Created), Error> {
        let stdio = match (plan.process.terminal, &options.console) {
            (true, _) => {
                let (columns, rows) = plan.process.console_size.unwrap_or_default();
                Stdio::Terminal { columns, rows }
            }
            (false, _) => Stdio::Inherited,
        };
        let mut record = self.record.clone();
        let attendance = Attendance {
            lifetime,
            made: &mut |pid| {
                record.init = Identity::of(pid);
                record.resctrl = resctrl::apply(plan.resctrl.as_ref(), pid)?;
                self.directory.write_record(&record)
            },
            hooks: &mut |pid| {
                let container = self.state_of(pid, Status::Created)?;
                hooks::run_all(&plan.hooks.prestart, &container)?;
                hooks::run_all(&plan.hooks.create_runtime, &container)?;
                Ok(container)
            },
            listener: &mut |pid, listener| {
                self.hand_over(plan.process.filter.as_ref(), pid, Status::Creating, &listener)
            },
        };
        let created = match create_attended(plan, joined, Box::new(move |_| Ok(tree)), stdio, attendance) {
            Ok(created) => created,
            Err(error) => {
                // The error that led here is the one to tell.
                let _ = resctrl::remove(&record.resctrl);
                return Err(error);
            }
        };
        record.complete = true;
        record.cgroup = created.cgroup.record();
        if let Err(error) = self.directory.write_record(&record) {
            give_up(&created, &record);
            return Err(error);
        }
        Ok((record, created))
    }

    /// Gives the listening end of a filter to whoever the specification names.
    pub(super) fn hand_over(
        &self,
        filter: Option<&Filter>,
        pid: u32,
        status: Status,
        listener: &OwnedFd,
    ) -> Result<(), Error> {
        let field = "linux.seccomp.listenerPath";
        let asked = filter
            .and_then(|filter| filter.listener.as_ref())
            .ok_or_else(|| Error::step(field, "nobody asked for a listener"))?;
        let number = i32::try_from(pid).map_err(|error| Error::step(field, error))?;
        let mut state = self.state(status);
        state.pid = pid;
        let state = serde_json::to_value(&state).and_then(serde_json::from_value).step(field)?;
        let state = notify::state(asked, &self.record.oci_version, number, state)?;
        notify::send(&asked.path, listener.as_fd(), &state)
    }

    /// The state for hooks, in a file.
    fn state_of(&self, pid: u32, status: Status) -> Result<OwnedFd, Error> {
        let mut state = self.state(status);
        state.pid = pid;
        hooks::state_file(&serde_json::to_vec(&state).step("the state for hooks")?)
    }

    /// The state for hooks, of a container whose process is on record.
    pub(super) fn state_file(&self, status: Status) -> Result<OwnedFd, Error> {
        hooks::state_file(&serde_json::to_vec(&self.state(status)).step("the state for hooks")?)
    }
}

impl Made {
    /// Gives the terminal, the process's descriptor and its number to whoever asked for them.
    fn hand_out(&mut self, options: &CreateOptions) -> Result<(), Error> {
        if let Console::Socket(path) = &options.console
            && let Some(console) = self.created.console.take()
        {
            send_descriptor(path, "/dev/ptmx", &console).step("--console-socket")?;
        }
        if let Some(path) = &options.pidfd_socket {
            send_descriptor(path, "pidfd", &self.created.pidfd).step("--pidfd-socket")?;
        }
        if let Some(path) = &options.pid_file {
            write_pid_file(path, self.created.pid)?;
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), Error> {
        let container = &self.container;
        let state = if self.plan.hooks.start_container.is_empty() {
            None
        } else {
            Some(container.state_file(Status::Created)?)
        };
        let pid = self.created.pid;
        self.created.start_with(state.as_ref(), &mut |listener| {
            container.hand_over(self.plan.process.filter.as_ref(), pid, Status::Created, &listener)
        })?;
        container.after_start(&self.plan.hooks)
    }
}

/// Ends a process that nobody will start, and what is left of its groups.
fn give_up(created: &Created, record: &Record) {
    let _ = process::pidfd_send_signal(&created.pidfd, 9);
    let _ = process::wait(&created.pidfd);
    let _ = created.cgroup.kill();
    let _ = created.cgroup.remove();
    let _ = resctrl::remove(&record.resctrl);
}

/// How many descriptors after the standard ones are inherited, of so many at most: up to the last that is there, so that
/// none that is opened from now on comes after it. Callers of crun and youki name as many as they may ever pass on.
pub(super) fn inherited(most: u32) -> Result<u32, Error> {
    let field = "--preserve-fds";
    if most > 1 << 16 {
        return Err(Error::field(field, format!("{most} descriptors")));
    }
    let mut last = 0;
    for number in 1..=most {
        match rustix::fs::readlink(format!("/proc/self/fd/{}", number + 2), Vec::new()) {
            Ok(_) => last = number,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(Error::field(field, format!("look at descriptor {}: {errno}", number + 2))),
        }
    }
    Ok(last)
}

fn check_console(plan: &Plan, console: &Console, detached: bool) -> Result<(), Error> {
    match (plan.process.terminal, console) {
        (true, Console::None) => Err(Error::field(
            "process.terminal",
            "cannot allocate tty if the runtime will detach without setting console socket",
        )),
        (true, Console::Caller) if detached => Err(Error::field(
            "process.terminal",
            "cannot allocate tty if the runtime will detach without setting console socket",
        )),
        (false, Console::Socket(_)) => Err(Error::field(
            "--console-socket",
            "cannot use console socket if the runtime will not detach or allocate tty",
        )),
        _ => Ok(()),
    }
}

/// Sends one descriptor to whoever listens at a path, with a name, as engines receive terminals.
pub(super) fn send_descriptor(path: &Path, name: &str, fd: &OwnedFd) -> Result<(), casemate_kernel::Error> {
    let connection = socket::connect_stream(path)?;
    socket::send(&connection, name.as_bytes(), &[fd.as_fd()])
}

/// Writes a process's number, whole or not at all: who waits for the file reads it as soon as it is there.
pub(super) fn write_pid_file(path: &Path, pid: u32) -> Result<(), Error> {
    let step = format!("--pid-file {path:?}");
    let name = path.file_name().ok_or_else(|| Error::step(&step, "not the name of a file"))?;
    let draft = path.with_file_name(format!(".{}", name.to_string_lossy()));
    let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&draft, flags, Mode::from_raw_mode(0o644)).step(&step)?;
    std::io::Write::write_all(&mut std::fs::File::from(file), pid.to_string().as_bytes()).step(&step)?;
    std::fs::rename(&draft, path).step(&step)
}
