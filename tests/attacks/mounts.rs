//! Mounts: targets that are links, and targets that are exchanged while the mount is made.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use casemate_tests::{Runtime, archive, host};
use serde_json::json;
use tar::EntryType;

use crate::race::Swapper;
use crate::table::Attack;
use crate::ways::{self, Outside};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        test: "mounts::a_target_is_a_link_out_of_a_bundle",
        section: 'A',
        ids: "CVE-2021-30465, CVE-2025-54867, CVE-2024-9341, CVE-2017-1002101",
        attempt: "Destinations of bind mounts, tmpfs and devices of a bundle lead through links out of the root file system: absolute, relative, through `/proc/1/root`",
        defence: "`openat2(RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS)`; the mount is attached to that descriptor, not to a name",
        result: "refused, or mounted at the same name inside; nothing is made or mounted on the host",
        red: "patch: paths resolved without flags: a `null` was made outside",
    },
    Attack {
        test: "mounts::a_target_is_exchanged_while_it_is_mounted_on",
        section: 'A',
        ids: "CVE-2021-30465, CVE-2024-45310, CVE-2021-25741",
        attempt: "Two containers share a volume. The one exchanges a directory in it and a link to the host, all the time; the other is started again and again with mounts \
            on, and on missing directories below, that directory",
        defence: "Mount points are found and made by descriptor beneath the root (`openat2`, `mkdirat` in held directories); sources are opened before any process of the container exists",
        result: "started, or refused; nothing is made or mounted on the host, and its files are not seen",
        red: "patch: paths resolved without flags: something was made outside at the second and fourth start; and with Debian's runc 1.1.5 in the place of `casemate oci`",
    },
    Attack {
        test: "mounts::dev_is_a_link_to_the_host",
        section: 'A',
        ids: "CVE-2026-41579",
        attempt: "`/dev` of the root file system is a link to a directory of the host that has a `ptmx`, a `console` and a `null`; with and without a mount on `/dev`; \
            with a terminal and without",
        defence: "Everything in `/dev` is made relative to a descriptor of it that was opened beneath the root",
        result: "nothing there is removed, replaced or made",
        red: "patch: paths resolved without flags: the host's `ptmx` was gone; and with Debian's runc 1.1.5",
    },
    Attack {
        test: "mounts::the_masks_device_is_exchanged",
        section: 'A',
        ids: "CVE-2025-31133, CVE-2025-62161",
        attempt: "`/dev` is a directory that the attacker has a hand in; its `null` is a link to a file of the host, a file, or another device, from the start, or is exchanged with one during it",
        defence: "The null device is opened beneath the root and must be 1:3; masks are attached by descriptor",
        result: "refused, or the masked files are empty",
        red: "patch: the device not verified: the masked files told the secret; and with Debian's runc 1.1.5 in the place of `casemate oci`",
    },
];

#[test]
fn a_target_is_a_link_out_of_a_bundle() {
    let outside = Outside::new();
    let runtime = Runtime::new();
    let source = runtime.scratch().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "mounted\n").unwrap();
    let links = [
        ("absolute", outside.path().to_owned()),
        ("relative", outside.climbing()),
        ("magic", format!("/proc/1/root{}", outside.path())),
        ("self", format!("/proc/self/root{}", outside.path())),
        ("up", "../../../../../../../..".to_owned()),
    ];
    let destinations: Vec<String> = links
        .iter()
        .flat_map(|(name, _)| ["", "/made", "/made/deep", "/secret"].map(|below| format!("/{name}{below}")))
        .chain([format!("/up{}/made", outside.path()), format!("/../../../../../..{}/made", outside.path())])
        .collect();
    let directory = json!({"type": "bind", "source": source, "options": ["rbind"]});
    let file = json!({"type": "bind", "source": source.join("file"), "options": ["rbind"]});
    let tmpfs = json!({"type": "tmpfs", "source": "tmpfs", "options": ["mode=777"]});
    for user_namespace in [false, true] {
        let mut bundle = ways::bundle(&runtime).sh("true");
        for (name, target) in &links {
            symlink(target, bundle.rootfs().join(name)).unwrap();
        }
        if user_namespace {
            bundle = bundle.user_namespace();
        }
        let mounts = bundle.config["mounts"].clone();
        for destination in &destinations {
            for kind in [&directory, &file, &tmpfs] {
                let mut mount = kind.clone();
                mount["destination"] = destination.as_str().into();
                bundle.config["mounts"] = mounts.clone();
                bundle.config["mounts"].as_array_mut().unwrap().push(mount.clone());
                let output = bundle.run();
                outside.assert_untouched(&format!("{mount}: {}", output.stderr));
                assert!(host::mounts_with(outside.path()).is_empty(), "{mount}: mounted on the host");
                runtime.run(&["delete", "--force", &bundle.id]);
            }
            let device =
                json!({"path": format!("{destination}/null"), "type": "c", "major": 1, "minor": 3, "fileMode": 438});
            bundle.config["mounts"] = mounts.clone();
            bundle.config["linux"]["devices"] = json!([device]);
            bundle.run();
            bundle.config["linux"]["devices"] = json!([]);
            outside.assert_untouched(&format!("{device}"));
            runtime.run(&["delete", "--force", &bundle.id]);
        }
    }
}

/// Paths below the shared directory that the second container mounts on.
const RACED: [&str; 4] = ["/vol/x", "/vol/x/deep", "/vol/x/made/deeper", "/vol/x/file"];

/// A link that climbs out of a root file system, and one that leads out from the host's root: what stops the one need not stop the other.
fn ways_out(outside: &Outside) -> [String; 2] {
    [outside.climbing(), outside.path().to_owned()]
}

#[test]
fn a_target_is_exchanged_while_it_is_mounted_on() {
    let outside = Outside::new();
    let runtime = Runtime::new();
    let source = runtime.scratch().join("source");
    fs::create_dir(&source).unwrap();
    for (way, link) in ways_out(&outside).into_iter().enumerate() {
        let shared = runtime.scratch().join(format!("shared-{way}"));
        fs::create_dir_all(shared.join("x/deep")).unwrap();
        symlink(link, shared.join("y")).unwrap();
        // The one, in a container as an attacker would be.
        let swap = ["/bin/attacker", "swap", "100", "/vol/x", "/vol/y"];
        let exchanging = ways::bundle(&runtime).bind(&shared, "/vol", &["rw"]).args(&swap);
        exchanging.launch();
        let script = format!(
            "cat /vol/x/secret /vol/x/deep/secret /vol/y/secret {0}/secret; echo x > /vol/x/secret; true",
            outside.path()
        );
        let (mut started, mut refused) = (0, 0);
        let end = Instant::now() + Duration::from_millis(1500);
        let mut bundle = ways::bundle(&runtime).bind(&shared, "/vol", &["rw"]).sh(&script);
        let mounts = bundle.config["mounts"].clone();
        while Instant::now() < end || started + refused < RACED.len() {
            let target = RACED[(started + refused) % RACED.len()];
            bundle.config["mounts"] = mounts.clone();
            let mount = json!({"type": "bind", "source": source, "destination": target, "options": ["rbind"]});
            let below =
                json!({"type": "tmpfs", "source": "tmpfs", "destination": format!("{target}/more"), "options": []});
            bundle.config["mounts"].as_array_mut().unwrap().extend([mount, below]);
            let output = bundle.run();
            *(if output.code == 0 { &mut started } else { &mut refused }) += 1;
            ways::assert_kept(&output, target);
            outside.assert_untouched(&format!("{target}, start {}", started + refused));
            runtime.run(&["delete", "--force", &bundle.id]);
        }
        exchanging.delete();
        println!("{started} started, {refused} refused");
    }
    assert!(host::mounts_with(outside.path()).is_empty(), "mounted on the host");
}

#[test]
fn a_target_in_a_volume_is_exchanged_while_it_is_mounted_on() {
    let outside = Outside::new();
    let engine = ways::engine();
    let source = engine.directory("source");
    for (way, link) in ways_out(&outside).into_iter().enumerate() {
        let volume = format!("shared-{way}:/vol");
        engine.sh(&["-v", &volume], &format!("mkdir -p /vol/x/deep; ln -s {link} /vol/y")).ok();
        let exchanging =
            engine.background("exchanging", &["-v", &volume], &["attacker", "swap", "100", "/vol/x", "/vol/y"]);
        let script =
            format!("cat /vol/x/secret /vol/x/deep/secret {0}/secret; echo x > /vol/x/secret; true", outside.path());
        let end = Instant::now() + Duration::from_millis(1500);
        let mut number = 0;
        while Instant::now() < end || number < RACED.len() {
            let target = RACED[number % RACED.len()];
            number += 1;
            let bind = format!("{source}:{target}:rw");
            let below = format!("{target}/more");
            let output = engine.sh(&["-v", &volume, "-v", &bind, "--tmpfs", &below, "-w", target], &script);
            assert!(output.code == 0 || output.code == 125, "{}", output.stderr);
            ways::assert_kept(&output, target);
            outside.assert_untouched(&format!("{target}, start {number}"));
        }
        exchanging.remove();
    }
}

#[test]
fn dev_is_a_link_to_the_host() {
    let outside = Outside::new();
    let runtime = Runtime::new();
    let dev = Path::new(outside.path()).join("dev");
    let names = ["ptmx", "console", "null", "zero"];
    for (terminal, mounted, user_namespace) in [
        (false, true, false),
        (false, false, false),
        (true, true, false),
        (true, false, false),
        (false, true, true),
        (false, false, true),
    ] {
        fs::create_dir(&dev).unwrap();
        fs::create_dir(dev.join("pts")).unwrap();
        for name in names {
            fs::write(dev.join(name), name).unwrap();
        }
        let mut bundle =
            ways::bundle(&runtime).sh("true").edit(|config| config["process"]["terminal"] = terminal.into());
        if user_namespace {
            bundle = bundle.user_namespace();
        }
        if !mounted {
            let mounts = bundle.config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        }
        // What was unpacked has none.
        let _ = fs::remove_dir_all(bundle.rootfs().join("dev"));
        let way = if user_namespace { outside.climbing() } else { outside.path().to_owned() };
        symlink(format!("{way}/dev"), bundle.rootfs().join("dev")).unwrap();
        let console = runtime.scratch().join("c");
        let _ = fs::remove_file(&console);
        let listener = std::os::unix::net::UnixListener::bind(&console).unwrap();
        let flags = ["--console-socket", console.to_str().unwrap()];
        let output = bundle.create_with(if terminal { &flags } else { &[] });
        if output.code == 0 {
            bundle.start();
        }
        drop(listener);
        let what = format!("terminal {terminal}, mounted {mounted}: {}", output.stderr);
        for name in names {
            assert_eq!(fs::read_to_string(dev.join(name)).unwrap_or_default(), name, "{what}");
        }
        let found: Vec<_> = fs::read_dir(&dev).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(found.len(), names.len() + 1, "{what}: {found:?}");
        assert_eq!(fs::read_dir(dev.join("pts")).unwrap().count(), 0, "{what}");
        bundle.delete();
        fs::remove_dir_all(&dev).unwrap();
        outside.assert_untouched(&what);
    }
}

/// Makes something of this name.
type Make<'a> = &'a dyn Fn(&Path);

#[test]
fn the_masks_device_is_exchanged() {
    let outside = Outside::new();
    let runtime = Runtime::new();
    let dev = runtime.scratch().join("dev");
    fs::create_dir_all(dev.join("pts")).unwrap();
    fs::create_dir_all(dev.join("shm")).unwrap();
    fs::create_dir_all(dev.join("mqueue")).unwrap();
    let node = |name: &str, major, minor| {
        let kind = rustix::fs::FileType::CharacterDevice;
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(rustix::fs::CWD, dev.join(name), kind, 0o666.into(), device).unwrap();
    };
    // What each of these would be behind: the link leads to the secret, the file has something in it, the device is another.
    let evil: [(&str, Make<'_>); 4] = [
        ("link", &|path| symlink(format!("{}/secret", outside.climbing()), path).unwrap()),
        ("absolute", &|path| symlink(format!("{}/secret", outside.path()), path).unwrap()),
        ("file", &|path| fs::write(path, ways::SECRET).unwrap()),
        ("keyboard", &|path| {
            let kind = rustix::fs::FileType::CharacterDevice;
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o666.into(), rustix::fs::makedev(1, 5)).unwrap();
        }),
    ];
    let masked = ["/proc/keys", "/proc/timer_list", "/proc/kcore", "/proc/sched_debug", "/proc/latency_stats"];
    let script = format!("for f in {0}; do head -c 64 $f; echo x > $f; done; true", masked.join(" "));
    let start = |what: &str| {
        let mut bundle = ways::bundle(&runtime).sh(&script);
        bundle.config["linux"]["maskedPaths"] = json!(masked);
        for mount in bundle.config["mounts"].as_array_mut().unwrap() {
            if mount["destination"] == "/dev" {
                *mount = json!({"type": "bind", "source": dev, "destination": "/dev", "options": ["rbind", "rw"]});
            }
        }
        let output = bundle.run();
        ways::assert_kept(&output, what);
        assert_eq!(output.stdout(), "", "{what}: a masked file tells something");
        outside.assert_untouched(what);
        output.code == 0
    };
    // First as it is.
    for (name, make) in &evil {
        let _ = fs::remove_file(dev.join("null"));
        make(&dev.join("null"));
        start(name);
    }
    // Then while it is exchanged.
    for (name, make) in &evil {
        for file in ["null", "other"] {
            let _ = fs::remove_file(dev.join(file));
        }
        node("null", 1, 3);
        make(&dev.join("other"));
        let swapper = Swapper::start(&dev.join("null"), &dev.join("other"));
        let end = Instant::now() + Duration::from_secs(1);
        let (mut starts, mut whole) = (0, 0);
        while Instant::now() < end {
            starts += 1;
            whole += i32::from(start(name));
        }
        println!("{name}: {whole} of {starts} started, {} exchanges", swapper.stop());
    }
}

#[test]
fn links_for_archives() {
    // The same for images, whose links are unpacked by the engine: mounts::links_in_a_hostile_image_lead_nowhere has most of it.
    let outside = Outside::new();
    let engine = ways::engine_with(|layer| {
        archive::link(layer, EntryType::Symlink, "absolute", outside.path());
        archive::link(layer, EntryType::Symlink, "relative", &outside.climbing());
    });
    for destination in ["/absolute", "/relative", "/relative/made", "/absolute/made/deep", "/relative/secret"] {
        for kind in
            [vec!["--tmpfs", destination], vec!["-v", "/srv:PLACE"], vec!["-v", "vol:PLACE"], vec!["-w", destination]]
        {
            let flags: Vec<String> = kind.iter().map(|word| word.replace("PLACE", destination)).collect();
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let output = engine.sh(&flags, &format!("cat {destination}/secret; echo x > {destination}/made; true"));
            ways::assert_kept(&output, destination);
            outside.assert_untouched(&format!("{flags:?}"));
        }
    }
}
