//! Device files of a container, and what it may do with devices.

use std::path::{Component, Path, PathBuf};

use casemate_kernel::cgroup::{Access, DeviceKind, DeviceRule};
use oci_spec::runtime::{Linux, LinuxDeviceType};
use rustix::fs::FileType;

use crate::error::Error;

/// A device file of the container.
#[derive(Debug)]
pub(crate) struct DevicePlan {
    /// Its place in `linux.devices`; none for one that every container has.
    pub(crate) index: Option<usize>,
    pub(crate) path: PathBuf,
    pub(crate) kind: FileType,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Permission bits, as they are to be whatever the umask.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl DevicePlan {
    /// Its name, when it is directly in `/dev`.
    pub(crate) fn name_in_dev(&self) -> Option<&std::ffi::OsStr> {
        (self.path.parent() == Some(Path::new("/dev"))).then(|| self.path.file_name()).flatten()
    }

    /// What it is called in messages.
    pub(crate) fn field(&self) -> String {
        match self.index {
            Some(index) => format!("linux.devices[{index}]: {:?}", self.path),
            None => format!("linux.devices: {:?}", self.path),
        }
    }

    /// Whether a container with these rules may make its file itself: the last rule that is about it counts, as in a
    /// control group.
    pub(crate) fn may_be_made(&self, rules: &[DeviceRule]) -> bool {
        let kind = match self.kind {
            FileType::Fifo => return true,
            FileType::BlockDevice => DeviceKind::Block,
            _ => DeviceKind::Character,
        };
        let about = |rule: &&DeviceRule| {
            (rule.kind == kind || rule.kind == DeviceKind::All)
                && rule.major.is_none_or(|major| major == self.major)
                && rule.minor.is_none_or(|minor| minor == self.minor)
                && rule.access.contains(Access::MAKE)
        };
        rules.iter().rfind(about).is_none_or(|rule| rule.allow)
    }

    /// Whether a file is this device. A FIFO is like any other.
    pub(crate) fn is(&self, kind: FileType, of_device: (u32, u32)) -> bool {
        kind == self.kind && (kind == FileType::Fifo || of_device == (self.major, self.minor))
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
            index: None,
            path: PathBuf::from(path),
            kind: FileType::CharacterDevice,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    for (index, device) in linux.devices().as_deref().unwrap_or_default().iter().enumerate() {
        let field = |part: &str| format!("linux.devices[{index}].{part}");
        let path = device.path().clone();
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) || path.parent().is_none()
        {
            return Err(Error::field(&field("path"), format!("{path:?} is not an absolute path of a file")));
        }
        let kind = match device.typ() {
            LinuxDeviceType::B => FileType::BlockDevice,
            LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
            LinuxDeviceType::P => FileType::Fifo,
            LinuxDeviceType::A => return Err(Error::field(&field("type"), "\"a\" is no kind of file")),
        };
        // What mknod(2) takes: 12 and 20 bits.
        let number = |value: i64, limit: u32, part: &str| {
            u32::try_from(value)
                .ok()
                .filter(|value| kind == FileType::Fifo || *value < limit)
                .ok_or_else(|| Error::field(&field(part), format!("{value} is out of range")))
        };
        let plan = DevicePlan {
            index: Some(index),
            kind,
            major: number(device.major(), 1 << 12, "major")?,
            minor: number(device.minor(), 1 << 20, "minor")?,
            // Some callers put the kind into the mode, as stat(2) has it.
            mode: device.file_mode().unwrap_or(0o666) & 0o7777,
            uid: device.uid().unwrap_or(0),
            gid: device.gid().unwrap_or(0),
            path,
        };
        // A link to the container's own terminals, whatever is asked for.
        if plan.path == Path::new("/dev/ptmx") {
            continue;
        }
        devices.retain(|known| known.index.is_some() || known.path != plan.path);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(list: &str) -> Result<Vec<DevicePlan>, Error> {
        devices(&serde_json::from_str(&format!(r#"{{"devices":[{list}]}}"#)).unwrap())
    }

    #[test]
    fn what_is_asked_for_takes_the_place_of_a_default() {
        assert_eq!(planned("").unwrap().len(), 6);
        let list = planned(
            r#"{"path":"/dev/null","type":"u","major":1,"minor":3,"fileMode":8630},
               {"path":"/dev/ptmx","type":"c","major":5,"minor":2},
               {"path":"/run/fifo","type":"p"}"#,
        )
        .unwrap();
        assert_eq!(list.len(), 7);
        let null = list.iter().find(|device| device.path == Path::new("/dev/null")).unwrap();
        assert_eq!((null.index, null.mode, null.kind), (Some(0), 0o666, FileType::CharacterDevice));
        assert_eq!(null.name_in_dev(), Some(std::ffi::OsStr::new("null")));
        let fifo = list.last().unwrap();
        assert_eq!((fifo.kind, fifo.mode, fifo.name_in_dev()), (FileType::Fifo, 0o666, None));
        assert!(fifo.is(FileType::Fifo, (0, 0)) && !null.is(FileType::CharacterDevice, (1, 5)));
    }

    #[test]
    fn the_last_rule_says_whether_a_device_is_made_inside() {
        let null = &planned("").unwrap()[0];
        let rule = |allow, kind, major, access: &str| DeviceRule {
            allow,
            kind,
            major,
            minor: None,
            access: Access::parse(access).unwrap(),
        };
        let nothing = rule(false, DeviceKind::All, None, "rwm");
        assert!(null.may_be_made(&[]) && !null.may_be_made(&[nothing]));
        assert!(null.may_be_made(&[nothing, rule(true, DeviceKind::Character, None, "m")]));
        assert!(!null.may_be_made(&[nothing, rule(true, DeviceKind::Character, Some(1), "rw")]));
        assert!(!null.may_be_made(&[nothing, rule(true, DeviceKind::Block, None, "m")]));
        assert!(
            !null.may_be_made(&[rule(true, DeviceKind::All, None, "rwm"), rule(false, DeviceKind::All, None, "m")])
        );
    }

    #[test]
    fn wrong_devices_are_refused_by_field() {
        let refused = |device: &str| planned(device).unwrap_err().to_string();
        for (device, field) in [
            (r#"{"path":"dev/x","type":"c","major":1,"minor":3}"#, "path"),
            (r#"{"path":"/dev/../x","type":"c","major":1,"minor":3}"#, "path"),
            (r#"{"path":"/","type":"c","major":1,"minor":3}"#, "path"),
            (r#"{"path":"/dev/x","type":"a","major":1,"minor":3}"#, "type"),
            (r#"{"path":"/dev/x","type":"c","major":-1,"minor":3}"#, "major"),
            (r#"{"path":"/dev/x","type":"c","major":4096,"minor":3}"#, "major"),
            (r#"{"path":"/dev/x","type":"b","major":8,"minor":1048576}"#, "minor"),
        ] {
            let error = refused(device);
            assert!(error.starts_with(&format!("linux.devices[0].{field}: ")), "{error}");
        }
    }
}
