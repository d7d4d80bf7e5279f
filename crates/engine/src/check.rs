//! `system check`: the whole store looked at, and what a killed command left put right.

use std::fs;
use std::path::Path;
use std::time::Duration;

use casemate_kernel::cgroup::{Cgroup, Layout};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::record::{self, EXIT_FILE, Ended, RECORD_FILE, Record};
use crate::supervision::Liveness;

/// No start takes so long from its control group to the process in it.
const DESERTED: Duration = Duration::from_secs(60);

/// What `system check` found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Images, blobs and unpacked layers looked at.
    pub images: usize,
    /// Blobs whose digests were computed.
    pub blobs: usize,
    /// Unpacked layers looked at.
    pub layers: usize,
    /// Containers looked at.
    pub containers: usize,
    /// What was wrong.
    pub findings: Vec<Finding>,
}

/// One thing that was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: a path, a container, a digest.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
    /// What was done, or what can be.
    pub remedy: String,
    /// Whether it is right now.
    pub repaired: bool,
}

impl CheckReport {
    /// Whether everything is right, by now.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.repaired)
    }

    fn add(&mut self, subject: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>, repaired: bool) {
        self.findings.push(Finding { subject: subject.into(), what: what.into(), remedy: remedy.into(), repaired });
    }
}

impl Engine {
    /// Verifies images and containers. With `repair`, what can be put right without losing anything of the user's is.
    pub fn check(&self, repair: bool) -> Result<CheckReport> {
        let images = self.images.check(repair)?;
        let mut report =
            CheckReport { images: images.images, blobs: images.blobs, layers: images.layers, ..CheckReport::default() };
        for problem in images.problems {
            report.add(problem.subject, problem.what, problem.remedy, problem.repaired);
        }
        self.check_containers(repair, &mut report)?;
        self.check_runs(repair, &mut report)?;
        if repair {
            for claim in self.claims().collect()? {
                report.add(claim.display().to_string(), "claimed by a container that does not exist", "released", true);
            }
        }
        self.check_claims(&mut report)?;
        self.check_cgroups(repair, &mut report)?;
        Ok(report)
    }

    fn check_containers(&self, repair: bool, report: &mut CheckReport) -> Result<()> {
        for id in self.container_ids()? {
            let directory = self.directories.container(&id);
            match record::read::<Record>(&directory.join(RECORD_FILE)) {
                Ok(Some(record)) => {
                    report.containers += 1;
                    self.check_layers(&record, report)?;
                    if let Err(error) = record::read::<Ended>(&directory.join(EXIT_FILE)) {
                        let done = repair && fs::remove_file(directory.join(EXIT_FILE)).is_ok();
                        report.add(id.short(), error.to_string(), "the record of its last end is dropped", done);
                    }
                    collect_temporary(&directory, repair, report)?;
                }
                // Another command is at work on it.
                Ok(None) if !self.is_given_up(&id)? => {}
                Ok(None) => {
                    if repair {
                        self.collect_unrecorded(&id)?;
                    }
                    let what = "a container that was half made or half removed";
                    report.add(directory.display().to_string(), what, "removed", repair);
                }
                Err(error) => {
                    report.add(id.short(), error.to_string(), format!("casemate rm -f {id}"), false);
                }
            }
        }
        Ok(())
    }

    fn check_layers(&self, record: &Record, report: &mut CheckReport) -> Result<()> {
        for layer in self.layers_of(record)? {
            if !layer.is_dir() {
                report.add(
                    record.identity.name.clone(),
                    format!("its image's layer {} is missing", layer.display()),
                    format!("load or import {} again", record.identity.image),
                    false,
                );
            }
        }
        Ok(())
    }

    /// Run directories whose supervisor is gone.
    fn check_runs(&self, repair: bool, report: &mut CheckReport) -> Result<()> {
        for id in self.run_ids()? {
            if let Liveness::Abandoned = self.liveness(&id)? {
                if repair {
                    self.bury(&id)?;
                }
                report.add(
                    id.short(),
                    "its supervisor was killed",
                    "its end is recorded, what ran of it is killed",
                    repair,
                );
            }
        }
        Ok(())
    }

    /// Records whose name is not, or no longer, theirs.
    fn check_claims(&self, report: &mut CheckReport) -> Result<()> {
        for id in self.container_ids()? {
            let Ok(record) = self.record(&id) else { continue };
            let name = &record.identity.name;
            if self.claims().holder_of_name(name)?.as_ref() != Some(&id) {
                report.add(
                    id.short(),
                    format!("the name '{name}' is not claimed by it"),
                    format!("casemate rm -f {id}"),
                    false,
                );
            }
        }
        Ok(())
    }

    /// Control groups of containers that do not run.
    fn check_cgroups(&self, repair: bool, report: &mut CheckReport) -> Result<()> {
        let Ok(layout) = Layout::detect() else { return Ok(()) };
        let mut left: Vec<ContainerId> = Vec::new();
        let mounts = fs::read_dir("/sys/fs/cgroup").map_err(Error::file("list", "/sys/fs/cgroup"))?;
        let mut parents: Vec<std::path::PathBuf> =
            mounts.filter_map(|entry| Some(entry.ok()?.path().join("casemate"))).collect();
        parents.push("/sys/fs/cgroup/casemate".into());
        for parent in parents {
            let Ok(entries) = fs::read_dir(&parent) else { continue };
            for id in entries.filter_map(|entry| ContainerId::parse(entry.ok()?.file_name().to_str()?)) {
                let stopped = || Ok::<_, Error>(matches!(self.liveness(&id)?, Liveness::Stopped));
                if !left.contains(&id) && (self.is_ours(&id) || is_deserted(&parent.join(id.as_str()))) && stopped()? {
                    left.push(id);
                }
            }
        }
        for id in left {
            let path = format!("/casemate/{id}");
            let gone = repair
                && Cgroup::open(&layout, &path).and_then(|group| group.kill().and_then(|()| group.remove())).is_ok();
            report.add(path, "the control group of a container that does not run", "removed", gone);
        }
        Ok(())
    }

    /// Other state directories on this host have containers too; a group is only ours when its container was.
    fn is_ours(&self, id: &ContainerId) -> bool {
        self.directories.container(id).exists() || events_name(&self.directories.data, id)
    }
}

/// Whether a control group, whosever it was, has been without processes for so long that nobody is about to enter it.
fn is_deserted(group: &Path) -> bool {
    let empty = fs::read(group.join("cgroup.procs")).is_ok_and(|processes| processes.is_empty());
    let age = group.metadata().and_then(|found| found.modified()).ok().and_then(|made| made.elapsed().ok());
    empty && age.is_some_and(|age| age > DESERTED)
}

/// Whether the event log of this state directory has the container.
fn events_name(data: &Path, id: &ContainerId) -> bool {
    ["events.log", "events.log.1"]
        .iter()
        .filter_map(|name| fs::read(data.join(name)).ok())
        .any(|content| content.windows(id.as_str().len()).any(|window| window == id.as_str().as_bytes()))
}

/// Files of a write that was killed in the middle.
fn collect_temporary(directory: &Path, repair: bool, report: &mut CheckReport) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(Error::file("list", directory))? {
        let path = entry.map_err(Error::file("list", directory))?.path();
        let Some(pid) = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(".tmp"))
            .and_then(|name| name.rsplit('.').next())
            .and_then(|pid| pid.parse().ok())
        else {
            continue;
        };
        if casemate_kernel::process::start_time(pid).is_none() {
            let gone = repair && fs::remove_file(&path).is_ok();
            report.add(path.display().to_string(), "left by a write that was killed", "removed", gone);
        }
    }
    Ok(())
}
