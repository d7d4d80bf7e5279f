//! What the runtime can do with filters, as `features.md` of the runtime specification asks to say it.

use super::flags;

/// Actions, all of the specification's.
pub const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// Operators, all of the specification's.
pub const OPERATORS: &[&str] =
    &["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];

/// Architectures whose calls are filtered where the machine has them. Others can be named and never come up.
pub const ARCHITECTURES: &[&str] =
    &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"];

/// Flags, all of the specification's.
pub fn known_flags() -> Vec<&'static str> {
    flags::NAMES.iter().map(|(name, _)| *name).collect()
}

/// Those of them that this kernel knows.
pub fn supported_flags() -> Vec<&'static str> {
    flags::NAMES.iter().filter(|(_, bit)| flags::known(*bit)).map(|(name, _)| *name).collect()
}
