//! Commands, timed from before they are spawned until they were waited for.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use casemate_kernel::namespace::{self, Namespaces};

use crate::error::{Error, Result, io};

/// A program with its arguments and, for peers that need one, a mount namespace to run in.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

impl Invocation {
    /// A program found by name in `PATH`, or by path.
    pub(crate) fn new(program: impl Into<String>, arguments: &[&str]) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
        }
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.environment.iter().cloned()).stdin(Stdio::null());
        command
    }

    fn words(&self) -> String {
        format!("{} {}", self.program, self.arguments.join(" "))
    }

    /// Runs it and returns how long it took. Its output goes nowhere; when it fails, it is run again for its words.
    pub(crate) fn timed(&self) -> Result<Duration> {
        let mut command = self.command();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let started = Instant::now();
        let status = io(command.status(), || format!("running {}", self.words()))?;
        let elapsed = started.elapsed();
        if status.success() {
            return Ok(elapsed);
        }
        let again =
            self.output().err().map_or("it succeeded when it was run again".to_owned(), |error| error.to_string());
        Err(Error::new(format!("{} ended with {status}: {again}", self.words())))
    }

    /// Runs it and returns what it printed; a failure has what it complained.
    pub(crate) fn output(&self) -> Result<String> {
        let output = io(self.command().output(), || format!("running {}", self.words()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(format!("{} ended with {}: {}", self.words(), output.status, said.trim())))
    }

    /// Starts it in the background with its output in a file.
    pub(crate) fn background(&self, log: &Path) -> Result<Child> {
        let file = io(File::create(log), || format!("creating {}", log.display()))?;
        let second = io(file.try_clone(), || "duplicating a descriptor".to_owned())?;
        io(self.command().stdout(file).stderr(second).spawn(), || format!("starting {}", self.words()))
    }

    /// Starts it with its standard output to be read.
    pub(crate) fn piped(&self) -> Result<Child> {
        io(self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn(), || {
            format!("starting {}", self.words())
        })
    }
}

/// Whether a program can be found.
pub(crate) fn installed(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).exists();
    }
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into(), "/sbin".into()])
            .any(|directory| directory.join(program).exists())
    })
}

/// A mount namespace where `/sys/fs/cgroup/unified` is not mounted: Debian 12's crun refuses a host that has it.
#[derive(Debug)]
pub(crate) struct WithoutUnified {
    own: OwnedFd,
    other: OwnedFd,
}

impl WithoutUnified {
    /// `None` where there is nothing to take away.
    pub(crate) fn make() -> Result<Option<Self>> {
        if !Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
            return Ok(None);
        }
        let script = "umount /sys/fs/cgroup/unified && echo ready && read line";
        let mut child = io(
            Command::new("unshare")
                .args(["--mount", "--propagation", "private", "sh", "-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn(),
            || "running unshare".to_owned(),
        )?;
        let mut ready = [0u8; 6];
        if let Some(stdout) = child.stdout.as_mut() {
            io(stdout.read_exact(&mut ready), || "unmounting /sys/fs/cgroup/unified in a mount namespace".to_owned())?;
        }
        let other = namespace::open_of_process(child.id(), "mnt");
        drop(child.stdin.take());
        let _ = child.wait();
        Ok(Some(Self { own: namespace::open_of_process(std::process::id(), "mnt")?, other: other? }))
    }

    /// Does something in that namespace.
    pub(crate) fn within<T>(&self, action: impl FnOnce() -> Result<T>) -> Result<T> {
        namespace::enter(self.other.as_fd(), Namespaces::MOUNT)?;
        let result = action();
        namespace::enter(self.own.as_fd(), Namespaces::MOUNT)?;
        result
    }
}
