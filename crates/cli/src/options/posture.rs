//! From the flags to a posture: by `casemate_posture::Options`, which knows what each flag means.

use std::fs::File;
use std::io::Read as _;

use casemate_posture::{Options, Posture};

use super::isolation::Isolation;
use super::resources::Resources;
use super::storage::Storage;
use crate::failure::Failure;

/// Larger than any seccomp profile; the parser has a bound of its own.
const MAX_PROFILE: u64 = 1 << 20;

/// The posture that the flags ask for.
pub(super) fn resolve(isolation: &Isolation, storage: &Storage, resources: &Resources) -> Result<Posture, Failure> {
    let mut options = options(isolation, storage, resources);
    let file = options.seccomp_file().map_err(|error| Failure::usage(error.to_string()))?;
    if let Some(path) = file {
        options.seccomp_profile = Some(read_profile(&path)?);
    }
    if !(options.volume.is_empty() && options.mount.is_empty()) {
        options.base_directory = Some(base_directory()?);
    }
    options.into_posture().map_err(|error| Failure::usage(crate::failure::chain(&error)))
}

fn options(isolation: &Isolation, storage: &Storage, resources: &Resources) -> Options {
    Options {
        privileged: isolation.privileged,
        pid: isolation.pid.clone(),
        ipc: isolation.ipc.clone(),
        uts: isolation.uts.clone(),
        network: isolation.network.clone(),
        userns: isolation.userns.clone(),
        userns_remap: isolation.userns_remap.clone(),
        cgroupns: isolation.cgroupns.clone(),
        timens: isolation.timens.clone(),
        cgroup_parent: isolation.cgroup_parent.clone(),
        cap_add: isolation.cap_add.clone(),
        cap_drop: isolation.cap_drop.clone(),
        security_opt: isolation.security_opt.clone(),
        seccomp_profile: None,
        read_only: storage.read_only,
        tmpfs: storage.tmpfs.clone(),
        volume: storage.volume.clone(),
        mount: storage.mount.clone(),
        base_directory: None,
        device: isolation.device.clone(),
        device_cgroup_rule: isolation.device_cgroup_rule.clone(),
        memory: resources.memory.clone(),
        memory_swap: resources.memory_swap.clone(),
        memory_reservation: resources.memory_reservation.clone(),
        memory_swappiness: resources.memory_swappiness.clone(),
        cpus: resources.cpus.clone(),
        cpu_period: resources.cpu_period.clone(),
        cpu_quota: resources.cpu_quota.clone(),
        cpu_shares: resources.cpu_shares.clone(),
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        pids_limit: resources.pids_limit.clone(),
        ulimit: resources.ulimit.clone(),
        blkio_weight: resources.blkio_weight.clone(),
        device_read_bps: resources.device_read_bps.clone(),
        device_write_bps: resources.device_write_bps.clone(),
        device_read_iops: resources.device_read_iops.clone(),
        device_write_iops: resources.device_write_iops.clone(),
        storage_opt: storage.storage_opt.clone(),
        shm_size: resources.shm_size.clone(),
        oom_score_adj: resources.oom_score_adj.clone(),
        oom_kill_disable: resources.oom_kill_disable,
        group_add: isolation.group_add.clone(),
        sysctl: isolation.sysctl.clone(),
    }
}

fn read_profile(path: &str) -> Result<String, Failure> {
    let fail = |why: &str| Failure::usage(format!("--security-opt seccomp={path}: {why}"));
    let mut bytes = Vec::new();
    let mut read = || File::open(path)?.take(MAX_PROFILE + 1).read_to_end(&mut bytes);
    read().map_err(|error| fail(&error.to_string()))?;
    if bytes.len() as u64 > MAX_PROFILE {
        return Err(fail("larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| fail("not UTF-8"))
}

fn base_directory() -> Result<String, Failure> {
    let fail = |why: &str| Failure::usage(format!("the current directory, where relative mounts begin: {why}"));
    let path = std::env::current_dir().map_err(|error| fail(&error.to_string()))?;
    path.into_os_string().into_string().map_err(|_| fail("its name is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn no_flags_are_the_hardened_posture() {
        let posture = resolve(&Isolation::default(), &Storage::default(), &Resources::default()).unwrap();
        assert_eq!(posture, Posture::hardened());
    }

    #[test]
    fn flags_reach_the_posture() {
        let isolation = Isolation { cap_add: vec!["NET_RAW".into()], ..Isolation::default() };
        let storage = Storage { read_only: Some(false), volume: vec!["data:/data".into()], ..Storage::default() };
        let resources = Resources { memory: Some("64m".into()), ..Resources::default() };
        let posture = resolve(&isolation, &storage, &resources).unwrap();
        assert!(!posture.read_only_root);
        assert_eq!(posture.limits.memory, Some(64 << 20));
        assert_eq!(posture.mounts.len(), 1);
        assert!(posture.summary().contains("NET_RAW"), "{}", posture.summary());
    }

    #[test]
    fn profiles_are_read_and_named_when_wrong() {
        let with = |text: String| Isolation { security_opt: vec![text], ..Isolation::default() };
        let missing = with("seccomp=/nonexistent.json".into());
        let failure = resolve(&missing, &Storage::default(), &Resources::default()).unwrap_err();
        assert!(failure.message().contains("/nonexistent.json"), "{}", failure.message());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"{}").unwrap();
        let empty = with(format!("seccomp={}", file.path().display()));
        assert!(resolve(&empty, &Storage::default(), &Resources::default()).is_err());
    }
}
