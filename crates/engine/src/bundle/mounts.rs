//! The mounts of a specification, in the order in which they are made.

use std::path::PathBuf;

use casemate_posture::{IpcMode, MountKind, NamespaceMode, NetworkMode, Posture};
use oci_spec::runtime::{Mount, MountBuilder};

use super::{Materials, built, owner_mapping, range_of};
use crate::error::Result;
use crate::init;

/// Where what is mounted comes from: paths, or `/proc/self/fd/N` of what was opened and looked at.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// In the order of the posture's mounts.
    pub(crate) mounts: Vec<Source>,
    pub(crate) hosts: Option<PathBuf>,
    pub(crate) hostname: Option<PathBuf>,
    pub(crate) resolv: Option<PathBuf>,
    /// A directory that is this container's `/dev/shm`, and that of those that join it.
    pub(crate) shm: Option<PathBuf>,
    /// The program that `--init` runs.
    pub(crate) init: Option<PathBuf>,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Since when tmpfs can be idmapped; before, files of ours belong to `nobody` inside, and can be read all the same.
const IDMAPPED_TMPFS: (u32, u32) = (6, 3);

pub(super) fn mounts(materials: &Materials<'_>) -> Result<Vec<Mount>> {
    let posture = &materials.record.posture;
    let mut list = kernel_file_systems(materials)?;
    let mut own = Vec::new();
    for tmpfs in &posture.tmpfs {
        if !covered(posture, &tmpfs.target) {
            own.push(new_file_system("tmpfs", "tmpfs", &tmpfs.target, tmpfs.options())?);
        }
    }
    for (mount, source) in posture.mounts.iter().zip(&materials.sources.mounts) {
        own.push(asked_mount(materials, mount, source)?);
    }
    own.extend(files(materials)?);
    // What is mounted on a directory comes after it; the sort is stable, so that of two on one path the later one counts.
    own.sort_by_key(|mount| mount.destination().components().count());
    list.extend(own);
    Ok(list)
}

/// Whether the user mounts something of theirs exactly here.
fn covered(posture: &Posture, target: &str) -> bool {
    posture.mounts.iter().any(|mount| mount.target.trim_end_matches('/') == target.trim_end_matches('/'))
}

fn strings(options: &[&str]) -> Vec<String> {
    options.iter().map(|&option| option.to_owned()).collect()
}

fn new_file_system(kind: &str, source: &str, target: &str, options: Vec<String>) -> Result<Mount> {
    built(MountBuilder::default().typ(kind).source(source).destination(target).options(options).build())
}

fn bind(source: impl Into<PathBuf>, target: &str, options: Vec<String>) -> Result<Mount> {
    built(MountBuilder::default().typ("bind").source(source).destination(target).options(options).build())
}

/// What every container has: the kernel's own file systems.
///
/// Those that show a namespace of the host can't be made anew in a user namespace that does not own it: the host's are then
/// bound, read-only where there is no reason to write.
fn kernel_file_systems(materials: &Materials<'_>) -> Result<Vec<Mount>> {
    let posture = &materials.record.posture;
    let mapped = range_of(materials.record).is_some();
    let borrowed = |host: bool| host && mapped;
    let read_only_bind = ["rbind", "ro", "rro", "nosuid", "noexec", "nodev", "rprivate"];
    let mut list = Vec::with_capacity(12);
    list.push(if borrowed(matches!(posture.namespaces.pid, NamespaceMode::Host)) {
        bind("/proc", "/proc", strings(&["rbind", "nosuid", "noexec", "nodev", "rprivate"]))?
    } else {
        new_file_system("proc", "proc", "/proc", strings(&["nosuid", "noexec", "nodev"]))?
    });
    list.push(new_file_system(
        "tmpfs",
        "tmpfs",
        "/dev",
        strings(&["nosuid", "noexec", "strictatime", "mode=755", "size=1m"]),
    )?);
    list.push(new_file_system(
        "devpts",
        "devpts",
        "/dev/pts",
        // All instances share what the host has of them (kernel.pty.max): one container does not take them all.
        strings(&["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", "max=128"]),
    )?);
    list.extend(shared_memory(materials)?);
    if !borrowed(posture.namespaces.ipc.is_host()) {
        list.push(new_file_system("mqueue", "mqueue", "/dev/mqueue", strings(&["nosuid", "noexec", "nodev"]))?);
    }
    let sys_of_host = matches!(posture.namespaces.network, NetworkMode::Host);
    let sys =
        if posture.privileged { ["nosuid", "noexec", "nodev", "rw"] } else { ["nosuid", "noexec", "nodev", "ro"] };
    list.push(if borrowed(sys_of_host) {
        bind("/sys", "/sys", strings(&read_only_bind))?
    } else {
        new_file_system("sysfs", "sysfs", "/sys", strings(&sys))?
    });
    if !borrowed(sys_of_host) {
        list.push(new_file_system(
            "cgroup",
            "cgroup",
            "/sys/fs/cgroup",
            strings(&["nosuid", "noexec", "nodev", "relatime", "ro"]),
        )?);
    }
    Ok(list)
}

fn shared_memory(materials: &Materials<'_>) -> Result<Option<Mount>> {
    let posture = &materials.record.posture;
    if covered(posture, "/dev/shm") || posture.tmpfs.iter().any(|tmpfs| tmpfs.target == "/dev/shm") {
        return Ok(None);
    }
    let flags = ["nosuid", "noexec", "nodev"];
    match (&posture.namespaces.ipc, &materials.sources.shm) {
        (IpcMode::None, _) => Ok(None),
        (IpcMode::Host, _) => {
            bind("/dev/shm", "/dev/shm", strings(&["bind", "nosuid", "noexec", "nodev", "rprivate"])).map(Some)
        }
        (_, Some(directory)) => {
            let mut options = strings(&["bind", "rprivate"]);
            options.extend(strings(&flags));
            if range_of(materials.record).is_some() {
                options.push("idmap".to_owned());
            }
            bind(directory, "/dev/shm", options).map(Some)
        }
        _ => {
            let mut options = strings(&flags);
            options.push("mode=1777".to_owned());
            options.push(format!("size={}", posture.limits.shm_size));
            new_file_system("tmpfs", "shm", "/dev/shm", options).map(Some)
        }
    }
}

fn asked_mount(materials: &Materials<'_>, mount: &casemate_posture::Mount, source: &Source) -> Result<Mount> {
    let record = materials.record;
    let mut options = mount.options();
    if mount.read_only && mount.recursive && mount.source().is_some() {
        // A read-only mount with a writable one beneath it would be no such thing.
        options.push("rro".to_owned());
    }
    let mut builder = MountBuilder::default().typ("bind").source(&source.path).destination(&mount.target);
    if let Some(range) = range_of(record).filter(|_| mount.idmap) {
        match &mount.kind {
            // The directory's owner outside is the container's user inside.
            MountKind::Bind { .. } => {
                builder = builder
                    .uid_mappings(vec![owner_mapping(source.uid, materials.user.uid, range.uid)?])
                    .gid_mappings(vec![owner_mapping(source.gid, materials.user.gid, range.gid)?]);
            }
            // A volume keeps the container's own ids, so that other containers with it read them as theirs.
            MountKind::Volume { .. } => options.push("idmap".to_owned()),
        }
    }
    built(builder.options(options).build())
}

/// `/etc/hosts` and its like, and the init program.
fn files(materials: &Materials<'_>) -> Result<Vec<Mount>> {
    let posture = &materials.record.posture;
    let sources = materials.sources;
    let mut list = Vec::with_capacity(4);
    for (source, target) in
        [(&sources.hosts, "/etc/hosts"), (&sources.hostname, "/etc/hostname"), (&sources.resolv, "/etc/resolv.conf")]
    {
        let Some(source) = source else { continue };
        if covered(posture, target) {
            continue;
        }
        let mut options = strings(&["bind", "nosuid", "noexec", "nodev", "rprivate"]);
        options.push(if posture.read_only_root { "ro" } else { "rw" }.to_owned());
        if range_of(materials.record).is_some() && materials.kernel >= IDMAPPED_TMPFS {
            options.push("idmap".to_owned());
        }
        list.push(bind(source, target, options)?);
    }
    if let Some(program) = &sources.init {
        list.push(bind(program, init::TARGET, strings(&["bind", "ro", "nosuid", "nodev", "exec", "rprivate"]))?);
    }
    Ok(list)
}
