//! The id maps of a new user namespace, written by somebody who may.

use std::process::{Command, Stdio};

use casemate_kernel::namespace::{self, IdMap, Namespaces};

use crate::error::{Error, Step};
use crate::plan::Plan;

const FIELD: &str = "linux.uidMappings, linux.gidMappings";

/// Whether the runtime is an ordinary user, who may map no more than its own ids.
///
/// The programs that map others ask the kernel whose the process is, so it must not hide before it has its maps.
pub(crate) fn needs_help() -> bool {
    !rustix::process::geteuid().is_root()
}

/// Writes the maps of a plan for a process that is in its new user namespace.
///
/// Root writes them itself. An ordinary user writes a map of its own id and group, giving up `setgroups(2)`, and asks
/// `newuidmap(1)` and `newgidmap(1)` for any other: they know which ids the administrator has given to whom (`subuid(5)`).
pub(crate) fn write(plan: &Plan, pid: u32) -> Result<(), Error> {
    if !plan.new.contains(Namespaces::USER) {
        return Ok(());
    }
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if !needs_help() || (is_only(&plan.uids, uid) && is_only(&plan.gids, gid)) {
        if needs_help() {
            namespace::deny_setgroups(pid).step(FIELD)?;
        }
        return namespace::write_id_maps(pid, &plan.uids, &plan.gids).step(FIELD);
    }
    ask("newuidmap", pid, &plan.uids, "linux.uidMappings")?;
    ask("newgidmap", pid, &plan.gids, "linux.gidMappings")
}

fn is_only(maps: &[IdMap], id: u32) -> bool {
    matches!(maps, [map] if map.outside == id && map.count == 1)
}

fn ask(program: &str, pid: u32, maps: &[IdMap], field: &str) -> Result<(), Error> {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.args(maps.iter().flat_map(|map| [map.inside, map.outside, map.count]).map(|number| number.to_string()));
    let output = command.output().map_err(|error| {
        Error::step(field, format!("{program}: {error}; without it an ordinary user maps one id, its own"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&output.stderr).chars().take(1000).collect();
    Err(Error::step(field, format!("{program}: {}: {}", output.status, said.trim().escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_one_id_is_the_users_own() {
        let map = |outside, count| [IdMap { inside: 0, outside, count }];
        assert!(is_only(&map(1000, 1), 1000));
        assert!(!is_only(&map(1000, 2), 1000) && !is_only(&map(1001, 1), 1000) && !is_only(&[], 1000));
    }

    #[test]
    fn what_a_program_says_is_told() {
        let error = ask("false", 1, &[], "linux.uidMappings").unwrap_err().to_string();
        assert!(error.starts_with("linux.uidMappings: false: exit status: 1"), "{error}");
        let error = ask("no-such-program", 1, &[], "linux.uidMappings").unwrap_err().to_string();
        assert!(error.contains("no-such-program"), "{error}");
    }
}
