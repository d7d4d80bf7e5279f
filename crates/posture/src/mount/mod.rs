//! What of the host, and which volumes, a container sees: ISO-5, ISO-6.

mod long;
mod short;

use serde::{Deserialize, Serialize};

use crate::InvalidValue;
use crate::tmpfs::{Tmpfs, flags};

/// A directory or file that is mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where in the container.
    pub target: String,
    /// Whether nothing can be written to it from inside.
    pub read_only: bool,
    /// Whether programs on it can be executed.
    pub exec: bool,
    /// Whether set-user-id and set-group-id bits on it count.
    pub suid: bool,
    /// Whether device nodes on it work.
    pub dev: bool,
    /// Whether mounts that are made later on one side appear on the other.
    pub propagation: Propagation,
    /// Whether what is mounted beneath the source comes with it.
    pub recursive: bool,
    /// Whether ids are mapped, so that what belongs to the directory's owner outside belongs to the container's user inside.
    pub idmap: bool,
    /// Whether SELinux labels of the source are to be changed.
    pub relabel: Relabel,
    /// Whether a new volume begins with what the image has at the target.
    pub copy: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountKind {
    /// A path of the host.
    Bind {
        /// The path. Resolve symbolic links before you ask for relaxations: they judge by the words.
        source: String,
    },
    /// A volume of casemate's.
    Volume {
        /// Its name; `None`: one of its own, which goes with the container.
        name: Option<String>,
    },
}

/// Whether mounts that are made later on one side appear on the other (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// Neither way.
    Private,
    /// Neither way, for what is beneath as well.
    #[default]
    Rprivate,
    /// From the host into the container.
    Slave,
    /// From the host into the container, for what is beneath as well.
    Rslave,
    /// Both ways.
    Shared,
    /// Both ways, for what is beneath as well.
    Rshared,
}

impl Propagation {
    const ALL: [Self; 6] = [Self::Private, Self::Rprivate, Self::Slave, Self::Rslave, Self::Shared, Self::Rshared];

    /// Its name, as Docker and OCI write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Rprivate => "rprivate",
            Self::Slave => "slave",
            Self::Rslave => "rslave",
            Self::Shared => "shared",
            Self::Rshared => "rshared",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|propagation| propagation.name() == name)
    }
}

/// What is asked of the SELinux labels of a mount's source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relabel {
    /// They stay.
    #[default]
    No,
    /// All containers may use it (`:z`).
    Shared,
    /// This container alone may use it (`:Z`).
    Private,
}

/// What `--mount` asks for: with `type=tmpfs` it is no mount of something but a file system in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A directory, file or volume.
    Mount(Mount),
    /// A file system in memory.
    Tmpfs(Tmpfs),
}

impl Mount {
    /// The hardened bind mount: read-only, nosuid, nodev, private, mapped.
    pub fn bind(source: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            exec: true,
            read_only: true,
            ..Self::volume(None, target).with_kind(MountKind::Bind { source: source.into() })
        }
    }

    /// The hardened volume: writable, nosuid, nodev, noexec, private, mapped.
    pub fn volume(name: Option<String>, target: impl Into<String>) -> Self {
        Self {
            kind: MountKind::Volume { name },
            target: target.into(),
            read_only: false,
            exec: false,
            suid: false,
            dev: false,
            propagation: Propagation::Rprivate,
            recursive: true,
            idmap: true,
            relabel: Relabel::No,
            copy: true,
        }
    }

    fn with_kind(self, kind: MountKind) -> Self {
        Self { kind, ..self }
    }

    /// Reads `-v`: `HOST:CONTAINER[:OPTIONS]`, `NAME:CONTAINER[:OPTIONS]` or `CONTAINER`. `base` is what a HOST that begins with
    /// `./` or `../` begins at; without it such a path is refused.
    pub fn parse_short(text: &str, base: Option<&str>) -> Result<Self, InvalidValue> {
        short::parse(text, base)
    }

    /// A volume that an image declares, for a path that a volume may be mounted on.
    ///
    /// # Errors
    /// A path that is not absolute, or belongs to the kernel.
    pub fn declared(target: &str) -> Result<Self, InvalidValue> {
        Ok(Self::volume(None, crate::path::target("VOLUME", target, target)?))
    }

    /// Reads `--mount`: `type=bind,source=/srv,target=/data,rw`. `base` as for [`Mount::parse_short`].
    pub fn parse_long(text: &str, base: Option<&str>) -> Result<Asked, InvalidValue> {
        long::parse(text, base)
    }

    /// The path of the host that is mounted, if it is one.
    pub fn source(&self) -> Option<&str> {
        match &self.kind {
            MountKind::Bind { source } => Some(source),
            MountKind::Volume { .. } => None,
        }
    }

    /// The options of its mount, as OCI and mount(8) write them.
    pub fn options(&self) -> Vec<String> {
        let mut options = vec![if self.recursive { "rbind" } else { "bind" }.to_owned()];
        options.extend(flags(self.read_only, [self.exec, self.suid, self.dev]));
        options.push(self.propagation.name().to_owned());
        options
    }
}

/// The longest name of a volume.
const LONGEST_NAME: usize = 255;

/// Whether `name` can be a volume's: Docker's grammar.
fn is_volume_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() >= 2
        && name.len() <= LONGEST_NAME
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// A source of a bind mount, made absolute.
fn absolute(flag: &'static str, text: &str, source: &str, base: Option<&str>) -> Result<String, InvalidValue> {
    let relative = matches!(source, "." | "..") || source.starts_with("./") || source.starts_with("../");
    match base {
        Some(base) if relative => crate::path::source(flag, text, &format!("{}/{source}", base.trim_end_matches('/'))),
        _ => crate::path::source(flag, text, source),
    }
}

/// The source of a volume, checked.
fn volume_name(flag: &'static str, text: &str, name: &str) -> Result<String, InvalidValue> {
    if is_volume_name(name) {
        return Ok(name.to_owned());
    }
    let reason = format!(
        "{name:?} is neither an absolute path nor a volume's name (letters, digits, \"_\", \".\", \"-\"; two or more)"
    );
    Err(InvalidValue::new(flag, text, reason).hint("begin a path with \"/\" or \"./\""))
}
