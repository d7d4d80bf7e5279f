//! The engine itself: its state, and finding things in it.

use std::fs;
use std::path::Path;

use casemate_image::{Digest, Removed, Store};
use casemate_posture::Policy;
use serde::Serialize;

use crate::claims::Claims;
use crate::directories::{self, Directories};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::id::{self, ContainerId};
use crate::record::{self, RECORD_FILE, Record};
use crate::{names, supervision};

/// A container engine: one state directory, its images and its containers. Cheap to open; holds no lock.
#[derive(Debug)]
pub struct Engine {
    pub(crate) directories: Directories,
    pub(crate) images: Store,
}

/// What `info` tells of the engine and its host.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// All containers.
    pub containers: usize,
    /// Those that run.
    pub containers_running: usize,
    /// Those that do not.
    pub containers_stopped: usize,
    /// Images.
    pub images: usize,
    /// Always `overlay`.
    pub driver: &'static str,
    /// The log driver that is used when none is named.
    pub logging_driver: &'static str,
    /// `1`, `2` or `hybrid`.
    pub cgroup_version: String,
    /// `cgroupfs`.
    pub cgroup_driver: &'static str,
    /// The kernel's release.
    pub kernel_version: String,
    /// The machine's architecture, as the kernel names it.
    pub architecture: String,
    /// Processors that can be used.
    #[serde(rename = "NCPU")]
    pub cpus: u32,
    /// Memory of the host in bytes.
    pub mem_total: u64,
    /// The host's name.
    pub name: String,
    /// The engine's version.
    pub server_version: &'static str,
    /// Where the state lies.
    pub docker_root_dir: String,
    /// What holds containers by default.
    pub security_options: Vec<String>,
    /// Where the host can't give what is asked for by default.
    pub warnings: Vec<String>,
    /// The relaxations that the host's policy allows for good.
    pub allowed_relaxations: Vec<String>,
}

impl Engine {
    /// Opens the state, and makes its directories where they are missing.
    ///
    /// # Errors
    /// [`Error::File`] when that is not possible; for anyone but root that says so.
    pub fn open(directories: Directories) -> Result<Self> {
        directories.prepare()?;
        let images = Store::open(&directories.data)?;
        Ok(Self { directories, images })
    }

    /// The image store.
    pub fn images(&self) -> &Store {
        &self.images
    }

    /// Where the state lies.
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims(&self.directories)
    }

    /// The host's policy. A file that can't be read or understood permits nothing: it is an error.
    pub(crate) fn policy(&self) -> Result<Policy> {
        let Some(text) = self.policy_text()? else { return Ok(Policy::default()) };
        Policy::parse(&text)
            .map_err(|error| Error::Policy { path: self.directories.policy_file(), why: error.to_string() })
    }

    fn policy_text(&self) -> Result<Option<String>> {
        let path = self.directories.policy_file();
        let content = directories::read_optional(&path).map_err(Error::file("read", &path))?;
        content
            .map(|bytes| String::from_utf8(bytes).map_err(|error| Error::Policy { path, why: error.to_string() }))
            .transpose()
    }

    /// What the policy file allows, as it is written there.
    fn allowed_relaxations(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Written {
            #[serde(default)]
            allow: Vec<String>,
        }
        // Refused as a whole when it is not what a policy is.
        self.policy()?;
        let Some(text) = self.policy_text()? else { return Ok(Vec::new()) };
        let written: Written = toml::from_str(&text)
            .map_err(|error| Error::Policy { path: self.directories.policy_file(), why: error.to_string() })?;
        Ok(written.allow)
    }

    /// Finds a container by its id, its name, or the beginning of its id, in this order.
    ///
    /// # Errors
    /// [`Error::NotFound`] with the nearest name; [`Error::Ambiguous`].
    pub fn find(&self, target: &str) -> Result<ContainerId> {
        if let Some(id) = ContainerId::parse(target)
            && self.exists(&id)
        {
            return Ok(id);
        }
        if let Ok(name) = names::check(target)
            && let Some(id) = self.claims().holder_of_name(name)?
            && self.exists(&id)
        {
            return Ok(id);
        }
        if id::is_prefix(target) {
            let mut found: Vec<ContainerId> = self
                .container_ids()?
                .into_iter()
                .filter(|id| id.as_str().starts_with(target) && self.exists(id))
                .collect();
            if found.len() > 1 {
                return Err(Error::Ambiguous {
                    prefix: target.to_owned(),
                    count: found.len(),
                    example: found.first().map(|id| id.short().to_owned()).unwrap_or_default(),
                });
            }
            if let Some(id) = found.pop() {
                return Ok(id);
            }
        }
        Err(Error::NotFound { what: "container", name: target.to_owned(), suggestion: self.nearest_name(target) })
    }

    fn nearest_name(&self, target: &str) -> Option<String> {
        let names: Vec<String> = fs::read_dir(self.directories.claims("names"))
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        casemate_posture::suggest::nearest(target, names.iter().map(String::as_str)).map(str::to_owned)
    }

    pub(crate) fn exists(&self, id: &ContainerId) -> bool {
        self.directories.container(id).join(RECORD_FILE).exists()
    }

    /// The ids of all container directories, those without a record included.
    pub(crate) fn container_ids(&self) -> Result<Vec<ContainerId>> {
        ids_in(&self.directories.containers())
    }

    /// The ids of everything that has a run directory.
    pub(crate) fn run_ids(&self) -> Result<Vec<ContainerId>> {
        ids_in(&self.directories.run)
    }

    pub(crate) fn record(&self, id: &ContainerId) -> Result<Record> {
        record::read(&self.directories.container(id).join(RECORD_FILE))?.ok_or_else(|| Error::NotFound {
            what: "container",
            name: id.short().to_owned(),
            suggestion: None,
        })
    }

    /// The names of the containers that were made from an image.
    pub fn containers_of_image(&self, image: &Digest) -> Result<Vec<String>> {
        let wanted = image.to_string();
        let mut users = Vec::new();
        for id in self.container_ids()? {
            let path = self.directories.container(&id).join(RECORD_FILE);
            if let Some(head) = record::read::<record::RecordHead>(&path)?
                && head.identity.image_id == wanted
            {
                users.push(head.identity.name);
            }
        }
        Ok(users)
    }

    /// Removes a reference, and the image with its layers when that was its last. An image that containers were made from is
    /// only untagged, and only with `force`.
    pub fn remove_image(&self, target: &str, force: bool) -> Result<Vec<Removed>> {
        let failure = std::cell::RefCell::new(None);
        let in_use = |image: &Digest| match self.containers_of_image(image) {
            Ok(users) => users,
            // What can't be answered counts as used: a damaged record must not cost its container the layers.
            Err(error) => {
                let text = error.to_string();
                *failure.borrow_mut() = Some(error);
                vec![format!("(unknown: {text})")]
            }
        };
        let removed = self.images.remove(target, force, &in_use);
        match failure.into_inner() {
            Some(error) => Err(error),
            None => Ok(removed?),
        }
    }

    /// What there is, and what the host gives.
    pub fn info(&self) -> Result<Info> {
        let host = Host::detect(&casemate_posture::Posture::hardened())?;
        let containers = self.list(true)?;
        let running = containers.iter().filter(|summary| summary.status == crate::Status::Running).count();
        let (_, shortfalls) = casemate_posture::fit(&casemate_posture::Posture::hardened(), &host.facts);
        let system = rustix::system::uname();
        Ok(Info {
            containers: containers.len(),
            containers_running: running,
            containers_stopped: containers.len() - running,
            images: self.images.list()?.len(),
            driver: "overlay",
            logging_driver: crate::LogDriver::JsonFile.name(),
            cgroup_version: host.cgroup_version().to_owned(),
            cgroup_driver: "cgroupfs",
            kernel_version: system.release().to_string_lossy().into_owned(),
            architecture: system.machine().to_string_lossy().into_owned(),
            cpus: host.facts.cpus,
            mem_total: host.facts.memory,
            name: system.nodename().to_string_lossy().into_owned(),
            server_version: env!("CARGO_PKG_VERSION"),
            docker_root_dir: self.directories.data.display().to_string(),
            security_options: [
                "name=userns",
                "name=seccomp,profile=casemate",
                "name=no-new-privileges",
                "name=no-capabilities",
                "name=read-only-root",
            ]
            .map(str::to_owned)
            .to_vec(),
            warnings: shortfalls.iter().map(ToString::to_string).collect(),
            allowed_relaxations: self.allowed_relaxations()?,
        })
    }

    /// Whether a container is being looked after right now.
    pub(crate) fn liveness(&self, id: &ContainerId) -> Result<supervision::Liveness> {
        supervision::liveness(&self.directories, id)
    }
}

fn ids_in(directory: &Path) -> Result<Vec<ContainerId>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::file("list", directory))? {
        let entry = entry.map_err(Error::file("list", directory))?;
        if let Some(id) = entry.file_name().to_str().and_then(ContainerId::parse) {
            ids.push(id);
        }
    }
    Ok(ids)
}
