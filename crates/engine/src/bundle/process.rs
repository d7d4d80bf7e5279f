//! The process part of a specification.

use std::collections::HashSet;

use casemate_posture::{CapabilitySet, Posture};
use oci_spec::runtime::{
    Capability, LinuxCapabilities, LinuxCapabilitiesBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process,
    ProcessBuilder, User, UserBuilder,
};

use super::{Materials, built};
use crate::error::{Error, Result};
use crate::init;
use crate::passwd::Identified;
use crate::record::Record;

/// The first process of a container.
pub(super) fn first_process(materials: &Materials<'_>) -> Result<Process> {
    let record = materials.record;
    let mut args = record.process.args();
    if record.init {
        args.splice(0..0, [init::TARGET.to_owned(), "--".to_owned()]);
    }
    process(record, materials.user, args, record.process.env.clone(), &record.process.workdir, record.process.tty)
}

/// A further process of a container.
pub(crate) fn exec_process(
    record: &Record,
    user: &Identified,
    args: Vec<String>,
    env: Vec<String>,
    workdir: &str,
    tty: bool,
) -> Result<Process> {
    process(record, user, args, env, workdir, tty)
}

fn process(
    record: &Record,
    identified: &Identified,
    args: Vec<String>,
    env: Vec<String>,
    workdir: &str,
    tty: bool,
) -> Result<Process> {
    let posture = &record.posture;
    let env = with_home(with_terminal(env, tty), &identified.home);
    built(
        ProcessBuilder::default()
            .terminal(tty)
            .user(user(identified)?)
            .args(args)
            .env(env)
            .cwd(workdir)
            .capabilities(capabilities(posture.capabilities, identified.uid)?)
            .rlimits(rlimits(posture)?)
            .no_new_privileges(posture.no_new_privileges)
            .oom_score_adj(i32::from(posture.limits.oom_score_adj))
            .build(),
    )
}

fn user(identified: &Identified) -> Result<User> {
    built(
        UserBuilder::default()
            .uid(identified.uid)
            .gid(identified.gid)
            .additional_gids(identified.groups.clone())
            .umask(0o022_u32)
            .build(),
    )
}

fn has(env: &[String], name: &str) -> bool {
    env.iter().any(|entry| entry.split_once('=').is_some_and(|(key, _)| key == name))
}

fn with_home(mut env: Vec<String>, home: &str) -> Vec<String> {
    if !has(&env, "HOME") {
        env.push(format!("HOME={home}"));
    }
    env
}

fn with_terminal(mut env: Vec<String>, tty: bool) -> Vec<String> {
    if tty && !has(&env, "TERM") {
        env.push("TERM=xterm".to_owned());
    }
    env
}

/// What was granted, in the sets that make it work: for root by its exec, for others by the ambient set. Nothing is inheritable
/// that is not ambient (CVE-2022-24769).
fn capabilities(granted: CapabilitySet, uid: u32) -> Result<LinuxCapabilities> {
    let granted: HashSet<Capability> = granted
        .iter()
        .map(|capability| {
            capability.short_name().parse().map_err(|_| {
                Error::invalid("capability", capability.name(), "is not one that the OCI specification knows")
            })
        })
        .collect::<Result<_>>()?;
    let ambient = if uid == 0 { HashSet::new() } else { granted.clone() };
    built(
        LinuxCapabilitiesBuilder::default()
            .bounding(granted.clone())
            .effective(granted.clone())
            .permitted(granted)
            .inheritable(ambient.clone())
            .ambient(ambient)
            .build(),
    )
}

fn rlimits(posture: &Posture) -> Result<Vec<PosixRlimit>> {
    posture
        .limits
        .ulimits
        .iter()
        .map(|(resource, limit)| {
            let kind: PosixRlimitType = resource.rlimit().parse().map_err(|_| {
                Error::invalid("ulimit", resource.name(), "is not one that the OCI specification knows")
            })?;
            built(PosixRlimitBuilder::default().typ(kind).soft(limit.soft).hard(limit.hard).build())
        })
        .collect()
}
