//! Unpacks a layer into a directory of its own, as overlayfs wants it.
//!
//! Two threads share the work: one decompresses, the caller's writes files from the same buffers, and what comes out is hashed by
//! whichever of them would otherwise wait.

mod extract;
mod path;
mod pipeline;
mod tree;

use std::io;
use std::os::fd::OwnedFd;

use crate::compression::{Compression, Decoder};
use crate::digest::{DiffId, Digest};
use crate::limits::Limits;
use crate::tar;

pub(crate) use tree::remove_path;

/// Why a layer was refused or could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The archive is malformed, truncated or unreadable.
    #[error(transparent)]
    Archive(#[from] tar::Error),
    /// An entry is hostile or impossible.
    #[error("entry {entry:?}: {reason}")]
    Refused {
        /// The entry's name, escaped.
        entry: String,
        /// Why.
        reason: String,
    },
    /// The kernel refused to make an entry.
    #[error("entry {entry:?}: cannot {doing}: {source}")]
    Kernel {
        /// The entry's name, escaped.
        entry: String,
        /// What was being done, as a verb.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The layer's content is not what the image says.
    #[error("its content has the digest {found}, the image says {expected}")]
    Digest {
        /// What it must be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// The layer is not compressed as its media type says.
    #[error("it is {found}, its media type says {declared}")]
    Compression {
        /// What the media type says.
        declared: String,
        /// What it is.
        found: String,
    },
    /// The blob cannot be read or unpacked at all.
    #[error("{0}")]
    Stream(io::Error),
}

impl LayerError {
    /// True when the fault is this machine's (a full disk, a failing one), not the archive's.
    pub fn is_io(&self) -> bool {
        match self {
            Self::Kernel { .. } => true,
            Self::Archive(tar::Error::Read { source, .. }) | Self::Stream(source) => source.raw_os_error().is_some(),
            _ => false,
        }
    }
}

/// How to unpack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) limits: Limits,
    /// Whether to compute the content's digest: not when the blob is the content and was hashed already.
    pub(crate) hash: bool,
    /// Whether an archive without an end mark is refused: where no digest tells that it is whole.
    pub(crate) end_mark: bool,
    /// What the media type says, if there is one.
    pub(crate) compression: Option<Compression>,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unpacked {
    /// The digest of the uncompressed stream, when it was asked for.
    pub(crate) digest: Option<Digest>,
    /// The bytes of file content.
    pub(crate) size: u64,
}

/// Unpacks `blob` into the empty directory `root`.
///
/// # Errors
/// [`LayerError`]; what was written until then stays in `root`, for the caller to remove.
pub(crate) fn unpack(
    blob: impl io::Read + Send + 'static,
    root: OwnedFd,
    options: Options,
) -> Result<Unpacked, LayerError> {
    let decoder = decoder(blob, options)?;
    let (size, digest) = pipeline::run(decoder, options.hash, |chunks| {
        let mut extractor = extract::Extractor::new(root, options.limits);
        let mut reader = tar::Reader::new(chunks, options.limits);
        while let Some(entry) = reader.next_entry()? {
            extractor.extract(&entry, &mut reader)?;
        }
        if options.end_mark && !reader.saw_end_mark() {
            return Err(LayerError::Archive(tar::Error::Truncated { entry: None }));
        }
        // What follows the end mark belongs to the digest too.
        reader.into_source().drain().map_err(LayerError::Stream)?;
        extractor.finish()
    })?;
    Ok(Unpacked { digest, size })
}

/// The digest of the uncompressed stream, without making anything of it.
pub(crate) fn content_digest(blob: impl io::Read + Send + 'static, options: Options) -> Result<Digest, LayerError> {
    let (digest, _) = crate::digest::of_reader(decoder(blob, options)?).map_err(LayerError::Stream)?;
    Ok(digest)
}

fn decoder(blob: impl io::Read + Send + 'static, options: Options) -> Result<Decoder, LayerError> {
    let decoder = Decoder::new(blob, options.limits).map_err(LayerError::Stream)?;
    match options.compression {
        Some(declared) if declared != decoder.compression() => {
            Err(LayerError::Compression { declared: declared.to_string(), found: decoder.compression().to_string() })
        }
        _ => Ok(decoder),
    }
}

/// Unpacks one layer (plain, gzip or zstd) into an existing empty directory, as overlayfs wants it. Returns the digest of its
/// uncompressed stream and the bytes of file content.
///
/// [`Store`](crate::Store) does this for its images; this is for whoever has a layer and no store, such as the benches.
///
/// # Errors
/// [`LayerError`]; what was written until then stays in the directory.
pub fn unpack_layer(
    blob: impl io::Read + Send + 'static,
    directory: &std::path::Path,
    limits: Limits,
) -> Result<(DiffId, u64), LayerError> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = open(directory, flags, Mode::empty()).map_err(|errno| LayerError::Stream(errno.into()))?;
    let options = Options { limits, hash: true, end_mark: false, compression: None };
    let unpacked = unpack(blob, root, options)?;
    Ok((DiffId(unpacked.digest.unwrap_or_else(|| Digest::of(b""))), unpacked.size))
}

#[cfg(test)]
mod tests;
