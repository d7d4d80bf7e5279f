//! Listing containers.

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::record::{self, EXIT_FILE, Ended, Identity, RECORD_FILE, RecordHead};
use crate::supervision::Liveness;
use crate::time::Timestamp;

/// What a container is doing, in Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Ended, or never came to life.
    Exited,
}

impl Status {
    /// Docker's word: `created`, `running`, `exited`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
        }
    }
}

/// One container in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What it is.
    pub identity: Identity,
    /// What it is doing.
    pub status: Status,
    /// Its process 1 as the host sees it, while it runs.
    pub pid: Option<u32>,
    /// When it was last started.
    pub started: Option<Timestamp>,
    /// When it last ended.
    pub finished: Option<Timestamp>,
    /// How it last ended.
    pub exit_code: Option<i32>,
    /// Whether it was killed for lack of memory.
    pub oom_killed: bool,
    /// Why it could not start, or what befell it; empty otherwise.
    pub error: String,
}

impl Summary {
    pub(crate) fn of_live(live: record::Live) -> Self {
        Self {
            identity: live.identity,
            status: Status::Running,
            pid: Some(live.pid),
            started: Some(live.started),
            finished: None,
            exit_code: None,
            oom_killed: false,
            error: String::new(),
        }
    }

    fn damaged(id: ContainerId, error: &Error) -> Self {
        let identity = Identity {
            name: format!("damaged-{}", id.short()),
            id,
            image: String::new(),
            image_id: String::new(),
            command: Vec::new(),
            created: Timestamp::from_unix(0, 0),
            labels: std::collections::BTreeMap::new(),
            mounts: Vec::new(),
            networks: Vec::new(),
            posture: String::new(),
            auto_remove: false,
        };
        Self { error: error.to_string(), ..Self::of_stopped(identity, None) }
    }

    pub(crate) fn of_stopped(identity: Identity, ended: Option<Ended>) -> Self {
        match ended {
            Some(ended) => Self {
                identity,
                status: Status::Exited,
                pid: None,
                started: Some(ended.started).filter(|time| *time != Timestamp::NEVER),
                finished: Some(ended.finished),
                exit_code: Some(ended.exit_code),
                oom_killed: ended.oom_killed,
                error: ended.error,
            },
            None => Self {
                identity,
                status: Status::Created,
                pid: None,
                started: None,
                finished: None,
                exit_code: None,
                oom_killed: false,
                error: String::new(),
            },
        }
    }
}

impl Engine {
    /// The containers, youngest first: those that run, or with `all` every one.
    ///
    /// What is found dead on the way (a supervisor that was killed) is recorded as ended.
    pub fn list(&self, all: bool) -> Result<Vec<Summary>> {
        let ids = if all { self.container_ids()? } else { self.run_ids()? };
        let mut list = Vec::with_capacity(ids.len());
        for id in ids {
            match self.summary(&id) {
                Ok(Some(summary)) if all || summary.status == Status::Running => list.push(summary),
                // A directory without a record: somebody is making or removing it, or was killed doing so.
                Ok(None) if all => self.collect_unrecorded(&id)?,
                Ok(_) => {}
                // One record that can't be read must not hide the others.
                Err(Error::Damaged { path, why }) => list.push(Summary::damaged(id, &Error::Damaged { path, why })),
                Err(error) => return Err(error),
            }
        }
        list.sort_by(|a, b| {
            b.identity.created.cmp(&a.identity.created).then_with(|| a.identity.id.cmp(&b.identity.id))
        });
        Ok(list)
    }

    /// One container; `None` when it does not exist (any more).
    pub(crate) fn summary(&self, id: &ContainerId) -> Result<Option<Summary>> {
        match self.liveness(id)? {
            Liveness::Running(live) => return Ok(Some(Summary::of_live(*live))),
            Liveness::Abandoned => self.bury(id)?,
            Liveness::Stopped | Liveness::Busy => {}
        }
        let directory = self.directories.container(id);
        let Some(head) = record::read::<RecordHead>(&directory.join(RECORD_FILE))? else { return Ok(None) };
        Ok(Some(Summary::of_stopped(head.identity, record::read(&directory.join(EXIT_FILE))?)))
    }

    /// One container by name, id or the beginning of its id.
    pub fn look_up(&self, target: &str) -> Result<Summary> {
        let id = self.find(target)?;
        self.summary(&id)?.ok_or_else(|| Error::NotFound {
            what: "container",
            name: target.to_owned(),
            suggestion: None,
        })
    }
}
