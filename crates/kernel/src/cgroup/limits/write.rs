//! Values on their way into files of a group.

use std::borrow::Cow;

use rustix::io::Errno;

use super::{LimitError, Result};
use crate::cgroup::{Cgroup, Controller, Site, read_file, write_file};

/// What is known of the group that limits are for.
pub(super) enum Target<'a> {
    /// It is not made yet.
    Site(&'a Site),
    /// It was just made: its values are the kernel's defaults.
    New(&'a Cgroup),
    /// It may have any values.
    InUse(&'a Cgroup),
}

/// Which version of a controller a group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Generation {
    V1,
    V2,
}

impl<'a> Target<'a> {
    pub(super) fn site(site: &'a Site) -> Self {
        Self::Site(site)
    }

    pub(super) fn new_group(cgroup: &'a Cgroup) -> Self {
        Self::New(cgroup)
    }

    pub(super) fn group_in_use(cgroup: &'a Cgroup) -> Self {
        Self::InUse(cgroup)
    }

    /// Which version of a controller the group has; `None` without it.
    pub(super) fn version_of(&self, controller: Controller) -> Option<Generation> {
        let unified = match self {
            Self::Site(site) => site.is_unified(controller),
            Self::New(cgroup) | Self::InUse(cgroup) => cgroup.place(controller).map(|place| place.unified),
        }?;
        Some(if unified { Generation::V2 } else { Generation::V1 })
    }

    /// As [`Target::version_of`], where the group needs it for a field.
    pub(super) fn require(&self, controller: Controller, field: &'static str) -> Result<Generation> {
        self.version_of(controller).ok_or_else(|| no_controller(field, controller))
    }

    /// What a file of the group in use says.
    pub(super) fn current(&self, controller: Controller, file: &str) -> Option<String> {
        match self {
            Self::Site(_) | Self::New(_) => None,
            Self::InUse(cgroup) => read_file(cgroup.directory_of(controller)?, file).ok(),
        }
    }
}

pub(super) fn no_controller(field: &str, controller: Controller) -> LimitError {
    LimitError::not_offered(field, format_args!("this host has no {} controller", controller.name()))
}

/// How surely a group that has the controller has the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Always.
    Sure,
    /// It depends on the kernel's version or configuration: worth a look before anything is made.
    Rare,
    /// Nothing is lost without it.
    Optional,
}

/// A value for one file.
#[derive(Debug)]
pub(super) struct Write {
    /// The limit it is for, as a field of OCI's `linux.resources`.
    pub(super) field: Cow<'static, str>,
    pub(super) controller: Controller,
    /// The file and the value; with more than one, the first file that is there.
    pub(super) files: Vec<(Cow<'static, str>, String)>,
    pub(super) presence: Presence,
}

impl Write {
    pub(super) fn new(
        field: &'static str,
        controller: Controller,
        file: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
    ) -> Self {
        let files = vec![(file.into(), value.into())];
        Self { field: Cow::Borrowed(field), controller, files, presence: Presence::Sure }
    }

    pub(super) fn rare(mut self) -> Self {
        self.presence = Presence::Rare;
        self
    }

    pub(super) fn optional(mut self) -> Self {
        self.presence = Presence::Optional;
        self
    }

    /// Another file to take the value when those before are not there.
    pub(super) fn or(mut self, file: &'static str, value: impl Into<String>) -> Self {
        self.files.push((Cow::Borrowed(file), value.into()));
        self
    }

    /// Refuses what can be known not to be there before the group is made.
    pub(super) fn check(&self, site: &Site, target: &Target<'_>) -> Result<()> {
        if target.version_of(self.controller).is_none() {
            return Err(no_controller(&self.field, self.controller));
        }
        if self.presence != Presence::Rare {
            return Ok(());
        }
        let lacking = self.files.iter().all(|(file, _)| site.lacks_file(self.controller, file));
        if lacking { Err(self.no_file()) } else { Ok(()) }
    }

    fn no_file(&self) -> LimitError {
        let names: Vec<&str> = self.files.iter().map(|(file, _)| file.as_ref()).collect();
        LimitError::not_offered(&self.field, format_args!("this host's groups have no {}", names.join(" or ")))
    }

    /// Writes the value; `false` when the kernel finds it wrong beside the others it has.
    fn write(&self, cgroup: &Cgroup, last_chance: bool) -> Result<bool> {
        let directory =
            cgroup.directory_of(self.controller).ok_or_else(|| no_controller(&self.field, self.controller))?;
        for (file, value) in &self.files {
            match write_file(directory, file, value) {
                Ok(()) => return Ok(true),
                Err(error) if error.errno() == Errno::NOENT => {}
                Err(error) if error.errno() == Errno::INVAL && !last_chance => return Ok(false),
                Err(error) => return Err(LimitError::new(&self.field, error)),
            }
        }
        if self.presence == Presence::Optional { Ok(true) } else { Err(self.no_file()) }
    }
}

/// Writes all values. Some must fit each other after each write (memory never above memory with swap; quota, period and
/// burst within those of the group above): what does not fit yet is tried again when others are written.
pub(super) fn write_all(cgroup: &Cgroup, mut writes: Vec<Write>) -> Result<()> {
    while !writes.is_empty() {
        let before = writes.len();
        let mut refused = Vec::new();
        for write in writes {
            if !write.write(cgroup, false)? {
                refused.push(write);
            }
        }
        if refused.len() == before {
            for write in &refused {
                write.write(cgroup, true)?;
            }
            return Ok(());
        }
        writes = refused;
    }
    Ok(())
}
