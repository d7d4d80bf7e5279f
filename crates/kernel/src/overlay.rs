//! Overlay file systems: read-only layers, shared by all, and perhaps a writable directory on top.
//!
//! The result is a detached mount, and so are the layers beneath it: nothing appears in the host's mount table, and
//! nothing is left to unmount when the process that held it is killed.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string};

use crate::error::{Call, Error, Result};
use crate::mount::{self, Attributes};
use crate::namespace::{self, Namespaces};
use crate::process::{self, Forked};
use crate::socket;

/// The writable part of an overlay.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Where changes go.
    pub directory: &'a Path,
    /// An empty directory on the same file system, for the kernel's own use.
    pub work: &'a Path,
}

/// What an overlay is made of.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// The read-only layers, topmost first. Without `upper` there must be two or more (the kernel's rule).
    pub layers: &'a [PathBuf],
    /// The writable part, if any.
    pub upper: Option<Upper<'a>>,
    /// A user namespace through whose maps the layers' and the upper's owners are shown.
    pub idmap: Option<BorrowedFd<'a>>,
    /// Attributes of the mount made.
    pub attributes: Attributes,
}

impl Overlay<'_> {
    /// Makes the file system as a detached mount.
    ///
    /// Layers are given to the kernel as descriptors (Linux 6.13) of detached mounts (6.15). On an older kernel the work
    /// is done by a short-lived process in a mount namespace of its own, where the layers can be attached.
    ///
    /// # Errors
    /// `EINVAL` from `mount_setattr` where the layers' file system can't be idmapped, or, when the overlay is created,
    /// where this kernel's overlayfs can't take idmapped layers (before 5.19).
    pub fn mount(&self) -> Result<OwnedFd> {
        let layers = self.open_layers()?;
        let upper = self.open_upper()?;
        match self.create_from_descriptors(&layers, upper.as_ref()) {
            Err(error) if matches!(error.errno(), Errno::INVAL | Errno::BADF | Errno::OPNOTSUPP) => {
                self.create_in_own_namespace().map_err(|second| {
                    Error::new(format!("{error}; then, with the layers attached: {}", second.call()), second.errno())
                })
            }
            other => other,
        }
    }

    fn open_layers(&self) -> Result<Vec<OwnedFd>> {
        self.layers.iter().map(|path| self.detached(path)).collect()
    }

    /// The mount through which the upper directory is seen, and the two directories opened through it.
    fn open_upper(&self) -> Result<Option<(OwnedFd, OwnedFd)>> {
        let Some(upper) = self.upper else {
            return Ok(None);
        };
        // Both must be on one mount: their parent is what is cloned.
        let parent = upper.directory.parent().unwrap_or(Path::new("/"));
        let mount = self.detached(parent)?;
        let open = |path: &Path| -> Result<OwnedFd> {
            let name = path.file_name().ok_or_else(|| Error::new(format!("open({path:?})"), Errno::INVAL))?;
            rustix::fs::openat(
                &mount,
                name,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
            .call(|| format!("openat({path:?})"))
        };
        Ok(Some((open(upper.directory)?, open(upper.work)?)))
    }

    fn detached(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty()).call(|| format!("open({path:?})"))?;
        let Some(namespace) = self.idmap else {
            return mount::clone_tree(&directory, false);
        };
        let tree = mount::clone_tree(&directory, false)?;
        mount::set_idmap(&tree, namespace, Attributes::empty(), false)
            .map_err(|error| Error::new(format!("{} on {path:?}", error.call()), error.errno()))?;
        Ok(tree)
    }

    fn create_from_descriptors(&self, layers: &[OwnedFd], upper: Option<&(OwnedFd, OwnedFd)>) -> Result<OwnedFd> {
        let context = mount::open_context("overlay")?;
        let set = |key: &str, fd: &OwnedFd| {
            fsconfig_set_fd(&context, key, fd)
                .call(|| mount::explain(&context, &format!("fsconfig(overlay, {key:?}, [{}])", fd.as_raw_fd())))
        };
        for layer in layers {
            set("lowerdir+", layer)?;
        }
        if let Some((directory, work)) = upper {
            set("upperdir", directory)?;
            set("workdir", work)?;
        }
        self.finish(&context)
    }

    fn finish(&self, context: &OwnedFd) -> Result<OwnedFd> {
        // What an overlay holds is gone with its container or can be made again: no fsync of each file (Linux 5.10).
        if self.upper.is_some() {
            fsconfig_set_flag(context, "volatile")
                .call(|| mount::explain(context, "fsconfig(overlay, \"volatile\")"))?;
        }
        mount::finish("overlay", context, self.attributes)
    }

    /// For kernels that want layers as paths of mounts that are attached: in a process and mount namespace of its own.
    fn create_in_own_namespace(&self) -> Result<OwnedFd> {
        let (mine, theirs) = socket::pair()?;
        match process::fork()? {
            Forked::Child => {
                let status = match self.create_attached() {
                    Ok(fd) => socket::send(&theirs, &[], &[fd.as_fd()]).is_err(),
                    Err(error) => socket::send(&theirs, error_text(&error).as_bytes(), &[]).is_err(),
                };
                process::exit_now(u8::from(status));
            }
            Forked::Parent(child) => {
                drop(theirs);
                let received = socket::receive(&mine, 4096);
                process::wait(&child.pidfd)?;
                let message = received?;
                message.descriptors.into_iter().next().ok_or_else(|| parse_error(&message.data))
            }
        }
    }

    fn create_attached(&self) -> Result<OwnedFd> {
        namespace::unshare(Namespaces::MOUNT)?;
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call(|| "open(\"/\")".into())?;
        mount::set_propagation(&root, mount::Propagation::Private, true)?;
        // All are stacked on one place that surely exists, and found again through their descriptors.
        let place = rustix::fs::open("/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .call(|| "open(\"/proc\")".into())?;
        let self_fd =
            rustix::fs::open("/proc/self/fd", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .call(|| "open(\"/proc/self/fd\")".into())?;
        let attach = |path: &Path| -> Result<OwnedFd> {
            let tree = self.detached(path)?;
            mount::attach(&tree, &place)?;
            Ok(tree)
        };
        // Paths are looked up from the working directory: /proc itself is about to be covered.
        rustix::process::fchdir(&self_fd).call(|| "fchdir(/proc/self/fd)".into())?;
        let context = mount::open_context("overlay")?;
        let set = |key: &str, value: &str| {
            fsconfig_set_string(&context, key, value)
                .call(|| mount::explain(&context, &format!("fsconfig(overlay, {key:?}, {value:?})")))
        };
        let layers = self.layers.iter().map(|path| attach(path)).collect::<Result<Vec<_>>>()?;
        let stacked: Vec<String> = layers.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
        set("lowerdir", &stacked.join(":"))?;
        if let Some(upper) = self.upper {
            let tree = attach(upper.directory.parent().unwrap_or(Path::new("/")))?;
            for (key, path) in [("upperdir", upper.directory), ("workdir", upper.work)] {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                set(key, &format!("{}/{name}", tree.as_raw_fd()))?;
            }
        }
        self.finish(&context)
    }
}

fn error_text(error: &Error) -> String {
    format!("{} {}", error.raw_os_error(), error.call())
}

fn parse_error(data: &[u8]) -> Error {
    let text = String::from_utf8_lossy(data);
    let (number, call) = text.split_once(' ').unwrap_or(("", &text));
    let errno = number.parse().map_or(Errno::IO, Errno::from_raw_os_error);
    Error::new(call, errno)
}
