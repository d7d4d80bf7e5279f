//! Tagging, untagging and removing images.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::index::Index;
use super::{Lock, Store};
use crate::digest::{DiffId, Digest};
use crate::error::Error;
use crate::image::Removed;
use crate::layer::remove_path;
use crate::reference::Reference;

impl Store {
    /// Gives the image that `source` names another reference, taking it from the image that had it.
    ///
    /// # Errors
    /// As [`Store::resolve`]; [`Error::NotATag`] when the target names a digest.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<(), Error> {
        check_tag(target)?;
        let lock = self.lock()?;
        let mut index = self.read_index()?;
        let entry = self.find(&index, source)?.clone();
        index.tag(entry, target);
        self.write_index(&lock, &index)
    }

    /// Removes a reference, and the image with its last one; by id, the image with all its references.
    ///
    /// `in_use` says which containers (by name) use an image. What they use is never deleted: with `force`, it loses its references
    /// and stays without a name.
    ///
    /// # Errors
    /// As [`Store::resolve`]; [`Error::InUse`]; [`Error::SeveralReferences`] when an id has several and `force` is not given.
    pub fn remove(
        &self,
        name: &str,
        force: bool,
        in_use: &dyn Fn(&Digest) -> Vec<String>,
    ) -> Result<Vec<Removed>, Error> {
        self.collect_abandoned();
        let lock = self.lock()?;
        let mut index = self.read_index()?;
        let entry = self.find(&index, name)?;
        let manifest = entry.digest;
        let id = self.id_of(entry).unwrap_or(manifest);
        let references = index.references(manifest);
        let named = Reference::parse(name).ok().filter(|named| references.contains(named));
        if let Some(reference) = &named
            && references.len() > 1
        {
            index.untag(reference);
            self.write_index(&lock, &index)?;
            return Ok(vec![Removed::Untagged(reference.clone())]);
        }
        if named.is_none() && references.len() > 1 && !force {
            return Err(Error::SeveralReferences { id: id.short(), references });
        }
        let by = in_use(&id);
        if !by.is_empty() && (!force || references.is_empty()) {
            return Err(Error::InUse { image: named.map_or_else(|| id.short(), |named| named.familiar()), by });
        }
        let mut removed: Vec<Removed> = references.iter().cloned().map(Removed::Untagged).collect();
        for reference in &references {
            index.untag(reference);
        }
        if by.is_empty() {
            index.manifests.retain(|entry| entry.digest != manifest);
        }
        self.write_index(&lock, &index)?;
        if by.is_empty() {
            if index.manifests.iter().all(|entry| self.id_of(entry) != Some(id)) {
                removed.push(Removed::Deleted(id));
            }
            let (layers, trash) = self.sweep(&lock, &index)?;
            // The names are gone; taking the trees apart needs no lock.
            drop(lock);
            trash.remove();
            removed.extend(layers.into_iter().map(|layer| Removed::Deleted(layer.0)));
        }
        Ok(removed)
    }

    /// Takes away what the index no longer leads to. Layers are renamed into a staging directory, which is removed when dropped.
    pub(super) fn sweep(&self, _lock: &Lock, index: &Index) -> Result<(Vec<DiffId>, Trash), Error> {
        let staging = self.staging()?;
        let mut gone = Vec::new();
        // Where another image's documents are damaged, nobody can say what is needed: then all stays, and the check tells.
        let Ok(needed) = self.needed(index) else {
            return Ok((gone, Trash(staging)));
        };
        for (layer, path) in self.present_layers()? {
            if !needed.layers.contains(&layer) {
                let away = staging.new_path();
                fs::rename(&path, &away).map_err(Error::io("remove", &path))?;
                gone.push(layer);
            }
        }
        for (blob, path) in self.present_blobs()? {
            if !needed.blobs.contains(&blob) {
                remove_path(&path).map_err(Error::os("remove", &path))?;
            }
        }
        Ok((gone, Trash(staging)))
    }

    /// Everything that the index leads to.
    ///
    /// # Errors
    /// When a manifest or configuration is damaged: then nothing can be said to be unneeded.
    pub(super) fn needed(&self, index: &Index) -> Result<Needed, Error> {
        let mut needed = Needed::default();
        for entry in &index.manifests {
            if !needed.blobs.insert(entry.digest) {
                continue;
            }
            let (manifest, _, layers) = self.read_image(entry.digest, &entry.media_type)?;
            needed.blobs.insert(manifest.config.digest);
            needed.blobs.extend(manifest.layers.iter().map(|layer| layer.digest));
            needed.layers.extend(layers);
        }
        Ok(needed)
    }

    pub(super) fn present_layers(&self) -> Result<Vec<(DiffId, PathBuf)>, Error> {
        let found = named_by_digest(&self.layers())?;
        Ok(found.into_iter().map(|(digest, path)| (DiffId(digest), path)).collect())
    }

    pub(super) fn present_blobs(&self) -> Result<Vec<(Digest, PathBuf)>, Error> {
        named_by_digest(&self.images().join("blobs/sha256"))
    }
}

/// What the index leads to.
#[derive(Default)]
pub(super) struct Needed {
    pub(super) blobs: BTreeSet<Digest>,
    pub(super) layers: BTreeSet<DiffId>,
}

/// Layers that were taken out of the store and are still to be removed.
pub(super) struct Trash(super::Staging);

impl Trash {
    pub(super) fn remove(self) {
        drop(self.0);
    }
}

pub(crate) fn check_tag(reference: &Reference) -> Result<(), Error> {
    if reference.digest().is_some() {
        return Err(Error::NotATag { reference: reference.clone() });
    }
    Ok(())
}

fn named_by_digest(directory: &Path) -> Result<Vec<(Digest, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io("read", directory))? {
        let entry = entry.map_err(Error::io("read", directory))?;
        if let Some(digest) = entry.file_name().to_str().and_then(Digest::from_hex) {
            found.push((digest, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
