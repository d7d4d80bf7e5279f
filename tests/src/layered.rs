//! Images of several layers, written by the tools that people write images with, and what those tools say is in them.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Gid, Mode, Uid, XattrFlags, chownat, lsetxattr, makedev, mknodat};
use tar::EntryType;

use crate::{archive, command, images, lock, missing};

const LIMIT: Duration = Duration::from_secs(60);

/// An image of several layers, in the forms that people pass on, and its root file system as the tool that made it has it.
#[derive(Debug)]
pub struct Layered {
    /// The fixture's directory.
    pub directory: PathBuf,
    /// The root file system.
    pub rootfs: PathBuf,
}

impl Layered {
    /// A file or directory of the fixture.
    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

type Result<T> = std::result::Result<T, String>;

fn failed(what: &Path) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("{}: {error}", what.display())
}

/// By umoci: an OCI layout `oci` (tags `one` to `four`), and by skopeo of the same the archives `oci.tar` and `docker.tar`; the
/// layers of `docker.tar` are not compressed, those of the others are.
///
/// # Errors
/// In words for [`crate::skip`].
pub fn umoci() -> Result<Layered> {
    if let Some(reason) = missing(&["umoci", "skopeo"]) {
        return Err(reason);
    }
    let base = images::busybox();
    let directory = lock::cached("umoci", &format!("3 {}", base.display()), |directory| {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let umoci = |words: &[&str]| {
            let mut command = Command::new("umoci");
            command::tool(command.args(words).current_dir(directory), LIMIT)
        };
        umoci(&["init", "--layout", "oci"])?;
        umoci(&["new", "--image", "oci:one"])?;
        umoci(&["unpack", "--image", "oci:one", "bundle"])?;
        let rootfs = directory.join("bundle/rootfs");
        command::tool(Command::new("tar").arg("-xf").arg(&base).arg("-C").arg(&rootfs), LIMIT)?;
        first_layer(&rootfs).map_err(failed(&rootfs))?;
        umoci(&["repack", "--refresh-bundle", "--image", "oci:two", "bundle"])?;
        second_layer(&rootfs).map_err(failed(&rootfs))?;
        umoci(&["repack", "--refresh-bundle", "--image", "oci:three", "bundle"])?;
        let layer = directory.join("opaque.tar");
        fs::write(&layer, opaque_layer()).map_err(failed(&layer))?;
        umoci(&["raw", "add-layer", "--image", "oci:three", "--tag", "four", "opaque.tar"])?;
        let config =
            ["config", "--image", "oci:four", "--config.cmd", "/bin/sh", "--config.env", "FROM=umoci", "--config.user"];
        umoci(
            &[&config[..], &["1000:1000", "--config.workingdir", "/home/app", "--config.label", "made.by=umoci"]]
                .concat(),
        )?;
        fs::remove_dir_all(directory.join("bundle")).map_err(failed(directory))?;
        umoci(&["unpack", "--image", "oci:four", "bundle"])?;
        let skopeo = |from: &str, to: &str| {
            let mut command = Command::new("skopeo");
            command.args(["--insecure-policy", "copy", "--quiet", from, to]).current_dir(directory);
            command::tool(&mut command, LIMIT)
        };
        skopeo("oci:oci:four", "oci-archive:oci.tar:layered:four")?;
        skopeo("oci:oci:four", "docker-archive:docker.tar:layered:docker")?;
        Ok(())
    })?;
    Ok(Layered { rootfs: directory.join("bundle/rootfs"), directory })
}

/// By buildah, with Docker's media types: the archives `docker.tar` and `oci.tar`.
///
/// # Errors
/// In words for [`crate::skip`].
pub fn buildah() -> Result<Layered> {
    if let Some(reason) = missing(&["buildah"]) {
        return Err(reason);
    }
    let base = images::busybox();
    let directory = lock::cached("buildah", &format!("3 {}", base.display()), |directory| {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let root = directory.join("storage");
        let policy = directory.join("policy.json");
        fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).map_err(failed(&policy))?;
        let buildah = |words: &[&str]| {
            let mut command = Command::new("buildah");
            command
                .args(["--storage-driver", "vfs", "--root"])
                .arg(&root)
                .arg("--runroot")
                .arg(directory.join("runroot"));
            command::tool(command.args(words).current_dir(directory), LIMIT)
        };
        let container = buildah(&["from", "scratch"])?;
        let rootfs = PathBuf::from(buildah(&["mount", &container])?);
        command::tool(Command::new("tar").arg("-xf").arg(&base).arg("-C").arg(&rootfs), LIMIT)?;
        first_layer(&rootfs).map_err(failed(&rootfs))?;
        let commit = |container: &str, to: &str| {
            buildah(&["commit", "--quiet", "--signature-policy", "policy.json", "--format", "docker", container, to])
        };
        commit(&container, "layered:base")?;
        let container =
            buildah(&["from", "--signature-policy", "policy.json", "--pull-never", "localhost/layered:base"])?;
        let rootfs = PathBuf::from(buildah(&["mount", &container])?);
        second_layer(&rootfs).map_err(failed(&rootfs))?;
        buildah(&["config", "--cmd", "/bin/sh", "--env", "FROM=buildah", &container])?;
        commit(&container, "docker-archive:docker.tar:layered:buildah")?;
        buildah(&[
            "commit",
            "--quiet",
            "--signature-policy",
            "policy.json",
            &container,
            "oci-archive:oci.tar:layered:buildah",
        ])?;
        let copy = directory.join("rootfs");
        command::tool(Command::new("cp").arg("-a").arg(&rootfs).arg(&copy), LIMIT)?;
        buildah(&["umount", "--all"])?;
        fs::remove_dir_all(&root).map_err(failed(&root))
    })?;
    Ok(Layered { rootfs: directory.join("rootfs"), directory })
}

/// What images hold that is not simple.
fn first_layer(root: &Path) -> std::io::Result<()> {
    let write = |name: &str, content: &str, mode: u32| {
        fs::write(root.join(name), content)?;
        fs::set_permissions(root.join(name), Permissions::from_mode(mode))
    };
    let directory = |name: &str, mode: u32| {
        DirBuilder::new().recursive(true).mode(mode).create(root.join(name))?;
        fs::set_permissions(root.join(name), Permissions::from_mode(mode))
    };
    directory("stays/deep/deeper", 0o755)?;
    directory("goes/with/all", 0o755)?;
    directory("turned-opaque/old", 0o755)?;
    directory("becomes-a-file", 0o711)?;
    directory("sticky", 0o1777)?;
    directory("set-group", 0o2775)?;
    write("stays/one", "the first layer's\n", 0o640)?;
    write("stays/replaced", "old\n", 0o644)?;
    write("stays/removed", "gone\n", 0o644)?;
    write("goes/with/all/of-it", "gone\n", 0o644)?;
    write("turned-opaque/old/file", "hidden\n", 0o644)?;
    write("turned-opaque/top", "hidden\n", 0o644)?;
    write("becomes-a-directory", "a file\n", 0o600)?;
    write("set-user", "#!/bin/sh\n", 0o4755)?;
    write("no-rights", "nobody's\n", 0)?;
    write("name with blanks\tand\\slashes", "odd\n", 0o644)?;
    write("sn\u{e9}e \u{96ea}", "unicode\n", 0o644)?;
    write(&format!("stays/{}", "n".repeat(200)), "a long name\n", 0o644)?;
    let deep = format!("stays/{}", vec!["d".repeat(60); 5].join("/"));
    directory(&deep, 0o755)?;
    write(&format!("{deep}/{}", "f".repeat(120)), "a long path\n", 0o644)?;
    fs::hard_link(root.join("stays/one"), root.join("stays/one-again"))?;
    fs::hard_link(root.join("stays/one"), root.join("stays/deep/one-more"))?;
    symlink("one", root.join("stays/relative"))?;
    symlink("/stays/one", root.join("stays/absolute"))?;
    symlink("../../../../../../etc/passwd", root.join("stays/deep/far-up"))?;
    symlink("nothing/here", root.join("stays/dangling"))?;
    symlink("l".repeat(180), root.join("stays/long-target"))?;
    let sparse = fs::File::create(root.join("stays/sparse"))?;
    sparse.set_len(3 << 20)?;
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 1 << 20)?;
    lsetxattr(root.join("stays/one"), "user.note", b"an attribute\x01", XattrFlags::empty())?;
    lsetxattr(root.join("sticky"), "user.directory", b"yes", XattrFlags::empty())?;
    mknodat(CWD, root.join("stays/null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3))?;
    mknodat(CWD, root.join("stays/disk"), FileType::BlockDevice, Mode::from_raw_mode(0o660), makedev(8, 0))?;
    mknodat(CWD, root.join("stays/fifo"), FileType::Fifo, Mode::from_raw_mode(0o644), 0)?;
    let own = |name: &str, uid: u32, gid: u32| {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        chownat(CWD, root.join(name), uid, gid, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
    };
    own("stays/replaced", 1000, 1000)?;
    own("stays/relative", 33, 50)?;
    own("set-group", 65_534, 65_534)?;
    Ok(())
}

/// Removes, replaces, and turns one kind into another.
fn second_layer(root: &Path) -> std::io::Result<()> {
    fs::remove_file(root.join("stays/removed"))?;
    fs::remove_dir_all(root.join("goes"))?;
    fs::remove_file(root.join("stays/replaced"))?;
    fs::write(root.join("stays/replaced"), "new\n")?;
    fs::remove_dir(root.join("becomes-a-file"))?;
    fs::write(root.join("becomes-a-file"), "a file now\n")?;
    fs::remove_file(root.join("becomes-a-directory"))?;
    fs::create_dir(root.join("becomes-a-directory"))?;
    fs::write(root.join("becomes-a-directory/inside"), "a directory now\n")?;
    fs::set_permissions(root.join("stays/deep"), Permissions::from_mode(0o700))?;
    fs::write(root.join("stays/deep/added"), "second\n")?;
    fs::hard_link(root.join("stays/deep/added"), root.join("stays/deep/added-again"))
}

/// An opaque directory, a whiteout of what is not there, and one entry twice: only a layer written by hand has all of them.
fn opaque_layer() -> Vec<u8> {
    let mut layer = archive::builder();
    archive::add(&mut layer, EntryType::Directory, "turned-opaque/", 0o750);
    archive::file(&mut layer, "turned-opaque/.wh..wh..opq", 0o644, b"");
    archive::file(&mut layer, "turned-opaque/new", 0o644, b"all there is\n");
    archive::file(&mut layer, "stays/.wh.never-was", 0o644, b"");
    archive::file(&mut layer, "stays/.wh.dangling", 0o644, b"");
    archive::file(&mut layer, "twice", 0o644, b"first\n");
    archive::file(&mut layer, "twice", 0o600, b"second\n");
    archive::link(&mut layer, EntryType::Link, "turned-opaque/linked", "twice");
    archive::finish(layer)
}
