//! Who a container's process is at the end: limits, ids, capabilities, no-new-privileges, filter. The same for the first
//! process of a container and for one that joins it.
//!
//! It happens in three parts. Before the start barrier, [`prepare`] does everything that a filter might refuse. After it,
//! [`install_filter`] is the first and [`give_up`] the last thing: between them, whoever answers the filter's notifications
//! is given the listener.
//!
//! Two things only the outside can do for a process in a user namespace, as the kernel asks for rights over the whole
//! machine: [`raise_limits`] and [`schedule`].

use std::os::fd::OwnedFd;

use casemate_kernel::capability::{self, Sets};
use casemate_kernel::{ioprio, mempolicy, personality, process, rlimit, scheduler, seccomp};
use casemate_posture::Capability;
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::error::{Error, Step};
use crate::plan::ProcessPlan;

/// Raises hard limits that lie below those of the specification, while somebody can who has `CAP_SYS_RESOURCE` over the
/// machine. `pid` 0 is the caller.
pub(crate) fn raise_limits(plan: &ProcessPlan, pid: u32) -> Result<(), Error> {
    for (index, limit) in plan.rlimits.iter().enumerate() {
        if let Some(soft) = limit.raised_from {
            rlimit::set_of_process(pid, limit.resource, soft, limit.hard)
                .map_err(|error| Error::field(&format!("process.rlimits[{index}]"), error))?;
        }
    }
    Ok(())
}

/// Sets how willingly the kernel kills the process when memory runs out.
pub(crate) fn set_oom_score(plan: &ProcessPlan, pid: u32) -> Result<(), Error> {
    let Some(score) = plan.oom_score_adj else {
        return Ok(());
    };
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string()).step("process.oomScoreAdj")
}

/// Sets how the process is scheduled, once it is in its control group, which real-time bandwidth belongs to, by whoever has
/// `CAP_SYS_NICE` over the machine. `pid` 0 is the caller.
pub(crate) fn schedule(plan: &ProcessPlan, pid: u32) -> Result<(), Error> {
    if plan.scheduling.by_itself { Ok(()) } else { set_scheduling(plan, pid) }
}

fn set_scheduling(plan: &ProcessPlan, pid: u32) -> Result<(), Error> {
    if let Some((class, priority)) = plan.scheduling.io_priority {
        ioprio::set(pid, class, priority).step("process.ioPriority")?;
    }
    if let Some(attributes) = &plan.scheduling.scheduler {
        scheduler::set(pid, attributes).step("process.scheduler")?;
    }
    Ok(())
}

/// Does all that has to be done before the filter: what it might refuse, and what the process has no right to as its own
/// user.
///
/// The order is the kernel's: the bounding set while `CAP_SETPCAP` is held; then the ids, keeping the permitted set over
/// the change; then the other sets. Without no-new-privileges a filter needs `CAP_SYS_ADMIN` of the namespace, which is then
/// kept until [`give_up`].
pub(crate) fn prepare(plan: &ProcessPlan) -> Result<(), Error> {
    rustix::process::umask(Mode::from_raw_mode(plan.umask));
    if plan.scheduling.by_itself {
        set_scheduling(plan, 0)?;
    }
    if let Some(policy) = &plan.memory_policy {
        mempolicy::set(policy.mode, policy.flags, policy.nodes.as_ref()).step("linux.memoryPolicy")?;
    }
    if let Some(domain) = plan.personality {
        personality::set(domain).step("linux.personality")?;
    }
    for (index, limit) in plan.rlimits.iter().enumerate() {
        rlimit::set(limit.resource, limit.soft, limit.hard)
            .map_err(|error| Error::field(&format!("process.rlimits[{index}]"), error))?;
    }
    capability::limit_bounding(plan.capabilities.bounding).step("process.capabilities.bounding")?;
    capability::keep_over_id_change(true).step("process.capabilities")?;
    process::set_ids(plan.uid, plan.gid, &plan.groups).step("process.user")?;
    // What the kernel makes of it after a change of ids is the administrator's choice (fs.suid_dumpable).
    process::set_undumpable().step("hide from the container")?;
    let sets = sets_for_filter(plan);
    if let Err(error) = capability::set(&sets) {
        return Err(match error.errno() {
            Errno::PERM if sets != plan.capabilities => {
                Error::step("linux.seccomp", format!("needs process.noNewPrivileges or CAP_SYS_ADMIN: {error}"))
            }
            _ => Error::step("process.capabilities", error),
        });
    }
    capability::keep_over_id_change(false).step("process.capabilities")?;
    if plan.no_new_privileges {
        process::set_no_new_privileges().step("process.noNewPrivileges")?;
    }
    Ok(())
}

/// The sets that the process has until its filter is installed.
fn sets_for_filter(plan: &ProcessPlan) -> Sets {
    let mut sets = plan.capabilities;
    if (plan.filter.is_some() || plan.floor.is_some()) && !plan.no_new_privileges {
        let admin = 1_u64 << Capability::SysAdmin.number();
        sets.permitted |= admin;
        sets.effective |= admin;
    }
    sets
}

/// Installs the filter. With a listener, that is to be sent next: until somebody has it, no call that it notifies returns.
pub(crate) fn install_filter(plan: &ProcessPlan) -> Result<Option<OwnedFd>, Error> {
    if let Some(floor) = &plan.floor {
        floor.install()?;
    }
    match &plan.filter {
        Some(filter) => seccomp::install(&filter.program, filter.flags).step("linux.seccomp"),
        None => Ok(None),
    }
}

/// Gives up what only the filter was needed for. After it comes the exec.
pub(crate) fn give_up(plan: &ProcessPlan) -> Result<(), Error> {
    if sets_for_filter(plan) == plan.capabilities {
        return Ok(());
    }
    // The ambient set is as it has to be: the inheritable set does not change.
    capability::set_without_ambient(&plan.capabilities).step("process.capabilities")
}
