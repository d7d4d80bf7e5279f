//! Docker's flags, as they are written, on their way to a posture.

mod limits;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::confinement::{Apparmor, Label, SeccompChoice, SecurityOpt};
use crate::device::{Device, DeviceRule};
use crate::mount::{Asked, Mount};
use crate::posture::{NO_NESTED_USER_NAMESPACES, UNPRIVILEGED_PORTS};
use crate::seccomp::{Profile, ProfileError};
use crate::tmpfs::Tmpfs;
use crate::{
    Capability, CapabilitySet, InvalidValue, IpcMode, NamespaceMode, NetworkMode, Posture, UserMode, suggest, sysctl,
    user,
};

/// The flags of `run` and `create` that are about isolation and resources, as the user wrote them: each field is a flag of the same
/// name. What is `None`, `false` or empty was not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the flag of its name")]
pub struct Options {
    pub privileged: bool,
    pub pid: Option<String>,
    pub ipc: Option<String>,
    pub uts: Option<String>,
    pub network: Option<String>,
    pub userns: Option<String>,
    pub userns_remap: Option<String>,
    pub cgroupns: Option<String>,
    /// `private` or `host`.
    pub timens: Option<String>,
    pub cgroup_parent: Option<String>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub security_opt: Vec<String>,
    /// What is in the file that `--security-opt seccomp=FILE` names (see [`Options::seccomp_file`]).
    pub seccomp_profile: Option<String>,
    /// `Some(false)`: `--read-only=false`.
    pub read_only: Option<bool>,
    pub tmpfs: Vec<String>,
    pub volume: Vec<String>,
    pub mount: Vec<String>,
    /// The directory that relative sources of mounts begin at: absolute.
    pub base_directory: Option<String>,
    pub device: Vec<String>,
    pub device_cgroup_rule: Vec<String>,
    pub memory: Option<String>,
    pub memory_swap: Option<String>,
    pub memory_reservation: Option<String>,
    pub memory_swappiness: Option<String>,
    pub cpus: Option<String>,
    pub cpu_period: Option<String>,
    pub cpu_quota: Option<String>,
    pub cpu_shares: Option<String>,
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    pub pids_limit: Option<String>,
    pub ulimit: Vec<String>,
    pub blkio_weight: Option<String>,
    pub device_read_bps: Vec<String>,
    pub device_write_bps: Vec<String>,
    pub device_read_iops: Vec<String>,
    pub device_write_iops: Vec<String>,
    pub storage_opt: Vec<String>,
    pub shm_size: Option<String>,
    pub oom_score_adj: Option<String>,
    pub oom_kill_disable: bool,
    pub group_add: Vec<String>,
    pub sysctl: Vec<String>,
}

/// Why options make no posture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value is not what its flag takes.
    #[error(transparent)]
    Value(#[from] InvalidValue),
    /// A seccomp profile can't be used.
    #[error("cannot use the seccomp profile {path}: {source}")]
    Seccomp {
        /// Where it was read from.
        path: String,
        /// Why.
        source: ProfileError,
    },
    /// Flags that don't go together.
    #[error("{0} and {1} don't go together: {2}")]
    Conflict(Cow<'static, str>, Cow<'static, str>, Cow<'static, str>),
}

impl Options {
    /// The file that `--security-opt seccomp=FILE` names, whose text belongs into `seccomp_profile`.
    pub fn seccomp_file(&self) -> Result<Option<String>, InvalidValue> {
        let mut file = None;
        for text in &self.security_opt {
            match SecurityOpt::parse(text)? {
                SecurityOpt::SeccompFile(path) => file = Some(path),
                SecurityOpt::SeccompDefault | SecurityOpt::SeccompUnconfined => file = None,
                _ => {}
            }
        }
        Ok(file)
    }

    /// The posture that these flags ask for: the hardened one where they say nothing.
    pub fn into_posture(self) -> Result<Posture, Error> {
        self.to_posture()
    }

    /// As [`Options::into_posture`], leaving the options as they are.
    pub fn to_posture(&self) -> Result<Posture, Error> {
        let mut posture = Posture::hardened();
        self.namespaces(&mut posture)?;
        if self.privileged {
            privilege(&mut posture, self.userns.is_some());
        }
        self.capabilities(&mut posture)?;
        self.security(&mut posture)?;
        self.file_systems(&mut posture)?;
        self.devices(&mut posture)?;
        self.limits(&mut posture.limits)?;
        self.settings(&mut posture)?;
        Ok(posture)
    }

    fn namespaces(&self, posture: &mut Posture) -> Result<(), Error> {
        let namespaces = &mut posture.namespaces;
        if let Some(text) = &self.pid {
            namespaces.pid = mode("--pid", text)?;
        }
        if let Some(text) = &self.uts {
            namespaces.uts = mode("--uts", text)?;
        }
        if let Some(text) = &self.cgroupns {
            namespaces.cgroup = mode("--cgroupns", text)?;
        }
        if let Some(text) = &self.ipc {
            namespaces.ipc = match text.as_str() {
                "" | "private" => IpcMode::Private,
                "shareable" => IpcMode::Shareable,
                "none" => IpcMode::None,
                "host" => IpcMode::Host,
                other => IpcMode::Container(container("--ipc", other, &["private", "shareable", "none", "host"])?),
            };
        }
        if let Some(text) = &self.network {
            namespaces.network = match text.as_str() {
                "none" => NetworkMode::None,
                "host" => NetworkMode::Host,
                other => NetworkMode::Container(container("--network", other, &["none", "host"])?),
            };
        }
        namespaces.user = match (self.userns.as_deref(), self.userns_remap.as_deref()) {
            (Some(_), Some(_)) => {
                let why = "one says whose user namespace it is, the other which ids its own has";
                return Err(Error::Conflict("--userns".into(), "--userns-remap".into(), why.into()));
            }
            (None | Some("" | "private"), None) => UserMode::Private,
            (Some("host"), None) => UserMode::Host,
            (Some(other), None) => UserMode::Container(container("--userns", other, &["private", "host"])?),
            (None, Some(text)) => {
                // One name for user and group, or both: as Docker's daemon takes it.
                user::parse(text).map_err(|error| InvalidValue::new("--userns-remap", text, error.to_string()))?;
                UserMode::Remap(text.to_owned())
            }
        };
        namespaces.time = match self.timens.as_deref() {
            None | Some("host") => false,
            Some("private") => true,
            Some(other) => {
                return Err(InvalidValue::new("--timens", other, "it is neither private nor host").into());
            }
        };
        if let Some(text) = &self.cgroup_parent {
            posture.cgroup_parent = Some(cgroup_parent(text)?);
        }
        Ok(())
    }

    fn capabilities(&self, posture: &mut Posture) -> Result<(), Error> {
        let add = capabilities("--cap-add", &self.cap_add)?;
        let drop = capabilities("--cap-drop", &self.cap_drop)?;
        // Docker's order: ALL on one side is corrected by single names on the other; a name on both sides is dropped.
        let base = if self.privileged { CapabilitySet::all() } else { CapabilitySet::empty() };
        posture.capabilities = match (add.all, drop.all) {
            (true, _) => CapabilitySet::all().difference(drop.named),
            (false, true) => add.named,
            (false, false) => base.union(add.named).difference(drop.named),
        };
        Ok(())
    }

    fn security(&self, posture: &mut Posture) -> Result<(), Error> {
        for text in &self.security_opt {
            match SecurityOpt::parse(text)? {
                SecurityOpt::NoNewPrivileges(on) => posture.no_new_privileges = on,
                SecurityOpt::SeccompDefault => posture.seccomp = SeccompChoice::Default,
                SecurityOpt::SeccompUnconfined => posture.seccomp = SeccompChoice::Unconfined,
                SecurityOpt::SeccompFile(path) => posture.seccomp = self.seccomp(text, path)?,
                SecurityOpt::ApparmorUnconfined => posture.apparmor = Apparmor::Unconfined,
                SecurityOpt::LabelDisable => posture.label = Label::Disabled,
                SecurityOpt::SystemPathsUnconfined => {
                    posture.masked_paths.clear();
                    posture.read_only_paths.clear();
                }
            }
        }
        Ok(())
    }

    fn seccomp(&self, text: &str, path: String) -> Result<SeccompChoice, Error> {
        let json = self
            .seccomp_profile
            .as_deref()
            .ok_or_else(|| InvalidValue::new("--security-opt", text, "the profile was not read"))?;
        match Profile::parse(json) {
            Ok(profile) => Ok(SeccompChoice::Custom { profile: Box::new(profile), path }),
            Err(source) => Err(Error::Seccomp { path, source }),
        }
    }

    fn file_systems(&self, posture: &mut Posture) -> Result<(), Error> {
        if let Some(option) = self.storage_opt.first() {
            return Err(InvalidValue::new("--storage-opt", option, "a read-only root holds nothing to bound")
                .hint("bound what is written by --tmpfs PATH:size=64m, or by a volume on a file system of its own")
                .into());
        }
        posture.read_only_root = self.read_only.unwrap_or(true);
        let base = self.base_directory.as_deref();
        let mut tmpfs = Vec::new();
        for text in &self.tmpfs {
            tmpfs.push(Tmpfs::parse(text)?);
        }
        for text in &self.volume {
            posture.mounts.push(Mount::parse_short(text, base)?);
        }
        for text in &self.mount {
            match Mount::parse_long(text, base)? {
                Asked::Mount(mount) => posture.mounts.push(mount),
                Asked::Tmpfs(asked) => tmpfs.push(asked),
            }
        }
        let mut targets: Vec<&str> = tmpfs
            .iter()
            .map(|tmpfs| tmpfs.target.as_str())
            .chain(posture.mounts.iter().map(|mount| mount.target.as_str()))
            .collect();
        targets.sort_unstable();
        if let Some(pair) = targets.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(InvalidValue::new("--mount", pair[0], "two things are to be mounted there").into());
        }
        // What the user mounts on one of the default places takes that place.
        posture.tmpfs.retain(|default| targets.binary_search(&default.target.as_str()).is_err());
        posture.tmpfs.extend(tmpfs);
        Ok(())
    }

    fn devices(&self, posture: &mut Posture) -> Result<(), Error> {
        for text in &self.device {
            posture.devices.push(Device::parse(text)?);
        }
        for text in &self.device_cgroup_rule {
            posture.device_rules.push(DeviceRule::parse(text)?);
        }
        Ok(())
    }

    fn settings(&self, posture: &mut Posture) -> Result<(), Error> {
        for text in &self.group_add {
            posture.group_add.push(user::parse_group(text)?);
        }
        if !posture.namespaces.network.is_own() {
            posture.sysctls.remove(UNPRIVILEGED_PORTS.0);
        }
        if !posture.namespaces.user.is_own() || posture.privileged {
            posture.sysctls.remove(NO_NESTED_USER_NAMESPACES.0);
        }
        for text in &self.sysctl {
            let (key, value) = sysctl::parse(text, &posture.namespaces)?;
            posture.sysctls.insert(key.into(), value.into());
        }
        Ok(())
    }
}

/// As powerful as the host's root, in all that flags of their own don't say otherwise.
fn privilege(posture: &mut Posture, userns_given: bool) {
    posture.privileged = true;
    posture.no_new_privileges = false;
    posture.seccomp = SeccompChoice::Unconfined;
    posture.apparmor = Apparmor::Unconfined;
    posture.label = Label::Disabled;
    posture.masked_paths.clear();
    posture.read_only_paths.clear();
    if !userns_given {
        posture.namespaces.user = UserMode::Host;
    }
}

/// Capabilities that one flag names.
struct Named {
    all: bool,
    named: CapabilitySet,
}

fn capabilities(flag: &'static str, texts: &[String]) -> Result<Named, InvalidValue> {
    let mut found = Named { all: false, named: CapabilitySet::empty() };
    // Docker takes no lists with commas; people write them all the same, and there is only one thing they can mean.
    for text in texts.iter().flat_map(|text| text.split(',')) {
        if text.eq_ignore_ascii_case("ALL") {
            found.all = true;
            continue;
        }
        let cap: Capability =
            text.parse().map_err(|error: crate::UnknownCapability| InvalidValue::new(flag, text, error.to_string()))?;
        found.named.insert(cap);
    }
    Ok(found)
}

fn mode(flag: &'static str, text: &str) -> Result<NamespaceMode, InvalidValue> {
    Ok(match text {
        "" | "private" => NamespaceMode::Private,
        "host" => NamespaceMode::Host,
        other => NamespaceMode::Container(container(flag, other, &["private", "host"])?),
    })
}

/// The name in `container:NAME`; everything else is none of `words`.
fn container(flag: &'static str, text: &str, words: &[&str]) -> Result<String, InvalidValue> {
    let known = || words.iter().copied().chain(["container:NAME"]);
    match text.split_once(':') {
        Some(("container", "")) => Err(InvalidValue::new(flag, text, "the container's name is empty")),
        Some(("container", name)) if name.len() <= 255 => Ok(name.to_owned()),
        _ => {
            let hint = suggest::hint(text, known())
                .unwrap_or_else(|| format!("known are {}", known().collect::<Vec<_>>().join(", ")));
            let reason = if flag == "--network" { "there is no such network" } else { "it is no mode that is known" };
            Err(InvalidValue::new(flag, text, reason).hint(hint))
        }
    }
}

fn cgroup_parent(text: &str) -> Result<String, InvalidValue> {
    let invalid = |reason: &str| InvalidValue::new("--cgroup-parent", text, reason);
    if text.is_empty() || text.len() > 4095 || text.contains(['\0', '\n']) {
        return Err(invalid("it is empty, longer than 4095 bytes, or has a NUL byte or line break in it"));
    }
    if text.split('/').any(|part| matches!(part, ".." | ".")) {
        return Err(invalid("it has \".\" or \"..\" in it"));
    }
    Ok(text.to_owned())
}
