//! What the store tells about images.

use oci_spec::image::ImageConfiguration;

use crate::digest::{DiffId, Digest};
use crate::reference::Reference;

/// An image of the store, verified: manifest and configuration have the digests by which they are named.
#[derive(Debug, Clone)]
pub struct Image {
    /// The image's id: its configuration's digest.
    pub id: Digest,
    /// Its references, sorted; none for a dangling image.
    pub references: Vec<Reference>,
    /// Its manifest's digest.
    pub manifest: Digest,
    /// Its configuration: what to run and how. Checked, but written by a stranger: print its text escaped.
    pub config: ImageConfiguration,
    /// The layers, bottom first.
    pub layers: Vec<DiffId>,
    /// What the unpacked layers hold, in bytes of file content.
    pub size: u64,
    /// When it was made, as its maker wrote it (RFC 3339).
    pub created: Option<String>,
}

/// An image that [`Store::import`](crate::Store::import) made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Its id.
    pub id: Digest,
    /// Its reference.
    pub reference: Reference,
    /// The bytes of file content in it.
    pub size: u64,
}

/// An image that [`Store::load`](crate::Store::load) brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: Digest,
    /// The references that now name it; none when the archive has none.
    pub references: Vec<Reference>,
}

/// What [`Store::remove`](crate::Store::remove) did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A reference no longer names the image.
    Untagged(Reference),
    /// An image (by id) or a layer (by diff-id) is gone.
    Deleted(Digest),
}
