//! The filter of a specification, resolved from the posture's profile for this host.

use casemate_posture::seccomp::{Action, Arch, Flag, Op};
use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::built;
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
    let syscalls = rules
        .rules
        .iter()
        .map(|rule| {
            let mut call = LinuxSyscallBuilder::default()
                .names(rule.names.iter().map(|name| name.clone().into_owned()).collect::<Vec<_>>())
                .action(action(rule.action)?);
            if let Some(errno) = rule.errno {
                call = call.errno_ret(errno);
            }
            if !rule.args.is_empty() {
                let args: Vec<LinuxSeccompArg> = rule
                    .args
                    .iter()
                    .map(|arg| {
                        built(
                            LinuxSeccompArgBuilder::default()
                                .index(arg.index as usize)
                                .value(arg.value)
                                .value_two(arg.value_two)
                                .op(operator(arg.op)?)
                                .build(),
                        )
                    })
                    .collect::<Result<_>>()?;
                call = call.args(args);
            }
            built(call.build())
        })
        .collect::<Result<Vec<LinuxSyscall>>>()?;
    let mut builder = LinuxSeccompBuilder::default()
        .default_action(action(rules.default_action)?)
        .architectures(
            rules.architectures.iter().map(|arch| same_name::<OciArch>(arch.name())).collect::<Result<Vec<_>>>()?,
        )
        .syscalls(syscalls);
    if let Some(errno) = rules.default_errno {
        builder = builder.default_errno_ret(errno);
    }
    if !rules.flags.is_empty() {
        let flags = rules.flags.iter().map(|flag| flag_of(*flag)).collect::<Result<Vec<LinuxSeccompFilterFlag>>>()?;
        builder = builder.flags(flags);
    }
    built(builder.build()).map(Some)
}

fn action(action: Action) -> Result<LinuxSeccompAction> {
    same_name(action.name())
}

fn flag_of(flag: Flag) -> Result<LinuxSeccompFilterFlag> {
    same_name(flag.name())
}

fn operator(op: Op) -> Result<LinuxSeccompOperator> {
    same_name(op)
}

/// Both sides are written with libseccomp's names; what one does not know of the other is an error, not a rule left out.
fn same_name<T: DeserializeOwned>(name: impl Serialize) -> Result<T> {
    let value = serde_json::to_value(name).map_err(|error| Error::invalid("seccomp", "name", error.to_string()))?;
    let shown = value.to_string();
    serde_json::from_value(value).map_err(|error| Error::invalid("seccomp", shown, error.to_string()))
}
