//! What is kept of a container between commands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use casemate_kernel::process;
use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupRecord;

/// A container as it is kept on disk. Nothing in it is ever taken from what the container can write.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) oci_version: String,
    pub(super) id: String,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    /// When it was made, RFC 3339.
    pub(super) created: String,
    /// The user that made it.
    pub(super) owner: u32,
    /// The command that is making it.
    pub(super) maker: Identity,
    /// Its first process, as soon as there is one.
    pub(super) init: Option<Identity>,
    /// Whether it was made whole: its first process stands at the barrier, or has been there.
    pub(super) complete: bool,
    /// Its control group.
    pub(super) cgroup: CgroupRecord,
    /// The resource control group that was made for it, or that it was put into.
    #[serde(default)]
    pub(super) resctrl: crate::resctrl::Made,
    /// Whether the posture's floor was applied, so that `exec` applies it too.
    #[serde(default)]
    pub(super) hardened: bool,
}

/// A process, for as long as the system is up: a number is given again, a number with a start time is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    pub(super) pid: u32,
    pub(super) start_time: u64,
}

impl Identity {
    /// The process with a number now; `None` when there is none, or it has ended.
    pub(super) fn of(pid: u32) -> Option<Self> {
        process::start_time(pid).map(|start_time| Self { pid, start_time })
    }

    /// Whether it still runs.
    pub(super) fn is_alive(self) -> bool {
        process::start_time(self.pid) == Some(self.start_time)
    }
}
