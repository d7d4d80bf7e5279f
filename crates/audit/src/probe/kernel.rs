//! The kernel's own hardening as it shows inside: security modules and a few settings.

use serde::Serialize;

use super::source::Source;
use super::verdict::{Facts, Judgement};

/// What can be seen of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Its release.
    pub release: Option<String>,
    /// `apparmor`, `selinux`, or `None` when neither labels this process.
    pub label_module: Option<&'static str>,
    /// The label of this process.
    pub label: Option<String>,
    /// The active security modules, where they can be seen.
    pub security_modules: Option<String>,
    /// Whether this process restricted itself by Landlock: the kernel tells nobody.
    pub landlock: &'static str,
    /// Where the host's core dumps go.
    pub core_pattern: Option<String>,
    /// Whether the kernel's addresses are shown in `/proc/kallsyms`.
    pub addresses_shown: Option<bool>,
    /// `kernel.dmesg_restrict`
    pub dmesg_restrict: Option<u64>,
    /// `kernel.yama.ptrace_scope`
    pub ptrace_scope: Option<u64>,
    /// `kernel.unprivileged_bpf_disabled`
    pub unprivileged_bpf_disabled: Option<u64>,
    /// How many user namespaces may be made here.
    pub max_user_namespaces: Option<u64>,
}

impl Kernel {
    pub(crate) fn read(source: &Source) -> Self {
        let label = source.line("/proc/self/attr/apparmor/current").or_else(|| source.line("/proc/self/attr/current"));
        let setting = |name: &str| source.number(&format!("/proc/sys/{name}"));
        Self {
            release: source.line("/proc/sys/kernel/osrelease"),
            label_module: label.as_deref().and_then(module_of),
            label,
            security_modules: source.line("/sys/kernel/security/lsm"),
            landlock: "unknown",
            core_pattern: source.line("/proc/sys/kernel/core_pattern"),
            addresses_shown: source.line("/proc/kallsyms").map(|line| shows_address(&line)),
            dmesg_restrict: setting("kernel/dmesg_restrict"),
            ptrace_scope: setting("kernel/yama/ptrace_scope"),
            unprivileged_bpf_disabled: setting("kernel/unprivileged_bpf_disabled"),
            max_user_namespaces: setting("user/max_user_namespaces"),
        }
    }

    pub(crate) fn judge(&self) -> Judgement {
        let mut facts = Facts::default();
        match (self.label_module, self.label.as_deref()) {
            (Some("apparmor"), Some(label)) if label.starts_with("unconfined") => {
                facts.note("AppArmor is on, but not for this process");
            }
            (Some("apparmor"), Some(label)) if label.ends_with("(complain)") => {
                facts.note(format!("AppArmor only logs: {label}"));
            }
            (Some("selinux"), Some(label)) if label.contains(":unconfined_t") || label.contains(":spc_t") => {
                facts.note(format!("SELinux is on, but not for this process: {label}"));
            }
            (Some(module), Some(label)) => facts.good(format!("{module}: {label}")),
            _ => facts.note("no AppArmor or SELinux label (Landlock can't be seen)"),
        }
        if self.addresses_shown == Some(true) {
            facts.open("/proc/kallsyms shows the kernel's addresses");
        }
        if self.core_pattern.as_deref().is_some_and(|pattern| pattern.starts_with('|')) {
            facts.note("a crash inside starts a program of the host's (core_pattern)");
        }
        if let Some(0) = self.max_user_namespaces {
            facts.good("no user namespace can be made");
        }
        facts.judge()
    }
}

/// The module that a label belongs to: SELinux's have four parts.
fn module_of(label: &str) -> Option<&'static str> {
    if label.split(':').count() >= 3 && !label.contains(' ') {
        Some("selinux")
    } else if label == "unconfined" || label.ends_with(')') {
        Some("apparmor")
    } else {
        None
    }
}

/// Whether a line of `/proc/kallsyms` has an address that was not blanked.
fn shows_address(line: &str) -> bool {
    line.split(' ').next().is_some_and(|address| address.bytes().any(|digit| digit != b'0'))
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Verdict;
    use super::*;

    fn labelled(label: &str) -> Kernel {
        Kernel { label_module: module_of(label), label: Some(label.to_owned()), ..Kernel::default() }
    }

    #[test]
    fn labels_are_told_apart() {
        assert_eq!(module_of("docker-default (enforce)"), Some("apparmor"));
        assert_eq!(module_of("unconfined"), Some("apparmor"));
        assert_eq!(module_of("system_u:system_r:container_t:s0:c1,c2"), Some("selinux"));
        assert_eq!(module_of("kernel"), None);
    }

    #[test]
    fn confinement_is_good_and_its_absence_a_note() {
        assert_eq!(labelled("docker-default (enforce)").judge().verdict, Verdict::Good);
        assert_eq!(labelled("system_u:system_r:container_t:s0:c1,c2").judge().verdict, Verdict::Good);
        for weak in ["unconfined", "docker-default (complain)", "system_u:system_r:spc_t:s0"] {
            assert_eq!(labelled(weak).judge().verdict, Verdict::Note, "{weak}");
        }
        assert_eq!(Kernel::default().judge().verdict, Verdict::Note);
    }

    #[test]
    fn addresses_and_pipes_are_seen() {
        assert!(shows_address("ffffffff81000000 T _text"));
        assert!(!shows_address("0000000000000000 T _text"));
        let kernel = Kernel { addresses_shown: Some(true), ..labelled("docker-default (enforce)") };
        assert_eq!(kernel.judge().verdict, Verdict::Open);
        let kernel =
            Kernel { core_pattern: Some("|/usr/lib/crash %p".to_owned()), ..labelled("docker-default (enforce)") };
        assert_eq!(kernel.judge().verdict, Verdict::Note);
    }
}
