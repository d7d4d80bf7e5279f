//! `--ulimit NAME=SOFT[:HARD]`: the limits of setrlimit(2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{InvalidValue, suggest};

/// A soft and a hard limit; [`Ulimit::UNLIMITED`] for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ulimit {
    /// What holds until the process raises it.
    pub soft: u64,
    /// How far it may be raised.
    pub hard: u64,
}

impl Ulimit {
    /// No limit: `RLIM_INFINITY`.
    pub const UNLIMITED: u64 = u64::MAX;
}

macro_rules! resources {
    ($($variant:ident = $name:literal, $rlimit:literal, $doc:literal;)*) => {
        /// What a ulimit limits, by Docker's names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Resource {
            $(#[doc = $doc] $variant,)*
        }

        impl Resource {
            /// Every resource.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Docker's name: `nofile`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The name of setrlimit(2) and OCI: `RLIMIT_NOFILE`.
            pub const fn rlimit(self) -> &'static str {
                match self { $(Self::$variant => $rlimit,)* }
            }
        }
    };
}

resources! {
    Core = "core", "RLIMIT_CORE", "Bytes of a core dump.";
    Cpu = "cpu", "RLIMIT_CPU", "Seconds of processor time.";
    Data = "data", "RLIMIT_DATA", "Bytes of the data segment.";
    Fsize = "fsize", "RLIMIT_FSIZE", "Bytes of a file that it writes.";
    Locks = "locks", "RLIMIT_LOCKS", "File locks.";
    Memlock = "memlock", "RLIMIT_MEMLOCK", "Bytes of locked memory.";
    Msgqueue = "msgqueue", "RLIMIT_MSGQUEUE", "Bytes of POSIX message queues.";
    Nice = "nice", "RLIMIT_NICE", "Ceiling of the nice value, as 20 - nice.";
    Nofile = "nofile", "RLIMIT_NOFILE", "Open files.";
    Nproc = "nproc", "RLIMIT_NPROC", "Processes of one user.";
    Rss = "rss", "RLIMIT_RSS", "Bytes of resident memory (without effect on Linux).";
    Rtprio = "rtprio", "RLIMIT_RTPRIO", "Ceiling of the real-time priority.";
    Rttime = "rttime", "RLIMIT_RTTIME", "Microseconds that a real-time process may run without a pause.";
    Sigpending = "sigpending", "RLIMIT_SIGPENDING", "Signals that wait.";
    Stack = "stack", "RLIMIT_STACK", "Bytes of the stack.";
}

/// Reads `nofile=1024:4096`, `nproc=64`, `core=-1` (unlimited). One number sets both, as in Docker.
pub fn parse(text: &str) -> Result<(Resource, Ulimit), InvalidValue> {
    let invalid = |reason: String| InvalidValue::new("--ulimit", text, reason);
    let form = "write NAME=SOFT[:HARD], as in nofile=1024:4096";
    let (name, values) = text.split_once('=').ok_or_else(|| invalid("there is no \"=\"".to_owned()).hint(form))?;
    let resource = Resource::ALL.iter().copied().find(|resource| resource.name() == name).ok_or_else(|| {
        let near = suggest::hint(name, Resource::ALL.iter().map(|resource| resource.name()));
        let all = || {
            let names: Vec<_> = Resource::ALL.iter().map(|resource| resource.name()).collect();
            format!("known are {}", names.join(", "))
        };
        invalid(format!("unknown limit {name:?}")).hint(near.unwrap_or_else(all))
    })?;
    let number = |part: &str| match part {
        "-1" | "unlimited" => Ok(Ulimit::UNLIMITED),
        digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map_err(|_| invalid(format!("{digits} is larger than 2^64 - 1")))
        }
        _ => Err(invalid(format!("{part:?} is not a number")).hint(form)),
    };
    let (soft, hard) = match values.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(values)?, number(values)?),
    };
    if soft > hard {
        return Err(invalid(format!("the soft limit {soft} is above the hard limit {hard}")));
    }
    Ok((resource, Ulimit { soft, hard }))
}

/// Puts `texts` over `limits`; of one resource the last counts.
pub(crate) fn apply(texts: &[String], limits: &mut BTreeMap<Resource, Ulimit>) -> Result<(), InvalidValue> {
    for text in texts {
        let (resource, ulimit) = parse(text)?;
        limits.insert(resource, ulimit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_sets_both() {
        assert_eq!(parse("nproc=64"), Ok((Resource::Nproc, Ulimit { soft: 64, hard: 64 })));
        assert_eq!(parse("nofile=1024:4096"), Ok((Resource::Nofile, Ulimit { soft: 1024, hard: 4096 })));
        assert_eq!(parse("core=-1"), Ok((Resource::Core, Ulimit { soft: u64::MAX, hard: u64::MAX })));
        assert_eq!(parse("memlock=0:unlimited"), Ok((Resource::Memlock, Ulimit { soft: 0, hard: u64::MAX })));
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        let message = |text| parse(text).unwrap_err().to_string();
        assert_eq!(
            message("nofiles=3"),
            "invalid value \"nofiles=3\" for --ulimit: unknown limit \"nofiles\"; did you mean \"nofile\"?"
        );
        assert!(message("nofile").contains("no \"=\""));
        assert!(message("nofile=9:3").contains("above the hard limit"));
        assert!(message("nofile=-1:3").contains("above the hard limit"));
        assert!(message("nofile=+3").contains("not a number"));
        assert!(message("nofile=").contains("not a number"));
        assert!(message("nofile=1:2:3").contains("not a number"));
        assert!(message("nofile=99999999999999999999999").contains("larger"));
        assert!(message("banana=1").contains("known are core, cpu"));
    }
}
