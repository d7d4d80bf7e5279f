//! Resources that one container could take from all others, and from the host.

use std::fs;
use std::time::{Duration, Instant};

use casemate_tests::{Bundle, Runtime, command, eventually, host};

use crate::table::Attack;
use crate::ways;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        test: "exhaust::processes_are_taken",
        section: 'F',
        ids: "fork bomb",
        attempt: "Forks until it can't, by 600 at a time, from the first process and from ones that join",
        defence: "pids limit of the control group, 512; none can leave it",
        result: "EAGAIN at 512; another container and the host go on",
        red: "in the test: with `--pids-limit -1` more than 512 are had",
    },
    Attack {
        test: "exhaust::memory_is_taken",
        section: 'F',
        ids: "memory hog; tmpfs, System V shared memory and semaphores as memory",
        attempt: "Takes more than its limit as memory, in each tmpfs, as System V shared memory, as semaphore sets and as message queues",
        defence: "memory limit of the control group, 512 MiB and no swap, which tmpfs, shared memory and the kernel's own objects count towards; tmpfs have sizes and inode limits",
        result: "killed (137), ENOSPC",
        red: "in the test: with another limit it is had",
    },
    Attack {
        test: "exhaust::kernel_objects_are_taken",
        section: 'F',
        ids: "descriptors, epoll, inotify instances and watches, keyrings, pseudo-terminals, message queues, System V objects, inodes",
        attempt: "Eight processes take as many of one kind as they can and keep them; then another container, and the host's root, take sixteen",
        defence: "descriptor and process limits; limits per user namespace or per IPC namespace; keyrings refused by the filter; `max=` of the container's devpts; inode limits of its tmpfs",
        result: "the others get theirs",
        red: "for pseudo-terminals: before devpts had `max=`, the next container with a terminal could not start",
    },
    Attack {
        test: "exhaust::the_disk_is_filled",
        section: 'F',
        ids: "disk and log fill",
        attempt: "Writes 70 MB to every directory, and 80 MiB to its output",
        defence: "read-only root, tmpfs with sizes; the log is 3 files of 10 MiB; output that nobody reads is not kept",
        result: "ENOSPC or EROFS; the state of the container on disk is less than 40 MiB",
        red: "in the test: with a writable root the file is on the host's disk",
    },
];

#[test]
fn processes_are_taken() {
    let engine = ways::engine();
    let bomb = engine.background("bomb", &[], &["attacker", "fork", "600"]);
    assert!(eventually(10, || engine.run(&["logs", "bomb"]).stdout().contains("EAGAIN")));
    let taken = engine.run(&["logs", "bomb"]).stdout();
    assert!(taken.contains("forked 511 EAGAIN"), "{taken}");
    // One that joins finds nothing left, and can't leave the group.
    assert!(!bomb.sh("(true); echo forked").stdout().contains("forked"));
    assert_eq!(engine.sh(&[], "echo fine").ok(), "fine");
    engine.run(&["rm", "-f", "bomb"]).ok();
    engine.background("free", &["--pids-limit", "-1"], &["attacker", "fork", "600"]);
    assert!(
        eventually(10, || engine.run(&["logs", "free"]).stdout().contains("forked 600")),
        "the limit is what stopped it"
    );
}

#[test]
fn processes_of_a_bundle_are_taken() {
    let runtime = Runtime::new();
    let bundle = ways::hardened(ways::bundle(&runtime)).args(&["/bin/attacker", "fork", "600"]);
    bundle.launch();
    assert!(eventually(10, || bundle.stdout().contains("EAGAIN")), "{}", bundle.stdout());
    let taken = ways::told(&bundle.stdout(), "forked").join("");
    assert_eq!(taken, "511 EAGAIN");
    bundle.delete();
    assert!(eventually(5, || bundle.left_over().is_empty()), "{:?}", bundle.left_over());
}

fn small(bundle: Bundle<'_>) -> Bundle<'_> {
    let limit = serde_json::json!({"limit": 67_108_864, "swap": 67_108_864});
    ways::hardened(bundle).edit(|config| config["linux"]["resources"]["memory"] = limit)
}

#[test]
fn memory_is_taken() {
    // The 512 MiB that are the default are looked at in tests/resources.rs; a smaller limit is reached sooner.
    let runtime = Runtime::new();
    let fill = "head -c 40000000 /dev/zero > /tmp/x; head -c 40000000 /dev/zero > /dev/shm/x";
    let programs = [&["/bin/prober", "eat", "100"][..], &["/bin/attacker", "exhaust", "shm"], &["/bin/sh", "-c", fill]];
    let objects = [["/bin/attacker", "exhaust", "sem"], ["/bin/attacker", "exhaust", "msg"]];
    let run = ways::run(&["-m", "64m"]);
    for program in programs {
        assert_ne!(run.first(program).code, 0, "{program:?}");
        assert_ne!(small(ways::bundle(&runtime)).args(program).run().code, 0, "{program:?} of a bundle");
    }
    for program in &objects {
        for output in [run.first(program), small(ways::bundle(&runtime)).args(program).run()] {
            assert!(output.code != 0 || output.stdout().contains("ENOSPC"), "{}: {}", output.line, output.stdout());
        }
    }
    ways::run(&["-m", "1g"]).first(&["/bin/prober", "eat", "100"]).ok();
}

#[test]
fn kernel_objects_are_taken() {
    let engine = ways::engine();
    let attacker = ways::attacker();
    let mut short = Vec::new();
    for what in ["fds", "epoll", "inotify", "watches", "keys", "pts", "mqueue", "sem", "msg", "inodes"] {
        let script = format!("for n in 1 2 3 4 5 6 7 8; do attacker exhaust {what} 100 & done; wait");
        let hog = engine.background("hog", &[], &["sh", "-c", &script]);
        // All have what they could get, or were killed for it.
        let done = || {
            engine.run(&["logs", "hog"]).stdout().lines().count() >= 8
                || engine.field("hog", "{{.State.OOMKilled}}") == "true"
        };
        eventually(8, done);
        let took = engine.run(&["logs", "hog"]).stdout();
        if what == "keys" {
            assert!(took.lines().all(|line| line == "keys 0 EPERM"), "{took}");
        } else {
            for terminal in [&[][..], &["-t"]] {
                let words: Vec<&str> = ["run", "--rm"]
                    .iter()
                    .chain(terminal)
                    .chain(&["busybox", "attacker", "exhaust", what, "0", "9"])
                    .copied()
                    .collect();
                let output = engine.run(&words);
                if !output.stdout().contains("9 enough") {
                    short.push(format!("{what}, another container: {}{}\n{took}", output.stdout(), output.stderr));
                }
            }
        }
        let mut command = std::process::Command::new(&attacker);
        let output = command::run(command.args(["exhaust", what, "0", "9"]), None, command::LIMIT);
        if !output.stdout().contains("9 enough") {
            short.push(format!("{what}, the host: {}\n{took}", output.stdout()));
        }
        hog.remove();
    }
    assert!(short.is_empty(), "one container took all:\n{}", short.join("\n"));
}

#[test]
fn the_disk_is_filled() {
    let engine = ways::engine();
    let fill = "for d in / /bin /etc /home /root /srv /data /mnt /sys /proc /usr; do head -c 1 /dev/zero > $d/fill && echo filled $d; done; \
        for d in /run /dev /dev/shm; do head -c 70000000 /dev/zero > $d/fill && echo filled $d; rm -f $d/fill; done; \
        for d in /tmp /var/tmp; do touch $d/x || continue; [ \"$(df -k $d | tail -1 | awk '{print $2}')\" -le 262144 ] || echo filled $d; done";
    ways::each_hardened(|way| {
        let said = way.sh(&format!("({fill}) 2>/dev/null")).stdout();
        assert!(!said.contains("filled"), "{}: {said}", way.name());
    });
    engine
        .run(&[
            "run",
            "-d",
            "--name",
            "loud",
            "busybox",
            "sh",
            "-c",
            "yes 'a line of the log' | head -c 80000000; yes e | head -c 1000000 >&2; sleep 100",
        ])
        .ok();
    let id = engine.field("loud", "{{.Id}}");
    let kept = || {
        let mut command = std::process::Command::new("du");
        // A log that is turned meanwhile is an error to it.
        let said =
            command::run(command.arg("-sk").arg(engine.data().join("containers").join(&id)), None, command::LIMIT)
                .stdout();
        said.split_whitespace().next().and_then(|size| size.parse::<u64>().ok()).unwrap_or_default()
    };
    let end = Instant::now() + Duration::from_secs(15);
    let mut most = 0;
    let mut last = 0;
    while Instant::now() < end {
        let now = kept();
        most = most.max(now);
        std::thread::sleep(Duration::from_millis(300));
        if now == last && now > 1000 {
            break;
        }
        last = now;
    }
    assert!((1000..40_000).contains(&most), "{most} KiB are kept of 80 MB of output");
    // So that it is known that it would have been seen.
    let open = engine.sleeper("open", &["--read-only=false"]);
    open.sh("head -c 30000000 /dev/zero > /fill").ok();
    let on_disk = fs::metadata(format!("/proc/{}/root/fill", open.pid())).unwrap().len();
    assert_eq!(on_disk, 30_000_000);
    assert!(host::first_uid(open.pid()) > 0);
}
