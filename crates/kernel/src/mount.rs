//! Mounts with the new mount API: made detached, given their attributes, and attached when they are complete.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, fspick, move_mount,
    open_tree,
};

use crate::error::{Call, Error, Result, last_errno};

/// Attributes of a mount (`MOUNT_ATTR_*` of `mount_setattr(2)`).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// Nothing can be written through this mount.
    pub const READ_ONLY: Self = Self(0x1);
    /// Set-user-id bits and file capabilities have no effect.
    pub const NO_SUID: Self = Self(0x2);
    /// Device files can't be opened.
    pub const NO_DEV: Self = Self(0x4);
    /// Programs can't be executed, nor files mapped as code.
    pub const NO_EXEC: Self = Self(0x8);
    /// Access times are never updated.
    pub const NO_ATIME: Self = Self(0x10);
    /// Access times are always updated.
    pub const STRICT_ATIME: Self = Self(0x20);
    /// All modes of access times: among what is cleared it means that they are updated relative to changes, the kernel's
    /// default (`MOUNT_ATTR_RELATIME` is no bit of its own).
    pub const ACCESS_TIMES: Self = Self(0x70);
    /// Access times of directories are not updated.
    pub const NO_DIRATIME: Self = Self(0x80);
    /// Symbolic links are not followed (Linux 5.10).
    pub const NO_SYMFOLLOW: Self = Self(0x20_0000);
    const IDMAP: u64 = 0x10_0000;

    /// No attribute.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in both sets.
    #[must_use]
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::ops::BitOr for Attributes {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Attributes {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// How mount events travel between a mount and its copies (`mount_namespaces(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Neither in nor out.
    Private,
    /// In, not out.
    Slave,
    /// In and out.
    Shared,
    /// As private, and not to be bound elsewhere.
    Unbindable,
}

/// Makes a new instance of a file system as a detached mount: `fsopen`, one `fsconfig` for each option (a key alone, or
/// a key and a value), `fsmount`.
///
/// # Errors
/// What the kernel answers, with the option it refused; its own words, when it has some, are in the text.
pub fn new(filesystem: &str, options: &[(&str, Option<&str>)], attributes: Attributes) -> Result<OwnedFd> {
    let context = open_context(filesystem)?;
    for (key, value) in options {
        match value {
            None => fsconfig_set_flag(&context, *key),
            Some(value) => fsconfig_set_string(&context, *key, *value),
        }
        .call(|| explain(&context, &format!("fsconfig({filesystem}, {key:?}, {value:?})")))?;
    }
    finish(filesystem, &context, attributes)
}

/// Opens a file system context (`fsopen(2)`).
pub(crate) fn open_context(filesystem: &str) -> Result<OwnedFd> {
    fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC).call(|| format!("fsopen({filesystem:?})"))
}

/// Creates the file system a context describes, and a detached mount of it.
pub(crate) fn finish(filesystem: &str, context: &OwnedFd, attributes: Attributes) -> Result<OwnedFd> {
    fsconfig_create(context).call(|| explain(context, &format!("fsconfig({filesystem}, FSCONFIG_CMD_CREATE)")))?;
    // Only the low bits fit fsmount's 32-bit attributes; all attributes of this type do.
    let flags = MountAttrFlags::from_bits_retain(u32::try_from(attributes.0).unwrap_or(0));
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
        .call(|| explain(context, &format!("fsmount({filesystem}, {attributes:?})")))
}

/// Adds what the kernel said of a failed configuration (`fscontext` messages: "e overlay: …") to the text of the call.
pub(crate) fn explain(context: impl AsFd, call: &str) -> String {
    let mut text = call.to_owned();
    let mut buffer = [0_u8; 512];
    while let Ok(length @ 1..) = rustix::io::read(context.as_fd(), &mut buffer) {
        text.push_str(" (kernel: ");
        text.push_str(String::from_utf8_lossy(&buffer[..length]).trim_end());
        text.push(')');
    }
    text
}

/// Changes the superblock options of the mounted file system at a descriptor (`fspick`, `FSCONFIG_CMD_RECONFIGURE`).
///
/// # Errors
/// `EINVAL` when nothing is mounted just there; what the file system answers, with the option it refused.
pub fn reconfigure(mount: impl AsFd, options: &[(&str, Option<&str>)]) -> Result<()> {
    let fd = mount.as_fd();
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = fspick(fd, "", flags).call(|| format!("fspick([{}])", fd.as_raw_fd()))?;
    for (key, value) in options {
        match value {
            None => fsconfig_set_flag(&context, *key),
            Some(value) => fsconfig_set_string(&context, *key, *value),
        }
        .call(|| explain(&context, &format!("fsconfig({key:?}, {value:?})")))?;
    }
    fsconfig_reconfigure(&context).call(|| explain(&context, "fsconfig(FSCONFIG_CMD_RECONFIGURE)"))
}

/// A detached copy of what a path of the caller's own names: a mount, or a part of one. With `recursive`, with the mounts
/// below it; with `follow` false, of a symbolic link itself.
///
/// # Errors
/// `ENOENT` and the like; `EINVAL` when it is on a mount that can't be bound.
pub fn clone_path(source: &std::path::Path, recursive: bool, follow: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if !follow {
        flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    }
    open_tree(rustix::fs::CWD, source, flags).call(|| format!("open_tree({source:?}, {flags:?})"))
}

/// A detached copy of the mount at a descriptor; with `recursive`, of the mounts below it too.
pub fn clone_tree(source: impl AsFd, recursive: bool) -> Result<OwnedFd> {
    let fd = source.as_fd();
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(fd, "", flags).call(|| format!("open_tree([{}], {flags:?})", fd.as_raw_fd()))
}

/// A detached copy of what `source` names in the detached mount `tree`, which may be unusable afterwards.
///
/// Before Linux 6.15 only an attached mount is copied, so that `tree` is attached for a moment where nobody sees it.
///
/// # Errors
/// `EDEADLK` when that is needed and this process has other threads; else what the kernel answers.
pub fn clone_of_detached(tree: impl AsFd, source: impl AsFd) -> Result<OwnedFd> {
    match clone_tree(source.as_fd(), false) {
        Err(error) if error.errno() == Errno::INVAL => crate::workshop::in_own_mount_namespace(|place| {
            attach(tree.as_fd(), place)?;
            clone_tree(source.as_fd(), false)
        }),
        other => other,
    }
}

/// Attaches a detached mount (or moves an attached one) over what a descriptor refers to. The target is a descriptor, so
/// nothing that is renamed or linked meanwhile changes where the mount lands.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let (from, to) = (mount.as_fd(), target.as_fd());
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(from, "", to, "", flags).call(|| format!("move_mount([{}], [{}])", from.as_raw_fd(), to.as_raw_fd()))
}

/// `struct mount_attr` of `mount_setattr(2)` (Linux 5.12).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn mount_setattr(mount: BorrowedFd<'_>, attr: &MountAttr, recursive: bool) -> Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is an empty NUL-terminated string, and `attr` a valid mount_attr of the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if result < 0 {
        let call = format!(
            "mount_setattr([{}], {{set={:#x}, clr={:#x}, propagation={:#x}}}{})",
            mount.as_raw_fd(),
            attr.attr_set,
            attr.attr_clr,
            attr.propagation,
            if recursive { ", AT_RECURSIVE" } else { "" }
        );
        return Err(Error::new(call, last_errno()));
    }
    Ok(())
}

/// A change of a mount, made in one step (`mount_setattr(2)`).
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Attributes to set.
    pub set: Attributes,
    /// Attributes to clear.
    pub clear: Attributes,
    /// How mount events are to travel.
    pub propagation: Option<Propagation>,
    /// A user namespace through whose maps the mount is to show its owners (an idmapped mount). It must be detached and
    /// never have been attached.
    pub idmap: Option<BorrowedFd<'a>>,
    /// Whether all mounts below are changed too, all or none.
    pub recursive: bool,
}

impl Change<'_> {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.clear.is_empty() && self.propagation.is_none() && self.idmap.is_none()
    }
}

/// Changes a mount.
///
/// # Errors
/// With an idmap `EINVAL` when the file system can't be idmapped on this kernel, or is idmapped already; `EPERM` when a
/// user namespace that does not own the mount wants to clear what its owner has set.
pub fn change(mount: impl AsFd, change: &Change<'_>) -> Result<()> {
    let mut attr_clr = change.clear.0;
    if change.set.0 & Attributes::ACCESS_TIMES.0 != 0 {
        // The access time modes are one field: it must be cleared to be changed.
        attr_clr |= Attributes::ACCESS_TIMES.0;
    }
    let (mut attr_set, mut userns_fd) = (change.set.0, 0);
    if let Some(namespace) = change.idmap {
        attr_set |= Attributes::IDMAP;
        userns_fd =
            u64::try_from(namespace.as_raw_fd()).map_err(|_| Error::new("mount_setattr(idmap)", Errno::BADF))?;
    }
    let propagation = match change.propagation {
        None => 0,
        Some(Propagation::Unbindable) => 1 << 17,
        Some(Propagation::Private) => 1 << 18,
        Some(Propagation::Slave) => 1 << 19,
        Some(Propagation::Shared) => 1 << 20,
    };
    mount_setattr(mount.as_fd(), &MountAttr { attr_set, attr_clr, propagation, userns_fd }, change.recursive)
}

/// Sets and clears attributes of a mount; with `recursive`, of all below it, all or none.
pub fn set_attributes(mount: impl AsFd, set: Attributes, clear: Attributes, recursive: bool) -> Result<()> {
    change(mount, &Change { set, clear, recursive, ..Change::default() })
}

/// Makes a detached mount show its owners through the maps of a user namespace (an idmapped mount), and sets further
/// attributes in the same step.
///
/// # Errors
/// `EINVAL` when the file system can't be idmapped on this kernel, or is idmapped already.
pub fn set_idmap(mount: impl AsFd, namespace: BorrowedFd<'_>, set: Attributes, recursive: bool) -> Result<()> {
    change(mount, &Change { set, idmap: Some(namespace), recursive, ..Change::default() })
}

/// Sets how mount events travel.
pub fn set_propagation(mount: impl AsFd, propagation: Propagation, recursive: bool) -> Result<()> {
    change(mount, &Change { propagation: Some(propagation), recursive, ..Change::default() })
}

/// Makes the mount that the working directory is the root of the root of the mount namespace, and takes the old root
/// away with everything on it (`pivot_root(".", ".")`, `pivot_root(2)`).
///
/// # Errors
/// `EINVAL` when the working directory is not the root of a mount, or propagation is shared.
pub fn pivot_to_working_directory() -> Result<()> {
    rustix::process::pivot_root(".", ".").call(|| "pivot_root(\".\", \".\")".into())?;
    // The old root is now stacked on the new one at "/", and "." still is the new one: see NOTES of pivot_root(2).
    rustix::mount::unmount(".", UnmountFlags::DETACH).call(|| "umount2(\".\", MNT_DETACH)".into())?;
    rustix::process::chdir("/").call(|| "chdir(\"/\")".into())
}

/// Makes the working directory the root directory of the process. Nothing is mounted or unmounted: what else is in the
/// mount namespace stays there.
pub fn change_root_to_working_directory() -> Result<()> {
    rustix::process::chroot(".").call(|| "chroot(\".\")".into())?;
    rustix::process::chdir("/").call(|| "chdir(\"/\")".into())
}

/// Takes away the mount at a path of this process's own mount namespace, at once from the tree and for good when its
/// last user is gone.
pub fn detach(path: &std::path::Path) -> Result<()> {
    rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .call(|| format!("umount2({path:?}, MNT_DETACH|UMOUNT_NOFOLLOW)"))
}
