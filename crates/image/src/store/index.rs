//! `index.json`: which images there are, and by which references.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Lock, Store};
use crate::digest::Digest;
use crate::document::{Descriptor, InvalidDocument, media};
use crate::error::Error;
use crate::reference::Reference;

/// The full reference, as containerd and Docker write it.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// OCI's own. The full reference too, so that `skopeo` and others can tell images of the same tag apart.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The image's id, so that looking for one reads nothing but the index.
const ID: &str = "io.casemate.image.id";
/// The size of the unpacked layers' content.
const SIZE: &str = "io.casemate.image.size";

const LAYOUT: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";
/// Far above any real index, and a bound on what is read.
const MAX_INDEX: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    pub(super) manifests: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

impl Index {
    fn empty() -> Self {
        Self {
            schema_version: 2,
            media_type: Some(media::OCI_INDEX.to_owned()),
            manifests: Vec::new(),
            annotations: None,
        }
    }

    /// The entries that name the manifest.
    pub(super) fn of_manifest(&self, manifest: Digest) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(move |entry| entry.digest == manifest)
    }

    /// The references of the manifest, sorted.
    pub(super) fn references(&self, manifest: Digest) -> Vec<Reference> {
        let mut references: Vec<_> = self.of_manifest(manifest).filter_map(reference).collect();
        references.sort();
        references.dedup();
        references
    }

    /// Takes a reference from whatever image has it. An image that loses its last one stays, nameless.
    pub(super) fn untag(&mut self, name: &Reference) {
        let full = name.to_string();
        for at in (0..self.manifests.len()).rev() {
            if !names(&self.manifests[at], &full) {
                continue;
            }
            let manifest = self.manifests[at].digest;
            if self.of_manifest(manifest).count() > 1 {
                self.manifests.remove(at);
            } else if let Some(annotations) = &mut self.manifests[at].annotations {
                annotations.remove(CONTAINERD_NAME);
                annotations.remove(REF_NAME);
            }
        }
    }

    /// Gives an image a reference, taking it from whatever image had it. `entry` describes the manifest.
    pub(super) fn tag(&mut self, mut entry: Descriptor, name: &Reference) {
        self.untag(name);
        // A nameless entry is replaced by the named one.
        self.manifests.retain(|present| present.digest != entry.digest || reference(present).is_some());
        let annotations = entry.annotations.get_or_insert_default();
        annotations.insert(CONTAINERD_NAME.to_owned(), name.to_string());
        annotations.insert(REF_NAME.to_owned(), name.to_string());
        self.manifests.push(entry);
    }

    /// Adds an image without a reference, unless it is there.
    pub(super) fn add_nameless(&mut self, mut entry: Descriptor) {
        if self.of_manifest(entry.digest).next().is_some() {
            return;
        }
        if let Some(annotations) = &mut entry.annotations {
            annotations.remove(CONTAINERD_NAME);
            annotations.remove(REF_NAME);
        }
        self.manifests.push(entry);
    }
}

/// An entry's reference. Text that is none (another tool's bare tag, for example) counts as none.
pub(super) fn reference(entry: &Descriptor) -> Option<Reference> {
    let name = entry.annotation(CONTAINERD_NAME).or_else(|| entry.annotation(REF_NAME))?;
    Reference::parse(name).ok()
}

/// True if the entry has this full reference.
pub(super) fn names(entry: &Descriptor, full: &str) -> bool {
    match entry.annotation(CONTAINERD_NAME).or_else(|| entry.annotation(REF_NAME)) {
        Some(name) if name == full => true,
        // Another tool may have written a short form. Ours are full, and parsing each would cost the start path dearly.
        Some(name) if entry.annotation(ID).is_none() => {
            Reference::parse(name).is_ok_and(|name| name.to_string() == full)
        }
        _ => false,
    }
}

/// The image's id, where the index itself tells it.
pub(super) fn id(entry: &Descriptor) -> Option<Digest> {
    Digest::parse(entry.annotation(ID)?).ok()
}

/// The size of the unpacked content, where the index tells it.
pub(super) fn size(entry: &Descriptor) -> Option<u64> {
    entry.annotation(SIZE)?.parse().ok()
}

/// An entry for a manifest of ours.
pub(super) fn entry(
    media_type: &str,
    manifest: (Digest, u64),
    id: Digest,
    size: u64,
    more: &BTreeMap<String, String>,
) -> Descriptor {
    let mut annotations = more.clone();
    annotations.insert(ID.to_owned(), id.to_string());
    annotations.insert(SIZE.to_owned(), size.to_string());
    Descriptor {
        media_type: media_type.to_owned(),
        digest: manifest.0,
        size: manifest.1,
        annotations: Some(annotations),
        platform: None,
    }
}

/// Writes `oci-layout` and an empty index where there are none.
pub(super) fn make(images: &Path) -> Result<(), Error> {
    let layout = images.join("oci-layout");
    fs::write(&layout, LAYOUT).map_err(Error::io("write", &layout))?;
    let path = images.join("index.json");
    let text = serde_json::to_vec(&Index::empty()).unwrap_or_default();
    match File::create_new(&path) {
        Ok(mut file) => file.write_all(&text).map_err(Error::io("write", &path)),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::io("make", &path)(error)),
    }
}

impl Store {
    /// Reads the index. It is replaced by renames, so what is read is whole.
    pub(super) fn read_index(&self) -> Result<Index, Error> {
        let path = self.images().join("index.json");
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(&self.images, "index.json", flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(Index::empty()),
            Err(errno) => return Err(Error::os("open", &path)(errno)),
        };
        let bytes = super::blob::read_bounded(file, MAX_INDEX).map_err(Error::io("read", &path))?;
        let invalid =
            |reason: String| Error::document(path.display().to_string())(InvalidDocument::new("index", reason));
        let Some(bytes) = bytes else {
            return Err(invalid(format!("it is larger than {MAX_INDEX} bytes")));
        };
        if bytes.is_empty() {
            // Made, but killed or cut from power before its first content.
            return Ok(Index::empty());
        }
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))
    }

    /// Replaces the index, durably.
    pub(super) fn write_index(&self, _lock: &Lock, index: &Index) -> Result<(), Error> {
        let images = self.images();
        let (path, temporary) = (images.join("index.json"), images.join("index.json.new"));
        let text =
            serde_json::to_vec(index).map_err(|error| Error::io("write", &path)(std::io::Error::other(error)))?;
        // One name is enough, because only the holder of the lock writes it.
        let mut file = File::create(&temporary).map_err(Error::io("make", &temporary))?;
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if let Err(error) = written.and_then(|()| fs::rename(&temporary, &path)) {
            // The old index stays in force; a file half written must not stay beside it.
            let _ = fs::remove_file(&temporary);
            return Err(Error::io("write", &path)(error));
        }
        sync_directory(&images)
    }
}

/// Makes the renames into a directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(Error::io("flush", path))
}
