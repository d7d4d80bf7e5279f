//! Ids, groups and capabilities: what a number is taken for, and what is left over.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use casemate_tests::{Engine, Runtime, archive, command};
use serde_json::json;

use crate::table::Attack;
use crate::ways;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        test: "identity::capabilities_are_left_over",
        section: 'B',
        ids: "CVE-2022-29162, CVE-2022-24769, CVE-2022-27650, CVE-2022-27649, GHSA-c9cp-9c75-9v8c, CVE-2016-8867",
        attempt: "Reads all five sets as root and as another user, as first process and by `exec`, with capabilities asked for and without; by the runtime with an inheritable and an ambient set that \
            the specification does not name, called by a process that has both",
        defence: "All five sets are set to what is asked for; inheritable and ambient are empty unless named",
        result: "CapInh and CapAmb are 0; CapEff of another user is 0",
        red: "patch: inheritable and ambient sets not cleared: CapInh was the caller's, by `run` and by `oci run`",
    },
    Attack {
        test: "identity::a_number_is_taken_for_another_id",
        section: 'B',
        ids: "CVE-2026-30892, CVE-2024-40635, CVE-2026-46680",
        attempt: "`-u` and `exec -u`: 1, a number that is a name of uid 0 in the image, 2³¹, 2³²−2, 2³²−1, 2³², 2⁶⁴, negative, hexadecimal, with signs, spaces, line ends and other scripts' digits; in the image's `USER`, too",
        defence: "One strict parser: digits are an id up to 2³²−2 and never a name",
        result: "the id that was written, or an error; never 0",
        red: "patch: digits looked up as a name first: `-u 1234` was uid 0",
    },
    Attack {
        test: "identity::a_number_of_the_runtime_is_taken_for_another_id",
        section: 'B',
        ids: "CVE-2026-30892, CVE-2024-40635",
        attempt: "`oci exec --user` and `process.user` with the same numbers",
        defence: "The same parser; the specification's numbers are u32",
        result: "the id that was written, or an error",
        red: "with Debian's runc 1.1.5: `exec --user 4294967296` was uid 0",
    },
    Attack {
        test: "identity::groups_are_kept_or_lost",
        section: 'B',
        ids: "CVE-2022-36109, CVE-2023-25173, CVE-2022-2989, CVE-2022-2990, CVE-2022-2995",
        attempt: "A file that a group may not read but others may; a member of the group reads it, directly and after a set-group-id program has changed the group. Groups of the caller are looked for inside",
        defence: "`setgroups` always: the primary group and the image's groups, none of the caller's",
        result: "not readable; the caller's groups are not there",
        red: "patch: `set_ids` without `setgroups`: the caller's groups were there and the primary one was lost",
    },
    Attack {
        test: "identity::a_user_of_the_host_walks_into_the_state",
        section: 'B',
        ids: "CVE-2021-41091, CVE-2021-41103, CVE-2024-25621, CVE-2021-21284",
        attempt: "A user of the host without rights looks into the data and run roots for a set-user-id program of an image, and executes it by its path; so does the user that a container's root is mapped to",
        defence: "State directories are root's and 0700, whatever the umask; no id of a container owns anything above its files",
        result: "EACCES at the data root",
        red: "patch: directories made 0755: another user listed the data root",
    },
    Attack {
        test: "identity::a_directory_is_relabelled",
        section: 'B',
        ids: "CVE-2021-43816",
        attempt: "`-v /etc/hosts:/x:Z` and `:z`, whose labels the engine would change on the host",
        defence: "There is no relabelling",
        result: "refused; the file's attributes are the same",
        red: "not possible: there is no code that writes a label",
    },
    Attack {
        test: "identity::id_maps_overflow",
        section: 'B',
        ids: "CVE-2021-43784",
        attempt: "Mappings whose sum is beyond 2³², of no id, overlapping, hundreds of thousands of them, and two that together would map the host's root",
        defence: "Checked arithmetic and the kernel's limit of 340, before anything is made; maps are text of numbers, there is no netlink message",
        result: "an error that names the mappings, and no process; root is never the host's",
        red: "patch: without the limit of 340: the run did not end within 60 seconds",
    },
    Attack {
        test: "identity::files_of_an_image_hang_or_fill_the_engine",
        section: 'A',
        ids: "CVE-2024-9676, CVE-2026-47262, CVE-2024-9341",
        attempt: "`/etc/passwd` and `/etc/group` of the image are a FIFO, a device, a directory, a link to them, to `/proc/self/mem` or out of the image, of 4 GiB, of one endless line, of a million lines, \
            or make a user a member of 100 000 groups; the container runs as a user of theirs",
        defence: "Opened beneath the image's root without following links out or opening what isn't a file; read up to a limit",
        result: "an error or the user, in seconds and within 64 MiB; never what is behind the link",
        red: "patch: read by path, without looking at the kind: the engine hung",
    },
];

/// Numbers and what they must come to: an id, or an error.
const NUMBERS: &[(&str, Option<u32>)] = &[
    ("1", Some(1)),
    ("1234", Some(1234)),
    ("65535", Some(65_535)),
    ("00", Some(0)),
    ("0001", Some(1)),
    ("2147483647", None),
    ("2147483648", None),
    ("4294967294", None),
    ("4294967295", None),
    ("4294967296", None),
    ("4294967297", None),
    ("18446744073709551616", None),
    ("340282366920938463463374607431768211456", None),
    ("-1", None),
    ("-0", None),
    ("+0", None),
    ("0x0", None),
    ("0x1", None),
    ("1e3", None),
    ("1.0", None),
    (" 0", None),
    ("0 ", None),
    ("1 ", None),
    ("\u{660}", None),
    ("root\nx", None),
    ("root ", None),
    ("../root", None),
    (":0", None),
    ("1:2:3", None),
    ("1:-1", None),
    ("1:4294967296", None),
];

#[test]
fn a_number_is_taken_for_another_id() {
    let engine = ways::engine();
    engine.sleeper("running", &[]);
    for (number, id) in NUMBERS {
        let user = format!("--user={number}");
        came_to(&engine.run(&["run", "--rm", &user, "busybox", "prober", "ids"]), *id);
        came_to(&engine.run(&["exec", &user, "running", "prober", "ids"]), *id);
        let change = format!("USER {number}");
        let imported = engine.run_with_input(&["import", "-c", &change, "-", "user"], ways::image(|_| ()));
        if imported.code == 0 && *number == number.trim() {
            came_to(&engine.run(&["run", "--rm", "user", "prober", "ids"]), *id);
        }
    }
}

#[track_caller]
fn came_to(output: &casemate_tests::Output, id: Option<u32>) {
    match id {
        Some(id) => {
            let said = output.stdout();
            assert!(said.starts_with(&format!("uid {id} {id} {id} ")), "{}: {said}{}", output.line, output.stderr);
        }
        None => assert!(output.code != 0 && output.stdout().is_empty(), "{}: {}", output.line, output.stdout()),
    }
}

#[test]
fn a_number_of_the_runtime_is_taken_for_another_id() {
    let runtime = Runtime::new();
    let bundle = ways::bundle(&runtime).sleeping();
    bundle.launch();
    for (number, id) in NUMBERS {
        // Without a user namespace every u32 but the last is an id.
        let plain = number.parse().ok().filter(|id| *id != u32::MAX && number.chars().all(|c| c.is_ascii_digit()));
        let output = bundle.exec(&["--user", number], &["/bin/prober", "ids"]);
        // One above 2³¹ may be refused as well.
        came_to(&output, id.or(if output.code == 0 { plain } else { None }));
    }
    for value in [json!(4_294_967_295_u32), json!(4_294_967_296_u64), json!(-1), json!("0"), json!(0.5), json!(null)] {
        let mut bundle = ways::bundle(&runtime).args(&["/bin/prober", "ids"]);
        bundle.config["process"]["user"]["uid"] = value.clone();
        let output = bundle.run();
        assert!(output.code != 0 || value.is_null(), "uid {value}: {}", output.stdout());
    }
}

#[test]
fn capabilities_are_left_over() {
    let empty = "0000000000000000";
    let engine = ways::engine();
    // Flags, and what another user than root then has, in the ambient set and so in the others: what was asked for by name.
    let net_raw = "0000000000002000";
    for (flags, granted) in [
        (&[][..], empty),
        (&["--cap-add", "NET_RAW"], net_raw),
        (&["--userns", "host", "--allow", "host-userns"], empty),
        (&["--userns", "host", "--allow", "host-userns", "--cap-add", "NET_RAW"], net_raw),
    ] {
        let running = engine.sleeper("running", flags);
        for user in ["0", "1000"] {
            let expected = if user == "0" { empty } else { granted };
            let words: Vec<&str> = ["run", "--rm", "-u", user]
                .iter()
                .chain(flags)
                .chain(&["busybox", "attacker", "ids"])
                .copied()
                .collect();
            for mut command in [
                with_ambient(&engine.command(&words)),
                with_ambient(&engine.command(&["exec", "-u", user, "running", "attacker", "ids"])),
            ] {
                let output = command::run(&mut command, None, command::LIMIT);
                let line = output.line.clone();
                let said = output.ok();
                for set in ["CapInh:", "CapAmb:"] {
                    assert_eq!(ways::told(&said, set), [expected], "{line}: {said}");
                }
                assert_eq!(ways::told(&said, "CapEff:"), [granted], "{line}: {said}");
            }
        }
        running.remove();
    }
}

#[test]
fn capabilities_are_left_over_by_the_runtime() {
    let empty = "0000000000000000";
    let runtime = Runtime::new();
    for user in [0, 1000] {
        let bundle = ways::bundle(&runtime)
            .args(&["/bin/attacker", "ids"])
            .edit(|config| config["process"]["user"]["uid"] = user.into());
        bundle.write();
        let words = ["run", "--bundle", bundle.directory().to_str().unwrap(), &bundle.id];
        let output = command::run(&mut with_ambient(&runtime.command(&words)), None, command::LIMIT).ok();
        let sleeping = ways::bundle(&runtime).sleeping();
        sleeping.launch();
        let id = user.to_string();
        let words = ["exec", "--user", &id, &sleeping.id, "/bin/attacker", "ids"];
        let second = command::run(&mut with_ambient(&runtime.command(&words)), None, command::LIMIT).ok();
        for said in [output, second] {
            for set in ["CapInh:", "CapAmb:"] {
                assert_eq!(ways::told(&said, set), [empty], "uid {user}: {said}");
            }
            if user != 0 {
                assert_eq!(ways::told(&said, "CapEff:"), [empty], "uid {user}: {said}");
            }
        }
    }
}

/// The same command, of a caller with ambient and inheritable capabilities.
fn with_ambient(command: &Command) -> Command {
    let mut shell = Command::new("setpriv");
    shell.args([
        "--inh-caps",
        "+chown,+net_raw,+sys_admin",
        "--ambient-caps",
        "+chown,+net_raw,+sys_admin",
        "--groups",
        "0,4,4242",
    ]);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        shell.current_dir(directory);
    }
    shell
}

#[test]
fn groups_are_kept_or_lost() {
    let engine = ways::engine_with(|layer| {
        let mut header = archive::header(tar::EntryType::Regular, "secret", 0o704, 4);
        header.set_gid(1000);
        header.set_cksum();
        layer.append(&header, &b"got\n"[..]).unwrap();
        let mut header = archive::header(tar::EntryType::Regular, "bin/setgid", 0o2755, 0);
        let prober = fs::read(casemate_tests::images::prober().unwrap()).unwrap();
        header.set_gid(33);
        header.set_size(prober.len() as u64);
        header.set_cksum();
        layer.append(&header, &prober[..]).unwrap();
    });
    let script = "cat /secret; setgid ids; prober ids";
    let flags = ["--security-opt", "no-new-privileges=false"];
    let running = engine.sleeper("running", &flags);
    for user in ["app", "1000", "1000:1000", "app:app"] {
        let words: Vec<&str> =
            ["run", "--rm", "-u", user].iter().chain(&flags).chain(&["busybox", "sh", "-c", script]).copied().collect();
        for mut command in [
            with_ambient(&engine.command(&words)),
            with_ambient(&engine.command(&["exec", "-u", user, &running.id, "sh", "-c", script])),
        ] {
            let output = command::run(&mut command, None, command::LIMIT);
            let said = output.stdout();
            assert!(!said.contains("got"), "{}: the group was not had: {said}", output.line);
            for line in said.lines() {
                let groups = line.split("groups").nth(1).unwrap_or_default();
                assert!(groups.split_whitespace().any(|group| group == "1000"), "the primary group stays: {line}");
                assert!(!groups.contains("4242") && !groups.contains(" 4 "), "a group of the caller's: {line}");
            }
            assert_eq!(said.lines().count(), 2, "{said}{}", output.stderr);
        }
    }
}

#[test]
fn groups_of_the_caller_are_not_the_runtimes() {
    let runtime = Runtime::new();
    let bundle = ways::bundle(&runtime).args(&["/bin/prober", "ids"]).edit(|config| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [50]});
    });
    bundle.write();
    let sleeping = ways::bundle(&runtime).sleeping();
    sleeping.launch();
    for words in [
        &["run", "--bundle", bundle.directory().to_str().unwrap(), &bundle.id][..],
        &["exec", "--user", "1000:1000", "--additional-gids", "50", &sleeping.id, "/bin/prober", "ids"],
    ] {
        let said = command::run(&mut with_ambient(&runtime.command(words)), None, command::LIMIT).ok();
        let groups: Vec<&str> = said.split("groups").nth(1).unwrap().split_whitespace().collect();
        assert!(groups == ["50"] || groups == ["50", "1000"] || groups == ["1000", "50"], "{said}");
    }
}

#[test]
fn a_user_of_the_host_walks_into_the_state() {
    let engine = ways::engine();
    // The test's own directory is closed, which is not what is tested.
    fs::set_permissions(engine.scratch(), fs::Permissions::from_mode(0o755)).unwrap();
    let running = engine.sleeper("running", &["--read-only=false"]);
    let root = casemate_tests::host::first_uid(running.pid()).to_string();
    let program = find(&engine, "prober-suid").expect("the image has it");
    let merged = format!("/proc/{}/root/bin/prober-suid", running.pid());
    for user in ["12345", &root] {
        for path in [&program, &merged] {
            let mut command = Command::new("setpriv");
            // The shell has lost the rights that setpriv still has.
            command.args(["--reuid", user, "--regid", user, "--clear-groups", "sh", "-c", "exec \"$0\" ids", path]);
            let output = command::run(&mut command, None, command::LIMIT);
            // A user with the id that the container's root has may look into it; that makes it no other user.
            let own =
                path == &merged && user == root && output.stdout().starts_with(&format!("uid {root} {root} {root} "));
            assert!(own || !output.stdout().contains("uid"), "{user} executed {path}: {}", output.stdout());
        }
        for directory in [engine.data().to_path_buf(), engine.run_root()] {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", user, "--regid", user, "--clear-groups", "ls"]).arg(&directory);
            let output = command::run(&mut command, None, command::LIMIT);
            assert!(output.code != 0 && output.stdout().is_empty(), "{user} lists {}", directory.display());
        }
    }
}

fn find(engine: &Engine, name: &str) -> Option<String> {
    let mut pending = vec![engine.data().join("layers")];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).ok()?.flatten() {
            if entry.file_name() == name {
                return Some(entry.path().display().to_string());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
    }
    None
}

#[test]
fn a_directory_is_relabelled() {
    let engine = ways::engine();
    let file = engine.file("labelled", "x");
    let before = rustix::fs::llistxattr(&file, &mut [0_u8; 4096]).unwrap();
    for option in ["Z", "z", "ro,Z", "rw,z"] {
        engine.run(&["run", "--rm", "-v", &format!("{file}:/x:{option}"), "busybox", "true"]);
        assert_eq!(rustix::fs::llistxattr(&file, &mut [0_u8; 4096]).unwrap(), before, "{option}");
    }
    for path in ["/etc/hosts:/x:Z", "/etc:/x:z", "/:/x:Z"] {
        let output = engine.run(&["run", "--rm", "-v", path, "busybox", "true"]);
        assert_eq!(output.code, 125, "{path} is had");
    }
}

#[test]
fn id_maps_overflow() {
    let runtime = Runtime::new();
    let map = |container: u64, host: u64, size: u64| json!({"containerID": container, "hostID": host, "size": size});
    let many = |count: u64| (0..count).map(|n| map(n * 2, 700_000 + n * 2, 1)).collect::<Vec<_>>();
    let cases = [
        vec![map(0, 4_294_967_295, 1)],
        vec![map(0, 4_294_967_290, 100)],
        vec![map(4_294_967_290, 700_000, 100)],
        vec![map(0, 700_000, 4_294_967_295)],
        vec![map(0, 700_000, 4_294_967_296)],
        vec![map(0, 700_000, 0)],
        vec![map(0, 18_446_744_073_709_551_615, 1)],
        vec![map(0, 700_000, 10), map(5, 800_000, 10)],
        vec![map(0, 700_000, 10), map(20, 700_005, 10)],
        many(341),
        many(100_000),
    ];
    let mut bundle = ways::bundle(&runtime).sh("cat /proc/self/uid_map; id -u").user_namespace();
    let config = bundle.config.clone();
    for (number, maps) in cases.iter().enumerate() {
        for which in ["uidMappings", "gidMappings"] {
            bundle.config.clone_from(&config);
            bundle.config["linux"][which] = json!(maps);
            let output = bundle.run();
            assert!(output.code != 0 && output.stdout().is_empty(), "case {number}, {which}: {}", output.stdout());
            assert!(bundle.left_over().is_empty(), "case {number}, {which}: {:?}", bundle.left_over());
        }
    }
}

/// Adds an entry of this name.
type Make = Box<dyn Fn(&mut archive::Builder, &str)>;

#[test]
fn files_of_an_image_hang_or_fill_the_engine() {
    let outside = ways::Outside::new();
    let passwd = "app:x:1000:1000::/:/bin/sh\n";
    fs::write(format!("{}/secret", outside.path()), ways::SECRET).unwrap();
    let engine = ways::engine();
    let line = "x".repeat(1 << 20);
    let lines = |count: u32, line: &dyn Fn(u32) -> String| (0..count).map(line).collect::<Vec<_>>().concat();
    let many = lines(1_000_000, &|n| format!("u{n}:x:{n}:{n}::/:/x\n"));
    let mut cases: Vec<(&str, Make)> = Vec::new();
    cases.push(("a FIFO", Box::new(|layer, name| archive::add(layer, tar::EntryType::Fifo, name, 0o644))));
    cases.push(("a directory", Box::new(|layer, name| archive::add(layer, tar::EntryType::Directory, name, 0o755))));
    for target in
        ["../pipe", "/pipe", "/dev/zero", "/proc/self/mem", "/proc/1/environ", "/proc/kmsg", "passwd", "group"]
    {
        cases
            .push(("a link", Box::new(move |layer, name| archive::link(layer, tar::EntryType::Symlink, name, target))));
    }
    let to_secret = format!("{}/secret", outside.climbing());
    cases.push((
        "a link out",
        Box::new(move |layer, name| archive::link(layer, tar::EntryType::Symlink, name, &to_secret)),
    ));
    cases.push((
        "a long line",
        Box::new(move |layer, name| archive::file(layer, name, 0o644, line.repeat(24).as_bytes())),
    ));
    cases.push(("many lines", Box::new(move |layer, name| archive::file(layer, name, 0o644, many.as_bytes()))));
    let memberships = lines(100_000, &|n| format!("g{n}:x:{}:app\n", 2000 + n));
    cases.push((
        "many groups",
        Box::new(move |layer, name| {
            let content = if name.ends_with("group") { memberships.as_str() } else { passwd };
            archive::file(layer, name, 0o644, content.as_bytes());
        }),
    ));
    cases.push((
        "a device",
        Box::new(|layer, name| {
            let mut header = archive::header(tar::EntryType::Char, name, 0o666, 0);
            header.set_device_major(1).unwrap();
            header.set_device_minor(5).unwrap();
            header.set_cksum();
            layer.append(&header, std::io::empty()).unwrap();
        }),
    ));
    for (what, make) in &cases {
        for files in [&["etc/group"][..], &["etc/passwd", "etc/group"]] {
            let mut layer = archive::builder();
            archive::add(&mut layer, tar::EntryType::Directory, "bin/", 0o755);
            archive::file(
                &mut layer,
                "bin/prober",
                0o755,
                &fs::read(casemate_tests::images::prober().unwrap()).unwrap(),
            );
            archive::add(&mut layer, tar::EntryType::Fifo, "pipe", 0o644);
            if !files.contains(&"etc/passwd") {
                archive::file(&mut layer, "etc/passwd", 0o644, passwd.as_bytes());
            }
            for file in files {
                make(&mut layer, file);
            }
            let imported = engine.run_with_input(&["import", "-", "odd"], archive::finish(layer));
            if imported.code != 0 {
                continue;
            }
            for user in ["app", "1000:web"] {
                let begin = std::time::Instant::now();
                let words = ["run", "--rm", "-u", user, "odd", "/bin/prober", "ids"];
                // Bounded: an engine that reads all of it is killed.
                let mut limited = Command::new("bash");
                let command = engine.command(&words);
                limited
                    .args(["-c", "ulimit -v 300000; exec \"$@\"", "bash"])
                    .arg(command.get_program())
                    .args(command.get_args());
                engine.environment(&mut limited);
                let output = command::run(&mut limited, None, std::time::Duration::from_secs(20));
                ways::assert_kept(&output, what);
                assert!(
                    output.code == 0 || output.code == 125 || output.code == 126,
                    "{what} as {files:?}: {} {}",
                    output.code,
                    output.stderr
                );
                assert!(begin.elapsed().as_secs() < 10, "{what} as {files:?} takes {:?}", begin.elapsed());
            }
        }
    }
}
