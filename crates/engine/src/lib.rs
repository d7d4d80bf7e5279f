//! Containers as a user knows them: made from an image and a posture, started, watched, listed, ended and removed.
//!
//! There is no daemon. Every call does its work on the state that lies in the file system ([`Directories`]) and returns; what
//! must outlive it is one supervisor process for each running container. Nothing here prints or exits: front ends do.
//!
//! ```no_run
//! use casemate_engine::{ContainerConfig, Directories, Engine, Forward};
//!
//! # fn main() -> Result<(), casemate_engine::Error> {
//! let engine = Engine::open(Directories::default())?;
//! let mut config = ContainerConfig::new("debian:12");
//! config.command = vec!["id".into()];
//! config.auto_remove = true;
//! let mut run = engine.run(config, true)?;
//! if let Some(session) = run.session.as_mut() {
//!     let outcome = session.forward(&Forward::standard(false), &mut |_, _| {})?;
//!     println!("{outcome:?}");
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
// The JSON of `inspect` has more fields than the default allows a macro to recurse over.
#![recursion_limit = "256"]

mod bundle;
mod check;
mod claims;
mod config;
mod copy;
mod create;
mod directories;
mod engine;
mod error;
mod events;
mod exec;
mod forward;
mod frame;
mod host;
mod id;
mod idmapped;
mod idrange;
mod image_config;
mod imagefacts;
mod init;
mod inspect;
mod launch;
mod lifecycle;
mod list;
mod log;
mod logs;
mod names;
mod passwd;
mod record;
mod removal;
mod session;
mod signal;
mod sources;
mod supervision;
mod supervisor;
mod time;
mod volumes;

pub use check::{CheckReport, Finding};
pub use config::{ContainerConfig, ExecConfig, LogConfig, LogDriver};
pub use create::Created;
pub use directories::Directories;
pub use engine::{Engine, Info};
pub use error::{Error, ErrorKind, Result};
pub use exec::Exec;
pub use forward::{Forward, Outcome};
pub use id::ContainerId;
pub use idrange::IdRange;
pub use init::{INIT_NAME, main as init_main};
pub use inspect::Inspect;
pub use lifecycle::Started;
pub use list::{Status, Summary};
pub use log::{LogEntry, LogOptions, Stream};
pub use record::{Identity, MountPoint};
pub use session::{Event, Session};
pub use signal::Signal;
pub use time::Timestamp;
