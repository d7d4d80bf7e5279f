//! OCI bundles, and the runtime that runs them: `casemate oci`, with a state directory of its own.
//!
//! `CASEMATE_OCI_RUNTIME` names another runtime with runc's commands to try a test with: whether a test that fails is wrong itself.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, chown, lchown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::command::{self, LIMIT, Output};
use crate::{host, images};

/// Arguments of a command.
type Words<'a> = &'a [&'a str];

/// What Docker gives a container that asks for nothing.
pub const DOCKER_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The host's id that is 0 in a container with [`Bundle::user_namespace`].
pub const FIRST_ID: u32 = 700_000;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A runtime with a state directory of its own, taken down with all its containers.
#[derive(Debug)]
pub struct Runtime {
    directory: tempfile::TempDir,
    program: Vec<OsString>,
}

impl Default for Runtime {
    fn default() -> Self {
        Self::new()
    }
}

impl Runtime {
    /// `casemate oci`, or what `CASEMATE_OCI_RUNTIME` names.
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "the end-to-end tests need root: they start containers");
        let directory = tempfile::Builder::new().prefix("cm").tempdir_in("/tmp").expect("/tmp can be written to");
        // A container's user of another id must find the way to its root file system.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let program = match std::env::var_os("CASEMATE_OCI_RUNTIME") {
            Some(other) => vec![other],
            None => vec![crate::binary().into_os_string(), "oci".into()],
        };
        Self { directory, program }
    }

    /// The same state, by another program: `casemate-oci` as the name the binary is called by, or a copy.
    #[must_use]
    pub fn by(mut self, program: &[&str]) -> Self {
        self.program = program.iter().map(OsString::from).collect();
        self
    }

    /// Uses a copy of the runtime from here on, so that what happens to it happens to no other test, and gives its path.
    pub fn use_copy(&mut self) -> PathBuf {
        let copy = self.scratch().join("runtime");
        fs::copy(&self.program[0], &copy).expect("the runtime can be copied");
        self.program[0] = copy.clone().into_os_string();
        copy
    }

    /// The file that is executed.
    pub fn program(&self) -> &Path {
        Path::new(&self.program[0])
    }

    /// A directory for the test's own files.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// The state directory (`--root`).
    pub fn root(&self) -> PathBuf {
        self.scratch().join("state")
    }

    /// A command of the runtime, not run yet.
    pub fn command(&self, words: Words<'_>) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).arg("--root").arg(self.root()).args(words).current_dir(self.scratch());
        command
    }

    /// Runs a command. It must not leave a container behind that has its output: [`Bundle::create`] is for that.
    #[track_caller]
    pub fn run(&self, words: Words<'_>) -> Output {
        command::run(&mut self.command(words), None, LIMIT)
    }

    /// Runs a command that leaves something running: it writes to files.
    #[track_caller]
    pub fn run_detached(&self, words: Words<'_>, directory: &Path) -> Output {
        let mut command = self.command(words);
        let (stdout, stderr) = (directory.join("stdout"), directory.join("stderr"));
        let line = command::line(&command);
        let file = |path: &Path| File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        command.stdin(Stdio::null()).stdout(file(&stdout)).stderr(file(&stderr)).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let status = command::wait(&mut child, LIMIT).unwrap_or_else(|| {
            let _ = child.kill();
            panic!("{line}\nstill ran after {LIMIT:?}: {}", fs::read_to_string(&stderr).unwrap_or_default())
        });
        let bytes = fs::read(&stdout).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&fs::read(&stderr).unwrap_or_default()).into_owned();
        Output { line, code: command::code(status), bytes, stderr }
    }

    /// A bundle that runs `sh` of busybox as root in namespaces of its own (but for users), with what Docker gives by default.
    #[track_caller]
    pub fn bundle(&self) -> Bundle<'_> {
        let id = format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = self.scratch().join(&id);
        let rootfs = directory.join("rootfs");
        fs::create_dir_all(&rootfs).expect("the scratch directory can be written to");
        let file = File::open(images::busybox()).expect("the archive was made");
        let mut archive = tar::Archive::new(file);
        archive.set_preserve_permissions(true);
        archive.set_preserve_ownerships(true);
        archive.set_preserve_mtime(false);
        archive.unpack(&rootfs).expect("the archive can be unpacked");
        Bundle { runtime: self, config: config(&id), id, directory }
    }
}

/// A directory with a root file system and a `config.json`, and the container that is made of it.
#[derive(Debug)]
pub struct Bundle<'a> {
    runtime: &'a Runtime,
    /// The container's id, and the name of its control group.
    pub id: String,
    /// What is written to `config.json` before each `create` and `run`.
    pub config: Value,
    directory: PathBuf,
}

impl Bundle<'_> {
    /// The bundle's directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its root file system.
    pub fn rootfs(&self) -> PathBuf {
        self.directory.join("rootfs")
    }

    /// Changes the specification.
    #[must_use]
    pub fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Runs this program.
    #[must_use]
    pub fn args(self, args: Words<'_>) -> Self {
        self.edit(|config| config["process"]["args"] = json!(args))
    }

    /// Runs this shell command.
    #[must_use]
    pub fn sh(self, script: &str) -> Self {
        self.args(&["/bin/sh", "-c", script])
    }

    /// Sleeps, so that something else can be done in it.
    #[must_use]
    pub fn sleeping(self) -> Self {
        self.args(&["/bin/sleep", "1000"])
    }

    /// Gives these capabilities in the bounding, permitted and effective set, and no others.
    #[must_use]
    pub fn capabilities(self, names: Words<'_>) -> Self {
        self.edit(|config| {
            config["process"]["capabilities"] = json!({"bounding": names, "permitted": names, "effective": names});
        })
    }

    /// Adds a mount.
    #[must_use]
    pub fn mount(self, mount: Value) -> Self {
        self.edit(|config| config["mounts"].as_array_mut().expect("mounts").push(mount))
    }

    /// Adds a bind mount of a file or directory of the host.
    #[must_use]
    pub fn bind(self, source: &Path, destination: &str, options: Words<'_>) -> Self {
        let options: Vec<&str> = ["rbind"].iter().chain(options).copied().collect();
        self.mount(json!({"type": "bind", "source": source, "destination": destination, "options": options}))
    }

    /// Gives it a user namespace of 65 536 ids from [`FIRST_ID`], and the root file system to its root.
    #[must_use]
    pub fn user_namespace(self) -> Self {
        give(&self.rootfs());
        self.edit(|config| {
            let map = json!([{"containerID": 0, "hostID": FIRST_ID, "size": 65_536}]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
            config["linux"]["namespaces"].as_array_mut().expect("namespaces").push(json!({"type": "user"}));
        })
    }

    /// Writes `config.json`.
    pub fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.config).expect("JSON");
        fs::write(self.directory.join("config.json"), text).expect("the bundle can be written to");
    }

    /// Runs the container to its end: `run`.
    #[track_caller]
    pub fn run(&self) -> Output {
        self.run_with(&[])
    }

    /// Runs the container to its end, with flags of `run`.
    #[track_caller]
    pub fn run_with(&self, flags: Words<'_>) -> Output {
        self.write();
        self.runtime.run(&self.words("run", flags))
    }

    /// Starts `run`, which goes on while the test does other things.
    #[track_caller]
    pub fn spawn(&self) -> Child {
        self.write();
        let mut command = self.runtime.command(&self.words("run", &[]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the runtime can be run")
    }

    /// Makes the container: `create`. Standard output and error of its process are the files `stdout` and `stderr` of the bundle.
    #[track_caller]
    pub fn create(&self) -> Output {
        self.create_with(&[])
    }

    /// Makes the container, with flags of `create`.
    #[track_caller]
    pub fn create_with(&self, flags: Words<'_>) -> Output {
        self.write();
        self.runtime.run_detached(&self.words("create", flags), &self.directory)
    }

    /// Starts the program of a container that was made.
    #[track_caller]
    pub fn start(&self) -> Output {
        self.runtime.run(&["start", &self.id])
    }

    /// Makes and starts the container: `run --detach`.
    #[track_caller]
    pub fn launch(&self) {
        self.write();
        self.runtime.run_detached(&self.words("run", &["--detach"]), &self.directory).expect(0);
    }

    fn words<'w>(&'w self, command: &'w str, flags: Words<'w>) -> Vec<&'w str> {
        let directory = self.directory.to_str().expect("a path of ours");
        let mut words = vec![command, "--bundle", directory];
        words.extend(flags);
        words.push(&self.id);
        words
    }

    /// Runs a program in it: `exec` with flags, and the program's words.
    #[track_caller]
    pub fn exec(&self, flags: Words<'_>, program: Words<'_>) -> Output {
        let words: Vec<&str> =
            ["exec"].iter().chain(flags).chain(&[self.id.as_str()]).chain(program).copied().collect();
        self.runtime.run(&words)
    }

    /// Runs a shell command in it.
    #[track_caller]
    pub fn exec_sh(&self, script: &str) -> Output {
        self.exec(&[], &["/bin/sh", "-c", script])
    }

    /// What `state` says.
    #[track_caller]
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.runtime.run(&["state", &self.id]).ok()).expect("state prints JSON")
    }

    /// Its first process, as the host counts.
    #[track_caller]
    pub fn pid(&self) -> u32 {
        let pid = self.state()["pid"].as_u64().expect("a pid");
        u32::try_from(pid).expect("a pid")
    }

    /// What the process has written to its standard output since [`create`](Self::create).
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.directory.join("stdout")).unwrap_or_default()
    }

    /// What the process has written to its standard error since [`create`](Self::create).
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.directory.join("stderr")).unwrap_or_default()
    }

    /// Waits until the container has ended.
    #[track_caller]
    pub fn wait(&self) {
        assert!(crate::eventually(20, || self.state()["status"] == "stopped"), "{} still runs", self.id);
    }

    /// Kills and removes the container: `delete --force`.
    #[track_caller]
    pub fn delete(&self) {
        self.runtime.run(&["delete", "--force", &self.id]).ok();
    }

    /// What is left of the container: there must be nothing when it was deleted.
    pub fn left_over(&self) -> Vec<String> {
        let mut left: Vec<String> =
            host::cgroups_named(&self.id).iter().map(|path| path.display().to_string()).collect();
        left.extend(host::mounts_with(&self.directory.display().to_string()));
        if self.runtime.root().join(&self.id).exists() {
            left.push(self.runtime.root().join(&self.id).display().to_string());
        }
        left
    }
}

impl Drop for Bundle<'_> {
    fn drop(&mut self) {
        let mut command = self.runtime.command(&["delete", "--force", &self.id]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut child) = command.spawn()
            && command::wait(&mut child, Duration::from_secs(20)).is_none()
        {
            let _ = child.kill();
        }
        // What the runtime could not end, a test that failed may have left: by the container's own control groups only.
        for cgroup in host::cgroups_named(&self.id) {
            crate::eventually(2, || {
                let processes = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
                for pid in processes.lines().filter_map(|pid| pid.parse().ok()).filter_map(Pid::from_raw) {
                    // It may be gone already.
                    let _ = kill_process(pid, Signal::KILL);
                }
                fs::remove_dir(&cgroup).is_ok() || !cgroup.exists()
            });
        }
    }
}

/// A tmpfs, for [`Bundle::mount`].
pub fn tmpfs(destination: &str, options: Words<'_>) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}

/// A bind mount whose options say so, for [`Bundle::mount`].
pub fn bind(source: &Path, destination: &str, options: Words<'_>) -> Value {
    json!({"destination": destination, "type": "none", "source": source, "options": options})
}

/// Runs the bundle, which must fail and say these words; nothing is left of it.
#[track_caller]
pub fn refused(bundle: &Bundle<'_>, words: Words<'_>) {
    let output = bundle.run();
    assert_ne!(output.code, 0, "{output:?}");
    // In a log line quotes are escaped.
    let said = output.stderr.replace("\\\"", "\"");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    assert_eq!(bundle.left_over(), Vec::<String>::new());
}

/// Gives a tree to the root of [`Bundle::user_namespace`].
fn give(path: &Path) {
    let metadata = path.symlink_metadata().expect("what was unpacked");
    if metadata.is_symlink() {
        lchown(path, Some(FIRST_ID), Some(FIRST_ID)).expect("an owner");
        return;
    }
    chown(path, Some(FIRST_ID), Some(FIRST_ID)).expect("an owner");
    // A change of owner takes set-user-id bits away.
    fs::set_permissions(path, metadata.permissions()).expect("a mode");
    if metadata.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            give(&entry.expect("an entry").path());
        }
    }
}

/// The specification that `runc spec` writes, with Docker's capabilities and no terminal.
fn config(id: &str) -> Value {
    let mount = |destination: &str, kind: &str, options: Words<'_>| {
        let source = if kind == "cgroup" || kind == "tmpfs" && destination == "/dev/shm" {
            destination.rsplit('/').next().unwrap_or(kind)
        } else {
            kind
        };
        json!({"destination": destination, "type": kind, "source": source, "options": options})
    };
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "bundle",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": DOCKER_CAPABILITIES,
                "permitted": DOCKER_CAPABILITIES,
                "effective": DOCKER_CAPABILITIES,
            },
            "noNewPrivileges": true,
        },
        "mounts": [
            mount("/proc", "proc", &[]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": {
            "cgroupsPath": format!("/{id}"),
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"},
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
