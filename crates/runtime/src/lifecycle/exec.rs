//! `exec`.

use std::path::PathBuf;

use casemate_kernel::namespace::Namespaces;
use casemate_kernel::process::Exit;
use oci_spec::runtime::{Process, Spec};

use super::create::{Attend, Console, inherited, send_descriptor, write_pid_file};
use super::{Container, Runtime, Status};
use crate::error::{Error, Kind, Step};
use crate::exec::{Joining, has_a_root_apart, join, own_namespaces};
use crate::plan::ProcessPlan;
use crate::stdio::Stdio;
use crate::{affinity, floor};

/// How a process is started in a container.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// Who is given the terminal.
    pub console: Console,
    /// Who is given a descriptor of the process: a socket's path.
    pub pidfd_socket: Option<PathBuf>,
    /// Where the number of the process is written.
    pub pid_file: Option<PathBuf>,
    /// How many descriptors after the standard ones the program inherits.
    pub preserved: u32,
    /// Whether the command ends when the process runs.
    pub detach: bool,
    /// Whether a paused container is let go on as far as the process is concerned: it then waits, frozen.
    pub ignore_paused: bool,
    /// The groups below the container's own to put the process into: one for all, or `CONTROLLER[,CONTROLLER]:PATH` each.
    pub cgroups: Vec<String>,
}

/// What became of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executed {
    /// It runs.
    Detached,
    /// It ended.
    Ended(Exit),
}

impl Runtime {
    /// The process that a container's specification has, to be changed into another.
    ///
    /// # Errors
    /// When there is no such container, or its specification has no process.
    pub fn process(&self, id: &str) -> Result<Process, Error> {
        let spec = self.open(id)?.kept_spec()?;
        spec.process().clone().ok_or_else(|| Error::field("process", "missing"))
    }

    /// Starts a process in a container that is created or runs.
    ///
    /// # Errors
    /// [`Kind::WrongStatus`] when it is stopped, or paused and that is not ignored; else what kept it from being executed.
    pub fn exec(
        &self,
        id: &str,
        process: &Process,
        options: &ExecOptions,
        attend: &mut Attend<'_>,
    ) -> Result<Executed, Error> {
        let preserved = inherited(options.preserved)?;
        let container = self.open(id)?;
        match container.status()? {
            Status::Stopped | Status::Creating => {
                return Err(Error::new(Kind::WrongStatus, "cannot exec in a stopped container"));
            }
            Status::Paused if !options.ignore_paused => {
                return Err(Error::new(
                    Kind::WrongStatus,
                    "cannot exec in a paused container (use --ignore-paused to override)",
                ));
            }
            _ => {}
        }
        let spec = container.kept_spec()?;
        let linux = spec.linux().as_ref().ok_or_else(|| Error::field("linux", "missing"))?;
        let namespaces = own_namespaces(linux)?;
        let hardened = self.hardened || container.record.hardened;
        let mut process = labelled(process, spec.process().as_ref());
        if hardened {
            let mut taken = floor::Taken::new();
            floor::apply_to_process(&mut process, &mut taken);
            for taken in taken {
                (self.warn)(&format!("hardened: {taken}"));
            }
        }
        let mut plan = ProcessPlan::new(&process, linux, namespaces.contains(Namespaces::USER))?;
        if hardened {
            plan.floor = Some(floor::filter()?);
        }
        for warning in &plan.warnings {
            (self.warn)(warning);
        }
        if let Some(shown) = affinity::shown(&plan) {
            (self.debug)(&shown);
        }
        let stdio = match (plan.terminal, &options.console) {
            (true, Console::None) => {
                return Err(Error::field(
                    "process.terminal",
                    "cannot allocate tty if the runtime will detach without setting console socket",
                ));
            }
            (false, Console::Socket(_)) => {
                return Err(Error::field(
                    "--console-socket",
                    "cannot use console socket if the runtime will not detach or allocate tty",
                ));
            }
            (true, _) => {
                let (columns, rows) = plan.console_size.unwrap_or_default();
                Stdio::Terminal { columns, rows }
            }
            (false, _) => Stdio::Inherited,
        };
        let pidfd = container
            .first_process()?
            .ok_or_else(|| Error::new(Kind::WrongStatus, "cannot exec in a stopped container"))?;
        let joining = Joining {
            process: &plan,
            namespaces,
            root_apart: has_a_root_apart(linux)?,
            pid: container.record.init.map_or(0, |init| init.pid),
            pidfd: &pidfd,
            cgroup: container.group()?.below(&options.cgroups)?,
            stdio,
            preserved,
        };
        let mut created = join(joining, &mut |pid, listener| {
            container.hand_over(plan.filter.as_ref(), pid, Status::Running, &listener)
        })?;
        if let Console::Socket(path) = &options.console
            && let Some(console) = created.console.take()
        {
            send_descriptor(path, "/dev/ptmx", &console).step("--console-socket")?;
        }
        if let Some(path) = &options.pidfd_socket {
            send_descriptor(path, "pidfd", &created.pidfd).step("--pidfd-socket")?;
        }
        if let Some(path) = &options.pid_file {
            write_pid_file(path, created.pid)?;
        }
        if options.detach {
            return Ok(Executed::Detached);
        }
        attend(&created.pidfd, created.console).map(Executed::Ended)
    }
}

impl Container {
    /// The specification that it was made from.
    pub(super) fn kept_spec(&self) -> Result<Spec, Error> {
        crate::bundle::parse(&self.directory.read_config()?)
    }
}

/// The process with the container's labels where it has none of its own: one that joins is confined as the container is, unless
/// its caller says otherwise (`"unconfined"`).
fn labelled(process: &Process, container: Option<&Process>) -> Process {
    let mut process = process.clone();
    let given = |label: &Option<String>| label.clone().filter(|label| !label.is_empty());
    let (profile, context) =
        container.map_or((None, None), |of| (given(of.apparmor_profile()), given(of.selinux_label())));
    process.set_apparmor_profile(given(process.apparmor_profile()).or(profile));
    process.set_selinux_label(given(process.selinux_label()).or(context));
    process
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_labels_has_the_containers() {
        let process = |json: &str| -> Process {
            serde_json::from_str(&format!(r#"{{"cwd":"/","args":["a"],"user":{{"uid":0,"gid":0}}{json}}}"#)).unwrap()
        };
        let container = process(r#","apparmorProfile":"c","selinuxLabel":"c:r:t:s0""#);
        for (json, profile) in [("", "c"), (r#","apparmorProfile":"""#, "c"), (r#","apparmorProfile":"own""#, "own")] {
            let process = process(json);
            let labelled = labelled(&process, Some(&container));
            assert_eq!(labelled.apparmor_profile().as_deref(), Some(profile), "{json}");
            assert_eq!(labelled.selinux_label().as_deref(), Some("c:r:t:s0"), "{json}");
        }
        assert_eq!(labelled(&process(""), Some(&process(""))), process(""));
        assert_eq!(labelled(&process(""), None), process(""));
    }
}
