//! A root file system, entry by entry, so that two can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{lgetxattr, llistxattr};

/// What there is to know of one entry, as one line.
pub type Tree = BTreeMap<String, String>;

/// Reads a tree without crossing into other file systems. `shift` is taken from all ids, so that a container's root is 0.
pub fn read(root: &Path, shift: u32) -> Tree {
    let mut tree = Tree::new();
    let device = root.metadata().unwrap_or_else(|error| panic!("{}: {error}", root.display())).dev();
    walk(root, root, device, shift, &mut tree);
    tree
}

fn walk(root: &Path, directory: &Path, device: u64, shift: u32, tree: &mut Tree) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        let metadata = path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if metadata.is_dir() && metadata.dev() != device {
            continue;
        }
        let name = path.strip_prefix(root).expect("below the root");
        tree.insert(name.as_os_str().as_bytes().escape_ascii().to_string(), describe(&path, &metadata, shift));
        if metadata.is_dir() {
            walk(root, &path, device, shift, tree);
        }
    }
}

fn describe(path: &Path, metadata: &fs::Metadata, shift: u32) -> String {
    let kind = metadata.file_type();
    let own = format!(
        "{:o} {}:{}",
        metadata.mode() & 0o7777,
        i64::from(metadata.uid()) - i64::from(shift),
        i64::from(metadata.gid()) - i64::from(shift)
    );
    let what = if kind.is_dir() {
        "directory".to_owned()
    } else if kind.is_symlink() {
        let target = fs::read_link(path).expect("a link can be read");
        return format!("link to {:?} {}", target, own.split_once(' ').map_or("", |(_, ids)| ids));
    } else if kind.is_file() {
        format!("file of {} {} links {} mtime {}", metadata.size(), checksum(path), metadata.nlink(), metadata.mtime())
    } else if kind.is_fifo() {
        "fifo".to_owned()
    } else if kind.is_char_device() || kind.is_block_device() {
        let letter = if kind.is_char_device() { 'c' } else { 'b' };
        format!("device {letter} {}:{}", rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()))
    } else {
        "socket".to_owned()
    };
    format!("{what} {own}{}", extended(path))
}

/// The extended attributes that a user can set.
fn extended(path: &Path) -> String {
    let mut names = vec![0_u8; 4096];
    let Ok(length) = llistxattr(path, &mut names[..]) else { return String::new() };
    let mut found: Vec<String> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| name.starts_with(b"user."))
        .map(|name| {
            let mut value = vec![0_u8; 4096];
            let name = String::from_utf8_lossy(name).into_owned();
            let length = lgetxattr(path, name.as_str(), &mut value[..]).expect("an attribute that is listed");
            format!(" {name}={}", value[..length].escape_ascii())
        })
        .collect();
    found.sort();
    found.concat()
}

fn checksum(path: &Path) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut buffer = vec![0_u8; 1 << 16];
    loop {
        match file.read(&mut buffer).expect("a file can be read") {
            0 => break,
            count => context.update(&buffer[..count]),
        }
    }
    hex(&context.finish().as_ref()[..8])
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What differs, a line each; entries whose path `ignored` says to leave out are left out.
pub fn differences(expected: &Tree, found: &Tree, ignored: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, entry) in expected.iter().filter(|(path, _)| !ignored(path)) {
        match found.get(path) {
            None => lines.push(format!("{path}: missing, should be {entry}")),
            Some(other) if other != entry => lines.push(format!("{path}:\n  should be {entry}\n  is        {other}")),
            Some(_) => {}
        }
    }
    for (path, entry) in found.iter().filter(|(path, _)| !ignored(path) && !expected.contains_key(*path)) {
        lines.push(format!("{path}: should not be there, is {entry}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        for (root, content) in [(&one, "a"), (&two, "b")] {
            fs::create_dir(root).unwrap();
            fs::write(root.join("same"), "same").unwrap();
            fs::write(root.join("content"), content).unwrap();
        }
        fs::write(one.join("only"), "x").unwrap();
        std::os::unix::fs::symlink("same", two.join("more")).unwrap();
        let moment = fs::metadata(one.join("same")).unwrap().modified().unwrap();
        for root in [&one, &two] {
            for name in ["same", "content"] {
                fs::File::options().append(true).open(root.join(name)).unwrap().set_modified(moment).unwrap();
            }
        }
        let lines = differences(&read(&one, 0), &read(&two, 0), |path| path == "ignored");
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(
            lines[0].starts_with("content:")
                && lines[1].starts_with("only: missing")
                && lines[2].starts_with("more: should not")
        );
    }
}
