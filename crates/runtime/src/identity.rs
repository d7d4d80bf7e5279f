//! Who a container's process is at the end: limits, ids, capabilities, no-new-privileges, filter. The same for the first
//! process of a container and for one that joins it.

use casemate_kernel::capability::{self, Sets};
use casemate_kernel::rlimit;
use casemate_kernel::{process, seccomp as kernel_seccomp};

use crate::error::{Error, Step};
use crate::plan::ProcessPlan;

/// Limits that are lowered while the process still has the right to.
pub(crate) fn set_limits(plan: &ProcessPlan) -> Result<(), Error> {
    for &(resource, soft, hard) in &plan.rlimits {
        rlimit::set(resource, soft, hard).step("process.rlimits")?;
    }
    Ok(())
}

/// Gives the process its ids and takes away every capability it is not to have.
///
/// The order is the kernel's: the bounding set while `CAP_SETPCAP` is held; then the ids, keeping the permitted set over
/// the change; then the other sets. Without no-new-privileges a filter needs `CAP_SYS_ADMIN` of the namespace, so it is
/// installed before the sets are given up, otherwise as the very last thing ([`install_filter`]).
pub(crate) fn become_user(plan: &ProcessPlan) -> Result<(), Error> {
    capability::limit_bounding(plan.capabilities.bounding).step("process.capabilities.bounding")?;
    if !plan.no_new_privileges {
        install_filter(plan)?;
    }
    capability::keep_over_id_change(true).step("process.capabilities")?;
    process::set_ids(plan.uid, plan.gid, &plan.groups).step("process.user")?;
    let sets: &Sets = &plan.capabilities;
    capability::set(sets).step("process.capabilities")?;
    capability::keep_over_id_change(false).step("process.capabilities")?;
    if plan.no_new_privileges {
        process::set_no_new_privileges().step("process.noNewPrivileges")?;
    }
    Ok(())
}

/// The last step before the exec of a process with no-new-privileges: after it, only what the filter allows can be done.
pub(crate) fn install_last_filter(plan: &ProcessPlan) -> Result<(), Error> {
    if plan.no_new_privileges { install_filter(plan) } else { Ok(()) }
}

fn install_filter(plan: &ProcessPlan) -> Result<(), Error> {
    if let Some(filter) = &plan.filter {
        kernel_seccomp::install(&filter.program, filter.flags).step("linux.seccomp")?;
    }
    Ok(())
}
