//! Where the probe reads: files of `/proc`, `/sys` and `/dev`, bounded, below one root.
//!
//! What is read inside a container may have been arranged by whoever controls the container, so every read has an upper bound
//! and no read blocks: only regular files, directories and links of kernel file systems are opened.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

/// The most that is read of one file: a mount table of 5000 mounts fits.
const MAX_FILE: u64 = 1 << 20;

/// The most that is read of a file of which only the first line matters: `/proc/kallsyms` is made as it is read.
const MAX_LINE: u64 = 4096;

/// The most names that are read of one directory.
const MAX_NAMES: usize = 4096;

/// The file system as the probe sees it. Tests give another root.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    root: PathBuf,
}

impl Source {
    /// Reads below `root`; `/` for the container itself.
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path on this file system of the absolute path `path`.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file, at most 1 MiB of it, with bytes that are not UTF-8 replaced.
    /// `None` when it can't be read, whatever the reason: what can't be read is reported as not known.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        read_bounded(&self.path(path), MAX_FILE).ok()
    }

    /// The first line of a file, without blanks around it; `None` when it is empty or can't be read.
    pub(crate) fn line(&self, path: &str) -> Option<String> {
        let text = read_bounded(&self.path(path), MAX_LINE).ok()?;
        let line = text.lines().next()?.trim_matches(['\0', ' ', '\t']);
        (!line.is_empty()).then(|| line.to_owned())
    }

    /// A file that holds one decimal number.
    pub(crate) fn number(&self, path: &str) -> Option<u64> {
        self.line(path)?.parse().ok()
    }

    /// What a symbolic link points to.
    pub(crate) fn link(&self, path: &str) -> Option<String> {
        Some(fs::read_link(self.path(path)).ok()?.to_string_lossy().into_owned())
    }

    /// The sorted names in a directory, at most 4096; empty when it can't be read.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> =
            entries.take(MAX_NAMES).flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Whether the path exists; a link is not followed.
    pub(crate) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// Whether the kernel would let this process open the path for reading, going by its permissions. Nothing is opened.
    pub(crate) fn readable(&self, path: &str) -> bool {
        permitted(&self.path(path), Access::READ_OK)
    }

    /// Whether the kernel would let this process open the path for writing, going by its permissions and its mount. Nothing is
    /// opened.
    pub(crate) fn writable(&self, path: &str) -> bool {
        permitted(&self.path(path), Access::WRITE_OK)
    }
}

/// access(2) with the effective ids, or with the real ones where a filter or an old kernel refuses faccessat2(2).
fn permitted(path: &Path, access: Access) -> bool {
    match rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS) {
        Ok(()) => true,
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => rustix::fs::access(path, access).is_ok(),
        Err(_) => false,
    }
}

/// Reads a regular file; opening anything else could block or act.
fn read_bounded(path: &Path, most: u64) -> io::Result<String> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("big"), vec![b'x'; 3 << 20]).unwrap();
        let source = Source::new(dir.path());
        assert_eq!(source.text("/big").unwrap().len(), 1 << 20);
        assert_eq!(source.text("/none"), None);
    }

    #[test]
    fn a_fifo_is_never_opened() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(Source::new(dir.path()).text("/fifo"), None);
    }

    #[test]
    fn lines_and_numbers_are_trimmed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("n"), "512\n").unwrap();
        fs::write(dir.path().join("label"), "docker-default (enforce)\n\0").unwrap();
        fs::write(dir.path().join("max"), "max\n").unwrap();
        let source = Source::new(dir.path());
        assert_eq!(source.number("/n"), Some(512));
        assert_eq!(source.number("/max"), None);
        assert_eq!(source.line("/label").as_deref(), Some("docker-default (enforce)"));
        assert_eq!(source.names("/"), ["label", "max", "n"]);
        assert!(source.exists("/n") && source.readable("/n") && !source.exists("/m"));
    }
}
