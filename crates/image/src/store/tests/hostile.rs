//! What a stranger's archive must not achieve: every one is refused with words that name it, and leaves nothing.

use super::*;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Refused, with `words` in the message, and the store as it was.
fn refused(what: &str, archive: Vec<u8>, words: &str) {
    let ground = Ground::new();
    ground.import("present:1", &base(), &[]);
    let before = ground.state();
    let error = ground.load(archive).expect_err(what);
    assert!(error.to_string().contains(words), "{what}: {error}");
    assert!(matches!(error.kind(), Kind::Refused | Kind::Invalid), "{what}: {error:?}");
    assert_eq!(ground.state(), before, "{what} left something behind");
}

fn entry_for(made: &Made, more: &str) -> String {
    descriptor(MANIFEST, made.manifest().as_bytes(), more)
}

#[test]
fn blobs_that_are_missing_or_lie() {
    let made = Made::new(&[base()]);
    let layer = Digest::of(&made.layers[0].1);
    let whole = made.blobs();
    let without = |at: usize| {
        let mut blobs = whole.clone();
        blobs.remove(at);
        oci(&index(&[entry_for(&made, "")]), &blobs)
    };
    refused("no layer", without(2), &layer.hex());
    refused("no manifest", without(1), &Digest::of(&whole[1]).hex());
    refused("no configuration", without(0), &made.id().hex());
    let mut archive = Builder::new().file("index.json", index(&[entry_for(&made, "")]).as_bytes());
    for blob in &whole {
        let content = if Digest::of(blob) == layer { b"other" } else { &blob[..] };
        archive = archive.file(&format!("blobs/sha256/{}", Digest::of(blob).hex()), content);
    }
    refused("another layer under its digest", archive.end(), &layer.hex());
    let size = entry_for(&made, "").replace(&format!("\"size\":{}", made.manifest().len()), "\"size\":1");
    refused("wrong size", oci(&index(&[size]), &whole), "its descriptor says 1");
    let negative = entry_for(&made, "").replace(&format!("\"size\":{}", made.manifest().len()), "\"size\":-1");
    refused("negative size", oci(&index(&[negative]), &whole), "-1");
}

#[test]
fn layers_that_are_not_what_the_image_says() {
    let mut other = Made::new(&[base()]);
    other.layers[0].1 = gzip(&upper());
    refused("content of another diff-id", other.oci("a:1"), &Digest::of(&base()).hex());
    let mut lying = Made::new(&[base()]);
    lying.layers[0].2 = "application/vnd.oci.image.layer.v1.tar+zstd";
    refused("gzip called zstd", lying.oci("a:1"), "its media type says zstd");
    let mut foreign = Made::new(&[base()]);
    foreign.layers[0].2 = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    refused("foreign layer", foreign.oci("a:1"), "not supported");
    let mut cut = Made::new(&[base()]);
    cut.layers[0].1.truncate(100);
    refused("truncated gzip", cut.oci("a:1"), "layer sha256:");
    let mut fewer = Made::new(&[base(), upper()]);
    fewer.layers.pop();
    refused("fewer layers than diff-ids", fewer.oci("a:1"), "1 layers");
    let mut poisoned = Made::new(&[base()]);
    poisoned.layers[0].0 = upper();
    refused("another plain layer", poisoned.docker("null"), "0/layer.tar");
}

#[test]
fn layers_that_attack_the_host() {
    for (what, archive) in [
        ("../../escape", Builder::new().file("../../escape", b"")),
        ("/etc/cron.d/x", Builder::new().file("/etc/cron.d/x", b"")),
        ("out/x", Builder::new().symlink("out", "../../../..").file("out/x", b"")),
        ("hard", Builder::new().hard_link("hard", "../../../../etc/shadow")),
    ] {
        let layer = Builder::new().file("first", b"written").end();
        let hostile = archive.end();
        refused(what, Made::new(&[layer.clone(), hostile.clone()]).oci("a:1"), &format!("{what:?}"));
        refused(what, Made::new(&[layer, hostile.clone()]).docker(r#"["a:1"]"#), &format!("{what:?}"));
        let ground = Ground::new();
        let before = ground.state();
        let error = ground.store.import(&hostile[..], &reference("a:1"), &[]).expect_err(what);
        assert!(error.to_string().contains(&format!("{what:?}")), "{error}");
        assert_eq!(ground.state(), before);
    }
}

#[test]
fn documents_that_are_ambiguous_or_absurd() {
    let made = Made::new(&[base()]);
    let both = made.manifest().replacen('{', &format!(r#"{{"manifests":[{}],"#, entry_for(&made, "")), 1);
    let entry = descriptor(MANIFEST, both.as_bytes(), "");
    let blobs = [made.blobs(), vec![both.into_bytes()]].concat();
    refused("manifest and index at once", oci(&index(&[entry]), &blobs), "ambiguous");
    refused(
        "manifest called index",
        oci(&index(&[descriptor(INDEX, made.manifest().as_bytes(), "")]), &made.blobs()),
        "media type",
    );
    let mut user = Made::new(&[base()]);
    user.config = user.config.replace(r#""Cmd""#, r#""User":"root\nx","Cmd""#);
    refused("user with a line break", user.oci("a:1"), "is not a user");
    let mut many = Made::new(&[base()]);
    let layer = many.layers[0].clone();
    many.layers = vec![layer; 128];
    refused("128 layers", many.oci("a:1"), "more than 127");
    let mut huge = made.config.clone();
    huge.push_str(&" ".repeat(5 << 20));
    let mut large = Made::new(&[base()]);
    large.config = huge;
    refused("a configuration of 5 MiB", large.oci("a:1"), "larger than");
    refused("an empty index", oci(&index(&[]), &[]), "no image");
    refused("no JSON", oci("[", &[]), "index.json");
    refused("nothing", Builder::new().end(), "neither");
    refused("not an archive", b"hello, world".repeat(1000), "not a tar header");
    refused("empty", Vec::new(), "neither");
    refused("a root file system", base(), "casemate import");
    refused("an ancient archive", Builder::new().file("repositories", b"{}").end(), "older than 1.10");
    let two = [made.docker("null"), Vec::new()].concat();
    let mut both_kinds = two[..two.len() - 1024].to_vec();
    both_kinds.extend_from_slice(&Made::new(&[upper()]).oci("a:1"));
    refused("two descriptions of different images", both_kinds, "ambiguous");
}

#[test]
fn indexes_that_lead_nowhere_or_too_deep() {
    let made = Made::new(&[base()]);
    let mut blobs = made.blobs();
    let mut entry = entry_for(&made, "");
    for _ in 0..8 {
        let nested = index(&[entry]);
        entry = descriptor(INDEX, nested.as_bytes(), "");
        blobs.push(nested.into_bytes());
    }
    refused("eight indexes within each other", oci(&index(&[entry]), &blobs), "deeper than");
    // A true cycle would need a hash collision; what is written as one lies about its digest.
    let own = descriptor(INDEX, b"itself", "");
    let cycle = index(std::slice::from_ref(&own));
    let name = format!("blobs/sha256/{}", Digest::of(b"itself").hex());
    let archive = Builder::new().file("index.json", index(&[own]).as_bytes()).file(&name, cycle.as_bytes()).end();
    refused("an index that names itself", archive, &Digest::of(b"itself").hex());
    let other = entry_for(&made, r#","platform":{"architecture":"s390x","os":"linux"}"#);
    refused("another machine's image", oci(&index(&[other]), &made.blobs()), "no image for linux/");
    let leaf = index(&[]);
    let wide: Vec<String> = (0..2000).map(|_| descriptor(INDEX, leaf.as_bytes(), "")).collect();
    let middle = index(&wide);
    let entry = descriptor(INDEX, middle.as_bytes(), "");
    refused("a maze", oci(&index(&[entry]), &[middle.into_bytes(), leaf.into_bytes()]), "more than 1024");
}

#[test]
fn outer_archives_that_lie() {
    let made = Made::new(&[base()]);
    let manifest =
        |config: &str, layer: &str| format!(r#"[{{"Config":"{config}","RepoTags":["a:1"],"Layers":["{layer}"]}}]"#);
    let with = |config: &str, layer: &str| {
        Builder::new().file("c.json", made.config.as_bytes()).file("manifest.json", manifest(config, layer).as_bytes())
    };
    refused("path out", with("../c.json", "l").end(), "lacks");
    refused("layer path out", with("c.json", "../../etc/shadow").end(), "lacks");
    refused("link out", with("c.json", "l").symlink("l", "../../etc/shadow").end(), "leads out");
    refused("absolute link", with("c.json", "l").symlink("l", "/etc/shadow").end(), "leads out");
    refused("hard link out", with("c.json", "l").hard_link("l", "../x").end(), "leads out");
    refused("link loop", with("c.json", "l").symlink("l", "m").symlink("m", "l").end(), "too many links");
    refused("device", with("c.json", "l").device("l", b'3', 1, 5).end(), "character device");
    refused("entry out", with("c.json", "l").file("../../../etc/cron.d/x", b"").end(), "leads out");
    refused("two configurations", with("c.json", "l").file("c.json", b"{}").end(), "twice");
    let name = format!("{}.json", "0".repeat(64));
    refused(
        "configuration's name",
        Builder::new().file(&name, made.config.as_bytes()).file("manifest.json", manifest(&name, "l").as_bytes()).end(),
        &name,
    );
    let bad_tag = made.docker(r#"["Not A Reference"]"#);
    refused("tag", bad_tag, "not an image reference");
    let whole = made.docker("null");
    refused("truncated", whole[..whole.len() - 2000].to_vec(), "truncated");
    let zip = gzip(&whole);
    refused("truncated gzip", zip[..zip.len() - 20].to_vec(), "the archive");
}

#[test]
fn bombs() {
    let limits = Limits { bytes: 3 << 20, ratio: 50, ratio_from: 1 << 20, entries: 100, ..Limits::default() };
    let many = (0..200).fold(Builder::new(), |archive, at| archive.file(&at.to_string(), b"")).end();
    let large = Builder::new().file("zeros", &vec![0; 4 << 20]).end();
    let growing = Builder::new().file("zeros", &vec![0; 2 << 20]).end();
    for (what, layer, words) in
        [("entries", many, "more than 100 entries"), ("size", large, "larger than"), ("ratio", growing, "bomb")]
    {
        for bomb in [gzip(&layer), zstd::encode_all(&layer[..], 3).unwrap()] {
            let ground = Ground::new();
            let root = ground.store.root().to_owned();
            let store = Store::open(&root).unwrap().with_limits(limits);
            let before = ground.state();
            let error = store.import(&bomb[..], &reference("a:1"), &[]).expect_err(what);
            assert!(error.to_string().contains(words), "{what}: {error}");
            assert_eq!(ground.state(), before);
        }
        let mut made = Made::new(&[base()]);
        made.layers[0].1 = gzip(&layer);
        let ground = Ground::new();
        let store = Store::open(ground.store.root()).unwrap().with_limits(limits);
        let before = ground.state();
        let error = store.load(stream(made.oci("a:1"))).expect_err(what);
        assert!(error.to_string().contains(words), "{what}: {error}");
        assert_eq!(ground.state(), before);
    }
    let ground = Ground::new();
    let truncated = Builder::new().file("f", b"").open_end();
    let before = ground.state();
    assert!(ground.store.import(&truncated[..], &reference("a:1"), &[]).unwrap_err().to_string().contains("truncated"));
    assert!(ground.store.import(&gzip(&truncated)[..], &reference("a:1"), &[]).is_err());
    assert_eq!(ground.state(), before);
}
