//! What is written through `/proc`, and what the terminal is, when an attacker had a hand in the tree.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use casemate_tests::console::Console;
use casemate_tests::{Runtime, archive};
use serde_json::json;
use tar::EntryType;

use crate::race::Swapper;
use crate::table::Attack;
use crate::ways::{self, Outside};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        test: "procfs::parameters_are_written_to_a_false_procfs",
        section: 'A',
        ids: "CVE-2025-52881, CVE-2019-19921, CVE-2019-16884, CVE-2023-27561, CVE-2023-28642, CVE-2025-62596",
        attempt: "`/proc` of the root file system is a link to a tree of the attacker's, or is exchanged with one during the start, or has a tmpfs or a directory of the host mounted on it or on \
            `/proc/sys`; in it, the kernel parameters and `self/attr` that the runtime writes to are links to a file of the host",
        defence: "Parameters are written through a procfs that is not attached anywhere yet, beneath it, without crossing a mount or following a link",
        result: "refused, or the parameter is set in the container; the host's file is never written to",
        red: "patch: parameters written by path below the attached root: a container started without its parameters, which went elsewhere",
    },
    Attack {
        test: "procfs::the_terminal_is_exchanged",
        section: 'A',
        ids: "CVE-2025-52565",
        attempt: "`/dev`, `/dev/pts` or both are a directory that the attacker has a hand in; `pts/0`, `pts/ptmx` and `console` are links to a file of the host, or are exchanged with one during the start",
        defence: "The terminal is opened in the container's devpts by descriptor, its other end by `TIOCGPTPEER`, and attached to `/dev/console` by descriptor",
        result: "refused, or a terminal; the host's file is neither read nor written to",
        red: "not seen: with paths resolved without flags it stays green, as the terminal is still opened and attached by descriptor; it was not tried with those replaced",
    },
    Attack {
        test: "procfs::masked_and_read_only_paths_are_uncovered",
        section: 'A',
        ids: "CVE-2019-16884, CVE-2025-52881",
        attempt: "An image declares a volume on `/proc`, `/proc/sys`, `/sys` or `/dev`, or has a link there; the program then writes to `sysrq-trigger`, `core_pattern` and `/proc/sys`",
        defence: "Mounts on the kernel's directories are refused; read-only and masked paths are covered after all mounts",
        result: "refused (125), or nothing can be written",
        red: "before image volumes were checked: a container ran with a volume on `/proc`",
    },
];

/// A tree that looks like a procfs, whose files are links to the host's secret.
fn false_procfs(directory: &Path, outside: &Outside) {
    let target = format!("{}/secret", outside.climbing());
    for name in ["sys/kernel", "sys/net/ipv4", "sys/fs/mqueue", "self/attr", "thread-self/attr", "1/attr"] {
        fs::create_dir_all(directory.join(name)).unwrap();
    }
    let files = [
        "sys/kernel/shm_rmid_forced",
        "sys/kernel/msgmni",
        "sys/net/ipv4/ip_forward",
        "sys/net/ipv4/ping_group_range",
        "sys/fs/mqueue/queues_max",
        "self/attr/exec",
        "self/attr/keycreate",
        "thread-self/attr/exec",
        "1/attr/exec",
        "self/oom_score_adj",
        "self/setgroups",
        "self/uid_map",
        "self/gid_map",
    ];
    for file in files {
        symlink(&target, directory.join(file)).unwrap();
    }
}

#[test]
fn parameters_are_written_to_a_false_procfs() {
    let outside = Outside::new();
    let runtime = Runtime::new();
    let sysctl = json!({"kernel.shm_rmid_forced": "1", "net.ipv4.ip_forward": "1", "fs.mqueue.queues_max": "7"});
    let script =
        "grep -q proc /proc/self/mountinfo && cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_forward; true";
    let false_one = runtime.scratch().join("false");
    fs::create_dir(&false_one).unwrap();
    false_procfs(&false_one, &outside);
    let bundle = || {
        let mut bundle = ways::bundle(&runtime).sh(script);
        bundle.config["linux"]["sysctl"] = sysctl.clone();
        bundle
    };
    // A link, from the start.
    for target in ["/evil", "evil", "/../../../../../../evil", "/proc/self/root/evil"] {
        let bundle = bundle();
        false_procfs(&bundle.rootfs().join("evil"), &outside);
        symlink(target, bundle.rootfs().join("proc")).unwrap();
        let output = bundle.run();
        outside.assert_untouched(&format!("/proc -> {target}: {}", output.stderr));
    }
    // Something mounted on it, or on a part of it.
    for (destination, kind) in [
        ("/proc", "bind"),
        ("/proc/sys", "bind"),
        ("/proc/sys/kernel", "bind"),
        ("/proc/self", "bind"),
        ("/proc", "tmpfs"),
        ("/proc/sys/net", "tmpfs"),
    ] {
        for before in [false, true] {
            let mut bundle = bundle();
            fs::create_dir(bundle.rootfs().join("proc")).unwrap();
            let source = false_one.join(destination.trim_start_matches("/proc").trim_start_matches('/'));
            let mount = json!({"type": kind, "source": source, "destination": destination, "options": if kind == "bind" { json!(["rbind"]) } else { json!([]) }});
            let mounts = bundle.config["mounts"].as_array_mut().unwrap();
            if before {
                mounts.insert(0, mount);
            } else {
                mounts.insert(1, mount);
            }
            let output = bundle.run();
            outside.assert_untouched(&format!("{kind} on {destination}, before {before}: {}", output.stderr));
        }
    }
    // Exchanged during the start.
    let bundle = bundle();
    let proc = bundle.rootfs().join("proc");
    false_procfs(&bundle.rootfs().join("evil"), &outside);
    fs::create_dir(&proc).unwrap();
    symlink("evil", bundle.rootfs().join("other")).unwrap();
    let swapper = Swapper::start(&proc, &bundle.rootfs().join("other"));
    let end = Instant::now() + Duration::from_secs(2);
    let (mut started, mut starts) = (0, 0);
    while Instant::now() < end {
        let output = bundle.run();
        starts += 1;
        if output.code == 0 {
            started += 1;
            let said = output.stdout();
            // The program itself may find the other tree in place of the one or both files.
            assert!(said.lines().all(|line| line == "1"), "a container without its parameters: {said:?}");
        }
        outside.assert_untouched(&format!("start {starts}: {}", output.stderr));
        runtime.run(&["delete", "--force", &bundle.id]);
    }
    println!("{started} of {starts} started, {} exchanges", swapper.stop());
    assert!(starts > 2, "the race was run");
}

#[test]
fn parameters_of_an_image_whose_proc_is_a_link() {
    let outside = Outside::new();
    let target = format!("{}/secret", outside.climbing());
    for link in ["/evil", "../../../../../../../../evil"] {
        let engine = ways::engine_with(|layer| {
            archive::link(layer, EntryType::Symlink, "proc", link);
            for directory in ["evil/", "evil/sys/", "evil/sys/kernel/", "evil/self/", "evil/self/attr/"] {
                archive::add(layer, EntryType::Directory, directory, 0o755);
            }
            for file in ["evil/sys/kernel/shm_rmid_forced", "evil/self/attr/exec", "evil/self/oom_score_adj"] {
                archive::link(layer, EntryType::Symlink, file, &target);
            }
        });
        let output = engine.sh(&["--sysctl", "kernel.shm_rmid_forced=1"], "cat /proc/sys/kernel/shm_rmid_forced");
        outside.assert_untouched(&format!("/proc -> {link}: {}", output.stderr));
        assert!(output.code == 125 || output.stdout() == "1", "{}{}", output.stdout(), output.stderr);
    }
}

#[test]
fn the_terminal_is_exchanged() {
    let outside = Outside::new();
    let runtime = Runtime::new();
    let target = format!("{}/secret", outside.climbing());
    let console = Console::listen(runtime.scratch());
    let dev = runtime.scratch().join("dev");
    let fresh = || {
        let _ = fs::remove_dir_all(&dev);
        for name in ["pts", "shm", "mqueue"] {
            fs::create_dir_all(dev.join(name)).unwrap();
        }
        let kind = rustix::fs::FileType::CharacterDevice;
        rustix::fs::mknodat(rustix::fs::CWD, dev.join("null"), kind, 0o666.into(), rustix::fs::makedev(1, 3)).unwrap();
    };
    let start = |what: &str, keep_pts: bool| {
        let script = "cat /dev/console </dev/null | head -c 64 & sleep 0.1; echo written > /dev/console; echo x > /dev/pts/0; true";
        let mut bundle = ways::bundle(&runtime).sh(script);
        bundle.config["process"]["terminal"] = true.into();
        let mounts = bundle.config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| keep_pts || mount["destination"] != "/dev/pts");
        for mount in mounts {
            if mount["destination"] == "/dev" {
                *mount = json!({"type": "bind", "source": dev, "destination": "/dev", "options": ["rbind", "rw"]});
            }
        }
        let output = bundle.create_with(&["--console-socket", console.path()]);
        if output.code == 0 {
            let master = console.receive();
            bundle.start();
            let said = master.read_until("x");
            assert!(!said.contains(ways::SECRET.trim_end()), "{what}: {said}");
        }
        bundle.delete();
        outside.assert_untouched(what);
        output.code == 0
    };
    for keep_pts in [true, false] {
        for name in ["console", "pts/0", "pts/ptmx", "ptmx"] {
            fresh();
            for target in [&target, &format!("{}/secret", outside.path()), &format!("{}/made", outside.path())] {
                let _ = fs::remove_file(dev.join(name));
                symlink(target, dev.join(name)).unwrap();
                start(&format!("/dev/{name} is a link to {target}, own devpts {keep_pts}"), keep_pts);
            }
        }
    }
    for name in ["console", "pts"] {
        fresh();
        let _ = fs::remove_dir(dev.join(name));
        let honest = dev.join(name);
        if name == "console" {
            fs::write(honest, "").unwrap();
        } else {
            fs::create_dir(honest).unwrap();
        }
        let link = if name == "console" { format!("{}/made", outside.path()) } else { outside.path().to_owned() };
        symlink(link, dev.join("other")).unwrap();
        let swapper = Swapper::start(&dev.join(name), &dev.join("other"));
        let end = Instant::now() + Duration::from_secs(1);
        let (mut starts, mut whole) = (0, 0);
        while Instant::now() < end {
            starts += 1;
            whole += i32::from(start(name, true));
        }
        println!("{name}: {whole} of {starts} started, {} exchanges", swapper.stop());
    }
}

#[test]
fn masked_and_read_only_paths_are_uncovered() {
    let writes = "for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /sys/kernel/uevent_helper /proc/sys/vm/drop_caches; \
        do if [ -e $f ] && grep -q ' /proc proc ' /proc/mounts && echo > $f; then echo wrote $f; fi; done 2>/dev/null; true";
    for target in [
        "/proc",
        "/proc/sys",
        "/proc/sysrq-trigger",
        "/proc/self/attr",
        "/sys",
        "/dev",
        "/dev/pts",
        "/proc/../proc",
        "//proc//",
        "/x/../proc/sys",
    ] {
        let engine = ways::engine();
        let change = format!("VOLUME {target}");
        let output = engine.run_with_input(&["import", "-c", &change, "-", "twisted"], ways::image(|_| ()));
        let output =
            if output.code == 0 { engine.run(&["run", "--rm", "twisted", "sh", "-c", writes]) } else { output };
        assert!(!output.stdout().contains("wrote"), "a volume on {target}: {}", output.stdout());
        assert_eq!(output.code, 125, "a volume on {target} is had");
        for flags in [["-v", "vol:PLACE"], ["--tmpfs", "PLACE"], ["-v", "/srv:PLACE:rw"]] {
            let flags = flags.map(|word| word.replace("PLACE", target));
            let output = engine.sh(&[&flags[0], &flags[1]], writes);
            assert!(!output.stdout().contains("wrote"), "{flags:?}: {}", output.stdout());
            assert_eq!(output.code, 125, "{flags:?} is had");
        }
    }
}
