//! Images come, are named, and go.

use super::*;

#[test]
fn an_imported_image_is_found_by_every_name_it_has() {
    let ground = Ground::new();
    let archive = base();
    let id = ground.import("debian:12", &gzip(&archive), &["CMD [\"/bin/sh\"]", "ENV A=b"]);
    let hex = id.hex();
    for name in [
        "debian:12",
        "docker.io/library/debian:12",
        &id.to_string(),
        &hex,
        &hex[..12],
        &hex[..3],
        &format!("sha256:{}", &hex[..8]),
    ] {
        let image = ground.store.resolve(name).unwrap();
        assert_eq!(image.id, id, "{name}");
    }
    let image = ground.store.resolve("debian:12").unwrap();
    assert_eq!(image.references, [reference("debian:12")]);
    assert_eq!(image.layers, [DiffId(Digest::of(&archive))]);
    assert_eq!(image.size, 29 + 1 + 3 + 2);
    assert!(image.created.is_some_and(|created| created.starts_with("20")));
    let config = image.config.config().as_ref().unwrap();
    assert_eq!(config.cmd().as_deref(), Some(&["/bin/sh".to_owned()][..]));
    let by_digest = format!("debian@{}", image.manifest);
    assert_eq!(ground.store.resolve(&by_digest).unwrap().id, id);
    let other = format!("other@{}", image.manifest);
    assert_eq!(ground.store.resolve(&other).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn what_is_not_there_is_not_found_and_a_slip_gets_a_suggestion() {
    let ground = Ground::new();
    ground.import("debian:bookworm", &base(), &[]);
    let error = ground.store.resolve("debain:bookworm").unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("did you mean \"debian:bookworm\""), "{error}");
    assert!(ground.store.resolve("debian").unwrap_err().to_string().contains("debian:bookworm"));
    assert_eq!(ground.store.resolve("Debian").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(ground.store.resolve("").unwrap_err().kind(), Kind::Invalid);
    assert!(ground.store.resolve(&"0".repeat(64)).unwrap_err().is_not_found());
}

#[test]
fn both_kinds_of_archives_load_and_name_the_same_image() {
    let made = Made::new(&[base(), upper()]);
    let ground = Ground::new();
    let loaded = ground.load(made.docker(r#"["app:1","app:2"]"#)).unwrap();
    assert_eq!((loaded.len(), loaded[0].id), (1, made.id()));
    assert_eq!(loaded[0].references, [reference("app:1"), reference("app:2")]);
    let loaded = ground.load(gzip(&made.oci("example.org/app:3"))).unwrap();
    assert_eq!((loaded[0].id, &loaded[0].references[..]), (made.id(), &[reference("example.org/app:3")][..]));
    let loaded = ground.load(made.docker("null")).unwrap();
    assert_eq!(loaded[0].references, []);
    let image = ground.store.resolve("app:1").unwrap();
    assert_eq!(image.layers.len(), 2);
    let paths = ground.store.snapshot_layers(&image).unwrap();
    assert_eq!(
        paths,
        [ground.store.layer(&image.layers[1]), ground.store.layer(&image.layers[0]), ground.store.skeleton()]
    );
    assert!(ground.store.check(false).unwrap().is_sound());
}

#[test]
fn a_layout_is_loaded_from_a_directory_and_named_after_it() {
    let made = Made::new(&[base()]);
    let scratch = tempfile::tempdir().unwrap();
    let layout = scratch.path().join("myapp");
    fs::create_dir(&layout).unwrap();
    ::tar::Archive::new(&made.oci("v1")[..]).unpack(&layout).unwrap();
    let ground = Ground::new();
    let loaded = ground.store.load(Source::open(&layout).unwrap()).unwrap();
    assert_eq!(loaded[0].references, [reference("myapp:v1")]);
    // The store is a layout itself.
    let other = Ground::new();
    let loaded = other.store.load(Source::Directory(ground.store.root().join("images"))).unwrap();
    assert_eq!(loaded[0].references, [reference("myapp:v1")]);
}

#[test]
fn a_multi_platform_index_gives_this_machines_image() {
    let (ours, theirs) = (Made::new(&[base()]), Made::new(&[upper()]));
    let platform = |arch: &str| format!(r#","platform":{{"architecture":"{arch}","os":"linux"}}"#);
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let nested = index(&[
        descriptor(manifest, theirs.manifest().as_bytes(), &platform("s390x")),
        descriptor(manifest, ours.manifest().as_bytes(), &platform(crate::archive::architecture())),
    ]);
    let entry = descriptor(
        "application/vnd.oci.image.index.v1+json",
        nested.as_bytes(),
        r#","annotations":{"io.containerd.image.name":"docker.io/library/multi:1"}"#,
    );
    let blobs = [ours.blobs(), vec![nested.into_bytes()]].concat();
    let ground = Ground::new();
    let loaded = ground.load(oci(&index(&[entry]), &blobs)).unwrap();
    assert_eq!((loaded[0].id, &loaded[0].references[..]), (ours.id(), &[reference("multi:1")][..]));
}

#[test]
fn the_same_layer_twice_is_stacked_once() {
    let made = Made::new(&[base(), upper(), base()]);
    let ground = Ground::new();
    ground.load(made.oci("twice:1")).unwrap();
    let image = ground.store.resolve("twice:1").unwrap();
    let layers = image.layers.clone();
    assert_eq!(
        ground.store.snapshot_layers(&image).unwrap(),
        [ground.store.layer(&layers[0]), ground.store.layer(&layers[1]), ground.store.skeleton()]
    );
}

#[test]
fn tags_move_and_images_go_with_their_last() {
    let ground = Ground::new();
    let (first, second) = (ground.import("a:1", &base(), &[]), ground.import("b:1", &upper(), &[]));
    let free = |_: &Digest| Vec::new();
    ground.store.tag("a:1", &reference("a:2")).unwrap();
    assert_eq!(ground.store.resolve("a:2").unwrap().references, [reference("a:1"), reference("a:2")]);
    // By id it is not clear which name is meant.
    let several = ground.store.remove(&first.short(), false, &free).unwrap_err();
    assert_eq!(several.kind(), Kind::Conflict);
    assert_eq!(ground.store.remove("a:1", false, &free).unwrap(), [Removed::Untagged(reference("a:1"))]);
    // The tag moves; the image that had it stays, nameless.
    ground.store.tag("b:1", &reference("a:2")).unwrap();
    assert_eq!(ground.store.resolve("a:2").unwrap().id, second);
    assert_eq!(ground.store.resolve(&first.to_string()).unwrap().references, []);
    let removed = ground.store.remove(&first.to_string(), false, &free).unwrap();
    assert_eq!(removed, [Removed::Deleted(first), Removed::Deleted(Digest::of(&base()))]);
    let removed = ground.store.remove(&second.short(), true, &free).unwrap();
    assert_eq!(removed.len(), 4);
    assert_eq!(ground.store.list().unwrap().len(), 0);
    assert_eq!(ground.state().keys().filter(|path| path.ends_with("fs")).count(), 1, "only the skeleton stays");
    let digest = format!("x@{first}");
    assert_eq!(ground.store.tag("b:1", &Reference::parse(&digest).unwrap()).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn what_containers_use_is_never_deleted() {
    let ground = Ground::new();
    let id = ground.import("a:1", &base(), &[]);
    let used = |asked: &Digest| if *asked == id { vec!["web".to_owned()] } else { Vec::new() };
    let error = ground.store.remove("a:1", false, &used).unwrap_err();
    assert!(error.kind() == Kind::Conflict && error.to_string().contains("container web"), "{error}");
    assert_eq!(ground.store.remove("a:1", true, &used).unwrap(), [Removed::Untagged(reference("a:1"))]);
    let image = ground.store.resolve(&id.to_string()).unwrap();
    assert!(ground.store.layer(&image.layers[0]).join("usr/bin/true").exists());
    assert_eq!(ground.store.remove(&id.to_string(), true, &used).unwrap_err().kind(), Kind::Conflict);
}

#[test]
fn shared_layers_stay_for_those_who_share_them() {
    let ground = Ground::new();
    ground.load(Made::new(&[base(), upper()]).oci("both:1")).unwrap();
    ground.load(Made::new(&[base()]).oci("one:1")).unwrap();
    let free = |_: &Digest| Vec::new();
    let removed = ground.store.remove("both:1", false, &free).unwrap();
    assert!(removed.contains(&Removed::Deleted(Digest::of(&upper()))));
    assert!(!removed.contains(&Removed::Deleted(Digest::of(&base()))));
    let image = ground.store.resolve("one:1").unwrap();
    assert!(ground.store.layer(&image.layers[0]).exists());
    assert!(ground.store.check(false).unwrap().is_sound());
}

#[test]
fn the_probe_is_made_once_per_executable() {
    let ground = Ground::new();
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("exe");
    fs::write(&path, vec![7; 100_000]).unwrap();
    let first = ground.store.ensure_probe(&fs::File::open(&path).unwrap(), "1.0").unwrap();
    assert_eq!(first.references, [reference("casemate/probe")]);
    let program = ground.store.layer(&first.layers[0]).join("casemate-probe");
    assert_eq!(fs::read(&program).unwrap(), vec![7; 100_000]);
    assert_eq!(fs::metadata(&program).unwrap().mode() & 0o7777, 0o755);
    let before = ground.state();
    let again = ground.store.ensure_probe(&fs::File::open(&path).unwrap(), "1.0").unwrap();
    assert_eq!((again.id, ground.state()), (first.id, before));
    fs::write(&path, vec![8; 100_001]).unwrap();
    let newer = ground.store.ensure_probe(&fs::File::open(&path).unwrap(), "1.1").unwrap();
    assert_ne!(newer.id, first.id);
    let used = |_: &Digest| vec!["old".to_owned()];
    assert_eq!(ground.store.remove_superseded_probes(&used).unwrap(), 0);
    assert_eq!(ground.store.remove_superseded_probes(&|_| Vec::new()).unwrap(), 1);
    assert_eq!(ground.store.list().unwrap().len(), 1);
    assert!(ground.store.check(false).unwrap().is_sound());
}

#[test]
fn commands_at_once_lose_nothing() {
    let ground = Ground::new();
    let root = ground.store.root().to_owned();
    std::thread::scope(|scope| {
        for at in 0..8 {
            let root = &root;
            scope.spawn(move || {
                let store = Store::open(root).unwrap();
                let own = Builder::new().file(&format!("f{at}"), b"").end();
                for round in 0..4 {
                    let name = format!("image{at}:{round}");
                    store.load(stream(Made::new(&[base(), own.clone()]).oci(&name))).unwrap();
                    if round % 2 == 1 {
                        store.remove(&name, false, &|_| Vec::new()).unwrap();
                    }
                }
            });
        }
    });
    let images = ground.store.list().unwrap();
    assert_eq!(images.len(), 8);
    for image in &images {
        assert_eq!(image.references.len(), 2);
        ground.store.snapshot_layers(image).unwrap();
    }
    let report = ground.store.check(false).unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(fs::read_dir(root.join("staging")).unwrap().count(), 0);
}
