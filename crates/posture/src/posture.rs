//! The posture of a container: every hardening choice, as one plain value.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::confinement::{Apparmor, Label, SeccompChoice};
use crate::device::{Device, DeviceRule};
use crate::limits::Limits;
use crate::mount::Mount;
use crate::namespace::Namespaces;
use crate::tmpfs::Tmpfs;
use crate::user::Principal;
use crate::{CapabilitySet, path};

/// Every hardening choice of a container.
///
/// The default is [`Posture::hardened`]. What is missing when it is read from a record is hardened too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Posture {
    /// Whether it was asked to be as powerful as the host's root. The other fields say what that comes to.
    pub privileged: bool,
    /// Which namespaces are its own.
    pub namespaces: Namespaces,
    /// The capabilities that its processes can have.
    pub capabilities: CapabilitySet,
    /// Whether executing a set-user-id program, or one with file capabilities, gains nothing.
    pub no_new_privileges: bool,
    /// The system-call filter.
    pub seccomp: SeccompChoice,
    /// The AppArmor profile.
    pub apparmor: Apparmor,
    /// The SELinux label.
    pub label: Label,
    /// Whether its root file system is read-only.
    pub read_only_root: bool,
    /// File systems in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// What of the host, and which volumes, it sees.
    pub mounts: Vec<Mount>,
    /// Devices of the host that it has besides [`crate::device::DEFAULT_DEVICES`].
    pub devices: Vec<Device>,
    /// Rules that let it use devices whose nodes it gets by other ways.
    pub device_rules: Vec<DeviceRule>,
    /// Paths that it can't see.
    pub masked_paths: Vec<Cow<'static, str>>,
    /// Paths that it can't write to.
    pub read_only_paths: Vec<Cow<'static, str>>,
    /// What it may use of the host.
    pub limits: Limits,
    /// Kernel settings of its namespaces.
    pub sysctls: BTreeMap<Cow<'static, str>, Cow<'static, str>>,
    /// Groups that its first process is in besides its user's.
    pub group_add: Vec<Principal>,
    /// The cgroup that its own is made in; `None`: casemate's.
    pub cgroup_parent: Option<String>,
}

/// Kernel settings of every container that has a network namespace of its own: there are no capabilities, so that without this
/// not even its root could listen on port 80. Nobody else is in that namespace.
pub(crate) const UNPRIVILEGED_PORTS: (&str, &str) = ("net.ipv4.ip_unprivileged_port_start", "0");

/// A second wall behind the filter's: even a system call that it misses makes no user namespace inside, and with it none of
/// the kernel's code that trusts a namespace's root. Set in the container's own user namespace.
pub(crate) const NO_NESTED_USER_NAMESPACES: (&str, &str) = ("user.max_user_namespaces", "0");

impl Posture {
    /// What a container gets when nobody asks for anything.
    pub fn hardened() -> Self {
        Self {
            privileged: false,
            namespaces: Namespaces::default(),
            capabilities: CapabilitySet::empty(),
            no_new_privileges: true,
            seccomp: SeccompChoice::Default,
            apparmor: Apparmor::Default,
            label: Label::Default,
            read_only_root: true,
            tmpfs: Tmpfs::defaults(),
            mounts: Vec::new(),
            devices: Vec::new(),
            device_rules: Vec::new(),
            masked_paths: path::MASKED.iter().copied().map(Cow::Borrowed).collect(),
            read_only_paths: path::READ_ONLY.iter().copied().map(Cow::Borrowed).collect(),
            limits: Limits::default(),
            sysctls: [UNPRIVILEGED_PORTS, NO_NESTED_USER_NAMESPACES]
                .into_iter()
                .map(|(key, value)| (Cow::Borrowed(key), Cow::Borrowed(value)))
                .collect(),
            group_add: Vec::new(),
            cgroup_parent: None,
        }
    }
}

impl fmt::Display for Posture {
    /// As [`Posture::summary`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())
    }
}

impl Default for Posture {
    fn default() -> Self {
        Self::hardened()
    }
}

/// The environment of every container, before the image's and the user's: nothing of the host's environment is in it.
pub const DEFAULT_ENVIRONMENT: &[(&str, &str)] =
    &[("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")];
