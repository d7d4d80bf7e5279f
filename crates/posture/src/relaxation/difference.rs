//! What a posture lets through that the hardened one does not, field by field.

use super::{Kind, Posture, Relaxation, kinds};
use crate::limits::Limits;
use crate::mount::{Mount, MountKind, Propagation, Relabel};
use crate::path::{self, Sensitivity};
use crate::posture::{NO_NESTED_USER_NAMESPACES, UNPRIVILEGED_PORTS};
use crate::{Apparmor, IpcMode, Label, Namespaces, SeccompChoice, Tmpfs, Ulimit, UserMode};

/// What has been found so far.
#[derive(Default)]
struct Found(Vec<Relaxation>);

impl Found {
    fn plain(&mut self, is: bool, kind: Kind) {
        if is {
            self.0.push(Relaxation::new(kind, None));
        }
    }

    fn on(&mut self, kind: Kind, value: impl Into<String>) {
        self.0.push(Relaxation::new(kind, Some(value.into())));
    }
}

/// `state` is where the engine keeps its own.
pub(super) fn relaxations(posture: &Posture, state: &[&str]) -> Vec<Relaxation> {
    // Taken apart, so that a field that is added without a thought about what it relaxes does not compile.
    let Posture {
        privileged,
        namespaces,
        capabilities,
        no_new_privileges,
        seccomp,
        apparmor,
        label,
        read_only_root,
        tmpfs,
        mounts,
        devices,
        device_rules,
        masked_paths,
        read_only_paths,
        limits,
        sysctls,
        group_add,
        cgroup_parent,
    } = posture;
    let mut found = Found::default();
    found.plain(*privileged, kinds::PRIVILEGED);
    of_namespaces(namespaces, *privileged, &mut found);
    if let Some(parent) = cgroup_parent {
        found.on(kinds::CGROUP_PARENT, parent);
    }
    // "privileged" says all of these.
    if !privileged {
        for cap in capabilities.iter() {
            let mut relaxation = Relaxation::new(kinds::CAP_ADD, Some(cap.short_name().to_owned()));
            relaxation.risk = cap.danger().unwrap_or(kinds::CAP_ADD.risk);
            found.0.push(relaxation);
        }
        found.plain(!no_new_privileges, kinds::NEW_PRIVILEGES);
        match seccomp {
            SeccompChoice::Default => {}
            SeccompChoice::Unconfined => found.plain(true, kinds::SECCOMP_UNCONFINED),
            SeccompChoice::Custom { path, .. } => found.on(kinds::SECCOMP_PROFILE, path),
        }
        found.plain(*apparmor == Apparmor::Unconfined, kinds::APPARMOR_UNCONFINED);
        found.plain(*label == Label::Disabled, kinds::LABEL_DISABLED);
        let lacks = |list: &[std::borrow::Cow<'static, str>], path: &&str| !list.iter().any(|known| known == path);
        found.plain(path::MASKED.iter().any(|path| lacks(masked_paths, path)), kinds::UNMASKED_PATHS);
        // What is masked can't be written either.
        let writable = |path: &&&str| lacks(read_only_paths, path) && lacks(masked_paths, path);
        found.plain(path::READ_ONLY.iter().any(|path| writable(&path)), kinds::WRITABLE_PATHS);
    }
    found.plain(!read_only_root, kinds::WRITABLE_ROOT);
    for tmpfs in tmpfs {
        of_tmpfs(tmpfs, &mut found);
    }
    for mount in mounts {
        of_mount(mount, state, &mut found);
    }
    for device in devices {
        let kind = if device.danger().is_some() { kinds::HOST_DEVICE } else { kinds::DEVICE };
        found.on(kind, &device.host);
    }
    for rule in device_rules {
        let kind = if rule.danger().is_some() { kinds::HOST_DEVICE } else { kinds::DEVICE_RULE };
        found.on(kind, rule.to_string());
    }
    of_limits(limits, &mut found);
    for (key, value) in sysctls {
        if ![UNPRIVILEGED_PORTS, NO_NESTED_USER_NAMESPACES].contains(&(&**key, &**value)) {
            found.on(kinds::SYSCTL, format!("{key}={value}"));
        }
    }
    if !privileged && namespaces.user.is_own() && !sysctls.contains_key(NO_NESTED_USER_NAMESPACES.0) {
        found.on(kinds::SYSCTL, format!("{}=unlimited", NO_NESTED_USER_NAMESPACES.0));
    }
    for group in group_add {
        found.on(kinds::GROUP_ADD, group.to_string());
    }
    found.0
}

fn of_namespaces(namespaces: &Namespaces, privileged: bool, found: &mut Found) {
    // A time namespace of its own only tightens.
    let Namespaces { pid, ipc, uts, network, user, cgroup, time: _ } = namespaces;
    found.plain(pid.is_host(), kinds::HOST_PID);
    found.plain(ipc.is_host(), kinds::HOST_IPC);
    found.plain(uts.is_host(), kinds::HOST_UTS);
    found.plain(network.is_host(), kinds::HOST_NETWORK);
    found.plain(user.is_host() && !privileged, kinds::HOST_USERNS);
    found.plain(cgroup.is_host(), kinds::HOST_CGROUPNS);
    found.plain(*ipc == IpcMode::Shareable, kinds::SHAREABLE_IPC);
    let shared = [
        (pid.container(), kinds::SHARED_PID),
        (ipc.container(), kinds::SHARED_IPC),
        (uts.container(), kinds::SHARED_UTS),
        (network.container(), kinds::SHARED_NETWORK),
        (user.container(), kinds::SHARED_USERNS),
        (cgroup.container(), kinds::SHARED_CGROUPNS),
    ];
    for (container, kind) in shared {
        if let Some(container) = container {
            found.on(kind, container);
        }
    }
    if let UserMode::Remap(user) = user {
        found.on(kinds::REMAPPED_USERNS, user);
    }
}

fn of_tmpfs(tmpfs: &Tmpfs, found: &mut Found) {
    // Being read-only tightens; whose its root directory is and with which mode is the container's own affair.
    let Tmpfs { target, size, inodes, mode: _, uid: _, gid: _, read_only: _, exec, suid, dev } = tmpfs;
    for (is, kind) in [(exec, kinds::TMPFS_EXEC), (suid, kinds::TMPFS_SUID), (dev, kinds::TMPFS_DEV)] {
        if *is {
            found.on(kind, target);
        }
    }
    let within = |bound: &Option<u64>, most: u64| bound.is_some_and(|bound| bound <= most);
    if !within(size, Tmpfs::SIZE) || !within(inodes, Tmpfs::INODES) {
        found.on(kinds::TMPFS_SIZE, target);
    }
}

fn of_mount(mount: &Mount, state: &[&str], found: &mut Found) {
    // What comes with a bind mount is judged by its source; what a volume begins with is the image's.
    let Mount { kind, target, read_only, exec, suid, dev, propagation, recursive: _, idmap, relabel, copy: _ } = mount;
    match kind {
        MountKind::Bind { source } => {
            let engines = state.iter().any(|directory| path::overlap(source, directory));
            match path::sensitivity(source).or(engines.then_some(Sensitivity::EngineState)) {
                Some(Sensitivity::Host(_)) => found.on(kinds::SENSITIVE_MOUNT, source),
                Some(Sensitivity::EngineSocket) => found.on(kinds::ENGINE_SOCKET, source),
                Some(Sensitivity::EngineState) => found.on(kinds::ENGINE_STATE, source),
                None if *read_only => found.on(kinds::BIND_MOUNT, source),
                None => {}
            }
            if !read_only || *relabel != Relabel::No {
                found.on(kinds::WRITABLE_BIND, source);
            }
        }
        MountKind::Volume { name } => {
            found.on(kinds::VOLUME, name.as_deref().unwrap_or(target));
            if *exec {
                found.on(kinds::MOUNT_EXEC, target);
            }
        }
    }
    for (is, kind) in [(*suid, kinds::MOUNT_SUID), (*dev, kinds::MOUNT_DEV), (!idmap, kinds::MOUNT_UNMAPPED)] {
        if is {
            found.on(kind, target);
        }
    }
    if !matches!(propagation, Propagation::Private | Propagation::Rprivate) {
        found.on(kinds::MOUNT_PROPAGATION, format!("{target}:{}", propagation.name()));
    }
}

fn of_limits(limits: &Limits, found: &mut Found) {
    let hardened = Limits::default();
    let Limits {
        memory,
        memory_swap: _,
        memory_reservation,
        // Without swap it means nothing, and with swap the relaxation is the swap.
        memory_swappiness: _,
        oom_kill_disable,
        oom_score_adj,
        pids,
        // A number of processors never lets it have more than the host has, nor does a quota that is not -1.
        nano_cpus: _,
        cpu_period: _,
        cpu_quota,
        cpu_shares,
        // These only take away.
        cpuset_cpus: _,
        cpuset_mems: _,
        blkio_weight,
        device_read_bps: _,
        device_write_bps: _,
        device_read_iops: _,
        device_write_iops: _,
        ulimits,
        shm_size,
    } = limits;
    if exceeds(*memory, hardened.memory) {
        found.on(kinds::MEMORY, shown(*memory));
    }
    if memory.is_some() && exceeds(limits.swap(), hardened.swap()) {
        found.on(kinds::MEMORY_SWAP, shown(limits.swap()));
    }
    if let Some(reservation) = memory_reservation {
        found.on(kinds::MEMORY_RESERVATION, shown(Some(*reservation)));
    }
    found.plain(*oom_kill_disable, kinds::OOM_KILL_DISABLE);
    if *oom_score_adj < hardened.oom_score_adj {
        found.on(kinds::OOM_SCORE_ADJ, oom_score_adj.to_string());
    }
    if exceeds(*pids, hardened.pids) {
        found.on(kinds::PIDS_LIMIT, pids.map_or_else(|| "unlimited".to_owned(), |pids| pids.to_string()));
    }
    found.plain(cpu_quota.is_some_and(|quota| quota < 0), kinds::CPU_UNLIMITED);
    if let Some(shares) = cpu_shares.filter(|shares| *shares > 1024) {
        found.on(kinds::CPU_SHARES, shares.to_string());
    }
    if let Some(weight) = blkio_weight.filter(|weight| *weight > 500) {
        found.on(kinds::BLKIO_WEIGHT, weight.to_string());
    }
    for (resource, ulimit) in ulimits {
        let usual = hardened.ulimits.get(resource);
        if usual.is_none_or(|usual| ulimit.soft > usual.soft || ulimit.hard > usual.hard) {
            found.on(kinds::ULIMIT, format!("{}={}", resource.name(), shown_ulimit(*ulimit)));
        }
    }
    for (resource, _) in hardened.ulimits.iter().filter(|(resource, _)| !ulimits.contains_key(resource)) {
        found.on(kinds::ULIMIT, format!("{}=inherited", resource.name()));
    }
    if *shm_size > hardened.shm_size {
        found.on(kinds::SHM_SIZE, shown(Some(*shm_size)));
    }
}

/// Whether `limit` lets more through than `usual`; `None` lets everything through.
fn exceeds(limit: Option<u64>, usual: Option<u64>) -> bool {
    match (limit, usual) {
        (None, Some(_)) => true,
        (Some(limit), Some(usual)) => limit > usual,
        (_, None) => false,
    }
}

/// Bytes in the largest unit that shows them whole.
fn shown(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else {
        return "unlimited".to_owned();
    };
    let unit = [(40, "t"), (30, "g"), (20, "m"), (10, "k")]
        .into_iter()
        .find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

fn shown_ulimit(ulimit: Ulimit) -> String {
    let number = |value: u64| {
        if value == Ulimit::UNLIMITED { "unlimited".to_owned() } else { value.to_string() }
    };
    format!("{}:{}", number(ulimit.soft), number(ulimit.hard))
}
