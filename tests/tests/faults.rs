//! Whatever is killed whenever, and when the disk is full: the state is before or after, and nothing is left.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use casemate_tests::{Engine, command, eventually, host, images, layered};
use rustix::process::{Pid, Signal, kill_process};

fn kill(pid: u32) {
    // It may be gone already.
    let _ = kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL);
}

/// Starts a command in a process group of its own, and kills the group after `delay`. Whether it had ended before.
fn killed_after(mut command: Command, delay: Duration) -> bool {
    let start = Instant::now();
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    while start.elapsed() < delay {
        std::hint::spin_loop();
    }
    let ended = child.try_wait().unwrap().is_some();
    command::kill_group(&child);
    child.wait().unwrap();
    ended
}

/// The control groups below a parent that is the test's own.
fn groups_below(parent: &str) -> Vec<PathBuf> {
    let parents = host::cgroups_named(parent.trim_start_matches('/'));
    let below = |parent: PathBuf| fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path());
    parents.into_iter().flat_map(below).filter(|path| path.is_dir()).collect()
}

/// A control group of the test's own for what it starts, gone when the test is.
struct Parent(String);

impl Parent {
    fn new(name: &str) -> Self {
        Self(format!("/e2e-{name}-{}", std::process::id()))
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        for group in host::cgroups_named(self.0.trim_start_matches('/')) {
            // One that still has members is what the test has failed about.
            let _ = fs::remove_dir(group);
        }
    }
}

/// The delays at which a command is killed: in steps from nothing to longer than the command takes.
fn delays(step: u64, most: u64) -> impl Iterator<Item = Duration> {
    (0..=most / step).map(move |number| Duration::from_micros(number * step))
}

/// After repairs everything is right. What nobody has signed yet is left alone for a moment: somebody may be at work on it.
#[track_caller]
fn sound(engine: &Engine, when: &str) {
    let repaired = eventually(5, || {
        engine.run(&["system", "check", "--repair"]);
        engine.run(&["system", "check"]).code == 0
    });
    if !repaired {
        let checked = engine.run(&["system", "check"]);
        panic!("{when}: {} {}", checked.stdout(), checked.stderr);
    }
}

/// What a kill left without an owner any later command takes away, once it is certain that nobody is at work on it.
fn nothing_left(engine: &Engine) -> bool {
    engine.run(&["ps", "-a"]).ok();
    engine.left_over().is_empty()
}

/// After kills the next commands find a state that they can work with, and clean what is left.
#[track_caller]
fn recovers(engine: &Engine, name: &str, parent: &str, when: &str) {
    // A supervisor that outlived its command may still be at its end; after that the name is free, or can be freed.
    let works = eventually(5, || {
        let again = engine.run(&["run", "--rm", "--name", name, "busybox", "echo", "again"]);
        again.code == 0 && again.stdout() == "again" || engine.run(&["rm", "-f", name]).code > 1
    });
    assert!(works, "{when}: {}", engine.run(&["run", "--rm", "--name", name, "busybox", "echo", "again"]).stderr);
    sound(engine, when);
    let clean = eventually(8, || nothing_left(engine) && groups_below(parent).is_empty());
    assert!(clean, "{when}: left over {:#?} {:?}", engine.left_over(), groups_below(parent));
}

#[test]
fn run_is_killed_at_every_step() {
    let engine = Engine::new();
    let group = Parent::new("run");
    let parent = group.0.as_str();
    let flags = [
        "run",
        "--rm",
        "--name",
        "victim",
        "--cgroup-parent",
        parent,
        "--allow",
        "cgroup-parent",
        "-v",
        "/anonymous",
        "busybox",
        "true",
    ];
    let mut ended = 0;
    for (number, delay) in delays(250, 12_000).enumerate() {
        ended += u32::from(killed_after(engine.command(&flags), delay));
        // The supervisor may outlive its command: then it does its work to the end.
        if number % 4 == 3 {
            recovers(&engine, "victim", parent, &format!("after a kill at {delay:?}"));
        }
    }
    recovers(&engine, "victim", parent, "in the end");
    assert!(ended < 49, "some were killed on their way");
}

#[test]
fn run_and_its_supervisor_are_killed_at_every_step() {
    let engine = Engine::new();
    let group = Parent::new("all");
    let parent = group.0.as_str();
    let flags =
        ["run", "--name", "victim", "--cgroup-parent", parent, "--allow", "cgroup-parent", "busybox", "sleep", "1000"];
    for (number, delay) in delays(500, 14_000).enumerate() {
        killed_after(engine.command(&flags), delay);
        // Everything of this engine that runs outside of a container: its supervisors.
        for pid in host::processes_with(&engine.mark()) {
            kill(pid);
        }
        if engine.run(&["rm", "-f", "victim"]).code != 0 {
            let said = engine.run(&["inspect", "--type", "container", "victim"]);
            assert_eq!(said.code, 1, "after a kill at {delay:?} it is there and can't be removed: {}", said.stdout());
        }
        if number % 3 == 2 {
            recovers(&engine, "victim", parent, &format!("after killing all at {delay:?}"));
        }
    }
    recovers(&engine, "victim", parent, "in the end");
}

#[test]
fn a_supervisor_that_is_killed_is_noticed() {
    let engine = Engine::new();
    let running = engine.sleeper("orphan", &[]);
    let pid = running.pid();
    for supervisor in host::processes_with(&engine.mark()) {
        kill(supervisor);
    }
    // The container ends with what looked after it: nothing unwatched goes on running.
    assert!(
        eventually(5, || !fs::exists(format!("/proc/{pid}")).unwrap() || host::status(pid, "State").starts_with('Z'))
    );
    assert!(eventually(5, || engine.field("orphan", "{{.State.Status}}") == "exited"));
    assert_ne!(engine.field("orphan", "{{.State.ExitCode}}"), "0");
    assert_ne!(engine.run(&["wait", "orphan"]).ok(), "0");
    engine.run(&["start", "orphan"]).ok();
    assert_eq!(engine.field("orphan", "{{.State.Status}}"), "running");
    engine.run(&["rm", "-f", "orphan"]).ok();
    engine.assert_nothing_left();
    assert!(host::cgroups_named(&running.id).is_empty());
}

#[test]
fn a_supervisor_that_is_killed_ends_the_commands_that_wait_for_it() {
    let engine = Engine::new();
    let mut attached = engine.spawn(&["run", "--name", "watched", "busybox", "sleep", "1000"]);
    assert!(eventually(10, || engine.run(&["ps", "-q", "--filter", "name=watched"]).ok() != ""));
    let own = attached.id();
    for supervisor in host::processes_with(&engine.mark()) {
        if supervisor != own {
            kill(supervisor);
        }
    }
    let status = command::wait(&mut attached, Duration::from_secs(10)).expect("it does not wait for ever");
    assert_ne!(command::code(status), 0);
    engine.run(&["rm", "-f", "watched"]).ok();
    engine.assert_nothing_left();
}

#[test]
fn rm_is_killed_at_every_step() {
    let engine = Engine::new();
    for delay in delays(400, 6_000) {
        engine.run(&["create", "--name", "victim", "--read-only=false", "busybox", "true"]).ok();
        killed_after(engine.command(&["rm", "-f", "victim"]), delay);
        engine.run(&["rm", "-f", "victim"]);
        let again = engine.run(&["run", "--rm", "--name", "victim", "busybox", "echo", "again"]);
        assert_eq!(again.stdout(), "again", "after a kill at {delay:?}: {}", again.stderr);
    }
    sound(&engine, "in the end");
    assert!(eventually(8, || nothing_left(&engine)), "left over: {:#?}", engine.left_over());
}

#[test]
fn import_and_load_are_killed_at_every_step() {
    let engine = Engine::new();
    let tar = images::busybox().display().to_string();
    let staged = || fs::read_dir(engine.data().join("staging")).map_or(0, Iterator::count);
    for (number, delay) in delays(1_500, 45_000).enumerate() {
        let name = format!("victim-{number}");
        killed_after(engine.command(&["import", "-c", &format!("LABEL n={number}"), &tar, &name]), delay);
        // It is there whole, or not at all.
        let image = engine.run(&["images", "-q", &name]).ok();
        if !image.is_empty() {
            assert_eq!(engine.run(&["run", "--rm", &name, "echo", "whole"]).ok(), "whole", "after a kill at {delay:?}");
        }
    }
    // Several layers, of which some may be there already.
    if let Ok(fixture) = layered::umoci() {
        for delay in delays(3_000, 60_000) {
            killed_after(engine.command(&["load", "-i", &fixture.path("docker.tar")]), delay);
            if !engine.run(&["images", "-q", "layered:docker"]).ok().is_empty() {
                assert_eq!(
                    engine.run(&["run", "--rm", "layered:docker", "id", "-u"]).ok(),
                    "1000",
                    "after a kill at {delay:?}"
                );
                engine.run(&["rmi", "layered:docker"]).ok();
            }
        }
    }
    sound(&engine, "in the end");
    assert_eq!(staged(), 0, "what was being made is gone");
    engine.run(&["import", &tar, "after"]).ok();
    assert_eq!(engine.run(&["run", "--rm", "after", "echo", "works"]).ok(), "works");
}

#[test]
fn the_first_process_is_killed_at_once() {
    let engine = Engine::new();
    for number in 0..10 {
        let running = engine.background(&format!("short-{number}"), &[], &["sleep", "1000"]);
        std::thread::sleep(Duration::from_millis(number));
        kill(running.pid());
        assert_eq!(engine.run(&["wait", &running.id]).ok(), "137");
        engine.run(&["rm", &running.id]).ok();
    }
    engine.assert_nothing_left();
}

/// A file system in memory for an engine's data.
struct Small {
    path: PathBuf,
}

impl Small {
    fn mount(path: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&path).unwrap();
        let options = format!("size={size},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&path).status().unwrap();
        assert!(mounted.success());
        Self { path }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[test]
fn a_full_disk_is_an_error_and_not_damage() {
    let directory = tempfile::Builder::new().prefix("cf").tempdir_in("/tmp").unwrap();
    let small = Small::mount(directory.path().join("data"), "24m");
    let engine = Engine::with_data(&small.path);
    engine.import_busybox();
    // An image that does not fit.
    let large = engine.scratch().join("large");
    fs::create_dir(&large).unwrap();
    let noise: Vec<u8> = (0..30_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(large.join("noise"), noise).unwrap();
    let tar = engine.scratch().join("large.tar");
    let made = Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&large).arg(".").status().unwrap();
    assert!(made.success());
    let refused = engine.run(&["import", &tar.display().to_string(), "large"]).expect(1);
    assert!(refused.stderr.contains("No space left") || refused.stderr.contains("os error 28"), "{}", refused.stderr);
    assert_eq!(engine.run(&["images", "--format", "{{.Repository}}"]).ok(), "busybox");
    engine.run(&["system", "check"]).ok();
    assert_eq!(engine.run(&["run", "--rm", "busybox", "echo", "fits"]).ok(), "fits");
    // Not a byte left: a container can't be made, and that leaves nothing; what is there can be used and removed.
    let running =
        engine.background("talks", &[], &["sh", "-c", "i=0; while sleep 0.02; do i=$((i+1)); echo line $i; done"]);
    let _ = fs::write(small.path.join("filler"), vec![1_u8; 32 << 20]);
    for number in 0..64 {
        // And no inode-sized remains either.
        let _ = fs::write(small.path.join(format!("filler-{number}")), vec![1_u8; 4096]);
    }
    let failed = engine.run(&["run", "--name", "none", "--read-only=false", "busybox", "true"]);
    assert_eq!(failed.code, 125, "{}", failed.stderr);
    assert!(failed.stderr.contains("No space left") || failed.stderr.contains("os error 28"), "{}", failed.stderr);
    engine.run(&["ps", "-a"]).ok();
    // The container that runs does not notice that its log can't be written.
    let pid = running.pid();
    std::thread::sleep(Duration::from_millis(300));
    assert!(fs::exists(format!("/proc/{pid}")).unwrap(), "it runs on");
    for entry in fs::read_dir(&small.path).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("filler") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    engine.run(&["rm", "-f", "talks"]).ok();
    assert_eq!(engine.run(&["run", "--rm", "--name", "none", "busybox", "echo", "room again"]).ok(), "room again");
    engine.run(&["system", "check"]).ok();
    assert_eq!(engine.run(&["ps", "-aq"]).ok(), "");
}
