//! Processes that join a container, and what of the host they may bring along: descriptors, a working directory, their own memory.

use std::fs;
use std::time::Duration;

use casemate_tests::{Runtime, archive, command};
use tar::EntryType;

use crate::table::Attack;
use crate::ways::{self, Outside};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        test: "joining::a_process_that_joins_is_looked_into",
        section: 'A',
        ids: "CVE-2016-9962",
        attempt: "While twenty programs are executed in the container, its first process looks for each that appears: opens `/proc/PID/fd/*`, `root`, `mem` and \
            `exe`, and attaches with ptrace. As the same user without a user namespace; without a filter, so that ptrace is allowed; and as by default",
        defence: "`PR_SET_DUMPABLE` 0 from the first instruction until the program is executed; every descriptor close-on-exec",
        result: "nothing of the joining process is seen until it is the container's own program",
        red: "patch: `set_undumpable` that does nothing: PROGRAM and DESCRIPTOR were reported, through `exec` and `oci exec`",
    },
    Attack {
        test: "joining::descriptors_of_the_host_are_inherited",
        section: 'A',
        ids: "CVE-2024-21626, CVE-2016-9962",
        attempt: "Whoever calls the engine has directories of the host open on every descriptor from 3 to 999",
        defence: "Every descriptor from 3 on is marked close-on-exec last of all",
        result: "the program has 0, 1 and 2, as first process and by `exec`",
        red: "patch: `close_on_exec_from` that does nothing: all the descriptors were listed",
    },
    Attack {
        test: "joining::the_working_directory_is_a_descriptor_of_the_host",
        section: 'A',
        ids: "CVE-2024-21626, CVE-2026-55686",
        attempt: "`WORKDIR`, `-w`, `exec -w` and `process.cwd` are `/proc/self/fd/N` for N from 3 to 999, `/proc/self/cwd`, `/proc/1/root`, \
            or a link of the image to one of them or out of it, with directories of the host open on every N; the program then goes up from there",
        defence: "The directory is opened beneath the root with `RESOLVE_NO_MAGICLINKS`, missing ones are made there, and `getcwd` must be inside after the pivot",
        result: "refused, or a directory inside the container; nothing is made on the host",
        red: "patch: paths resolved without flags and `getcwd` not looked at: the secret was read through `exec -w` and `process.cwd`",
    },
];

#[test]
fn a_process_that_joins_is_looked_into() {
    let engine = ways::engine();
    let open = [
        "--userns",
        "host",
        "--allow",
        "host-userns",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "no-new-privileges=false",
    ];
    for flags in [&[][..], &["--security-opt", "seccomp=unconfined"], &open] {
        engine.background("watcher", flags, &["attacker", "watch", "100"]);
        assert!(casemate_tests::eventually(5, || engine.run(&["logs", "watcher"]).stdout().contains("watching")));
        for _ in 0..20 {
            engine.run(&["exec", "watcher", "/bin/true"]).ok();
        }
        let seen = engine.run(&["logs", "watcher"]).stdout();
        engine.run(&["rm", "-f", "watcher"]).ok();
        saw_nothing(&seen, &format!("{flags:?}"));
    }
}

#[track_caller]
fn saw_nothing(seen: &str, what: &str) {
    let reached = ["PROGRAM", "DESCRIPTOR", "ROOT", "MEMORY", "TRACED"];
    assert!(!reached.iter().any(|word| seen.contains(word)), "{what}: a joining process was looked into:\n{seen}");
}

#[test]
fn a_process_that_joins_by_the_runtime_is_looked_into() {
    let runtime = Runtime::new();
    let changes: [(&str, ways::Change); 2] =
        [("as Docker", |bundle| bundle), ("in a user namespace", ways::in_user_namespace)];
    for (name, change) in changes {
        let bundle = change(ways::bundle(&runtime)).args(&["/bin/attacker", "watch", "100"]);
        bundle.launch();
        assert!(casemate_tests::eventually(5, || bundle.stdout().contains("watching")));
        for _ in 0..20 {
            bundle.exec(&[], &["/bin/true"]).ok();
        }
        saw_nothing(&bundle.stdout(), name);
    }
}

#[test]
fn descriptors_of_the_host_are_inherited() {
    let outside = Outside::new();
    let engine = ways::engine();
    engine.sleeper("running", &[]);
    let runtime = Runtime::new();
    let sleeping = ways::bundle(&runtime).sleeping();
    sleeping.launch();
    let first = ways::bundle(&runtime).args(&["/bin/prober", "fds"]);
    first.write();
    let directory = first.directory().to_str().unwrap();
    let commands = [
        engine.command(&["run", "--rm", "busybox", "prober", "fds"]),
        engine.command(&["run", "--rm", "-t", "busybox", "prober", "fds"]),
        engine.command(&["exec", "running", "prober", "fds"]),
        runtime.command(&["run", "--bundle", directory, &first.id]),
        runtime.command(&["exec", &sleeping.id, "/bin/prober", "fds"]),
    ];
    for command in commands {
        let said = command::run(&mut ways::leaking(&command, outside.path()), None, Duration::from_secs(30)).ok();
        assert_eq!(said.trim_end(), "0 1 2", "{command:?}");
    }
}

/// Goes up from the working directory to where the secret is.
fn climb(outside: &Outside) -> String {
    let up = outside.climbing();
    format!("pwd; cat {up}/secret secret ../secret; echo x > {up}/secret; echo x > {up}/made; echo x > made; true")
}

/// Directories that are none of the image's: magic links, and links to them.
fn directories() -> Vec<String> {
    let numbers = [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 20, 50, 100, 500, 998, 999];
    let mut names: Vec<String> = numbers.iter().map(|number| format!("/proc/self/fd/{number}")).collect();
    let others = [
        "/proc/self/cwd",
        "/proc/1/cwd",
        "/proc/1/root",
        "/proc/self/root/..",
        "/proc/thread-self/fd/7",
        "/dev/fd/8",
        "/proc/self/../self/fd/9",
        "/link-fd",
        "/link-out",
        "/link-out/made",
        "/link-relative/made/deep",
        "/proc/self/task",
    ];
    names.extend(others.map(str::to_owned));
    names
}

fn links(outside: &Outside) -> [(&'static str, String); 3] {
    [
        ("link-fd", "/proc/self/fd/7".to_owned()),
        ("link-out", outside.path().to_owned()),
        ("link-relative", outside.climbing()),
    ]
}

#[test]
fn the_working_directory_is_a_descriptor_of_the_host() {
    let outside = Outside::new();
    let engine = ways::engine_with(|layer| {
        for (name, target) in links(&outside) {
            archive::link(layer, EntryType::Symlink, name, &target);
        }
    });
    engine.sleeper("running", &[]);
    let script = climb(&outside);
    let attempt = |words: &[&str]| {
        let mut command = ways::leaking(&engine.command(words), outside.path());
        let output = command::run(&mut command, None, command::LIMIT);
        ways::assert_kept(&output, &output.line);
        outside.assert_untouched(&output.line);
        assert!(output.code == 0 || (125..=128).contains(&output.code), "{}: {}", output.line, output.stderr);
    };
    for (number, directory) in directories().iter().enumerate() {
        attempt(&["run", "--rm", "-w", directory, "busybox", "sh", "-c", &script]);
        attempt(&["exec", "-w", directory, "running", "sh", "-c", &script]);
        if number % 4 == 0 || directory.contains("link") {
            attempt(&["run", "--rm", "--read-only=false", "-w", directory, "busybox", "sh", "-c", &script]);
            let change = format!("WORKDIR {directory}");
            engine.run_with_input(&["import", "-c", &change, "-", "twisted"], ways::image(|_| ()));
            attempt(&["run", "--rm", "twisted", "sh", "-c", &script]);
        }
    }
}

#[test]
fn the_working_directory_of_a_bundle_is_a_descriptor_of_the_host() {
    let outside = Outside::new();
    let runtime = Runtime::new();
    let script = climb(&outside);
    let sleeping = ways::bundle(&runtime).sleeping();
    for (name, target) in links(&outside) {
        std::os::unix::fs::symlink(target, sleeping.rootfs().join(name)).expect("a link");
    }
    sleeping.launch();
    let mut bundle = ways::bundle(&runtime).sh(&script);
    for (name, target) in links(&outside) {
        std::os::unix::fs::symlink(target, bundle.rootfs().join(name)).expect("a link");
    }
    for directory in directories() {
        bundle.config["process"]["cwd"] = directory.clone().into();
        bundle.write();
        let path = bundle.directory().to_str().unwrap();
        for words in [
            &["run", "--bundle", path, &bundle.id][..],
            &["exec", "--cwd", &directory, &sleeping.id, "/bin/sh", "-c", &script],
        ] {
            let mut command = ways::leaking(&runtime.command(words), outside.path());
            let output = command::run(&mut command, None, command::LIMIT);
            ways::assert_kept(&output, &output.line);
            outside.assert_untouched(&output.line);
        }
        runtime.run(&["delete", "--force", &bundle.id]);
    }
    assert!(fs::exists(bundle.rootfs()).unwrap());
}
