//! Safe Linux: every system call that casemate makes beyond plain file I/O, behind types that carry the kernel's rules.
//!
//! This is the only crate of the workspace with `unsafe` code, and the only one that knows `libc`. It knows nothing of
//! containers: it offers the mechanisms (namespaces, mounts, control groups, capabilities, filters), and the order in
//! which they are used is the runtime's business (`crates/runtime/README.md`).
//!
//! Errors carry the call and all of its arguments, so that a message reads like a line of strace.

pub mod affinity;
pub mod capability;
pub mod cgroup;
pub mod detach;
mod error;
pub mod idmap;
pub mod ioprio;
pub mod keyring;
pub mod loopback;
pub mod lsm;
pub mod memory;
pub mod mempolicy;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod overlay;
pub mod path;
pub mod personality;
pub mod process;
pub mod program;
pub mod rlimit;
pub mod scheduler;
pub mod seccomp;
pub mod socket;
pub mod terminal;
mod workshop;

pub use error::{Error, Result};
