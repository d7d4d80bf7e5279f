//! Images from files: a root file system as a tar, and the archives and layouts of other tools.

mod contents;
mod docker;
mod oci;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use oci_spec::image::{Arch, Config, History, ImageConfiguration, Os, RootFs};

use contents::Contents;

use crate::change::Change;
use crate::compression::Compression;
use crate::digest::{DiffId, Digest};
use crate::document::media;
use crate::error::Error;
use crate::image::{Imported, Loaded};
use crate::layer::{LayerError, Options};
use crate::reference::Reference;
use crate::store::{AddError, Addition, LayerPart, Staging, Store, check_tag, unpack_into};
use crate::time;

/// Where images are loaded from.
pub enum Source {
    /// An archive, compressed or not, that is read from start to end.
    Stream(Box<dyn Read + Send>),
    /// An OCI image layout in a directory.
    Directory(PathBuf),
}

impl Source {
    /// The archive or layout at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let file = File::open(path).map_err(Error::io("open", path))?;
        Ok(Self::Stream(Box::new(file)))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(_) => f.write_str("Stream"),
            Self::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
        }
    }
}

impl Store {
    /// Makes an image of one layer from a root file system: a tar, plain or compressed with gzip or zstd.
    ///
    /// # Errors
    /// [`Error::Layer`] names the entry that is refused. Nothing is left behind then.
    pub fn import(&self, source: impl Read, reference: &Reference, changes: &[Change]) -> Result<Imported, Error> {
        check_tag(reference)?;
        let staging = self.staging()?;
        let (blob, _) = staging.add(source, self.limits().bytes).map_err(|error| match error {
            AddError::Read(source) => {
                Error::Layer { context: "the archive".to_owned(), source: LayerError::Stream(source) }
            }
            AddError::Write(error) => error,
        })?;
        let compression = sniff(&staging.blob(blob))?;
        let made = staging.new_path();
        let options = Options {
            limits: self.limits(),
            // A plain tar is its own content, and was hashed while it was copied.
            hash: compression != Compression::Plain,
            end_mark: true,
            compression: None,
        };
        let unpacked = unpack_into(&made, staging.open(blob)?, options, "the archive")?;
        let addition = assemble(
            &staging,
            &Assembly {
                id: DiffId(unpacked.digest.unwrap_or(blob)),
                compression,
                changes,
                comment: "imported",
                references: vec![reference.clone()],
                ..Assembly::plain(blob)
            },
        )?;
        let id = addition.id;
        self.commit(&staging, &[addition], BTreeMap::from([(DiffId(unpacked.digest.unwrap_or(blob)), made)]))?;
        Ok(Imported { id, reference: reference.clone(), size: unpacked.size })
    }

    /// Brings images from what `docker save`, `podman save`, `skopeo`, `buildah` or `umoci` wrote.
    ///
    /// # Errors
    /// [`Error::Archive`], [`Error::Document`] or [`Error::Layer`] name what is refused. Nothing is left behind then.
    pub fn load(&self, source: Source) -> Result<Vec<Loaded>, Error> {
        let staging = self.staging()?;
        let contents = match source {
            Source::Stream(stream) => Contents::from_archive(&staging, stream, self.limits())?,
            Source::Directory(path) => Contents::from_directory(&staging, &path, self.limits())?,
        };
        let additions = if contents.has("oci-layout") || contents.has("index.json") {
            let additions = oci::images(&contents)?;
            docker::check_agreement(&contents, &additions)?;
            additions
        } else if contents.has("manifest.json") {
            docker::images(&contents)?
        } else if contents.has("repositories") {
            return Err(Error::Archive(
                "it was written by a Docker older than 1.10; load and save it with a newer one".to_owned(),
            ));
        } else {
            return Err(Error::Archive(
                "it is neither a docker archive (manifest.json) nor an OCI layout (oci-layout, index.json); to make an image of a \
                 root file system, use \"casemate import\""
                    .to_owned(),
            ));
        };
        self.commit(&staging, &additions, BTreeMap::new())?;
        Ok(additions.into_iter().map(|addition| Loaded { id: addition.id, references: addition.references }).collect())
    }
}

/// How a staged blob is compressed.
fn sniff(path: &Path) -> Result<Compression, Error> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(Error::io("open", path))?;
    file.take(8).read_to_end(&mut start).map_err(Error::io("read", path))?;
    Compression::sniff(&start).map_err(|name| Error::Layer {
        context: "the archive".to_owned(),
        source: LayerError::Stream(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is compressed with {name}, which is not supported (use gzip, zstd or none)"),
        )),
    })
}

/// An image of one layer, before its documents are written.
pub(crate) struct Assembly<'a> {
    pub(crate) blob: Digest,
    pub(crate) id: DiffId,
    pub(crate) compression: Compression,
    pub(crate) changes: &'a [Change],
    pub(crate) comment: &'a str,
    pub(crate) references: Vec<Reference>,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Assembly<'_> {
    /// A plain tar, and nothing more.
    pub(crate) fn plain(blob: Digest) -> Self {
        Self {
            blob,
            id: DiffId(blob),
            compression: Compression::Plain,
            changes: &[],
            comment: "",
            references: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }
}

/// Writes configuration and manifest of an image of one layer.
pub(crate) fn assemble(staging: &Staging, assembly: &Assembly<'_>) -> Result<Addition, Error> {
    let mut config = Config::default();
    for change in assembly.changes {
        change.apply(&mut config);
    }
    let now = time::now();
    let mut history = History::default();
    history.set_created(Some(now.clone()));
    history.set_comment(Some(assembly.comment.to_owned()));
    let mut root = RootFs::default();
    root.set_diff_ids(vec![assembly.id.to_string()]);
    let mut configuration = ImageConfiguration::default();
    configuration.set_created(Some(now));
    configuration.set_architecture(Arch::from(architecture()));
    configuration.set_os(Os::Linux);
    configuration.set_config(Some(config));
    configuration.set_rootfs(root);
    configuration.set_history(Some(vec![history]));
    let bytes = to_json(&configuration)?;
    let part = LayerPart { id: assembly.id, blob: assembly.blob, compression: Some(assembly.compression) };
    let size = staging.size(assembly.blob)?;
    let layers = [(part, size)];
    let mut addition = describe(staging, &bytes, &layers, assembly.references.clone())?;
    addition.annotations.clone_from(&assembly.annotations);
    Ok(addition)
}

/// Writes a manifest for a configuration and layers that came without one.
fn describe(
    staging: &Staging,
    configuration: &[u8],
    layers: &[(LayerPart, u64)],
    references: Vec<Reference>,
) -> Result<Addition, Error> {
    let id = staging.add_bytes(configuration)?;
    let parts: Vec<serde_json::Value> = layers
        .iter()
        .map(|(part, size)| {
            let media_type = part.compression.unwrap_or(Compression::Plain).media_type();
            serde_json::json!({ "mediaType": media_type, "digest": part.blob, "size": size })
        })
        .collect();
    let manifest = to_json(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media::OCI_MANIFEST,
        "config": { "mediaType": media::OCI_CONFIG, "digest": id, "size": configuration.len() },
        "layers": parts,
    }))?;
    Ok(Addition {
        id,
        manifest: staging.add_bytes(&manifest)?,
        manifest_size: manifest.len() as u64,
        media_type: media::OCI_MANIFEST.to_owned(),
        layers: layers.iter().map(|(part, _)| *part).collect(),
        references,
        annotations: BTreeMap::new(),
    })
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value)
        .map_err(|error| Error::io("write", Path::new("the image's documents"))(io::Error::other(error)))
}

/// This machine's architecture in Go's words.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        other => other,
    }
}
