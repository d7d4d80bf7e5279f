//! Entering namespaces that exist, and making a time namespace with clocks of its own.

use std::os::fd::{AsFd, OwnedFd};

use casemate_kernel::namespace::{self, IdMap, Namespaces};
use casemate_kernel::{idmap, process};
use oci_spec::runtime::Linux;
use rustix::io::Errno;

use crate::error::{Error, Step};
use crate::plan::{Plan, convert_maps, namespace_kind};

/// Opens the namespaces that a container is to enter, before anything of it is made.
///
/// Each must be of the kind that the specification says. Id maps given next to a user namespace must be its own: a plan made
/// with other ones would be of other owners (as runc asks since 1.2).
pub(crate) fn open_joined(linux: &Linux) -> Result<Vec<(Namespaces, OwnedFd)>, Error> {
    let mut files = Vec::new();
    for (index, wanted) in linux.namespaces().as_deref().unwrap_or_default().iter().enumerate() {
        let Some(path) = wanted.path().as_ref().filter(|path| !path.as_os_str().is_empty()) else {
            continue;
        };
        let field = format!("linux.namespaces[{index}].path");
        let file = namespace::open_file(path).map_err(|error| Error::field(&field, error))?;
        let kind = namespace_kind(wanted.typ());
        if namespace::kind(&file).map_err(|error| Error::field(&field, error))? != kind {
            return Err(Error::field(&field, format!("{path:?} is not of a {} namespace", wanted.typ())));
        }
        if kind == Namespaces::USER {
            require_maps(linux, &file, &field)?;
        }
        // A mount namespace is entered when the container's tree is complete (`sources::open_mount_namespace`).
        if kind != Namespaces::MOUNT {
            files.push((kind, file));
        }
    }
    Ok(files)
}

fn require_maps(linux: &Linux, file: &OwnedFd, field: &str) -> Result<(), Error> {
    let given = |name: &str, maps: Option<&[_]>| convert_maps(name, maps.unwrap_or_default()).map(sorted);
    let uids = given("linux.uidMappings", linux.uid_mappings().as_deref())?;
    let gids = given("linux.gidMappings", linux.gid_mappings().as_deref())?;
    if uids.is_empty() && gids.is_empty() {
        return Ok(());
    }
    let (own_uids, own_gids) = idmap::of_namespace(file).step(field)?;
    for (name, given, own) in [("linux.uidMappings", uids, own_uids), ("linux.gidMappings", gids, own_gids)] {
        let own = sorted(own);
        if given != own {
            let why = format!("not those of the user namespace of {field}, which has {own:?}");
            return Err(Error::field(name, why));
        }
    }
    Ok(())
}

fn sorted(mut maps: Vec<IdMap>) -> Vec<IdMap> {
    maps.sort_by_key(|map| map.inside);
    maps
}

/// In a process in between: enters what is to be entered, and makes what a clone can't make as it has to be. Returns which
/// of `new` are left for the clone.
///
/// Others are entered before the user namespace, with the rights of the runtime, and only those that this is refused for
/// after it, with the rights of the user namespace (as runc and nsenter do): what a container shares with another may belong
/// to any of the two.
///
/// The clocks of a time namespace are set before a process is in it, so it is made here and the next process is the first
/// in it. A new user namespace is made before, which it then belongs to.
pub(crate) fn enter(plan: &Plan, files: &[(Namespaces, OwnedFd)], new: Namespaces) -> Result<Namespaces, Error> {
    // While this process's own procfs is there, and before what is in it is out of reach.
    let offsets = match plan.time_offsets.as_slice() {
        [] => None,
        _ => Some(namespace::open_time_offsets().step("linux.timeOffsets")?),
    };
    process::set_undumpable().step("hide from the container")?;
    enter_all(files)?;
    let Some(mut file) = offsets else {
        return Ok(new);
    };
    let made = new.only(Namespaces::USER) | Namespaces::TIME;
    if let Some(owner) = plan.user_namespace_owner() {
        namespace::become_owner(owner).step("linux.namespaces: user")?;
    }
    // The user namespace first: unshare(2) makes it before the others, which then belong to it.
    namespace::unshare(made).step("linux.namespaces: time")?;
    namespace::set_time_offsets(&mut file, &plan.time_offsets)
        .map_err(|error| Error::field("linux.timeOffsets", error))?;
    Ok(new.without(made))
}

fn enter_all(files: &[(Namespaces, OwnedFd)]) -> Result<(), Error> {
    let enter = |kind: Namespaces, file: &OwnedFd| {
        namespace::enter(file.as_fd(), kind).map_err(|error| Error::field("linux.namespaces.path", error))
    };
    let user = files.iter().find(|(kind, _)| *kind == Namespaces::USER);
    let mut refused = Vec::new();
    for (kind, file) in files.iter().filter(|(kind, _)| *kind != Namespaces::USER) {
        match namespace::enter(file.as_fd(), *kind) {
            Err(error) if error.errno() == Errno::PERM && user.is_some() => refused.push((*kind, file)),
            Err(error) => return Err(Error::field("linux.namespaces.path", error)),
            Ok(()) => {}
        }
    }
    if let Some((kind, file)) = user {
        enter(*kind, file)?;
    }
    refused.into_iter().try_for_each(|(kind, file)| enter(kind, file))
}
