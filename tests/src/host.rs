//! What the host sees of a container: `/proc/<pid>` and the files of its control groups.

use std::fs;
use std::path::PathBuf;

/// A field of `/proc/<pid>/status`.
#[track_caller]
pub fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let prefix = format!("{field}:");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("/proc/{pid}/status has no {field}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The namespace of a process, as `net:[4026531840]`.
pub fn namespace(pid: u32, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("the process runs");
    link.to_string_lossy().into_owned()
}

/// Where the host's id range of a container begins: what its root is outside.
pub fn first_uid(pid: u32) -> u32 {
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).expect("the process runs");
    let fields: Vec<&str> = map.split_whitespace().collect();
    fields[1].parse().expect("a number")
}

/// Whether the controller is on a version 1 hierarchy.
pub fn on_v1(controller: &str) -> bool {
    PathBuf::from("/sys/fs/cgroup").join(controller).join("cgroup.procs").exists()
}

/// The directory of a process's control group, for a controller.
#[track_caller]
pub fn cgroup(pid: u32, controller: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process runs");
    let entries = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        Some((parts.next()?, parts.next()?, parts.next()?))
    });
    for (_, controllers, path) in entries.clone() {
        if controllers.split(',').any(|name| name == controller) {
            return PathBuf::from(format!("/sys/fs/cgroup/{controller}{path}"));
        }
    }
    let path = entries.clone().find(|(_, controllers, _)| controllers.is_empty()).expect("version 2 is there").2;
    let unified = if fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap_or(false) {
        "/sys/fs/cgroup"
    } else {
        "/sys/fs/cgroup/unified"
    };
    PathBuf::from(format!("{unified}{path}"))
}

/// A file of a process's control group: its name in version 1, or else in version 2.
#[track_caller]
pub fn limit(pid: u32, controller: &str, v1: &str, v2: &str) -> String {
    let name = if on_v1(controller) { v1 } else { v2 };
    let path = cgroup(pid, controller).join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim_end().to_owned()
}

/// Every control group of this name, in any hierarchy, at any depth below the top two levels.
pub fn cgroups_named(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((directory, depth)) = pending.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy() == name {
                    found.push(entry.path());
                } else if depth < 3 {
                    pending.push((entry.path(), depth + 1));
                }
            }
        }
    }
    found
}

/// The processes whose environment holds `NAME=value`: those of an engine of ours that still run.
pub fn processes_with(variable: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let holds = environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes());
        if holds && !is_zombie(pid) {
            found.push(pid);
        }
    }
    found
}

fn is_zombie(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

/// The mounts of the host whose line holds `text`.
pub fn mounts_with(text: &str) -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is there");
    mounts.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}
