//! Device files of a container, and what it may do with devices.

use std::path::PathBuf;

use casemate_kernel::cgroup::{Access, DeviceKind, DeviceRule};
use oci_spec::runtime::{Linux, LinuxDeviceType};

use crate::error::Error;

/// A device file of the container.
#[derive(Debug)]
pub(crate) struct DevicePlan {
    pub(crate) path: PathBuf,
    /// One that every container has, as opposed to one that was asked for.
    pub(crate) default: bool,
    pub(crate) block: bool,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl DevicePlan {
    pub(crate) fn file_type(&self) -> rustix::fs::FileType {
        if self.block { rustix::fs::FileType::BlockDevice } else { rustix::fs::FileType::CharacterDevice }
    }

    /// Its name, when it is directly in `/dev`.
    pub(crate) fn name_in_dev(&self) -> Option<&std::ffi::OsStr> {
        (self.path.parent() == Some(std::path::Path::new("/dev"))).then(|| self.path.file_name()).flatten()
    }
}

/// The devices every container has (`config-linux.md`, "Default Devices").
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

pub(super) fn devices(linux: &Linux) -> Result<Vec<DevicePlan>, Error> {
    let mut devices: Vec<DevicePlan> = DEFAULT_DEVICES
        .iter()
        .map(|&(path, major, minor)| DevicePlan {
            path: PathBuf::from(path),
            default: true,
            block: false,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for device in linux.devices().as_deref().unwrap_or_default() {
        let field = "linux.devices";
        let path = device.path().clone();
        if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(Error::field(field, format!("{path:?} is not an absolute path")));
        }
        let block = match device.typ() {
            LinuxDeviceType::B => true,
            LinuxDeviceType::C | LinuxDeviceType::U => false,
            other => {
                return Err(Error::field(field, format!("{path:?}: type {other:?} is not offered")));
            }
        };
        let number = |value: i64, what: &str| {
            u32::try_from(value).map_err(|_| Error::field(field, format!("{path:?}: {what} {value} is out of range")))
        };
        let plan = DevicePlan {
            default: false,
            block,
            major: number(device.major(), "major")?,
            minor: number(device.minor(), "minor")?,
            mode: device.file_mode().unwrap_or(0o666) & 0o777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
            path: path.clone(),
        };
        devices.retain(|known| known.path != plan.path);
        devices.push(plan);
    }
    Ok(devices)
}

/// What a container may do with the devices that it always has, whatever its own rules say: appended to them.
pub(super) fn default_device_rules() -> Vec<DeviceRule> {
    let rule = |major, minor| DeviceRule {
        allow: true,
        kind: DeviceKind::Character,
        major: Some(major),
        minor,
        access: read_write(),
    };
    let mut rules: Vec<DeviceRule> =
        DEFAULT_DEVICES.iter().map(|&(_, major, minor)| rule(major, Some(minor))).collect();
    // /dev/console, /dev/ptmx and the terminals behind it.
    rules.extend([rule(5, Some(1)), rule(5, Some(2)), rule(136, None)]);
    rules
}

fn read_write() -> Access {
    Access::parse("rw").unwrap_or(Access::READ)
}
