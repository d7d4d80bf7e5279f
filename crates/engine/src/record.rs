//! What is kept of a container: the record (what it is), the live state (while it runs) and the end (how it last ended).
//!
//! `containers/<id>/record.json` is written once, at creation, and makes the container exist. `run/<id>/state.json` is written by
//! the supervisor. `containers/<id>/exit.json` is written when the container ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use casemate_posture::{Posture, Shortfall};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::LogConfig;
use crate::directories;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::idrange::IdRange;
use crate::passwd::Identified;
use crate::time::Timestamp;

pub(crate) const RECORD_FILE: &str = "record.json";
pub(crate) const EXIT_FILE: &str = "exit.json";
pub(crate) const STATE_FILE: &str = "state.json";

/// The form of the record; a record with a higher number was written by a newer casemate.
pub(crate) const RECORD_VERSION: u32 = 1;

/// What a list shows of a container. It comes first in the record and is copied into the live state, so that listing five
/// hundred running containers reads one small file for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The id.
    pub id: ContainerId,
    /// The name, without Docker's leading slash.
    pub name: String,
    /// The image as it was asked for.
    pub image: String,
    /// The image's id (`sha256:…`).
    pub image_id: String,
    /// The command line that process 1 runs.
    pub command: Vec<String>,
    /// When it was created.
    pub created: Timestamp,
    /// Labels of image and command line.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What is mounted into it, beyond what every container has.
    #[serde(default)]
    pub mounts: Vec<MountPoint>,
    /// The networks that it is connected to (`none`, `host`, `container:ID`).
    #[serde(default)]
    pub networks: Vec<String>,
    /// `hardened`, or `relaxed: ` and what was relaxed.
    pub posture: String,
    /// Whether it is removed when it ends.
    #[serde(default)]
    pub auto_remove: bool,
}

/// One mount of a container, with Docker's JSON names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The volume's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The path on the host.
    pub source: String,
    /// The path in the container.
    pub destination: String,
    /// The volume driver.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// The options, as they apply.
    pub mode: String,
    /// Whether the container may write.
    #[serde(rename = "RW")]
    pub writable: bool,
    /// Mount propagation.
    #[serde(default)]
    pub propagation: String,
}

/// The record of a container: everything that starting it needs, beside the image's layers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) identity: Identity,
    pub(crate) version: u32,
    pub(crate) process: ProcessRecord,
    /// Who it runs as, looked up in the image when the container was made: what it writes to its own files later changes nothing.
    pub(crate) user: Identified,
    pub(crate) hostname: String,
    pub(crate) domainname: String,
    pub(crate) extra_hosts: Vec<(String, String)>,
    pub(crate) dns: Vec<String>,
    pub(crate) init: bool,
    pub(crate) stop_signal: u8,
    pub(crate) stop_timeout: Duration,
    pub(crate) log: LogConfig,
    /// As it was asked for; relaxations follow from it.
    pub(crate) asked: Posture,
    /// As the host can give it; this is what is applied.
    pub(crate) posture: Posture,
    pub(crate) shortfalls: Vec<Shortfall>,
    pub(crate) allow: Vec<String>,
    /// `None`: the ids are the host's.
    pub(crate) id_range: Option<IdRange>,
    /// Whether the range is claimed for it, or shared by intent (`--userns-remap`).
    pub(crate) range_claimed: bool,
    /// The container whose user namespace is joined.
    pub(crate) joined: Option<ContainerId>,
    /// The image's layers by diff id, bottom first.
    pub(crate) layers: Vec<String>,
    /// Volumes without a name of their own, which go with the container when that is asked for.
    pub(crate) anonymous_volumes: Vec<String>,
    /// Whether the container has a writable layer of its own (or one that only makes mount points).
    pub(crate) upper: bool,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The process part of a record, with image and command line merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessRecord {
    /// As configured, for `inspect`.
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) workdir: String,
    /// As written.
    pub(crate) user: String,
    pub(crate) tty: bool,
    pub(crate) terminal_size: Option<(u16, u16)>,
    pub(crate) open_stdin: bool,
    pub(crate) stdin_once: bool,
}

impl ProcessRecord {
    /// The whole command line.
    pub(crate) fn args(&self) -> Vec<String> {
        self.entrypoint.iter().chain(&self.command).cloned().collect()
    }
}

/// The live state of a container: written when it has started, gone when it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Live {
    pub(crate) identity: Identity,
    /// Process 1 of the container, as the host sees it.
    pub(crate) pid: u32,
    pub(crate) start_time: u64,
    pub(crate) supervisor: u32,
    pub(crate) supervisor_start_time: u64,
    pub(crate) started: Timestamp,
    pub(crate) cgroup: String,
}

impl Live {
    /// A descriptor of the container's process 1. `None` when it has ended, even if its number was given away since.
    pub(crate) fn open_process(&self) -> Option<std::os::fd::OwnedFd> {
        let pidfd = casemate_kernel::process::pidfd_open(self.pid).ok()?;
        // After opening: the number can't change its meaning between the check and the use of the descriptor.
        (casemate_kernel::process::start_time(self.pid) == Some(self.start_time)).then_some(pidfd)
    }
}

/// How a container last ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) exit_code: i32,
    pub(crate) oom_killed: bool,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
    /// Why it could not start, or what became of its supervisor; empty when it simply ended.
    #[serde(default)]
    pub(crate) error: String,
}

/// The part of a record that a list needs; the rest of the file is skipped.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordHead {
    pub(crate) identity: Identity,
}

/// Reads a state file. `None` when there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(content) = directories::read_optional(path).map_err(Error::file("read", path))? else {
        return Ok(None);
    };
    serde_json::from_slice(&content)
        .map(Some)
        .map_err(|error| Error::Damaged { path: path.to_path_buf(), why: error.to_string() })
}

/// Writes a state file in one step.
pub(crate) fn write<T: Serialize>(path: &Path, value: &T, durable: bool) -> Result<()> {
    let content = serde_json::to_vec(value)
        .map_err(|error| Error::Damaged { path: path.to_path_buf(), why: error.to_string() })?;
    directories::replace(path, &content, durable).map_err(Error::file("write", path))
}
