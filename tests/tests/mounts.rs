//! What is mounted into a container: whose it is, what can be done with it, and that no link of an image leads outside.
#![forbid(unsafe_code)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};

use casemate_tests::{Engine, archive, images};
use tar::EntryType;

#[test]
fn bind_mounts_are_read_only_unless_asked() {
    let engine = Engine::new();
    let source = engine.directory("source");
    engine.file("source/file", "from the host\n");
    let plain = format!("{source}:/mnt/x");
    assert_eq!(engine.sh(&["-v", &plain], "cat /mnt/x/file").ok(), "from the host");
    assert_ne!(engine.sh(&["-v", &plain], "echo x > /mnt/x/new").code, 0);
    let writable = format!("{source}:/mnt/x:rw");
    engine.sh(&["-v", &writable], "echo new > /mnt/x/new").ok();
    assert_eq!(fs::read_to_string(format!("{source}/new")).unwrap(), "new\n");
    // Read-only is read-only for what is mounted below, too.
    let below = format!("{source}/below");
    fs::create_dir(&below).unwrap();
    let tmpfs = ["-t", "tmpfs", "none", &below];
    let mounted = std::process::Command::new("mount").args(tmpfs).status().unwrap().success();
    assert!(mounted);
    let output = engine.sh(&["-v", &plain], "echo x > /mnt/x/below/file");
    std::process::Command::new("umount").arg(&below).status().unwrap();
    assert_ne!(output.code, 0, "a mount below a read-only one is read-only");
    // One file.
    let file = format!("{source}/file:/etc/one:ro");
    assert_eq!(engine.sh(&["-v", &file], "cat /etc/one").ok(), "from the host");
    // Relative to where the command is typed.
    assert_eq!(engine.sh(&["-v", "./source:/x"], "cat /x/file").ok(), "from the host");
}

#[test]
fn owners_are_sensible_on_both_sides() {
    let engine = Engine::new();
    let source = engine.directory("owned");
    fs::set_permissions(&source, fs::Permissions::from_mode(0o755)).unwrap();
    chown(&source, Some(4242), Some(4343)).unwrap();
    let file = engine.file("owned/file", "x\n");
    chown(&file, Some(4242), Some(4343)).unwrap();
    let mount = format!("{source}:/x:rw");
    // What is the directory's owner's outside is the container's user's inside.
    let script = "stat -c '%u %g' /x /x/file; echo written > /x/made; stat -c %u /x/made";
    assert_eq!(engine.sh(&["-v", &mount], script).ok(), "0 0\n0 0\n0");
    let made = fs::metadata(format!("{source}/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (4242, 4343));
    fs::remove_file(format!("{source}/made")).unwrap();
    assert_eq!(engine.sh(&["-u", "app", "-v", &mount], script).ok(), "1000 1000\n1000 1000\n1000");
    let made = fs::metadata(format!("{source}/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (4242, 4343));
    // Root's directory is written to as root would, by no host id but the owner's.
    let other = engine.directory("roots");
    engine.sh(&["-v", &format!("{other}:/x:rw")], "echo y > /x/made").ok();
    assert_eq!(fs::metadata(format!("{other}/made")).unwrap().uid(), 0);
    // Somebody else's file in there is nobody's inside, and can't be changed.
    let foreign = engine.file("owned/foreign", "z\n");
    chown(&foreign, Some(777), Some(777)).unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600)).unwrap();
    let output = engine.sh(&["-v", &mount], "stat -c %u /x/foreign; cat /x/foreign");
    assert_eq!(output.stdout(), "65534");
    assert_ne!(output.code, 0);
}

#[test]
fn set_user_id_bits_and_devices_do_not_count_on_mounts() {
    let engine = Engine::new();
    let source = engine.directory("suid");
    fs::copy(images::prober().unwrap(), format!("{source}/p")).unwrap();
    fs::set_permissions(format!("{source}/p"), fs::Permissions::from_mode(0o6755)).unwrap();
    let node = format!("{source}/zero");
    let device = rustix::fs::makedev(1, 5);
    rustix::fs::mknodat(rustix::fs::CWD, &node, rustix::fs::FileType::CharacterDevice, 0o666.into(), device).unwrap();
    fs::set_permissions(&node, fs::Permissions::from_mode(0o666)).unwrap();
    let mount = format!("{source}:/x");
    let flags = ["-v", mount.as_str(), "--security-opt", "no-new-privileges=false", "-u", "33"];
    assert!(engine.sh(&flags, "/x/p ids").ok().starts_with("uid 33 33 33"));
    assert_ne!(engine.sh(&flags, "head -c 1 /x/zero").code, 0, "a device node of the host's is no device");
}

#[test]
fn volumes_are_kept_writable_and_not_executable() {
    let engine = Engine::new();
    engine.sh(&["-v", "data:/data"], "echo kept > /data/file; cp /bin/busybox /data/; chmod 755 /data/busybox").ok();
    assert_eq!(engine.sh(&["-v", "data:/other"], "cat /other/file").ok(), "kept");
    let output = engine.sh(&["-v", "data:/data"], "/data/busybox true").expect(126);
    assert!(output.stderr.contains("Permission denied"));
    engine.sh(&["-v", "data:/data:exec"], "/data/busybox true").ok();
    assert_ne!(engine.sh(&["-v", "data:/data:ro"], "echo x > /data/file").code, 0);
    // As another user of another container: the ids are the container's, not those of the range it had.
    let script = "stat -c '%u' /data/file";
    assert_eq!(engine.sh(&["-v", "data:/data"], script).ok(), "0");
    // It begins with what the image has there, and with its owner.
    assert_eq!(
        engine.sh(&["-v", "home:/home", "-u", "app"], "stat -c %u /home/app; touch /home/app/x && echo touched").ok(),
        "1000\ntouched"
    );
    assert_eq!(engine.sh(&["-v", "etc-copy:/etc"], "head -1 /etc/group").ok(), "root:x:0:");
    assert_eq!(engine.sh(&["-v", "empty:/etc:nocopy"], "ls /etc/group 2>/dev/null; true").ok(), "");
    // Two at once share it.
    let first = engine.sleeper("first", &["-v", "shared:/s"]);
    let second = engine.sleeper("second", &["-v", "shared:/s"]);
    first.sh("echo hello > /s/m").ok();
    assert_eq!(second.sh("cat /s/m; echo back > /s/n").ok(), "hello");
    assert_eq!(first.sh("cat /s/n").ok(), "back");
    for name in ["../x", "a b", "-x"] {
        engine.run(&["run", "--rm", "-v", &format!("{name}:/data"), "busybox", "true"]).expect(125);
    }
}

#[test]
fn volumes_that_an_image_declares_are_made() {
    let engine = Engine::empty();
    let tar = images::busybox().display().to_string();
    engine.run(&["import", "-c", "VOLUME /data", &tar, "busybox"]).ok();
    engine.run(&["run", "--name", "kept", "busybox", "sh", "-c", "echo x > /data/file"]).ok();
    assert_eq!(
        engine.field("kept", "{{len .Mounts}} {{range .Mounts}}{{.Type}} {{.Destination}}{{end}}"),
        "1 volume /data"
    );
    let count = || fs::read_dir(engine.data().join("volumes")).map_or(0, Iterator::count);
    assert_eq!(count(), 1);
    engine.run(&["rm", "-v", "kept"]).ok();
    assert_eq!(count(), 0);
}

#[test]
fn tmpfs_options_are_had() {
    let engine = Engine::new();
    let flags = ["--tmpfs", "/scratch:size=1m,mode=750,uid=1000,gid=33", "--tmpfs", "/x:exec", "--tmpfs", "/ro:ro"];
    let script = "stat -c '%a %u %g' /scratch; df -k /scratch | tail -1 | awk '{print $2}'; cp /bin/busybox /x/ && /x/busybox echo runs; \
        touch /ro/x 2>/dev/null || echo read-only";
    assert_eq!(engine.sh(&flags, script).ok(), "750 1000 33\n1024\nruns\nread-only");
    // In the place of a default.
    assert_eq!(
        engine
            .sh(&["--tmpfs", "/tmp:size=2m"], "df -k /tmp | tail -1 | awk '{print $2}'; mount | grep -c ' /tmp '")
            .ok(),
        "2048\n1"
    );
}

#[test]
fn the_long_form_is_dockers() {
    let engine = Engine::new();
    let source = engine.directory("source");
    engine.file("source/file", "content\n");
    let bind = format!("type=bind,source={source},target=/x");
    assert_ne!(engine.sh(&["--mount", &bind], "echo y > /x/file").code, 0, "read-only by default");
    let bind = format!("type=bind,src={source},dst=/x,readonly=false");
    engine.sh(&["--mount", &bind], "echo y > /x/written").ok();
    assert_eq!(fs::read_to_string(format!("{source}/written")).unwrap(), "y\n");
    let volume = "type=volume,source=named,target=/v";
    engine.sh(&["--mount", volume], "echo z > /v/file").ok();
    assert_eq!(
        engine
            .sh(&["--mount", "type=volume,source=named,destination=/v,readonly"], "cat /v/file; touch /v/x || echo no")
            .ok(),
        "z\nno"
    );
    let tmpfs = "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700";
    assert_eq!(
        engine.sh(&["--mount", tmpfs], "stat -c %a /t; df -k /t | tail -1 | awk '{print $2}'").ok(),
        "700\n1024"
    );
    // A quoted field, as CSV has it.
    let odd = engine.directory("with, comma");
    fs::write(format!("{odd}/f"), "quoted\n").unwrap();
    assert_eq!(engine.sh(&["--mount", &format!("type=bind,\"source={odd}\",target=/x")], "cat /x/f").ok(), "quoted");
    for (mount, says) in [
        ("type=bind,source=/nonexistent-here,target=/x", "/nonexistent-here"),
        ("type=bnid,source=/srv,target=/x", "bind"),
        ("type=bind,source=/srv", "target"),
        ("type=bind,source=/srv,target=x", "absolute"),
        ("type=bind,source=/srv,target=/x,raedonly", "readonly"),
        ("type=tmpfs,target=/proc", "/proc"),
    ] {
        engine.run(&["run", "--rm", "--mount", mount, "busybox", "true"]).expect(125).says(&[says]);
    }
    engine
        .run(&["run", "--rm", "-v", "/nonexistent-here:/x", "busybox", "true"])
        .expect(125)
        .says(&["/nonexistent-here"]);
    assert!(!fs::exists("/nonexistent-here").unwrap(), "no directory of the host's is made");
}

#[test]
fn links_in_a_hostile_image_lead_nowhere() {
    // CVE-2021-30465, CVE-2024-45310, CVE-2026-41579, CVE-2026-55686: targets of mounts, /dev and the working directory as links.
    let engine = Engine::empty();
    let outside = engine.directory("outside");
    let link_to_outside = format!("../../../../../..{outside}");
    let mut layer = archive::builder();
    for entry in ["bin/", "real/"] {
        archive::add(&mut layer, EntryType::Directory, entry, 0o755);
    }
    archive::file(&mut layer, "bin/busybox", 0o755, &fs::read(casemate_tests::program("busybox").unwrap()).unwrap());
    for applet in ["sh", "cat", "ls", "mount", "touch", "mkdir", "echo", "true"] {
        archive::link(&mut layer, EntryType::Symlink, &format!("bin/{applet}"), "busybox");
    }
    for (name, target) in [
        ("relative", link_to_outside.as_str()),
        ("absolute", outside.as_str()),
        ("tmp", outside.as_str()),
        ("var", link_to_outside.as_str()),
        ("run", "/proc/self/fd"),
        ("etc", outside.as_str()),
        ("to-proc", "/proc/1/root"),
        ("work", outside.as_str()),
    ] {
        archive::link(&mut layer, EntryType::Symlink, name, target);
    }
    let path = engine.file("hostile.tar", archive::finish(layer));
    engine.run(&["import", &path, "hostile"]).ok();
    let source = engine.directory("source");
    engine.file("source/file", "mounted\n");
    let before = fs::read_dir(&outside).unwrap().count();
    let mounts = [
        vec![],
        vec!["-v".to_owned(), format!("{source}:/relative/deep:rw")],
        vec!["-v".to_owned(), format!("{source}:/absolute/deep")],
        vec!["-v".to_owned(), format!("{source}:/to-proc/tmp")],
        vec!["--tmpfs".to_owned(), "/relative/t".to_owned()],
        vec!["-v".to_owned(), "vol:/absolute".to_owned()],
        vec!["-w".to_owned(), "/work/made".to_owned()],
        vec!["-w".to_owned(), "/relative/made".to_owned(), "--read-only=false".to_owned()],
        vec!["-v".to_owned(), format!("{source}/file:/absolute/one")],
    ];
    for flags in mounts {
        let mut words = vec!["run", "--rm"];
        words.extend(flags.iter().map(String::as_str));
        words.extend(["hostile", "/bin/sh", "-c", "touch /tmp/x /relative/x /absolute/x /work/x; true"]);
        let output = engine.run(&words);
        assert!(
            output.code == 0 || output.code == 125 || output.code == 127,
            "{flags:?}: {} {}",
            output.code,
            output.stderr
        );
        assert_eq!(fs::read_dir(&outside).unwrap().count(), before, "{flags:?} made something outside");
    }
    let host = casemate_tests::host::mounts_with(&outside);
    assert!(host.is_empty(), "nothing is mounted on the host: {host:?}");
}

#[test]
fn kernel_directories_as_links_are_refused_or_replaced() {
    for name in ["dev", "proc", "sys"] {
        let engine = Engine::empty();
        let outside = engine.directory("outside");
        let mut layer = archive::builder();
        archive::add(&mut layer, EntryType::Directory, "bin/", 0o755);
        archive::file(
            &mut layer,
            "bin/busybox",
            0o755,
            &fs::read(casemate_tests::program("busybox").unwrap()).unwrap(),
        );
        archive::link(&mut layer, EntryType::Symlink, "bin/sh", "busybox");
        archive::link(&mut layer, EntryType::Symlink, name, &format!("../../../../../..{outside}"));
        let path = engine.file("link.tar", archive::finish(layer));
        engine.run(&["import", &path, "link"]).ok();
        let output = engine.run(&["run", "--rm", "link", "/bin/sh", "-c", "echo ran"]);
        assert!(output.code == 125 || output.stdout() == "ran", "{name}: {} {}", output.code, output.stderr);
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "/{name} as a link: something was made outside");
        engine.assert_nothing_left();
    }
}

#[test]
fn a_source_that_becomes_a_link_is_not_followed_to_what_is_sensitive() {
    let engine = Engine::new();
    let source = engine.directory("swapped");
    let id = engine.run(&["create", "-v", &format!("{source}:/x"), "busybox", "ls", "/x"]).ok();
    fs::remove_dir(&source).unwrap();
    symlink("/etc", &source).unwrap();
    let output = engine.run(&["start", "-a", &id]);
    assert!(
        !output.stdout().contains("passwd"),
        "what was allowed at creation is not what is mounted: {}",
        output.stdout()
    );
}
