//! Programs that an engine asks to be run at points of a container's life (`config.md`, "POSIX-platform Hooks").

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use casemate_kernel::process::{self, Child, Exit, Forked, Standard, duplicate_to_standard};
use casemate_kernel::terminal;
use oci_spec::runtime::{Hook, Spec};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, SeekFrom};

use crate::error::{Error, Kind, Step};

const PRESTART: &str = "prestart";
const CREATE_RUNTIME: &str = "createRuntime";
const CREATE_CONTAINER: &str = "createContainer";
const START_CONTAINER: &str = "startContainer";
const POSTSTART: &str = "poststart";
const POSTSTOP: &str = "poststop";
/// The points of a container's life at which hooks are run, in their order.
pub(crate) const POINTS: [&str; 6] = [PRESTART, CREATE_RUNTIME, CREATE_CONTAINER, START_CONTAINER, POSTSTART, POSTSTOP];

/// How much of what a hook writes is kept for the message when it fails.
const KEPT_OUTPUT: usize = 4096;

/// The hooks of a container, by the points of its life, each in order.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    /// In the runtime's namespaces, before the root is entered; deprecated, and run before `create_runtime`.
    pub(crate) prestart: Vec<HookPlan>,
    /// In the runtime's namespaces, before the root is entered.
    pub(crate) create_runtime: Vec<HookPlan>,
    /// In the container's namespaces, found in the runtime's tree, before the root is entered.
    pub(crate) create_container: Vec<HookPlan>,
    /// In the container, before its program.
    pub(crate) start_container: Vec<HookPlan>,
    /// In the runtime's namespaces, when the program runs.
    pub(crate) poststart: Vec<HookPlan>,
    /// In the runtime's namespaces, when the container is gone.
    pub(crate) poststop: Vec<HookPlan>,
}

/// One program to run.
#[derive(Debug)]
pub(crate) struct HookPlan {
    /// Where in the specification it stands, for messages.
    field: String,
    path: CString,
    args: Vec<CString>,
    /// `None` when it is not given: then only a hook that runs in the container has any, its program's.
    env: Option<Vec<CString>>,
    timeout: Option<Duration>,
}

impl Hooks {
    /// The hooks of a specification.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::Kind) naming the field of a hook that can't be run.
    pub(crate) fn new(spec: &Spec) -> Result<Self, Error> {
        let Some(hooks) = spec.hooks() else {
            return Ok(Self::default());
        };
        #[allow(deprecated)]
        let prestart = hooks.prestart();
        Ok(Self {
            prestart: plan_all(PRESTART, prestart.as_deref())?,
            create_runtime: plan_all(CREATE_RUNTIME, hooks.create_runtime().as_deref())?,
            create_container: plan_all(CREATE_CONTAINER, hooks.create_container().as_deref())?,
            start_container: plan_all(START_CONTAINER, hooks.start_container().as_deref())?,
            poststart: plan_all(POSTSTART, hooks.poststart().as_deref())?,
            poststop: plan_all(POSTSTOP, hooks.poststop().as_deref())?,
        })
    }

    /// Whether something is to be run between the mounts and the entering of the root.
    pub(crate) fn before_the_root_is_entered(&self) -> bool {
        !(self.prestart.is_empty() && self.create_runtime.is_empty() && self.create_container.is_empty())
    }
}

fn plan_all(kind: &str, hooks: Option<&[Hook]>) -> Result<Vec<HookPlan>, Error> {
    hooks
        .unwrap_or_default()
        .iter()
        .enumerate()
        .map(|(index, hook)| HookPlan::new(format!("hooks.{kind}[{index}]"), hook))
        .collect()
}

impl HookPlan {
    fn new(field: String, hook: &Hook) -> Result<Self, Error> {
        let string = |part: &str, text: &str| {
            CString::new(text).map_err(|_| Error::field(&format!("{field}.{part}"), format!("{text:?} has a NUL byte")))
        };
        let strings = |part: &str, list: Option<&[String]>| {
            list.unwrap_or_default().iter().map(|text| string(part, text)).collect::<Result<Vec<_>, _>>()
        };
        if !hook.path().is_absolute() {
            return Err(Error::field(&format!("{field}.path"), format!("{:?} is not absolute", hook.path())));
        }
        let path = CString::new(hook.path().as_os_str().as_bytes())
            .map_err(|_| Error::field(&format!("{field}.path"), format!("{:?} has a NUL byte", hook.path())))?;
        let mut args = strings("args", hook.args().as_deref())?;
        if args.is_empty() {
            args.push(path.clone());
        }
        let timeout = match hook.timeout() {
            None => None,
            Some(seconds) => {
                Some(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(
                    || Error::field(&format!("{field}.timeout"), format!("{seconds}: must be greater than zero")),
                )?)
            }
        };
        let env = hook.env().as_ref().map(|env| strings("env", Some(env.as_slice()))).transpose()?;
        Ok(Self { field, path, args, env, timeout })
    }

    /// Runs the hook to its end, with the container's state at its standard input and nothing of our environment: its own
    /// or, when it has none, `env`.
    ///
    /// It ends with the runtime: a hook that goes on after its container was given up would act on what is gone.
    ///
    /// # Errors
    /// When it can't be run, does not end with 0, or not in time (it is killed then); with what it wrote.
    pub(crate) fn run(&self, state: &OwnedFd, env: &[CString]) -> Result<(), Error> {
        let fail = |why: String| Error::new(Kind::Hook, format!("{}: {:?}: {why}", self.field, self.shown()));
        rustix::fs::seek(state, SeekFrom::Start(0)).step(&self.field)?;
        let (output, theirs) = terminal::pipe().step(&self.field)?;
        match process::fork().step(&self.field)? {
            Forked::Child => {
                drop(output);
                let error = self.become_hook(state, &theirs, self.env.as_deref().unwrap_or(env));
                // What is written here is what the runtime reads as the hook's words.
                let _ = rustix::io::write(&theirs, error.to_string().as_bytes());
                process::exit_now(127)
            }
            Forked::Parent(child) => {
                drop(theirs);
                let (exit, words) = self.wait(&child, &output)?;
                let words = String::from_utf8_lossy(&words);
                match exit {
                    Some(Exit::Code(0)) => Ok(()),
                    Some(Exit::Code(code)) => Err(fail(format!("exited with {code}: {}", words.trim_end()))),
                    Some(Exit::Signal(signal, _)) => Err(fail(format!("was killed by signal {signal}"))),
                    None => Err(fail(format!("did not end within {:?}", self.timeout.unwrap_or_default()))),
                }
            }
        }
    }

    fn shown(&self) -> &OsStr {
        OsStr::from_bytes(self.path.as_bytes())
    }

    fn become_hook(&self, state: &OwnedFd, output: &OwnedFd, env: &[CString]) -> Error {
        let prepared = (|| {
            process::die_with_parent()?;
            process::reset_signals()?;
            duplicate_to_standard(state.as_fd(), Standard::Input)?;
            duplicate_to_standard(output.as_fd(), Standard::Output)?;
            duplicate_to_standard(output.as_fd(), Standard::Error)?;
            process::close_on_exec_from(3)
        })();
        match prepared {
            Ok(()) => Error::step("execute", process::exec(&self.path, &self.args, env)),
            Err(error) => Error::step("prepare", error),
        }
    }

    /// How it ended, `None` when it had to be killed, and the beginning of what it wrote. Output is read as long as it
    /// runs; what a process that it left behind may write later is nobody's.
    fn wait(&self, child: &Child, output: &OwnedFd) -> Result<(Option<Exit>, Vec<u8>), Error> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let mut words = Vec::new();
        let mut open = true;
        let exit = loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let limit = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            let mut set = vec![PollFd::new(&child.pidfd, PollFlags::IN)];
            if open {
                set.push(PollFd::new(output, PollFlags::IN));
            }
            match rustix::event::poll(&mut set, limit.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(Error::step(&self.field, errno)),
                Ok(0) => {
                    process::pidfd_send_signal(&child.pidfd, 9).step(&self.field)?;
                    process::wait(&child.pidfd).step(&self.field)?;
                    break None;
                }
                Ok(_) => {}
            }
            let (ended, readable) =
                (!set[0].revents().is_empty(), set.get(1).is_some_and(|output| !output.revents().is_empty()));
            if readable {
                open = read_some(output, &mut words);
            } else if ended {
                break Some(process::wait(&child.pidfd).step(&self.field)?);
            }
        };
        Ok((exit, words))
    }
}

/// Reads what there is; whether more may come.
fn read_some(output: &OwnedFd, words: &mut Vec<u8>) -> bool {
    let mut buffer = [0_u8; 4096];
    match rustix::io::read(output, &mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            let room = KEPT_OUTPUT.saturating_sub(words.len()).min(length);
            words.extend_from_slice(buffer.get(..room).unwrap_or_default());
            true
        }
        Err(errno) => matches!(errno, rustix::io::Errno::INTR | rustix::io::Errno::AGAIN),
    }
}

/// Runs hooks in order; the first that fails is the last that is run.
pub(crate) fn run_all(hooks: &[HookPlan], state: &OwnedFd) -> Result<(), Error> {
    hooks.iter().try_for_each(|hook| hook.run(state, &[]))
}

/// As [`run_all`], inside the container: a hook without an environment gets the program's.
pub(crate) fn run_inside(hooks: &[HookPlan], state: &OwnedFd, env: &[CString]) -> Result<(), Error> {
    hooks.iter().try_for_each(|hook| hook.run(state, env))
}

/// The container's state as hooks read it: a file in memory, at its beginning.
pub(crate) fn state_file(json: &[u8]) -> Result<OwnedFd, Error> {
    let file = rustix::fs::memfd_create("state", MemfdFlags::CLOEXEC).step("the state for hooks")?;
    let mut rest = json;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).step("the state for hooks")?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(file)
}
