//! Images: import, load, list, tag, remove, inspect.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use casemate_tests::{Engine, archive, docker, images, layered, skip, tree};
use serde_json::json;
use tar::EntryType;

/// Directories that every container has, whatever is in the image, and what is mounted in them.
fn of_the_engine(path: &str) -> bool {
    let own =
        ["proc", "sys", "dev", "tmp", "run", "var", "var/tmp", "etc", "etc/hosts", "etc/hostname", "etc/resolv.conf"];
    own.contains(&path)
}

/// Starts the image and holds what is in its root file system against what the tool that made the image says.
#[track_caller]
fn same_inside(engine: &Engine, image: &str, rootfs: &Path) {
    let name = format!("compare-{}", image.replace([':', '/'], "-"));
    engine.run(&["run", "-d", "--name", &name, "-u", "0", image, "sleep", "1000"]).ok();
    let pid: u32 = engine.field(&name, "{{.State.Pid}}").parse().unwrap();
    let expected = tree::read(rootfs, 0);
    assert!(expected.len() > 300, "the fixture is whole");
    let found = tree::read(Path::new(&format!("/proc/{pid}/root")), casemate_tests::host::first_uid(pid));
    let differences = tree::differences(&expected, &found, of_the_engine);
    assert!(differences.is_empty(), "{image} is not what it should be:\n{}", differences.join("\n"));
    engine.run(&["rm", "-f", &name]).ok();
}

#[test]
fn an_imported_archive_runs_with_its_changes() {
    let engine = Engine::empty();
    let tar = images::busybox().display().to_string();
    let changes = [
        "--change",
        "CMD [\"-c\", \"id -u; pwd; echo $GREETING\"]",
        "--change",
        "ENTRYPOINT [\"/bin/sh\"]",
        "-c",
        "ENV GREETING=\"hello world\"",
        "-c",
        "USER app",
        "-c",
        "WORKDIR /srv",
        "-c",
        "EXPOSE 80/tcp",
        "-c",
        "LABEL kind=test",
        "-c",
        "STOPSIGNAL SIGINT",
    ];
    let words: Vec<&str> = ["import"].iter().chain(&changes).chain(&[tar.as_str(), "box:v1"]).copied().collect();
    let id = engine.run(&words).ok();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(engine.run(&["run", "--rm", "box:v1"]).ok(), "1000\n/srv\nhello world");
    let image = engine.inspect("box:v1");
    assert_eq!(image["Id"], id.as_str());
    assert_eq!(image["RepoTags"], json!(["box:v1"]));
    assert_eq!(image["Config"]["ExposedPorts"], json!({"80/tcp": {}}));
    assert_eq!(image["Config"]["Labels"]["kind"], "test");
    assert_eq!(image["Config"]["StopSignal"], "SIGINT");
    engine.run(&["import", "--change", "CMDD x", &tar, "box:v2"]).expect(125).says(&["CMDD", "CMD"]);
}

#[test]
fn archives_are_imported_compressed_and_from_standard_input() {
    let engine = Engine::empty();
    let tar = images::busybox();
    for (program, suffix) in [("gzip", "gz"), ("zstd", "zst")] {
        if let Some(reason) = casemate_tests::missing(&[program]) {
            skip(&reason);
            continue;
        }
        let path = engine.scratch().join(format!("root.tar.{suffix}"));
        let packed = std::process::Command::new(program).arg("-1").arg("-c").arg(&tar).output().unwrap();
        fs::write(&path, packed.stdout).unwrap();
        engine.run(&["import", &path.display().to_string(), suffix]).ok();
        assert_eq!(engine.run(&["run", "--rm", suffix, "echo", "it runs"]).ok(), "it runs");
    }
    engine.run_with_input(&["import", "-", "piped"], fs::read(tar).unwrap()).ok();
    assert_eq!(engine.run(&["run", "--rm", "piped", "cat", "/etc/group"]).ok().lines().next(), Some("root:x:0:"));
}

#[test]
fn an_image_of_umoci_is_what_umoci_says() {
    let fixture = match layered::umoci() {
        Ok(fixture) => fixture,
        Err(reason) => return skip(&reason),
    };
    let engine = Engine::empty();
    for (source, image) in [("oci.tar", "layered:four"), ("docker.tar", "layered:docker")] {
        let said = engine.run(&["load", "-i", &fixture.path(source)]).ok();
        assert_eq!(said, format!("Loaded image: {image}"));
        same_inside(&engine, image, &fixture.rootfs);
        let found = engine.inspect(image);
        assert_eq!(found["Config"]["User"], "1000:1000");
        assert_eq!(found["Config"]["WorkingDir"], "/home/app");
        assert_eq!(found["Config"]["Labels"]["made.by"], "umoci");
        assert_eq!(found["RootFS"]["Layers"].as_array().unwrap().len(), 3);
    }
    // What user and directory come to.
    assert_eq!(
        engine.run(&["run", "--rm", "layered:four", "sh", "-c", "id -u; pwd; echo $FROM"]).ok(),
        "1000\n/home/app\numoci"
    );
}

#[test]
fn a_layout_directory_brings_all_its_images() {
    let fixture = match layered::umoci() {
        Ok(fixture) => fixture,
        Err(reason) => return skip(&reason),
    };
    let engine = Engine::empty();
    let said = engine.run(&["load", &fixture.path("oci")]).ok();
    assert_eq!(said.lines().count(), 4, "{said}");
    let images = engine.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
    assert_eq!(images.lines().count(), 4, "{images}");
    let named = images.lines().find(|name| name.ends_with("four")).expect("the tag is kept");
    same_inside(&engine, named, &fixture.rootfs);
}

#[test]
fn an_image_of_buildah_is_what_buildah_says() {
    let fixture = match layered::buildah() {
        Ok(fixture) => fixture,
        Err(reason) => return skip(&reason),
    };
    let engine = Engine::empty();
    for source in ["docker.tar", "oci.tar"] {
        let said = engine.run_with_input(&["load"], fs::read(fixture.path(source)).unwrap()).ok();
        let image = said.strip_prefix("Loaded image: ").expect("a name").to_owned();
        same_inside(&engine, &image, &fixture.rootfs);
        assert_eq!(engine.run(&["run", "--rm", &image, "sh", "-c", "echo $FROM"]).ok(), "buildah");
        engine.run(&["rmi", &image]).ok();
    }
}

#[test]
fn what_docker_save_writes_is_what_was_given_to_docker() {
    let saved = layered::buildah().and_then(|fixture| {
        let archive = fixture.directory.join("docker.tar");
        Ok((docker::save(&archive, "layered:buildah")?, fixture))
    });
    let (saved, fixture) = match saved {
        Ok(saved) => saved,
        Err(reason) => return skip(&reason),
    };
    let engine = Engine::empty();
    assert_eq!(engine.run(&["load", "-i", &saved.display().to_string()]).ok(), "Loaded image: layered:buildah");
    same_inside(&engine, "layered:buildah", &fixture.rootfs);
}

#[test]
fn a_debian_runs() {
    let tar = match images::debian() {
        Ok(tar) => tar,
        Err(reason) => return skip(&reason),
    };
    let engine = Engine::empty();
    engine.run(&["import", "-c", "CMD [\"bash\"]", &tar.display().to_string(), "debian:12"]).ok();
    let release = engine.run(&["run", "--rm", "debian:12", "cat", "/etc/os-release"]).ok();
    assert!(release.contains("bookworm"), "{release}");
    let script = "set -e; dpkg -l | wc -l; getent passwd root; perl -e 'print 6*7, \"\\n\"'; mktemp; ls /proc/self >/dev/null; \
        sort <(seq 3) | tail -1; apt-get --version | head -1";
    let said = engine.run(&["run", "--rm", "debian:12", "bash", "-c", script]).ok();
    assert!(said.contains("\n42\n/tmp/tmp.") && said.contains("\n3\napt "), "{said}");
}

#[test]
fn images_are_listed_named_and_removed_as_with_docker() {
    let engine = Engine::new();
    let list = engine.run(&["images"]).ok();
    let heading = list.lines().next().unwrap();
    let columns: Vec<&str> = heading.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect();
    assert_eq!(columns, ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    let id = engine.run(&["images", "-q"]).ok();
    assert_eq!(id.len(), 12);
    engine.run(&["tag", "busybox", "other/name:v1"]).ok();
    engine.run(&["tag", &id, "third"]).ok();
    assert_eq!(engine.run(&["images", "--format", "{{.Repository}}:{{.Tag}}", "other/name"]).ok(), "other/name:v1");
    assert_eq!(engine.run(&["images", "--format", "{{.Tag}}", "--filter", "reference=thi*"]).ok(), "latest");
    assert_eq!(engine.run(&["images", "-q"]).ok().lines().count(), 1, "one image with three names");
    let whole = engine.run(&["images", "-q", "--no-trunc", "third"]).ok();
    assert!(whole.starts_with(&format!("sha256:{id}")));
    // By id it has more than one name.
    engine.run(&["rmi", &id]).expect(1).says(&["third"]);
    assert_eq!(engine.run(&["rmi", "third"]).ok(), "Untagged: third:latest");
    engine.run(&["rmi", "other/name:v1"]).ok();
    engine.sleeper("user", &[]);
    engine.run(&["rmi", "busybox"]).expect(1).says(&["user"]);
    engine.run(&["rm", "-f", "user"]).ok();
    let removed = engine.run(&["rmi", "busybox"]).ok();
    assert!(removed.starts_with("Untagged: busybox:latest\n") && removed.contains("Deleted: sha256:"), "{removed}");
    assert_eq!(engine.run(&["images", "-q"]).ok(), "");
    let blobs = fs::read_dir(engine.data().join("images/blobs/sha256")).unwrap().count();
    assert_eq!(blobs, 0, "what no image names is gone");
    let layers: Vec<_> = fs::read_dir(engine.data().join("layers")).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(layers.iter().all(|name| name == "skeleton"), "{layers:?}");
}

#[test]
fn a_missing_image_is_named_with_what_was_meant() {
    let engine = Engine::new();
    engine.run(&["run", "busybx"]).expect(125).says(&["busybx", "busybox"]);
    engine.run(&["rmi", "nothing"]).expect(1).says(&["nothing"]);
    engine.run(&["inspect", "nothing"]).expect(1).says(&["no such container or image: nothing"]);
    engine.run(&["tag", "busybox", "Upper/Case"]).expect(125).says(&["Upper/Case"]);
}

#[test]
fn a_layer_of_another_size_or_digest_is_refused() {
    let engine = Engine::empty();
    let before = store(&engine);
    let mut layer = archive::builder();
    archive::file(&mut layer, "a", 0o644, b"content\n");
    let layer = archive::finish(layer);
    let directory = engine.scratch().join("oci");
    let config = json!({"architecture": host_architecture(), "os": "linux", "config": {}});
    archive::oci_layout(&directory, "x:y", &layer, &config);
    let blob = directory.join("blobs/sha256").join(archive::digest(&layer));
    let mut changed = layer.clone();
    changed[600] ^= 1;
    fs::write(&blob, &changed).unwrap();
    let path = directory.display().to_string();
    engine.run(&["load", "-i", &path]).expect(1).says(&[&archive::digest(&layer)]);
    assert_eq!(store(&engine), before, "nothing is left behind");
    fs::remove_file(&blob).unwrap();
    engine.run(&["load", "-i", &path]).expect(1).says(&[&archive::digest(&layer)]);
    fs::write(&blob, &layer[..layer.len() - 512]).unwrap();
    engine.run(&["load", "-i", &path]).expect(1);
    assert_eq!(store(&engine), before, "nothing is left behind");
    fs::write(&blob, &layer).unwrap();
    engine.run(&["load", "-i", &path]).ok();
}

#[test]
fn hostile_archives_are_refused_with_the_entry_named_and_leave_nothing() {
    let engine = Engine::new();
    let target = engine.directory("outside");
    let before = store(&engine);
    let mut cases: Vec<(&str, Vec<u8>, &str)> = Vec::new();
    let mut case = |name, make: &dyn Fn(&mut archive::Builder), says| {
        let mut layer = archive::builder();
        archive::file(&mut layer, "first", 0o644, b"was good\n");
        make(&mut layer);
        cases.push((name, archive::finish(layer), says));
    };
    let escape = format!("../../../../../../../../..{target}/escaped");
    case("dot-dot", &|layer| archive::file(layer, &escape, 0o644, b"out\n"), "..");
    case(
        "link-out",
        &|layer| {
            archive::link(layer, EntryType::Symlink, "way", &format!("../../../../../../../..{target}"));
            archive::link(layer, EntryType::Link, "hard", &format!("../../../../../../../..{target}/secret"));
        },
        "hard",
    );
    case("hard-to-nothing", &|layer| archive::link(layer, EntryType::Link, "hard", "etc/shadow"), "hard");
    case(
        "huge",
        &|layer| {
            let header = archive::header(EntryType::Regular, "huge", 0o644, 1 << 33);
            layer.append(&header, std::io::Cursor::new(vec![0; 512])).ok();
        },
        "huge",
    );
    fs::write(format!("{target}/secret"), "secret\n").unwrap();
    for (name, bytes, says) in cases {
        let path = engine.file(&format!("{name}.tar"), bytes);
        engine.run(&["import", &path, name]).expect(1).says(&[says]);
        assert_eq!(store(&engine), before, "{name} left something behind");
    }
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1, "nothing was written outside");
    // Through a link of the image: into the image, or refused, and never outside of it.
    let mut layer = archive::builder();
    archive::link(&mut layer, EntryType::Symlink, "way", &target);
    archive::file(&mut layer, "way/escaped", 0o644, b"out\n");
    let path = engine.file("through.tar", archive::finish(layer));
    engine.run(&["import", &path, "through"]);
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1, "nothing was written outside");
    // Not an archive at all, and one that is cut off.
    let path = engine.file("text.tar", "this is no archive".repeat(100));
    engine.run(&["import", &path, "text"]).expect(1);
    engine.run(&["load", "-i", &path]).expect(1);
    let tar = fs::read(images::busybox()).unwrap();
    let path = engine.file("cut.tar", &tar[..tar.len() / 2]);
    engine.run(&["import", &path, "cut"]).expect(1);
    engine.run(&["load", "-i", "/nonexistent.tar"]).expect(1).says(&["/nonexistent.tar"]);
}

#[test]
fn a_bomb_is_refused() {
    if let Some(reason) = casemate_tests::missing(&["gzip"]) {
        return skip(&reason);
    }
    let engine = Engine::empty();
    let header = engine.file("head", archive::header(EntryType::Regular, "zeros", 0o644, 600 << 20).as_bytes());
    let path = engine.scratch().join("bomb.tar.gz");
    let script = format!("(cat '{header}'; head -c 629145600 /dev/zero) | gzip -9 > '{}'", path.display());
    let mut command = std::process::Command::new("sh");
    casemate_tests::command::run(command.args(["-c", &script]), None, std::time::Duration::from_secs(60)).ok();
    assert!(fs::metadata(&path).unwrap().len() < 1 << 20, "it is small");
    let refused = engine.run(&["import", &path.display().to_string(), "bomb"]);
    refused.expect(1).says(&["bomb"]);
    assert_eq!(store(&engine).len(), 1, "nothing is left behind: {:?}", store(&engine));
}

#[test]
fn odd_but_legal_entries_are_kept() {
    let engine = Engine::new();
    let mut layer = archive::builder();
    for entry in ["bin/", "etc/"] {
        archive::add(&mut layer, EntryType::Directory, entry, 0o755);
    }
    let busybox = fs::read(casemate_tests::program("busybox").unwrap()).unwrap();
    archive::file(&mut layer, "bin/busybox", 0o755, &busybox);
    archive::link(&mut layer, EntryType::Symlink, "bin/sh", "/bin/busybox");
    archive::link(&mut layer, EntryType::Symlink, "bin/cat", "/bin/busybox");
    archive::file(&mut layer, "twice", 0o644, b"first\n");
    archive::file(&mut layer, "twice", 0o644, b"second\n");
    archive::file(&mut layer, "./dotted", 0o644, b"dotted\n");
    archive::file(&mut layer, ".wh.never-was", 0o644, b"");
    let path = engine.file("odd.tar", archive::finish(layer));
    engine.run(&["import", &path, "odd"]).ok();
    let said = engine.run(&["run", "--rm", "odd", "/bin/sh", "-c", "cat /twice /dotted"]).ok();
    assert_eq!(said, "second\ndotted");
}

#[test]
fn the_same_image_twice_is_one() {
    let engine = Engine::new();
    let first = store(&engine);
    engine.import_busybox();
    engine.run(&["system", "check"]).ok();
    let layers = |entries: &[String]| entries.iter().filter(|entry| entry.contains("/layers/")).count();
    assert_eq!(layers(&store(&engine)), layers(&first));
}

fn host_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// Blobs, layers, names, and what is being made.
fn store(engine: &Engine) -> Vec<String> {
    engine.run(&["images"]).ok();
    let mut found = Vec::new();
    for directory in ["images/blobs/sha256", "layers", "staging"] {
        for entry in fs::read_dir(engine.data().join(directory)).into_iter().flatten().flatten() {
            if entry.file_name() != "skeleton" {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found.sort();
    found.push(fs::read_to_string(engine.data().join("images/index.json")).unwrap_or_default());
    found
}
