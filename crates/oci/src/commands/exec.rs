//! `exec`.

use std::collections::VecDeque;
use std::ffi::OsString;

use casemate_runtime::bundle;
use casemate_runtime::lifecycle::{Console, ExecOptions, Executed, Runtime};
use oci_spec::runtime::{Capability, LinuxCapabilities, Process, UserBuilder};

use super::Call;
use crate::Failure;
use crate::arguments::{Flag, Parsed, Until, parse, switch, value};
use crate::attend::Signals;
use crate::seal::seal;

const FLAGS: [Flag; 18] = [
    value("console-socket", None),
    value("pidfd-socket", None),
    value("cwd", None),
    value("env", Some('e')),
    switch("tty", Some('t')),
    value("user", Some('u')),
    value("additional-gids", Some('g')),
    value("process", Some('p')),
    switch("detach", Some('d')),
    value("pid-file", None),
    value("process-label", None),
    value("apparmor", None),
    switch("no-new-privs", None),
    value("cap", Some('c')),
    value("preserve-fds", None),
    value("cgroup", None),
    switch("ignore-paused", None),
    switch("no-subreaper", None),
];
/// What callers of `exec` take for a failure of the runtime, not of the process.
const RUNTIME_FAILED: u8 = 255;

pub(super) fn exec(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    try_exec(call, arguments).map_err(|failure| failure.during("exec failed").with_code(RUNTIME_FAILED))
}

fn try_exec(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    seal(call.all)?;
    let mut parsed = parse(&FLAGS, Until::FirstArgument, arguments)?;
    let id = parsed.first("exec")?;
    let runtime = call.globals.runtime();
    let process = match parsed.path("process") {
        Some(path) => bundle::load_process(&path, &mut |warning| crate::log::warn(warning))?,
        None => changed(&runtime, &id, &parsed)?,
    };
    let detach = parsed.is_set("detach");
    let options = ExecOptions {
        console: match parsed.path("console-socket") {
            Some(path) => Console::Socket(path),
            None if detach => Console::None,
            None => Console::Caller,
        },
        pidfd_socket: parsed.path("pidfd-socket"),
        pid_file: parsed.path("pid-file"),
        preserved: parsed.number("preserve-fds")?.unwrap_or(0),
        detach,
        ignore_paused: parsed.is_set("ignore-paused"),
        cgroups: parsed.all("cgroup").map(|path| path.to_string_lossy().into_owned()).collect(),
    };
    let signals = if detach { None } else { Some(Signals::hold()?) };
    let executed = runtime.exec(&id, &process, &options, &mut |pidfd, console| match &signals {
        Some(signals) => signals.attend(pidfd, console),
        None => casemate_kernel::process::wait(pidfd).map_err(Into::into),
    })?;
    Ok(match executed {
        Executed::Detached => 0,
        Executed::Ended(exit) => u8::try_from(exit.code()).unwrap_or(u8::MAX),
    })
}

/// The container's own process, with what the flags change.
fn changed(runtime: &Runtime, id: &str, parsed: &Parsed) -> Result<Process, Failure> {
    let words = |list: &mut dyn Iterator<Item = &std::ffi::OsStr>| -> Result<Vec<String>, Failure> {
        list.map(|word| {
            word.to_str().map(str::to_owned).ok_or_else(|| Failure::new(format!("argument {word:?} is not UTF-8")))
        })
        .collect()
    };
    let args = words(&mut parsed.arguments.iter().map(OsString::as_os_str))?;
    if args.is_empty() {
        return Err(Failure::new("exec args cannot be empty"));
    }
    let mut process = runtime.process(id)?;
    process.set_args(Some(args));
    process.set_terminal(Some(parsed.is_set("tty")));
    process.set_console_size(None);
    if let Some(cwd) = parsed.path("cwd") {
        process.set_cwd(cwd);
    }
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(words(&mut parsed.all("env"))?);
    process.set_env(Some(env));
    if let Some(label) = parsed.text("process-label")? {
        process.set_selinux_label(Some(label.to_owned()));
    }
    if let Some(profile) = parsed.text("apparmor")? {
        process.set_apparmor_profile(Some(profile.to_owned()));
    }
    if parsed.value("no-new-privs").is_some() {
        process.set_no_new_privileges(Some(parsed.is_set("no-new-privs")));
    }
    set_user(&mut process, parsed)?;
    add_capabilities(&mut process, &words(&mut parsed.all("cap"))?)?;
    Ok(process)
}

fn set_user(process: &mut Process, parsed: &Parsed) -> Result<(), Failure> {
    let id = |text: &str| parse_id(text).ok_or_else(|| Failure::new(format!("{text:?} is no user or group id")));
    let mut groups = process.user().additional_gids().clone().unwrap_or_default();
    for group in parsed.all("additional-gids") {
        groups.push(id(&group.to_string_lossy())?);
    }
    let (mut uid, mut gid) = (process.user().uid(), process.user().gid());
    if let Some(user) = parsed.text("user")? {
        match user.split_once(':') {
            Some((user, group)) => (uid, gid) = (id(user)?, id(group)?),
            None => uid = id(user)?,
        }
    }
    let mut user = UserBuilder::default().uid(uid).gid(gid).additional_gids(groups);
    if let Some(umask) = process.user().umask() {
        user = user.umask(umask);
    }
    process.set_user(user.build().map_err(|error| Failure::new(error.to_string()))?);
    Ok(())
}

/// Digits only, and none of the numbers that wrap or mean "no change": a name is never one, a number never a name
/// (CVE-2026-30892, CVE-2024-40635).
fn parse_id(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse::<u32>().ok().filter(|id| *id != u32::MAX)
}

/// Adds to the bounding, effective and permitted sets; to the ambient one only what the process may inherit.
fn add_capabilities(process: &mut Process, names: &[String]) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    let mut sets: LinuxCapabilities = process.capabilities().clone().unwrap_or_default();
    for name in names {
        let plain = name.to_ascii_uppercase();
        let plain = plain.strip_prefix("CAP_").unwrap_or(&plain);
        let capability: Capability = serde_json::from_value(serde_json::Value::from(format!("CAP_{plain}")))
            .map_err(|_| Failure::new(format!("--cap: {name:?} is no capability")))?;
        let with = |set: &Option<std::collections::HashSet<Capability>>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective, permitted) = (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
        if sets.inheritable().as_ref().is_some_and(|set| set.contains(&capability)) {
            let ambient = with(sets.ambient());
            sets.set_ambient(ambient);
        }
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    }
    process.set_capabilities(Some(sets));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_that_fit() {
        assert_eq!(parse_id("0"), Some(0));
        assert_eq!(parse_id("4294967294"), Some(u32::MAX - 1));
        for wrong in ["", "-1", "+1", " 1", "1 ", "root", "0x1", "4294967295", "4294967296", "1:1"] {
            assert_eq!(parse_id(wrong), None, "{wrong:?}");
        }
    }
}
