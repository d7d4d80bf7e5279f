//! What this host can give a container.

use std::path::Path;

use casemate_kernel::cgroup::{Controller, Layout, Version};
use casemate_posture::mount::Relabel;
use casemate_posture::{CapabilitySet, Controllers, HostFacts, Limits, Posture, Shortfall};

use crate::error::{Error, Result};

/// The facts that a posture is fitted to, and what they were read from.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) facts: HostFacts,
    layout: Option<Layout>,
    /// What this process may do itself.
    capabilities: CapabilitySet,
}

impl Host {
    /// Looks at what this posture asks of a host; what it does not ask for is not looked at and counts as there.
    pub(crate) fn detect(posture: &Posture) -> Result<Self> {
        // Without any control groups the runtime refuses; until then it is a host without controllers.
        let layout = Layout::detect().ok();
        let kernel = casemate_kernel::process::kernel_version();
        let system = rustix::system::sysinfo();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let capabilities = rustix::thread::capabilities(None)
            .map_err(|errno| Error::kernel("read the capabilities of this process")(errno.into()))?;
        let can_raise_limits = capabilities.effective.contains(rustix::thread::CapabilitySet::SYS_RESOURCE);
        let facts = HostFacts {
            kernel,
            memory: system.totalram.saturating_mul(u64::from(system.mem_unit.max(1))),
            cpus: rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count().max(1)),
            nofile_hard: limit.maximum.unwrap_or(u64::MAX),
            can_raise_limits,
            oom_score_adj: if can_raise_limits { -1000 } else { own_oom_score() },
            controllers: layout.as_ref().map(|layout| controllers(layout, &posture.limits)).unwrap_or_default(),
            // Linux 3.8; a host that forbids them answers when one is made.
            user_namespaces: true,
            time_namespaces: kernel >= (5, 6),
            idmapped_layers: kernel >= (5, 19),
            idmapped_binds: kernel >= (5, 12),
            // Linux 3.5; what a kernel without it answers is told by the runtime.
            seccomp: true,
            selinux: posture.mounts.iter().any(|mount| mount.relabel != Relabel::No)
                && Path::new("/sys/fs/selinux/enforce").exists(),
        };
        Ok(Self { facts, layout, capabilities: CapabilitySet::from_bits_truncate(capabilities.permitted.bits()) })
    }

    /// A container with the host's own ids can't be given a capability that the engine lacks; in a user namespace of its own all
    /// exist anew.
    pub(crate) fn fit_capabilities(&self, posture: &mut Posture) -> Option<Shortfall> {
        if !posture.namespaces.user.is_host() {
            return None;
        }
        let missing = posture.capabilities.difference(self.capabilities);
        if missing.is_empty() {
            return None;
        }
        posture.capabilities = posture.capabilities.difference(missing);
        let names: Vec<&str> = missing.iter().map(casemate_posture::Capability::name).collect();
        Some(Shortfall {
            name: "capabilities".to_owned(),
            words: format!("not granted are {}: the engine does not have them itself on this host", names.join(", ")),
        })
    }

    /// `1`, `2` or `hybrid`, as `info` shows it.
    pub(crate) fn cgroup_version(&self) -> &'static str {
        match self.layout.as_ref().map(Layout::version) {
            Some(Version::V1) => "1",
            Some(Version::V2) => "2",
            Some(Version::Hybrid) => "hybrid",
            None => "none",
        }
    }
}

fn own_oom_score() -> i16 {
    std::fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn controllers(layout: &Layout, limits: &Limits) -> Controllers {
    let on_v2 = layout.version() == Version::V2;
    let v1_file = |path: &str| Path::new(path).exists();
    let throttles =
        [&limits.device_read_bps, &limits.device_write_bps, &limits.device_read_iops, &limits.device_write_iops];
    let io_asked = limits.blkio_weight.is_some() || throttles.iter().any(|list| !list.is_empty());
    let io = !io_asked || layout.has(Controller::Blkio);
    let cpuset_asked = limits.cpuset_cpus.is_some() || limits.cpuset_mems.is_some();
    Controllers {
        memory: layout.has(Controller::Memory),
        swap: if on_v2 {
            Path::new("/proc/swaps").exists()
        } else {
            v1_file("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
        },
        memory_v1: !on_v2,
        pids: layout.has(Controller::Pids),
        cpu: layout.has(Controller::Cpu),
        cpuset: !cpuset_asked || layout.has(Controller::Cpuset),
        io,
        io_weight: limits.blkio_weight.is_none()
            || io
                && (on_v2
                    || v1_file("/sys/fs/cgroup/blkio/blkio.weight")
                    || v1_file("/sys/fs/cgroup/blkio/blkio.bfq.weight")),
        devices: on_v2 || layout.has(Controller::Devices),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_memory_and_processors() {
        let host = Host::detect(&Posture::hardened()).unwrap();
        assert!(host.facts.memory > 64 << 20);
        assert!(host.facts.cpus > 0);
        assert!(host.facts.kernel >= (4, 0));
    }
}
