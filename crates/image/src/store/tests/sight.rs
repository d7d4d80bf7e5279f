//! Looking into images and at the store's health.

use super::*;

fn stacked(ground: &Ground) -> crate::Image {
    ground.load(Made::new(&[base(), upper()]).oci("app:1")).unwrap();
    ground.store.resolve("app:1").unwrap()
}

#[test]
fn paths_are_seen_as_a_container_would() {
    let ground = Ground::new();
    let image = stacked(&ground);
    for (path, there) in [
        ("/", true),
        ("", true),
        ("/etc/passwd", true),
        ("etc/new", true),
        ("/etc/old", false),
        ("/data/above", true),
        ("/data/below", false),
        ("/bin/true", true),
        ("/bin/../bin/true", true),
        ("/bin/./true/", true),
        ("/../../etc/passwd", true),
        ("/etc/passwd/x", false),
        ("/etc/passwd/..", false),
        ("/nowhere", false),
        ("/nowhere/..", false),
        ("/proc", true),
        ("/etc/resolv.conf", true),
        ("/var/tmp", true),
        ("/usr/bin/../..", true),
        ("/usr/bin/../../etc/new", true),
        (&"/a".repeat(3000), false),
    ] {
        assert_eq!(ground.store.exists_in(&image, path).unwrap(), there, "{path}");
    }
    let found = ground.store.look_up(&image, "/bin/true").unwrap().unwrap();
    assert_eq!((found.kind, found.path, found.mode), (EntryKind::File, PathBuf::from("/usr/bin/true"), 0o755));
    let root = ground.store.look_up(&image, "/").unwrap().unwrap();
    assert_eq!((root.kind, root.path), (EntryKind::Directory, PathBuf::from("/")));
}

#[test]
fn a_links_target_in_another_layer_is_followed() {
    let link = Builder::new().symlink("bin", "usr/bin").symlink("loop", "loop").symlink("out", "../../../../etc").end();
    let target = Builder::new().directory("usr/bin/").file("usr/bin/sh", b"sh").file("etc", b"a file").end();
    let ground = Ground::new();
    ground.load(Made::new(&[link, target]).oci("app:1")).unwrap();
    let image = ground.store.resolve("app:1").unwrap();
    assert_eq!(ground.store.read_file(&image, "/bin/sh", 100).unwrap().as_deref(), Some(&b"sh"[..]));
    assert_eq!(ground.store.read_file(&image, "/out", 100).unwrap().as_deref(), Some(&b"a file"[..]));
    assert!(!ground.store.exists_in(&image, "/loop").unwrap());
    // The upper file hides the skeleton's directory.
    assert!(!ground.store.exists_in(&image, "/etc/hosts").unwrap());
}

#[test]
fn only_regular_files_of_bounded_size_are_read() {
    let layer = Builder::new()
        .file("etc/passwd", b"root")
        .symlink("etc/group", "passwd")
        .symlink("etc/shadow", "/etc/../../../../../etc/shadow-of-the-host")
        .entry("etc/pipe", b'6', "", b"")
        .device("etc/zero", b'3', 1, 5)
        .file("etc/large", &[b'x'; 1000])
        .end();
    let ground = Ground::new();
    ground.import("a:1", &layer, &[]);
    let image = ground.store.resolve("a:1").unwrap();
    let read = |path: &str| ground.store.read_file(&image, path, 999).unwrap();
    assert_eq!(read("/etc/passwd").as_deref(), Some(&b"root"[..]));
    assert_eq!(read("/etc/group").as_deref(), Some(&b"root"[..]));
    for path in ["/etc/shadow", "/etc/pipe", "/etc/zero", "/etc/large", "/etc", "/none"] {
        assert_eq!(read(path), None, "{path}");
    }
}

#[test]
fn a_corrupt_blob_is_named_and_never_used() {
    let ground = Ground::new();
    let id = ground.import("a:1", &base(), &["CMD [\"/bin/sh\"]"]);
    let path = ground.store.root().join("images/blobs/sha256").join(id.hex());
    let mut text = fs::read_to_string(&path).unwrap();
    text = text.replace("/bin/sh", "/bin/no");
    fs::write(&path, text).unwrap();
    let error = ground.store.resolve("a:1").unwrap_err();
    assert!(error.kind() == Kind::Corrupt && error.to_string().contains(&id.hex()), "{error}");
    let report = ground.store.check(true).unwrap();
    assert!(!report.is_sound());
    let other = ground.import("b:1", &upper(), &[]);
    let (sound, damaged) = ground.store.list_sound().unwrap();
    assert_eq!((sound.len(), sound[0].id, damaged.len()), (1, other, 1));
    assert!(ground.store.list().is_err());
    // While nobody can say what is needed, removing another image takes nothing with it but its name.
    ground.store.remove("b:1", false, &|_| Vec::new()).unwrap();
    assert!(ground.store.resolve("b:1").unwrap_err().is_not_found());
    assert!(report.problems.iter().any(|problem| problem.subject.contains(&id.hex())), "{report:?}");
    // Bringing the image again heals it.
    ground.load(Made::new(&[base()]).oci("a:1")).unwrap();
    ground.store.resolve("a:1").unwrap();
}

#[test]
fn check_finds_and_repairs() {
    let ground = Ground::new();
    let image = stacked(&ground);
    assert_eq!(ground.store.check(false).unwrap().problems, []);
    let root = ground.store.root();
    fs::remove_dir_all(root.join("layers").join(image.layers[0].0.hex())).unwrap();
    fs::remove_dir_all(root.join("layers/skeleton")).unwrap();
    fs::create_dir(root.join("staging/killed")).unwrap();
    fs::write(root.join("staging/killed/blob"), "half").unwrap();
    let stray = Digest::of(b"stray");
    fs::write(root.join("images/blobs/sha256").join(stray.hex()), "stray").unwrap();
    fs::create_dir(root.join("layers").join(stray.hex())).unwrap();
    let found = ground.store.check(false).unwrap();
    assert_eq!((found.images, found.problems.len(), found.is_sound()), (1, 5, false), "{found:?}");
    let repaired = ground.store.check(true).unwrap();
    assert!(repaired.is_sound() && repaired.problems.len() == 5, "{repaired:?}");
    assert_eq!(ground.store.check(false).unwrap().problems, []);
    assert!(ground.store.layer(&image.layers[0]).join("usr/bin/true").exists());
}

#[test]
fn a_layer_that_is_missing_is_unpacked_again_when_it_is_needed() {
    let ground = Ground::new();
    let image = stacked(&ground);
    fs::remove_dir_all(ground.store.layer(&image.layers[1]).parent().unwrap()).unwrap();
    ground.store.snapshot_layers(&image).unwrap();
    assert!(ground.store.layer(&image.layers[1]).join("etc/new").exists());
}

#[test]
fn the_store_is_private_whatever_the_umask() {
    let ground = Ground::new();
    ground.import("a:1", &base(), &[]);
    for name in ["images", "layers", "staging"] {
        let mode = fs::metadata(ground.store.root().join(name)).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o700, "{name}");
    }
    let tmp = fs::metadata(ground.store.skeleton().join("tmp")).unwrap();
    assert_eq!((tmp.mode() & 0o7777, tmp.mtime()), (0o1777, 0));
}
