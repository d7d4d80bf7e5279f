//! Archives: what is unpacked where, and what an image's files are followed to.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use casemate_tests::{Engine, archive};
use serde_json::json;
use tar::EntryType;

use crate::table::Attack;
use crate::ways::{self, Outside};

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        test: "archives::entries_lead_out_of_the_image",
        section: 'D',
        ids: "CVE-2025-47290, CVE-2021-32760, CVE-2026-17106, CVE-2024-3727, CVE-2021-29136, \"zip slip\"",
        attempt: "Files, directories, modes, hard links, devices and whiteouts whose names or targets lead out: `..`, absolute, through links of the same layer, of a layer below, to a link that is put in the place of a \
            directory, in GNU long names and in PAX headers; the root itself as a link. By `import` and by `load`",
        defence: "Every entry beneath a held directory with `openat2(RESOLVE_BENEATH)`; links are never followed as parents; hard links only to files of the image",
        result: "refused with the entry's name, or made inside; on the host nothing is made, changed or linked",
        red: "patch: `..` accepted and parents opened without flags: a file was made outside",
    },
    Attack {
        test: "archives::a_mode_or_an_owner_is_changed_outside",
        section: 'D',
        ids: "CVE-2021-32760",
        attempt: "A link to a file of the host, then an entry of the same name with another mode, owner, time or attribute; and hard links to the host's files",
        defence: "Attributes are set through the descriptor of what was made",
        result: "the host's file keeps its mode, owner and time",
        red: "the same patch: the host's file had a second link",
    },
    Attack {
        test: "archives::whiteouts_remove_files_of_the_host",
        section: 'D',
        ids: "whiteouts through links (umoci, containers/storage)",
        attempt: "A layer has a link to a directory of the host, the next has `.wh.` files and opaque markers below it, `.wh...`, `.wh..` and one of a name with a slash",
        defence: "Whiteouts are applied to the directories of the layers, by descriptor",
        result: "nothing of the host is removed",
        red: "not by a patch: whiteouts become overlay whiteouts in the layer, nothing is ever removed",
    },
    Attack {
        test: "archives::sizes_and_counts_are_lied_about",
        section: 'D',
        ids: "CVE-2017-14992, gzip and zstd bombs, sparse maps, deep paths, CVE-2021-33909",
        attempt: "Headers of exabytes, sparse maps of exabytes, 70 000 nested directories, names of 100 KiB, a million empty entries, PAX headers of a gigabyte, bombs of bombs, a window of 2 GiB",
        defence: "Limits of size, count, name, depth, ratio and memory, checked while reading",
        result: "refused in seconds and within 400 MiB, nothing is left in the store",
        red: "patch: without the ratio: the gzip bomb was unpacked",
    },
    Attack {
        test: "archives::attributes_give_rights",
        section: 'D',
        ids: "trusted.*, security.* and overlay attributes, set-user-id bits, devices",
        attempt: "Entries with `trusted.overlay.redirect`, `trusted.overlay.opaque`, `user.overlay.*`, `security.capability`, `security.selinux`, set-user-id bits and device nodes",
        defence: "Attributes but a known few are dropped; the root is nosuid and nodev",
        result: "no redirect, no capability, no device",
        red: "patch: all attributes kept: `user.overlay.redirect` was on the directory",
    },
    Attack {
        test: "archives::a_volume_copies_the_host",
        section: 'D',
        ids: "CVE-2022-23648, CVE-2018-15664",
        attempt: "The image has a `VOLUME`, or a named volume is mounted, where its path is a link out of the image, or where files in it are links to the host's",
        defence: "What is copied into a new volume is opened beneath the image's root; links are copied as links",
        result: "the volume has nothing of the host's",
        red: "patch: paths resolved without flags: the secret was in the volume",
    },
];

/// Imports a layer, and loads it in a layout; gives whether one of the two was accepted.
fn bring(engine: &Engine, outside: &Outside, name: &str, bytes: &[u8]) -> bool {
    let config = json!({"architecture": host_architecture(), "os": "linux", "config": {}});
    let layout = engine.scratch().join("layout");
    let _ = fs::remove_dir_all(&layout);
    archive::oci_layout(&layout, "loaded:one", bytes, &config);
    let imported = engine.run_with_input(&["import", "-", "imported"], bytes);
    let loaded = engine.run(&["load", "-i", layout.to_str().unwrap()]);
    for output in [&imported, &loaded] {
        assert!(matches!(output.code, 0 | 1), "{name}: {} {}", output.code, output.stderr);
        outside.assert_untouched(&format!("{name}, {}", output.line));
    }
    assert_eq!(imported.code, loaded.code, "{name}: {}{}", imported.stderr, loaded.stderr);
    imported.code == 0
}

pub(crate) fn host_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// A PAX header of one record.
fn pax(layer: &mut archive::Builder, key: &str, value: &[u8]) {
    pax_all(layer, &[(key, value)]);
}

/// A PAX header.
fn pax_all(layer: &mut archive::Builder, records: &[(&str, &[u8])]) {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let plain = key.len() + value.len() + 3;
        let mut length = plain + plain.to_string().len();
        if length.to_string().len() + plain != length {
            length += 1;
        }
        bytes.extend(format!("{length} {key}=").as_bytes());
        bytes.extend(*value);
        bytes.push(b'\n');
    }
    let header = archive::header(EntryType::XHeader, "pax", 0o644, bytes.len() as u64);
    layer.append(&header, &bytes[..]).unwrap();
}

/// Adds entries to a layer.
type Make<'a> = Box<dyn Fn(&mut archive::Builder) + 'a>;

#[test]
fn entries_lead_out_of_the_image() {
    let outside = Outside::new();
    let engine = Engine::empty();
    let out = outside.climbing();
    let absolute = outside.path().to_owned();
    let names = [
        format!("{out}/made"),
        format!("{absolute}/made"),
        format!("./{out}/made"),
        format!("a/../{out}/made"),
        format!("//{absolute}/made"),
        "..".to_owned(),
        "../made".to_owned(),
        "a/..".to_owned(),
    ];
    let secret = [
        format!("{out}/secret"),
        format!("{absolute}/secret"),
        "../../../../../../../../../etc/passwd".to_owned(),
        "/etc/passwd".to_owned(),
    ];
    let mut cases: Vec<(&str, Make<'_>)> = Vec::new();
    for name in &names {
        cases.push(("a file", Box::new(move |layer| archive::file(layer, name, 0o644, b"x\n"))));
        cases.push(("a directory", Box::new(move |layer| archive::add(layer, EntryType::Directory, name, 0o777))));
        cases.push(("a link", Box::new(move |layer| archive::link(layer, EntryType::Symlink, name, "x"))));
        cases.push(("a FIFO", Box::new(move |layer| archive::add(layer, EntryType::Fifo, name, 0o666))));
        cases.push((
            "in PAX",
            Box::new(move |layer| {
                pax(layer, "path", name.as_bytes());
                archive::file(layer, "harmless", 0o644, b"x\n");
            }),
        ));
        cases.push((
            "a GNU long name",
            Box::new(move |layer| {
                let mut long = name.clone().into_bytes();
                long.push(0);
                layer
                    .append(
                        &archive::header(EntryType::GNULongName, "././@LongLink", 0o644, long.len() as u64),
                        &long[..],
                    )
                    .unwrap();
                archive::file(layer, "harmless", 0o644, b"x\n");
            }),
        ));
    }
    for target in &secret {
        cases.push(("a hard link", Box::new(move |layer| archive::link(layer, EntryType::Link, "hard", target))));
        cases.push((
            "a hard link in PAX",
            Box::new(move |layer| {
                pax(layer, "linkpath", target.as_bytes());
                archive::link(layer, EntryType::Link, "hard", "harmless");
            }),
        ));
        cases.push((
            "a hard link to a link, then written",
            Box::new(move |layer| {
                archive::link(layer, EntryType::Symlink, "soft", target);
                archive::link(layer, EntryType::Link, "hard", "soft");
                archive::file(layer, "hard", 0o644, b"written\n");
            }),
        ));
        cases.push((
            "a link, then a file of its name",
            Box::new(move |layer| {
                archive::link(layer, EntryType::Symlink, "soft", target);
                archive::file(layer, "soft", 0o644, b"written\n");
            }),
        ));
    }
    for target in [&out, &absolute] {
        cases.push((
            "through a link",
            Box::new(move |layer| {
                archive::link(layer, EntryType::Symlink, "way", target);
                archive::file(layer, "way/made", 0o644, b"x\n");
            }),
        ));
        cases.push((
            "through two links",
            Box::new(move |layer| {
                archive::link(layer, EntryType::Symlink, "one", target);
                archive::link(layer, EntryType::Symlink, "two", "one");
                archive::add(layer, EntryType::Directory, "two/made/", 0o755);
                archive::file(layer, "two/made/file", 0o644, b"x\n");
            }),
        ));
        cases.push((
            "a directory that becomes a link",
            Box::new(move |layer| {
                archive::add(layer, EntryType::Directory, "way/", 0o755);
                archive::file(layer, "way/first", 0o644, b"x\n");
                archive::link(layer, EntryType::Symlink, "way", target);
                archive::file(layer, "way/made", 0o644, b"x\n");
                archive::add(layer, EntryType::Directory, "way/", 0o700);
            }),
        ));
        cases.push((
            "the root is a link",
            Box::new(move |layer| {
                archive::link(layer, EntryType::Symlink, "./", target);
                archive::link(layer, EntryType::Symlink, ".", target);
                archive::file(layer, "made", 0o644, b"x\n");
            }),
        ));
        cases.push((
            "step by step",
            Box::new(move |layer| {
                archive::link(layer, EntryType::Symlink, "a", ".");
                archive::link(layer, EntryType::Symlink, "a/b", "..");
                archive::link(layer, EntryType::Symlink, "b/c", target);
                archive::file(layer, "b/c/made", 0o644, b"x\n");
                archive::file(layer, "a/b/c/made", 0o644, b"x\n");
            }),
        ));
    }
    let (mut accepted, mut refused) = (0, 0);
    for (name, make) in &cases {
        let mut layer = archive::builder();
        make(&mut layer);
        if bring(&engine, &outside, name, &archive::finish(layer)) { accepted += 1 } else { refused += 1 }
    }
    assert!(refused > 60, "{accepted} accepted, {refused} refused");
    // What was accepted is inside.
    for layer in fs::read_dir(engine.data().join("layers")).unwrap().flatten() {
        find_foreign(&layer.path(), &outside);
    }
}

/// Asserts that no file below is one of the host's.
fn find_foreign(directory: &Path, outside: &Outside) {
    let secret = fs::metadata(format!("{}/secret", outside.path())).unwrap().ino();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let facts = entry.path().symlink_metadata().unwrap();
        assert_ne!(facts.ino(), secret, "{} is the host's secret", entry.path().display());
        if facts.is_dir() {
            find_foreign(&entry.path(), outside);
        }
    }
}

#[test]
fn a_mode_or_an_owner_is_changed_outside() {
    let outside = Outside::new();
    let engine = Engine::empty();
    let file = format!("{}/secret", outside.path());
    let facts = || {
        let facts = fs::metadata(&file).unwrap();
        (facts.mode(), facts.uid(), facts.gid(), facts.mtime(), facts.ctime(), facts.ctime_nsec(), facts.nlink())
    };
    let before = facts();
    for target in [format!("{}/secret", outside.climbing()), file.clone()] {
        for kind in [EntryType::Regular, EntryType::Directory, EntryType::Link, EntryType::Fifo, EntryType::Symlink] {
            let mut layer = archive::builder();
            archive::link(&mut layer, EntryType::Symlink, "soft", &target);
            let mut header = archive::header(kind, "soft", 0o4777, 0);
            header.set_uid(4242);
            header.set_gid(4242);
            if matches!(kind, EntryType::Link | EntryType::Symlink) {
                header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
            }
            header.set_cksum();
            layer.append(&header, std::io::empty()).unwrap();
            bring(&engine, &outside, "changed", &archive::finish(layer));
            assert_eq!(facts(), before, "{kind:?} over a link to {target}");
        }
    }
}

#[test]
fn whiteouts_remove_files_of_the_host() {
    let outside = Outside::new();
    let engine = Engine::empty();
    for target in [outside.climbing(), outside.path().to_owned()] {
        for name in [
            "way/.wh.secret",
            "way/.wh..wh..opq",
            ".wh...",
            ".wh..",
            ".wh.",
            "way/.wh.../.wh.secret",
            ".wh.a/../way/secret",
        ] {
            for both in [true, false] {
                let mut layer = archive::builder();
                if both {
                    archive::link(&mut layer, EntryType::Symlink, "way", &target);
                }
                archive::file(&mut layer, name, 0o644, b"");
                bring(&engine, &outside, name, &archive::finish(layer));
            }
        }
    }
}

#[test]
fn sizes_and_counts_are_lied_about() {
    let engine = Engine::empty();
    let before = stored(&engine);
    let mut cases: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut case = |name, make: &dyn Fn(&mut archive::Builder)| {
        let mut layer = archive::builder();
        make(&mut layer);
        cases.push((name, archive::finish(layer)));
    };
    for size in [1 << 33, 1 << 40, (1 << 62) - 1] {
        case("a size", &move |layer| {
            layer
                .append(&archive::header(EntryType::Regular, "huge", 0o644, size), std::io::Cursor::new(vec![0; 4096]))
                .ok();
        });
    }
    case("a sparse map", &|layer| {
        let map: [(&str, &[u8]); 3] =
            [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"9223372036854775807")];
        pax_all(layer, &map);
        archive::file(layer, "sparse", 0o644, b"1\n9223372036854775000\n1\n");
    });
    case("a size in PAX", &|layer| {
        pax(layer, "size", b"18446744073709551615");
        archive::file(layer, "sized", 0o644, b"x");
    });
    case("a PAX header of a gigabyte", &|layer| {
        layer
            .append(
                &archive::header(EntryType::XHeader, "pax", 0o644, 1 << 30),
                std::io::Cursor::new(vec![b'1'; 1 << 20]),
            )
            .ok();
    });
    case("a long name", &|layer| {
        let long = vec![b'n'; 200_000];
        layer
            .append(&archive::header(EntryType::GNULongName, "././@LongLink", 0o644, long.len() as u64), &long[..])
            .unwrap();
        archive::file(layer, "harmless", 0o644, b"x\n");
    });
    case("a deep path", &|layer| {
        let mut long = "d/".repeat(70_000).into_bytes();
        long.push(0);
        layer
            .append(&archive::header(EntryType::GNULongName, "././@LongLink", 0o644, long.len() as u64), &long[..])
            .unwrap();
        archive::add(layer, EntryType::Directory, "harmless", 0o755);
    });
    for (name, bytes) in cases {
        let begin = std::time::Instant::now();
        let output = limited(&engine, &["import", "-", "lie"], bytes);
        assert!(matches!(output.code, 1), "{name}: {} {}", output.code, output.stderr);
        assert!(begin.elapsed().as_secs() < 15, "{name} takes {:?}", begin.elapsed());
        assert_eq!(stored(&engine), before, "{name} left something behind");
    }
    // Bombs: a whole archive of zeros, larger than what may grow at any rate.
    let tar = {
        let size = 300_u64 << 20;
        let mut layer = archive::header(EntryType::Regular, "zeros", 0o644, size).as_bytes().to_vec();
        layer.resize(layer.len() + usize::try_from(size).unwrap() + 1024, 0);
        layer
    };
    for program in ["gzip", "zstd"] {
        let mut pack = std::process::Command::new(program);
        pack.args(["-c"]).arg("-1");
        let once = casemate_tests::command::run(&mut pack, Some(tar.clone()), casemate_tests::command::LIMIT).bytes;
        let output = limited(&engine, &["import", "-", "bomb"], once);
        assert_eq!(output.code, 1, "{program}: {}", output.stderr);
        assert_eq!(stored(&engine), before, "{program} left something behind");
    }
}

/// What is in the store but for what all have.
pub(crate) fn stored(engine: &Engine) -> Vec<String> {
    let mut found = Vec::new();
    for directory in ["images/blobs/sha256", "layers", "staging"] {
        for entry in fs::read_dir(engine.data().join(directory)).into_iter().flatten().flatten() {
            if entry.file_name() != "skeleton" {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

/// Runs a command that may not take much memory.
fn limited(engine: &Engine, words: &[&str], input: Vec<u8>) -> casemate_tests::Output {
    let command = engine.command(words);
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", "ulimit -v 400000; exec \"$@\"", "bash"]).arg(command.get_program()).args(command.get_args());
    engine.environment(&mut shell);
    casemate_tests::command::run(&mut shell, Some(input), casemate_tests::command::LIMIT)
}

#[test]
fn attributes_give_rights() {
    let capability = b"\x01\0\0\x02\xff\xff\xff\xff\0\0\0\0\xff\x01\0\0\0\0\0\0";
    let engine = ways::engine_with(|layer| {
        archive::add(layer, EntryType::Directory, "hidden/", 0o755);
        archive::file(layer, "hidden/file", 0o644, b"redirected\n");
        let redirect: [(&str, &[u8]); 2] =
            [("SCHILY.xattr.trusted.overlay.redirect", b"/hidden"), ("SCHILY.xattr.user.overlay.redirect", b"/hidden")];
        pax_all(layer, &redirect);
        archive::add(layer, EntryType::Directory, "redirected/", 0o755);
        pax(layer, "SCHILY.xattr.trusted.overlay.opaque", b"y");
        archive::add(layer, EntryType::Directory, "opaque/", 0o755);
        pax(layer, "SCHILY.xattr.security.selinux", b"system_u:object_r:evil_t:s0");
        archive::file(layer, "labelled", 0o644, b"x\n");
        let prober = fs::read(casemate_tests::images::prober().unwrap()).unwrap();
        pax(layer, "SCHILY.xattr.security.capability", capability);
        archive::file(layer, "bin/capable", 0o755, &prober);
        archive::file(layer, "bin/rooted", 0o6755, &prober);
    });
    let script = "cat /redirected/file 2>/dev/null; capable ids; rooted ids; grep -E 'CapEff|CapPrm' /proc/self/status";
    for flags in [
        &["-u", "1000"][..],
        &["-u", "1000", "--security-opt", "no-new-privileges=false", "--cap-add", "NET_RAW"],
        &["-u", "1000", "--userns", "host", "--allow", "host-userns", "--security-opt", "no-new-privileges=false"],
    ] {
        let said = engine.sh(flags, script).stdout();
        assert!(!said.contains("redirected"), "{flags:?}: {said}");
        // Where programs may gain rights by their files, what they gain is the container's; an id is all there is here.
        let set_id = flags.contains(&"no-new-privileges=false");
        let rights = said.matches(if set_id { "uid 1000 " } else { "uid 1000 1000 1000 " }).count();
        // A program that the kernel can't give its capabilities is not executed at all.
        assert!(rights == 2 || (set_id && rights == 1), "{flags:?}: {said}");
    }
    let running = engine.sleeper("running", &[]);
    for name in ["redirected", "opaque", "labelled"] {
        let path = format!("/proc/{}/root/{name}", running.pid());
        let mut list = [0_u8; 4096];
        let length = rustix::fs::llistxattr(&path, &mut list).unwrap();
        let names = String::from_utf8_lossy(&list[..length]).into_owned();
        assert!(!names.contains("overlay") && !names.contains("selinux"), "{name}: {names:?}");
    }
    for layer in fs::read_dir(engine.data().join("layers")).unwrap().flatten() {
        let directory = layer.path().join("fs/redirected");
        let mut list = [0_u8; 4096];
        if let Ok(length) = rustix::fs::llistxattr(&directory, &mut list) {
            let names = String::from_utf8_lossy(&list[..length]).into_owned();
            assert!(!names.contains("redirect"), "{}: {names:?}", directory.display());
        }
    }
}

#[test]
fn a_volume_copies_the_host() {
    let outside = Outside::new();
    let engine = Engine::empty();
    let secret = format!("{}/secret", outside.climbing());
    for link in
        [outside.climbing(), outside.path().to_owned(), "/proc/self/root/etc".to_owned(), "/proc/1/root".to_owned()]
    {
        let image = ways::image(|layer| {
            archive::link(layer, EntryType::Symlink, "data/out", &link);
            archive::link(layer, EntryType::Symlink, "data/secret", &secret);
            archive::link(layer, EntryType::Symlink, "data/absolute", &format!("{}/secret", outside.path()));
            archive::link(layer, EntryType::Symlink, "linked", &link);
        });
        for volume in ["/linked", "/linked/", "/data", "/data/out", "/data/../linked", "/linked/deep"] {
            let change = format!("VOLUME {volume}");
            if engine.run_with_input(&["import", "-c", &change, "-", "volumes"], image.clone()).code != 0 {
                continue;
            }
            let script = format!(
                "cat {volume}/secret {volume}/out/secret {volume}/absolute {volume}/shadow /linked/secret; ls {volume}; true"
            );
            for flags in [
                &[][..],
                &["-v", "named:/linked"],
                &["-v", "other:/data"],
                &["--userns", "host", "--allow", "host-userns"],
            ] {
                let words: Vec<&str> =
                    ["run", "--rm"].iter().chain(flags).chain(&["volumes", "sh", "-c", &script]).copied().collect();
                let output = engine.run(&words);
                ways::assert_kept(&output, &format!("{link} {volume} {flags:?}"));
                outside.assert_untouched(&format!("{link} {volume} {flags:?}"));
            }
            for kept in fs::read_dir(engine.data().join("volumes")).into_iter().flatten().flatten() {
                no_secret(&kept.path());
            }
        }
    }
    assert_eq!(fs::metadata(outside.path()).unwrap().permissions().mode() & 0o777, 0o777);
}

/// Asserts that no file below holds the secret; links are not followed.
fn no_secret(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            no_secret(&entry.path());
        } else if kind.is_file() {
            assert_ne!(fs::read(entry.path()).unwrap(), ways::SECRET.as_bytes(), "{}", entry.path().display());
        }
    }
}
