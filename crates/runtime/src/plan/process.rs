//! The process of a specification.

use std::collections::HashSet;
use std::ffi::CString;
use std::path::PathBuf;

use casemate_kernel::capability::{self as kernel_capability, Sets};
use casemate_kernel::lsm;
use casemate_kernel::namespace::IdMap;
use casemate_kernel::personality::Domain;
use casemate_kernel::rlimit::{self, Resource};
use casemate_posture::Capability;
use oci_spec::runtime::{Linux, Process};

use super::capabilities::capabilities;
use super::scheduling::{self, MemoryPolicy, SchedulingPlan};
use crate::error::{Error, Step};
use crate::seccomp::{self, Filter};

/// A process to become.
#[derive(Debug)]
pub(crate) struct ProcessPlan {
    pub(crate) args: Vec<CString>,
    /// As given, without what a later entry of the same name replaces.
    pub(crate) env: Vec<CString>,
    /// Whether `HOME` is to be looked up: the specification has none.
    pub(crate) needs_home: bool,
    pub(crate) cwd: PathBuf,
    pub(crate) terminal: bool,
    /// Columns and rows of the terminal, when the specification says.
    pub(crate) console_size: Option<(u16, u16)>,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) umask: u32,
    pub(crate) capabilities: Sets,
    pub(crate) no_new_privileges: bool,
    /// In the order of the specification, whose places errors name.
    pub(crate) rlimits: Vec<Limit>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) scheduling: SchedulingPlan,
    pub(crate) memory_policy: Option<MemoryPolicy>,
    pub(crate) personality: Option<Domain>,
    pub(crate) apparmor_profile: Option<String>,
    pub(crate) selinux_label: Option<String>,
    pub(crate) filter: Option<Filter>,
    /// The posture's filter, which holds below the other one.
    pub(crate) floor: Option<Filter>,
    /// What was passed over, for the log.
    pub(crate) warnings: Vec<String>,
}

/// A limit of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) resource: Resource,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
    /// The soft limit of whoever makes the process, if its hard limit is below this one and has to be raised.
    pub(crate) raised_from: Option<u64>,
}

impl ProcessPlan {
    pub(crate) fn new(process: &Process, linux: &Linux, in_user_namespace: bool) -> Result<Self, Error> {
        let args = strings("process.args", process.args().as_deref())?;
        if args.is_empty() {
            return Err(Error::field("process.args", "no command"));
        }
        let cwd = process.cwd().clone();
        if cwd.as_os_str().is_empty() {
            return Err(Error::field("process.cwd", "missing"));
        }
        if !cwd.is_absolute() || cwd.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(Error::field("process.cwd", format!("{cwd:?} is not absolute")));
        }
        let terminal = process.terminal().unwrap_or(false);
        let user = process.user();
        let (env, needs_home) = environment(process.env().as_deref())?;
        let (capabilities, warnings) = capabilities(process, in_user_namespace)?;
        Ok(Self {
            args,
            env,
            needs_home,
            cwd,
            terminal,
            console_size: if terminal { console_size(process)? } else { None },
            uid: id("process.user.uid", user.uid())?,
            gid: id("process.user.gid", user.gid())?,
            groups: groups(user.additional_gids().as_deref().unwrap_or_default())?,
            umask: umask(user.umask())?,
            capabilities,
            no_new_privileges: process.no_new_privileges().unwrap_or(false),
            rlimits: rlimits(process)?,
            oom_score_adj: oom_score_adj(process.oom_score_adj())?,
            scheduling: SchedulingPlan::new(process)?,
            memory_policy: scheduling::memory_policy(linux.memory_policy().as_ref())?,
            personality: scheduling::personality(linux.personality().as_ref())?,
            apparmor_profile: apparmor_profile(process.apparmor_profile().as_deref())?,
            selinux_label: selinux_label(process.selinux_label().as_deref())?,
            floor: None,
            filter: linux.seccomp().as_ref().map(seccomp::compile).transpose()?,
            warnings,
        })
    }

    /// Tells the program how many sockets of a service manager it inherits (`sd_listen_fds(3)`).
    pub(crate) fn tell_of_sockets(&mut self, count: u32) -> Result<(), Error> {
        if count > 0 {
            self.env.retain(|entry| {
                let bytes = entry.as_bytes();
                !bytes.starts_with(b"LISTEN_FDS=") && !bytes.starts_with(b"LISTEN_PID=")
            });
            self.env.push(string("LISTEN_FDS", &format!("LISTEN_FDS={count}"))?);
            self.env.push(string("LISTEN_PID", "LISTEN_PID=1")?);
        }
        Ok(())
    }

    /// Whether the filter has somebody asked about calls.
    pub(crate) fn asks_about_calls(&self) -> bool {
        self.filter.as_ref().is_some_and(|filter| filter.listener.is_some())
    }

    /// Checks that the ids exist in the container: the kernel would refuse them late, and without saying which.
    pub(crate) fn check_mapped(&self, uids: &[IdMap], gids: &[IdMap]) -> Result<(), Error> {
        let mapped = |maps: &[IdMap], id: u32, field: &str| {
            if maps.iter().any(|map| id >= map.inside && id - map.inside < map.count) {
                return Ok(());
            }
            Err(Error::field(field, format!("{id} is not mapped in the container's user namespace")))
        };
        mapped(uids, self.uid, "process.user.uid")?;
        mapped(gids, self.gid, "process.user.gid")?;
        self.groups
            .iter()
            .enumerate()
            .try_for_each(|(index, group)| mapped(gids, *group, &format!("process.user.additionalGids[{index}]")))
    }
}

fn string(field: &str, text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::field(field, format!("{text:?} has a NUL byte")))
}

fn strings(field: &str, list: Option<&[String]>) -> Result<Vec<CString>, Error> {
    let list = list.unwrap_or_default().iter().enumerate();
    list.map(|(index, text)| string(&format!("{field}[{index}]"), text)).collect()
}

/// The environment, in its order: of several entries of one name the last counts. An entry without a name or a `=` is
/// handed on as it is. Says whether `HOME` is missing, which an empty one is, too.
fn environment(list: Option<&[String]>) -> Result<(Vec<CString>, bool), Error> {
    let list = list.unwrap_or_default();
    let mut names = HashSet::with_capacity(list.len());
    let (mut kept, mut needs_home) = (Vec::with_capacity(list.len() + 1), true);
    for (index, entry) in list.iter().enumerate().rev() {
        let entry_bytes = string(&format!("process.env[{index}]"), entry)?;
        if let Some((name, value)) = entry.split_once('=') {
            if !names.insert(name) {
                continue;
            }
            if name == "HOME" {
                if value.is_empty() {
                    continue;
                }
                needs_home = false;
            }
        }
        kept.push(entry_bytes);
    }
    kept.reverse();
    Ok((kept, needs_home))
}

/// An id that is one: the largest number means "no change" to the kernel.
fn id(field: &str, id: u32) -> Result<u32, Error> {
    if id == u32::MAX { Err(Error::field(field, format!("{id} is no id"))) } else { Ok(id) }
}

fn groups(list: &[u32]) -> Result<Vec<u32>, Error> {
    // NGROUPS_MAX of the kernel.
    if list.len() > 65_536 {
        return Err(Error::field("process.user.additionalGids", format!("{}; the kernel takes 65536", list.len())));
    }
    let each = list.iter().enumerate();
    each.map(|(index, group)| id(&format!("process.user.additionalGids[{index}]"), *group)).collect()
}

fn umask(umask: Option<u32>) -> Result<u32, Error> {
    match umask {
        None => Ok(0o022),
        Some(umask @ 0..=0o777) => Ok(umask),
        Some(umask) => Err(Error::field("process.user.umask", format!("{umask} is above 0777 (511)"))),
    }
}

fn console_size(process: &Process) -> Result<Option<(u16, u16)>, Error> {
    let Some(size) = process.console_size() else {
        return Ok(None);
    };
    let number = |field: &str, value: u64| {
        u16::try_from(value).map_err(|_| Error::field(field, format!("{value} is above 65535")))
    };
    let columns = number("process.consoleSize.width", size.width())?;
    Ok(Some((columns, number("process.consoleSize.height", size.height())?)))
}

fn oom_score_adj(score: Option<i32>) -> Result<Option<i32>, Error> {
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => {
            Err(Error::field("process.oomScoreAdj", format!("{score} is not in -1000..=1000")))
        }
        score => Ok(score),
    }
}

fn rlimits(process: &Process) -> Result<Vec<Limit>, Error> {
    let mut limits: Vec<Limit> = Vec::new();
    for (index, limit) in process.rlimits().as_deref().unwrap_or_default().iter().enumerate() {
        let field = || format!("process.rlimits[{index}]");
        let (name, soft, hard) = (limit.typ().to_string(), limit.soft(), limit.hard());
        let resource = Resource::from_name(&name)
            .ok_or_else(|| Error::field(&format!("{}.type", field()), format!("{name:?} is no resource")))?;
        if limits.iter().any(|known| known.resource == resource) {
            return Err(Error::field(&field(), format!("{name} is limited twice")));
        }
        if soft > hard {
            return Err(Error::field(&field(), format!("{name}: soft {soft} is above hard {hard}")));
        }
        let (own_soft, own_hard) = rlimit::get(resource).step(&field())?;
        let raised_from = (hard > own_hard).then_some(own_soft);
        if raised_from.is_some() {
            let right = 1_u64 << Capability::SysResource.number();
            if kernel_capability::effective().step(&field())? & right == 0 {
                let why = format!(
                    "{name}: hard {hard} is above the runtime's own {own_hard}, which only CAP_SYS_RESOURCE may raise"
                );
                return Err(Error::field(&field(), why));
            }
        }
        limits.push(Limit { resource, soft, hard, raised_from });
    }
    Ok(limits)
}

fn label(field: &str, label: Option<&str>) -> Result<Option<String>, Error> {
    match label.filter(|label| !label.is_empty()) {
        Some(label) if label.len() > 4095 || label.chars().any(char::is_control) => {
            Err(Error::field(field, format!("{label:?} is no label")))
        }
        label => Ok(label.map(str::to_owned)),
    }
}

fn apparmor_profile(profile: Option<&str>) -> Result<Option<String>, Error> {
    let field = "process.apparmorProfile";
    match label(field, profile)? {
        // Without AppArmor every process is.
        Some(profile) if profile == "unconfined" && !lsm::apparmor_enabled() => Ok(None),
        Some(profile) if !lsm::apparmor_enabled() => {
            Err(Error::field(field, format!("{profile:?}, but AppArmor is not enabled on this host")))
        }
        profile => Ok(profile),
    }
}

fn selinux_label(context: Option<&str>) -> Result<Option<String>, Error> {
    let field = "process.selinuxLabel";
    match label(field, context)? {
        Some(context) if !lsm::selinux_enabled() => {
            Err(Error::field(field, format!("{context:?}, but SELinux is not enabled on this host")))
        }
        context => Ok(context),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<ProcessPlan, Error> {
        let text = format!(r#"{{"args":["a"],"cwd":"/","user":{{"uid":0,"gid":0}},{text}}}"#);
        ProcessPlan::new(&super::super::document::process(text.as_bytes())?.0, &Linux::default(), true)
    }

    fn refused(text: &str, beginning: &str) {
        let error = plan(text).unwrap_err().to_string();
        assert!(error.starts_with(beginning), "{text}: {error}");
    }

    fn shown(list: &[CString]) -> Vec<&str> {
        list.iter().map(|entry| entry.to_str().unwrap()).collect()
    }

    #[test]
    fn fields_are_refused_by_name() {
        refused(r#""args":[]"#, "process.args: ");
        refused(r#""args":["a","b\u0000"]"#, "process.args[1]: ");
        refused(r#""env":["A=1","B=\u0000"]"#, "process.env[1]: ");
        refused(r#""cwd":"etc""#, "process.cwd: ");
        refused(r#""cwd":"""#, "process.cwd: ");
        refused(r#""user":{"uid":4294967295,"gid":0}"#, "process.user.uid: ");
        refused(r#""user":{"uid":0,"gid":0,"additionalGids":[1,4294967295]}"#, "process.user.additionalGids[1]: ");
        refused(r#""user":{"uid":0,"gid":0,"umask":512}"#, "process.user.umask: ");
        refused(r#""oomScoreAdj":1001"#, "process.oomScoreAdj: ");
        refused(r#""terminal":true,"consoleSize":{"height":1,"width":65536}"#, "process.consoleSize.width: ");
        refused(r#""rlimits":[{"type":"RLIMIT_CORE","soft":2,"hard":1}]"#, "process.rlimits[0]: RLIMIT_CORE: soft 2");
        let twice = r#"{"type":"RLIMIT_CORE","soft":0,"hard":0}"#;
        refused(&format!(r#""rlimits":[{twice},{twice}]"#), "process.rlimits[1]: RLIMIT_CORE is limited twice");
        refused(r#""rlimits":[{"type":"RLIMIT_TEST","soft":0,"hard":0}]"#, "process.rlimits[0].type: ");
    }

    #[test]
    fn a_hard_limit_above_the_own_one_needs_the_right_to_raise_it() {
        let (_, own) = rlimit::get(Resource::from_name("RLIMIT_NOFILE").unwrap()).unwrap();
        let may = kernel_capability::effective().unwrap() >> Capability::SysResource.number() & 1 == 1;
        let text = format!(r#""rlimits":[{{"type":"RLIMIT_NOFILE","soft":1,"hard":{}}}]"#, own + 1);
        if may {
            assert!(plan(&text).unwrap().rlimits[0].raised_from.is_some());
        } else {
            refused(&text, "process.rlimits[0]: RLIMIT_NOFILE: hard");
        }
        let text = format!(r#""rlimits":[{{"type":"RLIMIT_NOFILE","soft":1,"hard":{own}}}]"#);
        assert_eq!(plan(&text).unwrap().rlimits[0].raised_from, None);
    }

    #[test]
    fn labels_need_their_module() {
        if !lsm::apparmor_enabled() {
            refused(r#""apparmorProfile":"a""#, "process.apparmorProfile: ");
            assert_eq!(plan(r#""apparmorProfile":"unconfined""#).unwrap().apparmor_profile, None);
        }
        if !lsm::selinux_enabled() {
            refused(r#""selinuxLabel":"system_u:system_r:container_t:s0""#, "process.selinuxLabel: ");
        }
        refused(r#""apparmorProfile":"a\nexec b""#, "process.apparmorProfile: ");
        assert_eq!(plan(r#""apparmorProfile":"","selinuxLabel":"""#).unwrap().selinux_label, None);
    }

    #[test]
    fn the_last_of_equal_names_counts_and_what_is_no_pair_stays() {
        let given = ["A=1", "B", "C=", "A=2", "B", "=x", "HOME="].map(str::to_owned);
        let (env, needs_home) = environment(Some(&given)).unwrap();
        assert_eq!(shown(&env), ["B", "C=", "A=2", "B", "=x"]);
        assert!(needs_home);
        let (env, needs_home) = environment(Some(&["HOME=/h".to_owned()])).unwrap();
        assert_eq!(shown(&env), ["HOME=/h"]);
        assert!(!needs_home);
    }

    #[test]
    fn a_console_size_is_for_a_terminal() {
        let size = r#""consoleSize":{"height":24,"width":80}"#;
        assert_eq!(plan(&format!(r#""terminal":true,{size}"#)).unwrap().console_size, Some((80, 24)));
        assert_eq!(plan(size).unwrap().console_size, None);
    }

    #[test]
    fn ids_must_be_mapped() {
        let maps = [IdMap { inside: 0, outside: 1000, count: 10 }];
        let plan = plan(r#""user":{"uid":9,"gid":0,"additionalGids":[1,10]}"#).unwrap();
        let error = plan.check_mapped(&maps, &maps).unwrap_err().to_string();
        assert!(error.starts_with("process.user.additionalGids[1]: 10 is not mapped"), "{error}");
        let error = plan.check_mapped(&[], &maps).unwrap_err().to_string();
        assert!(error.starts_with("process.user.uid: "), "{error}");
    }
}
