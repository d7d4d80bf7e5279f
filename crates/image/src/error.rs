//! What can go wrong with images, in words for a person.

use std::io;
use std::path::{Path, PathBuf};

use crate::change::InvalidChange;
use crate::digest::{Digest, InvalidDigest};
use crate::document::InvalidDocument;
use crate::layer::LayerError;
use crate::reference::{InvalidReference, Reference};

/// Why an image operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A reference is malformed.
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    /// A digest is malformed.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// A change is malformed.
    #[error(transparent)]
    Change(#[from] InvalidChange),
    /// A manifest, index or configuration is malformed.
    #[error("{context}: {source}")]
    Document {
        /// Where the document came from.
        context: String,
        /// What is wrong with it.
        source: InvalidDocument,
    },
    /// A layer could not be unpacked, or was refused.
    #[error("{context}: {source}")]
    Layer {
        /// Which layer.
        context: String,
        /// What was wrong.
        source: LayerError,
    },
    /// An archive or layout does not hold what it must.
    #[error("the archive is refused: {0}")]
    Archive(String),
    /// There is no such image.
    #[error("there is no image {name:?}{}", not_found_hint(.suggestion.as_deref()))]
    NotFound {
        /// What was looked for.
        name: String,
        /// An image that was perhaps meant.
        suggestion: Option<String>,
    },
    /// The start of an id fits several images.
    #[error("{prefix:?} begins the ids of {count} images; write more of it")]
    Ambiguous {
        /// What was written.
        prefix: String,
        /// How many fit.
        count: usize,
    },
    /// Containers use the image.
    #[error(
        "the image {image} is used by {}; remove these first, or only untag it with --force",
        containers(.by)
    )]
    InUse {
        /// The image.
        image: String,
        /// The containers' names.
        by: Vec<String>,
    },
    /// Removing by id would remove several references.
    #[error(
        "the image {id} has several references ({}); remove them one by one, or all with --force",
        joined(.references)
    )]
    SeveralReferences {
        /// The image's short id.
        id: String,
        /// Its references.
        references: Vec<Reference>,
    },
    /// A reference for storing must be a name with a tag.
    #[error("{reference} cannot be a tag: it names a digest (write NAME:TAG)")]
    NotATag {
        /// What was written.
        reference: Reference,
    },
    /// A blob of the store is not what it was.
    #[error(
        "the blob {expected} in {} is corrupt (its content is {found}); bring the image again, or see what else is wrong with \
         \"casemate system check\"",
        .path.display()
    )]
    Corrupt {
        /// The blob's file.
        path: PathBuf,
        /// The digest it must have.
        expected: Digest,
        /// The digest or size it has.
        found: String,
    },
    /// The kernel refused.
    #[error("cannot {doing} {}: {source}{}", .path.display(), kernel_hint(.source))]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What kind of failure an [`Error`] is, for those who act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// There is no such image.
    NotFound,
    /// What was written (a reference, a change, an ambiguous id) is wrong.
    Invalid,
    /// Something else uses it, or it has to be forced.
    Conflict,
    /// What came from outside was refused.
    Refused,
    /// The store is damaged.
    Corrupt,
    /// The kernel refused.
    Io,
}

impl Error {
    /// The kind of failure.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } => Kind::NotFound,
            Self::Reference(_) | Self::Digest(_) | Self::Change(_) | Self::Ambiguous { .. } | Self::NotATag { .. } => {
                Kind::Invalid
            }
            Self::InUse { .. } | Self::SeveralReferences { .. } => Kind::Conflict,
            Self::Layer { source, .. } if !source.is_io() => Kind::Refused,
            Self::Document { .. } | Self::Archive(_) => Kind::Refused,
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::Layer { .. } | Self::Io { .. } => Kind::Io,
        }
    }

    /// True when the image is simply not there.
    pub fn is_not_found(&self) -> bool {
        self.kind() == Kind::NotFound
    }

    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// As [`Error::io`], for errors of `rustix`.
    pub(crate) fn os(doing: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.to_owned();
        move |errno| Self::Io { doing, path, source: errno.into() }
    }

    pub(crate) fn document(context: impl Into<String>) -> impl FnOnce(InvalidDocument) -> Self {
        let context = context.into();
        move |source| Self::Document { context, source }
    }
}

fn not_found_hint(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(
        || "; bring one with \"casemate load\" or \"casemate import\"".to_owned(),
        |meant| format!("; did you mean {meant:?}?"),
    )
}

fn kernel_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (free some space, for example with \"casemate rmi\")"
        }
        io::ErrorKind::PermissionDenied => " (the store belongs to the user who made it: run as that user)",
        _ => "",
    }
}

fn containers(names: &[String]) -> String {
    match names {
        [one] => format!("container {one}"),
        several => format!("containers {}", several.join(", ")),
    }
}

fn joined(references: &[Reference]) -> String {
    let names: Vec<String> = references.iter().map(Reference::familiar).collect();
    names.join(", ")
}
