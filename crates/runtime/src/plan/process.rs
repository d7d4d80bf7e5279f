//! The process of a specification.

use std::ffi::CString;
use std::path::PathBuf;

use casemate_kernel::capability::Sets;
use casemate_kernel::rlimit::Resource;
use casemate_posture::Capability;
use oci_spec::runtime::{Capabilities, Linux, Process};

use crate::error::Error;
use crate::seccomp::{self, Filter};

/// A process to become.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    pub(crate) args: Vec<CString>,
    pub(crate) env: Vec<CString>,
    pub(crate) cwd: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) umask: u32,
    pub(crate) capabilities: Sets,
    pub(crate) no_new_privileges: bool,
    pub(crate) rlimits: Vec<(Resource, u64, u64)>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) filter: Option<Filter>,
    pub(crate) terminal: bool,
    /// Columns and rows.
    pub(crate) console_size: Option<(u16, u16)>,
}

impl ProcessPlan {
    pub(crate) fn new(process: &Process, linux: &Linux) -> Result<Self, Error> {
        let args = strings("process.args", process.args().as_deref())?;
        if args.is_empty() {
            return Err(Error::field("process.args", "no command"));
        }
        let cwd = process.cwd().clone();
        if !cwd.is_absolute() {
            return Err(Error::field("process.cwd", format!("{cwd:?} is not absolute")));
        }
        let user = process.user();
        let offered = |present: bool, field: &str| {
            if present { Err(Error::field(field, "this runtime does not offer it")) } else { Ok(()) }
        };
        offered(process.apparmor_profile().as_ref().is_some_and(|name| !name.is_empty()), "process.apparmorProfile")?;
        offered(process.selinux_label().as_ref().is_some_and(|label| !label.is_empty()), "process.selinuxLabel")?;
        offered(process.io_priority().is_some(), "process.ioPriority")?;
        offered(process.scheduler().is_some(), "process.scheduler")?;
        offered(process.exec_cpu_affinity().is_some(), "process.execCPUAffinity")?;
        Ok(Self {
            args,
            env: environment(process)?,
            cwd,
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            umask: user.umask().unwrap_or(0o022),
            capabilities: capabilities(process),
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            rlimits: rlimits(process)?,
            oom_score_adj: process.oom_score_adj(),
            terminal: process.terminal().unwrap_or(false),
            console_size: process.console_size().map(|size| {
                let fit = |value: u64| u16::try_from(value).unwrap_or(u16::MAX);
                (fit(size.width()), fit(size.height()))
            }),
            filter: linux.seccomp().as_ref().map(seccomp::compile).transpose()?,
        })
    }
}

fn strings(field: &str, list: Option<&[String]>) -> Result<Vec<CString>, Error> {
    list.unwrap_or_default()
        .iter()
        .map(|text| CString::new(text.as_str()).map_err(|_| Error::field(field, format!("{text:?} has a NUL byte"))))
        .collect()
}

/// The environment as given, with `HOME` left to the caller: only the image knows its users.
fn environment(process: &Process) -> Result<Vec<CString>, Error> {
    strings("process.env", process.env().as_deref())
}

fn mask(set: Option<&Capabilities>) -> u64 {
    let mut bits = 0;
    for capability in set.into_iter().flatten() {
        if let Ok(known) = capability.to_string().parse::<Capability>() {
            bits |= 1 << known.number();
        }
    }
    bits
}

fn capabilities(process: &Process) -> Sets {
    let Some(sets) = process.capabilities() else {
        return Sets::default();
    };
    Sets {
        bounding: mask(sets.bounding().as_ref()),
        effective: mask(sets.effective().as_ref()),
        permitted: mask(sets.permitted().as_ref()),
        inheritable: mask(sets.inheritable().as_ref()),
        ambient: mask(sets.ambient().as_ref()),
    }
}

fn rlimits(process: &Process) -> Result<Vec<(Resource, u64, u64)>, Error> {
    let mut limits: Vec<(Resource, u64, u64)> = Vec::new();
    for limit in process.rlimits().as_deref().unwrap_or_default() {
        let name = limit.typ().to_string();
        let resource = Resource::from_name(&name)
            .ok_or_else(|| Error::field("process.rlimits.type", format!("{name:?} is no resource of this kernel")))?;
        if limits.iter().any(|(known, ..)| *known == resource) {
            return Err(Error::field("process.rlimits", format!("{name} is limited twice")));
        }
        if limit.soft() > limit.hard() {
            return Err(Error::field(
                "process.rlimits",
                format!("{name}: soft {} is above hard {}", limit.soft(), limit.hard()),
            ));
        }
        limits.push((resource, limit.soft(), limit.hard()));
    }
    Ok(limits)
}
