//! A Docker daemon of the tests' own, for what only `docker save` writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{command, lock, missing, program};

const LIMIT: Duration = Duration::from_secs(60);

struct Daemon {
    child: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // SIGTERM: it ends its own containerd.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if command::wait(&mut self.child, Duration::from_secs(15)).is_none() {
            command::kill_group(&self.child);
        }
        let _ = self.child.wait();
    }
}

/// The archive that `docker save` writes of the image in another archive.
///
/// # Errors
/// In words for [`crate::skip`].
pub fn save(archive: &Path, image: &str) -> Result<PathBuf, String> {
    if let Some(reason) = missing(&["dockerd", "docker", "containerd"]) {
        return Err(reason);
    }
    lock::cached("docker-save.tar", &format!("1 {}", archive.display()), |path| {
        let directory = tempfile::Builder::new().prefix("dk").tempdir_in("/tmp").map_err(|error| error.to_string())?;
        let socket = directory.path().join("d.sock");
        let log = fs::File::create(directory.path().join("log")).map_err(|error| error.to_string())?;
        let second = log.try_clone().map_err(|error| error.to_string())?;
        let mut daemon = Command::new(program("dockerd").unwrap_or_else(|| "dockerd".into()));
        let at = |name: &str| directory.path().join(name);
        daemon.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs", "--data-root"]);
        daemon.arg(at("data")).arg("--exec-root").arg(at("exec")).arg("--pidfile").arg(at("pid"));
        daemon.arg("--host").arg(format!("unix://{}", socket.display()));
        std::os::unix::process::CommandExt::process_group(&mut daemon, 0);
        let child = daemon
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(second)
            .spawn()
            .map_err(|error| format!("dockerd: {error}"))?;
        let _daemon = Daemon { child };
        let docker = |words: &[&str]| {
            let mut command = Command::new("docker");
            command.arg("--host").arg(format!("unix://{}", socket.display()));
            command.env("DOCKER_CONFIG", directory.path()).args(words);
            command::tool(&mut command, LIMIT)
        };
        let up = crate::eventually(30, || socket.exists() && docker(&["version"]).is_ok());
        if !up {
            let said = fs::read_to_string(at("log")).unwrap_or_default();
            return Err(format!("dockerd does not come up here: {}", said.lines().last().unwrap_or_default()));
        }
        docker(&["load", "--input", &archive.display().to_string()])?;
        docker(&["save", "--output", &path.display().to_string(), image])?;
        Ok(())
    })
}
