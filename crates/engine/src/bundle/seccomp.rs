//! The filter of a specification, resolved from the posture's profile for this host.

use casemate_posture::seccomp::Arch;
use oci_spec::runtime::LinuxSeccomp;

use crate::error::{Error, Result};
use crate::record::Record;

/// The filter; `None` where the posture has none.
pub(super) fn filter(record: &Record, kernel: (u32, u32)) -> Result<Option<LinuxSeccomp>> {
    let Some(arch) = Arch::native() else {
        return Err(Error::invalid(
            "seccomp",
            std::env::consts::ARCH,
            "casemate knows no system calls of this architecture",
        ));
    };
    let Some(rules) = record.posture.seccomp.resolve(arch, &record.posture.capabilities, kernel) else {
        return Ok(None);
    };
    casemate_runtime::seccomp::specification(&rules)
        .map(Some)
        .map_err(|error| Error::invalid("seccomp", arch.name(), error.to_string()))
}
