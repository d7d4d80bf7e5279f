//! The labels that security modules give a process: an AppArmor profile, an SELinux context.

use casemate_kernel::keyring;
use casemate_kernel::lsm::Attribute;
use rustix::io::Errno;

use crate::error::{Error, Step};
use crate::plan::ProcessPlan;

/// The attributes of the process that labels are written to.
///
/// They are opened in the host's own `/proc`, before anything of the container can be there instead, and written to when the
/// process has nothing left to do but to execute its program.
#[derive(Debug)]
pub(crate) struct Labels<'a> {
    apparmor: Option<(Attribute, &'a str)>,
    selinux: Option<(Attribute, &'a str)>,
    keys: Option<(Attribute, &'a str)>,
}

/// Opens what the labels of a plan are written to; costs nothing when it has none.
pub(crate) fn open(plan: &ProcessPlan) -> Result<Labels<'_>, Error> {
    let (profile, context) = (plan.apparmor_profile.as_deref(), plan.selinux_label.as_deref());
    Ok(Labels {
        // Kernels before 5.8 have one file for all modules.
        apparmor: attribute(profile, &["apparmor/exec", "exec"], "process.apparmorProfile")?,
        selinux: attribute(context, &["exec"], "process.selinuxLabel")?,
        keys: attribute(context, &["keycreate"], "process.selinuxLabel")?,
    })
}

fn attribute<'a>(label: Option<&'a str>, names: &[&str], field: &str) -> Result<Option<(Attribute, &'a str)>, Error> {
    label.map(|label| Ok((Attribute::open(names).step(field)?, label))).transpose()
}

impl Labels<'_> {
    /// Gives the process a session keyring of its own, with its SELinux context. A kernel without keyrings, or a user at the
    /// quota, has none to share.
    pub(crate) fn join_session_keyring(&self) -> Result<(), Error> {
        if let Some((keys, context)) = &self.keys {
            keys.write(context).step("process.selinuxLabel")?;
        }
        match keyring::join_new_session() {
            Err(error) if !matches!(error.errno(), Errno::NOSYS | Errno::DQUOT | Errno::PERM) => {
                return Err(Error::step("make a session keyring", error));
            }
            _ => {}
        }
        match &self.keys {
            Some((keys, _)) => keys.write("").step("process.selinuxLabel"),
            None => Ok(()),
        }
    }

    /// Sets the labels that the process has from its next exec on.
    pub(crate) fn apply(&self) -> Result<(), Error> {
        if let Some((attribute, profile)) = &self.apparmor {
            attribute.write(&format!("exec {profile}")).map_err(|error| {
                let why = if error.errno() == Errno::NOENT { "no such profile is loaded" } else { "refused" };
                Error::step("process.apparmorProfile", format!("{profile:?}: {why}: {error}"))
            })?;
        }
        if let Some((attribute, context)) = &self.selinux {
            attribute.write(context).step("process.selinuxLabel")?;
        }
        Ok(())
    }
}
