//! What a front end asks for: the configuration of a container, before image and policy are merged in.

use std::collections::BTreeMap;
use std::time::Duration;

use casemate_posture::Posture;
use serde::{Deserialize, Serialize};

/// Everything that `create` and `run` take. `ContainerConfig::new(image)` is a hardened container of the image's own command.
#[derive(Debug, Clone)]
pub struct ContainerConfig {
    /// The image: a reference, an id or an id prefix.
    pub image: String,
    /// The container's name; a random one when `None`.
    pub name: Option<String>,
    /// The command and its arguments; empty means the image's.
    pub command: Vec<String>,
    /// Replaces the image's entrypoint; `Some("")` removes it, as with Docker.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=value`, later ones win over earlier ones and over the image's. The engine never reads its own environment: a
    /// front end resolves `-e NAME` itself.
    pub env: Vec<String>,
    /// `USER[:GROUP]`, names or numbers; `None` means the image's.
    pub user: Option<String>,
    /// The working directory; `None` means the image's, or `/`.
    pub workdir: Option<String>,
    /// The host name; the short id when `None`.
    pub hostname: Option<String>,
    /// The NIS domain name.
    pub domainname: Option<String>,
    /// Labels; they win over the image's.
    pub labels: BTreeMap<String, String>,
    /// `NAME:IP` lines for /etc/hosts.
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers for /etc/resolv.conf.
    pub dns: Vec<String>,
    /// Give the container a terminal of its own (`-t`).
    pub tty: bool,
    /// The terminal's first size, columns and rows.
    pub terminal_size: Option<(u16, u16)>,
    /// Keep standard input open (`-i`).
    pub open_stdin: bool,
    /// End standard input when the first client that sent any goes away; Docker does so unless detached.
    pub stdin_once: bool,
    /// Remove the container when it has ended (`--rm`).
    pub auto_remove: bool,
    /// Run a small init as process 1 (`--init`).
    pub init: bool,
    /// The signal that `stop` sends; `None` means the image's, or SIGTERM.
    pub stop_signal: Option<String>,
    /// How long `stop` waits before it kills; `None` means 10 s.
    pub stop_timeout: Option<Duration>,
    /// What happens to what the container writes.
    pub log: LogConfig,
    /// The hardening choices.
    pub posture: Posture,
    /// Names of relaxations that are allowed for this container (`--allow`), beyond the host's policy.
    pub allow: Vec<String>,
    /// `key=value` annotations for the OCI configuration.
    pub annotations: BTreeMap<String, String>,
}

impl ContainerConfig {
    /// A hardened container of `image` with nothing else asked for.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            name: None,
            command: Vec::new(),
            entrypoint: None,
            env: Vec::new(),
            user: None,
            workdir: None,
            hostname: None,
            domainname: None,
            labels: BTreeMap::new(),
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            tty: false,
            terminal_size: None,
            open_stdin: false,
            stdin_once: false,
            auto_remove: false,
            init: false,
            stop_signal: None,
            stop_timeout: None,
            log: LogConfig::default(),
            posture: Posture::hardened(),
            allow: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }
}

/// Where a container's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Docker's JSON lines, rotated.
    #[default]
    JsonFile,
    /// Nowhere; attached clients still see it.
    None,
}

impl LogDriver {
    /// Docker's name of the driver.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::None => "none",
        }
    }

    /// The driver of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "json-file" => Some(Self::JsonFile),
            "none" => Some(Self::None),
            _ => None,
        }
    }
}

/// The log of a container: driver and rotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// Which driver.
    pub driver: LogDriver,
    /// A file is rotated before it grows beyond this many bytes (`max-size`).
    pub max_size: u64,
    /// How many files are kept, the current one included (`max-file`); at least 1.
    pub max_files: u32,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { driver: LogDriver::JsonFile, max_size: 10 << 20, max_files: 3 }
    }
}

impl LogConfig {
    /// The options in Docker's words, for `inspect`.
    pub fn options(&self) -> BTreeMap<String, String> {
        match self.driver {
            LogDriver::None => BTreeMap::new(),
            LogDriver::JsonFile => BTreeMap::from([
                ("max-size".to_owned(), self.max_size.to_string()),
                ("max-file".to_owned(), self.max_files.to_string()),
            ]),
        }
    }
}

/// What `exec` takes.
#[derive(Debug, Clone, Default)]
pub struct ExecConfig {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `NAME=value`, over the container's own.
    pub env: Vec<String>,
    /// `USER[:GROUP]`; the container's when `None`.
    pub user: Option<String>,
    /// The working directory; the container's when `None`.
    pub workdir: Option<String>,
    /// Give the process a terminal of its own.
    pub tty: bool,
    /// The terminal's first size, columns and rows.
    pub terminal_size: Option<(u16, u16)>,
    /// Connect standard input.
    pub open_stdin: bool,
    /// Leave it running in the background; nothing it writes is kept.
    pub detach: bool,
}
