//! Images: references, manifests, a content-addressed store, layers unpacked once, archives of other tools.
//!
//! Everything here reads bytes that a stranger wrote. Every byte is verified against its digest before it is used, every path of an
//! archive is resolved by descriptor beneath its layer, and what fails leaves nothing behind.
#![forbid(unsafe_code)]

mod archive;
mod change;
mod compression;
mod config;
mod digest;
mod document;
mod error;
mod image;
mod layer;
mod limits;
mod reference;
mod store;
mod suggest;
pub mod tar;
mod time;

pub use archive::Source;
pub use change::{Change, InvalidChange};
pub use config::parse_configuration;
pub use digest::{DiffId, Digest, Hasher, InvalidDigest};
pub use document::{Descriptor, Document, InvalidDocument, MAX_DOCUMENT, MAX_LAYERS, Manifest, Platform, SavedImage};
pub use error::{Error, Kind};
pub use image::{Image, Imported, Loaded, Removed};
pub use layer::{LayerError, unpack_layer};
pub use limits::Limits;
pub use reference::{InvalidReference, Reference};
pub use store::{Entry, EntryKind, Problem, Report, Store};
