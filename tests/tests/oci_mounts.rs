//! Mounts of OCI bundles: every option, and where a mount lands (`config.md`, "Mounts").
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use casemate_tests::bundle::{Bundle, Runtime, bind, refused, tmpfs};
use casemate_tests::host_mount::HostMount;
use serde_json::json;

/// The options that the container sees of what is mounted at a path: of the mount, and of the file system.
#[track_caller]
fn options_of(bundle: Bundle<'_>, path: &str) -> (Vec<String>, Vec<String>) {
    let script = format!("grep ' {path} ' /proc/self/mountinfo | tail -n 1");
    let line = bundle.sh(&script).run().ok();
    let words: Vec<&str> = line.split(' ').collect();
    let split = |text: &str| text.split(',').map(str::to_owned).collect();
    (split(words[5]), split(words[words.len() - 1]))
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

/// Linux lists mounts by when they were made since 6.8; before that, by when they were attached.
#[test]
fn mounts_are_listed_in_the_order_of_the_specification() {
    let runtime = Runtime::new();
    let source = runtime.scratch().to_owned();
    let bundle = runtime
        .bundle()
        .mount(bind(&source, "/a", &["bind", "mode=755", "unbindable"]))
        .mount(tmpfs("/b", &["mode=755"]))
        .mount(bind(&source, "/c", &["rbind", "rslave"]));
    let places: Vec<String> =
        bundle.config["mounts"].as_array().unwrap().iter().map(|mount| mount["destination"].to_string()).collect();
    let listed = bundle.sh("cut -d ' ' -f 5 /proc/self/mountinfo").run().ok();
    let listed: Vec<String> =
        listed.lines().map(|line| format!("{line:?}")).filter(|line| places.contains(line)).collect();
    assert_eq!(listed, places);
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
    let _top = HostMount::tmpfs(&source, "mode=755");
    let _below = HostMount::tmpfs(&source.join("below"), "mode=755,noatime");
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
        (bind(&source, "/m", &["bind", "roo"]), "mounts[7].options: "),
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
    let _below = HostMount::tmpfs(&source.join("below"), "uid=7,gid=8,mode=755");
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
