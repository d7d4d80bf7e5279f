//! `update` and `events`.

use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;

use super::{Container, Runtime, Status};
use crate::error::{Error, Kind, Step};
use crate::statistics::{Event, Statistics};

/// How long an end may go unnoticed where nothing tells of it, in milliseconds.
const LOOK_EVERY: u64 = 250;

impl Runtime {
    /// Changes limits of a container that is not stopped; those that are not given stay what they are.
    ///
    /// # Errors
    /// [`Kind::WrongStatus`] when it is stopped; naming the field that can't be changed so.
    pub fn update(&self, id: &str, resources: &LinuxResources) -> Result<(), Error> {
        let container = self.open(id)?;
        if matches!(container.status()?, Status::Stopped | Status::Creating) {
            return Err(Error::new(Kind::WrongStatus, "container not running"));
        }
        container.group()?.update(resources)
    }

    /// What a container uses now.
    ///
    /// # Errors
    /// [`Kind::WrongStatus`] when it is stopped.
    pub fn statistics(&self, id: &str) -> Result<Statistics, Error> {
        self.open(id)?.statistics()
    }

    /// Tells what a container uses, each `interval`, and each time it runs out of memory, until it ends.
    ///
    /// # Errors
    /// [`Kind::WrongStatus`] when it is stopped already; what `tell` returns.
    pub fn watch(
        &self,
        id: &str,
        interval: Duration,
        tell: &mut dyn FnMut(Event<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let container = self.open(id)?;
        tell(Event::stats(id, container.statistics()?))?;
        let group = container.group()?;
        // Without a limit on memory there is nothing to run out of.
        let mut memory = group.watch_oom().ok();
        let mut next = Instant::now() + interval;
        while container.status()? != Status::Stopped {
            let left = next.saturating_duration_since(Instant::now()).min(Duration::from_millis(LOOK_EVERY));
            let milliseconds = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
            match &mut memory {
                Some(watch) => {
                    if watch.wait(milliseconds).step("wait for events")? {
                        for _ in 0..watch.take().step("wait for events")?.times {
                            tell(Event::oom(id))?;
                        }
                    }
                }
                None => std::thread::sleep(left),
            }
            if Instant::now() >= next {
                next += interval;
                match container.statistics() {
                    Ok(statistics) => tell(Event::stats(id, statistics))?,
                    Err(error) if error.kind() == Kind::WrongStatus => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

impl Container {
    fn statistics(&self) -> Result<Statistics, Error> {
        let gone = || Error::new(Kind::WrongStatus, format!("container with id {} is not running", self.record.id));
        if self.status()? == Status::Stopped {
            return Err(gone());
        }
        self.group_if_there()?.ok_or_else(gone)?.statistics()
    }
}
