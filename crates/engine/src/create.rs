//! Making a container: from what was asked for to a record.

use std::collections::BTreeMap;
use std::path::PathBuf;

use casemate_posture::{IpcMode, Mount, MountKind, NamespaceMode, NetworkMode, Posture, UserMode};

use crate::config::ContainerConfig;
use crate::directories;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::id::ContainerId;
use crate::idrange::{IdRange, Pool};
use crate::image_config;
use crate::imagefacts::Question;
use crate::record::{self, Identity, MountPoint, RECORD_FILE, RECORD_VERSION, Record};
use crate::time::Timestamp;
use crate::{events, idmapped, init, names, removal, sources, volumes};

/// How often a random name is tried before the taken ones are believed to be all.
const NAME_ATTEMPTS: u32 = 16;

/// A container that was made.
#[derive(Debug, Clone)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Where the host can't give what was asked for; a line each.
    pub warnings: Vec<String>,
}

/// A container that was made, with what starting it at once needs not read again.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) record: Record,
    pub(crate) layers: Vec<PathBuf>,
}

impl Made {
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.record.shortfalls.iter().map(ToString::to_string).collect()
    }
}

impl Engine {
    /// Makes a container, without starting it.
    ///
    /// # Errors
    /// [`Error::Refused`] when the host's policy does not permit a relaxation; [`Error::NameTaken`]; what is wrong with a value.
    pub fn create(&self, mut config: ContainerConfig) -> Result<Created> {
        // Docker's `create -i` connects the input of whoever attaches at the start, and ends it with them.
        config.stdin_once |= config.open_stdin;
        let made = self.make(config)?;
        events::append(&self.directories, &["create"], &removal::Leaving::of(&made.record), None);
        Ok(Created {
            id: made.record.identity.id.clone(),
            name: made.record.identity.name.clone(),
            warnings: made.warnings(),
        })
    }

    pub(crate) fn make(&self, mut config: ContainerConfig) -> Result<Made> {
        let policy = self
            .policy()?
            .with_allowed(&config.allow)
            .map_err(|error| Error::invalid("--allow", config.allow.join(","), error.to_string()))?;
        if let Some(name) = &config.name {
            config.name = Some(names::check(name)?.to_owned());
        }
        let image = self.images.resolve(&config.image)?;
        let id = ContainerId::random()?;
        let mut asked = config.posture.clone();
        let joined = self.join(&mut asked)?;
        sources::resolve(&mut asked)?;
        let hostname = hostname(&config, &id)?;
        let merged = image_config::merge(&config, &image, &hostname)?;
        let anonymous_volumes = name_volumes(&mut asked, &merged.volumes)?;
        let state = if asked.mounts.is_empty() { Default::default() } else { self.directories.real() };
        policy.decide(&asked.relaxations_beside(&state.each_ref().map(String::as_str)))?;
        let host = Host::detect(&asked)?;
        let (mut posture, mut shortfalls) = casemate_posture::fit(&asked, &host.facts);
        shortfalls.extend(host.fit_capabilities(&mut posture));
        shortfalls.extend(idmapped::fit(&mut posture, &host.facts, &self.directories.data)?);
        let layers = self.images.snapshot_layers(&image)?;
        let question = Question::new(&posture, &merged.process.user, &merged.process.workdir);
        let of_image = question.answer(&self.directories, &self.images, &image, &posture)?;
        let record = Record {
            identity: Identity {
                id,
                name: config.name.clone().unwrap_or_default(),
                image: config.image.clone(),
                image_id: image.id.to_string(),
                command: merged.process.args(),
                created: Timestamp::now(),
                labels: merged.labels,
                mounts: mount_points(self, &posture),
                networks: vec![network_name(&posture)],
                posture: asked.summary(),
                auto_remove: config.auto_remove,
            },
            version: RECORD_VERSION,
            // A read-only root needs a layer of its own only for mount points that the image lacks.
            upper: !posture.read_only_root || !of_image.complete,
            process: merged.process,
            user: of_image.user,
            hostname,
            domainname: config.domainname.clone().unwrap_or_default(),
            extra_hosts: config.extra_hosts.clone(),
            dns: config.dns.clone(),
            init: config.init,
            stop_signal: merged.stop_signal.number(),
            stop_timeout: config.stop_timeout.unwrap_or(std::time::Duration::from_secs(10)),
            log: config.log.clone(),
            asked,
            posture,
            shortfalls,
            allow: config.allow.clone(),
            id_range: None,
            range_claimed: false,
            joined: joined.as_ref().map(|target| target.id.clone()),
            layers: image.layers.iter().map(ToString::to_string).collect(),
            anonymous_volumes,
            annotations: config.annotations.clone(),
        };
        check_text(&record)?;
        let record = self.commit(record, joined)?;
        self.fill_new_volumes(&layers, &record)?;
        Ok(Made { record, layers })
    }

    /// Takes the claims and writes the record. Whatever fails, nothing is left; a kill leaves what any later command collects.
    fn commit(&self, mut record: Record, joined: Option<Target>) -> Result<Record> {
        let id = record.identity.id.clone();
        let directory = self.directories.container(&id);
        self.claims().make_directory(&id)?;
        let result = self.claim(&mut record, joined).and_then(|()| {
            if record.upper {
                for name in ["upper", "work"] {
                    let path = directory.join(name);
                    directories::make_new(&path).map_err(Error::file("make directory", path))?;
                }
                // The upper directory is what `/` looks like inside; what is in it belongs to the ids that the container's are outside.
                let upper = directory.join("upper");
                let failed = |errno| Error::errno("set the owner of", &upper, errno);
                rustix::fs::chmod(&upper, rustix::fs::Mode::from_raw_mode(0o755)).map_err(failed)?;
                if let Some(range) = record.id_range {
                    let (uid, gid) = (rustix::fs::Uid::from_raw(range.uid), rustix::fs::Gid::from_raw(range.gid));
                    rustix::fs::chown(&upper, Some(uid), Some(gid)).map_err(failed)?;
                }
            }
            record::write(&directory.join(RECORD_FILE), &record, !record.identity.auto_remove)
        });
        match result {
            Ok(()) => Ok(record),
            Err(error) => {
                // The first error is the one to tell; left-overs are collected by rule.
                if removal::remove(&self.directories, &removal::Leaving::of(&record)).is_err() {
                    // On a full disk not even a lock can be made; claims without a container are anybody's to collect.
                    let _ = directories::remove_tree(&directory);
                }
                Err(error)
            }
        }
    }

    fn claim(&self, record: &mut Record, joined: Option<Target>) -> Result<()> {
        let claims = self.claims();
        let id = record.identity.id.clone();
        if record.identity.name.is_empty() {
            record.identity.name = self.claim_random_name(&id)?;
        } else {
            let name = record.identity.name.clone();
            // Until it is ours a clean-up must not take it for ours; it looks at the claim itself, so it may keep its name.
            claims.take_name(&id, &name)?;
        }
        match (joined, &record.posture.namespaces.user) {
            (Some(target), _) => {
                record.id_range = target.range;
                if let Some(range) = target.range.filter(|_| target.range_claimed) {
                    claims.share_range(&id, range)?;
                    record.range_claimed = true;
                }
            }
            (None, UserMode::Host) => {}
            (None, UserMode::Remap(user)) => record.id_range = Some(IdRange::of_user(user)?),
            (None, UserMode::Private | UserMode::Container(_)) => {
                record.id_range = Some(claims.take_range(&id, &Pool::of_host()?)?);
                record.range_claimed = true;
            }
        }
        Ok(())
    }

    fn claim_random_name(&self, id: &ContainerId) -> Result<String> {
        for attempt in 0..NAME_ATTEMPTS {
            // The first few without a number: most hosts have few containers.
            let name = names::random(attempt.saturating_sub(3))?;
            match self.claims().take_name(id, &name) {
                Ok(()) => return Ok(name),
                Err(Error::NameTaken { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        // An id is a name that nobody else has.
        let name = format!("container-{}", id.short());
        self.claims().take_name(id, &name)?;
        Ok(name)
    }

    /// Resolves the containers whose namespaces are joined to ids. Joining a namespace means joining the user namespace that owns
    /// it, because only there do the container's rights count in it.
    fn join(&self, posture: &mut Posture) -> Result<Option<Target>> {
        let mut targets: Vec<Target> = Vec::new();
        let mut find = |name: &mut String| -> Result<()> {
            let id = self.find(name)?;
            let record = self.record(&id)?;
            id.as_str().clone_into(name);
            targets.push(Target {
                id,
                range: record.id_range,
                range_claimed: record.range_claimed,
                ipc: record.posture.namespaces.ipc,
            });
            Ok(())
        };
        let namespaces = &mut posture.namespaces;
        for mode in [&mut namespaces.pid, &mut namespaces.uts, &mut namespaces.cgroup] {
            if let NamespaceMode::Container(name) = mode {
                find(name)?;
            }
        }
        if let NetworkMode::Container(name) = &mut namespaces.network {
            find(name)?;
        }
        if let UserMode::Container(name) = &mut namespaces.user {
            find(name)?;
        }
        let ipc = if let IpcMode::Container(name) = &mut namespaces.ipc {
            find(name)?;
            Some(name.clone())
        } else {
            None
        };
        if let Some(name) = ipc
            && let Some(target) = targets.iter().find(|target| target.id.as_str() == name)
            && !matches!(target.ipc, IpcMode::Shareable | IpcMode::Container(_) | IpcMode::Host)
        {
            return Err(Error::State {
                doing: "join the IPC namespace of",
                name: target.id.short().to_owned(),
                why: "it is its own alone; create that container with --ipc shareable".to_owned(),
            });
        }
        if targets.is_empty() || posture.namespaces.user.is_host() {
            return Ok(None);
        }
        let first = targets.swap_remove(0);
        if targets.iter().any(|other| other.range != first.range) {
            return Err(Error::invalid(
                "namespaces",
                "container:…",
                "the containers to be joined have different user namespaces; a container can only be in one",
            ));
        }
        if first.range.is_none() {
            // Judged as what it is: a container with the host's ids.
            posture.namespaces.user = UserMode::Host;
            return Ok(None);
        }
        Ok(Some(first))
    }

    /// A new volume begins with what the image has where it is mounted.
    fn fill_new_volumes(&self, layers: &[PathBuf], record: &Record) -> Result<()> {
        for mount in &record.posture.mounts {
            if let MountKind::Volume { name: Some(name) } = &mount.kind {
                volumes::create(&self.directories, name, |data| {
                    if mount.copy { volumes::fill(layers, &mount.target, data) } else { Ok(()) }
                })?;
            }
        }
        Ok(())
    }
}

/// A container that is to be joined.
#[derive(Debug)]
struct Target {
    id: ContainerId,
    range: Option<IdRange>,
    range_claimed: bool,
    ipc: IpcMode,
}

fn hostname(config: &ContainerConfig, id: &ContainerId) -> Result<String> {
    let Some(name) = &config.hostname else { return Ok(id.short().to_owned()) };
    let label = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if name.len() <= 64 && name.split('.').all(label) {
        Ok(name.clone())
    } else {
        Err(Error::invalid("host name", name.clone(), "must be at most 64 letters, digits, '-' and '.'"))
    }
}

/// How many volumes an image may ask for: each is a directory of the host.
const MOST_DECLARED_VOLUMES: usize = 64;

/// Gives a name to every volume that has none, and a volume to every path that the image declares and nothing is mounted on.
fn name_volumes(posture: &mut Posture, declared: &[String]) -> Result<Vec<String>> {
    if declared.len() > MOST_DECLARED_VOLUMES {
        let why = format!("the image declares {}; at most {MOST_DECLARED_VOLUMES} are made", declared.len());
        return Err(Error::invalid("VOLUME of the image", declared.len().to_string(), why));
    }
    for path in declared {
        // What a person may not mount on, an image may not either: /proc, /sys, /dev (CVE-2019-16884).
        let path = Mount::declared(path)
            .map_err(|error| Error::invalid("VOLUME of the image", path.clone(), error.to_string()))?
            .target;
        let covered = |target: &str| target.trim_end_matches('/') == path.trim_end_matches('/');
        let taken = posture.mounts.iter().any(|mount| covered(&mount.target))
            || posture.tmpfs.iter().any(|tmpfs| covered(&tmpfs.target));
        if !taken {
            posture.mounts.push(Mount::volume(None, path));
        }
    }
    let mut made = Vec::new();
    for mount in &mut posture.mounts {
        if let MountKind::Volume { name: name @ None } = &mut mount.kind {
            let random = ContainerId::random()?.as_str().to_owned();
            made.push(random.clone());
            *name = Some(random);
        }
    }
    Ok(made)
}

fn network_name(posture: &Posture) -> String {
    match &posture.namespaces.network {
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(id) => format!("container:{id}"),
        _ => "none".to_owned(),
    }
}

fn mount_points(engine: &Engine, posture: &Posture) -> Vec<MountPoint> {
    posture
        .mounts
        .iter()
        .map(|mount| {
            let (kind, name, source, driver) = match &mount.kind {
                MountKind::Bind { source } => ("bind", String::new(), source.clone(), String::new()),
                MountKind::Volume { name } => {
                    let name = name.clone().unwrap_or_default();
                    let source = volumes::data_of(&engine.directories, &name).display().to_string();
                    ("volume", name, source, "local".to_owned())
                }
            };
            MountPoint {
                kind: kind.to_owned(),
                name,
                source,
                destination: mount.target.clone(),
                driver,
                mode: mount.options().join(","),
                writable: !mount.read_only,
                propagation: mount.propagation.name().to_owned(),
            }
        })
        .collect()
}

/// What goes into the kernel as a C string must be one.
fn check_text(record: &Record) -> Result<()> {
    let labels: BTreeMap<_, _> = record.identity.labels.iter().collect();
    for (key, value) in labels {
        if key.contains('\0') || value.contains('\0') {
            return Err(Error::invalid("label", key.clone(), "holds a NUL byte"));
        }
    }
    if record.init && record.process.args().is_empty() {
        return Err(Error::invalid("command", init::TARGET, "--init needs a command to run"));
    }
    Ok(())
}
