//! Blobs: files named by the digest of their content, which is verified whenever one is read.

use std::fs::File;
use std::io::{self, Read};

use rustix::fs::{AtFlags, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::Store;
use crate::digest::{DiffId, Digest};
use crate::document::{MAX_DOCUMENT, Manifest};
use crate::error::Error;

/// Reads a whole file of at most `max` bytes; `None` if it is larger.
pub(super) fn read_bounded(file: File, max: u64) -> io::Result<Option<Vec<u8>>> {
    let size = file.metadata()?.len();
    if size > max {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(max + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= max).then_some(bytes))
}

impl Store {
    /// Opens a blob. `None` if the store does not have it.
    pub(super) fn open_blob(&self, digest: Digest) -> Result<Option<File>, Error> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&self.blobs, digest.hex(), flags, Mode::empty()) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::os("open", &self.blob_path(digest))(errno)),
        }
    }

    pub(super) fn has_blob(&self, digest: Digest) -> bool {
        statat(&self.blobs, digest.hex(), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    pub(super) fn blob_path(&self, digest: Digest) -> std::path::PathBuf {
        self.images().join("blobs/sha256").join(digest.hex())
    }

    /// Reads a manifest or configuration, verified.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is missing, too large or its content has another digest.
    pub(super) fn read_document(&self, digest: Digest) -> Result<Vec<u8>, Error> {
        let corrupt = |found: String| Error::Corrupt { path: self.blob_path(digest), expected: digest, found };
        let Some(file) = self.open_blob(digest)? else {
            return Err(corrupt("missing".to_owned()));
        };
        let bytes = read_bounded(file, MAX_DOCUMENT).map_err(Error::io("read", &self.blob_path(digest)))?;
        let bytes = bytes.ok_or_else(|| corrupt(format!("larger than {MAX_DOCUMENT} bytes")))?;
        let found = Digest::of(&bytes);
        if found == digest { Ok(bytes) } else { Err(corrupt(found.to_string())) }
    }

    /// Reads a manifest and its configuration, both verified and checked against each other.
    pub(super) fn read_image(
        &self,
        manifest: Digest,
        media_type: &str,
    ) -> Result<(Manifest, oci_spec::image::ImageConfiguration, Vec<DiffId>), Error> {
        let context = || format!("image with manifest {manifest}");
        let bytes = self.read_document(manifest)?;
        let parsed = Manifest::parse(&bytes, Some(media_type)).map_err(Error::document(context()))?;
        let bytes = self.read_document(parsed.config.digest)?;
        let (configuration, layers) = crate::config::parse_configuration(&bytes).map_err(Error::document(context()))?;
        parsed.matches(&layers).map_err(Error::document(context()))?;
        Ok((parsed, configuration, layers))
    }
}
