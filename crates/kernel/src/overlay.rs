//! Overlay file systems: read-only layers, shared by all, and perhaps a writable directory on top.
//!
//! The result is a detached mount, and so are the layers beneath it: nothing appears in the host's mount table, and
//! nothing is left to unmount when the process that held it is killed.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string};

use crate::error::{Call, Error, Result};
use crate::mount::{self, Attributes};
use crate::workshop;

/// The writable part of an overlay.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// Where changes go.
    pub directory: &'a Path,
    /// An empty directory beside it, for the kernel's own use.
    pub work: &'a Path,
    /// Nothing is flushed to disk for it, not even at its end: for what goes with its container. An overlay like that
    /// can't be made a second time from the same directories.
    pub volatile: bool,
}

/// What an overlay is made of.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// The read-only layers, topmost first. Without `upper` there must be two or more (the kernel's rule).
    pub layers: &'a [PathBuf],
    /// The writable part, if any.
    pub upper: Option<Upper<'a>>,
    /// A user namespace through whose maps the layers' owners are shown.
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

    /// The upper and the work directory, as they are: they are never idmapped. Overlayfs makes its own entries there with
    /// the rights of whoever mounts, whose ids an idmapped mount would not have; so what is in the upper directory belongs
    /// to the ids that the container's are outside.
    ///
    /// They are seen through a mount of their own, so that the host's path to them does not show inside. It comes first:
    /// the others are of no use once it is closed.
    fn open_upper(&self) -> Result<Option<[OwnedFd; 3]>> {
        let Some(upper) = self.upper else {
            return Ok(None);
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let parent = upper.directory.parent().unwrap_or(Path::new("/"));
        let parent = rustix::fs::open(parent, flags, Mode::empty()).call(|| format!("open({parent:?})"))?;
        let mount = mount::clone_tree(&parent, false)?;
        let open = |path: &Path| -> Result<OwnedFd> {
            let name = path.file_name().ok_or_else(|| Error::new(format!("open({path:?})"), Errno::INVAL))?;
            rustix::fs::openat(&mount, name, flags, Mode::empty()).call(|| format!("openat({path:?})"))
        };
        let (directory, work) = (open(upper.directory)?, open(upper.work)?);
        Ok(Some([mount, directory, work]))
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

    fn create_from_descriptors(&self, layers: &[OwnedFd], upper: Option<&[OwnedFd; 3]>) -> Result<OwnedFd> {
        let context = mount::open_context("overlay")?;
        let set = |key: &str, fd: &OwnedFd| {
            fsconfig_set_fd(&context, key, fd)
                .call(|| mount::explain(&context, &format!("fsconfig(overlay, {key:?}, [{}])", fd.as_raw_fd())))
        };
        for layer in layers {
            set("lowerdir+", layer)?;
        }
        if let Some([_, directory, work]) = upper {
            set("upperdir", directory)?;
            set("workdir", work)?;
        }
        self.finish(&context)
    }

    fn finish(&self, context: &OwnedFd) -> Result<OwnedFd> {
        // Linux 5.10.
        if self.upper.is_some_and(|upper| upper.volatile) {
            fsconfig_set_flag(context, "volatile")
                .call(|| mount::explain(context, "fsconfig(overlay, \"volatile\")"))?;
        }
        mount::finish("overlay", context, self.attributes)
    }

    /// For kernels that want layers as paths of mounts that are attached: in a process and mount namespace of its own.
    fn create_in_own_namespace(&self) -> Result<OwnedFd> {
        workshop::in_own_mount_namespace(|place| self.create_attached(place))
    }

    fn create_attached(&self, place: &OwnedFd) -> Result<OwnedFd> {
        let self_fd =
            rustix::fs::open("/proc/self/fd", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .call(|| "open(\"/proc/self/fd\")".into())?;
        // All are stacked on one place, and found again through their descriptors.
        let attach = |path: &Path| -> Result<OwnedFd> {
            let tree = self.detached(path)?;
            mount::attach(&tree, place)?;
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
            for (key, path) in [("upperdir", upper.directory), ("workdir", upper.work)] {
                let path = path
                    .to_str()
                    .ok_or_else(|| Error::new(format!("fsconfig(overlay, {key:?}, {path:?})"), Errno::INVAL))?;
                set(key, path)?;
            }
        }
        self.finish(&context)
    }
}
