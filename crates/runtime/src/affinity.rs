//! On which processors a process of `exec` runs: before it is in the container's control group, and from then on.

use casemate_kernel::affinity::{self, Mask};

use crate::error::{Error, Step};
use crate::plan::ProcessPlan;

/// Goes back to the caller's own processors when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it goes back to the caller's own processors"]
pub(crate) struct Restore(Option<Mask>);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(mask) = &self.0 {
            // They were the caller's before; a processor that went away meanwhile leaves it on the ones it has now.
            let _ = affinity::set(mask);
        }
    }
}

/// Moves the caller onto the processors on which a process begins that it makes next (`execCPUAffinity.initial`).
pub(crate) fn initial(plan: &ProcessPlan) -> Result<Restore, Error> {
    let Some(mask) = &plan.scheduling.initial_affinity else {
        return Ok(Restore(None));
    };
    let own = affinity::get().step("process.execCPUAffinity.initial")?;
    affinity::set(mask).map_err(|error| Error::field("process.execCPUAffinity.initial", error))?;
    Ok(Restore(Some(own)))
}

/// Moves the calling process, which is in the container's control group, to where it stays (`execCPUAffinity.final`).
pub(crate) fn settle(plan: &ProcessPlan) -> Result<(), Error> {
    match &plan.scheduling.final_affinity {
        Some(mask) => affinity::set(mask).map_err(|error| Error::field("process.execCPUAffinity.final", error)),
        None => Ok(()),
    }
}

/// What is written to the log for the first of the two, in the words that runc has for it.
pub(crate) fn shown(plan: &ProcessPlan) -> Option<String> {
    plan.scheduling.initial_affinity.as_ref().map(|mask| format!("affinity: {mask:x}"))
}
