//! Device files, kernel file systems and kernel parameters of OCI bundles (`config-linux.md`).
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::Path;

use casemate_tests::bundle::{Bundle, Runtime, refused};
use casemate_tests::host;
use serde_json::{Value, json};

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
    let making = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "access": "rwm"}]);
    for (user, rules) in [(false, None), (false, Some(making)), (true, None)] {
        let bundle = |make: &dyn Fn(&Path)| {
            let bundle = runtime.bundle();
            make(&bundle.rootfs().join("srv/device"));
            let bundle = if user { bundle.user_namespace() } else { bundle };
            let bundle = bundle.edit(|config| {
                config["linux"]["devices"] = device.clone();
                if let Some(rules) = &rules {
                    config["linux"]["resources"]["devices"] = rules.clone();
                }
            });
            bundle.sh("stat -c '%F %t:%T' /srv/device")
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
                .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
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
