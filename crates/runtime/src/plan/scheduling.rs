//! When and where a process runs: `process.scheduler`, `ioPriority`, `execCPUAffinity`, `linux.memoryPolicy` and
//! `linux.personality`.

use casemate_kernel::affinity::Mask;
use casemate_kernel::ioprio::Class;
use casemate_kernel::personality::Domain;
use casemate_kernel::scheduler::{self, Attributes, Policy};
use casemate_kernel::{capability, mempolicy};
use casemate_posture::Capability;
use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain,
    LinuxSchedulerFlag, LinuxSchedulerPolicy, Process, Scheduler,
};

use crate::error::{Error, Step};

/// What decides about a process's share of the processors and disks.
#[derive(Debug, Default)]
pub(crate) struct SchedulingPlan {
    pub(crate) scheduler: Option<Attributes>,
    pub(crate) io_priority: Option<(Class, u8)>,
    /// Whether the process does it to itself: whoever makes it has no more right to than it has.
    pub(crate) by_itself: bool,
    /// For a process that joins a container: where it runs until it is in the control group.
    pub(crate) initial_affinity: Option<Mask>,
    /// And from then on.
    pub(crate) final_affinity: Option<Mask>,
}

impl SchedulingPlan {
    pub(super) fn new(process: &Process) -> Result<Self, Error> {
        let scheduler = process.scheduler().as_ref().map(attributes).transpose()?;
        let io_priority = process.io_priority().as_ref().map(io_priority).transpose()?;
        let (initial_affinity, final_affinity) = match process.exec_cpu_affinity() {
            Some(affinity) => affinities(affinity)?,
            None => (None, None),
        };
        let by_itself = (scheduler.is_some() || io_priority.is_some()) && {
            let nice = 1_u64 << Capability::SysNice.number();
            capability::effective().step("process.scheduler, process.ioPriority")? & nice == 0
        };
        Ok(Self { scheduler, io_priority, by_itself, initial_affinity, final_affinity })
    }
}

fn attributes(scheduler: &Scheduler) -> Result<Attributes, Error> {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => Policy::Other,
        LinuxSchedulerPolicy::SchedFifo => Policy::Fifo,
        LinuxSchedulerPolicy::SchedRr => Policy::RoundRobin,
        LinuxSchedulerPolicy::SchedBatch => Policy::Batch,
        LinuxSchedulerPolicy::SchedIso => Policy::Iso,
        LinuxSchedulerPolicy::SchedIdle => Policy::Idle,
        LinuxSchedulerPolicy::SchedDeadline => Policy::Deadline,
    };
    if policy == Policy::Iso {
        return Err(Error::field("process.scheduler.policy", "no kernel has SCHED_ISO"));
    }
    let nice = scheduler.nice().unwrap_or(0);
    if matches!(policy, Policy::Other | Policy::Batch) && !(-20..=19).contains(&nice) {
        return Err(Error::field("process.scheduler.nice", format!("{nice} is not in -20..=19")));
    }
    let priority = scheduler.priority().unwrap_or(0);
    let real_time = matches!(policy, Policy::Fifo | Policy::RoundRobin);
    let priority = match u32::try_from(priority) {
        Ok(priority @ 1..=99) if real_time => priority,
        Ok(0) if !real_time => 0,
        _ if real_time => {
            return Err(Error::field("process.scheduler.priority", format!("{priority} is not in 1..=99")));
        }
        _ => {
            let why = format!("{priority}, but only SCHED_FIFO and SCHED_RR have one");
            return Err(Error::field("process.scheduler.priority", why));
        }
    };
    let times = [
        ("process.scheduler.runtime", scheduler.runtime().unwrap_or(0)),
        ("process.scheduler.deadline", scheduler.deadline().unwrap_or(0)),
        ("process.scheduler.period", scheduler.period().unwrap_or(0)),
    ];
    if policy != Policy::Deadline
        && let Some((field, value)) = times.iter().find(|(_, value)| *value != 0)
    {
        return Err(Error::field(field, format!("{value}, but only SCHED_DEADLINE has one")));
    }
    let [runtime, deadline, period] = times.map(|(_, value)| value);
    if policy == Policy::Deadline && !(runtime > 0 && runtime <= deadline && (period == 0 || deadline <= period)) {
        let why = format!("runtime {runtime} <= deadline {deadline} <= period {period} must hold");
        return Err(Error::field("process.scheduler.deadline", why));
    }
    let flags = scheduler.flags().as_deref().unwrap_or_default().iter().fold(0, |flags, flag| flags | bit(*flag));
    Ok(Attributes { policy, flags, nice, priority, runtime, deadline, period })
}

fn bit(flag: LinuxSchedulerFlag) -> u64 {
    match flag {
        LinuxSchedulerFlag::SchedResetOnFork => scheduler::FLAG_RESET_ON_FORK,
        LinuxSchedulerFlag::SchedFlagReclaim => scheduler::FLAG_RECLAIM,
        LinuxSchedulerFlag::SchedFlagDLOverrun => scheduler::FLAG_DL_OVERRUN,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => scheduler::FLAG_KEEP_POLICY,
        LinuxSchedulerFlag::SchedFlagKeepParams => scheduler::FLAG_KEEP_PARAMS,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => scheduler::FLAG_UTIL_CLAMP_MIN,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => scheduler::FLAG_UTIL_CLAMP_MAX,
    }
}

fn io_priority(priority: &LinuxIOPriority) -> Result<(Class, u8), Error> {
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => Class::RealTime,
        IOPriorityClass::IoprioClassBe => Class::BestEffort,
        IOPriorityClass::IoprioClassIdle => Class::Idle,
    };
    match u8::try_from(priority.priority()) {
        Ok(level @ 0..=7) => Ok((class, level)),
        _ => Err(Error::field("process.ioPriority.priority", format!("{} is not in 0..=7", priority.priority()))),
    }
}

fn affinities(affinity: &ExecCPUAffinity) -> Result<(Option<Mask>, Option<Mask>), Error> {
    let mask = |field: &str, list: Option<&str>| {
        list.filter(|list| !list.is_empty()).map(|list| list_of("processors", field, list)).transpose()
    };
    Ok((
        mask("process.execCPUAffinity.initial", affinity.initial().as_deref())?,
        mask("process.execCPUAffinity.final", affinity.cpu_affinity_final().as_deref())?,
    ))
}

fn list_of(what: &str, field: &str, list: &str) -> Result<Mask, Error> {
    Mask::from_list(list).ok_or_else(|| Error::field(field, format!("{list:?} is no list of {what} such as \"0-3,7\"")))
}

/// A memory policy: mode, flags, nodes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MemoryPolicy {
    pub(crate) mode: u32,
    pub(crate) flags: u32,
    pub(crate) nodes: Option<Mask>,
}

/// `linux.memoryPolicy`, checked for what the kernel would refuse without saying why.
pub(super) fn memory_policy(policy: Option<&LinuxMemoryPolicy>) -> Result<Option<MemoryPolicy>, Error> {
    let Some(policy) = policy else {
        return Ok(None);
    };
    let number = |table: &[(&str, u32)], name: &str| table.iter().find(|(known, _)| *known == name).map(|(_, n)| *n);
    let name = policy.mode().to_string();
    let mode = number(&mempolicy::MODES, &name)
        .ok_or_else(|| Error::field("linux.memoryPolicy.mode", format!("{name:?} is no mode")))?;
    let mut flags = 0;
    for flag in policy.flags().as_deref().unwrap_or_default() {
        let name = flag.to_string();
        flags |= number(&mempolicy::FLAGS, &name)
            .ok_or_else(|| Error::field("linux.memoryPolicy.flags", format!("{name:?} is no flag")))?;
    }
    let list = policy.nodes().as_deref().filter(|list| !list.is_empty());
    let nodes = list.map(|list| list_of("memory nodes", "linux.memoryPolicy.nodes", list)).transpose()?;
    let field = "linux.memoryPolicy.nodes";
    match (name.as_str(), &nodes) {
        ("MPOL_DEFAULT" | "MPOL_LOCAL", Some(_)) => Err(Error::field(field, format!("{name} takes none"))),
        ("MPOL_BIND" | "MPOL_INTERLEAVE" | "MPOL_PREFERRED_MANY" | "MPOL_WEIGHTED_INTERLEAVE", None) => {
            Err(Error::field(field, format!("{name} needs one at least")))
        }
        _ => Ok(Some(MemoryPolicy { mode, flags, nodes })),
    }
}

/// `linux.personality`.
pub(super) fn personality(personality: Option<&LinuxPersonality>) -> Result<Option<Domain>, Error> {
    let Some(personality) = personality else {
        return Ok(None);
    };
    if let Some(flag) = personality.flags().as_deref().unwrap_or_default().first() {
        return Err(Error::field("linux.personality.flags", format!("{flag:?}: the specification knows no flag yet")));
    }
    Ok(Some(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => Domain::Linux,
        LinuxPersonalityDomain::PerLinux32 => Domain::Linux32,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheduler(text: &str) -> Result<Attributes, Error> {
        attributes(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn values_belong_to_a_policy() {
        let batch = scheduler(r#"{"policy":"SCHED_BATCH","nice":7,"flags":["SCHED_FLAG_KEEP_PARAMS"]}"#).unwrap();
        assert_eq!((batch.policy, batch.nice, batch.flags), (Policy::Batch, 7, 0x10));
        let deadline =
            scheduler(r#"{"policy":"SCHED_DEADLINE","runtime":1000,"deadline":2000,"period":3000}"#).unwrap();
        assert_eq!((deadline.runtime, deadline.deadline, deadline.period), (1000, 2000, 3000));
        assert_eq!(scheduler(r#"{"policy":"SCHED_RR","priority":99}"#).unwrap().priority, 99);
        for (wrong, field) in [
            (r#"{"policy":"SCHED_OTHER","nice":20}"#, "nice"),
            (r#"{"policy":"SCHED_OTHER","priority":1}"#, "priority"),
            (r#"{"policy":"SCHED_FIFO"}"#, "priority"),
            (r#"{"policy":"SCHED_FIFO","priority":100}"#, "priority"),
            (r#"{"policy":"SCHED_RR","priority":-1}"#, "priority"),
            (r#"{"policy":"SCHED_IDLE","period":1}"#, "period"),
            (r#"{"policy":"SCHED_DEADLINE","runtime":3,"deadline":2}"#, "deadline"),
            (r#"{"policy":"SCHED_ISO"}"#, "policy"),
        ] {
            let error = scheduler(wrong).unwrap_err().to_string();
            assert!(error.starts_with(&format!("process.scheduler.{field}: ")), "{wrong}: {error}");
        }
    }

    #[test]
    fn io_priorities_are_eight() {
        let read = |text: &str| io_priority(&serde_json::from_str(text).unwrap());
        assert_eq!(read(r#"{"class":"IOPRIO_CLASS_RT","priority":7}"#).unwrap(), (Class::RealTime, 7));
        for priority in ["8", "-1", "263"] {
            let error = read(&format!(r#"{{"class":"IOPRIO_CLASS_BE","priority":{priority}}}"#)).unwrap_err();
            assert!(error.to_string().starts_with("process.ioPriority.priority: "), "{error}");
        }
    }

    #[test]
    fn memory_policies_take_the_nodes_that_fit_their_mode() {
        let read = |text: &str| memory_policy(Some(&serde_json::from_str(text).unwrap()));
        let bind = read(r#"{"mode":"MPOL_BIND","nodes":"0-1","flags":["MPOL_F_STATIC_NODES"]}"#).unwrap().unwrap();
        assert_eq!((bind.mode, bind.flags, bind.nodes.unwrap().words()), (2, 1 << 15, &[3][..]));
        assert!(read(r#"{"mode":"MPOL_PREFERRED"}"#).is_ok());
        for wrong in [
            r#"{"mode":"MPOL_DEFAULT","nodes":"0"}"#,
            r#"{"mode":"MPOL_INTERLEAVE"}"#,
            r#"{"mode":"MPOL_BIND","nodes":"zero"}"#,
        ] {
            assert!(read(wrong).unwrap_err().to_string().starts_with("linux.memoryPolicy.nodes: "), "{wrong}");
        }
    }

    #[test]
    fn flags_of_a_personality_are_refused() {
        let read = |text: &str| personality(Some(&serde_json::from_str(text).unwrap()));
        assert_eq!(read(r#"{"domain":"LINUX32"}"#).unwrap(), Some(Domain::Linux32));
        let error = read(r#"{"domain":"LINUX","flags":["ADDR_NO_RANDOMIZE"]}"#).unwrap_err().to_string();
        assert!(error.starts_with("linux.personality.flags: "), "{error}");
    }
}
