use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use tempfile::TempDir;

use super::*;
use crate::archive::Source;
use crate::change::Change;
use crate::digest::Digest;
use crate::error::Kind;
use crate::image::Removed;
use crate::reference::Reference;
use crate::tar::build::Builder;

mod hostile;
mod life;
mod sight;

/// A store of its own for one test.
struct Ground {
    _scratch: TempDir,
    store: Store,
}

impl Ground {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::open(&scratch.path().join("data")).unwrap();
        Self { _scratch: scratch, store }
    }

    fn import(&self, name: &str, archive: &[u8], changes: &[&str]) -> Digest {
        let changes: Vec<Change> = changes.iter().map(|change| Change::parse(change).unwrap()).collect();
        self.store.import(archive, &reference(name), &changes).unwrap().id
    }

    fn load(&self, archive: Vec<u8>) -> Result<Vec<crate::Loaded>, Error> {
        self.store.load(stream(archive))
    }

    /// Every path of the store with its kind, size and links: to see that nothing changed.
    fn state(&self) -> BTreeMap<PathBuf, (u32, u64)> {
        let mut found = BTreeMap::new();
        let mut left = vec![self.store.root().to_owned()];
        while let Some(path) = left.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                found.insert(path, (metadata.mode(), 0));
            } else {
                found.insert(path, (metadata.mode(), metadata.len()));
            }
        }
        found
    }
}

fn stream(archive: Vec<u8>) -> Source {
    Source::Stream(Box::new(io::Cursor::new(archive)))
}

fn reference(name: &str) -> Reference {
    Reference::parse(name).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image's documents and blobs, before they are put into an archive.
struct Made {
    layers: Vec<(Vec<u8>, Vec<u8>, &'static str)>,
    config: String,
}

impl Made {
    /// Layers as plain tars, stored with gzip.
    fn new(layers: &[Vec<u8>]) -> Self {
        let ids: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", Digest::of(layer))).collect();
        let config = format!(
            r#"{{"architecture":"{}","os":"linux","config":{{"Cmd":["/bin/true"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            crate::archive::architecture(),
            ids.join(",")
        );
        let media_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        Self { layers: layers.iter().map(|layer| (layer.clone(), gzip(layer), media_type)).collect(), config }
    }

    fn id(&self) -> Digest {
        Digest::of(self.config.as_bytes())
    }

    fn manifest(&self) -> String {
        let layers: Vec<String> =
            self.layers.iter().map(|(_, stored, media_type)| descriptor(media_type, stored, "")).collect();
        format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#,
            descriptor("application/vnd.oci.image.config.v1+json", self.config.as_bytes(), ""),
            layers.join(",")
        )
    }

    fn blobs(&self) -> Vec<Vec<u8>> {
        let mut blobs = vec![self.config.clone().into_bytes(), self.manifest().into_bytes()];
        blobs.extend(self.layers.iter().map(|(_, stored, _)| stored.clone()));
        blobs
    }

    /// An OCI archive, its index naming the manifest.
    fn oci(&self, name: &str) -> Vec<u8> {
        let more = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#);
        let entry = descriptor("application/vnd.oci.image.manifest.v1+json", self.manifest().as_bytes(), &more);
        oci(&index(&[entry]), &self.blobs())
    }

    /// A `docker save` archive, older style: layers plain, by path.
    fn docker(&self, tags: &str) -> Vec<u8> {
        let mut archive = Builder::new();
        let mut paths = Vec::new();
        for (at, (plain, _, _)) in self.layers.iter().enumerate() {
            archive = archive.directory(&format!("{at}/")).file(&format!("{at}/layer.tar"), plain);
            paths.push(format!("\"{at}/layer.tar\""));
        }
        let config = format!("{}.json", self.id().hex());
        let manifest = format!(r#"[{{"Config":"{config}","RepoTags":{tags},"Layers":[{}]}}]"#, paths.join(","));
        archive.file(&config, self.config.as_bytes()).file("manifest.json", manifest.as_bytes()).end()
    }
}

fn descriptor(media_type: &str, content: &[u8], more: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":{}{more}}}"#, Digest::of(content), content.len())
}

fn index(entries: &[String]) -> String {
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
}

fn oci(index: &str, blobs: &[Vec<u8>]) -> Vec<u8> {
    let archive =
        Builder::new().file("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}").file("index.json", index.as_bytes());
    let archive = blobs
        .iter()
        .fold(archive, |archive, blob| archive.file(&format!("blobs/sha256/{}", Digest::of(blob).hex()), blob));
    archive.end()
}

fn base() -> Vec<u8> {
    Builder::new()
        .directory("etc/")
        .file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        .file("etc/old", b"old")
        .directory("usr/bin/")
        .file("usr/bin/true", b"#!")
        .symlink("bin", "usr/bin")
        .directory("data/")
        .file("data/below", b"")
        .end()
}

fn upper() -> Vec<u8> {
    Builder::new()
        .directory("etc/")
        .file("etc/.wh.old", b"")
        .file("etc/new", b"new")
        .directory("data/")
        .file("data/.wh..wh..opq", b"")
        .file("data/above", b"")
        .end()
}
