//! Bending a posture to what a host can give, and saying where it had to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::mount::Relabel;
use crate::{Posture, SeccompChoice, UserMode};

/// What a host can give, as the engine found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The kernel's version, without its patch level.
    pub kernel: (u32, u32),
    /// Bytes of memory.
    pub memory: u64,
    /// Processors that are on.
    pub cpus: u32,
    /// The hard limit of open files that the engine itself has.
    pub nofile_hard: u64,
    /// Whether the engine may raise limits above its own: CAP_SYS_RESOURCE.
    pub can_raise_limits: bool,
    /// The engine's own OOM score adjustment: without CAP_SYS_RESOURCE nothing can go below it.
    pub oom_score_adj: i16,
    /// The cgroup controllers that containers can have.
    pub controllers: Controllers,
    /// Whether the kernel makes user namespaces, and the engine has ids to map.
    pub user_namespaces: bool,
    /// Whether the kernel makes time namespaces (5.6).
    pub time_namespaces: bool,
    /// Whether image layers can be mounted with mapped ids (5.15; overlayfs on top of them: 5.19).
    pub idmapped_layers: bool,
    /// Whether bind mounts and volumes can be mounted with mapped ids (5.12).
    pub idmapped_binds: bool,
    /// Whether the kernel has system-call filters.
    pub seccomp: bool,
    /// Whether SELinux is enforced.
    pub selinux: bool,
}

/// The cgroup controllers that containers can have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controllers {
    /// Memory.
    pub memory: bool,
    /// Swap, as a part of memory.
    pub swap: bool,
    /// Swappiness of a group, and doing without the out-of-memory killer: version 1 only.
    pub memory_v1: bool,
    /// Numbers of processes.
    pub pids: bool,
    /// Processor time.
    pub cpu: bool,
    /// Which processors.
    pub cpuset: bool,
    /// Block devices' bandwidth.
    pub io: bool,
    /// Block devices' weight.
    pub io_weight: bool,
    /// Which devices.
    pub devices: bool,
}

impl Controllers {
    /// All of them.
    pub const ALL: Self = Self {
        memory: true,
        swap: true,
        memory_v1: true,
        pids: true,
        cpu: true,
        cpuset: true,
        io: true,
        io_weight: true,
        devices: true,
    };
}

/// Something that was asked for and can't be given as asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    /// Its name, in kebab-case.
    pub name: String,
    /// What was asked, what is given instead, and why, on one line.
    pub words: String,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// The part of the host that no container can have, in percent of its processors and of its memory.
const KEPT: u64 = 10;

/// What a host can give of `posture`, with all that is left open in it put into numbers, and where that falls short.
pub fn fit(posture: &Posture, host: &HostFacts) -> (Posture, Vec<Shortfall>) {
    let mut posture = posture.clone();
    let mut short = Short(Vec::new());
    fit_memory(&mut posture.limits, host, &mut short);
    fit_processors(&mut posture.limits, host, &mut short);
    fit_pids_and_io(&mut posture.limits, host, &mut short);
    fit_process(&mut posture.limits, host, &mut short);
    fit_isolation(&mut posture, host, &mut short);
    (posture, short.0)
}

struct Short(Vec<Shortfall>);

impl Short {
    fn say(&mut self, name: &str, words: impl Into<String>) {
        self.0.push(Shortfall { name: name.to_owned(), words: words.into() });
    }
}

fn fit_memory(limits: &mut Limits, host: &HostFacts, short: &mut Short) {
    if !host.controllers.memory {
        let asked = limits.memory.take().is_some() | limits.memory_reservation.take().is_some();
        limits.memory_swap = None;
        limits.oom_kill_disable = false;
        limits.memory_swappiness = None;
        if asked {
            short.say("memory", "memory is not limited: the host gives no memory controller");
        }
        return;
    }
    if !host.controllers.memory_v1 {
        let only = "which control groups have in version 1 only";
        if limits.memory_swappiness.take().is_some() {
            short.say("memory-swappiness", format!("swappiness is the host's: it is something {only}"));
        }
        if std::mem::take(&mut limits.oom_kill_disable) {
            short.say(
                "oom-kill-disable",
                format!("processes are killed for want of memory: to let them wait is something {only}"),
            );
        }
    }
    let most = host.memory - host.memory / 100 * KEPT;
    if let Some(memory) = limits.memory.filter(|memory| *memory > most) {
        let swap = limits.swap();
        limits.memory = Some(most);
        limits.memory_swap = swap.map(|swap| most.saturating_add(swap));
        let words = format!("memory is limited to {most} bytes, not {memory}: the host has {} in all", host.memory);
        short.say("memory", words);
    }
    if let (Some(reservation), Some(memory)) = (limits.memory_reservation, limits.memory) {
        limits.memory_reservation = Some(reservation.min(memory));
    }
    if !host.controllers.swap && limits.memory_swap.take().is_some() {
        short.say("memory-swap", "swap is not limited: the host does not count it (no swap accounting)");
    }
}

fn fit_processors(limits: &mut Limits, host: &HostFacts, short: &mut Short) {
    let all = u64::from(host.cpus.max(1)) * 1_000_000_000;
    if host.controllers.cpu {
        match limits.nano_cpus {
            None if limits.cpu_quota.is_none() => limits.nano_cpus = Some(all / 100 * (100 - KEPT)),
            Some(nano) if nano > all => {
                limits.nano_cpus = Some(all);
                let asked = nano / 1_000_000;
                let words = format!(
                    "processors are limited to {}, not {}.{:03}: the host has no more",
                    host.cpus,
                    asked / 1000,
                    asked % 1000
                );
                short.say("cpus", words);
            }
            _ => {}
        }
    } else {
        limits.nano_cpus = None;
        limits.cpu_quota = None;
        limits.cpu_period = None;
        limits.cpu_shares = None;
        short.say("cpus", "processor time is not limited: the host gives no cpu controller");
    }
    if !host.controllers.cpuset && limits.cpuset_cpus.take().is_some() | limits.cpuset_mems.take().is_some() {
        short.say("cpuset", "all processors and memory nodes can be used: the host gives no cpuset controller");
    }
}

fn fit_pids_and_io(limits: &mut Limits, host: &HostFacts, short: &mut Short) {
    if !host.controllers.pids && limits.pids.take().is_some() {
        short.say("pids-limit", "processes are not limited: the host gives no pids controller");
    }
    if !host.controllers.io_weight && limits.blkio_weight.take().is_some() {
        short.say("blkio-weight", "disk accesses are not weighted: the host gives no io weight");
    }
    let throttles = [
        &mut limits.device_read_bps,
        &mut limits.device_write_bps,
        &mut limits.device_read_iops,
        &mut limits.device_write_iops,
    ];
    if !host.controllers.io {
        let mut asked = false;
        for throttle in throttles {
            asked |= !std::mem::take(throttle).is_empty();
        }
        if asked {
            short.say("device-throttle", "disk accesses are not limited: the host gives no io controller");
        }
    }
}

fn fit_process(limits: &mut Limits, host: &HostFacts, short: &mut Short) {
    if host.can_raise_limits {
        return;
    }
    if let Some(nofile) = limits.ulimits.get_mut(&crate::Resource::Nofile)
        && nofile.hard > host.nofile_hard
    {
        let asked = nofile.hard;
        nofile.hard = host.nofile_hard;
        nofile.soft = nofile.soft.min(nofile.hard);
        let words = format!(
            "open files are limited to {}, not {asked}: the engine may not raise its own limit (no CAP_SYS_RESOURCE)",
            nofile.hard
        );
        short.say("ulimit-nofile", words);
    }
    if limits.oom_score_adj < host.oom_score_adj {
        let words = format!(
            "the OOM score is {}, not {}: the engine may not go below its own (no CAP_SYS_RESOURCE)",
            host.oom_score_adj, limits.oom_score_adj
        );
        limits.oom_score_adj = host.oom_score_adj;
        short.say("oom-score-adj", words);
    }
}

fn fit_isolation(posture: &mut Posture, host: &HostFacts, short: &mut Short) {
    if !host.user_namespaces && matches!(posture.namespaces.user, UserMode::Private | UserMode::Remap(_)) {
        posture.namespaces.user = UserMode::Host;
        short.say(
            "userns",
            "the container's root is the host's root: the host gives no user namespaces or no ids to map",
        );
    }
    let mapped = !posture.namespaces.user.is_host();
    if mapped && !host.idmapped_layers {
        short.say("idmapped-layers", "the image's files do not belong to the container's ids: the kernel can't map them (idmapped overlayfs layers need Linux 5.19)");
    }
    if mapped && !host.idmapped_binds && posture.mounts.iter().any(|mount| mount.idmap) {
        posture.mounts.iter_mut().for_each(|mount| mount.idmap = false);
        short.say(
            "idmapped-mounts",
            "files in mounts keep the host's ids: the kernel can't map them (idmapped mounts need Linux 5.12)",
        );
    }
    if posture.namespaces.time && !host.time_namespaces {
        posture.namespaces.time = false;
        short.say(
            "time-namespace",
            "the clocks are the host's: the kernel makes no time namespaces (they need Linux 5.6)",
        );
    }
    if !host.seccomp && posture.seccomp != SeccompChoice::Unconfined {
        posture.seccomp = SeccompChoice::Unconfined;
        short.say("seccomp", "system calls are not filtered: the kernel has no seccomp filters");
    }
    if let SeccompChoice::Custom { profile, path } = &posture.seccomp {
        let names = profile.unknown_names();
        if !names.is_empty() {
            let some: Vec<&str> = names.iter().take(10).copied().collect();
            let words = format!(
                "the seccomp profile {path} refuses what is no system call, which does nothing: {}",
                some.join(", ")
            );
            short.say("seccomp-names", words);
        }
    }
    if !host.controllers.devices {
        short.say(
            "devices",
            "which devices can be used is not enforced by a control group: the host gives no devices controller",
        );
    }
    if host.selinux && posture.mounts.iter().any(|mount| mount.relabel != Relabel::No) {
        posture.mounts.iter_mut().for_each(|mount| mount.relabel = Relabel::No);
        short.say("relabel", "mounts keep their SELinux labels: this version of casemate does not change any");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MIB, Throttle};
    use crate::seccomp::Profile;
    use crate::{Mount, Resource};

    fn ideal() -> HostFacts {
        HostFacts {
            kernel: (6, 18),
            memory: 8192 * MIB,
            cpus: 4,
            nofile_hard: 1 << 20,
            can_raise_limits: true,
            oom_score_adj: 0,
            controllers: Controllers::ALL,
            user_namespaces: true,
            time_namespaces: true,
            idmapped_layers: true,
            idmapped_binds: true,
            seccomp: true,
            selinux: false,
        }
    }

    fn names(shortfalls: &[Shortfall]) -> Vec<&str> {
        shortfalls.iter().map(|shortfall| shortfall.name.as_str()).collect()
    }

    #[test]
    fn a_capable_host_gives_all_and_the_ceiling_becomes_a_number() {
        let (fitted, short) = fit(&Posture::hardened(), &ideal());
        assert_eq!(short, []);
        assert_eq!(fitted.limits.nano_cpus, Some(3_600_000_000));
        assert_eq!(fitted.limits.cpu_quota_and_period(), Some((360_000, 100_000)));
        let mut rest = fitted;
        rest.limits.nano_cpus = None;
        assert_eq!(rest, Posture::hardened());
    }

    #[test]
    fn a_small_host_gives_less_memory() {
        let (fitted, short) = fit(&Posture::hardened(), &HostFacts { memory: 256 * MIB, ..ideal() });
        let memory = fitted.limits.memory.unwrap();
        assert!(memory > 225 * MIB && memory < 231 * MIB, "{memory}");
        assert_eq!(fitted.limits.swap(), Some(0));
        assert_eq!(names(&short), ["memory"]);
        assert!(short[0].words.contains("536870912"), "{}", short[0]);
    }

    #[test]
    fn more_processors_than_there_are_are_cut_and_told() {
        let mut posture = Posture::hardened();
        posture.limits.nano_cpus = Some(16_500_000_000);
        let (fitted, short) = fit(&posture, &ideal());
        assert_eq!(fitted.limits.nano_cpus, Some(4_000_000_000));
        assert_eq!(short[0].words, "processors are limited to 4, not 16.500: the host has no more");
        posture.limits.nano_cpus = Some(4_000_000_000);
        assert_eq!(fit(&posture, &ideal()), (posture, vec![]));
    }

    #[test]
    fn a_quota_is_left_as_asked() {
        let mut posture = Posture::hardened();
        posture.limits.cpu_quota = Some(-1);
        let (fitted, _) = fit(&posture, &ideal());
        assert_eq!(fitted.limits.cpu_quota_and_period(), None);
        posture.limits.cpu_quota = Some(20_000);
        posture.limits.cpu_period = Some(40_000);
        assert_eq!(fit(&posture, &ideal()).0.limits.cpu_quota_and_period(), Some((20_000, 40_000)));
    }

    #[test]
    fn a_host_without_controllers_is_told_of_each() {
        let mut posture = Posture::hardened();
        posture.limits.cpuset_cpus = Some("0".to_owned());
        posture.limits.blkio_weight = Some(100);
        posture.limits.device_read_bps.push(Throttle { device: "/dev/sda".to_owned(), rate: 1 });
        let (fitted, short) = fit(&posture, &HostFacts { controllers: Controllers::default(), ..ideal() });
        assert_eq!(
            names(&short),
            ["memory", "cpus", "cpuset", "pids-limit", "blkio-weight", "device-throttle", "devices"]
        );
        let Limits { memory, memory_swap, pids, nano_cpus, cpuset_cpus, blkio_weight, device_read_bps, .. } =
            fitted.limits;
        assert_eq!(
            (memory, memory_swap, pids, nano_cpus, cpuset_cpus, blkio_weight),
            (None, None, None, None, None, None)
        );
        assert_eq!(device_read_bps, []);
        let no_swap = Controllers { swap: false, ..Controllers::ALL };
        let (fitted, short) = fit(&Posture::hardened(), &HostFacts { controllers: no_swap, ..ideal() });
        assert_eq!(fitted.limits.memory, Some(512 * MIB));
        assert_eq!(fitted.limits.memory_swap, None);
        assert_eq!(names(&short), ["memory-swap"]);
    }

    #[test]
    fn an_engine_that_may_not_raise_limits_stays_within_its_own() {
        let host = HostFacts { can_raise_limits: false, nofile_hard: 512, oom_score_adj: 600, ..ideal() };
        let (fitted, short) = fit(&Posture::hardened(), &host);
        let nofile = fitted.limits.ulimits[&Resource::Nofile];
        assert_eq!((nofile.soft, nofile.hard), (512, 512));
        assert_eq!(fitted.limits.oom_score_adj, 600);
        assert_eq!(names(&short), ["ulimit-nofile", "oom-score-adj"]);
        let host = HostFacts { can_raise_limits: false, ..ideal() };
        assert_eq!(fit(&Posture::hardened(), &host).1, []);
    }

    #[test]
    fn an_old_kernel_is_told_of_what_it_lacks() {
        let mut posture = Posture::hardened();
        posture.mounts.push(Mount::bind("/srv", "/srv"));
        posture.namespaces.time = true;
        let old = HostFacts { idmapped_layers: false, idmapped_binds: false, time_namespaces: false, ..ideal() };
        let (fitted, short) = fit(&posture, &old);
        assert_eq!(names(&short), ["idmapped-layers", "idmapped-mounts", "time-namespace"]);
        assert!(!fitted.mounts[0].idmap && !fitted.namespaces.time);
        let none = HostFacts { user_namespaces: false, seccomp: false, ..old };
        let (fitted, short) = fit(&Posture::hardened(), &none);
        assert_eq!(names(&short), ["userns", "seccomp"]);
        assert!(fitted.namespaces.user.is_host());
        assert_eq!(fitted.seccomp, SeccompChoice::Unconfined);
    }

    #[test]
    fn a_profile_that_refuses_nothing_is_told() {
        let json =
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmodd"], "action": "SCMP_ACT_ERRNO"}]}"#;
        let profile = Box::new(Profile::parse(json).unwrap());
        let posture =
            Posture { seccomp: SeccompChoice::Custom { profile, path: "p".to_owned() }, ..Posture::hardened() };
        assert!(fit(&posture, &ideal()).1[0].words.contains("chmodd"));
    }

    #[test]
    fn version_2_has_no_swappiness_and_always_kills() {
        let mut posture = Posture::hardened();
        posture.limits.memory_swappiness = Some(10);
        posture.limits.oom_kill_disable = true;
        let host = HostFacts { controllers: Controllers { memory_v1: false, ..Controllers::ALL }, ..ideal() };
        let (fitted, short) = fit(&posture, &host);
        assert_eq!(names(&short), ["memory-swappiness", "oom-kill-disable"]);
        assert_eq!((fitted.limits.memory_swappiness, fitted.limits.oom_kill_disable), (None, false));
        assert_eq!(fit(&posture, &ideal()).1, []);
    }

    #[test]
    fn words_are_one_line() {
        let nothing = HostFacts {
            controllers: Controllers::default(),
            can_raise_limits: false,
            nofile_hard: 1,
            oom_score_adj: 1000,
            user_namespaces: false,
            ..ideal()
        };
        let (_, short) = fit(&Posture::hardened(), &nothing);
        assert!(short.len() > 4 && short.iter().all(|shortfall| !shortfall.words.contains('\n')));
    }
}
