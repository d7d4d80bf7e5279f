//! The archives of `docker save` and `podman save`: a `manifest.json` that names configurations and layers by path.

use super::contents::Contents;
use super::describe;
use crate::compression::Compression;
use crate::config::parse_configuration;
use crate::digest::Digest;
use crate::document::{InvalidDocument, SavedImage};
use crate::error::Error;
use crate::reference::Reference;
use crate::store::{Addition, LayerPart};

const MANIFEST: &str = "manifest.json";

/// The archive's images.
pub(super) fn images(contents: &Contents<'_>) -> Result<Vec<Addition>, Error> {
    let saved = saved(contents)?;
    if saved.is_empty() {
        return Err(Error::Archive("it holds no image".to_owned()));
    }
    saved.iter().map(|image| addition(contents, image)).collect()
}

/// Newer Dockers write an archive that is an OCI layout as well. Both descriptions must name the same images, lest two tools see two.
pub(super) fn check_agreement(contents: &Contents<'_>, additions: &[Addition]) -> Result<(), Error> {
    if !contents.has(MANIFEST) {
        return Ok(());
    }
    for image in saved(contents)? {
        let id = contents.file(&image.config)?.digest;
        if additions.iter().all(|addition| addition.id != id) {
            return Err(Error::Archive(format!(
                "it is ambiguous: manifest.json names the image {id}, index.json does not"
            )));
        }
    }
    Ok(())
}

fn saved(contents: &Contents<'_>) -> Result<Vec<SavedImage>, Error> {
    SavedImage::parse_all(&contents.document(MANIFEST)?).map_err(Error::document(MANIFEST))
}

fn addition(contents: &Contents<'_>, image: &SavedImage) -> Result<Addition, Error> {
    let name = &image.config;
    let blob = contents.file(name)?;
    // The configuration is named by its digest; a name that lies is a sign of worse.
    let stem = name.rsplit('/').next().map(|last| last.strip_suffix(".json").unwrap_or(last));
    if let Some(claimed) = stem.and_then(Digest::from_hex)
        && claimed != blob.digest
    {
        return Err(Error::Archive(format!("{name:?} has the digest {}", blob.digest)));
    }
    let bytes = contents.read(blob, name)?;
    let (_, ids) = parse_configuration(&bytes).map_err(Error::document(name))?;
    let paths = image.layers.as_deref().unwrap_or_default();
    if paths.len() != ids.len() {
        return Err(Error::document(MANIFEST)(InvalidDocument::new(
            "archive's manifest.json",
            format!("it has {} layers, the configuration names {}", paths.len(), ids.len()),
        )));
    }
    let mut layers = Vec::with_capacity(ids.len());
    for (id, path) in ids.into_iter().zip(paths) {
        let blob = contents.file(path)?;
        let compression = contents.compression(blob)?;
        if compression == Compression::Plain && blob.digest != id.0 {
            return Err(Error::Archive(format!(
                "the layer {path:?} has the digest {}, the configuration says {id}",
                blob.digest
            )));
        }
        let part = LayerPart { id, blob: blob.digest, compression: Some(compression) };
        layers.push((part, blob.size));
    }
    let tags = image.repo_tags.iter().flatten();
    let references = tags.map(|tag| Reference::parse(tag)).collect::<Result<Vec<_>, _>>()?;
    describe(contents.staging, &bytes, &layers, references)
}
