//! OCI image layouts, as directories and archives.

use std::collections::BTreeMap;

use super::architecture;
use super::contents::Contents;
use crate::compression::Compression;
use crate::config::parse_configuration;
use crate::document::{Descriptor, Document, Manifest, Platform, media};
use crate::error::Error;
use crate::reference::Reference;
use crate::store::{Addition, CONTAINERD_NAME, LayerPart, REF_NAME};

/// Real layouts nest an index in an index; what nests deeper is a maze.
const MAX_DEPTH: usize = 4;
/// How many documents one layout may make us read.
const MAX_DOCUMENTS: usize = 1024;

/// The layout's images for this machine.
pub(super) fn images(contents: &Contents<'_>) -> Result<Vec<Addition>, Error> {
    let bytes = contents.document("index.json")?;
    let entries = match Document::parse(&bytes, None).map_err(Error::document("index.json"))? {
        Document::Index(entries) => entries,
        Document::Manifest(_) => {
            return Err(Error::Archive("its index.json is a manifest, not an index".to_owned()));
        }
    };
    let mut walk = Walk { contents, documents: 0 };
    let mut additions: Vec<Addition> = Vec::new();
    for group in groups(entries) {
        let references: Vec<Reference> = group.name.iter().filter_map(|name| reference(contents, name)).collect();
        let Some((descriptor, manifest)) = walk.choose(&group.entries, 0)? else {
            continue;
        };
        let mut addition = addition(contents, &descriptor, &manifest)?;
        addition.references = references;
        match additions.iter_mut().find(|known| known.manifest == addition.manifest) {
            Some(known) => known.references.extend(addition.references),
            None => additions.push(addition),
        }
    }
    if additions.is_empty() {
        return Err(Error::Archive(format!("it holds no image for linux/{}", architecture())));
    }
    Ok(additions)
}

/// Entries of one name: the same image for several machines. Without a name, each entry stands for itself.
struct Group {
    name: Option<String>,
    entries: Vec<Descriptor>,
}

fn groups(entries: Vec<Descriptor>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for entry in entries {
        let name = entry.annotation(CONTAINERD_NAME).or_else(|| entry.annotation(REF_NAME)).map(ToOwned::to_owned);
        // Nameless entries that say for which machine they are, are one image.
        let joins = name.is_some() || entry.platform.is_some();
        match groups.iter_mut().find(|group| joins && group.name == name) {
            Some(group) => group.entries.push(entry),
            None => groups.push(Group { name, entries: vec![entry] }),
        }
    }
    groups
}

/// The reference that a layout's annotation means. A bare tag belongs to the directory's name, as `umoci` and `skopeo` use it.
fn reference(contents: &Contents<'_>, name: &str) -> Option<Reference> {
    let bare = !name.contains(['/', ':']);
    let of_directory = contents.directory_name().filter(|_| bare).map(|directory| {
        let repository: String = directory
            .to_ascii_lowercase()
            .trim_end_matches(".oci")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' })
            .collect();
        format!("{repository}:{name}")
    });
    // A layout may be named by what is no reference at all; then its image stays nameless, and is reported by its id.
    of_directory.and_then(|name| Reference::parse(&name).ok()).or_else(|| Reference::parse(name).ok())
}

struct Walk<'a> {
    contents: &'a Contents<'a>,
    documents: usize,
}

impl Walk<'_> {
    /// The image among the entries that fits this machine best, through nested indexes.
    fn choose(&mut self, entries: &[Descriptor], depth: usize) -> Result<Option<(Descriptor, Manifest)>, Error> {
        if depth > MAX_DEPTH {
            return Err(Error::Archive(format!("its indexes nest deeper than {MAX_DEPTH} levels")));
        }
        let mut candidates: Vec<&Descriptor> = entries.iter().filter(|entry| fits(entry.platform.as_ref())).collect();
        // What says that it is for this machine goes before what says nothing.
        candidates.sort_by_key(|entry| entry.platform.is_none());
        for entry in candidates {
            self.documents += 1;
            if self.documents > MAX_DOCUMENTS {
                return Err(Error::Archive(format!("its indexes name more than {MAX_DOCUMENTS} documents")));
            }
            let known = matches!(
                entry.media_type.as_str(),
                "" | media::OCI_INDEX | media::DOCKER_INDEX | media::OCI_MANIFEST | media::DOCKER_MANIFEST
            );
            if !known {
                continue;
            }
            let blob = self.contents.blob(entry)?;
            let bytes = self.contents.read(blob, &entry.digest.to_string())?;
            let context = format!("blob {}", entry.digest);
            match Document::parse(&bytes, Some(&entry.media_type)).map_err(Error::document(context))? {
                Document::Index(nested) => {
                    if let Some(found) = self.choose(&nested, depth + 1)? {
                        return Ok(Some(found));
                    }
                }
                // Signatures, bills of material and other things are manifests too.
                Document::Manifest(manifest) if is_configuration(&manifest.config.media_type) => {
                    return Ok(Some((entry.clone(), manifest)));
                }
                Document::Manifest(_) => {}
            }
        }
        Ok(None)
    }
}

fn is_configuration(media_type: &str) -> bool {
    matches!(media_type, "" | media::OCI_CONFIG | media::DOCKER_CONFIG)
}

fn fits(platform: Option<&Platform>) -> bool {
    platform.is_none_or(|platform| {
        matches!(platform.os.as_str(), "" | "linux")
            && (platform.architecture.is_empty() || platform.architecture == architecture())
    })
}

fn addition(contents: &Contents<'_>, descriptor: &Descriptor, manifest: &Manifest) -> Result<Addition, Error> {
    let context = || format!("image with manifest {}", descriptor.digest);
    let blob = contents.blob(&manifest.config)?;
    let bytes = contents.read(blob, &manifest.config.digest.to_string())?;
    let (_, ids) = parse_configuration(&bytes).map_err(Error::document(context()))?;
    manifest.matches(&ids).map_err(Error::document(context()))?;
    let mut layers = Vec::with_capacity(ids.len());
    for (id, layer) in ids.into_iter().zip(&manifest.layers) {
        let Some(compression) = Compression::of_media_type(&layer.media_type) else {
            return Err(Error::Archive(format!(
                "the layer {} is of the kind {:?}, which is not supported",
                layer.digest, layer.media_type
            )));
        };
        contents.blob(layer)?;
        layers.push(LayerPart { id, blob: layer.digest, compression: Some(compression) });
    }
    let media_type = match descriptor.media_type.as_str() {
        "" => media::OCI_MANIFEST,
        known => known,
    };
    Ok(Addition {
        id: manifest.config.digest,
        manifest: descriptor.digest,
        manifest_size: descriptor.size,
        media_type: media_type.to_owned(),
        layers,
        references: Vec::new(),
        annotations: BTreeMap::new(),
    })
}
