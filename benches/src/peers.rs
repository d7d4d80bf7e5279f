//! The peers: how each is set up, runs a container, has one running, and is ended.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use crate::arguments::Request;
use crate::bundle;
use crate::error::{Error, Result};
use crate::report::Report;
use crate::rootfs::Stage;
use crate::spawn::{Invocation, WithoutUnified, installed};

/// The container that keeps running, for exec.
pub(crate) const RUNNING: &str = "bench-running";

/// A peer that was set up.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Whether it takes part in every round or only in some.
    pub(crate) slow: bool,
    /// Needs a mount namespace without the version 2 hierarchy.
    without_unified: bool,
    /// `run`; a name that is new each time is added where `names` says so.
    run: Invocation,
    run_tail: Vec<String>,
    names: bool,
    /// Starts a container that keeps running, in the background.
    start: Option<Invocation>,
    /// Executes `true` in it.
    exec: Option<Invocation>,
    /// Ends it.
    end: Option<Invocation>,
    /// Says the number of its first process.
    pid: Option<Invocation>,
}

/// All peers of a run.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) all: Vec<Peer>,
    unified: Option<WithoutUnified>,
    dockerd: Option<Child>,
    log: PathBuf,
}

impl Peers {
    /// Sets every peer up that is installed. One that can't be set up is left out, with the reason in the report.
    pub(crate) fn set_up(request: &Request, stage: &Stage, report: &mut Report) -> Result<Self> {
        let mut peers = Self {
            all: Vec::new(),
            unified: WithoutUnified::make()?,
            dockerd: None,
            log: stage.directory.join("peers.log"),
        };
        for name in ["crun", "runc", "bwrap", "podman", "docker"] {
            if request.without.iter().any(|without| without == name) {
                report.note(format!("{name}: left out as asked"));
                continue;
            }
            if !installed(name) {
                report.note(format!("{name}: not installed"));
                continue;
            }
            match peers.set_up_one(name, stage) {
                Ok(peer) => peers.all.push(peer),
                Err(error) => report.note(format!("{name}: {error}")),
            }
        }
        match &request.kern {
            None => report.note("kern: no binary was given (--kern)".to_owned()),
            Some(binary) => match kern(binary, stage) {
                Ok(peer) => peers.all.push(peer),
                Err(error) => report.note(format!("kern: {error}")),
            },
        }
        Ok(peers)
    }

    fn set_up_one(&mut self, name: &'static str, stage: &Stage) -> Result<Peer> {
        match name {
            "crun" | "runc" => runtime(name, stage),
            "bwrap" => Ok(bwrap(stage)),
            "podman" => podman(stage),
            _ => self.docker(stage),
        }
    }

    /// Runs a container of the peer's and waits for its end.
    pub(crate) fn run(&self, peer: &Peer, turn: usize) -> Result<Duration> {
        let invocation = peer.run_invocation(turn);
        self.within(peer, || invocation.timed())
    }

    /// Has a container running; says which peers can.
    pub(crate) fn start(&self, peer: &Peer) -> Result<()> {
        let start = peer.start.as_ref().ok_or_else(|| Error::new("it has no exec"))?;
        self.within(peer, || start.background(&self.log).map(drop))?;
        // A container in the foreground is there when its state says so.
        let exec = peer.exec.as_ref().ok_or_else(|| Error::new("it has no exec"))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.within(peer, || exec.output()) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Executes `true` in the running container.
    pub(crate) fn exec(&self, peer: &Peer) -> Result<Duration> {
        let exec = peer.exec.as_ref().ok_or_else(|| Error::new("it has no exec"))?;
        self.within(peer, || exec.timed())
    }

    /// The first process of the running container.
    pub(crate) fn pid(&self, peer: &Peer) -> Option<u32> {
        self.within(peer, || peer.pid.as_ref().ok_or_else(|| Error::new("it does not say"))?.output())
            .ok()?
            .parse()
            .ok()
    }

    /// Ends the running container.
    pub(crate) fn end(&self, peer: &Peer) {
        if let Some(end) = &peer.end {
            let _ = self.within(peer, || end.output());
        }
    }

    fn within<T>(&self, peer: &Peer, action: impl FnOnce() -> Result<T>) -> Result<T> {
        match &self.unified {
            Some(namespace) if peer.without_unified => namespace.within(action),
            _ => action(),
        }
    }

    /// Ends what was started for the peers.
    pub(crate) fn tear_down(&mut self) {
        if let Some(mut dockerd) = self.dockerd.take() {
            let pid = dockerd.id().to_string();
            let _ = Invocation::new("kill", &[&pid]).output();
            let _ = dockerd.wait();
        }
    }

    fn docker(&mut self, stage: &Stage) -> Result<Peer> {
        if !installed("dockerd") {
            return Err(Error::new("its daemon is not installed"));
        }
        let socket = format!("unix://{}", stage.path("docker.sock"));
        let daemon = Invocation::new(
            "dockerd",
            &[
                "--data-root",
                &stage.path("docker"),
                "--exec-root",
                &stage.path("docker-run"),
                "--pidfile",
                &stage.path("docker.pid"),
                "--host",
                &socket,
                "--iptables=false",
                "--ip6tables=false",
                "--bridge=none",
            ],
        );
        self.dockerd = Some(daemon.background(&stage.directory.join("dockerd.log"))?);
        let docker = |arguments: &[&str]| Invocation::new("docker", &[&["--host", &socket], arguments].concat());
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = docker(&["version"]).output() {
            if Instant::now() > deadline {
                return Err(Error::new(format!("its daemon does not answer: {error}")));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        docker(&["import", &stage.archive.to_string_lossy(), "bench"]).output()?;
        Ok(Peer {
            name: "docker",
            slow: true,
            without_unified: false,
            run: docker(&["run", "--rm", "--network", "none", "bench", "true"]),
            run_tail: Vec::new(),
            names: false,
            start: Some(docker(&[
                "run",
                "--detach",
                "--network",
                "none",
                "--name",
                RUNNING,
                "bench",
                "sleep",
                "100000",
            ])),
            exec: Some(docker(&["exec", RUNNING, "true"])),
            end: Some(docker(&["rm", "--force", RUNNING])),
            pid: Some(docker(&["inspect", "--format", "{{.State.Pid}}", RUNNING])),
        })
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.tear_down();
    }
}

impl Peer {
    /// Whether it can have a container running and execute in it.
    pub(crate) fn has_exec(&self) -> bool {
        self.exec.is_some()
    }

    fn run_invocation(&self, turn: usize) -> Invocation {
        let mut arguments = self.run.arguments.clone();
        if self.names {
            arguments.push(format!("bench-{turn}"));
        }
        arguments.extend(self.run_tail.iter().cloned());
        Invocation { program: self.run.program.clone(), arguments, environment: self.run.environment.clone() }
    }
}

/// A bare OCI runtime, with the bundle that `runc spec` writes.
fn runtime(name: &'static str, stage: &Stage) -> Result<Peer> {
    let short = bundle::make(stage, "bundle-true", &["/bin/true"])?;
    let long = bundle::make(stage, "bundle-sleep", &["/bin/sleep", "100000"])?;
    let state = stage.path(&format!("{name}-state"));
    let call = |arguments: &[&str]| Invocation::new(name, &[&["--root", &state], arguments].concat());
    let kill = format!("{name} --root {state} delete --force {RUNNING}");
    Ok(Peer {
        name,
        slow: false,
        without_unified: name == "crun",
        run: call(&["run", "--bundle", &short]),
        run_tail: Vec::new(),
        names: true,
        start: Some(call(&["run", "--bundle", &long, RUNNING])),
        exec: Some(call(&["exec", RUNNING, "/bin/true"])),
        end: Some(Invocation::new("sh", &["-c", &kill])),
        pid: None,
    })
}

fn bwrap(stage: &Stage) -> Peer {
    let root = stage.rootfs.to_string_lossy().into_owned();
    let arguments = [
        "--unshare-all",
        "--unshare-user",
        "--uid",
        "0",
        "--gid",
        "0",
        "--ro-bind",
        &root,
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
        "--tmpfs",
        "/run",
        "--die-with-parent",
        "/bin/true",
    ];
    Peer {
        name: "bwrap",
        slow: false,
        without_unified: false,
        run: Invocation::new("bwrap", &arguments),
        run_tail: Vec::new(),
        names: false,
        start: None,
        exec: None,
        end: None,
        pid: None,
    }
}

fn podman(stage: &Stage) -> Result<Peer> {
    let (root, run_root) = (stage.path("podman"), stage.path("podman-run"));
    // Debian's crun refuses hybrid hosts, and podman's default limits are above what this kind of host permits.
    let podman = |arguments: &[&str]| {
        let global = [
            "--root",
            &root,
            "--runroot",
            &run_root,
            "--runtime",
            "runc",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "none",
        ];
        Invocation::new("podman", &[&global, arguments].concat())
    };
    podman(&["import", &stage.archive.to_string_lossy(), "bench"]).output()?;
    let limits = ["--network", "none", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=10000:10000"];
    Ok(Peer {
        name: "podman",
        slow: true,
        without_unified: false,
        run: podman(&[&["run", "--rm"], &limits[..], &["bench", "true"]].concat()),
        run_tail: Vec::new(),
        names: false,
        start: Some(podman(
            &[&["run", "--detach", "--name", RUNNING], &limits[..], &["bench", "sleep", "100000"]].concat(),
        )),
        exec: Some(podman(&["exec", RUNNING, "true"])),
        end: Some(podman(&["rm", "--force", "--time", "0", RUNNING])),
        pid: Some(podman(&["inspect", "--format", "{{.State.Pid}}", RUNNING])),
    })
}

/// kern takes images in `docker save`'s format; podman writes one.
fn kern(binary: &Path, stage: &Stage) -> Result<Peer> {
    if !binary.exists() {
        return Err(Error::new(format!("{} is missing", binary.display())));
    }
    let (root, run_root, archive) =
        (stage.path("kern-podman"), stage.path("kern-podman-run"), stage.path("kern-image.tar"));
    let podman = |arguments: &[&str]| {
        Invocation::new("podman", &[&["--root", &root, "--runroot", &run_root], arguments].concat())
    };
    podman(&["import", &stage.archive.to_string_lossy(), "bench:latest"]).output()?;
    podman(&["save", "--format", "docker-archive", "--output", &archive, "bench:latest"]).output()?;
    let home = stage.path("kern-home");
    std::fs::create_dir_all(&home).map_err(|error| Error::new(format!("making {home}: {error}")))?;
    let call = |arguments: &[&str]| Invocation::new(binary.to_string_lossy(), arguments).env("HOME", home.clone());
    call(&["load", "-i", &archive]).output()?;
    let image = ["--image", "localhost/bench:latest", "--pull", "never", "--quiet", "--allow-uncapped"];
    let tail = [&image[..], &["--", "/bin/true"]].concat();
    Ok(Peer {
        name: "kern",
        slow: false,
        without_unified: false,
        run: call(&["box"]),
        run_tail: tail.iter().map(ToString::to_string).collect(),
        names: true,
        start: Some(call(&[&["box", RUNNING, "--detach"], &image[..], &["--", "/bin/sleep", "100000"]].concat())),
        exec: Some(call(&["exec", RUNNING, "--", "/bin/true"])),
        end: Some(call(&["stop", RUNNING])),
        pid: None,
    })
}
