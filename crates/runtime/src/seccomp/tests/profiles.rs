//! Profiles to try: casemate's own, what Debian installs, one of the shape of Docker's, and any.

use casemate_posture::seccomp::{Arch, Profile, Rules};
use casemate_posture::{Capability, CapabilitySet, syscalls};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

pub(crate) fn parse(value: Value) -> LinuxSeccomp {
    serde_json::from_value(value).unwrap()
}

/// As the engine writes them into a specification.
pub(crate) fn of_rules(rules: &Rules) -> LinuxSeccomp {
    let syscalls: Vec<Value> = rules
        .rules
        .iter()
        .map(|rule| {
            let mut value = json!({"names": rule.names, "action": rule.action, "args": rule.args});
            if let Some(errno) = rule.errno {
                value["errnoRet"] = errno.into();
            }
            value
        })
        .collect();
    let mut value = json!({
        "defaultAction": rules.default_action, "architectures": rules.architectures, "syscalls": syscalls,
    });
    if let Some(errno) = rules.default_errno {
        value["defaultErrnoRet"] = errno.into();
    }
    parse(value)
}

/// casemate's own, with these capabilities; with `others` also for the other architectures of the machine, which the
/// profile itself does not let in.
pub(crate) fn own(arch: Arch, capabilities: &[Capability], others: &[Arch]) -> LinuxSeccomp {
    let set: CapabilitySet = capabilities.iter().copied().collect();
    let mut rules = Profile::default_hardened().resolve(arch, &set, (6, 1));
    rules.architectures.extend(others);
    of_rules(&rules)
}

/// What Debian's `golang-github-containers-common` installs for Podman, in Docker's format.
pub(crate) const INSTALLED: &str = "/usr/share/containers/seccomp.json";

/// That, resolved as Podman does for a container with these capabilities; `None` where it is not installed.
pub(crate) fn installed(arch: Arch, capabilities: &[Capability]) -> Option<LinuxSeccomp> {
    let text = std::fs::read_to_string(INSTALLED).ok()?;
    let set: CapabilitySet = capabilities.iter().copied().collect();
    Some(of_rules(&Profile::parse(&text).unwrap().resolve(arch, &set, (6, 1))))
}

/// A profile of the shape of Docker's: some 400 names, most of them let through, EPERM for the rest; conditions on clone,
/// personality and the families of socket; all architectures of the machine; names that it does not have.
pub(crate) fn like_dockers(arch: Arch) -> LinuxSeccomp {
    let refused = [
        "_sysctl",
        "acct",
        "add_key",
        "bpf",
        "create_module",
        "delete_module",
        "finit_module",
        "get_kernel_syms",
        "get_mempolicy",
        "init_module",
        "io_uring_enter",
        "io_uring_register",
        "io_uring_setup",
        "ioperm",
        "iopl",
        "kcmp",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "lookup_dcookie",
        "mbind",
        "mount",
        "mount_setattr",
        "move_mount",
        "move_pages",
        "nfsservctl",
        "open_by_handle_at",
        "open_tree",
        "perf_event_open",
        "pivot_root",
        "query_module",
        "quotactl",
        "reboot",
        "request_key",
        "set_mempolicy",
        "setns",
        "settimeofday",
        "stime",
        "swapoff",
        "swapon",
        "sysfs",
        "syslog",
        "umount",
        "umount2",
        "unshare",
        "uselib",
        "userfaultfd",
        "ustat",
        "vm86",
        "vm86old",
        "clone",
        "clone3",
        "personality",
        "socket",
    ];
    let others = [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm];
    let mut names: Vec<&str> = others.into_iter().flat_map(syscalls::names).collect();
    names.extend(["riscv_hwprobe", "s390_pci_mmio_read", "swapcontext", "a_call_of_next_year"]);
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !refused.contains(name));
    let allow = |names: Vec<&str>, args: Value| json!({"names": names, "action": "SCMP_ACT_ALLOW", "args": args});
    let one = |index: u8, value: u64, op: &str| json!([{"index": index, "value": value, "op": op}]);
    let mut syscalls = vec![allow(names, json!([]))];
    for persona in [0, 8, 0x0002_0000, 0x0002_0008, 0xffff_ffff] {
        syscalls.push(allow(vec!["personality"], one(0, persona, "SCMP_CMP_EQ")));
    }
    syscalls.push(allow(vec!["socket"], one(0, 38, "SCMP_CMP_LT")));
    syscalls.push(allow(vec!["socket"], one(0, 39, "SCMP_CMP_EQ")));
    syscalls.push(allow(vec!["socket"], one(0, 40, "SCMP_CMP_GT")));
    syscalls.push(allow(vec!["clone"], one(0, 0x7e02_0000, "SCMP_CMP_MASKED_EQ")));
    syscalls.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}));
    let architectures = match arch {
        Arch::Aarch64 => json!(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        _ => json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
    };
    parse(json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": architectures, "syscalls": syscalls,
    }))
}
