//! Manifests, indexes and descriptors: the JSON that says which blobs make an image.
//!
//! Own types instead of `oci-spec`'s, for what has to be strict here: a document that could be read both as a manifest and as an
//! index is refused (GHSA-5j5w-9665-r3xg), digests are sha256 only, and sizes are never negative.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{DiffId, Digest};

/// No manifest, configuration or index from outside is read beyond this many bytes.
pub const MAX_DOCUMENT: u64 = 4 * 1024 * 1024;

/// The most layers an image may have: Docker's bound, which also keeps a snapshot mountable by every supported kernel.
pub const MAX_LAYERS: usize = 127;

const MAX_MANIFESTS: usize = 4096;

pub(crate) mod media {
    pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    pub(crate) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    pub(crate) const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    pub(crate) const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    pub(crate) const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
}

/// A document from outside is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {document} is not valid: {reason}")]
pub struct InvalidDocument {
    /// Which document: "manifest", "index", "image configuration", …
    pub document: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl InvalidDocument {
    pub(crate) fn new(document: &'static str, reason: impl Into<String>) -> Self {
        Self { document, reason: reason.into() }
    }
}

/// Names a blob: what it is, its digest and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default)]
    pub media_type: String,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// Notes about it, for example its reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// For which machine it is; in indexes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// A machine's kind, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// For example `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// For example `linux`.
    #[serde(default)]
    pub os: String,
    /// For example `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The image configuration's blob.
    pub config: Descriptor,
    /// The layers' blobs, bottom first.
    pub layers: Vec<Descriptor>,
}

/// What a manifest's blob can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// An image.
    Manifest(Manifest),
    /// Several, from which one is chosen by platform or reference.
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Parses a manifest or an index. `media_type` is what the descriptor that led here said.
    ///
    /// # Errors
    /// [`InvalidDocument`] when it is too large, malformed, of the obsolete schema 1, could be read as both, or is not what
    /// its descriptor said.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, InvalidDocument> {
        let invalid = |reason: String| InvalidDocument::new("manifest", reason);
        check_size(bytes, "manifest")?;
        let raw: RawDocument = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        if raw.schema_version != Some(2) || raw.fs_layers.is_some() {
            return Err(invalid("it is not of schema version 2".to_owned()));
        }
        let declared = media_type.filter(|declared| !declared.is_empty());
        if let (Some(declared), Some(own)) = (declared, raw.media_type.as_deref())
            && declared != own
        {
            return Err(invalid(format!("it calls itself {own:?}, what names it calls it {declared:?}")));
        }
        let kind = declared.or(raw.media_type.as_deref());
        let document = match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) => {
                if manifests.len() > MAX_MANIFESTS {
                    return Err(invalid(format!("it names more than {MAX_MANIFESTS} manifests")));
                }
                Self::Index(manifests)
            }
            (None, Some(config), layers) => {
                let layers = layers.unwrap_or_default();
                if layers.len() > MAX_LAYERS {
                    return Err(invalid(format!("it has {} layers, more than {MAX_LAYERS}", layers.len())));
                }
                Self::Manifest(Manifest { config, layers })
            }
            (Some(_), _, _) => {
                return Err(invalid("it is ambiguous: a manifest and an index at once".to_owned()));
            }
            (None, None, _) => return Err(invalid("it names no configuration".to_owned())),
        };
        let fits = match (&document, kind) {
            (_, None) => true,
            (Self::Index(_), Some(kind)) => matches!(kind, media::OCI_INDEX | media::DOCKER_INDEX),
            (Self::Manifest(_), Some(kind)) => {
                matches!(kind, media::OCI_MANIFEST | media::DOCKER_MANIFEST)
            }
        };
        if !fits {
            return Err(invalid(format!("its content does not fit its media type {:?}", kind.unwrap_or_default())));
        }
        Ok(document)
    }
}

impl Manifest {
    /// Parses a document that must be a manifest.
    ///
    /// # Errors
    /// As [`Document::parse`], and when it is an index.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, InvalidDocument> {
        match Document::parse(bytes, media_type)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(InvalidDocument::new("manifest", "it is an index, not a manifest")),
        }
    }

    /// Checks the manifest against its configuration: as many layers as diff-ids.
    pub(crate) fn matches(&self, layers: &[DiffId]) -> Result<(), InvalidDocument> {
        if self.layers.len() == layers.len() {
            return Ok(());
        }
        Err(InvalidDocument::new(
            "manifest",
            format!("it has {} layers, its configuration names {}", self.layers.len(), layers.len()),
        ))
    }
}

pub(crate) fn check_size(bytes: &[u8], document: &'static str) -> Result<(), InvalidDocument> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(InvalidDocument::new(document, format!("it is larger than {MAX_DOCUMENT} bytes")));
    }
    Ok(())
}

/// One image of the `manifest.json` that `docker save` writes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SavedImage {
    /// The configuration's path within the archive.
    pub config: String,
    /// The references.
    pub repo_tags: Option<Vec<String>>,
    /// The layers' paths within the archive, bottom first.
    pub layers: Option<Vec<String>>,
}

impl SavedImage {
    /// Parses the `manifest.json` of a `docker save` archive.
    ///
    /// # Errors
    /// [`InvalidDocument`] when it is too large or malformed.
    pub fn parse_all(bytes: &[u8]) -> Result<Vec<Self>, InvalidDocument> {
        check_size(bytes, "archive's manifest.json")?;
        let images: Vec<Self> = serde_json::from_slice(bytes)
            .map_err(|error| InvalidDocument::new("archive's manifest.json", error.to_string()))?;
        for image in &images {
            if image.layers.as_ref().is_some_and(|layers| layers.len() > MAX_LAYERS) {
                return Err(InvalidDocument::new(
                    "archive's manifest.json",
                    format!("an image has more than {MAX_LAYERS} layers"),
                ));
            }
        }
        Ok(images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor() -> String {
        format!(r#"{{"mediaType":"x","digest":"{D}","size":2}}"#)
    }

    #[test]
    fn a_manifest_and_an_index_are_told_apart() {
        let d = descriptor();
        let manifest = format!(r#"{{"schemaVersion":2,"config":{d},"layers":[{d}]}}"#);
        assert!(matches!(Document::parse(manifest.as_bytes(), Some(media::OCI_MANIFEST)), Ok(Document::Manifest(_))));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{d}]}}"#);
        assert!(matches!(Document::parse(index.as_bytes(), None), Ok(Document::Index(_))));
        assert!(Document::parse(manifest.as_bytes(), Some(media::OCI_INDEX)).is_err());
        assert!(Document::parse(index.as_bytes(), Some(media::DOCKER_MANIFEST)).is_err());
    }

    #[test]
    fn what_lies_or_is_ambiguous_is_refused() {
        let d = descriptor();
        for wrong in [
            format!(r#"{{"schemaVersion":2,"config":{d},"layers":[{d}],"manifests":[{d}]}}"#),
            format!(r#"{{"schemaVersion":2,"layers":[{d}],"manifests":[{d}]}}"#),
            format!(r#"{{"schemaVersion":2,"layers":[{d}]}}"#),
            format!(r#"{{"schemaVersion":1,"config":{d},"layers":[]}}"#),
            format!(r#"{{"config":{d},"layers":[]}}"#),
            format!(r#"{{"schemaVersion":2,"mediaType":"text/plain","config":{d},"layers":[]}}"#),
            format!(r#"{{"schemaVersion":2,"mediaType":"{}","config":{d}}}"#, media::OCI_INDEX),
            format!(r#"{{"schemaVersion":2,"config":{d},"config":{d}}}"#),
            format!(r#"{{"schemaVersion":2,"config":{d},"layers":[{}]}}"#, vec![d.clone(); MAX_LAYERS + 1].join(",")),
            r#"{"schemaVersion":2,"config":{"digest":"sha256:../x","size":1}}"#.to_owned(),
            format!(r#"{{"schemaVersion":2,"config":{{"digest":"{D}","size":-1}}}}"#),
            format!(r#"{{"schemaVersion":2,"config":{{"digest":"{D}","size":1e99}}}}"#),
            "[".repeat(100_000),
            String::new(),
        ] {
            assert!(Document::parse(wrong.as_bytes(), None).is_err(), "accepted: {}", &wrong[..wrong.len().min(200)]);
        }
        let two_names = format!(r#"{{"schemaVersion":2,"mediaType":"{}","config":{d}}}"#, media::OCI_MANIFEST);
        assert!(Document::parse(two_names.as_bytes(), Some(media::DOCKER_MANIFEST)).is_err());
        let huge = vec![b' '; usize::try_from(MAX_DOCUMENT).unwrap() + 1];
        assert!(Document::parse(&huge, None).is_err());
    }
}
