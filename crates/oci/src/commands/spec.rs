//! `spec`: a specification to start from, with the hardened choices that need nothing of the host.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Call;
use crate::Failure;
use crate::arguments::{Until, parse, switch, value};

pub(super) fn spec(_: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    let parsed = parse(&[value("bundle", Some('b')), switch("rootless", None)], Until::End, arguments)?;
    if let Some(word) = parsed.arguments.front() {
        return Err(Failure::new(format!("\"spec\" takes no arguments, and {word:?} is one")));
    }
    let path = parsed.path("bundle").unwrap_or_else(|| PathBuf::from(".")).join("config.json");
    let fail = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(format!("File {} exists. Remove it first", path.display())),
        _ => Failure::new(format!("{}: {error}", path.display())),
    };
    let document = if parsed.is_set("rootless") { rootless(hardened()) } else { hardened() };
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    serde::Serialize::serialize(&document, &mut serde_json::Serializer::with_formatter(&mut text, formatter))
        .map_err(|error| Failure::new(error.to_string()))?;
    text.push(b'\n');
    let mut file = File::options().write(true).create_new(true).open(&path).map_err(fail)?;
    file.write_all(&text).map_err(fail)?;
    Ok(0)
}

fn hardened() -> Value {
    let mut namespaces = vec!["pid", "network", "ipc", "uts", "mount"];
    if std::path::Path::new("/proc/self/ns/cgroup").exists() {
        namespaces.push("cgroup");
    }
    let namespaces: Vec<Value> = namespaces.into_iter().map(|kind| json!({ "type": kind })).collect();
    json!({
        "ociVersion": casemate_runtime::SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": [], "effective": [], "permitted": [] },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "casemate",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] }
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }], "pids": { "limit": 512 } },
            "namespaces": namespaces,
            "maskedPaths": casemate_posture::path::MASKED,
            "readonlyPaths": casemate_posture::path::READ_ONLY
        }
    })
}

/// As an unprivileged user can have it: one id, which is root inside, no network of its own, no limits.
fn rootless(mut document: Value) -> Value {
    let map = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    if let Some(linux) = document["linux"].as_object_mut() {
        linux.remove("resources");
        linux.insert("uidMappings".into(), map(rustix::process::geteuid().as_raw()));
        linux.insert("gidMappings".into(), map(rustix::process::getegid().as_raw()));
        if let Some(namespaces) = linux.get_mut("namespaces").and_then(Value::as_array_mut) {
            namespaces.retain(|namespace| namespace["type"] != "network");
            namespaces.push(json!({ "type": "user" }));
        }
    }
    for mount in document["mounts"].as_array_mut().into_iter().flatten() {
        if mount["destination"] == "/sys" {
            *mount = json!({ "destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
        } else if let Some(options) = mount["options"].as_array_mut() {
            // No other id than one's own is there to give a terminal to.
            options.retain(|option| option != "gid=5");
        }
    }
    if let Some(mounts) = document["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["type"] != "cgroup");
    }
    document
}
