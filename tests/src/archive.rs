//! Archives made entry by entry, so that a test says what is wrong with them.

use std::io::Write as _;

use tar::{EntryType, Header};

/// A tar archive under construction.
pub type Builder = tar::Builder<Vec<u8>>;

/// A new archive.
pub fn builder() -> Builder {
    let mut builder = tar::Builder::new(Vec::new());
    builder.mode(tar::HeaderMode::Complete);
    builder
}

/// An archive that goes on where a finished one ended.
pub fn continued(mut archive: Vec<u8>) -> Builder {
    // Two blocks of zeros are the end.
    archive.truncate(archive.len() - 1024);
    let mut builder = tar::Builder::new(archive);
    builder.mode(tar::HeaderMode::Complete);
    builder
}

/// A header whose name is written as it is: no check keeps a test from lying.
pub fn header(kind: EntryType, name: &str, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    let field = &mut header.as_old_mut().name;
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(size);
    header.set_cksum();
    header
}

/// Adds an entry without content.
pub fn add(builder: &mut Builder, kind: EntryType, name: &str, mode: u32) {
    builder.append(&header(kind, name, mode, 0), std::io::empty()).expect("memory");
}

/// Adds a file.
pub fn file(builder: &mut Builder, name: &str, mode: u32, content: &[u8]) {
    builder.append(&header(EntryType::Regular, name, mode, content.len() as u64), content).expect("memory");
}

/// Adds a symbolic link, or with [`EntryType::Link`] a hard link, with any target.
pub fn link(builder: &mut Builder, kind: EntryType, name: &str, target: &str) {
    let mut header = header(kind, name, 0o777, 0);
    let field = &mut header.as_old_mut().linkname;
    field[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    builder.append(&header, std::io::empty()).expect("memory");
}

/// The finished archive.
pub fn finish(builder: Builder) -> Vec<u8> {
    builder.into_inner().expect("memory")
}

/// The digest of bytes as images write it.
pub fn digest(bytes: &[u8]) -> String {
    crate::tree::hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// Wraps a layer into an OCI layout in `directory`, with the tag `tag`; the names are true unless `twist` changes a file.
pub fn oci_layout(directory: &std::path::Path, tag: &str, layer: &[u8], config: &serde_json::Value) {
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).expect("a directory");
    let write = |bytes: &[u8]| {
        let name = digest(bytes);
        std::fs::File::create(blobs.join(&name)).and_then(|mut file| file.write_all(bytes)).expect("a file");
        serde_json::json!({ "digest": format!("sha256:{name}"), "size": bytes.len() })
    };
    let described = |bytes: &[u8], kind: &str| {
        let mut descriptor = write(bytes);
        descriptor["mediaType"] = kind.into();
        descriptor
    };
    let mut config = config.clone();
    config["rootfs"] = serde_json::json!({ "type": "layers", "diff_ids": [format!("sha256:{}", digest(layer))] });
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json"),
        "layers": [described(layer, "application/vnd.oci.image.layer.v1.tar")],
    });
    let mut entry = described(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
    entry["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": tag });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
    std::fs::write(directory.join("index.json"), index.to_string()).expect("a file");
    std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("a file");
}
