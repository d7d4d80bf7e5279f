//! What this host can give a container.

use std::path::Path;

use casemate_kernel::cgroup::{Controller, Layout, Version};
use casemate_posture::{Controllers, HostFacts};

use crate::error::{Error, Result};

/// The facts that a posture is fitted to, and what they were read from.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) facts: HostFacts,
    layout: Option<Layout>,
}

impl Host {
    /// Looks. Costs a few system calls and reads no file where the kernel's version answers.
    pub(crate) fn detect() -> Result<Self> {
        // Without any control groups the runtime refuses; until then it is a host without controllers.
        let layout = Layout::detect().ok();
        let kernel = kernel_version();
        let system = rustix::system::sysinfo();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let capabilities = rustix::thread::capabilities(None)
            .map_err(|errno| Error::kernel("read the capabilities of this process")(errno.into()))?;
        let can_raise_limits = capabilities.effective.contains(rustix::thread::CapabilitySet::SYS_RESOURCE);
        let facts = HostFacts {
            kernel,
            memory: u64::try_from(system.totalram).unwrap_or(u64::MAX).saturating_mul(u64::from(system.mem_unit.max(1))),
            cpus: rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count().max(1)),
            nofile_hard: limit.maximum.unwrap_or(u64::MAX),
            can_raise_limits,
            oom_score_adj: if can_raise_limits { -1000 } else { own_oom_score() },
            controllers: layout.as_ref().map(controllers).unwrap_or_default(),
            user_namespaces: Path::new("/proc/self/ns/user").exists(),
            time_namespaces: kernel >= (5, 6),
            idmapped_layers: kernel >= (5, 19),
            idmapped_binds: kernel >= (5, 12),
            // Linux 3.5; what a kernel without it answers is told by the runtime.
            seccomp: true,
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        };
        Ok(Self { facts, layout })
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

/// The kernel's version, without its patch level.
pub(crate) fn kernel_version() -> (u32, u32) {
    let system = rustix::system::uname();
    parse_version(&system.release().to_string_lossy()).unwrap_or((0, 0))
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn own_oom_score() -> i16 {
    std::fs::read_to_string("/proc/self/oom_score_adj").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn controllers(layout: &Layout) -> Controllers {
    let on_v2 = layout.version() == Version::V2;
    let v1_file = |path: &str| Path::new(path).exists();
    let io = layout.has(Controller::Blkio);
    Controllers {
        memory: layout.has(Controller::Memory),
        swap: if on_v2 {
            Path::new("/proc/swaps").exists()
        } else {
            v1_file("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes")
        },
        pids: layout.has(Controller::Pids),
        cpu: layout.has(Controller::Cpu),
        cpuset: layout.has(Controller::Cpuset),
        io,
        io_weight: io
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
    fn releases_of_all_distributions() {
        for (release, version) in [("6.18.44-fc-v595", (6, 18)), ("5.15.0-91-generic", (5, 15)), ("6.1.0-13-amd64", (6, 1)), ("7.0", (7, 0))] {
            assert_eq!(parse_version(release), Some(version), "{release}");
        }
        assert_eq!(parse_version("linux"), None);
    }

    #[test]
    fn this_host_has_memory_and_processors() {
        let host = Host::detect().unwrap();
        assert!(host.facts.memory > 64 << 20);
        assert!(host.facts.cpus > 0);
        assert!(host.facts.kernel >= (4, 0));
    }
}
