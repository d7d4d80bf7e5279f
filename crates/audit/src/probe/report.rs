//! The whole report: the facts of every topic and the verdicts on them.

use serde::Serialize;

use super::cgroup::Cgroup;
use super::devices::Devices;
use super::kernel::Kernel;
use super::limits::Limits;
use super::mounts::{self, Mount};
use super::namespaces::Namespaces;
use super::network::Network;
use super::paths::{self, SensitivePath};
use super::sockets::Sockets;
use super::source::Source;
use super::status::{self, Capabilities, Identity, Seccomp, Status};
use super::verdict::{Judgement, Verdict};

/// The version of the JSON: raised when a field changes its meaning or goes.
const SCHEMA: u32 = 1;

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Topic {
    /// Its name.
    pub topic: &'static str,
    /// How closed it is, and why.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// How many topics got which verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Topics that are good.
    pub good: usize,
    /// Topics with something to know.
    pub note: usize,
    /// Topics with an opening.
    pub open: usize,
}

/// How isolated the process is that made the report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of this format.
    pub schema: u32,
    /// Version of the probe.
    pub version: &'static str,
    /// The engine, by the marks that engines leave; `None` when there are none.
    pub engine: Option<&'static str>,
    /// The worst verdict.
    pub verdict: Verdict,
    /// The verdicts, counted.
    pub score: Score,
    /// The verdicts, one by one.
    pub topics: Vec<Topic>,
    /// Ids and id maps.
    pub identity: Identity,
    /// The five capability sets.
    pub capabilities: Capabilities,
    /// The no-new-privileges bit.
    pub no_new_privileges: Option<bool>,
    /// The system-call filter.
    pub seccomp: Seccomp,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// All mounts.
    pub mounts: Vec<Mount>,
    /// Paths of the kernel's that matter.
    pub paths: Vec<SensitivePath>,
    /// Cgroup limits.
    pub cgroup: Cgroup,
    /// Device nodes.
    pub devices: Devices,
    /// Interfaces, addresses, routes.
    pub network: Network,
    /// Unix sockets in reach.
    pub sockets: Sockets,
    /// The kernel and its security modules.
    pub kernel: Kernel,
    /// Resource limits.
    pub limits: Limits,
}

impl Report {
    /// Reads everything about the calling process.
    pub fn read() -> Self {
        Self::from(&Source::new("/"))
    }

    fn from(source: &Source) -> Self {
        let status = source.text("/proc/self/status").map(|text| Status::parse(&text)).unwrap_or_default();
        let mounts = source.text("/proc/self/mountinfo").map(|text| mounts::parse(&text)).unwrap_or_default();
        let identity = Identity::read(source, &status);
        let capabilities = Capabilities::new(&status);
        let seccomp = Seccomp::new(&status);
        let namespaces = Namespaces::read(source, &status);
        let paths = paths::read(source, &mounts, status.effective);
        let cgroup = Cgroup::read(source, &mounts);
        let devices = Devices::read(source);
        let network = Network::read(source);
        let sockets = Sockets::read(source, &mounts);
        let kernel = Kernel::read(source);
        let limits = Limits::read(source);
        let host_network = namespaces.kind("network").and_then(|network| network.initial);
        let topics: Vec<Topic> = [
            ("identity", identity.judge()),
            ("capabilities", capabilities.judge(&identity, status.no_new_privileges)),
            ("no-new-privileges", status::judge_no_new_privileges(status.no_new_privileges)),
            ("seccomp", seccomp.judge()),
            ("namespaces", namespaces.judge()),
            ("mounts", mounts::judge(&mounts, source)),
            ("kernel-paths", paths::judge(&paths)),
            ("cgroup", cgroup.judge()),
            ("devices", devices.judge()),
            ("network", network.judge(host_network)),
            ("sockets", sockets.judge(host_network)),
            ("kernel", kernel.judge()),
            ("limits", limits.judge()),
        ]
        .into_iter()
        .map(|(topic, judgement)| Topic { topic, judgement })
        .collect();
        let count = |verdict: Verdict| topics.iter().filter(|topic| topic.judgement.verdict == verdict).count();
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            engine: engine(source),
            verdict: topics.iter().map(|topic| topic.judgement.verdict).max().unwrap_or(Verdict::Note),
            score: Score { good: count(Verdict::Good), note: count(Verdict::Note), open: count(Verdict::Open) },
            topics,
            identity,
            capabilities,
            no_new_privileges: status.no_new_privileges,
            seccomp,
            namespaces,
            mounts,
            paths,
            cgroup,
            devices,
            network,
            sockets,
            kernel,
            limits,
        }
    }

    /// The report as indented JSON with a final newline.
    pub fn json(&self) -> String {
        // Only maps with keys that are no strings, or a failing Serialize, could make this fail: there are none.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }
}

/// The engine that started this container, by the files and variables that engines leave inside.
fn engine(source: &Source) -> Option<&'static str> {
    let variable = std::env::var("container").unwrap_or_default();
    match variable.as_str() {
        "casemate" => return Some("casemate"),
        "podman" | "oci" => return Some("podman"),
        "systemd-nspawn" => return Some("systemd-nspawn"),
        "lxc" => return Some("lxc"),
        _ => {}
    }
    if source.exists("/run/.containerenv") {
        Some("podman")
    } else if source.exists("/.dockerenv") {
        Some("docker")
    } else if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        Some("kubernetes")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// A tree such as a container sees, from samples.
    fn container(status: &str, mountinfo: &str, uid_map: &str, namespace: u32) -> (tempfile::TempDir, Source) {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/status", status);
        write("proc/self/mountinfo", mountinfo);
        write("proc/self/uid_map", uid_map);
        write("proc/self/gid_map", uid_map);
        write("proc/self/cgroup", "0::/\n");
        write("proc/net/dev", "a\nb\n    lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
        write("proc/sys/kernel/osrelease", "6.18.1\n");
        namespaces(dir.path(), namespace);
        let source = Source::new(dir.path());
        (dir, source)
    }

    fn namespaces(root: &Path, number: u32) {
        let directory = root.join("proc/self/ns");
        fs::create_dir_all(&directory).unwrap();
        for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
            symlink(format!("{kind}:[{number}]"), directory.join(kind)).unwrap();
        }
    }

    fn verdict(report: &Report, topic: &str) -> Verdict {
        report.topics.iter().find(|entry| entry.topic == topic).unwrap().judgement.verdict
    }

    #[test]
    fn dockers_default_is_open_where_it_is_open() {
        let (_dir, source) =
            container(samples::DOCKER_STATUS, samples::DOCKER_MOUNTS, "0 0 4294967295\n", 4_026_532_300);
        let report = Report::from(&source);
        assert_eq!(report.capabilities.effective.len(), 14);
        assert!(report.capabilities.effective.iter().any(|name| name == "CAP_NET_RAW"));
        for open in ["identity", "capabilities", "no-new-privileges"] {
            assert_eq!(verdict(&report, open), Verdict::Open, "{open}");
        }
        assert_eq!(verdict(&report, "seccomp"), Verdict::Good);
        assert_eq!(verdict(&report, "network"), Verdict::Good);
        assert_eq!(report.verdict, Verdict::Open);
    }

    #[test]
    fn privileged_is_worse() {
        let (_dir, source) =
            container(samples::PRIVILEGED_STATUS, samples::PRIVILEGED_MOUNTS, "0 0 4294967295\n", 4_026_532_300);
        let report = Report::from(&source);
        assert_eq!(report.capabilities.effective.len(), 41);
        for open in ["identity", "capabilities", "no-new-privileges", "seccomp", "mounts"] {
            assert_eq!(verdict(&report, open), Verdict::Open, "{open}");
        }
    }

    #[test]
    fn casemates_default_has_no_opening() {
        let (_dir, source) =
            container(samples::CASEMATE_STATUS, samples::CASEMATE_MOUNTS, "0 1000000 65536\n", 4_026_532_300);
        let report = Report::from(&source);
        assert_eq!(report.score.open, 0, "{:#?}", report.topics);
        for good in [
            "identity",
            "capabilities",
            "no-new-privileges",
            "seccomp",
            "namespaces",
            "mounts",
            "kernel-paths",
            "devices",
        ] {
            assert_eq!(verdict(&report, good), Verdict::Good, "{good}: {:#?}", report.topics);
        }
        assert_eq!(report.identity.outside_uid, Some(1_000_000));
    }

    #[test]
    fn the_json_is_whole_and_the_text_names_every_topic() {
        let (_dir, source) =
            container(samples::DOCKER_STATUS, samples::DOCKER_MOUNTS, "0 0 4294967295\n", 4_026_532_300);
        let report = Report::from(&source);
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["verdict"], "open");
        assert_eq!(json["capabilities"]["bounding"].as_array().unwrap().len(), 14);
        assert_eq!(json["topics"][0]["verdict"], "open");
        assert_eq!(json["namespaces"]["kinds"][0]["initial"], false);
        let text = super::super::text::render(&report);
        for topic in &report.topics {
            assert!(text.contains(topic.topic), "{}", topic.topic);
        }
    }

    #[test]
    fn an_empty_tree_is_not_good() {
        let report = Report::from(&Source::new("/nonexistent"));
        assert_ne!(report.verdict, Verdict::Good);
        assert_eq!(verdict(&report, "identity"), Verdict::Note);
        assert_eq!(verdict(&report, "namespaces"), Verdict::Note);
    }
}
