//! Root file systems that tests run: busybox with a program of ours, and a Debian.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tar::EntryType;

use crate::archive::{self, Builder};
use crate::{command, lock, program};

const PROBER: &str = include_str!("prober.c");

/// Users of the image `busybox`.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    app:x:1000:1000:app:/home/app:/bin/sh\n\
    1234:x:0:0:a name made of digits:/root:/bin/sh\n\
    web:x:33:33:web:/srv:/bin/sh\n";
/// Groups of the image `busybox`.
const GROUP: &str = "root:x:0:\napp:x:1000:\nweb:x:33:app\nstaff:x:50:app\ntty:x:5:\n";

/// The program of ours that tries system calls, linked statically.
///
/// # Errors
/// In words for [`crate::skip`], when there is no C compiler.
pub fn prober() -> Result<PathBuf, String> {
    compiled("prober", PROBER)
}

/// A program in C, linked statically.
///
/// # Errors
/// In words for [`crate::skip`], when there is no C compiler.
pub fn compiled(name: &str, source: &str) -> Result<PathBuf, String> {
    lock::cached(name, source, |path| {
        let file = path.with_extension("c");
        fs::write(&file, source).map_err(|error| format!("{}: {error}", file.display()))?;
        let compiler = program("cc").ok_or("cc is not installed")?;
        let mut command = Command::new(compiler);
        command.args(["-O1", "-Wall", "-Werror", "-static", "-o"]).arg(path).arg(&file);
        command::tool(&mut command, Duration::from_secs(60)).map(|_| ())
    })
}

/// The archive of a root file system: busybox, two users, and `/bin/prober` (also as the set-user-id `/bin/prober-suid`).
///
/// # Panics
/// Without busybox-static or a C compiler: no test could say anything.
pub fn busybox() -> PathBuf {
    let busybox = program("busybox").expect("busybox is not installed: apt-get install busybox-static");
    let prober = prober().expect("a C compiler builds the program that tries system calls");
    let ingredients = format!("4 {PASSWD}{GROUP}{}{}", prober.display(), busybox.display());
    let made = lock::cached("busybox.tar", &ingredients, |path| {
        let list = command::tool(Command::new(&busybox).arg("--list"), Duration::from_secs(10))?;
        let read = |path: &Path| fs::read(path).map_err(|error| format!("{}: {error}", path.display()));
        let mut archive = archive::builder();
        for directory in ["bin/", "etc/", "home/", "usr/", "usr/bin/", "srv/", "data/"] {
            archive::add(&mut archive, EntryType::Directory, directory, 0o755);
        }
        archive::add(&mut archive, EntryType::Directory, "root/", 0o700);
        archive::file(&mut archive, "bin/busybox", 0o755, &read(&busybox)?);
        for applet in list.lines().filter(|applet| *applet != "busybox" && !applet.is_empty()) {
            archive::link(&mut archive, EntryType::Symlink, &format!("bin/{applet}"), "busybox");
        }
        let prober = read(&prober)?;
        archive::file(&mut archive, "bin/prober", 0o755, &prober);
        archive::file(&mut archive, "bin/prober-suid", 0o6755, &prober);
        archive::file(&mut archive, "bin/not-executable", 0o644, b"#!/bin/sh\n");
        archive::file(&mut archive, "etc/passwd", 0o644, PASSWD.as_bytes());
        archive::file(&mut archive, "etc/group", 0o644, GROUP.as_bytes());
        archive::file(&mut archive, "etc/shadow", 0o600, b"root:*:1::::::\n");
        owned(&mut archive, "home/app/", 1000);
        fs::write(path, archive::finish(archive)).map_err(|error| format!("{}: {error}", path.display()))
    });
    made.expect("the image busybox can be made")
}

fn owned(archive: &mut Builder, name: &str, id: u64) {
    let mut header = archive::header(EntryType::Directory, name, 0o755, 0);
    header.set_uid(id);
    header.set_gid(id);
    header.set_cksum();
    archive.append(&header, std::io::empty()).expect("memory");
}

/// The archive of a minimal Debian, by `mmdebstrap` from the mirror that this machine installs from.
///
/// # Errors
/// In words for [`crate::skip`].
pub fn debian() -> Result<PathBuf, String> {
    let mmdebstrap = program("mmdebstrap").ok_or("mmdebstrap is not installed")?;
    lock::cached("debian.tar", "bookworm 1", |path| {
        let mut command = Command::new(mmdebstrap);
        command.args(["--quiet", "--variant=minbase", "--format=tar", "bookworm"]).arg(path);
        command::tool(&mut command, Duration::from_secs(300)).map(|_| ())
    })
}
