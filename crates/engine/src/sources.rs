//! Where mounts come from: paths of the host that were looked at once, and are opened so that they can't be exchanged.

use std::fmt::Write as _;
use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use casemate_posture::{MountKind, Posture};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::bundle::{Source, Sources};
use crate::directories::{self, Directories};
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::record::Record;
use crate::volumes;

/// Replaces the host paths of a posture by what they really are, so that a symbolic link can't dress a sensitive path up.
///
/// # Errors
/// A source that does not exist. Docker would make a missing one as root; whoever mistypes should rather know.
pub(crate) fn resolve(posture: &mut Posture) -> Result<()> {
    for mount in &mut posture.mounts {
        if let MountKind::Bind { source } = &mut mount.kind {
            *source = canonical("bind mount's source", source)?;
        }
    }
    for device in &mut posture.devices {
        device.host = canonical("device", &device.host)?;
    }
    let limits = &mut posture.limits;
    let throttles = [
        &mut limits.device_read_bps,
        &mut limits.device_write_bps,
        &mut limits.device_read_iops,
        &mut limits.device_write_iops,
    ];
    for throttle in throttles.into_iter().flatten() {
        throttle.device = canonical("device", &throttle.device)?;
    }
    Ok(())
}

fn canonical(what: &'static str, path: &str) -> Result<String> {
    let found = fs::canonicalize(path).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "does not exist on the host; casemate makes no directories there (Docker would, as root): make it first"
                    .to_owned()
            }
            _ => error.to_string(),
        };
        Error::invalid(what, path, why)
    })?;
    found
        .into_os_string()
        .into_string()
        .map_err(|_| Error::invalid(what, path, "is, with its links resolved, not UTF-8"))
}

/// What was opened for a start; the descriptors must stay open until the runtime has made its mounts.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) sources: Sources,
    descriptors: Vec<OwnedFd>,
}

/// Opens the sources of a container's mounts, and makes the volumes that do not exist yet.
pub(crate) fn open(directories: &Directories, record: &Record) -> Result<Opened> {
    let mut opened = Opened::default();
    for mount in &record.posture.mounts {
        let path = match &mount.kind {
            MountKind::Bind { source } => PathBuf::from(source),
            MountKind::Volume { name } => {
                let name = name.as_deref().ok_or_else(|| {
                    Error::invalid("volume", mount.target.clone(), "has no name in the container's record")
                })?;
                volumes::ensure(directories, name)?
            }
        };
        let source = opened.open(&path)?;
        opened.sources.mounts.push(source);
    }
    Ok(opened)
}

impl Opened {
    fn open(&mut self, path: &Path) -> Result<Source> {
        // The path had no links when the policy judged it; if it has one now, it is not what was judged.
        let fd = rustix::fs::openat2(
            rustix::fs::CWD,
            path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )
        .map_err(|errno| match errno {
            rustix::io::Errno::LOOP => Error::invalid(
                "bind mount's source",
                path.display().to_string(),
                "has become a symbolic link since the container was created; create it anew",
            ),
            errno => Error::errno("open the mount's source", path, errno),
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| Error::errno("look at", path, errno))?;
        let source = Source {
            path: PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())),
            uid: stat.st_uid,
            gid: stat.st_gid,
        };
        self.descriptors.push(fd);
        Ok(source)
    }
}

/// `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.
///
/// With a read-only root nobody can write to them, so that containers without lines of their own share one file each.
pub(crate) fn write_files(directories: &Directories, run: &Path, record: &Record, sources: &mut Sources) -> Result<()> {
    let writable = !record.posture.read_only_root;
    let network = &record.posture.namespaces.network;
    let own = |name: &str, content: &str| -> Result<PathBuf> {
        let path = run.join(name);
        write_world_readable(&path, content)?;
        Ok(path)
    };
    let shared = |name: &str, content: &str| -> Result<PathBuf> {
        let path = directories.run.join("shared").join(name);
        if !path.exists() {
            directories::make_private(&directories.run.join("shared"))?;
            let temporary = directories.run.join("shared").join(format!("{name}.{}", std::process::id()));
            write_world_readable(&temporary, content)?;
            fs::rename(&temporary, &path).map_err(Error::file("write", &path))?;
        }
        Ok(path)
    };
    if network.is_host() {
        // The host's own answers are right there.
        sources.hosts = Some(own("hosts", &hosts(record, &host_file("/etc/hosts")))?);
        sources.resolv = Some(own("resolv.conf", &resolv(record, &host_file("/etc/resolv.conf")))?);
    } else {
        let plain = record.extra_hosts.is_empty() && !writable;
        let text = hosts(record, LOCALHOST);
        sources.hosts = Some(if plain { shared("hosts", &text)? } else { own("hosts", &text)? });
        let plain = record.dns.is_empty() && !writable;
        let text = resolv(record, "");
        sources.resolv = Some(if plain { shared("resolv.conf", &text)? } else { own("resolv.conf", &text)? });
    }
    sources.hostname = Some(own("hostname", &format!("{}\n", record.hostname))?);
    Ok(())
}

const LOCALHOST: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

fn host_file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn hosts(record: &Record, base: &str) -> String {
    let mut text = base.to_owned();
    for (name, address) in &record.extra_hosts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

fn resolv(record: &Record, base: &str) -> String {
    if record.dns.is_empty() {
        return base.to_owned();
    }
    let mut text = String::new();
    for server in &record.dns {
        let _ = writeln!(text, "nameserver {server}");
    }
    text
}

/// The directories around it are root's alone; inside, everybody may read it.
fn write_world_readable(path: &Path, content: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path)
        .and_then(|mut file| {
            file.write_all(content.as_bytes())?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).map_err(Into::into)
        })
        .map_err(Error::file("write", path))
}

/// The directory that is `/dev/shm` of a shareable container.
pub(crate) fn shared_memory_directory(directories: &Directories, id: &ContainerId) -> PathBuf {
    directories.run_of(id).join("shm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_before_anybody_judges() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("innocent");
        std::os::unix::fs::symlink("/etc", &link).unwrap();
        let mut posture = Posture::hardened();
        posture.mounts.push(casemate_posture::Mount::bind(link.to_str().unwrap(), "/data"));
        resolve(&mut posture).unwrap();
        assert_eq!(posture.mounts[0].source(), Some("/etc"));
        assert!(posture.relaxations().iter().any(|relaxation| relaxation.refused));
    }

    #[test]
    fn a_missing_source_is_refused_with_words() {
        let mut posture = Posture::hardened();
        posture.mounts.push(casemate_posture::Mount::bind("/nonexistent/casemate", "/data"));
        let error = resolve(&mut posture).unwrap_err().to_string();
        assert!(error.contains("make it first"), "{error}");
    }

    #[test]
    fn a_source_that_became_a_link_is_not_opened() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().canonicalize().unwrap().join("data");
        fs::create_dir(&real).unwrap();
        let mut opened = Opened::default();
        assert_eq!(opened.open(&real).unwrap().uid, rustix::process::geteuid().as_raw());
        fs::remove_dir(&real).unwrap();
        std::os::unix::fs::symlink("/etc", &real).unwrap();
        let error = opened.open(&real).unwrap_err().to_string();
        assert!(error.contains("symbolic link"), "{error}");
    }
}
