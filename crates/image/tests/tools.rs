//! Archives that real tools write. A tool that is not installed skips its test, and says so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use casemate_image::{Reference, Source, Store};
use tempfile::TempDir;

/// Runs a tool; false if it is not installed or the tests are not run by root.
fn run(program: &str, arguments: &[&str], directory: &Path) -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: needs root");
        return false;
    }
    let Ok(output) = Command::new(program).args(arguments).current_dir(directory).output() else {
        eprintln!("SKIP: {program} is not installed");
        return false;
    };
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    true
}

struct Ground {
    scratch: TempDir,
    store: Store,
}

impl Ground {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(&scratch.path().join("data")).unwrap();
        let tree = scratch.path().join("tree");
        make_tree(&tree);
        Self { scratch, store }
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    fn layer(&self, name: &str, at: usize) -> PathBuf {
        let image = self.store.resolve(name).unwrap();
        self.store.layer(&image.layers[at])
    }
}

/// A tree with what archives find hard.
fn make_tree(tree: &Path) {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    fs::create_dir_all(tree.join(Path::new(&long).parent().unwrap())).unwrap();
    fs::write(tree.join(&long), "long name").unwrap();
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    fs::write(tree.join("usr/bin/su"), "su").unwrap();
    fs::set_permissions(tree.join("usr/bin/su"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(tree.join("usr/bin/su"), tree.join("usr/bin/su2")).unwrap();
    std::os::unix::fs::symlink("usr/bin", tree.join("bin")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", tree.join("dangling")).unwrap();
    fs::create_dir(tree.join("tmp")).unwrap();
    fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(tree.join("owned"), "").unwrap();
    let sparse = fs::File::create(tree.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 3_000_000).unwrap();
    std::os::unix::fs::chown(tree.join("owned"), Some(3_000_000), Some(7)).unwrap_or_default();
}

/// What a tree holds: path → (mode, owner, group, size or link, seconds).
fn listing(tree: &Path) -> BTreeMap<PathBuf, (u32, u32, u32, String, i64)> {
    let mut found = BTreeMap::new();
    let mut left = vec![tree.to_owned()];
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            String::new()
        } else if metadata.is_symlink() {
            fs::read_link(&path).unwrap().display().to_string()
        } else {
            format!("{} {}", metadata.nlink(), fs::read(&path).unwrap().len())
        };
        if path != tree {
            let name = path.strip_prefix(tree).unwrap().to_owned();
            found.insert(name, (metadata.mode(), metadata.uid(), metadata.gid(), content, metadata.mtime()));
        }
    }
    found
}

#[test]
fn every_format_of_gnu_tar_is_imported_alike() {
    for (format, more) in [
        ("gnu", &["--sparse"][..]),
        ("posix", &["--sparse", "--sparse-version=1.0"]),
        ("posix", &["--sparse", "--sparse-version=0.1"]),
        ("posix", &["--sparse", "--sparse-version=0.0"]),
        ("pax", &[]),
        ("gnu", &["--gzip"]),
    ] {
        let ground = Ground::new();
        let format = format!("--format={format}");
        let mut arguments = vec!["-cf", "tree.tar", "-C", "tree", &*format];
        arguments.extend_from_slice(more);
        arguments.push(".");
        if !run("tar", &arguments, ground.path()) {
            return;
        }
        let archive = fs::File::open(ground.path().join("tree.tar")).unwrap();
        ground.store.import(archive, &Reference::parse("tree").unwrap(), &[]).unwrap();
        let layer = ground.layer("tree", 0);
        assert_eq!(listing(&layer), listing(&ground.path().join("tree")), "{arguments:?}");
        let sparse = fs::metadata(layer.join("sparse")).unwrap();
        assert!(!more.contains(&"--sparse") || sparse.blocks() < 100, "{arguments:?}");
    }
}

#[test]
fn layouts_of_umoci_and_what_skopeo_makes_of_them_are_loaded() {
    let ground = Ground::new();
    let path = ground.path();
    if !run("umoci", &["init", "--layout", "app"], path) {
        return;
    }
    fs::write(path.join("file"), "inserted").unwrap();
    run("umoci", &["new", "--image", "app:v1"], path);
    run("umoci", &["insert", "--image", "app:v1", "tree", "/"], path);
    run("umoci", &["insert", "--image", "app:v1", "--opaque", "tree/usr", "/usr"], path);
    run("umoci", &["insert", "--image", "app:v1", "--whiteout", "/dangling"], path);
    run("umoci", &["config", "--image", "app:v1", "--config.cmd", "/bin/su"], path);
    let loaded = ground.store.load(Source::open(&path.join("app")).unwrap()).unwrap();
    assert_eq!(loaded[0].references, [Reference::parse("app:v1").unwrap()]);
    let id = loaded[0].id;
    assert_eq!(listing(&ground.layer("app:v1", 0)).len(), listing(&path.join("tree")).len());
    let whiteout = fs::symlink_metadata(ground.layer("app:v1", 2).join("dangling")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let image = ground.store.resolve("app:v1").unwrap();
    assert!(!ground.store.exists_in(&image, "/dangling").unwrap());
    assert!(ground.store.exists_in(&image, "/bin/su").unwrap());
    for (target, file) in [
        ("docker-archive:docker.tar:app:docker", "docker.tar"),
        ("oci-archive:oci.tar:app:oci", "oci.tar"),
        ("oci:zstd:app:zstd", "zstd"),
    ] {
        let mut arguments = vec!["copy", "oci:app:v1", target];
        if file == "zstd" {
            arguments.extend(["--dest-compress-format", "zstd"]);
        }
        if !run("skopeo", &arguments, path) {
            return;
        }
        let loaded = ground.store.load(Source::open(&path.join(file)).unwrap()).unwrap();
        let name = format!("app:{}", target.rsplit(':').next().unwrap());
        assert_eq!(loaded[0].references, [Reference::parse(&name).unwrap()]);
        assert_eq!(ground.store.resolve(&name).unwrap().layers, image.layers, "{target}");
    }
    // Docker's schema 2 has a configuration of its own; between OCI's forms it is the same.
    assert_eq!(ground.store.resolve("app:oci").unwrap().id, id);
    assert!(ground.store.check(false).unwrap().is_sound());
    // What casemate stores, other tools read.
    let source = format!("oci:{}:docker.io/library/app:v1", ground.store.root().join("images").display());
    assert!(run("skopeo", &["inspect", &source], path));
}

#[test]
fn what_buildah_and_podman_write_is_loaded() {
    let ground = Ground::new();
    let path = ground.path();
    let dockerfile = "FROM scratch\nCOPY tree /\nCOPY tree/usr /usr\nENV A=b\nCMD [\"/bin/su\"]\n";
    fs::write(path.join("Dockerfile"), dockerfile).unwrap();
    let root = path.join("containers");
    let root = root.to_str().unwrap();
    let storage = ["--root", root, "--runroot", root, "--storage-driver", "vfs"];
    let with =
        |more: &[&str]| -> Vec<String> { storage.iter().chain(more).map(|argument| (*argument).to_owned()).collect() };
    let call = |program: &str, arguments: &[&str]| {
        let arguments = with(arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(program, &arguments, path)
    };
    if !call("buildah", &["bud", "--layers", "--isolation", "chroot", "-t", "built:1", "."]) {
        return;
    }
    assert!(call("buildah", &["push", "built:1", "docker-archive:docker.tar:built:docker"]));
    assert!(call("buildah", &["push", "built:1", "oci-archive:oci.tar:built:oci"]));
    let mut files = vec!["docker.tar", "oci.tar"];
    if call("podman", &["save", "-o", "podman.tar", "built:1"]) {
        files.push("podman.tar");
    }
    let mut layers = Vec::new();
    for file in files {
        let loaded = ground.store.load(Source::open(&path.join(file)).unwrap()).unwrap();
        let image = ground.store.resolve(&loaded[0].id.to_string()).unwrap();
        assert!(!loaded[0].references.is_empty(), "{file}");
        let config = image.config.config().clone().unwrap();
        assert_eq!(config.cmd().as_deref(), Some(&["/bin/su".to_owned()][..]), "{file}");
        layers.push(image.layers);
    }
    assert!(layers.iter().all(|these| *these == layers[0]), "{layers:?}");
    assert!(ground.store.check(false).unwrap().is_sound());
}
