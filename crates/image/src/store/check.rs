//! `system check`: is everything there, is everything what its digest says, and is there anything that nobody needs?

use std::fmt;
use std::fs::File;
use std::path::PathBuf;

use super::index::Index;
use super::{LayerPart, Lock, Store};
use crate::compression::Compression;
use crate::digest::{self, DiffId, Digest};
use crate::error::Error;
use crate::layer::remove_path;

/// What [`Store::check`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many images were checked.
    pub images: usize,
    /// How many blobs were hashed.
    pub blobs: usize,
    /// How many unpacked layers were looked at.
    pub layers: usize,
    /// What is wrong, each with whether it was repaired.
    pub problems: Vec<Problem>,
}

impl Report {
    /// True if nothing is wrong, or all that was is repaired.
    pub fn is_sound(&self) -> bool {
        self.problems.iter().all(|problem| problem.repaired)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// On what: a path, or an image's name.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
    /// What can be done, or was done.
    pub remedy: String,
    /// Whether it was done.
    pub repaired: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.repaired { "repaired" } else { "remedy" };
        write!(f, "{}: {} ({state}: {})", self.subject, self.what, self.remedy)
    }
}

impl Store {
    /// Verifies the whole store: every image's documents, every blob's digest, every layer's presence, and what nobody needs.
    ///
    /// With `repair`, layers are unpacked again, damaged blobs that only cost space are removed, and left-overs too. An image is never
    /// removed: whether to bring it again or to let it go is for its owner to say.
    ///
    /// # Errors
    /// Only when the store itself cannot be read or written; what is wrong with its content is in the report.
    pub fn check(&self, repair: bool) -> Result<Report, Error> {
        let mut report = Report::default();
        for path in self.abandoned() {
            let repaired = repair && remove_path(&path).is_ok();
            report.found(path, "left behind by a command that was killed", "remove it", repaired);
        }
        if !self.skeleton().is_dir() {
            let repaired = repair && super::skeleton::make(self.root()).is_ok();
            report.found(self.skeleton(), "the layer that every container needs is missing", "make it", repaired);
        }
        let lock = self.lock()?;
        let index = self.read_index()?;
        let damaged = self.check_blobs(&mut report)?;
        let missing = self.check_images(&index, &damaged, &mut report);
        self.check_unneeded(&lock, &index, repair, &mut report)?;
        drop(lock);
        for part in missing {
            let restored = if repair { self.restore(&[part]) } else { Ok(()) };
            let remedy = match &restored {
                Ok(()) => "unpack it again from its blob".to_owned(),
                Err(error) => format!("bring the image again: {error}"),
            };
            let repaired = repair && restored.is_ok();
            report.found(self.layer(&part.id), "the unpacked layer is missing", &remedy, repaired);
        }
        Ok(report)
    }

    /// Hashes every blob. Returns those whose content has another digest.
    fn check_blobs(&self, report: &mut Report) -> Result<Vec<Digest>, Error> {
        let mut damaged = Vec::new();
        for (expected, path) in self.present_blobs()? {
            report.blobs += 1;
            let what = match File::open(&path).and_then(digest::of_reader) {
                Ok((found, _)) if found == expected => continue,
                Ok((found, size)) => format!("the blob is corrupt: its content is {found}, {size} bytes"),
                Err(error) => format!("the blob cannot be read: {error}"),
            };
            damaged.push(expected);
            report.found(path, &what, "bring the image again", false);
        }
        Ok(damaged)
    }

    /// Reads every image's documents. Returns the layers that are missing but whose blobs are there.
    fn check_images(&self, index: &Index, damaged: &[Digest], report: &mut Report) -> Vec<LayerPart> {
        let mut missing: Vec<LayerPart> = Vec::new();
        let mut seen = Vec::new();
        for entry in &index.manifests {
            if seen.contains(&entry.digest) {
                continue;
            }
            seen.push(entry.digest);
            report.images += 1;
            let names: Vec<String> = index.references(entry.digest).iter().map(crate::Reference::familiar).collect();
            let name = if names.is_empty() { entry.digest.to_string() } else { names.join(", ") };
            let (manifest, layers) = match self.read_image(entry.digest, &entry.media_type) {
                Ok((manifest, _, layers)) => (manifest, layers),
                Err(error) => {
                    report.found(name, &error.to_string(), "bring the image again", false);
                    continue;
                }
            };
            for (id, blob) in layers.iter().zip(&manifest.layers) {
                let usable = self.has_blob(blob.digest) && !damaged.contains(&blob.digest);
                if !self.has_blob(blob.digest) {
                    let what = format!("its layer's blob {} is missing", blob.digest);
                    report.found(&*name, &what, "bring the image again", false);
                }
                if self.layer(id).is_dir() || missing.iter().any(|part| part.id == *id) {
                    continue;
                }
                if usable {
                    missing.push(LayerPart {
                        id: *id,
                        blob: blob.digest,
                        compression: Compression::of_media_type(&blob.media_type),
                    });
                } else {
                    let what = format!("its layer {id} is missing, and its blob is not usable");
                    report.found(&*name, &what, "bring the image again", false);
                }
            }
        }
        missing
    }

    fn check_unneeded(&self, lock: &Lock, index: &Index, repair: bool, report: &mut Report) -> Result<(), Error> {
        let layers: Vec<(DiffId, PathBuf)> = self.present_layers()?;
        report.layers = layers.len();
        // Where a manifest is damaged, nobody can say what is needed; that was reported above.
        let Ok(needed) = self.needed(index) else {
            return Ok(());
        };
        let unneeded_layers = layers.into_iter().filter(|(id, _)| !needed.layers.contains(id)).map(|(_, path)| path);
        let blobs = self.present_blobs()?.into_iter();
        let unneeded_blobs = blobs.filter(|(digest, _)| !needed.blobs.contains(digest)).map(|(_, path)| path);
        let unneeded: Vec<PathBuf> = unneeded_layers.chain(unneeded_blobs).collect();
        if unneeded.is_empty() {
            return Ok(());
        }
        if repair {
            let (_, trash) = self.sweep(lock, index)?;
            trash.remove();
        }
        for path in unneeded {
            report.problems.retain(|problem| problem.subject != path.display().to_string());
            report.found(path, "no image needs it", "remove it", repair);
        }
        Ok(())
    }
}

impl Report {
    fn found(&mut self, subject: impl Into<Subject>, what: &str, remedy: &str, repaired: bool) {
        self.problems.push(Problem {
            subject: subject.into().0,
            what: what.to_owned(),
            remedy: remedy.to_owned(),
            repaired,
        });
    }
}

/// A path or a name, as text.
struct Subject(String);

impl From<PathBuf> for Subject {
    fn from(path: PathBuf) -> Self {
        Self(path.display().to_string())
    }
}

impl From<&str> for Subject {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

impl From<String> for Subject {
    fn from(name: String) -> Self {
        Self(name)
    }
}
