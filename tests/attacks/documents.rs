//! Documents of images: which of their two meanings counts, and where they would have the engine look.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;

use casemate_tests::{Engine, archive};
use serde_json::json;

use crate::archives::{host_architecture, stored};
use crate::table::Attack;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        test: "documents::a_document_has_two_meanings",
        section: 'D',
        ids: "CVE-2021-41190, GHSA-5j5w-wjq2-rwwf, digests that are not checked",
        attempt: "A manifest that also has `manifests`, an index that also has `layers`, another media type than its descriptor says, digests of other algorithms, with `../`, too short, and content that is not what its digest says",
        defence: "Descriptor and document must agree; a document has one of the two; digests are parsed, and checked while reading",
        result: "refused",
        red: "patch: `layers` beside `manifests` accepted: loaded",
    },
    Attack {
        test: "documents::a_foreign_layer_is_fetched",
        section: 'D',
        ids: "CVE-2020-15157",
        attempt: "A layer with `urls` to a server of the attacker's, in a loaded image",
        defence: "Foreign layers are refused; nothing is ever fetched on `load`",
        result: "no connection is made",
        red: "not possible: there is no code that fetches",
    },
];

#[test]
fn a_document_has_two_meanings() {
    let engine = Engine::empty();
    let mut layer = archive::builder();
    archive::file(&mut layer, "a", 0o644, b"content\n");
    let layer = archive::finish(layer);
    let config = json!({"architecture": host_architecture(), "os": "linux", "config": {}});
    let attempt = |name: &str, twist: &dyn Fn(&mut serde_json::Value, &mut serde_json::Value)| {
        let directory = engine.scratch().join("layout");
        let _ = fs::remove_dir_all(&directory);
        archive::oci_layout(&directory, "x:y", &layer, &config);
        let mut index: serde_json::Value =
            serde_json::from_slice(&fs::read(directory.join("index.json")).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(directory.join("blobs/sha256").join(&digest)).unwrap()).unwrap();
        twist(&mut index, &mut manifest);
        let bytes = manifest.to_string();
        let named = archive::digest(bytes.as_bytes());
        fs::write(directory.join("blobs/sha256").join(&named), &bytes).unwrap();
        if index["manifests"][0]["digest"].as_str().is_some_and(|name| name.ends_with(&digest)) {
            index["manifests"][0]["digest"] = format!("sha256:{named}").into();
            index["manifests"][0]["size"] = bytes.len().into();
        }
        fs::write(directory.join("index.json"), index.to_string()).unwrap();
        let output = engine.run(&["load", "-i", directory.to_str().unwrap()]);
        if !name.is_empty() {
            assert_eq!(output.code, 1, "{name} is loaded: {}", output.stderr);
            assert!(stored(&engine).is_empty(), "{name} left something behind: {:?}", stored(&engine));
        }
        output
    };
    attempt("a manifest with manifests", &|_, manifest| manifest["manifests"] = json!([]));
    attempt("a manifest with manifests in it", &|index, manifest| manifest["manifests"] = index["manifests"].clone());
    attempt("another media type", &|_, manifest| {
        manifest["mediaType"] = "application/vnd.oci.image.index.v1+json".into();
    });
    attempt("another descriptor", &|index, _| {
        index["manifests"][0]["mediaType"] = "application/vnd.oci.image.index.v1+json".into();
    });
    for digest in [
        "sha256:../../../../etc/passwd",
        "sha256:",
        "sha256:00",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "../../blobs",
        "sha256:ZZ",
        "sha512:00",
    ] {
        attempt(digest, &move |_, manifest| manifest["layers"][0]["digest"] = digest.into());
        attempt(digest, &move |_, manifest| manifest["config"]["digest"] = digest.into());
        attempt(digest, &move |index, _| index["manifests"][0]["digest"] = digest.into());
    }
    for size in [json!(-1), json!(0), json!(u64::MAX), json!("1"), json!(1)] {
        let value = size.clone();
        attempt(&format!("a size of {size}"), &move |_, manifest| manifest["layers"][0]["size"] = value.clone());
        let value = size.clone();
        attempt(&format!("a configuration of {size}"), &move |_, manifest| manifest["config"]["size"] = value.clone());
    }
    attempt("", &|_, _| ()).ok();
}

#[test]
fn a_foreign_layer_is_fetched() {
    let engine = Engine::empty();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let url = format!("http://{}/layer", server.local_addr().unwrap());
    let mut layer = archive::builder();
    archive::file(&mut layer, "a", 0o644, b"content\n");
    let layer = archive::finish(layer);
    let config = json!({"architecture": host_architecture(), "os": "linux", "config": {}});
    for kind in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.v1.tar",
    ] {
        let directory = engine.scratch().join("layout");
        let _ = fs::remove_dir_all(&directory);
        archive::oci_layout(&directory, "x:y", &layer, &config);
        let mut index: serde_json::Value =
            serde_json::from_slice(&fs::read(directory.join("index.json")).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&fs::read(directory.join("blobs/sha256").join(digest)).unwrap()).unwrap();
        manifest["layers"][0]["mediaType"] = kind.into();
        manifest["layers"][0]["urls"] = json!([url]);
        fs::remove_file(directory.join("blobs/sha256").join(archive::digest(&layer))).unwrap();
        let bytes = manifest.to_string();
        let named = archive::digest(bytes.as_bytes());
        fs::write(directory.join("blobs/sha256").join(&named), &bytes).unwrap();
        index["manifests"][0]["digest"] = format!("sha256:{named}").into();
        index["manifests"][0]["size"] = bytes.len().into();
        fs::write(directory.join("index.json"), index.to_string()).unwrap();
        assert_ne!(engine.run(&["load", "-i", directory.to_str().unwrap()]).code, 0, "{kind}");
        if let Ok((mut stream, _)) = server.accept() {
            let mut request = String::new();
            let _ = stream.read_to_string(&mut request);
            panic!("{kind}: {request}");
        }
    }
}
