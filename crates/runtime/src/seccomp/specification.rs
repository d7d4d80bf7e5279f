//! A posture's rules, resolved for a host, as the specification writes them.

use casemate_posture::seccomp::{Action, Flag, Op, Rules};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder,
    LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;

/// The specification of a filter with these rules.
///
/// # Errors
/// When the specification has no word for something in them.
pub fn specification(rules: &Rules) -> Result<LinuxSeccomp, Error> {
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
                    .collect::<Result<_, Error>>()?;
                call = call.args(args);
            }
            built(call.build())
        })
        .collect::<Result<Vec<LinuxSyscall>, Error>>()?;
    let mut builder = LinuxSeccompBuilder::default()
        .default_action(action(rules.default_action)?)
        .architectures(
            rules
                .architectures
                .iter()
                .map(|arch| same_name::<OciArch>(arch.name()))
                .collect::<Result<Vec<_>, Error>>()?,
        )
        .syscalls(syscalls);
    if let Some(errno) = rules.default_errno {
        builder = builder.default_errno_ret(errno);
    }
    if !rules.flags.is_empty() {
        let flags =
            rules.flags.iter().map(|flag| flag_of(*flag)).collect::<Result<Vec<LinuxSeccompFilterFlag>, Error>>()?;
        builder = builder.flags(flags);
    }
    built(builder.build())
}

fn built<T>(value: Result<T, OciSpecError>) -> Result<T, Error> {
    value.map_err(|error| Error::field("linux.seccomp", error))
}

fn action(action: Action) -> Result<LinuxSeccompAction, Error> {
    same_name(action.name())
}

fn flag_of(flag: Flag) -> Result<LinuxSeccompFilterFlag, Error> {
    same_name(flag.name())
}

fn operator(op: Op) -> Result<LinuxSeccompOperator, Error> {
    same_name(op)
}

/// Both sides are written with libseccomp's names; what one does not know of the other is an error, not a rule left out.
fn same_name<T: DeserializeOwned>(name: impl Serialize) -> Result<T, Error> {
    let value = serde_json::to_value(name).map_err(|error| Error::field("linux.seccomp", error))?;
    let shown = value.to_string();
    serde_json::from_value(value).map_err(|error| Error::field("linux.seccomp", format!("{shown}: {error}")))
}
