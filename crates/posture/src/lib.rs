//! The model of hardening.
//!
//! A [`Posture`] is a plain value that holds every hardening choice of a container. Flags, API bodies and Compose files become one
//! by way of [`options::Options`]; [`Posture::hardened`] is the default; each difference from it that lets something through is a
//! [`Relaxation`]; a [`Policy`] says which of those a host permits; [`fit`] bends a posture to what a host can give and says where
//! it had to.
//!
//! This crate is pure: no input or output, no clock, no kernel.
#![forbid(unsafe_code)]

pub mod bytes;
mod capability;
mod confinement;
pub mod cpu;
pub mod device;
pub mod duration;
mod fit;
pub mod floor;
mod invalid;
pub mod limits;
pub mod mount;
pub mod namespace;
pub mod options;
pub mod path;
mod policy;
mod posture;
pub mod relaxation;
pub mod seccomp;
pub mod signal;
pub mod suggest;
pub mod syscalls;
pub mod sysctl;
pub mod tmpfs;
pub mod ulimit;
pub mod user;

pub use capability::{Capability, CapabilitySet, UnknownCapability};
pub use confinement::{Apparmor, Label, SeccompChoice, SecurityOpt};
pub use device::{Device, DeviceRule};
pub use fit::{Controllers, HostFacts, Shortfall, fit};
pub use invalid::InvalidValue;
pub use limits::Limits;
pub use mount::{Mount, MountKind, Propagation};
pub use namespace::{IpcMode, NamespaceMode, Namespaces, NetworkMode, UserMode};
pub use options::Options;
pub use path::sensitive_path;
pub use policy::{Policy, PolicyError, Refusal, UnknownRelaxation};
pub use posture::{DEFAULT_ENVIRONMENT, Posture};
pub use relaxation::Relaxation;
pub use tmpfs::Tmpfs;
pub use ulimit::{Resource, Ulimit};
pub use user::{Principal, User};
