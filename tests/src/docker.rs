//! A Docker daemon of the tests' own: with casemate as its runtime, or for what only `docker save` writes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::command::{self, Output};
use crate::engines::{Daemon, Place};
use crate::terminal::Terminal;
use crate::{images, lock};

/// Arguments of a command.
type Words<'a> = &'a [&'a str];

const LIMIT: Duration = Duration::from_secs(60);

/// A daemon that nobody else uses, with no network, and its client.
#[derive(Debug)]
pub struct Docker {
    // In this order: the daemon ends before what it keeps is taken away.
    daemon: Daemon,
    /// What it keeps.
    pub place: Place,
}

impl Docker {
    /// Starts a daemon whose containers casemate runs, with the image `busybox`. `--runtime hardened` is casemate with `--hardened`.
    ///
    /// # Errors
    /// In words for [`crate::skip`].
    pub fn start() -> Result<Self, String> {
        let docker = Self::start_with(|place| {
            json!({
                "runtimes": {
                    "casemate": {"path": place.at("casemate-oci")},
                    "hardened": {"path": place.at("casemate-oci-hardened")},
                },
                "default-runtime": "casemate",
                "cgroup-parent": format!("/{}", place.group()),
                "shutdown-timeout": 2,
            })
        })?;
        let archive = images::busybox();
        docker.try_run(&["import", &archive.display().to_string(), "busybox"])?;
        Ok(docker)
    }

    fn start_with(configuration: impl FnOnce(&Place) -> Value) -> Result<Self, String> {
        let place = Place::new(&["dockerd", "docker", "containerd"])?;
        let configuration = place.write("daemon.json", &configuration(&place).to_string());
        let mut command = place.command("dockerd");
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--config-file"]).arg(configuration);
        command.arg("--data-root").arg(place.at("data")).arg("--exec-root").arg(place.at("exec"));
        command.arg("--pidfile").arg(place.at("pid")).arg("--host").arg(format!("unix://{}", place.text("d.sock")));
        let daemon = place.daemon(&mut command, "dockerd")?;
        let mut docker = Self { daemon, place };
        let Self { daemon, place } = &mut docker;
        daemon.wait_until(|| place.at("d.sock").exists() && try_run(place, &["version"]).is_ok())?;
        Ok(docker)
    }

    /// A command of the client, not run yet.
    pub fn command(&self, words: Words<'_>) -> Command {
        client(&self.place, words)
    }

    /// Runs a command of the client.
    #[track_caller]
    pub fn call(&self, words: Words<'_>) -> Output {
        command::run(&mut self.command(words), None, LIMIT)
    }

    /// Runs a command of the client with something at its standard input.
    #[track_caller]
    pub fn feed(&self, words: Words<'_>, input: &str) -> Output {
        command::run(&mut self.command(words), Some(input.as_bytes().to_vec()), LIMIT)
    }

    /// A command of the client on a terminal.
    #[track_caller]
    pub fn type_into(&self, words: Words<'_>) -> Terminal {
        Terminal::start(&self.command(words), 80, 24)
    }

    /// `docker run --rm` with flags, of the image `busybox` with these words, without a network.
    #[track_caller]
    pub fn run(&self, flags: Words<'_>, words: Words<'_>) -> Output {
        self.call(&[&["run", "--rm", "--network=none"], flags, &["busybox"], words].concat())
    }

    /// Starts a container in the background.
    #[track_caller]
    pub fn launch(&self, name: &str, flags: Words<'_>, words: Words<'_>) {
        self.call(&[&["run", "--detach", "--network=none", "--name", name], flags, &["busybox"], words].concat()).ok();
    }

    /// What `docker inspect` says of a container, by a template.
    #[track_caller]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.call(&["inspect", "--format", template, name]).ok()
    }

    /// What the runtime has logged of a container that runs, as containerd keeps it.
    #[track_caller]
    pub fn runtime_log(&self, name: &str) -> String {
        let id = self.inspect(name, "{{.Id}}");
        let path = self.place.at("exec/containerd/daemon/io.containerd.runtime.v2.task/moby").join(id).join("log.json");
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Ends the daemon and asserts that nothing is left of its containers, which it was told to remove.
    #[track_caller]
    pub fn finish(mut self) {
        assert_eq!(self.call(&["ps", "--all", "--quiet"]).ok(), "", "these containers are left");
        self.daemon.end();
        self.place.expect_empty();
    }

    fn try_run(&self, words: Words<'_>) -> Result<String, String> {
        try_run(&self.place, words)
    }
}

fn client(place: &Place, words: Words<'_>) -> Command {
    let mut command = place.command("docker");
    command.env("DOCKER_CONFIG", place.at("client"));
    command.arg("--host").arg(format!("unix://{}", place.text("d.sock"))).args(words);
    command
}

fn try_run(place: &Place, words: Words<'_>) -> Result<String, String> {
    command::tool(&mut client(place, words), LIMIT)
}

/// The archive that `docker save` writes of the image in another archive.
///
/// # Errors
/// In words for [`crate::skip`].
pub fn save(archive: &Path, image: &str) -> Result<PathBuf, String> {
    lock::cached("docker-save.tar", &format!("1 {}", archive.display()), |path| {
        let docker = Docker::start_with(|_| json!({"storage-driver": "vfs"}))?;
        docker.try_run(&["load", "--input", &archive.display().to_string()])?;
        docker.try_run(&["save", "--output", &path.display().to_string(), image])?;
        Ok(())
    })
}
