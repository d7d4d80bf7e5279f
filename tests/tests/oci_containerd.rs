//! containerd's shim with casemate as its runtime, driven by `ctr`.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use casemate_tests::command::{self, LIMIT, Output};
use casemate_tests::engines::{Daemon, Place};
use casemate_tests::terminal::Terminal;
use casemate_tests::{eventually, host, images, skip};
use serde_json::json;

/// A containerd of the test's own, with the image `busybox`.
struct Containerd {
    // In this order: the daemon ends before what it keeps is taken away.
    daemon: Daemon,
    place: Place,
}

const IMAGE: &str = "localhost/busybox:latest";

impl Containerd {
    fn start() -> Option<Self> {
        Self::try_start().map_err(|reason| skip(&reason)).ok()
    }

    fn try_start() -> Result<Self, String> {
        let place = Place::new(&["containerd", "ctr"])?;
        let configuration = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            place.at("root"),
            place.at("state"),
            place.at("c.sock"),
            place.at("t.sock")
        );
        let configuration = place.write("config.toml", &configuration);
        let mut command = place.command("containerd");
        command.arg("--config").arg(configuration);
        let daemon = place.daemon(&mut command, "containerd")?;
        let mut containerd = Self { daemon, place };
        let Self { daemon, place } = &mut containerd;
        daemon.wait_until(|| place.at("c.sock").exists() && try_ctr(place, &["version"]).is_ok())?;
        containerd.import()?;
        Ok(containerd)
    }

    fn import(&self) -> Result<(), String> {
        let layer = std::fs::read(images::busybox()).map_err(|error| error.to_string())?;
        let layout = self.place.at("layout");
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": {"Env": ["PATH=/bin:/usr/bin"], "Cmd": ["sh"]},
        });
        casemate_tests::archive::oci_layout(&layout, IMAGE, &layer, &config);
        let archive = self.place.at("busybox.tar");
        let mut builder = tar::Builder::new(File::create(&archive).map_err(|error| error.to_string())?);
        builder.append_dir_all(".", &layout).and_then(|()| builder.finish()).map_err(|error| error.to_string())?;
        try_ctr(&self.place, &["images", "import", &archive.display().to_string()]).map(drop)
    }

    fn command(&self, words: &[&str]) -> Command {
        ctr(&self.place, words)
    }

    #[track_caller]
    fn call(&self, words: &[&str]) -> Output {
        command::run(&mut self.command(words), None, LIMIT)
    }

    fn words<'a>(&self, id: &'a str, flags: &[&'a str], program: &[&'a str]) -> Vec<String> {
        let group = format!("--cgroup=/{}/{id}", self.place.group());
        let runtime = format!("--runc-binary={}", self.place.text("casemate-oci"));
        let root = format!("--runc-root={}", self.place.text("runtime"));
        let front = ["run", &group, &runtime, &root].map(str::to_owned);
        front.into_iter().chain([flags, &[IMAGE, id], program].concat().into_iter().map(str::to_owned)).collect()
    }

    #[track_caller]
    fn run(&self, id: &str, flags: &[&str], program: &[&str]) -> Output {
        let words = self.words(id, &[&["--rm"], flags].concat(), program);
        self.call(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    #[track_caller]
    fn finish(mut self) {
        assert_eq!(self.call(&["containers", "list", "--quiet"]).ok(), "", "these containers are left");
        self.daemon.end();
        self.place.expect_empty();
    }
}

fn ctr(place: &Place, words: &[&str]) -> Command {
    let mut command = place.command("ctr");
    command.arg("--address").arg(place.at("c.sock")).args(["--namespace", "casemate-test"]).args(words);
    command
}

fn try_ctr(place: &Place, words: &[&str]) -> Result<String, String> {
    command::tool(&mut ctr(place, words), Duration::from_secs(30))
}

#[test]
fn containerd_runs_programs_and_steers_them() {
    let Some(containerd) = Containerd::start() else { return };
    let output = containerd.run("first", &[], &["sh", "-c", "echo out; echo err >&2; exit 37"]).expect(37);
    assert_eq!((output.stdout().as_str(), output.stderr.trim()), ("out", "err"));
    containerd.run("missing", &[], &["no-such-program"]).expect(1).says(&["executable file not found in $PATH"]);
    containerd.run("sealed", &["--read-only"], &["touch", "/file"]).expect(1).says(&["Read-only file system"]);
    let filtered = containerd.run("filtered", &["--seccomp"], &["grep", "Seccomp:", "/proc/self/status"]);
    assert_eq!(filtered.ok(), "Seccomp:\t2");
    containerd.run("open", &["--privileged"], &["mount", "-t", "tmpfs", "none", "/data"]).ok();

    let program = ["sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.1; done"];
    let words = containerd.words("box", &["--detach", "--null-io"], &program);
    containerd.call(&words.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    let task = |words: &[&str]| containerd.call(&[&["task"], words].concat());
    let status = || task(&["list"]).ok();
    assert_eq!(task(&["exec", "--exec-id=one", "box", "id", "-u"]).ok(), "0");
    task(&["exec", "--exec-id=two", "box", "sh", "-c", "exit 9"]).expect(9);
    assert!(task(&["ps", "box"]).ok().lines().count() > 1, "ctr task ps");
    assert!(task(&["metrics", "box"]).ok().contains("memory"), "ctr task metrics");
    task(&["pause", "box"]).ok();
    assert!(status().contains("PAUSED"), "{}", status());
    task(&["resume", "box"]).ok();
    assert!(status().contains("RUNNING"), "{}", status());
    let pid = status().lines().find_map(|line| line.strip_prefix("box")?.split_whitespace().next()?.parse().ok());
    assert!(host::cgroup(pid.expect("a pid"), "memory").ends_with(format!("{}/box", containerd.place.group())));
    task(&["kill", "--signal=TERM", "box"]).ok();
    assert!(eventually(10, || status().contains("STOPPED")), "{}", status());
    task(&["delete", "box"]).expect(0).says(&["exit code 5"]);
    containerd.call(&["containers", "delete", "box"]).ok();
    containerd.finish();
}

#[test]
fn containerd_gives_terminals_and_starts_twenty_containers_at_once() {
    let Some(containerd) = Containerd::start() else { return };
    let words = containerd.words("shell", &["--rm", "--tty"], &["sh"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut shell = Terminal::start(&containerd.command(&words), 80, 24);
    shell.send("tty; echo $((6*7))\r");
    assert!(shell.expect("42").contains("/dev/pts/0"));
    shell.send("exit 3\r");
    assert_eq!(shell.code(), 3, "run --tty");
    std::thread::scope(|scope| {
        for number in 0..20 {
            let containerd = &containerd;
            scope.spawn(move || {
                let word = number.to_string();
                assert_eq!(containerd.run(&format!("many-{number}"), &[], &["echo", &word]).ok(), word);
            });
        }
    });
    containerd.finish();
}
