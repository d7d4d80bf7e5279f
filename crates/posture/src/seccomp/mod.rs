//! The system-call filter: MAC-1.
//!
//! A [`Profile`] is what Docker's JSON says: rules that hold or not, by capability, architecture and kernel. [`Profile::resolve`]
//! makes [`Rules`] of it: what a filter is compiled from.
//!
//! Which rule decides: of all rules that match a call, the one with the strictest action (the order in which the kernel itself
//! takes the results of several filters). [`Rules::rules`] are sorted by strictness and free of what never decides, so that a
//! compiler may take the first match, or try rules with comparisons before those without: it comes to the same.
//! Docker's library instead lets a rule without comparisons swallow those with comparisons; the two differ only where a profile
//! contradicts itself, and there ours never allows what a rule of the profile denies.

mod default;
mod errno;
mod profile;
mod resolve;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use profile::{ArchMap, Condition, KernelVersion, Profile, ProfileError, SyscallRule};
pub use resolve::{Decision, Rule, Rules};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Action {
    /// The whole process is killed.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    /// The thread is killed.
    #[serde(rename = "SCMP_ACT_KILL_THREAD", alias = "SCMP_ACT_KILL")]
    KillThread,
    /// The thread gets SIGSYS.
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    /// The call fails with an error number.
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// A supervising process decides.
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
    /// A tracer is told.
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    /// The call is made, and logged.
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    /// The call is made.
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
}

impl Action {
    /// Libseccomp's and OCI's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillProcess => "SCMP_ACT_KILL_PROCESS",
            Self::KillThread => "SCMP_ACT_KILL_THREAD",
            Self::Trap => "SCMP_ACT_TRAP",
            Self::Errno => "SCMP_ACT_ERRNO",
            Self::Notify => "SCMP_ACT_NOTIFY",
            Self::Trace => "SCMP_ACT_TRACE",
            Self::Log => "SCMP_ACT_LOG",
            Self::Allow => "SCMP_ACT_ALLOW",
        }
    }

    /// 0 for the strictest, more for what lets more through: the kernel's order.
    pub(crate) const fn leniency(self) -> u8 {
        self as u8
    }

    /// The number that goes with it, where it has one: the error, or what a tracer is told.
    pub(crate) fn number(self, errno: Option<u32>) -> Option<u32> {
        errno.filter(|_| matches!(self, Self::Errno | Self::Trace))
    }

    /// Whether the call is made.
    pub const fn lets_through(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }
}

/// How an argument is compared. Arguments and values are unsigned 64-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Op {
    /// Not equal.
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    /// Less.
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    /// Less or equal.
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    /// Equal.
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    /// Greater or equal.
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    /// Greater.
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    /// Equal under a mask: `argument & value == value_two & value`.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arg {
    /// Which argument, 0–5.
    pub index: u8,
    /// How.
    pub op: Op,
    /// With what; the mask of [`Op::MaskedEq`].
    pub value: u64,
    /// What is left under the mask of [`Op::MaskedEq`].
    #[serde(default)]
    pub value_two: u64,
}

impl Arg {
    /// Whether `argument` compares as asked.
    pub const fn matches(&self, argument: u64) -> bool {
        match self.op {
            Op::Ne => argument != self.value,
            Op::Lt => argument < self.value,
            Op::Le => argument <= self.value,
            Op::Eq => argument == self.value,
            Op::Ge => argument >= self.value,
            Op::Gt => argument > self.value,
            Op::MaskedEq => argument & self.value == self.value_two & self.value,
        }
    }
}

macro_rules! architectures {
    ($($variant:ident = $scmp:literal, $go:literal;)*) => {
        /// An architecture, as OCI knows them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Arch {
            $(#[doc = concat!("`", $scmp, "`")] #[serde(rename = $scmp)] $variant,)*
        }

        impl Arch {
            /// Libseccomp's and OCI's name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $scmp,)* }
            }

            /// The name that Docker's profiles have in `includes.arches` and `excludes.arches`.
            pub const fn docker_name(self) -> &'static str {
                match self { $(Self::$variant => $go,)* }
            }
        }
    };
}

architectures! {
    X86 = "SCMP_ARCH_X86", "x86";
    X86_64 = "SCMP_ARCH_X86_64", "amd64";
    X32 = "SCMP_ARCH_X32", "x32";
    Arm = "SCMP_ARCH_ARM", "arm";
    Aarch64 = "SCMP_ARCH_AARCH64", "arm64";
    Mips = "SCMP_ARCH_MIPS", "mips";
    Mips64 = "SCMP_ARCH_MIPS64", "mips64";
    Mips64n32 = "SCMP_ARCH_MIPS64N32", "mips64n32";
    Mipsel = "SCMP_ARCH_MIPSEL", "mipsel";
    Mipsel64 = "SCMP_ARCH_MIPSEL64", "mipsel64";
    Mipsel64n32 = "SCMP_ARCH_MIPSEL64N32", "mips3l64n32";
    Ppc = "SCMP_ARCH_PPC", "ppc";
    Ppc64 = "SCMP_ARCH_PPC64", "ppc64";
    Ppc64le = "SCMP_ARCH_PPC64LE", "ppc64le";
    Riscv64 = "SCMP_ARCH_RISCV64", "riscv64";
    S390 = "SCMP_ARCH_S390", "s390";
    S390x = "SCMP_ARCH_S390X", "s390x";
    Parisc = "SCMP_ARCH_PARISC", "parisc";
    Parisc64 = "SCMP_ARCH_PARISC64", "parisc64";
    Loongarch64 = "SCMP_ARCH_LOONGARCH64", "loongarch64";
}

impl Arch {
    /// The architecture that this program was compiled for, if casemate knows its system calls.
    pub const fn native() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else {
            None
        }
    }
}

/// How a filter is installed (seccomp(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Flag {
    /// For all threads.
    #[serde(rename = "SECCOMP_FILTER_FLAG_TSYNC")]
    Tsync,
    /// What is not allowed is logged.
    #[serde(rename = "SECCOMP_FILTER_FLAG_LOG")]
    Log,
    /// Without the mitigation of speculative store bypass.
    #[serde(rename = "SECCOMP_FILTER_FLAG_SPEC_ALLOW")]
    SpecAllow,
    /// Only fatal signals end the wait for a supervising process.
    #[serde(rename = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")]
    WaitKillableRecv,
}

impl Flag {
    /// The kernel's and OCI's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tsync => "SECCOMP_FILTER_FLAG_TSYNC",
            Self::Log => "SECCOMP_FILTER_FLAG_LOG",
            Self::SpecAllow => "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
            Self::WaitKillableRecv => "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        }
    }
}
