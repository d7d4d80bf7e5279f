//! Mounts of a specification: fstab-style options as attributes, and what is made or bound.

use std::path::PathBuf;

use casemate_kernel::mount::{Attributes, Propagation};
use casemate_kernel::namespace::IdMap;
use oci_spec::runtime::Mount;

use crate::error::Error;

/// One mount to make.
#[derive(Debug)]
pub(crate) struct MountPlan {
    /// The index in the specification, for messages.
    pub(crate) index: usize,
    pub(crate) destination: PathBuf,
    pub(crate) kind: MountKind,
    pub(crate) set: Attributes,
    pub(crate) clear: Attributes,
    /// Attributes to set on the mount and all below it (`rro` and such).
    pub(crate) set_recursive: Attributes,
    pub(crate) propagation: Option<(Propagation, bool)>,
    /// Whether what the image has at the destination is copied into the new file system first.
    pub(crate) copy_up: bool,
}

#[derive(Debug)]
pub(crate) enum MountKind {
    /// A new instance of a file system.
    New { filesystem: String, options: Vec<(String, Option<String>)> },
    /// A path of the host.
    Bind { source: PathBuf, recursive: bool, idmap: Option<MountIdmap> },
    /// The container's own control group.
    Cgroup,
}

#[derive(Debug)]
pub(crate) enum MountIdmap {
    /// The maps of the container's user namespace.
    Container { recursive: bool },
    /// Maps of its own.
    Own { uids: Vec<IdMap>, gids: Vec<IdMap>, recursive: bool },
}

#[derive(Default)]
struct Options {
    set: Attributes,
    clear: Attributes,
    set_recursive: Attributes,
    propagation: Option<(Propagation, bool)>,
    bind: Option<bool>,
    idmap: Option<bool>,
    copy_up: bool,
    data: Vec<(String, Option<String>)>,
}

pub(super) fn plan(index: usize, mount: &Mount, in_user_namespace: bool) -> Result<MountPlan, Error> {
    let field = |part: &str| format!("mounts[{index}].{part}");
    let destination = mount.destination().clone();
    if !destination.is_absolute() || destination.components().any(|part| part == std::path::Component::ParentDir) {
        return Err(Error::field(&field("destination"), format!("{destination:?} is not an absolute path without ..")));
    }
    let mut options = Options::default();
    for option in mount.options().as_deref().unwrap_or_default() {
        options.add(option);
    }
    let filesystem = mount.typ().as_deref().unwrap_or("");
    let bind = options.bind.or((filesystem == "bind").then_some(false));
    let kind = if let Some(recursive) = bind {
        let source = mount.source().clone().ok_or_else(|| Error::field(&field("source"), "a bind mount needs one"))?;
        if !source.is_absolute() {
            return Err(Error::field(&field("source"), format!("{source:?} is not absolute")));
        }
        if let Some((key, _)) = options.data.first() {
            return Err(Error::field(&field("options"), format!("{key:?}: a bind mount has no data options")));
        }
        MountKind::Bind { source, recursive, idmap: idmap(index, mount, &options, in_user_namespace)? }
    } else if filesystem == "cgroup" || filesystem == "cgroup2" {
        MountKind::Cgroup
    } else if filesystem.is_empty() || filesystem.contains('\0') {
        return Err(Error::field(&field("type"), "missing"));
    } else {
        if options.idmap.is_some() || mount.uid_mappings().is_some() {
            return Err(Error::field(&field("uidMappings"), "only bind mounts are idmapped"));
        }
        let mut data = options.data;
        if let Some(source) = mount.source().as_ref().and_then(|source| source.to_str()).filter(|s| !s.is_empty()) {
            data.push(("source".to_owned(), Some(source.to_owned())));
        }
        MountKind::New { filesystem: filesystem.to_owned(), options: data }
    };
    Ok(MountPlan {
        index,
        destination,
        kind,
        set: options.set,
        clear: options.clear,
        set_recursive: options.set_recursive,
        propagation: options.propagation,
        copy_up: options.copy_up,
    })
}

fn idmap(index: usize, mount: &Mount, options: &Options, in_user_namespace: bool) -> Result<Option<MountIdmap>, Error> {
    let field = format!("mounts[{index}].uidMappings");
    let (uids, gids) = (mount.uid_mappings().as_deref(), mount.gid_mappings().as_deref());
    match (uids, gids, options.idmap) {
        (None, None, None) => Ok(None),
        (None, None, Some(recursive)) if in_user_namespace => Ok(Some(MountIdmap::Container { recursive })),
        (None, None, Some(_)) => {
            Err(Error::field(&field, "idmap without mappings needs a user namespace of the container"))
        }
        (Some(uids), Some(gids), recursive) => Ok(Some(MountIdmap::Own {
            uids: super::namespaces::convert_maps(&field, uids)?,
            gids: super::namespaces::convert_maps(&field, gids)?,
            recursive: recursive.unwrap_or(false),
        })),
        _ => Err(Error::field(&field, "uidMappings and gidMappings come together")),
    }
}

impl Options {
    fn add(&mut self, option: &str) {
        let mut attribute = |set: bool, attribute: Attributes| {
            let (to, from) = if set { (&mut self.set, &mut self.clear) } else { (&mut self.clear, &mut self.set) };
            *to |= attribute;
            *from = from.without(attribute);
        };
        match option {
            "ro" => attribute(true, Attributes::READ_ONLY),
            "rw" => attribute(false, Attributes::READ_ONLY),
            "nosuid" => attribute(true, Attributes::NO_SUID),
            "suid" => attribute(false, Attributes::NO_SUID),
            "nodev" => attribute(true, Attributes::NO_DEV),
            "dev" => attribute(false, Attributes::NO_DEV),
            "noexec" => attribute(true, Attributes::NO_EXEC),
            "exec" => attribute(false, Attributes::NO_EXEC),
            "noatime" => attribute(true, Attributes::NO_ATIME),
            "strictatime" => attribute(true, Attributes::STRICT_ATIME),
            "nodiratime" => attribute(true, Attributes::NO_DIRATIME),
            "diratime" => attribute(false, Attributes::NO_DIRATIME),
            "nosymfollow" => attribute(true, Attributes::NO_SYMFOLLOW),
            "symfollow" => attribute(false, Attributes::NO_SYMFOLLOW),
            "rro" => self.set_recursive |= Attributes::READ_ONLY,
            "rnosuid" => self.set_recursive |= Attributes::NO_SUID,
            "rnodev" => self.set_recursive |= Attributes::NO_DEV,
            "rnoexec" => self.set_recursive |= Attributes::NO_EXEC,
            "rnosymfollow" => self.set_recursive |= Attributes::NO_SYMFOLLOW,
            // The kernel's defaults.
            "defaults" | "relatime" | "atime" | "async" | "" => {}
            "bind" => self.bind = Some(false),
            "rbind" => self.bind = Some(true),
            "idmap" => self.idmap = Some(false),
            "ridmap" => self.idmap = Some(true),
            "tmpcopyup" => self.copy_up = true,
            "private" => self.propagation = Some((Propagation::Private, false)),
            "rprivate" => self.propagation = Some((Propagation::Private, true)),
            "slave" => self.propagation = Some((Propagation::Slave, false)),
            "rslave" => self.propagation = Some((Propagation::Slave, true)),
            "shared" => self.propagation = Some((Propagation::Shared, false)),
            "rshared" => self.propagation = Some((Propagation::Shared, true)),
            "unbindable" => self.propagation = Some((Propagation::Unbindable, false)),
            "runbindable" => self.propagation = Some((Propagation::Unbindable, true)),
            data => self.data.push(match data.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None => (data.to_owned(), None),
            }),
        }
    }
}
