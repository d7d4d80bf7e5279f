//! Devices: what is asked for works, as far as was asked, and nothing else does.
#![forbid(unsafe_code)]

use std::fs;

use casemate_tests::{Engine, host};

#[test]
fn a_device_that_is_asked_for_works_as_far_as_asked() {
    let engine = Engine::new();
    let read = "head -c 3 /dev/extra | wc -c";
    assert_eq!(engine.sh(&["--device", "/dev/zero:/dev/extra"], read).ok(), "3");
    engine.sh(&["--device", "/dev/null:/dev/extra"], "echo x > /dev/extra").ok();
    assert_eq!(
        engine.sh(&["--device", "/dev/zero:/dev/some/where/deep"], "head -c 3 /dev/some/where/deep | wc -c").ok(),
        "3"
    );
    // Through a link of the host's, it is what the link means.
    let link = engine.scratch().join("link");
    std::os::unix::fs::symlink("/dev/vda", &link).unwrap();
    engine.run(&["run", "--rm", "--device", &format!("{}:/dev/x", link.display()), "busybox", "true"]).expect(125);
    for (device, says) in [
        ("/dev/nothing-here", "/dev/nothing-here"),
        ("/etc/passwd", "/etc/passwd"),
        ("/dev/null:/dev/x:rwx", "rwx"),
        ("/dev/null:/etc/x", "/dev"),
        ("null", "absolute"),
    ] {
        engine.run(&["run", "--rm", "--device", device, "busybox", "true"]).expect(125).says(&[says]);
    }
}

#[test]
fn the_control_group_decides() {
    let engine = Engine::new();
    let running = engine.sleeper("few", &["--device", "/dev/zero:/dev/extra:r"]);
    if host::on_v1("devices") {
        let list = fs::read_to_string(host::cgroup(running.pid(), "devices").join("devices.list")).unwrap();
        let rules: Vec<&str> = list.lines().collect();
        assert!(!rules.iter().any(|rule| rule.starts_with('a') || rule.contains("*:*")), "{list}");
        assert!(!list.contains("b "), "no disk at all: {list}");
        assert!(rules.iter().all(|rule| !rule.ends_with('m') || rule.starts_with("c ")), "{list}");
        for needed in ["c 1:3 ", "c 1:5 ", "c 1:9 "] {
            assert!(rules.iter().any(|rule| rule.starts_with(needed)), "{needed} in {list}");
        }
    }
    // A node of the host's that comes in by a mount that lets devices be is still the group's to decide on.
    let source = engine.directory("nodes");
    for (name, minor) in [("mem", 1), ("kmsg", 11)] {
        let path = format!("{source}/{name}");
        let device = rustix::fs::makedev(1, minor);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::CharacterDevice, 0o666.into(), device)
            .unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    }
    let mount = format!("{source}:/x:dev");
    for name in ["mem", "kmsg"] {
        let output = engine.sh(&["-v", &mount], &format!("head -c 1 /x/{name}"));
        assert_ne!(output.code, 0, "{name} can be read");
    }
}

#[test]
fn terminals_are_the_containers_own() {
    let engine = Engine::new();
    let running = engine.sleeper("pts", &[]);
    assert_eq!(running.sh("ls /dev/pts").ok(), "ptmx");
    assert!(fs::read_dir("/dev/pts").unwrap().count() >= 1);
    let said = engine.run(&["exec", "-t", "pts", "sh", "-c", "tty; ls /dev/pts"]).ok();
    assert!(said.contains("/dev/pts/0"), "{said}");
    assert!(!engine.sh(&[], "ls -la /dev/console 2>&1; true").ok().contains("host"));
}
