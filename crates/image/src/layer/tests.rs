use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::tar::build::{Builder, RawHeader};

/// A layer's directory within a directory that nothing may be written to.
struct Ground {
    outer: TempDir,
}

impl Ground {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir_all(outer.path().join("store/fs")).unwrap();
        fs::write(outer.path().join("secret"), "secret").unwrap();
        fs::create_dir(outer.path().join("outside")).unwrap();
        Self { outer }
    }

    fn root(&self) -> PathBuf {
        self.outer.path().join("store/fs")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn unpack(&self, archive: Vec<u8>) -> Result<(DiffId, u64), LayerError> {
        self.unpack_within(archive, Limits::default())
    }

    fn unpack_within(&self, archive: Vec<u8>, limits: Limits) -> Result<(DiffId, u64), LayerError> {
        let result = unpack_layer(Cursor::new(archive), &self.root(), limits);
        self.assert_untouched();
        result
    }

    /// Everything around the layer is as it was.
    fn assert_untouched(&self) {
        assert_eq!(fs::read_to_string(self.outer.path().join("secret")).unwrap(), "secret");
        assert_eq!(fs::metadata(self.outer.path().join("secret")).unwrap().nlink(), 1);
        assert_eq!(names(&self.outer.path().join("outside")), Vec::<String>::new());
        assert_eq!(names(self.outer.path()), ["outside", "secret", "store"]);
        assert_eq!(names(&self.outer.path().join("store")), ["fs"]);
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 256];
    let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).ok()?;
    value.truncate(length);
    Some(value)
}

fn is_opaque(path: &Path) -> bool {
    xattr(path, "trusted.overlay.opaque").as_deref() == Some(b"y")
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == 0)
}

/// What can be tested by root only. A host that runs the tests otherwise skips these, and says so.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIP: needs root");
    }
    root
}

#[test]
fn an_ordinary_layer_is_unpacked_faithfully() {
    if !is_root() {
        return;
    }
    let mut setuid = RawHeader::new(b"bin/su", b'0', 2);
    setuid.set(100, b"0004755\0").set(108, b"0000012\0").set(116, b"0000024\0");
    let mut private = RawHeader::new(b"private/", b'5', 0);
    private.set(100, b"0001700\0").set(108, b"\x80\0\0\0\xff\xff\xff\xfe");
    let archive = Builder::new()
        .directory("./")
        .directory("bin/")
        .raw(setuid, b"su")
        .hard_link("bin/su2", "./bin/su")
        .hard_link("bin/su3", "/bin/su")
        .symlink("sh", "/nowhere/../at/all")
        .symlink("up", "../../../../outside")
        .raw(private, b"")
        .file("private/f", b"x")
        .device("dev/null", b'3', 1, 3)
        .device("dev/sda", b'4', 8, 0)
        .entry("dev/pipe", b'6', "", b"")
        .file("implied/parents/here", b"")
        .end();
    let ground = Ground::new();
    let digest = Digest::of(&archive);
    assert_eq!(ground.unpack(archive).unwrap(), (DiffId(digest), 3));
    let su = fs::symlink_metadata(ground.path("bin/su")).unwrap();
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.nlink(), su.mtime()), (0o4755, 10, 20, 3, 1000));
    assert_eq!(fs::read(ground.path("bin/su3")).unwrap(), b"su");
    assert_eq!(fs::read_link(ground.path("sh")).unwrap(), Path::new("/nowhere/../at/all"));
    let private = fs::metadata(ground.path("private")).unwrap();
    assert_eq!((private.mode() & 0o7777, private.uid(), private.mtime()), (0o1700, u32::MAX - 1, 1000));
    assert_eq!(fs::metadata(ground.root()).unwrap().mtime(), 1000);
    let null = fs::metadata(ground.path("dev/null")).unwrap();
    assert_eq!((null.file_type().is_char_device(), null.rdev()), (true, 0x103));
    assert!(fs::metadata(ground.path("dev/sda")).unwrap().file_type().is_block_device());
    assert!(fs::metadata(ground.path("dev/pipe")).unwrap().file_type().is_fifo());
    assert_eq!(fs::metadata(ground.path("implied/parents")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_set_group_id_directory_gives_its_group_to_nothing() {
    if !is_root() {
        return;
    }
    let mut shared = RawHeader::new(b"shared/", b'5', 0);
    shared.set(100, b"0002775\0").set(116, b"0000062\0");
    let archive = Builder::new()
        .raw(shared, b"")
        .file("shared/file", b"")
        .directory("shared/directory/")
        .symlink("shared/link", "file")
        .entry("shared/pipe", b'6', "", b"")
        .file("shared/implied/f", b"")
        .end();
    let ground = Ground::new();
    ground.unpack(archive).unwrap();
    for name in ["file", "directory", "link", "pipe", "implied", "implied/f"] {
        let found = fs::symlink_metadata(ground.path("shared").join(name)).unwrap();
        assert_eq!((found.gid(), found.mode() & 0o2000), (0, 0), "{name}");
    }
    assert_eq!(fs::metadata(ground.path("shared")).unwrap().mode() & 0o7777, 0o2775);
}

#[test]
fn names_and_links_that_lead_out_are_refused_by_name() {
    let file = |name: &str| Builder::new().file(name, b"pwned");
    for (entry, archive) in [
        ("/etc/passwd", file("/etc/passwd")),
        ("../secret", file("../secret")),
        ("a/../../secret", file("a/../../secret")),
        ("a/..", file("a/..")),
        ("out/pwned", Builder::new().symlink("out", "../../outside").file("out/pwned", b"")),
        ("out/pwned", Builder::new().symlink("out", "/../../outside").file("out/pwned", b"")),
        ("out/pwned", Builder::new().symlink("out", "/nowhere").file("out/pwned", b"")),
        ("out/d/", Builder::new().symlink("out", "../../outside").directory("out/d/")),
        ("b/pwned", Builder::new().symlink("a", "../..").symlink("b", "a/outside").file("b/pwned", b"")),
        ("loop/x", Builder::new().symlink("loop", "loop").file("loop/x", b"")),
        ("hard", Builder::new().hard_link("hard", "../../secret")),
        ("hard", Builder::new().hard_link("hard", "/../../secret")),
        ("hard", Builder::new().symlink("s", "../..").hard_link("hard", "s/secret")),
        ("hard", Builder::new().hard_link("hard", "nowhere")),
        ("hard", Builder::new().directory("d").hard_link("hard", "d")),
        ("hard", Builder::new().hard_link("hard", "/")),
        ("out/.wh.x", Builder::new().symlink("out", "../../outside").file("out/.wh.x", b"")),
        ("out/.wh..wh..opq", Builder::new().symlink("out", "../../outside").file("out/.wh..wh..opq", b"")),
        (".wh...", file(".wh...")),
        (".wh.", file(".wh.")),
        ("f/x", Builder::new().file("f", b"").file("f/x", b"")),
        ("./", Builder::new().symlink("./", "../../outside")),
        ("./", Builder::new().file("./", b"").file("x", b"")),
        ("empty", Builder::new().symlink("empty", "")),
    ] {
        let ground = Ground::new();
        let error = ground.unpack(archive.end()).expect_err(entry);
        assert!(error.to_string().contains(&format!("{entry:?}")), "{entry}: {error}");
        assert!(!error.is_io(), "{entry}: {error}");
    }
}

#[test]
fn what_is_odd_but_legal_is_kept() {
    if !is_root() {
        return;
    }
    let strange = b"caf\xe9\x01\n";
    let mut header = RawHeader::new(strange, b'0', 1);
    header.set(136, &[0xff; 12]);
    let archive = Builder::new()
        .raw(header, b"x")
        // A parent that is a link within the layer is followed there, also an absolute one.
        .directory("usr/lib/")
        .symlink("lib", "usr/lib")
        .symlink("abs", "/usr/lib")
        .symlink("usr/up", "../usr/lib")
        .file("lib/a", b"")
        .file("abs/new/b", b"")
        .file("usr/up/c", b"")
        // Duplicates: the last one holds.
        .file("twice", b"first")
        .file("twice", b"second")
        .directory("tree/deep/er/")
        .file("tree/deep/er/f", b"")
        .file("tree", b"now a file")
        .file("was-file", b"")
        .directory("was-file/")
        .file("was-file/f", b"")
        .symlink("was-link", "/usr")
        .directory("was-link/")
        .file("was-link/here", b"")
        .symlink("replaced", "../../secret")
        .file("replaced", b"own")
        .hard_link("twice", "twice")
        .end();
    let ground = Ground::new();
    ground.unpack(archive).unwrap();
    let name = std::ffi::OsString::from_vec(strange.to_vec());
    assert_eq!(fs::metadata(ground.root().join(name)).unwrap().mtime(), -1);
    assert_eq!(names(&ground.path("usr/lib")), ["a", "c", "new"]);
    assert_eq!(fs::read(ground.path("twice")).unwrap(), b"second");
    assert_eq!(fs::read(ground.path("tree")).unwrap(), b"now a file");
    assert_eq!(names(&ground.path("was-file")), ["f"]);
    assert_eq!(names(&ground.path("was-link")), ["here"]);
    assert!(fs::symlink_metadata(ground.path("was-link")).unwrap().is_dir());
    assert_eq!(fs::read(ground.path("replaced")).unwrap(), b"own");
}

#[test]
fn whiteouts_become_overlayfs_marks() {
    if !is_root() {
        return;
    }
    let archive = Builder::new()
        .directory("d/")
        .file("d/.wh.gone", b"")
        .file(".wh.never-was", b"")
        .directory("opaque/")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/kept", b"")
        .file(".wh..wh.aufs", b"")
        // A whiteout speaks of lower layers: what this layer has itself stays, whatever the order.
        .file("both", b"mine")
        .file(".wh.both", b"")
        .file(".wh.later", b"")
        .file("later", b"mine")
        .directory("dir/")
        .file("dir/f", b"")
        .file(".wh.dir", b"")
        .file(".wh.dir2", b"")
        .directory("dir2/")
        .file(".wh.dir3", b"")
        .file("dir3/implied", b"")
        .file(".wh.twice", b"")
        .file(".wh.twice", b"")
        .end();
    let ground = Ground::new();
    ground.unpack(archive).unwrap();
    assert!(is_whiteout(&ground.path("d/gone")));
    assert!(is_whiteout(&ground.path("never-was")));
    assert!(is_whiteout(&ground.path("twice")));
    assert!(is_opaque(&ground.path("opaque")));
    assert_eq!(names(&ground.path("opaque")), ["kept"]);
    assert_eq!(fs::read(ground.path("both")).unwrap(), b"mine");
    assert_eq!(fs::read(ground.path("later")).unwrap(), b"mine");
    for directory in ["dir", "dir2", "dir3"] {
        assert!(is_opaque(&ground.path(directory)), "{directory}");
    }
    assert!(!is_opaque(&ground.path("d")));
    assert!(!ground.path(".wh..wh.aufs").exists());
}

#[test]
fn only_an_images_own_attributes_are_kept() {
    if !is_root() {
        return;
    }
    // CAP_NET_RAW, permitted and effective, in the format of revision 2.
    let capability = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let archive = Builder::new()
        .pax(&[
            ("SCHILY.xattr.user.own", b"value"),
            ("SCHILY.xattr.security.capability", capability),
            ("SCHILY.xattr.security.selinux", b"system_u:object_r:bin_t:s0"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ])
        .file("f", b"")
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y"), ("SCHILY.xattr.user.own", b"d")])
        .directory("d/")
        .end();
    let ground = Ground::new();
    ground.unpack(archive).unwrap();
    let (file, directory) = (ground.path("f"), ground.path("d"));
    assert_eq!(xattr(&file, "security.capability").as_deref(), Some(&capability[..]));
    assert_eq!(xattr(&directory, "user.own").as_deref(), Some(&b"d"[..]));
    assert_eq!(xattr(&file, "user.own").as_deref(), Some(&b"value"[..]));
    for name in ["security.selinux", "trusted.overlay.redirect", "user.overlay.opaque"] {
        assert_eq!(xattr(&file, name), None, "{name}");
    }
    assert!(!is_opaque(&directory));
}

#[test]
fn bombs_and_absurd_sizes_are_refused_with_nothing_written() {
    let ground = Ground::new();
    let limits = Limits { bytes: 10_000, entries: 5, path: 64, depth: 4, ..Limits::default() };
    let sized = |size: &[u8]| {
        let mut header = RawHeader::new(b"big", b'0', 0);
        header.set(124, size);
        Builder::new().raw(header, b"").end()
    };
    let sparse: [(&str, &[u8]); 2] = [("GNU.sparse.size", b"9000000000000000000"), ("GNU.sparse.map", b"")];
    for (what, archive) in [
        ("8 GiB claimed", sized(b"77777777777\0")),
        ("2^62 bytes claimed", Builder::new().pax(&[("size", b"4611686018427387904")]).file("big", b"").end()),
        ("sparse", Builder::new().pax(&sparse).file("big", b"").end()),
        ("entries", (0..6).fold(Builder::new(), |archive, _| archive.file("big", b"")).end()),
        ("length", Builder::new().pax(&[("path", &[b'a'; 65])]).file("big", b"").end()),
        ("depth", Builder::new().file("a/b/c/d/big", b"").end()),
        ("name", Builder::new().gnu_long(b'L', &[b'a'; 60]).file("x", &[0; 11_000]).end()),
    ] {
        let error = ground.unpack_within(archive, limits).expect_err(what);
        assert!(!error.is_io(), "{what}: {error}");
        let size: u64 = walk(&ground.root()).values().sum();
        assert_eq!(size, 0, "{what}");
    }
    let long = Builder::new().pax(&[("path", &[b'a'; 256])]).file("x", b"").end();
    assert!(!ground.unpack(long).unwrap_err().is_io());
}

fn walk(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.insert(entry.path(), metadata.blocks());
        }
    }
    found
}

#[test]
fn sparse_files_stay_sparse() {
    let map: [(&str, &[u8]); 2] = [("GNU.sparse.size", b"10000000"), ("GNU.sparse.map", b"5000000,4")];
    let archive = Builder::new().pax(&map).file("f", b"data").end();
    let ground = Ground::new();
    assert_eq!(ground.unpack(archive).unwrap().1, 10_000_000);
    let found = fs::metadata(ground.path("f")).unwrap();
    assert_eq!(found.len(), 10_000_000);
    assert!(found.blocks() < 100, "{} blocks", found.blocks());
    assert_eq!(fs::read(ground.path("f")).unwrap()[5_000_000..5_000_004], *b"data");
}

#[test]
fn large_files_cross_buffers_whole() {
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let archive = Builder::new().file("first", b"1").file("large", &content).file("last", b"3").end();
    let digest = Digest::of(&archive);
    let compressed = zstd::encode_all(&archive[..], 1).unwrap();
    let ground = Ground::new();
    assert_eq!(ground.unpack(compressed).unwrap().0, DiffId(digest));
    assert!(fs::read(ground.path("large")).unwrap() == content);
    assert_eq!(fs::read(ground.path("last")).unwrap(), b"3");
}

#[test]
fn the_umask_of_the_caller_does_not_matter() {
    // Changing the umask would disturb other tests; what is set by descriptor cannot depend on it. So: modes beyond any umask.
    let mut open = RawHeader::new(b"open", b'0', 0);
    open.set(100, b"0000777\0");
    let mut directory = RawHeader::new(b"directory", b'5', 0);
    directory.set(100, b"0001777\0");
    let ground = Ground::new();
    ground.unpack(Builder::new().raw(open, b"").raw(directory, b"").end()).unwrap();
    assert_eq!(fs::metadata(ground.path("open")).unwrap().mode() & 0o7777, 0o777);
    assert_eq!(fs::metadata(ground.path("directory")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(ground.root().file_name().map(OsStrExt::as_bytes), Some(&b"fs"[..]));
}
