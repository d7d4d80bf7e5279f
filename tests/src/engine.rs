//! An engine of its own for each test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::command::{self, LIMIT, Output};
use crate::{host, images};

/// Arguments of a command.
type Words<'a> = &'a [&'a str];

/// A data root, a run root and a configuration, and the binary that uses them.
#[derive(Debug)]
pub struct Engine {
    directory: tempfile::TempDir,
    binary: PathBuf,
    data: PathBuf,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// An engine without images.
    pub fn empty() -> Self {
        Self::made(None)
    }

    /// An engine without images whose data is in `data`.
    pub fn with_data(data: &Path) -> Self {
        Self::made(Some(data))
    }

    fn made(data: Option<&Path>) -> Self {
        assert!(rustix::process::geteuid().is_root(), "the end-to-end tests need root: they start containers");
        // Short, because paths of sockets are.
        let directory = tempfile::Builder::new().prefix("cm").tempdir_in("/tmp").expect("/tmp can be written to");
        let data = data.map_or_else(|| directory.path().join("data"), Path::to_path_buf);
        Self { directory, binary: crate::binary(), data }
    }

    /// An engine that has the image `busybox`.
    #[track_caller]
    pub fn new() -> Self {
        let engine = Self::empty();
        engine.import_busybox();
        engine
    }

    /// Uses another binary from here on.
    pub fn use_binary(&mut self, binary: &Path) {
        self.binary = binary.to_path_buf();
    }

    /// Uses a copy of the binary from here on, so that what happens to it happens to no other test, and gives its path.
    pub fn use_copy(&mut self) -> PathBuf {
        let copy = self.scratch().join("casemate");
        fs::copy(&self.binary, &copy).expect("the binary can be copied");
        self.binary.clone_from(&copy);
        copy
    }

    /// Imports the image `busybox`.
    #[track_caller]
    pub fn import_busybox(&self) {
        let archive = images::busybox();
        self.run(&["import", "--change", "CMD [\"/bin/sh\"]", &archive.display().to_string(), "busybox"]).ok();
    }

    /// A directory for the test's own files.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Makes a file in the scratch directory, and gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.scratch().join(name);
        fs::write(&path, content).expect("the scratch directory can be written to");
        path.display().to_string()
    }

    /// Makes a directory in the scratch directory, and gives its path.
    pub fn directory(&self, name: &str) -> String {
        let path = self.scratch().join(name);
        fs::create_dir_all(&path).expect("the scratch directory can be written to");
        path.display().to_string()
    }

    /// Where images and containers are.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where the live state is.
    pub fn run_root(&self) -> PathBuf {
        self.scratch().join("run")
    }

    /// Writes the host's policy.
    pub fn policy(&self, text: &str) {
        fs::create_dir_all(self.scratch().join("etc")).expect("the scratch directory can be written to");
        self.file("etc/policy.toml", text);
    }

    /// The variable that all processes of this engine have in their environment.
    pub fn mark(&self) -> String {
        format!("CASEMATE_RUN_ROOT={}", self.run_root().display())
    }

    /// A command of this engine, not run yet.
    pub fn command(&self, words: Words<'_>) -> Command {
        let mut command = Command::new(&self.binary);
        self.environment(&mut command);
        command.args(words);
        command
    }

    /// Gives a program the environment that makes any casemate it starts one of this engine.
    pub fn environment(&self, command: &mut Command) {
        command
            .env("CASEMATE_ROOT", &self.data)
            .env("CASEMATE_RUN_ROOT", self.run_root())
            .env("CASEMATE_CONFIG", self.scratch().join("etc"))
            .current_dir(self.scratch());
    }

    /// Runs a command.
    #[track_caller]
    pub fn run(&self, words: Words<'_>) -> Output {
        command::run(&mut self.command(words), None, LIMIT)
    }

    /// Runs a command with something on its standard input.
    #[track_caller]
    pub fn run_with_input(&self, words: Words<'_>, input: impl Into<Vec<u8>>) -> Output {
        command::run(&mut self.command(words), Some(input.into()), LIMIT)
    }

    /// Runs a command with another time limit.
    #[track_caller]
    pub fn run_within(&self, words: Words<'_>, seconds: u64) -> Output {
        command::run(&mut self.command(words), None, Duration::from_secs(seconds))
    }

    /// Runs a shell command in a new container of `busybox` that is removed afterwards: `flags` are those of `run`.
    #[track_caller]
    pub fn sh(&self, flags: Words<'_>, script: &str) -> Output {
        let words: Vec<&str> =
            ["run", "--rm"].iter().chain(flags).chain(&["busybox", "sh", "-c", script]).copied().collect();
        self.run(&words)
    }

    /// Starts a container of `busybox` in the background that sleeps.
    #[track_caller]
    pub fn sleeper(&self, name: &str, flags: Words<'_>) -> Running<'_> {
        self.background(name, flags, &["sleep", "1000"])
    }

    /// Starts a container of `busybox` in the background.
    #[track_caller]
    pub fn background(&self, name: &str, flags: Words<'_>, program: Words<'_>) -> Running<'_> {
        let begin = ["run", "-d", "--name", name];
        let words: Vec<&str> = begin.iter().chain(flags).chain(&["busybox"]).chain(program).copied().collect();
        let id = self.run(&words).ok();
        assert_eq!(id.len(), 64, "run -d prints the id: {id:?}");
        Running { engine: self, id }
    }

    /// Starts a command that goes on while the test does other things.
    #[track_caller]
    pub fn spawn(&self, words: Words<'_>) -> Child {
        let mut command = self.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary can be run")
    }

    /// What `inspect` says of a container or image.
    #[track_caller]
    pub fn inspect(&self, name: &str) -> Value {
        let text = self.run(&["inspect", name]).ok();
        let all: Value = serde_json::from_str(&text).expect("inspect prints JSON");
        all[0].clone()
    }

    /// One value that `inspect` gives through a template.
    #[track_caller]
    pub fn field(&self, name: &str, template: &str) -> String {
        self.run(&["inspect", "--format", template, name]).ok()
    }

    /// What is left of containers that ended and were removed: there must be nothing.
    pub fn left_over(&self) -> Vec<String> {
        let mut left = Vec::new();
        let directories = [
            self.data.join("containers"),
            self.data.join("claims/names"),
            self.data.join("claims/ids"),
            self.run_root(),
        ];
        for directory in directories {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                // What all containers share is no left-over of one.
                if entry.file_name() != "shared" {
                    left.push(entry.path().display().to_string());
                }
            }
        }
        left.extend(host::processes_with(&self.mark()).iter().map(|pid| format!("process {pid}")));
        left.extend(host::mounts_with(&self.scratch().display().to_string()));
        left
    }

    /// Asserts that nothing is left of any container, at the latest after some moments.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let clean = crate::eventually(5, || self.left_over().is_empty());
        assert!(clean, "left over: {:#?}", self.left_over());
    }

    fn container_ids(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data.join("containers")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let ids = self.container_ids();
        if !ids.is_empty() {
            let mut words = vec!["rm", "-f", "-v"];
            words.extend(ids.iter().map(String::as_str));
            let mut command = self.command(&words);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if let Ok(mut child) = command.spawn()
                && command::wait(&mut child, Duration::from_secs(20)).is_none()
            {
                let _ = child.kill();
            }
        }
        // What the engine could not end, a test that failed may have left: by the ids of ours only.
        for pid in host::processes_with(&self.mark()) {
            kill(pid);
        }
        for id in ids {
            for cgroup in host::cgroups_named(&id) {
                let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
                processes.lines().filter_map(|pid| pid.parse().ok()).for_each(kill);
                crate::eventually(2, || fs::remove_dir(&cgroup).is_ok() || !cgroup.exists());
            }
        }
    }
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone already.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// A container that was started in the background.
#[derive(Debug)]
pub struct Running<'a> {
    engine: &'a Engine,
    /// Its id.
    pub id: String,
}

impl Running<'_> {
    /// Its first process, as the host counts.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        let pid = self.engine.field(&self.id, "{{.State.Pid}}").parse().expect("a number");
        assert_ne!(pid, 0, "the container runs");
        pid
    }

    /// Runs a shell command in it.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Output {
        self.engine.run(&["exec", &self.id, "sh", "-c", script])
    }

    /// Ends and removes it.
    #[track_caller]
    pub fn remove(&self) {
        self.engine.run(&["rm", "-f", &self.id]).ok();
    }
}
