//! Looks into an image as a container would see it, without mounting anything.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, lgetxattr, open, openat2, readlinkat, statat};
use rustix::io::Errno;

use super::Store;
use crate::error::Error;
use crate::image::Image;

const MAX_LINKS: usize = 40;
const MAX_COMPONENTS: usize = 4096;

/// What a path of an image leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A file with content.
    File,
    /// A directory.
    Directory,
    /// A device, pipe or socket.
    Special,
}

/// An entry of an image, with all symbolic links followed within the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Its path within the image without any symbolic link, absolute.
    pub path: PathBuf,
    /// Permission bits, set-id and sticky bits.
    pub mode: u32,
    /// The owner's id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
    /// The file's length in bytes.
    pub size: u64,
}

/// A layer's root, top first.
struct Layer {
    path: PathBuf,
    root: OwnedFd,
}

/// The entry that a container would see, and the uppermost layer that has it.
struct Found {
    stat: Stat,
    layer: usize,
}

impl Store {
    /// True if a container of the image (with nothing mounted on it) would see something at `path`; the skeleton counts.
    ///
    /// # Errors
    /// When a layer cannot be read. What only the image is to blame for (loops of symbolic links) counts as not there.
    pub fn exists_in(&self, image: &Image, path: &str) -> Result<bool, Error> {
        Ok(self.look_up(image, path)?.is_some())
    }

    /// What a container of the image would see at `path`, all symbolic links followed; `None` if there is nothing.
    ///
    /// # Errors
    /// As [`Store::exists_in`].
    pub fn look_up(&self, image: &Image, path: &str) -> Result<Option<Entry>, Error> {
        let layers = self.open_layers(image)?;
        Ok(walk(&layers, path)?.map(|(found, path)| entry(&found.stat, &path)))
    }

    /// Reads a file of the image, for example `/etc/passwd`. `None` if there is none, if it is not a regular file, or if it is larger
    /// than `max` bytes: an image cannot make the engine hang on a pipe or read without end.
    ///
    /// # Errors
    /// As [`Store::exists_in`], and when the file cannot be read.
    pub fn read_file(&self, image: &Image, path: &str, max: u64) -> Result<Option<Vec<u8>>, Error> {
        let layers = self.open_layers(image)?;
        let Some((found, canonical)) = walk(&layers, path)? else {
            return Ok(None);
        };
        if FileType::from_raw_mode(found.stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let layer = &layers[found.layer];
        let shown = layer.path.join(OsStr::from_bytes(&canonical));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(&layer.root, canonical.as_slice(), flags, Mode::empty(), resolve)
            .map_err(Error::os("open", &shown))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(Error::io("read", &shown))?;
        if !metadata.is_file() || metadata.len() > max {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes).map_err(Error::io("read", &shown))?;
        Ok(Some(bytes))
    }

    fn open_layers(&self, image: &Image) -> Result<Vec<Layer>, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open_one = |path: PathBuf| {
            let root = open(&path, flags, Mode::empty()).map_err(Error::os("open the layer", &path))?;
            Ok(Layer { path, root })
        };
        self.snapshot_layers(image)?.into_iter().map(open_one).collect()
    }
}

fn entry(stat: &Stat, path: &[u8]) -> Entry {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        _ => EntryKind::Special,
    };
    Entry {
        kind,
        path: Path::new("/").join(OsStr::from_bytes(path)),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or(0),
    }
}

/// Walks a path through the stack, as overlayfs would show it. Returns what is there and its path without symbolic links.
///
/// `visible` holds, for the directory reached so far, the layers whose content shows there; the path walked so far has no symbolic
/// link in any of these, so that looking up one more component leads nowhere else.
fn walk(layers: &[Layer], path: &str) -> Result<Option<(Found, Vec<u8>)>, Error> {
    let mut steps: VecDeque<Vec<u8>> = components(path.as_bytes()).collect();
    let mut trail: Vec<(Vec<u8>, Vec<usize>)> = Vec::new();
    let all: Vec<usize> = (0..layers.len()).collect();
    let mut links = 0;
    let mut last: Option<Found> = None;
    while let Some(step) = steps.pop_front() {
        if trail.len() > MAX_COMPONENTS {
            return Ok(None);
        }
        // Only a directory leads on, be it to something within it or to its parent.
        if let Some(found) = &last
            && FileType::from_raw_mode(found.stat.st_mode) != FileType::Directory
        {
            return Ok(None);
        }
        if step == b".." {
            trail.pop();
            last = None;
            continue;
        }
        let (directory, visible) = trail.last().map_or((&[][..], &all), |(path, visible)| (path, visible));
        let mut next = directory.to_vec();
        if !next.is_empty() {
            next.push(b'/');
        }
        next.extend_from_slice(&step);
        let Some((found, shown)) = look(layers, visible, &next)? else {
            return Ok(None);
        };
        if FileType::from_raw_mode(found.stat.st_mode) == FileType::Symlink {
            links += 1;
            let target = read_link(&layers[found.layer], &next)?;
            if links > MAX_LINKS || steps.len() > MAX_COMPONENTS {
                return Ok(None);
            }
            if target.starts_with(b"/") {
                trail.clear();
            }
            let mut extended: VecDeque<Vec<u8>> = components(&target).collect();
            extended.append(&mut steps);
            steps = extended;
            last = None;
            continue;
        }
        trail.push((next, shown));
        last = Some(found);
    }
    if let Some(found) = last {
        let path = trail.pop().map(|(path, _)| path).unwrap_or_default();
        return Ok(Some((found, path)));
    }
    // The root, or a directory that was reached by its child's "..".
    let (path, visible) = trail.pop().unwrap_or_else(|| (Vec::new(), all.clone()));
    let at = if path.is_empty() { b"." } else { path.as_slice() };
    Ok(look(layers, &visible, at)?.map(|(found, _)| (found, path)))
}

/// The uppermost entry at `path`, and the layers that show through if it is a directory.
fn look(layers: &[Layer], visible: &[usize], path: &[u8]) -> Result<Option<(Found, Vec<usize>)>, Error> {
    let mut top: Option<Found> = None;
    let mut shown = Vec::new();
    for (rank, at) in visible.iter().enumerate() {
        let layer = &layers[*at];
        let stat = match statat(&layer.root, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => continue,
            Err(errno) => {
                return Err(Error::os("look at", &layer.path.join(OsStr::from_bytes(path)))(errno));
            }
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
        let directory = kind == FileType::Directory;
        if whiteout || (!directory && top.is_some()) {
            // Hides what is below it.
            break;
        }
        top.get_or_insert(Found { stat, layer: *at });
        if !directory {
            break;
        }
        shown.push(*at);
        if rank + 1 < visible.len() && is_opaque(layer, path) {
            break;
        }
    }
    Ok(top.map(|found| (found, shown)))
}

fn is_opaque(layer: &Layer, path: &[u8]) -> bool {
    let mut value = [0; 1];
    let path = layer.path.join(OsStr::from_bytes(path));
    lgetxattr(&path, "trusted.overlay.opaque", &mut value[..]).is_ok_and(|length| length == 1 && value == *b"y")
}

fn read_link(layer: &Layer, path: &[u8]) -> Result<Vec<u8>, Error> {
    let target = readlinkat(&layer.root, path, Vec::new())
        .map_err(Error::os("read the link", &layer.path.join(OsStr::from_bytes(path))))?;
    Ok(target.into_bytes())
}

fn components(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).map(<[u8]>::to_vec)
}
