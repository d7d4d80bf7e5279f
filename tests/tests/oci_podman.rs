//! Podman with casemate as its runtime.

use std::process::Command;
use std::time::Duration;

use casemate_tests::command::{self, Output};
use casemate_tests::engines::Place;
use casemate_tests::terminal::Terminal;
use casemate_tests::{eventually, host, images, skip};

const LIMIT: Duration = Duration::from_secs(60);

/// Podman with a store of its own, which has the image `busybox`.
struct Podman {
    place: Place,
}

impl Podman {
    fn new() -> Option<Self> {
        let place = Place::new(&["podman", "conmon"]).map_err(|reason| skip(&reason)).ok()?;
        let runtime = place.text("casemate-oci");
        let configuration = format!(
            "[engine]\nruntime = \"casemate-oci\"\nruntime_supports_json = [\"casemate-oci\"]\n\
             cgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
             [engine.runtimes]\ncasemate-oci = [\"{runtime}\"]\n\
             [containers]\nnetns = \"none\"\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n"
        );
        place.write("containers.conf", &configuration);
        let (root, run) = (place.at("root"), place.at("run"));
        let storage = format!("[storage]\ndriver = \"vfs\"\ngraphroot = {root:?}\nrunroot = {run:?}\n");
        place.write("storage.conf", &storage);
        let podman = Self { place };
        let archive = images::busybox();
        podman.call(&["import", &archive.display().to_string(), "busybox"]).ok();
        Some(podman)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.place.command("podman");
        command.env("CONTAINERS_CONF", self.place.at("containers.conf"));
        command.env("CONTAINERS_STORAGE_CONF", self.place.at("storage.conf"));
        command.arg("--root").arg(self.place.at("root")).arg("--runroot").arg(self.place.at("run"));
        command.arg("--tmpdir").arg(self.place.at("tmp")).args(words);
        command
    }

    #[track_caller]
    fn call(&self, words: &[&str]) -> Output {
        command::run(&mut self.command(words), None, LIMIT)
    }

    #[track_caller]
    fn feed(&self, words: &[&str], input: &str) -> Output {
        command::run(&mut self.command(words), Some(input.as_bytes().to_vec()), LIMIT)
    }

    #[track_caller]
    fn run(&self, flags: &[&str], words: &[&str]) -> Output {
        let group = format!("--cgroup-parent=/{}", self.place.group());
        self.call(&[&["run", "--rm", &group], flags, &["localhost/busybox"], words].concat())
    }

    #[track_caller]
    fn launch(&self, name: &str, flags: &[&str], words: &[&str]) {
        let group = format!("--cgroup-parent=/{}", self.place.group());
        let run = ["run", "--detach", "--name", name, &group];
        self.call(&[&run, flags, &["localhost/busybox"], words].concat()).ok();
    }

    #[track_caller]
    fn inspect(&self, name: &str, template: &str) -> String {
        self.call(&["inspect", "--format", template, name]).ok()
    }

    #[track_caller]
    fn finish(self) {
        assert_eq!(self.call(&["ps", "--all", "--quiet"]).ok(), "", "these containers are left");
        self.place.expect_empty();
    }
}

#[test]
fn podman_runs_programs_confined_as_it_says() {
    let Some(podman) = Podman::new() else { return };
    assert!(podman.call(&["info", "--format", "{{.Host.OCIRuntime.Version}}"]).ok().contains("casemate-oci version"));
    let output = podman.run(&[], &["sh", "-c", "echo out; echo err >&2; exit 37"]).expect(37).says(&["err"]);
    assert_eq!(output.stdout(), "out");
    assert_eq!(podman.feed(&["run", "--rm", "-i", "localhost/busybox", "cat"], "typed").ok(), "typed");
    podman.run(&[], &["no-such-program"]).expect(127).says(&["executable file not found in $PATH"]);
    podman.run(&[], &["/bin/no-such-program"]).expect(127).says(&["no such file or directory"]);
    podman.run(&[], &["/bin/not-executable"]).expect(126).says(&["permission denied"]);
    assert_eq!(podman.run(&["--user=app"], &["id", "-G"]).ok(), "1000 33 50");

    let bounding = |flags: &[&str]| podman.run(flags, &["grep", "CapBnd", "/proc/self/status"]).ok();
    assert_eq!(bounding(&["--cap-drop=all"]), "CapBnd:\t0000000000000000");
    podman.run(&["--privileged"], &["mount", "-t", "tmpfs", "none", "/data"]).ok();
    podman.run(&[], &["mount", "-t", "tmpfs", "none", "/data"]).expect(1);
    podman.run(&["--read-only"], &["touch", "/file"]).expect(1).says(&["Read-only file system"]);
    podman.run(&["--read-only", "--tmpfs=/data"], &["touch", "/data/file"]).ok();
    let volume = format!("--volume={}:/data:ro", podman.place.text("root"));
    podman.run(&[&volume], &["touch", "/data/file"]).expect(1);
    podman.run(&["--pid=host"], &["test", "-d", &format!("/proc/{}", std::process::id())]).ok();
    let unconfined = podman.run(&["--security-opt=seccomp=unconfined"], &["grep", "Seccomp:", "/proc/self/status"]);
    assert_eq!(unconfined.ok(), "Seccomp:\t0");
    let maps = ["--uidmap=0:100000:65536", "--gidmap=0:100000:65536"];
    let map = podman.run(&maps, &["cat", "/proc/self/uid_map"]).ok();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    let limits = ["--memory=16m", "--memory-swap=16m"];
    podman.run(&limits, &["sh", "-c", "x=x; while :; do x=$x$x; done"]).expect(137);
    podman.finish();
}

#[test]
fn podman_looks_into_a_container_and_steers_it() {
    let Some(podman) = Podman::new() else { return };
    let check = ["--health-cmd=test -e /data/ok", "--health-interval=disable", "--health-retries=1"];
    let words = ["sh", "-c", "echo begun; trap 'exit 5' TERM; while :; do sleep 0.1; done"];
    podman.launch("box", &check, &words);
    assert!(eventually(10, || podman.call(&["logs", "box"]).ok() == "begun"), "podman logs");
    assert_eq!(podman.call(&["exec", "--user=app", "--workdir=/srv", "box", "pwd"]).ok(), "/srv");
    assert_eq!(podman.feed(&["exec", "-i", "box", "cat"], "typed").ok(), "typed");
    podman.call(&["exec", "box", "sh", "-c", "exit 9"]).expect(9);
    podman.call(&["exec", "box", "no-such-program"]).expect(127);
    assert!(podman.call(&["top", "box", "args"]).ok().contains("trap"), "podman top");
    let stats = podman.call(&["stats", "--no-stream", "--format", "{{.PIDS}}", "box"]).ok();
    assert!(stats.parse::<u32>().is_ok_and(|count| count > 0), "{stats}");

    podman.call(&["healthcheck", "run", "box"]).expect(1);
    podman.call(&["exec", "box", "touch", "/data/ok"]).ok();
    podman.call(&["healthcheck", "run", "box"]).ok();
    podman.call(&["pause", "box"]).ok();
    assert_eq!(podman.inspect("box", "{{.State.Status}}"), "paused");
    podman.call(&["unpause", "box"]).ok();
    podman.call(&["update", "--memory=50m", "box"]).ok();
    let pid = podman.inspect("box", "{{.State.Pid}}").parse().expect("a pid");
    assert_eq!(host::limit(pid, "memory", "memory.limit_in_bytes", "memory.max"), "52428800");

    podman.call(&["kill", "--signal=TERM", "box"]).ok();
    assert_eq!(podman.call(&["wait", "box"]).ok(), "5", "the program's own handler");
    podman.call(&["start", "box"]).ok();
    podman.call(&["restart", "box"]).ok();
    assert_eq!(podman.inspect("box", "{{.State.Status}}"), "running");
    podman.call(&["kill", "box"]).ok();
    assert_eq!(podman.call(&["wait", "box"]).ok(), "137");
    podman.call(&["rm", "box"]).ok();

    podman.launch("failing", &["--restart=on-failure:2"], &["sh", "-c", "echo run; exit 3"]);
    let ended = || podman.inspect("failing", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}");
    assert!(eventually(20, || ended() == "2 exited 3"), "{}", ended());
    podman.call(&["rm", "failing"]).ok();
    podman.finish();
}

#[test]
fn podman_gives_terminals_and_starts_twenty_containers_at_once() {
    let Some(podman) = Podman::new() else { return };
    let group = format!("--cgroup-parent=/{}", podman.place.group());
    let words = ["run", "--rm", "-it", &group, "localhost/busybox", "sh"];
    let mut shell = Terminal::start(&podman.command(&words), 80, 24);
    shell.send("tty; echo $((6*7))\r");
    assert!(shell.expect("42").contains("/dev/pts/0"));
    shell.send("exit 3\r");
    assert_eq!(shell.code(), 3, "run -it");
    std::thread::scope(|scope| {
        for number in 0..20 {
            let podman = &podman;
            scope.spawn(move || {
                let word = number.to_string();
                assert_eq!(podman.run(&[], &["echo", &word]).ok(), word);
            });
        }
    });
    podman.finish();
}
