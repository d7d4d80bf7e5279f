//! From what a person writes to an image.

use super::Store;
use super::index::{self, Index};
use crate::digest::Digest;
use crate::document::{Descriptor, Manifest};
use crate::error::Error;
use crate::image::Image;
use crate::reference::Reference;
use crate::suggest::closest;

impl Store {
    /// Finds an image by reference, id, the start of an id, or manifest digest.
    ///
    /// This is on the path of every start: it reads the index, the manifest and the configuration, verifies the latter two, and
    /// nothing else.
    ///
    /// # Errors
    /// [`Error::NotFound`] with a suggestion, [`Error::Ambiguous`], [`Error::Corrupt`], ….
    pub fn resolve(&self, name: &str) -> Result<Image, Error> {
        let index = self.read_index()?;
        let entry = self.find(&index, name)?;
        self.image(&index, entry)
    }

    /// All images, newest first; what has no reference is there too.
    ///
    /// # Errors
    /// As [`Store::resolve`]; one damaged image fails the list, and its name is in the error.
    pub fn list(&self) -> Result<Vec<Image>, Error> {
        let (images, mut damaged) = self.list_sound()?;
        if damaged.is_empty() { Ok(images) } else { Err(damaged.swap_remove(0)) }
    }

    /// All images that are sound, newest first, and what is wrong with each of the others, to be told beside them.
    ///
    /// # Errors
    /// Only when the index itself cannot be read.
    pub fn list_sound(&self) -> Result<(Vec<Image>, Vec<Error>), Error> {
        let index = self.read_index()?;
        let mut seen = std::collections::BTreeSet::new();
        let mut images = Vec::new();
        let mut damaged = Vec::new();
        for entry in &index.manifests {
            if seen.insert(entry.digest) {
                match self.image(&index, entry) {
                    Ok(image) => images.push(image),
                    Err(error) => damaged.push(error),
                }
            }
        }
        images.sort_by(|a: &Image, b: &Image| {
            b.created.cmp(&a.created).then_with(|| a.references.cmp(&b.references)).then(a.id.cmp(&b.id))
        });
        Ok((images, damaged))
    }

    /// The entry that a name leads to.
    pub(super) fn find<'a>(&self, index: &'a Index, name: &str) -> Result<&'a Descriptor, Error> {
        if let Some(digest) = Digest::parse(name).ok().or_else(|| Digest::from_hex(name))
            && let Some(entry) = self.by_digest(index, digest)
        {
            return Ok(entry);
        }
        let reference = Reference::parse(name);
        if let Ok(reference) = &reference
            && let Some(entry) = by_reference(index, reference)
        {
            return Ok(entry);
        }
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        if !prefix.is_empty()
            && prefix.len() < 64
            && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            && let Some(entry) = self.by_prefix(index, prefix)?
        {
            return Ok(entry);
        }
        // A malformed name says more than a missing one, unless it was the start of an id.
        let reference = match reference {
            Ok(reference) => reference,
            Err(error) if !name.starts_with("sha256:") && Digest::from_hex(name).is_none() => return Err(error.into()),
            Err(_) => {
                return Err(Error::NotFound { name: name.to_owned(), suggestion: None });
            }
        };
        let known: Vec<String> =
            index.manifests.iter().filter_map(index::reference).map(|known| known.familiar()).collect();
        let suggestion = closest(&reference.familiar(), known.iter().map(String::as_str))
            // The right name with another tag is the commonest slip.
            .or_else(|| {
                let same = format!("{}:", reference.familiar_name());
                known.iter().map(String::as_str).find(|known| known.starts_with(&same))
            });
        Err(Error::NotFound { name: name.to_owned(), suggestion: suggestion.map(ToOwned::to_owned) })
    }

    fn by_digest<'a>(&self, index: &'a Index, digest: Digest) -> Option<&'a Descriptor> {
        let manifest = index.manifests.iter().find(|entry| entry.digest == digest);
        manifest.or_else(|| index.manifests.iter().find(|entry| self.id_of(entry) == Some(digest)))
    }

    fn by_prefix<'a>(&self, index: &'a Index, prefix: &str) -> Result<Option<&'a Descriptor>, Error> {
        let mut found: Vec<(Digest, &Descriptor)> = Vec::new();
        for entry in &index.manifests {
            let Some(id) = self.id_of(entry) else { continue };
            if id.hex().starts_with(prefix) && found.iter().all(|(known, _)| *known != id) {
                found.push((id, entry));
            }
        }
        match found.as_slice() {
            [] => Ok(None),
            [(_, entry)] => Ok(Some(entry)),
            several => Err(Error::Ambiguous { prefix: prefix.to_owned(), count: several.len() }),
        }
    }

    /// An entry's image id. For an entry that another tool wrote, the manifest has to be read.
    pub(super) fn id_of(&self, entry: &Descriptor) -> Option<Digest> {
        index::id(entry).or_else(|| {
            let bytes = self.read_document(entry.digest).ok()?;
            let manifest = Manifest::parse(&bytes, Some(&entry.media_type)).ok()?;
            Some(manifest.config.digest)
        })
    }

    pub(super) fn image(&self, index: &Index, entry: &Descriptor) -> Result<Image, Error> {
        let (manifest, config, layers) = self.read_image(entry.digest, &entry.media_type)?;
        let blobs = || manifest.layers.iter().map(|layer| layer.size).sum();
        Ok(Image {
            id: manifest.config.digest,
            references: index.references(entry.digest),
            manifest: entry.digest,
            created: config.created().clone(),
            size: index::size(entry).unwrap_or_else(blobs),
            config,
            layers,
        })
    }
}

fn by_reference<'a>(index: &'a Index, reference: &Reference) -> Option<&'a Descriptor> {
    let Some(digest) = reference.digest() else {
        let full = reference.to_string();
        return index.manifests.iter().find(|entry| index::names(entry, &full));
    };
    // The digest decides; the name must be one of the image's, so that a wrong one is not silently accepted.
    index.of_manifest(digest).find(|entry| index::reference(entry).is_some_and(|known| known.same_name(reference)))
}
