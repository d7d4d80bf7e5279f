//! The OCI runtime: from a specification (`config.json`) and a root file system to a running process.
//!
//! It knows bundles, not images or engines. What it does to a process, in which order and why, is the table in this
//! crate's `README.md`; the order is the security core of casemate.
//!
//! A container is made by [`create`], which returns when its first process stands ready behind the start barrier, and
//! started by [`Created::start`]. [`exec`] starts another process in it.
#![forbid(unsafe_code)]

mod affinity;
pub mod bundle;
mod cgroup;
mod create;
mod environment;
mod error;
mod exec;
mod features;
mod floor;
mod hooks;
mod identity;
mod idmaps;
mod init;
mod labels;
pub mod lifecycle;
mod message;
mod namespaces;
mod netdevices;
mod plan;
mod program;
mod resctrl;
mod rootfs;
pub mod seccomp;
mod sources;
mod spawn;
pub mod statistics;
mod stdio;
mod systemd;

pub use cgroup::{CgroupRecord, ContainerGroup, ScopeRecord, read_update};
pub use create::{BoxError, CreateRequest, Created, RootFs, create};
pub use error::{Error, Kind};
pub use exec::{ExecRequest, exec};
pub use features::features;
pub use plan::mount::option_names;
pub use sources::open_rootfs;
pub use stdio::Stdio;

/// The version of the runtime specification that is implemented.
pub const SPEC_VERSION: &str = "1.3.0";
