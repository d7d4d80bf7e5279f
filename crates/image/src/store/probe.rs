//! The embedded image: a static program can be an image of its own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Store, index};
use crate::archive::{Assembly, assemble};
use crate::change::Change;
use crate::digest::Digest;
use crate::error::{Error, Kind};
use crate::image::Image;
use crate::reference::Reference;
use crate::tar::Entry;
use crate::tar::write::{header, padding};

/// The embedded image's name.
const NAME: &str = "casemate/probe:latest";
/// Where the program is in it.
const PROGRAM: &str = "casemate-probe";
/// From which executable an image was made.
const KEY: &str = "io.casemate.probe";

impl Store {
    /// The image `casemate/probe:latest`, made from `executable` unless it was made from this very one already.
    ///
    /// # Errors
    /// When the executable cannot be read or the store not written.
    pub fn ensure_probe(&self, executable: &File, version: &str) -> Result<Image, Error> {
        let path = Path::new("/proc/self/exe");
        let metadata = executable.metadata().map_err(Error::io("look at", path))?;
        let key = format!(
            "{version} {} {} {}.{:09}",
            metadata.ino(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec()
        );
        let reference = Reference::parse(NAME)?;
        let full = reference.to_string();
        let index = self.read_index()?;
        let present = index.manifests.iter().find(|entry| index::names(entry, &full));
        if let Some(entry) = present
            && entry.annotation(KEY) == Some(&key)
        {
            return self.image(&index, entry);
        }
        let staging = self.staging()?;
        let program = executable.try_clone().map_err(Error::io("duplicate", path))?;
        let layer = layer(program, metadata.len());
        let added = staging.add(layer, self.limits.bytes);
        let (blob, _) = added.map_err(|error| match error {
            super::staging::AddError::Read(source) => Error::io("read", path)(source),
            super::staging::AddError::Write(error) => error,
        })?;
        let addition = assemble(
            &staging,
            &Assembly {
                changes: &[
                    Change::Entrypoint(vec![format!("/{PROGRAM}")]),
                    Change::Label(vec![("org.opencontainers.image.version".to_owned(), version.to_owned())]),
                ],
                comment: "made from the running executable",
                references: vec![reference],
                annotations: BTreeMap::from([(KEY.to_owned(), key)]),
                ..Assembly::plain(blob)
            },
        )?;
        self.commit(&staging, &[addition], BTreeMap::new())?;
        self.resolve(NAME)
    }
}

impl Store {
    /// Removes the embedded images that newer executables left without a name, unless containers use them. Returns how many went.
    ///
    /// # Errors
    /// As [`Store::remove`].
    pub fn remove_superseded_probes(&self, in_use: &dyn Fn(&Digest) -> Vec<String>) -> Result<usize, Error> {
        let index = self.read_index()?;
        let old =
            index.manifests.iter().filter(|entry| entry.annotation(KEY).is_some() && index::reference(entry).is_none());
        let mut removed = 0;
        for entry in old {
            match self.remove(&entry.digest.to_string(), false, in_use) {
                Ok(_) => removed += 1,
                // Used, or removed by another command meanwhile.
                Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }
}

/// A tar of one file.
fn layer(program: File, size: u64) -> impl Read {
    let entry = Entry::file(PROGRAM.as_bytes(), 0o755, size);
    let end = vec![0; padding(size) + 1024];
    io::Cursor::new(header(&entry).to_vec())
        .chain(Positioned { file: program, at: 0 }.take(size))
        .chain(io::Cursor::new(end))
}

/// Reads without the file's own position, which other descriptors of it share.
struct Positioned {
    file: File,
    at: u64,
}

impl Read for Positioned {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = std::os::unix::fs::FileExt::read_at(&self.file, buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
