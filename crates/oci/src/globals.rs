//! Flags before the command.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use casemate_runtime::lifecycle::Runtime;

use crate::Failure;
use crate::arguments::{Flag, Until, parse, switch, value};
use crate::log::{self, Format};

const FLAGS: [Flag; 12] = [
    value("root", None),
    value("log", None),
    value("log-format", None),
    value("log-level", None),
    switch("debug", None),
    switch("systemd-cgroup", None),
    value("cgroup-manager", None),
    value("rootless", None),
    switch("hardened", None),
    value("criu", None),
    switch("version", Some('v')),
    switch("help", Some('h')),
];

/// What the flags before the command say.
#[derive(Debug)]
pub(crate) struct Globals {
    pub(crate) root: PathBuf,
    pub(crate) systemd: bool,
    pub(crate) hardened: bool,
    pub(crate) log: log::Target,
    pub(crate) version: bool,
    pub(crate) help: bool,
}

impl Globals {
    /// Takes the flags before the command off the arguments.
    pub(crate) fn parse(arguments: &mut VecDeque<OsString>) -> Result<Self, Failure> {
        let mut parsed = parse(&FLAGS, Until::FirstArgument, std::mem::take(arguments))?;
        arguments.append(&mut parsed.arguments);
        let format = match parsed.text("log-format")?.unwrap_or("text") {
            "text" | "" => Format::Text,
            "json" => Format::Json,
            other => return Err(Failure::new(format!("invalid log-format: {other}"))),
        };
        match parsed.text("rootless")?.unwrap_or("auto") {
            "" | "auto" | "true" | "false" => {}
            other => return Err(Failure::new(format!("invalid value for --rootless: {other:?}"))),
        }
        let systemd = match parsed.text("cgroup-manager")? {
            None | Some("" | "cgroupfs") => parsed.is_set("systemd-cgroup"),
            Some("systemd") => true,
            Some(other) => return Err(Failure::new(format!("invalid value for --cgroup-manager: {other:?}"))),
        };
        let debug = parsed.is_set("debug") || parsed.text("log-level")? == Some("debug");
        Ok(Self {
            root: state_root(parsed.path("root"))?,
            systemd,
            hardened: parsed.is_set("hardened"),
            log: log::Target { file: parsed.path("log"), format, debug },
            version: parsed.is_set("version"),
            help: parsed.is_set("help"),
        })
    }

    /// The runtime that they describe.
    pub(crate) fn runtime(&self) -> Runtime {
        Runtime {
            systemd: self.systemd,
            hardened: self.hardened,
            warn: log::warn,
            debug: log::debug,
            ..Runtime::new(&self.root)
        }
    }
}

/// Where the state is: what was given, else a directory of root's, or of the user's session.
fn state_root(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let Some(given) = given else {
        let session = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| Path::new(path).is_absolute());
        return Ok(match session {
            Some(session) if !rustix::process::geteuid().is_root() => Path::new(&session).join(crate::NAME),
            _ => Path::new("/run").join(crate::NAME),
        });
    };
    let root = std::path::absolute(&given).map_err(|error| Failure::new(format!("--root {given:?}: {error}")))?;
    if root == Path::new("/") {
        return Err(Failure::new("Option --root argument should not be set to /"));
    }
    Ok(root)
}
