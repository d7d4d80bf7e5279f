//! Other container engines with casemate as their runtime: what their tests share.
//!
//! `CASEMATE_OCI_RUNTIME` names another runtime to try a test with, as in [`crate::bundle`].

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::{command, eventually, host, missing, program};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A place for an engine: a directory for all that it keeps, and a control group for all that it runs. Both are taken away
/// with everything in them.
#[derive(Debug)]
pub struct Place {
    directory: tempfile::TempDir,
    group: String,
}

impl Place {
    /// A place for an engine that needs these programs.
    ///
    /// # Errors
    /// In words for [`crate::skip`], when one is not installed.
    pub fn new(programs: &[&str]) -> Result<Self, String> {
        assert!(rustix::process::geteuid().is_root(), "the end-to-end tests need root: they start containers");
        if let Some(reason) = missing(programs) {
            return Err(reason);
        }
        let directory = tempfile::Builder::new().prefix("en").tempdir_in("/tmp").map_err(|error| error.to_string())?;
        let group = format!("casemate-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let place = Self { directory, group };
        // The small program, and the engine's own binary by the other name: each is the runtime.
        let small = crate::binary().with_file_name("casemate-oci");
        let other = std::env::var_os("CASEMATE_OCI_RUNTIME").map(PathBuf::from);
        for (name, runtime) in [("casemate-oci", small), ("casemate-oci-hardened", crate::binary())] {
            let runtime = std::path::absolute(other.as_ref().unwrap_or(&runtime)).map_err(|error| error.to_string())?;
            assert!(runtime.is_file(), "{} is not built: cargo build --release -p casemate", runtime.display());
            symlink(&runtime, place.at(name)).map_err(|error| error.to_string())?;
        }
        Ok(place)
    }

    /// A path in the directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As [`Place::at`], as text.
    pub fn text(&self, name: &str) -> String {
        self.at(name).to_string_lossy().into_owned()
    }

    /// The control group's name at the root of each hierarchy.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Writes a file in the directory and gives its path.
    #[track_caller]
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// A command of a program that is not run yet, with nothing of this process's configuration of engines.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name).unwrap_or_else(|| name.into()));
        let mut path = std::env::var_os("PATH").unwrap_or_default();
        path.push(":/usr/sbin:/sbin");
        command.env("PATH", path).env("HOME", self.directory.path());
        for name in [
            "DOCKER_CONFIG",
            "DOCKER_HOST",
            "CONTAINERD_ADDRESS",
            "CONTAINERD_NAMESPACE",
            "XDG_RUNTIME_DIR",
            "NOTIFY_SOCKET",
        ] {
            command.env_remove(name);
        }
        command.current_dir(self.directory.path());
        command
    }

    /// Starts a daemon, whose output goes to a file of its name.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn daemon(&self, command: &mut Command, name: &str) -> Result<Daemon, String> {
        let file = self.at(&format!("{name}.log"));
        let log = fs::File::options().create(true).append(true).open(&file).map_err(|error| error.to_string())?;
        let second = log.try_clone().map_err(|error| error.to_string())?;
        command.stdin(Stdio::null()).stdout(log).stderr(second).process_group(0);
        let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        Ok(Daemon { child, log: file })
    }

    /// Asserts that nothing is left of the containers: no process, no mount, no control group but the one of all.
    #[track_caller]
    pub fn expect_empty(&self) {
        let directory = self.directory.path().to_string_lossy().into_owned();
        assert!(
            eventually(10, || processes(&directory).is_empty()),
            "these processes are left: {:?}",
            processes(&directory)
        );
        let mounts = host::mounts_with(&directory);
        assert!(mounts.is_empty(), "these mounts are left: {mounts:?}");
        for group in host::cgroups_named(&self.group) {
            // Podman's own, for its monitors.
            let left: Vec<_> = directories(&group).filter(|path| !path.ends_with("conmon")).collect();
            assert!(left.is_empty(), "these control groups are left: {left:?}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let directory = self.directory.path().to_string_lossy().into_owned();
        // A test that failed: nothing of it may disturb the next.
        let gone = eventually(5, || {
            for pid in processes(&directory) {
                let _ = kill_process(pid, Signal::KILL);
            }
            processes(&directory).is_empty()
        });
        if !gone {
            println!("processes of {directory} are left");
        }
        let groups = host::cgroups_named(&self.group);
        for pid in groups.iter().flat_map(|group| members(group)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        for line in host::mounts_with(&directory).iter().rev() {
            if let Some(point) = line.split(' ').nth(4) {
                let _ = unmount(point, UnmountFlags::DETACH);
            }
        }
        for group in &groups {
            eventually(5, || remove_group(group));
        }
    }
}

/// The processes with this text in their arguments, but for this one.
fn processes(text: &str) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let holds = line.windows(text.len().max(1)).any(|window| window == text.as_bytes());
        if holds && pid != rustix::process::getpid() {
            found.push(pid);
        }
    }
    found
}

fn directories(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn members(group: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = text.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw);
    own.chain(directories(group).flat_map(|below| members(&below))).collect()
}

/// Removes a control group with those below it; whether it is gone.
fn remove_group(group: &Path) -> bool {
    for below in directories(group) {
        remove_group(&below);
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

/// A daemon, ended with the value.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `ready` says that it answers.
    ///
    /// # Errors
    /// When it ends before, or does not within half a minute; with the last that it said.
    pub fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> Result<(), String> {
        let up = eventually(30, || ready() || self.child.try_wait().is_ok_and(|status| status.is_some()));
        if up && self.child.try_wait().is_ok_and(|status| status.is_none()) {
            return Ok(());
        }
        let said = self.log();
        Err(format!("{} does not come up here: {}", self.log.display(), said.lines().last().unwrap_or_default()))
    }

    /// Ends it: in peace, or after a while not.
    pub fn end(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if command::wait(&mut self.child, Duration::from_secs(15)).is_none() {
            command::kill_group(&self.child);
        }
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.end();
        }
    }
}
