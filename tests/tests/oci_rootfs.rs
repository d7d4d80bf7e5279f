//! The root file system of OCI bundles: where it comes from, what the host sees of it, and what is hidden in it.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use casemate_tests::bundle::{Bundle, Runtime, bind, refused, tmpfs};
use casemate_tests::host_mount::HostMount;
use casemate_tests::{host, images, missing, skip};
use serde_json::{Value, json};

#[test]
fn mount_events_travel_as_options_say() {
    let runtime = Runtime::new();
    let source = runtime.scratch().join("shared");
    let shared = HostMount::tmpfs(&source, "mode=755");
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
    let late = HostMount::tmpfs(&source.join("late"), "mode=755");
    fs::write(late.path().join("seen"), "").unwrap();
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
    let host_mount = HostMount::tmpfs(&rootfs, "mode=755,size=64m");
    assert!(
        Command::new("cp").arg("-a").arg(format!("{}/.", moved.display())).arg(&rootfs).status().unwrap().success()
    );
    host_mount.make("--make-shared");
    let source = runtime.scratch().join("source");
    let other = HostMount::tmpfs(&source, "mode=755");
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
    let host_mount = HostMount::of(rootfs.clone());
    host_mount.make("--make-shared");
    let bundle = bundle.edit(|config| config["linux"]["rootfsPropagation"] = json!("slave")).sleeping();
    bundle.launch();
    let _late = HostMount::tmpfs(&rootfs.join("srv"), "mode=755");
    fs::write(rootfs.join("srv/seen"), "").unwrap();
    assert_eq!(bundle.exec_sh("ls /srv").ok(), "seen");
}

#[test]
fn masked_paths_say_nothing_and_read_only_ones_take_nothing() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle();
    let source = runtime.scratch().join("source");
    fs::create_dir(&source).unwrap();
    let _below = HostMount::tmpfs(&source.join("below"), "mode=755");
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
    let _merged = HostMount::of(PathBuf::from(&merged));
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
    assert_eq!(bundle.exec_sh("ls -d /bin/busybox /t/x; ls / | grep -c rootfs").stdout(), "/bin/busybox\n/t/x\n0");
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
    let inside = bundle.exec_sh("ls -d /bin/busybox /t/x").stdout();
    bundle.delete();
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(ready, "{:?} {:?}", bundle.stdout(), bundle.stderr());
    assert_eq!(found, joined);
    assert_eq!(inside, "/bin/busybox\n/t/x");
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

/// A way to what is beneath the root of a mount namespace, for a process with `CAP_SYS_ADMIN`.
const LIFT_THE_ROOT: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>
int main(void) {
    int namespace = open("/proc/self/ns/mnt", O_RDONLY);
    if (namespace < 0 || umount2("/", MNT_DETACH) != 0 || setns(namespace, CLONE_NEWNS) != 0) {
        puts("inside");
        return 0;
    }
    printf("%s %s\n", access("/bin/lift-the-root", F_OK) == 0 ? "inside" : "outside",
        access("/proc/version", F_OK) == 0 || access("/sys/kernel", F_OK) == 0 ? "full" : "empty");
    return 0;
}
"#;

#[test]
fn without_pivot_root_nothing_of_the_host_but_its_root_is_left() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sh("ls -d /bin/busybox; awk '{print $5}' /proc/self/mountinfo | sort -u | head -n 2");
    assert_eq!(bundle.run_with(&["--no-pivot"]).ok(), "/bin/busybox\n/\n/dev");
    let program = match images::compiled("lift-the-root", LIFT_THE_ROOT) {
        Ok(program) => program,
        Err(reason) => return skip(&reason),
    };
    let found = |user: bool, flags: &[&str]| {
        let bundle = runtime.bundle();
        fs::copy(&program, bundle.rootfs().join("bin/lift-the-root")).unwrap();
        let bundle = if user { bundle.user_namespace() } else { bundle };
        bundle.capabilities(&["CAP_SYS_ADMIN", "CAP_SYS_CHROOT"]).args(&["/bin/lift-the-root"]).run_with(flags).ok()
    };
    assert_eq!(found(false, &["--no-pivot"]), "outside empty");
    assert_eq!(found(true, &["--no-pivot"]), "outside empty");
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
