//! Mounts, root file system and kernel parameters of OCI bundles, as `config.md` and `config-linux.md` have them.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use casemate_tests::bundle::{Bundle, Runtime};
use casemate_tests::{host, missing, skip};
use serde_json::{Value, json};

/// A file system of the host's own for a test, unmounted at its end.
struct Mounted(PathBuf);

impl Mounted {
    #[track_caller]
    fn tmpfs(path: &Path, options: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "casemate-test"]).arg(path).status();
        assert!(done.unwrap().success());
        Self(path.to_owned())
    }

    #[track_caller]
    fn make(&self, propagation: &str) {
        assert!(Command::new("mount").arg(propagation).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-R", "-l"]).arg(&self.0).status();
    }
}

fn tmpfs(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}

fn bind(source: &Path, destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "none", "source": source, "options": options})
}

/// The options that the container sees of what is mounted at a path: of the mount, and of the file system.
#[track_caller]
fn options_of(bundle: Bundle<'_>, path: &str) -> (Vec<String>, Vec<String>) {
    let script = format!("grep ' {path} ' /proc/self/mountinfo | tail -n 1");
    let line = bundle.sh(&script).run().ok();
    let words: Vec<&str> = line.split(' ').collect();
    let split = |text: &str| text.split(',').map(str::to_owned).collect();
    (split(words[5]), split(words[words.len() - 1]))
}

/// Runs the bundle, which must fail with an error that begins with this field; nothing is left of it.
#[track_caller]
fn refused(bundle: &Bundle<'_>, words: &[&str]) {
    let output = bundle.run();
    assert_ne!(output.code, 0, "{output:?}");
    for word in words {
        // In a log line quotes are escaped.
        let said = output.stderr.replace("\\\"", "\"");
        assert!(said.contains(word), "{word:?} is not in {said:?}");
    }
    assert_eq!(bundle.left_over(), Vec::<String>::new());
}

#[test]
fn attributes_of_mounts_are_as_their_options_say() {
    let runtime = Runtime::new();
    for (options, there, not_there) in [
        ("ro", "ro", "rw"),
        ("ro,rw", "rw", "ro"),
        ("nosuid,nodev,noexec", "nosuid nodev noexec", ""),
        ("nosuid,suid,nodev,dev,noexec,exec", "rw", "nosuid nodev noexec"),
        ("noatime", "noatime", "relatime"),
        ("noatime,atime", "relatime", "noatime"),
        ("strictatime", "rw", "relatime noatime"),
        ("strictatime,nostrictatime", "relatime", ""),
        ("nodiratime", "nodiratime relatime", ""),
        ("nodiratime,diratime", "relatime", "nodiratime"),
        ("nosymfollow", "nosymfollow", ""),
        ("nosymfollow,symfollow", "rw", "nosymfollow"),
        ("defaults,iversion,noiversion,silent,loud,norelatime", "relatime rw", ""),
    ] {
        let list: Vec<&str> = options.split(',').collect();
        let source = runtime.scratch().to_owned();
        let mounts =
            [tmpfs("/m", &list), bind(&source, "/m", &["bind"].iter().chain(&list).copied().collect::<Vec<_>>())];
        for mount in mounts {
            let (found, _) = options_of(runtime.bundle().mount(mount.clone()), "/m");
            for word in there.split_ascii_whitespace() {
                assert!(found.iter().any(|option| option == word), "{word} of {mount} is not in {found:?}");
            }
            for word in not_there.split_ascii_whitespace() {
                assert!(found.iter().all(|option| option != word), "{word} in spite of {mount} is in {found:?}");
            }
        }
    }
}

#[test]
fn flags_and_options_of_file_systems_reach_them() {
    let runtime = Runtime::new();
    let list = ["sync", "dirsync", "lazytime", "size=64k,nr_inodes=50", "mode=0711"];
    let (_, found) = options_of(runtime.bundle().mount(tmpfs("/m", &list)), "/m");
    for word in ["sync", "dirsync", "lazytime", "size=64k", "nr_inodes=50", "mode=711"] {
        assert!(found.iter().any(|option| option == word), "{word} is not in {found:?}");
    }
    let (_, found) =
        options_of(runtime.bundle().mount(tmpfs("/m", &["sync", "async", "lazytime", "nolazytime"])), "/m");
    assert!(!found.iter().any(|option| option == "sync" || option == "lazytime"), "{found:?}");
    refused(&runtime.bundle().mount(tmpfs("/m", &["no-such-option=1"])), &["mounts[7]", "no-such-option"]);
    let unknown = json!({"destination": "/m", "type": "no-such-fs"});
    refused(&runtime.bundle().mount(unknown), &["mounts[7]", "no-such-fs"]);
}

#[test]
fn recursive_options_reach_all_that_is_mounted_below() {
    let runtime = Runtime::new();
    let source = runtime.scratch().join("source");
    let _top = Mounted::tmpfs(&source, "mode=755");
    let _below = Mounted::tmpfs(&source.join("below"), "mode=755,noatime");
    let below = |options: &[&str]| {
        let options: Vec<&str> = ["rbind"].iter().chain(options).copied().collect();
        options_of(runtime.bundle().mount(bind(&source, "/m", &options)), "/m/below").0
    };
    let has = |options: &[&str], word: &str| below(options).iter().any(|option| option == word);
    assert!(has(&["ro"], "rw"), "ro is for the top only");
    assert!(has(&["rro"], "ro"));
    assert!(has(&["ro", "rro", "rrw"], "rw"));
    for (option, shown) in
        [("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec"), ("rnosymfollow", "nosymfollow")]
    {
        assert!(has(&[option], shown), "{option}");
        let opposite = option.replacen("rno", "r", 1);
        assert!(!has(&[option, &opposite], shown), "{opposite}");
    }
    assert!(
        has(&[], "noatime") && has(&["rnodiratime"], "nodiratime") && !has(&["rnodiratime", "rdiratime"], "nodiratime")
    );
    for option in ["ratime", "rrelatime", "rnorelatime", "rnostrictatime"] {
        assert!(has(&[option], "relatime"), "{option}");
    }
    let strict = below(&["rstrictatime"]);
    assert!(!strict.iter().any(|option| option.ends_with("atime")), "{strict:?}");
    assert!(has(&["rstrictatime", "rnoatime"], "noatime"));
}

#[test]
fn binds_come_from_the_bundle_and_make_what_is_missing() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle();
    fs::write(bundle.directory().join("file"), "content\n").unwrap();
    fs::create_dir_all(bundle.directory().join("dir/sub")).unwrap();
    symlink("file", bundle.directory().join("link")).unwrap();
    // Dangling, to be made inside the root.
    symlink("/run/dangling/resolv.conf", bundle.rootfs().join("etc/resolv.conf")).unwrap();
    symlink("/data", bundle.rootfs().join("way")).unwrap();
    let script = "cat /new/place/file /etc/resolv.conf /way/link; ls /rel /data; stat -c %a /new /new/place; test -f /rel/dir/sub || echo dir";
    let output = bundle
        .mount(bind(Path::new("file"), "/new/place/file", &["bind"]))
        .mount(bind(Path::new("link"), "/etc/resolv.conf", &["bind", "ro"]))
        .mount(bind(Path::new("file"), "/way/link", &["bind"]))
        .mount(bind(Path::new("dir"), "rel/dir", &["rbind"]))
        .sh(script);
    assert_eq!(output.run().ok(), "content\ncontent\ncontent\n/data:\nlink\n\n/rel:\ndir\n755\n755\ndir");
    assert!(output.rootfs().join("run/dangling/resolv.conf").is_file());
    assert!(!Path::new("/run/dangling").exists());
}

#[test]
fn wrong_mounts_are_refused_by_field() {
    let runtime = Runtime::new();
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let source = runtime.scratch().to_owned();
    for (mount, field) in [
        (bind(Path::new("/nonexistent/casemate"), "/m", &["bind"]), "mounts[7].source: "),
        (bind(Path::new("nonexistent"), "/m", &["bind"]), "mounts[7].source: "),
        (json!({"destination": "/m", "options": ["bind"]}), "mounts[7].source: "),
        (bind(&source, "/m", &["bind", "size=4k"]), "mounts[7].options: "),
        (bind(&source, "/m", &["bind", "idmap"]), "mounts[7].uidMappings: "),
        (
            json!({"destination": "/m", "source": source, "options": ["bind"], "uidMappings": map}),
            "mounts[7].gidMappings: ",
        ),
        (
            json!({"destination": "/m", "type": "tmpfs", "uidMappings": map, "gidMappings": map}),
            "mounts[7].uidMappings: ",
        ),
        (json!({"destination": "/m"}), "mounts[7].type: "),
        (tmpfs("/", &[]), "mounts[7].destination: "),
        (tmpfs("/proc", &[]), "mounts[7].destination: "),
        (tmpfs("/proc/self", &[]), "mounts[7].destination: "),
        (bind(&source, "/proc/sys", &["bind"]), "mounts[7].destination: "),
        (tmpfs("/etc/passwd", &[]), "mounts[7] at \"/etc/passwd\": "),
        (bind(&source, "/etc/passwd", &["bind"]), "mounts[7] at \"/etc/passwd\": "),
    ] {
        refused(&runtime.bundle().mount(mount), &[field]);
    }
}

/// CVE-2019-16884, CVE-2019-19921, CVE-2023-27561.
#[test]
fn no_link_leads_a_mount_into_proc_or_proc_elsewhere() {
    let runtime = Runtime::new();
    let source = runtime.scratch().join("file");
    fs::write(&source, "x").unwrap();
    let bundle = runtime.bundle();
    symlink("/proc/self/attr", bundle.rootfs().join("attr")).unwrap();
    refused(&bundle.mount(tmpfs("/attr", &[])), &["mounts[7] at \"/attr\"", "procfs"]);
    let bundle = runtime.bundle();
    symlink("/proc", bundle.rootfs().join("p")).unwrap();
    refused(&bundle.mount(tmpfs("/p", &[])), &["mounts[7] at \"/p\"", "procfs"]);
    let bundle = runtime.bundle();
    symlink("/proc/version", bundle.rootfs().join("trigger")).unwrap();
    refused(&bundle.mount(bind(&source, "/trigger", &["bind"])), &["mounts[7] at \"/trigger\"", "procfs"]);
    let bundle = runtime.bundle();
    refused(&bundle.mount(bind(runtime.scratch(), "/proc", &["rbind"])), &["mounts[7] at \"/proc\"", "procfs"]);
    for name in ["proc", "sys"] {
        let bundle = runtime.bundle();
        fs::create_dir(bundle.rootfs().join("bad")).unwrap();
        symlink("/bad", bundle.rootfs().join(name)).unwrap();
        refused(&bundle, &["ordinary directory"]);
    }
    // What lxcfs emulates.
    let bundle = runtime.bundle().mount(bind(&source, "/proc/meminfo", &["bind"])).sh("cat /proc/meminfo");
    assert_eq!(bundle.run().ok(), "x");
}

#[test]
fn a_tmpfs_copies_what_it_covers() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle();
    let data = bundle.rootfs().join("data");
    fs::create_dir(data.join("sub")).unwrap();
    fs::write(data.join("sub/file"), "content\n").unwrap();
    fs::hard_link(data.join("sub/file"), data.join("again")).unwrap();
    fs::set_permissions(data.join("sub/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    std::os::unix::fs::chown(data.join("sub"), Some(1000), Some(50)).unwrap();
    symlink("/nowhere", data.join("link")).unwrap();
    let sparse = fs::File::create(data.join("sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (8 << 20) - 3).unwrap();
    rustix::fs::setxattr(data.join("sub/file"), "user.key", b"value", rustix::fs::XattrFlags::empty()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, data.join("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let script = "cd /data; cat sub/file; stat -c '%n %a %u %g %h' sub sub/file; readlink link; test -p fifo && echo fifo; \
        stat -c '%s' sparse; tail -c 3 sparse; echo; du -k sparse | cut -f1; echo changed > sub/file; echo new > new && echo written";
    let bundle = bundle.mount(tmpfs("/data", &["tmpcopyup", "size=4m", "nosuid"])).sh(script);
    assert_eq!(
        bundle.run().ok(),
        "content\nsub 755 1000 50 2\nsub/file 4751 0 0 2\n/nowhere\nfifo\n8388608\nend\n4\nwritten"
    );
    assert_eq!(fs::read_to_string(data.join("again")).unwrap(), "content\n");
    assert!(!data.join("new").exists());
    // Read-only afterwards; what does not fit is an error.
    let bundle = bundle.edit(|config| config["mounts"][7]["options"] = json!(["tmpcopyup", "ro"]));
    assert_eq!(bundle.sh("cat /data/again; echo x > /data/x || echo read-only").run().ok(), "content\nread-only");
    let bundle = runtime.bundle();
    fs::write(bundle.rootfs().join("data/large"), vec![1; 64 << 10]).unwrap();
    refused(&bundle.mount(tmpfs("/data", &["tmpcopyup", "size=16k"])), &["mounts[7]", "tmpcopyup"]);
}

#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers_unless_told() {
    let runtime = Runtime::new();
    let mode = |options: &[&str], at: &str| {
        let bundle = runtime.bundle();
        fs::create_dir(bundle.rootfs().join("there")).unwrap();
        fs::set_permissions(bundle.rootfs().join("there"), fs::Permissions::from_mode(0o710)).unwrap();
        bundle.mount(tmpfs(at, options)).sh(&format!("stat -c %a {at}")).run().ok()
    };
    assert_eq!(mode(&["rw"], "/there"), "710");
    assert_eq!(mode(&["mode=1500"], "/there"), "1500");
    assert_eq!(mode(&[], "/not/there"), "1777");
}

#[test]
fn things_are_mounted_in_what_becomes_read_only() {
    let runtime = Runtime::new();
    let source = runtime.scratch().join("source");
    fs::create_dir(&source).unwrap();
    let bundle = runtime
        .bundle()
        .mount(tmpfs("/m", &["ro"]))
        .mount(bind(&source, "/m/a/b", &["bind"]))
        .edit(|config| config["mounts"][1]["options"].as_array_mut().unwrap().push(json!("ro")))
        .sh("touch /m/x /dev/x 2>/dev/null; ls /m; touch /m/a/b/written && test -c /dev/null && test -L /dev/fd && echo fine");
    assert_eq!(bundle.run().ok(), "a\nfine");
    assert!(source.join("written").exists());
    // A root that is read-only, with mount points that were missing.
    let bundle = runtime
        .bundle()
        .edit(|config| config["root"]["readonly"] = json!(true))
        .mount(tmpfs("/made/for/it", &[]))
        .sh("touch /x 2>/dev/null || touch /made/for/it/x && echo fine");
    assert_eq!(bundle.run().ok(), "fine");
}

#[test]
fn remounting_changes_what_is_there() {
    let runtime = Runtime::new();
    let remount = |destination: &str, options: &[&str]| {
        let options: Vec<&str> = ["remount"].iter().chain(options).copied().collect();
        json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
    };
    let bundle = runtime.bundle().mount(remount("/dev/shm", &["size=128k", "ro"]));
    let (mount, file_system) = options_of(bundle, "/dev/shm");
    assert!(mount.contains(&"ro".to_owned()) && mount.contains(&"nosuid".to_owned()), "{mount:?}");
    assert!(file_system.contains(&"size=128k".to_owned()), "{file_system:?}");
    let source = runtime.scratch().to_owned();
    let bundle =
        runtime.bundle().mount(bind(&source, "/m", &["bind", "nodev"])).mount(remount("/m", &["bind", "noexec"]));
    let (mount, _) = options_of(bundle, "/m");
    assert!(mount.contains(&"noexec".to_owned()) && mount.contains(&"nodev".to_owned()), "{mount:?}");
    refused(&runtime.bundle().mount(remount("/etc", &["ro"])), &["mounts[7] at \"/etc\"", "remount"]);
    refused(&runtime.bundle().mount(remount("/missing", &["ro"])), &["mounts[7] at \"/missing\""]);
}

#[test]
fn links_are_kept_or_copied_when_asked() {
    let runtime = Runtime::new();
    let scratch = runtime.scratch().to_owned();
    fs::write(scratch.join("file"), "content\n").unwrap();
    let link = scratch.join("link");
    symlink("../data/target", &link).unwrap();
    let output = runtime
        .bundle()
        .mount(bind(&link, "/etc/copied", &["bind", "copy-symlink"]))
        .mount(bind(&scratch.join("file"), "/etc/plain", &["bind", "copy-symlink"]))
        .sh("readlink /etc/copied; cat /etc/plain; grep -c ' /etc/copied ' /proc/self/mountinfo");
    assert_eq!(output.run().stdout(), "../data/target\ncontent\n0");
    let bundle = runtime.bundle();
    symlink("/etc/group", bundle.rootfs().join("here")).unwrap();
    let bundle = bundle
        .mount(bind(&scratch.join("file"), "/here", &["bind", "dest-nofollow"]))
        .sh("cat /here; head -n 1 /etc/group");
    assert_eq!(bundle.run().ok(), "content\nroot:x:0:");
}

#[test]
fn owners_are_mapped_on_bind_mounts() {
    let runtime = Runtime::new();
    let source = runtime.scratch().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "x").unwrap();
    std::os::unix::fs::chown(source.join("file"), Some(7), Some(8)).unwrap();
    let _below = Mounted::tmpfs(&source.join("below"), "uid=7,gid=8,mode=755");
    let owners = |bundle: Bundle<'_>| bundle.sh("stat -c '%u %g' /m/file /m/below").run().ok();
    let map = |inside: u32, outside: u32| json!([{"containerID": inside, "hostID": outside, "size": 10}]);
    let mapped = |option: &str, kind: &str| json!({"destination": "/m", "source": source, "options": [kind, option], "uidMappings": map(0, 1000), "gidMappings": map(0, 2000)});
    assert_eq!(owners(runtime.bundle().mount(mapped("idmap", "rbind"))), "1007 2008\n7 8");
    assert_eq!(owners(runtime.bundle().mount(mapped("ridmap", "rbind"))), "1007 2008\n1007 2008");
    assert_eq!(owners(runtime.bundle().mount(mapped("ro", "bind"))).lines().next(), Some("1007 2008"));
    // With the maps of the container.
    let plain = |option: &str| bind(&source, "/m", &["rbind", option]);
    assert_eq!(owners(runtime.bundle().user_namespace().mount(plain("idmap"))), "7 8\n65534 65534");
    assert_eq!(owners(runtime.bundle().user_namespace().mount(plain("ridmap"))), "7 8\n7 8");
    assert_eq!(owners(runtime.bundle().user_namespace().mount(plain("rw"))), "65534 65534\n65534 65534");
    runtime.bundle().user_namespace().mount(plain("idmap")).sh("touch /m/made").run().ok();
    assert_eq!(fs::metadata(source.join("made")).unwrap().uid(), 0);
}

#[test]
fn mount_events_travel_as_options_say() {
    let runtime = Runtime::new();
    let source = runtime.scratch().join("shared");
    let shared = Mounted::tmpfs(&source, "mode=755");
    shared.make("--make-shared");
    for name in ["private", "slave", "late"] {
        fs::create_dir(source.join(name)).unwrap();
    }
    let look = "grep -E ' /(private|slave|default|both) ' /proc/self/mountinfo | awk '{print $5, $7, $8, $9}' | sed 's/:[0-9]*//g' | sort";
    let all = |root: &str| {
        runtime
            .bundle()
            .edit(|config| config["linux"]["rootfsPropagation"] = json!(root))
            .mount(bind(&source, "/private", &["rbind", "rprivate"]))
            .mount(bind(&source, "/slave", &["rbind", "rslave"]))
            .mount(bind(&source, "/default", &["rbind"]))
            .mount(bind(&source, "/both", &["rbind", "rshared"]))
    };
    // A container's own group, unless its root is shared.
    assert_eq!(
        all("").sh(look).run().ok(),
        "/both shared master -\n/default master - tmpfs\n/private - tmpfs casemate-test\n/slave master - tmpfs"
    );
    assert_eq!(
        all("private").sh(look).run().ok(),
        "/both shared - tmpfs\n/default - tmpfs casemate-test\n/private - tmpfs casemate-test\n/slave master - tmpfs"
    );
    assert_eq!(
        all("shared").sh(look).run().ok(),
        "/both shared - tmpfs\n/default shared - tmpfs\n/private - tmpfs casemate-test\n/slave master - tmpfs"
    );
    // What is mounted on the host later is seen by those that receive.
    let bundle = all("").sleeping();
    bundle.launch();
    let late = Mounted::tmpfs(&source.join("late"), "mode=755");
    fs::write(late.0.join("seen"), "").unwrap();
    let seen =
        bundle.exec_sh("for d in private slave default both; do test -e /$d/late/seen && echo $d; done; true").ok();
    assert_eq!(seen, "slave\ndefault\nboth");
    bundle.delete();
    let unbindable =
        runtime.bundle().mount(bind(&source, "/m", &["bind", "unbindable"])).sh("grep ' /m ' /proc/self/mountinfo");
    assert!(unbindable.run().ok().contains("unbindable"));
}

/// Whatever is mounted inside, and however shared the host's mounts are, the host sees nothing of it.
#[test]
fn nothing_is_mounted_on_the_host() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle();
    // As on a host where systemd shares all: the root file system's own mount, and a source.
    let rootfs = bundle.rootfs();
    let moved = bundle.directory().join("moved");
    fs::rename(&rootfs, &moved).unwrap();
    let host_mount = Mounted::tmpfs(&rootfs, "mode=755,size=64m");
    assert!(
        Command::new("cp").arg("-a").arg(format!("{}/.", moved.display())).arg(&rootfs).status().unwrap().success()
    );
    host_mount.make("--make-shared");
    let source = runtime.scratch().join("source");
    let other = Mounted::tmpfs(&source, "mode=755");
    other.make("--make-shared");
    fs::create_dir(source.join("inside")).unwrap();
    let before = (host::mounts_with(&rootfs.display().to_string()), host::mounts_with(&source.display().to_string()));
    for root in ["", "slave", "private", "shared", "rshared", "unbindable"] {
        let bundle = runtime
            .bundle()
            .edit(|config| {
                config["root"]["path"] = json!(rootfs);
                config["linux"]["rootfsPropagation"] = json!(root);
            })
            .mount(bind(&source, "/s", &["rbind"]))
            .mount(tmpfs("/made", &[]))
            .sleeping();
        let bundle = if root == "shared" || root == "rshared" { bundle } else { bundle.mount(tmpfs("/s/inside", &[])) };
        bundle.launch();
        let now = (host::mounts_with(&rootfs.display().to_string()), host::mounts_with(&source.display().to_string()));
        assert_eq!(now, before, "rootfsPropagation {root:?}");
        bundle.delete();
        assert_eq!(bundle.left_over(), Vec::<String>::new());
    }
}

#[test]
fn the_root_travels_as_rootfs_propagation_says() {
    let runtime = Runtime::new();
    let seen = |propagation: &str| {
        let script = "grep ' / / ' /proc/self/mountinfo || awk '$5 == \"/\"' /proc/self/mountinfo";
        let bundle =
            runtime.bundle().edit(|config| config["linux"]["rootfsPropagation"] = json!(propagation)).sh(script);
        let line = bundle.run().ok();
        line.split(" - ")
            .next()
            .unwrap_or_default()
            .split(' ')
            .skip(6)
            .map(|field| field.split(':').next().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (given, found) in [
        ("private", ""),
        ("rprivate", ""),
        ("shared", "shared"),
        ("rshared", "shared"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        assert_eq!(seen(given), found, "{given}");
    }
    let bundle = runtime.bundle().edit(|config| config["linux"]["rootfsPropagation"] = json!("open"));
    refused(&bundle, &["linux.rootfsPropagation: ", "open"]);
    // Receiving what the host mounts in it.
    let bundle = runtime.bundle();
    let rootfs = bundle.rootfs();
    assert!(Command::new("mount").arg("--bind").args([&rootfs, &rootfs]).status().unwrap().success());
    let host_mount = Mounted(rootfs.clone());
    host_mount.make("--make-shared");
    let bundle = bundle.edit(|config| config["linux"]["rootfsPropagation"] = json!("slave")).sleeping();
    bundle.launch();
    let _late = Mounted::tmpfs(&rootfs.join("srv"), "mode=755");
    fs::write(rootfs.join("srv/seen"), "").unwrap();
    assert_eq!(bundle.exec_sh("ls /srv").ok(), "seen");
}

#[test]
fn masked_paths_say_nothing_and_read_only_ones_take_nothing() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle();
    let source = runtime.scratch().join("source");
    fs::create_dir(&source).unwrap();
    let _below = Mounted::tmpfs(&source.join("below"), "mode=755");
    fs::create_dir(bundle.rootfs().join("secrets")).unwrap();
    fs::write(bundle.rootfs().join("secrets/key"), "secret").unwrap();
    let bundle = bundle
        .mount(bind(&source, "/tree", &["rbind"]))
        .edit(|config| {
            config["linux"]["maskedPaths"] =
                json!(["/secrets", "/secrets", "/etc/shadow", "/not/there", "/etc/passwd/x", "/proc/kcore", "/home"]);
            config["linux"]["readonlyPaths"] = json!(["/tree", "/etc/group", "/not/there", "/proc/sys"]);
        })
        .sh("ls /secrets /home | grep -v :; cat /etc/shadow; touch /secrets/x /tree/x /tree/below/x 2>/dev/null; \
            echo x >> /etc/group; echo 1 > /proc/sys/vm/swappiness; grep -c ' /secrets ' /proc/self/mountinfo; ls /tree/below");
    let output = bundle.run();
    assert_eq!(output.stdout().trim(), "1");
    assert_eq!(output.stderr.matches("Read-only file system").count(), 2, "{}", output.stderr);
    for field in ["maskedPaths", "readonlyPaths"] {
        let bundle = runtime.bundle().edit(|config| config["linux"][field] = json!(["etc"]));
        refused(&bundle, &[&format!("linux.{field}: ")]);
    }
}

#[test]
fn the_kernels_file_systems_are_there_in_any_namespaces() {
    let runtime = Runtime::new();
    let kinds = "for m in proc dev dev/pts dev/shm dev/mqueue sys sys/fs/cgroup; do \
        awk -v p=/$m '$5 == p {for (i = 6; $i != \"-\"; i++); k = $(i + 1)} END {print p, k}' /proc/self/mountinfo; done";
    let without = |kinds: &[&str]| {
        let kinds: Vec<String> = kinds.iter().map(|&kind| kind.to_owned()).collect();
        move |config: &mut Value| {
            config["linux"]["namespaces"]
                .as_array_mut()
                .unwrap()
                .retain(|namespace| !kinds.iter().any(|kind| namespace["type"] == *kind.as_str()));
            config["linux"]["maskedPaths"] = json!([]);
            config["linux"]["readonlyPaths"] = json!([]);
            if kinds.iter().any(|kind| kind == "uts") {
                config.as_object_mut().unwrap().remove("hostname");
            }
        }
    };
    let check = |bundle: Bundle<'_>| {
        let found = bundle.sh(kinds).run().ok();
        let expected =
            "/proc proc\n/dev tmpfs\n/dev/pts devpts\n/dev/shm tmpfs\n/dev/mqueue mqueue\n/sys sysfs\n/sys/fs/cgroup ";
        assert!(found.starts_with(expected), "{found}");
    };
    check(runtime.bundle());
    check(runtime.bundle().user_namespace());
    for missing in
        [&["network"][..], &["pid"], &["ipc"], &["cgroup"], &["uts"], &["network", "pid", "ipc", "cgroup", "uts"]]
    {
        check(runtime.bundle().edit(without(missing)));
        let bundle = runtime.bundle().user_namespace().edit(without(missing));
        if missing.contains(&"ipc") && !host::mounts_with(" /dev/mqueue ").iter().any(|line| line.contains("mqueue")) {
            // The host's is the only one to be had.
            refused(&bundle, &["mounts[4] at \"/dev/mqueue\""]);
            continue;
        }
        check(bundle);
    }
    // Its own control group, read-only or not, with a namespace for it or not.
    for (user, own, writable) in [(false, true, false), (false, false, false), (false, true, true), (true, true, false)]
    {
        let bundle = if user { runtime.bundle().user_namespace() } else { runtime.bundle() };
        let bundle = if own { bundle } else { bundle.edit(without(&["cgroup"])) };
        let bundle = bundle.edit(|config| {
            if writable {
                config["mounts"][6]["options"] = json!(["nosuid", "noexec", "nodev"]);
            }
        });
        let script = "for f in `find /sys/fs/cgroup -name cgroup.procs`; do grep -q 1 $f && echo found; (echo 1 > $f) 2>/dev/null && echo written; break; done; true";
        let found = bundle.sh(script).run().ok();
        assert!(
            found.starts_with("found") && found.contains("written") == writable,
            "{user} {own} {writable}: {found}"
        );
    }
}

#[test]
fn kernel_parameters_are_those_of_the_containers_namespaces() {
    let runtime = Runtime::new();
    let values = json!({
        "net.ipv4.ip_forward": "1", "net/ipv4/conf/lo/rp_filter": "2", "fs.mqueue.msg_max": "9", "kernel.msgmax": "4096",
        "kernel.sem": "100 1000 50 60", "kernel.domainname": "example",
    });
    let script = "cd /proc/sys; cat net/ipv4/ip_forward net/ipv4/conf/lo/rp_filter fs/mqueue/msg_max kernel/msgmax kernel/sem \
        kernel/domainname | tr '\\t' ' '";
    let expected = "1\n2\n9\n4096\n100 1000 50 60\nexample";
    for bundle in [runtime.bundle(), runtime.bundle().user_namespace()] {
        let bundle = bundle.edit(|config| config["linux"]["sysctl"] = values.clone()).sh(script);
        assert_eq!(bundle.run().ok(), expected);
    }
    let bundle = runtime.bundle().user_namespace();
    let bundle = bundle.edit(|config| config["linux"]["sysctl"] = json!({"user.max_net_namespaces": "3"}));
    assert_eq!(bundle.sh("cat /proc/sys/user/max_net_namespaces").run().ok(), "3");
    for (key, value) in [
        ("vm.swappiness", "1"),
        ("kernel.core_pattern", "x"),
        ("kernel.hostname", "x"),
        ("user.max_net_namespaces", "1"),
        ("net.ipv4.no_such_thing", "1"),
        ("net.ipv4.ip_forward", "not a number"),
        ("net/../vm/swappiness", "1"),
    ] {
        let bundle = runtime.bundle().edit(|config| config["linux"]["sysctl"] = json!({key: value}));
        refused(&bundle, &["linux.sysctl[", key.rsplit(['.', '/']).next().unwrap()]);
    }
}

#[test]
fn a_root_is_read_from_where_the_bundle_says() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle();
    fs::write(bundle.rootfs().join("etc/mark"), "mine").unwrap();
    let absolute = bundle.rootfs();
    let bundle = bundle.edit(|config| config["root"]["path"] = json!(absolute)).sh("cat /etc/mark; touch /written");
    assert_eq!(bundle.run().ok(), "mine");
    assert!(absolute.join("written").exists());
    let bundle = bundle
        .edit(|config| config["root"]["readonly"] = json!(true))
        .sh("touch /again || touch /dev/shm/x && echo fine");
    assert_eq!(bundle.run().ok(), "fine");
    for wrong in ["nowhere", "config.json"] {
        let bundle = runtime.bundle().edit(|config| config["root"]["path"] = json!(wrong));
        refused(&bundle, &["root.path: ", wrong]);
    }
    // Made of layers, as engines do it.
    let bundle = runtime.bundle();
    for name in ["upper", "work", "merged"] {
        fs::create_dir(bundle.directory().join(name)).unwrap();
    }
    let directory = bundle.directory().to_owned();
    let path = |name: &str| directory.join(name).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", path("rootfs"), path("upper"), path("work"));
    let merged = path("merged");
    if !Command::new("mount").args(["-t", "overlay", "-o", &options, "overlay", &merged]).status().unwrap().success() {
        return skip("an overlay can't be mounted on the scratch directory");
    }
    let _merged = Mounted(PathBuf::from(&merged));
    let bundle = bundle.edit(|config| config["root"]["path"] = json!("merged")).sh("touch /written; ls -d /written");
    assert_eq!(bundle.run().ok(), "/written");
    assert!(Path::new(&path("upper")).join("written").exists());
}

/// The specification's words for a mount namespace that is not the container's own.
#[test]
fn a_mount_namespace_can_be_the_hosts_or_another() {
    if let Some(reason) = missing(&["unshare"]) {
        return skip(&reason);
    }
    let runtime = Runtime::new();
    let host_namespace = fs::read_link("/proc/self/ns/mnt").unwrap();
    let source = runtime.scratch().join("source");
    fs::create_dir(&source).unwrap();
    let prepared = |namespace: Option<Value>| {
        let bundle =
            runtime.bundle().mount(bind(&source, "/m", &["rbind", "ro"])).mount(tmpfs("/t", &["mode=700"])).edit(
                |config| {
                    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
                    list.retain(|namespace| namespace["type"] != "mount");
                    list.extend(namespace);
                },
            );
        bundle.args(&["/bin/sh", "-c", "ls -d /bin/busybox /proc/self/fd /t /m; touch /t/x && ! touch /m/x 2>/dev/null && ls /t && head -c1 /dev/zero | wc -c; sleep 1000"])
    };
    let expected = "/bin/busybox\n/m\n/proc/self/fd\n/t\nx\n1\n";
    let table = || host::mounts_with(&runtime.scratch().display().to_string());
    let before = table();
    let bundle = prepared(None);
    bundle.create().expect(0);
    bundle.start().expect(0);
    assert!(
        casemate_tests::eventually(10, || bundle.stdout() == expected),
        "{:?} {:?}",
        bundle.stdout(),
        bundle.stderr()
    );
    let namespace = |bundle: &Bundle<'_>| fs::read_link(format!("/proc/{}/ns/mnt", bundle.pid())).unwrap();
    assert_eq!(namespace(&bundle), host_namespace);
    assert_eq!(table(), before, "the host sees nothing of it");
    bundle.delete();
    assert_eq!(bundle.left_over(), Vec::<String>::new());

    let mut other = Command::new("unshare").args(["--mount", "sleep", "1000"]).spawn().unwrap();
    let file = PathBuf::from(format!("/proc/{}/ns/mnt", other.id()));
    assert!(casemate_tests::eventually(10, || fs::read_link(&file).is_ok_and(|found| found != host_namespace)));
    let joined = fs::read_link(&file).unwrap();
    let bundle = prepared(Some(json!({"type": "mount", "path": file})));
    bundle.create().expect(0);
    bundle.start().expect(0);
    let ready = casemate_tests::eventually(10, || bundle.stdout() == expected);
    let found = namespace(&bundle);
    bundle.delete();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(ready, "{:?} {:?}", bundle.stdout(), bundle.stderr());
    assert_eq!(found, joined);
    // With a user namespace nobody could enter the host's.
    let bundle = runtime.bundle().user_namespace().edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "mount");
    });
    refused(&bundle, &["linux.namespaces: "]);
    let wrong = runtime.bundle().edit(|config| {
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != "mount");
        list.push(json!({"type": "mount", "path": "/proc/self/ns/uts"}));
    });
    refused(&wrong, &["linux.namespaces"]);
}

#[test]
fn without_pivot_root_the_host_is_out_of_sight() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sh(
        "ls -d /bin/busybox; awk '{print $5}' /proc/self/mountinfo | sort -u | head -n 40; ls /proc/1/root/bin/busybox",
    );
    let output = bundle.run_with(&["--no-pivot"]).ok();
    assert!(output.starts_with("/bin/busybox\n/\n/dev\n"), "{output}");
    assert!(output.ends_with("/proc/1/root/bin/busybox"), "{output}");
}

#[test]
fn device_files_are_as_they_are_asked_for() {
    let runtime = Runtime::new();
    let devices = json!([
        {"path": "/dev/test1", "type": "c", "major": 10, "minor": 666, "fileMode": 432, "uid": 33, "gid": 50},
        {"path": "/dev/test2", "type": "b", "major": 8, "minor": 666, "fileMode": 438},
        {"path": "/dev/test3", "type": "p", "fileMode": 432, "uid": 1, "gid": 2},
        {"path": "/dev/sub/dir/test4", "type": "u", "major": 1, "minor": 3},
        {"path": "/run/test5", "type": "c", "major": 1, "minor": 5},
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 384, "uid": 1000},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
    ]);
    let script = "cd /dev; stat -c '%n %F %a %u %g %t:%T' test1 test2 test3 sub/dir/test4 /run/test5 null; for link in ptmx fd stdin stdout stderr; do readlink $link; done";
    let expected = "test1 character special file 660 33 50 a:29a\ntest2 block special file 666 0 0 8:29a\ntest3 fifo 660 1 2 0:0\n\
        sub/dir/test4 character special file 666 0 0 1:3\n/run/test5 character special file 666 0 0 1:5\n\
        null character special file 600 1000 0 1:3\npts/ptmx\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2";
    let allowed = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "access": "rwm"}, {"allow": true, "type": "b", "access": "m"}]);
    for (user, rules) in [(false, None), (false, Some(allowed)), (true, None)] {
        let bundle = if user { runtime.bundle().user_namespace() } else { runtime.bundle() };
        let bundle = bundle.edit(|config| {
            config["linux"]["devices"] = devices.clone();
            config["process"]["user"]["umask"] = json!(0o77);
            if let Some(rules) = &rules {
                config["linux"]["resources"]["devices"] = rules.clone();
            }
        });
        assert_eq!(bundle.sh(script).run().ok(), expected, "user namespace: {user}, rules: {rules:?}");
    }
    for (path, kind) in
        [("null", "1:3"), ("zero", "1:5"), ("full", "1:7"), ("random", "1:8"), ("urandom", "1:9"), ("tty", "5:0")]
    {
        let bundle = runtime.bundle().sh(&format!("stat -c '%F %a %t:%T' /dev/{path}"));
        assert_eq!(bundle.run().ok(), format!("character special file 666 {kind}"));
    }
}

#[test]
fn a_file_that_is_not_the_device_is_an_error() {
    let runtime = Runtime::new();
    let device = json!([{"path": "/srv/device", "type": "c", "major": 1, "minor": 5}]);
    for user in [false, true] {
        let bundle = |make: &dyn Fn(&Path)| {
            let bundle = runtime.bundle();
            make(&bundle.rootfs().join("srv/device"));
            let bundle = if user { bundle.user_namespace() } else { bundle };
            bundle.edit(|config| config["linux"]["devices"] = device.clone()).sh("stat -c '%F %t:%T' /srv/device")
        };
        let node = |minor: u32| {
            move |path: &Path| {
                let number = rustix::fs::makedev(1, minor);
                rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::CharacterDevice, 0o666.into(), number)
                    .unwrap();
            }
        };
        assert_eq!(bundle(&node(5)).run().ok(), "character special file 1:5");
        refused(&bundle(&node(3)), &["linux.devices[0]: \"/srv/device\""]);
        refused(&bundle(&|path| fs::write(path, "content").unwrap()), &["linux.devices[0]: \"/srv/device\""]);
        refused(&bundle(&|path| symlink("/dev/zero", path).unwrap()), &["linux.devices[0]: \"/srv/device\""]);
        refused(&bundle(&|path| fs::create_dir(path).unwrap()), &["linux.devices[0]: \"/srv/device\""]);
        // Twice from the same bundle.
        let again = bundle(&|_| {});
        assert_eq!(again.run().ok(), "character special file 1:5");
        assert_eq!(again.run().ok(), "character special file 1:5");
    }
}

/// CVE-2026-41579: what is made in `/dev` is made in the container's, wherever a link of the image leads.
#[test]
fn a_dev_that_is_a_link_touches_nothing_of_the_host() {
    let runtime = Runtime::new();
    let outside = runtime.scratch().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("ptmx"), "kept").unwrap();
    for user in [false, true] {
        let bundle = runtime.bundle();
        symlink(&outside, bundle.rootfs().join("dev")).unwrap();
        let bundle = if user { bundle.user_namespace() } else { bundle };
        let bundle = bundle.edit(|config| {
            config["mounts"]
                .as_array_mut()
                .unwrap()
                .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"))
        });
        let output = bundle.sh("test -c /dev/null && readlink /dev/ptmx").run();
        assert_eq!(output.ok(), "pts/ptmx");
        let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["ptmx"]);
        assert_eq!(fs::read_to_string(outside.join("ptmx")).unwrap(), "kept");
    }
}

#[test]
fn a_dev_that_is_bound_is_left_alone() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
        mounts.push(json!({"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind", "rprivate"]}));
    });
    let before: Vec<_> = fs::read_dir("/dev").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(bundle.sh("test -c /dev/null && echo there").run().ok(), "there");
    let after: Vec<_> = fs::read_dir("/dev").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(before, after);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

/// CVE-2021-30465: two containers share a volume, and one exchanges the way to a mount of the other, over and over.
#[test]
fn a_race_for_a_destination_leads_nowhere_else() {
    let runtime = Runtime::new();
    let volume = runtime.scratch().join("volume");
    let (outside, secret) = (runtime.scratch().join("outside"), runtime.scratch().join("secret"));
    for directory in [&volume, &outside, &secret, &volume.join("real"), &volume.join("real/deep")] {
        fs::create_dir(directory).unwrap();
    }
    symlink("/", volume.join("trap")).unwrap();
    fs::write(secret.join("mark"), "").unwrap();
    let racer = runtime
        .bundle()
        .mount(bind(&volume, "/volume", &["rbind", "rw"]))
        .sh("cd /volume; while :; do mv -T real x; mv -T trap real; mv -T x trap; mv -T real x; mv -T trap real; mv -T x trap; done");
    racer.launch();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(2);
    let mut started = 0;
    while std::time::Instant::now() < end {
        let victim = runtime
            .bundle()
            .mount(bind(&volume, "/volume", &["rbind", "rw"]))
            .mount(bind(&secret, "/volume/real/deep", &["rbind"]))
            .sh("ls -d /bin/busybox /deep/mark 2>/dev/null");
        let output = victim.run();
        started += usize::from(output.stdout().contains("/bin/busybox"));
        assert_eq!(victim.left_over(), Vec::<String>::new());
        fs::remove_dir_all(victim.directory()).unwrap();
    }
    assert!(started > 0, "no container was started in the race");
    assert!(!Path::new("/deep").exists(), "made on the host");
    assert_eq!(host::mounts_with(&secret.display().to_string()), Vec::<String>::new());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    racer.delete();
}
