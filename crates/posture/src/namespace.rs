//! Which kernel namespaces a container has of its own: ISO-1 to ISO-3.

use serde::{Deserialize, Serialize};

/// The namespaces of a container. Its mount namespace is not here: it is always its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Namespaces {
    /// Process ids.
    pub pid: NamespaceMode,
    /// System V IPC and POSIX message queues, and with them `/dev/shm`.
    pub ipc: IpcMode,
    /// Host and domain name.
    pub uts: NamespaceMode,
    /// Interfaces, addresses, ports, abstract Unix sockets.
    pub network: NetworkMode,
    /// User and group ids, and what capabilities mean.
    pub user: UserMode,
    /// The view of the cgroup tree.
    pub cgroup: NamespaceMode,
    /// Whether it has a time namespace of its own. The kernel's monotonic clocks can't be set from inside either way.
    pub time: bool,
}

impl Default for Namespaces {
    /// Everything of its own, connected to nothing.
    fn default() -> Self {
        Self {
            pid: NamespaceMode::Private,
            ipc: IpcMode::Private,
            uts: NamespaceMode::Private,
            network: NetworkMode::None,
            user: UserMode::Private,
            cgroup: NamespaceMode::Private,
            time: false,
        }
    }
}

/// Whose namespace a container lives in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamespaceMode {
    /// One of its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of the container of this name or id.
    Container(String),
}

/// Whose IPC namespace a container lives in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IpcMode {
    /// One of its own, which no other container may join.
    #[default]
    Private,
    /// One of its own, which other containers may join.
    Shareable,
    /// One of its own, without `/dev/shm`.
    None,
    /// The host's.
    Host,
    /// That of the container of this name or id, which must be shareable.
    Container(String),
}

/// What network a container is connected to.
///
/// Networks that have names are connected by a list beside this, which the engine keeps: here is only whose namespace it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NetworkMode {
    /// A namespace of its own that has nothing but its loopback.
    #[default]
    None,
    /// The host's.
    Host,
    /// That of the container of this name or id.
    Container(String),
}

/// Whose user namespace a container lives in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UserMode {
    /// One of its own, mapped to a range of ids that no other container holds.
    #[default]
    Private,
    /// The host's: root inside is root outside.
    Host,
    /// One of its own, mapped to the subordinate ids that `/etc/subuid` and `/etc/subgid` give this user, as Docker's
    /// `userns-remap` does. `default` stands for casemate's own user. Containers that share the user share the ids.
    Remap(String),
    /// That of the container of this name or id.
    Container(String),
}

macro_rules! common {
    ($($mode:ident),*) => {$(
        impl $mode {
            /// Whether it is the host's.
            pub fn is_host(&self) -> bool {
                matches!(self, Self::Host)
            }

            /// The container whose namespace it is, if it is another one's.
            pub fn container(&self) -> Option<&str> {
                match self {
                    Self::Container(name) => Some(name),
                    _ => None,
                }
            }

            /// Whether a new namespace is made for the container.
            pub fn is_own(&self) -> bool {
                !self.is_host() && self.container().is_none()
            }
        }
    )*};
}

common!(NamespaceMode, IpcMode, NetworkMode, UserMode);
