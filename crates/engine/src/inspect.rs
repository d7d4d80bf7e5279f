//! Everything about one container, with Docker's JSON field names, and what Docker has no names for.

use std::collections::BTreeMap;

use casemate_posture::{
    IpcMode, MountKind, NamespaceMode, NetworkMode, Posture, Relaxation, SeccompChoice, Shortfall, UserMode,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::bundle;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::idrange::IdRange;
use crate::list::{Status, Summary};
use crate::record::{MountPoint, Record};
use crate::signal::Signal;
use crate::time::Timestamp;

/// What `inspect` shows.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspect {
    /// The id.
    pub id: String,
    /// When it was created.
    pub created: Timestamp,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it is doing, or how it ended.
    pub state: State,
    /// The image's id.
    pub image: String,
    /// The files that are mounted over the image's.
    pub resolv_conf_path: String,
    /// As above.
    pub hostname_path: String,
    /// As above.
    pub hosts_path: String,
    /// The current log file.
    pub log_path: String,
    /// `/` and the name.
    pub name: String,
    /// Times the container was restarted by policy.
    pub restart_count: u32,
    /// Always `overlay`.
    pub driver: &'static str,
    /// Always `linux`.
    pub platform: &'static str,
    /// What it may use of the host.
    pub host_config: Value,
    /// What is mounted into it.
    pub mounts: Vec<MountPoint>,
    /// How its process is started.
    pub config: Value,
    /// The networks it is on.
    pub network_settings: Value,
    /// Every hardening choice, as it is applied.
    pub posture: Posture,
    /// `hardened`, or what was relaxed, in one line.
    pub posture_summary: String,
    /// What was relaxed, with the risk of each.
    pub relaxations: Vec<Relaxation>,
    /// Where the host can't give what was asked for.
    pub shortfalls: Vec<Shortfall>,
    /// The shortfalls in words.
    pub warnings: Vec<String>,
    /// The host ids that its ids are; `null`: the host's own.
    pub id_range: Option<IdRange>,
    /// Its control group, beneath each hierarchy's mount point.
    pub cgroup_path: String,
}

/// Docker's `State`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// `created`, `running` or `exited`.
    pub status: Status,
    /// Whether it runs.
    pub running: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether it is being restarted.
    pub restarting: bool,
    /// Whether the kernel killed it for lack of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// Whether it could not be removed whole.
    pub dead: bool,
    /// Its first process as the host sees it; 0 when it does not run.
    pub pid: u32,
    /// How it last ended.
    pub exit_code: i32,
    /// Why it could not start, or what befell it.
    pub error: String,
    /// When it was last started.
    pub started_at: Timestamp,
    /// When it last ended.
    pub finished_at: Timestamp,
}

impl State {
    fn of(summary: &Summary) -> Self {
        let running = summary.status == Status::Running;
        Self {
            status: summary.status,
            running,
            paused: false,
            restarting: false,
            oom_killed: summary.oom_killed,
            dead: false,
            pid: summary.pid.unwrap_or(0),
            exit_code: summary.exit_code.unwrap_or(0),
            error: summary.error.clone(),
            started_at: summary.started.unwrap_or(Timestamp::NEVER),
            finished_at: summary.finished.unwrap_or(Timestamp::NEVER),
        }
    }
}

impl Engine {
    /// Everything about a container.
    pub fn inspect(&self, target: &str) -> Result<Inspect> {
        let id = self.find(target)?;
        let missing = || Error::NotFound { what: "container", name: target.to_owned(), suggestion: None };
        let summary = self.summary(&id)?.ok_or_else(missing)?;
        let record = self.record(&id)?;
        let run = self.directories.run_of(&id);
        let shared = |name: &str| {
            let own = run.join(name);
            let path = if own.exists() { own } else { self.directories.run.join("shared").join(name) };
            if summary.status == Status::Running { path.display().to_string() } else { String::new() }
        };
        let args = record.process.args();
        Ok(Inspect {
            id: id.to_string(),
            created: record.identity.created,
            path: args.first().cloned().unwrap_or_default(),
            args: args.get(1..).unwrap_or_default().to_vec(),
            state: State::of(&summary),
            image: record.identity.image_id.clone(),
            resolv_conf_path: shared("resolv.conf"),
            hostname_path: shared("hostname"),
            hosts_path: shared("hosts"),
            log_path: if record.log.driver == crate::LogDriver::None { String::new() } else { self.log_path(&id) },
            name: format!("/{}", record.identity.name),
            restart_count: 0,
            driver: "overlay",
            platform: "linux",
            host_config: host_config(&record),
            mounts: record.identity.mounts.clone(),
            config: config(&record),
            network_settings: network_settings(&record),
            posture_summary: record.asked.summary(),
            relaxations: record.asked.relaxations(),
            warnings: record.shortfalls.iter().map(ToString::to_string).collect(),
            id_range: record.id_range,
            cgroup_path: bundle::cgroup_path(&record),
            shortfalls: record.shortfalls,
            posture: record.posture,
        })
    }
}

fn config(record: &Record) -> Value {
    let process = &record.process;
    let stop_signal = Signal::from_number(record.stop_signal).map_or_else(String::new, Signal::name);
    json!({
        "Hostname": record.hostname,
        "Domainname": record.domainname,
        "User": process.user,
        "AttachStdin": process.stdin_once,
        "AttachStdout": true,
        "AttachStderr": true,
        "Tty": process.tty,
        "OpenStdin": process.open_stdin,
        "StdinOnce": process.stdin_once,
        "Env": process.env,
        "Cmd": process.command,
        "Image": record.identity.image,
        "Volumes": volumes(record),
        "WorkingDir": process.workdir,
        "Entrypoint": process.entrypoint,
        "Labels": record.identity.labels,
        "StopSignal": stop_signal,
        "StopTimeout": record.stop_timeout.as_secs(),
    })
}

fn volumes(record: &Record) -> BTreeMap<&str, Value> {
    let anonymous = |name: &Option<String>| name.as_ref().is_some_and(|name| record.anonymous_volumes.contains(name));
    record
        .posture
        .mounts
        .iter()
        .filter(|mount| matches!(&mount.kind, MountKind::Volume { name } if anonymous(name)))
        .map(|mount| (mount.target.as_str(), json!({})))
        .collect()
}

fn named(mode: &NamespaceMode) -> String {
    match mode {
        NamespaceMode::Private => "private".to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Container(id) => format!("container:{id}"),
    }
}

fn network(posture: &Posture) -> String {
    match &posture.namespaces.network {
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(id) => format!("container:{id}"),
        _ => "none".to_owned(),
    }
}

fn host_config(record: &Record) -> Value {
    let posture = &record.posture;
    let limits = &posture.limits;
    let namespaces = &posture.namespaces;
    let ipc = match &namespaces.ipc {
        IpcMode::Private => "private".to_owned(),
        IpcMode::Shareable => "shareable".to_owned(),
        IpcMode::None => "none".to_owned(),
        IpcMode::Host => "host".to_owned(),
        IpcMode::Container(id) => format!("container:{id}"),
    };
    let user = match &namespaces.user {
        UserMode::Private => "private".to_owned(),
        UserMode::Host => "host".to_owned(),
        UserMode::Remap(user) => user.clone(),
        UserMode::Container(id) => format!("container:{id}"),
    };
    // Docker prints an empty mode for what is private, except for these.
    let empty_when_private = |mode: &NamespaceMode| if mode.is_own() { String::new() } else { named(mode) };
    let capabilities: Vec<&str> = posture.capabilities.iter().map(casemate_posture::Capability::name).collect();
    let tmpfs: BTreeMap<&str, String> =
        posture.tmpfs.iter().map(|tmpfs| (tmpfs.target.as_str(), tmpfs.options().join(","))).collect();
    json!({
        "Binds": binds(posture),
        "LogConfig": { "Type": record.log.driver.name(), "Config": record.log.options() },
        "NetworkMode": network(posture),
        "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
        "AutoRemove": record.identity.auto_remove,
        "CapAdd": capabilities,
        "CapDrop": ["ALL"],
        "CgroupnsMode": named(&namespaces.cgroup),
        "CgroupParent": posture.cgroup_parent.clone().unwrap_or_default(),
        "Dns": record.dns,
        "ExtraHosts": record.extra_hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect::<Vec<_>>(),
        "GroupAdd": posture.group_add.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "IpcMode": ipc,
        "PidMode": empty_when_private(&namespaces.pid),
        "UTSMode": empty_when_private(&namespaces.uts),
        "UsernsMode": user,
        "Privileged": posture.privileged,
        "ReadonlyRootfs": posture.read_only_root,
        "SecurityOpt": security(posture),
        "Tmpfs": tmpfs,
        "ShmSize": limits.shm_size,
        "Sysctls": posture.sysctls,
        "Devices": devices(posture),
        "DeviceCgroupRules": posture.device_rules.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "MaskedPaths": posture.masked_paths,
        "ReadonlyPaths": posture.read_only_paths,
        "Memory": limits.memory.unwrap_or(0),
        "MemorySwap": limits.memory_swap.map_or(-1, signed),
        "MemoryReservation": limits.memory_reservation.unwrap_or(0),
        "MemorySwappiness": limits.memory_swappiness,
        "NanoCpus": limits.nano_cpus.unwrap_or(0),
        "CpuShares": limits.cpu_shares.unwrap_or(0),
        "CpuPeriod": limits.cpu_period.unwrap_or(0),
        "CpuQuota": limits.cpu_quota.unwrap_or(0),
        "CpusetCpus": limits.cpuset_cpus.clone().unwrap_or_default(),
        "CpusetMems": limits.cpuset_mems.clone().unwrap_or_default(),
        "BlkioWeight": limits.blkio_weight.unwrap_or(0),
        "PidsLimit": limits.pids.map_or(-1, signed),
        "OomKillDisable": limits.oom_kill_disable,
        "OomScoreAdj": limits.oom_score_adj,
        "Ulimits": ulimits(posture),
        "Init": record.init,
        "Runtime": "casemate",
        "Isolation": "namespace",
    })
}

fn devices(posture: &Posture) -> Vec<Value> {
    posture
        .devices
        .iter()
        .map(|device| {
            json!({
                "PathOnHost": device.host,
                "PathInContainer": device.container,
                "CgroupPermissions": device.permissions.to_string(),
            })
        })
        .collect()
}

fn ulimits(posture: &Posture) -> Vec<Value> {
    posture
        .limits
        .ulimits
        .iter()
        .map(|(resource, limit)| json!({ "Name": resource.name(), "Soft": signed(limit.soft), "Hard": signed(limit.hard) }))
        .collect()
}

fn binds(posture: &Posture) -> Vec<String> {
    posture
        .mounts
        .iter()
        .map(|mount| {
            let source = match &mount.kind {
                MountKind::Bind { source } => source.as_str(),
                MountKind::Volume { name } => name.as_deref().unwrap_or_default(),
            };
            format!("{source}:{}:{}", mount.target, if mount.read_only { "ro" } else { "rw" })
        })
        .collect()
}

fn security(posture: &Posture) -> Vec<String> {
    let mut security: Vec<String> = Vec::new();
    if posture.no_new_privileges {
        security.push("no-new-privileges".to_owned());
    }
    match &posture.seccomp {
        SeccompChoice::Default => security.push("seccomp=casemate-default".to_owned()),
        SeccompChoice::Unconfined => security.push("seccomp=unconfined".to_owned()),
        SeccompChoice::Custom { path, .. } => security.push(format!("seccomp={path}")),
    }
    security
}

/// Docker writes "no limit" as -1.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(-1)
}

fn network_settings(record: &Record) -> Value {
    let name = network(&record.posture);
    json!({
        "Bridge": "",
        "Ports": {},
        "IPAddress": "",
        "Gateway": "",
        "MacAddress": "",
        "Networks": { name: { "IPAddress": "", "Gateway": "", "MacAddress": "", "NetworkID": "" } },
    })
}
