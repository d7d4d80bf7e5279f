//! The event log: one line of JSON for each thing that happened to a container, appended, for `events` and for whoever audits.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use serde::Serialize;

use crate::directories::Directories;
use crate::removal::Leaving;
use crate::time::Timestamp;

/// Beyond this the log is begun anew, and the one before is kept as `events.log.1`.
const LARGEST_LOG: u64 = 16 << 20;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    time: Timestamp,
    #[serde(rename = "Type")]
    kind: &'static str,
    action: &'a str,
    id: &'a str,
    name: &'a str,
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
}

/// Appends events that happened together. A log that can't be written stops nothing: what it tells of has already happened.
pub(crate) fn append(directories: &Directories, actions: &[&str], container: &Leaving, exit_code: Option<i32>) {
    let time = Timestamp::now();
    let mut lines = Vec::new();
    for action in actions {
        let event = Event {
            time,
            kind: "container",
            action,
            id: container.id.as_str(),
            name: &container.name,
            image: &container.image,
            exit_code: exit_code.filter(|_| *action == "die"),
        };
        if serde_json::to_writer(&mut lines, &event).is_ok() {
            lines.push(b'\n');
        }
    }
    let path = directories.data.join("events.log");
    let Ok(mut file) = OpenOptions::new().append(true).create(true).mode(0o600).open(&path) else { return };
    // One write of less than a page to a file opened for appending is not interleaved with others.
    let _ = file.write_all(&lines);
    // Looked at now and then is often enough.
    if time.subsecond_nanos().is_multiple_of(256) && file.metadata().is_ok_and(|found| found.len() > LARGEST_LOG) {
        let _ = std::fs::rename(&path, directories.data.join("events.log.1"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ContainerId;

    #[test]
    fn events_are_lines_of_json() {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories {
            data: root.path().to_path_buf(),
            run: root.path().join("run"),
            config: root.path().join("etc"),
        };
        let leaving = Leaving {
            id: ContainerId::random().unwrap(),
            name: "web".to_owned(),
            image: "debian".to_owned(),
            range: None,
            volumes: Vec::new(),
        };
        append(&directories, &["create", "start"], &leaving, None);
        append(&directories, &["die"], &leaving, Some(137));
        let text = std::fs::read_to_string(root.path().join("events.log")).unwrap();
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(last["action"], "die");
        assert_eq!(last["exitCode"], 137);
    }
}
