//! An image's directories, ready to be stacked.

use std::path::PathBuf;

use rustix::fs::{Access, access};

use super::{LayerPart, Store};
use crate::compression::Compression;
use crate::error::Error;
use crate::image::Image;

impl Store {
    /// The image's unpacked layers, top first, with the skeleton last: overlayfs' lower directories.
    ///
    /// A layer that an image has twice is there once, where it is uppermost; overlayfs refuses the same directory twice, and what is
    /// uppermost decides. A layer that is missing is unpacked again from its blob.
    ///
    /// # Errors
    /// When a layer is missing and cannot be restored.
    pub fn snapshot_layers(&self, image: &Image) -> Result<Vec<PathBuf>, Error> {
        let mut paths: Vec<PathBuf> = Vec::with_capacity(image.layers.len() + 1);
        let mut missing = false;
        for id in image.layers.iter().rev() {
            let path = self.layer(id);
            if paths.contains(&path) {
                continue;
            }
            missing |= access(&path, Access::EXISTS).is_err();
            paths.push(path);
        }
        if missing {
            self.restore_missing(image)?;
        }
        paths.push(self.skeleton());
        Ok(paths)
    }

    fn restore_missing(&self, image: &Image) -> Result<(), Error> {
        let index = self.read_index()?;
        let media_type = index.of_manifest(image.manifest).next().map_or("", |entry| entry.media_type.as_str());
        let (manifest, _, layers) = self.read_image(image.manifest, media_type)?;
        let mut parts = Vec::new();
        for (id, blob) in layers.into_iter().zip(&manifest.layers) {
            if !self.layer(&id).exists() && parts.iter().all(|part: &LayerPart| part.id != id) {
                parts.push(LayerPart {
                    id,
                    blob: blob.digest,
                    compression: Compression::of_media_type(&blob.media_type),
                });
            }
        }
        self.restore(&parts)
    }
}
