//! Mounts of a specification: what is made, bound or changed, and where.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use casemate_kernel::mount::{Attributes, Propagation};
use casemate_kernel::namespace::IdMap;
use oci_spec::runtime::Mount;

pub use super::options::option_names;

use super::options::Options;
use crate::error::Error;

/// One mount to make.
#[derive(Debug)]
pub(crate) struct MountPlan {
    /// The index in the specification, for messages.
    pub(crate) index: usize,
    /// Absolute, without `.` and `..`.
    pub(crate) destination: PathBuf,
    pub(crate) kind: MountKind,
    pub(crate) set: Attributes,
    pub(crate) clear: Attributes,
    /// Attributes of the mount and all below it (`rro` and such).
    pub(crate) set_all: Attributes,
    pub(crate) clear_all: Attributes,
    /// In the order given.
    pub(crate) propagation: Vec<(Propagation, bool)>,
    /// Whether what the image has at the destination is copied into the new file system first.
    pub(crate) copy_up: bool,
    /// Whether a symbolic link at the destination is mounted on, not followed.
    pub(crate) on_link: bool,
}

#[derive(Debug)]
pub(crate) enum MountKind {
    /// A new instance of a file system.
    New { filesystem: String, options: Vec<(String, Option<String>)> },
    /// A path of the host.
    Bind { source: PathBuf, recursive: bool, idmap: Option<MountIdmap>, link: SourceLink },
    /// The container's own control group.
    Cgroup,
    /// What is mounted there already, changed.
    Remount { options: Vec<(String, Option<String>)> },
}

/// What is done with a source that is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceLink {
    Follow,
    /// The link itself is bound.
    Bind,
    /// A link that says the same is made at the destination.
    Copy,
}

#[derive(Debug)]
pub(crate) enum MountIdmap {
    /// The maps of the container's user namespace.
    Container { recursive: bool },
    /// Maps of its own.
    Own { uids: Vec<IdMap>, gids: Vec<IdMap>, recursive: bool },
}

/// What a mount depends on beside its own fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) in_user_namespace: bool,
    /// `linux.mountLabel`, when it counts.
    pub(super) label: Option<&'a str>,
}

pub(super) fn plan(index: usize, mount: &Mount, around: Surroundings<'_>) -> Result<MountPlan, Error> {
    let options = Options::parse(mount.options().as_deref().unwrap_or_default());
    let destination = destination(index, mount.destination())?;
    let kind = kind(index, mount, &options, around)?;
    check_proc(index, &destination, &kind)?;
    let field = format!("mounts[{index}].options");
    if options.copy_up && !matches!(&kind, MountKind::New { filesystem, .. } if filesystem == "tmpfs") {
        return Err(Error::field(&field, "tmpcopyup is for a tmpfs"));
    }
    let links = options.copy_link || options.keep_source_link || options.keep_destination_link;
    if links && !matches!(kind, MountKind::Bind { .. }) {
        return Err(Error::field(&field, "copy-symlink, src-nofollow and dest-nofollow are for bind mounts"));
    }
    Ok(MountPlan {
        index,
        destination,
        kind,
        set: options.set,
        clear: options.clear,
        set_all: options.set_all,
        clear_all: options.clear_all,
        propagation: options.propagation,
        copy_up: options.copy_up,
        on_link: options.keep_destination_link,
    })
}

fn kind(index: usize, mount: &Mount, options: &Options, around: Surroundings<'_>) -> Result<MountKind, Error> {
    let field = |part: &str| format!("mounts[{index}].{part}");
    let filesystem = mount.typ().as_deref().unwrap_or("");
    if filesystem.contains('\0') {
        return Err(Error::field(&field("type"), format!("{filesystem:?} has a NUL byte")));
    }
    let source = mount.source().as_deref().filter(|source| !source.as_os_str().is_empty());
    if source.is_some_and(|source| source.as_os_str().as_bytes().contains(&0)) {
        return Err(Error::field(&field("source"), format!("{source:?} has a NUL byte")));
    }
    let bind = options.bind.or((filesystem == "bind").then_some(false));
    let idmap = idmap(index, mount, options.idmap, around.in_user_namespace)?;
    // A bind mount ignores a file system's `key=value` (mount(2)), and so do the other runtimes. A word that is no option
    // at all may be a misspelt one that was to protect something.
    if bind.is_some()
        && let Some((word, _)) = options.data.iter().find(|(_, value)| value.is_none())
    {
        return Err(Error::field(&field("options"), format!("{word:?} is no option of a bind mount")));
    }
    if idmap.is_some() && (bind.is_none() || options.remount) {
        return Err(Error::field(&field("uidMappings"), "only bind mounts are idmapped"));
    }
    if options.remount {
        // What a bind mount shows is not its own: only the mount is changed.
        let superblock = options.superblock.iter().map(|flag| ((*flag).to_owned(), None));
        let options = if bind.is_some() { Vec::new() } else { superblock.chain(options.data.clone()).collect() };
        return Ok(MountKind::Remount { options });
    }
    if let Some(recursive) = bind {
        let source = source.ok_or_else(|| Error::field(&field("source"), "a bind mount needs one"))?.to_owned();
        let link = match (options.copy_link, options.keep_source_link || options.keep_destination_link) {
            (true, true) => {
                return Err(Error::field(&field("options"), "copy-symlink excludes src-nofollow and dest-nofollow"));
            }
            (true, false) => SourceLink::Copy,
            (false, _) if options.keep_source_link => SourceLink::Bind,
            _ => SourceLink::Follow,
        };
        return Ok(MountKind::Bind { source, recursive, idmap, link });
    }
    match filesystem {
        "" => Err(Error::field(&field("type"), "missing")),
        "cgroup" | "cgroup2" => Ok(MountKind::Cgroup),
        _ => Ok(new_file_system(filesystem, source, options, around.label)),
    }
}

fn new_file_system(filesystem: &str, source: Option<&Path>, options: &Options, label: Option<&str>) -> MountKind {
    let mut list: Vec<(String, Option<String>)> = Vec::new();
    if let Some(source) = source.and_then(Path::to_str) {
        // A device that can't be written to is mounted only when the file system itself is read-only.
        if source.starts_with('/') && options.set.contains(Attributes::READ_ONLY) {
            list.push(("ro".to_owned(), None));
        }
        list.push(("source".to_owned(), Some(source.to_owned())));
    }
    for flag in ["sync", "dirsync", "lazytime", "mand"] {
        if options.superblock.contains(&flag) {
            list.push((flag.to_owned(), None));
        }
    }
    for (key, value) in &options.data {
        match (filesystem, key.as_str(), value) {
            // Longer than fsconfig(2) takes in one piece (256 bytes); piece by piece since Linux 6.8.
            ("overlay", "lowerdir", Some(layers)) if layers.len() > 255 => {
                list.extend(layers_of(layers).into_iter().map(|layer| ("lowerdir+".to_owned(), Some(layer))));
            }
            _ => list.push((key.clone(), value.clone())),
        }
    }
    // The kernel's own file systems have labels of their own; mqueue takes none when it is mounted.
    if let Some(label) = label
        && !matches!(filesystem, "proc" | "sysfs" | "mqueue")
        && !list.iter().any(|(key, _)| key == "context")
    {
        list.push(("context".to_owned(), Some(label.to_owned())));
    }
    MountKind::New { filesystem: filesystem.to_owned(), options: list }
}

/// The layers of `lowerdir`: separated by colons that have no backslash before them.
fn layers_of(text: &str) -> Vec<String> {
    let (mut layers, mut layer, mut letters) = (Vec::new(), String::new(), text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => layer.extend(letters.next()),
            ':' => layers.push(std::mem::take(&mut layer)),
            letter => layer.push(letter),
        }
    }
    layers.push(layer);
    layers
}

/// The destination as a clean absolute path: a relative one counts from `/` (`config.md`, "mounts").
fn destination(index: usize, given: &Path) -> Result<PathBuf, Error> {
    let field = format!("mounts[{index}].destination");
    if given.as_os_str().is_empty() || given.as_os_str().as_bytes().contains(&0) {
        return Err(Error::field(&field, format!("{given:?} is not a path")));
    }
    let mut clean = PathBuf::from("/");
    for part in given.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    if clean == Path::new("/") {
        return Err(Error::field(&field, format!("{given:?} is the root, which is given by root.path")));
    }
    Ok(clean)
}

/// What may be mounted over in `/proc`: what lxcfs emulates. Anything else could make a program, or this runtime, write
/// to another file than it means (CVE-2019-16884, CVE-2019-19921).
pub(crate) const REPLACEABLE_IN_PROC: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "meminfo",
    "stat",
    "swaps",
    "uptime",
    "loadavg",
    "slabinfo",
    "sys/kernel/ns_last_pid",
    "sys/crypto/fips_enabled",
];

/// Refuses what the name alone tells of; where the name leads is looked at when it is mounted.
fn check_proc(index: usize, destination: &Path, kind: &MountKind) -> Result<(), Error> {
    let Ok(inside) = destination.strip_prefix("/proc") else { return Ok(()) };
    let field = format!("mounts[{index}].destination");
    if inside.as_os_str() == OsStr::new("") {
        let fits = match kind {
            MountKind::New { filesystem, .. } => filesystem == "proc",
            // Whether the source is a procfs is seen when it is opened.
            MountKind::Bind { .. } | MountKind::Remount { .. } => true,
            MountKind::Cgroup => false,
        };
        return if fits { Ok(()) } else { Err(Error::field(&field, "/proc is for a procfs only")) };
    }
    let replaceable = REPLACEABLE_IN_PROC.iter().any(|name| inside == Path::new(name));
    if replaceable || matches!(kind, MountKind::Remount { .. }) {
        return Ok(());
    }
    Err(Error::field(&field, format!("{destination:?} is inside /proc, where only what lxcfs emulates is replaced")))
}

fn idmap(index: usize, mount: &Mount, asked: Option<bool>, user: bool) -> Result<Option<MountIdmap>, Error> {
    let uids = mount.uid_mappings().as_deref().filter(|maps| !maps.is_empty());
    let gids = mount.gid_mappings().as_deref().filter(|maps| !maps.is_empty());
    let field = |name: &str| format!("mounts[{index}].{name}");
    match (uids, gids, asked) {
        (None, None, None) => Ok(None),
        (None, None, Some(recursive)) if user => Ok(Some(MountIdmap::Container { recursive })),
        (None, None, Some(_)) => Err(Error::field(
            &field("uidMappings"),
            "missing: idmap without mappings needs a user namespace of the container",
        )),
        (Some(uids), Some(gids), recursive) => Ok(Some(MountIdmap::Own {
            uids: super::namespaces::convert_maps(&field("uidMappings"), uids)?,
            gids: super::namespaces::convert_maps(&field("gidMappings"), gids)?,
            recursive: recursive.unwrap_or(false),
        })),
        (None, Some(_), _) => Err(Error::field(&field("uidMappings"), "missing beside gidMappings")),
        (Some(_), None, _) => Err(Error::field(&field("gidMappings"), "missing beside uidMappings")),
    }
}

/// A mount of a container without a user namespace, for tests.
#[cfg(test)]
pub(crate) fn planned(json: &str) -> Result<MountPlan, Error> {
    let mount = serde_json::from_str(json).map_err(|error| Error::field("mounts", error))?;
    plan(3, &mount, Surroundings { in_user_namespace: false, label: None })
}

#[cfg(test)]
mod tests;
