//! What this runtime offers (`features.md`, `features-linux.md`), from the tables that the code reads specifications with.

use casemate_kernel::{capability, mempolicy};
use casemate_posture::Capability;
use serde_json::{Value, json};

use crate::plan::{NAMESPACES, option_names};
use crate::{hooks, seccomp, systemd};

/// The features document: what the runtime can do. As the specification has it, that is not what this host's kernel has,
/// but for the capabilities and the flags of filters that can be set here.
pub fn features() -> Value {
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": crate::SPEC_VERSION,
        "hooks": hooks::POINTS,
        "mountOptions": option_names(),
        "linux": linux(),
        "annotations": {
            "io.casemate.version": env!("CARGO_PKG_VERSION"),
        },
        "potentiallyUnsafeConfigAnnotations": [systemd::PROPERTY_ANNOTATION],
    })
}

fn linux() -> Value {
    let count = capability::count();
    let capabilities: Vec<&str> =
        Capability::ALL.iter().filter(|known| known.number() < count).map(|known| known.name()).collect();
    json!({
        "namespaces": NAMESPACES.map(|(kind, _)| kind),
        "capabilities": capabilities,
        "cgroup": {
            "v1": true,
            "v2": true,
            "systemd": true,
            "systemdUser": true,
            "rdma": true,
        },
        "seccomp": {
            "enabled": true,
            "actions": seccomp::features::ACTIONS,
            "operators": seccomp::features::OPERATORS,
            "archs": seccomp::features::ARCHITECTURES,
            "knownFlags": seccomp::features::known_flags(),
            "supportedFlags": seccomp::features::supported_flags(),
        },
        "apparmor": { "enabled": true },
        "selinux": { "enabled": true },
        "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
        "memoryPolicy": {
            "modes": mempolicy::MODES.map(|(name, _)| name),
            "flags": mempolicy::FLAGS.map(|(name, _)| name),
        },
        "mountExtensions": { "idmap": { "enabled": true } },
        "netDevices": { "enabled": true },
    })
}
