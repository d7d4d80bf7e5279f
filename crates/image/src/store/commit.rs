//! Brings images into the store: unpacks what is missing, and puts everything in place at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, open, renameat_with, syncfs};
use rustix::io::Errno;

use super::index::{self, sync_directory};
use super::staging::{Staging, open_staged};
use super::{Lock, Store};
use crate::compression::Compression;
use crate::digest::{DiffId, Digest};
use crate::error::Error;
use crate::layer::{self, LayerError, Options, remove_path};
use crate::reference::Reference;

/// A layer of an image that is being added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerPart {
    /// What it must unpack to.
    pub(crate) id: DiffId,
    /// Its blob, in the staging directory or the store, verified.
    pub(crate) blob: Digest,
    /// How it is compressed, where its media type says so.
    pub(crate) compression: Option<Compression>,
}

/// An image whose blobs are staged.
#[derive(Debug)]
pub(crate) struct Addition {
    pub(crate) id: Digest,
    pub(crate) manifest: Digest,
    pub(crate) manifest_size: u64,
    pub(crate) media_type: String,
    pub(crate) layers: Vec<LayerPart>,
    pub(crate) references: Vec<Reference>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What was put in place and must go again if the rest fails.
#[derive(Default)]
struct Placed(Vec<PathBuf>);

impl Store {
    /// Adds images whose blobs are staged, and layers that are unpacked already. Either all is there afterwards, or nothing.
    pub(crate) fn commit(
        &self,
        staging: &Staging,
        additions: &[Addition],
        mut unpacked: BTreeMap<DiffId, PathBuf>,
    ) -> Result<(), Error> {
        let mut parts: Vec<LayerPart> = Vec::new();
        for part in additions.iter().flat_map(|addition| &addition.layers) {
            if !parts.contains(part) {
                parts.push(*part);
            }
        }
        // What the caller unpacked gave the layer its name. Of layers that are there already, the blob is still a stranger's.
        let made = parts.iter().filter(|part| unpacked.contains_key(&part.id));
        let mut verified: BTreeSet<(DiffId, Digest)> = made.map(|part| (part.id, part.blob)).collect();
        loop {
            for part in &parts {
                if !unpacked.contains_key(&part.id) && !self.layer_directory(&part.id).exists() {
                    let path = self.unpack_staged(staging, part)?;
                    unpacked.insert(part.id, path);
                } else if verified.contains(&(part.id, part.blob)) {
                    continue;
                } else {
                    self.verify_staged(staging, part)?;
                }
                verified.insert((part.id, part.blob));
            }
            self.flush()?;
            let lock = self.lock()?;
            // Between the look above and the lock, another command may have removed a layer that was there.
            let gone = |part: &LayerPart| !unpacked.contains_key(&part.id) && !self.layer_directory(&part.id).exists();
            if parts.iter().any(gone) {
                continue;
            }
            let mut placed = Placed::default();
            let result = self.place(&lock, staging, additions, &unpacked, &mut placed);
            if result.is_err() {
                for path in placed.0 {
                    // Best effort: what is not referenced is never believed, and goes with the next check.
                    let _ = remove_path(&path);
                }
            }
            return result;
        }
    }

    fn place(
        &self,
        lock: &Lock,
        staging: &Staging,
        additions: &[Addition],
        unpacked: &BTreeMap<DiffId, PathBuf>,
        placed: &mut Placed,
    ) -> Result<(), Error> {
        for (id, made) in unpacked {
            let place = self.layer_directory(id);
            match renameat_with(CWD, made, CWD, &place, RenameFlags::NOREPLACE) {
                Ok(()) => placed.0.push(place),
                // Another command unpacked the same meanwhile.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::os("put in place the layer", &place)(errno)),
            }
        }
        let mut index = self.read_index()?;
        for addition in additions {
            let layers = addition.layers.iter().map(|part| part.blob);
            let blobs: BTreeSet<Digest> = layers.chain([addition.manifest, addition.id]).collect();
            for digest in blobs {
                let (staged, place) = (staging.blob(digest), self.blob_path(digest));
                let had = self.has_blob(digest);
                match fs::rename(&staged, &place) {
                    Ok(()) if had => {}
                    Ok(()) => placed.0.push(place),
                    // Not staged: an addition before this one brought it, or it was in the store already.
                    Err(error) if error.kind() == io::ErrorKind::NotFound && had => {}
                    Err(error) => return Err(Error::io("put in place the blob", &place)(error)),
                }
            }
            let entry = index::entry(
                &addition.media_type,
                (addition.manifest, addition.manifest_size),
                addition.id,
                self.unpacked_size(&addition.layers)?,
                &addition.annotations,
            );
            if addition.references.is_empty() {
                index.add_nameless(entry);
            } else {
                for reference in &addition.references {
                    index.tag(entry.clone(), reference);
                }
            }
        }
        sync_directory(&self.layers())?;
        sync_directory(&self.images().join("blobs/sha256"))?;
        self.write_index(lock, &index)
    }

    /// What a reference will soon lead to must survive a loss of power before the reference does.
    pub(super) fn flush(&self) -> Result<(), Error> {
        let path = self.images();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(&path, flags, Mode::empty()).map_err(Error::os("open", &path))?;
        syncfs(&directory).map_err(Error::os("flush", &path))
    }

    fn unpacked_size(&self, layers: &[LayerPart]) -> Result<u64, Error> {
        let mut total = 0_u64;
        for part in layers {
            let path = self.layer_directory(&part.id).join("size");
            let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            total = total.saturating_add(text.trim().parse().unwrap_or(0));
        }
        Ok(total)
    }

    fn unpack_staged(&self, staging: &Staging, part: &LayerPart) -> Result<PathBuf, Error> {
        let (blob, trusted) = self.open_part(staging, part)?;
        self.unpack(staging, blob, part, !trusted)
    }

    /// Checks that a blob unpacks to the layer that it is said to be, where that layer is there already.
    fn verify_staged(&self, staging: &Staging, part: &LayerPart) -> Result<(), Error> {
        let (blob, trusted) = self.open_part(staging, part)?;
        if trusted {
            return Ok(());
        }
        let options = self.options(part, true);
        let found = layer::content_digest(blob, options).map_err(|source| layer_error(part, source))?;
        check_digest(part, Some(found))
    }

    /// A layer's blob, and whether its own digest, verified when it was staged, is already that of its content.
    fn open_part(&self, staging: &Staging, part: &LayerPart) -> Result<(fs::File, bool), Error> {
        let staged = staging.blob(part.blob);
        if staged.exists() {
            let plain = part.compression == Some(Compression::Plain);
            return Ok((open_staged(&staged)?, plain && part.blob == part.id.0));
        }
        Ok((open_staged(&self.blob_path(part.blob))?, false))
    }

    fn options(&self, part: &LayerPart, hash: bool) -> Options {
        Options { limits: self.limits, hash, end_mark: false, compression: part.compression }
    }

    /// Unpacks a layer into the staging directory and verifies it. Returns what is to be renamed into `layers`.
    pub(super) fn unpack(
        &self,
        staging: &Staging,
        blob: fs::File,
        part: &LayerPart,
        hash: bool,
    ) -> Result<PathBuf, Error> {
        let made = staging.new_path();
        let unpacked = unpack_into(&made, blob, self.options(part, hash), &format!("layer {}", part.blob))?;
        check_digest(part, unpacked.digest)?;
        Ok(made)
    }

    /// Puts layers back that should be there: after a failing disk or a hand that removed them.
    pub(super) fn restore(&self, parts: &[LayerPart]) -> Result<(), Error> {
        let staging = self.staging()?;
        let mut unpacked = Vec::new();
        for part in parts {
            let Some(blob) = self.open_blob(part.blob)? else {
                return Err(Error::Corrupt {
                    path: self.blob_path(part.blob),
                    expected: part.blob,
                    found: "missing".to_owned(),
                });
            };
            unpacked.push((part.id, self.unpack(&staging, blob, part, true)?));
        }
        self.flush()?;
        let _lock = self.lock()?;
        for (id, made) in unpacked {
            let place = self.layer_directory(&id);
            match renameat_with(CWD, &made, CWD, &place, RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(Error::os("put in place the layer", &place)(errno)),
            }
        }
        sync_directory(&self.layers())
    }
}

fn layer_error(part: &LayerPart, source: LayerError) -> Error {
    Error::Layer { context: format!("layer {}", part.blob), source }
}

/// Checks the digest of a layer's content, where it was computed.
fn check_digest(part: &LayerPart, found: Option<Digest>) -> Result<(), Error> {
    match found {
        Some(found) if found != part.id.0 => {
            let expected = part.id.0;
            Err(layer_error(part, LayerError::Digest { expected, found }))
        }
        _ => Ok(()),
    }
}

/// Unpacks a blob into the new directory `made`, as it will stand in `layers`.
pub(crate) fn unpack_into(
    made: &Path,
    blob: fs::File,
    options: Options,
    context: &str,
) -> Result<layer::Unpacked, Error> {
    fs::DirBuilder::new().mode(0o700).create(made).map_err(Error::io("make", made))?;
    let top = made.join("fs");
    fs::create_dir(&top).map_err(Error::io("make", &top))?;
    rustix::fs::chmod(&top, Mode::from_raw_mode(0o755)).map_err(Error::os("set the mode of", &top))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = open(&top, flags, Mode::empty()).map_err(Error::os("open", &top))?;
    let unpacked = layer::unpack(blob, directory, options)
        .map_err(|source| Error::Layer { context: context.to_owned(), source })?;
    let size = made.join("size");
    fs::write(&size, unpacked.size.to_string()).map_err(Error::io("write", &size))?;
    Ok(unpacked)
}
