//! Limits as properties of a unit (`systemd.resource-control(5)`).
//!
//! The limits are written to the control group as well, after this: systemd must know them too, or it would take its own
//! idea of them for the truth when it next looks (a `daemon-reload`, say).

use casemate_kernel::cgroup::{Controller, DeviceKind, DeviceRule, LimitError, Limits, io_weight, weight_of_shares};

use super::message::Value;
use crate::error::Error;

/// A property and its value.
pub(crate) type Property = (String, Value);

/// What the properties are for.
pub(crate) struct Target<'a> {
    /// Whether the unit's control group is of version 2.
    pub(crate) unified: bool,
    /// systemd's version.
    pub(crate) version: u32,
    /// Whether it is a user's manager, which may not restrict devices.
    pub(crate) user: bool,
    /// What a file of the group says; nothing of a group that is not made yet.
    pub(crate) current: &'a dyn Fn(Controller, &str) -> Option<String>,
}

/// As systemd writes "no limit".
const INFINITY: u64 = u64::MAX;
/// The kernel's default period, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

fn bytes(limit: i64) -> Value {
    Value::Uint64(u64::try_from(limit).unwrap_or(INFINITY))
}

/// All limits but those on devices.
pub(crate) fn of_limits(limits: &Limits, target: &Target<'_>) -> Result<Vec<Property>, Error> {
    let mut list = List(Vec::new());
    if target.unified {
        memory_v2(limits, target, &mut list)?;
    } else {
        v1(limits, &mut list);
    }
    if target.unified {
        if limits.cpu_idle == Some(1) && target.version >= 252 {
            // How systemd calls an idle group.
            list.add("CPUWeight", Value::Uint64(0));
        } else if let Some(shares) = limits.cpu_shares {
            list.add("CPUWeight", Value::Uint64(weight_of_shares(shares)));
        }
        if let Some(weight) = limits.blkio_weight {
            list.add("IOWeight", Value::Uint64(u64::from(io_weight(weight))));
        }
        cpuset("linux.resources.cpu.cpus", limits.cpuset_cpus.as_deref(), "AllowedCPUs", target, &mut list)?;
        cpuset("linux.resources.cpu.mems", limits.cpuset_mems.as_deref(), "AllowedMemoryNodes", target, &mut list)?;
    }
    quota(limits.cpu_quota, limits.cpu_period, target, &mut list);
    if let Some(pids) = limits.pids {
        // systemd does not take 0.
        list.add("TasksMax", bytes(if pids == 0 { 1 } else { pids }));
    }
    for (file, value) in &limits.unified {
        unified(file, value.trim(), target, &mut list)?;
    }
    Ok(list.0)
}

struct List(Vec<Property>);

impl List {
    /// Adds a property; what is said later counts.
    fn add(&mut self, name: &str, value: Value) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value));
    }
}

fn memory_v2(limits: &Limits, target: &Target<'_>, list: &mut List) -> Result<(), Error> {
    let now = |file: &str| match (target.current)(Controller::Memory, file)?.trim() {
        "max" => Some(-1),
        text => text.parse().ok(),
    };
    let refused = |error: LimitError| Error::field(&format!("linux.resources.{}", error.field()), error.error());
    if let Some(limit) = limits.memory {
        list.add("MemoryMax", bytes(limit));
    }
    if let Some(limit) = limits.memory_reservation {
        list.add("MemoryLow", bytes(limit));
    }
    if let Some(swap) = limits.swap_alone(|| now("memory.max"), || now("memory.swap.max")).map_err(refused)? {
        list.add("MemorySwapMax", bytes(swap));
    }
    Ok(())
}

fn v1(limits: &Limits, list: &mut List) {
    if let Some(limit) = limits.memory {
        list.add("MemoryLimit", bytes(limit));
    }
    if let Some(shares) = limits.cpu_shares {
        list.add("CPUShares", Value::Uint64(shares));
    }
    if let Some(weight) = limits.blkio_weight {
        list.add("BlockIOWeight", Value::Uint64(u64::from(weight)));
    }
}

/// Quota and period: systemd wants processor time for each second, and its own copy of the period.
fn quota(quota: Option<i64>, period: Option<u64>, target: &Target<'_>, list: &mut List) {
    if quota.is_none() && period.is_none() {
        return;
    }
    let (now_quota, now_period) = current_quota(target);
    let (quota, new_period) = (quota.or(now_quota).unwrap_or(-1), period.or(now_period).unwrap_or(DEFAULT_PERIOD));
    let each_second = match u64::try_from(quota) {
        Ok(quota) if quota > 0 => {
            let exact = u128::from(quota) * 1_000_000 / u128::from(new_period.max(1));
            // systemd keeps hundredths of a second: up, so that it never takes away what was asked for.
            u64::try_from(exact.next_multiple_of(10_000)).unwrap_or(INFINITY)
        }
        _ => INFINITY,
    };
    list.add("CPUQuotaPerSecUSec", Value::Uint64(each_second));
    if let Some(period) = period.filter(|_| target.version >= 242) {
        list.add("CPUQuotaPeriodUSec", Value::Uint64(period));
    }
}

fn current_quota(target: &Target<'_>) -> (Option<i64>, Option<u64>) {
    let read = |file: &str| (target.current)(Controller::Cpu, file);
    if !target.unified {
        let number = |file: &str| read(file).and_then(|text| text.trim().parse().ok());
        return (number("cpu.cfs_quota_us"), number("cpu.cfs_period_us").and_then(|period| u64::try_from(period).ok()));
    }
    let text = read("cpu.max").unwrap_or_default();
    let mut fields = text.split_ascii_whitespace();
    (fields.next().and_then(|quota| quota.parse().ok()), fields.next().and_then(|period| period.parse().ok()))
}

fn cpuset(field: &str, text: Option<&str>, name: &str, target: &Target<'_>, list: &mut List) -> Result<(), Error> {
    // Since systemd 244.
    if let Some(text) = text.filter(|_| target.version >= 244) {
        let bits = bits(text).ok_or_else(|| Error::field(field, format!("{text:?} is no list such as 0-2,7")))?;
        list.add(name, Value::Array("y".into(), bits.into_iter().map(Value::Byte).collect()));
    }
    Ok(())
}

/// A list such as `0-2,7` as bits, the first in the lowest of the first byte.
fn bits(text: &str) -> Option<Vec<u8>> {
    let mut bits: Vec<u8> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.trim().parse::<u16>().ok()?, to.trim().parse::<u16>().ok()?);
        if from > to {
            return None;
        }
        for number in from..=to {
            let place = usize::from(number / 8);
            if bits.len() <= place {
                bits.resize(place + 1, 0);
            }
            bits[place] |= 1 << (number % 8);
        }
    }
    Some(bits).filter(|bits| !bits.is_empty())
}

/// A file of version 2 that has a property. Others are written to the group alone.
fn unified(file: &str, value: &str, target: &Target<'_>, list: &mut List) -> Result<(), Error> {
    let wrong = || Error::field("linux.resources.unified", format!("{file:?}: {value:?} is no value for systemd"));
    let number = || if value == "max" { Ok(INFINITY) } else { value.parse().map_err(|_| wrong()) };
    let name = match file {
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "cpu.weight" => "CPUWeight",
        "pids.max" => {
            list.add("TasksMax", Value::Uint64(number()?.max(1)));
            return Ok(());
        }
        "cpu.idle" if value == "1" && target.version >= 252 => {
            list.add("CPUWeight", Value::Uint64(0));
            return Ok(());
        }
        "cpu.max" => {
            let mut fields = value.split_ascii_whitespace();
            let limit = match fields.next() {
                Some("max") => -1,
                limit => limit.and_then(|limit| limit.parse().ok()).ok_or_else(wrong)?,
            };
            let period = fields.next().map(|period| period.parse().map_err(|_| wrong())).transpose()?;
            quota(Some(limit), period.or(Some(DEFAULT_PERIOD)), target, list);
            return Ok(());
        }
        "cpuset.cpus" => return cpuset("linux.resources.unified", Some(value), "AllowedCPUs", target, list),
        "cpuset.mems" => return cpuset("linux.resources.unified", Some(value), "AllowedMemoryNodes", target, list),
        _ => return Ok(()),
    };
    list.add(name, Value::Uint64(number()?));
    Ok(())
}

/// Rules on devices. What systemd can't say it is told more broadly: the group's own rules are in force besides.
pub(crate) fn of_devices(rules: &[DeviceRule], target: &Target<'_>) -> Vec<Property> {
    if target.user || rules.is_empty() {
        return Vec::new();
    }
    let strict = target.version >= 240 && rules.first().is_some_and(|rule| !rule.allow);
    let allowed = rules.iter().filter(|rule| strict && rule.allow).flat_map(|rule| {
        let kinds: &[&str] = match rule.kind {
            DeviceKind::All => &["block", "char"],
            DeviceKind::Block => &["block"],
            DeviceKind::Character => &["char"],
        };
        kinds.iter().map(|kind| {
            let device = match (rule.major, rule.minor) {
                (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
                (Some(major), None) => format!("{kind}-{major}"),
                (None, _) => format!("{kind}-*"),
            };
            Value::Struct(vec![Value::String(device), Value::String(rule.access.to_string())])
        })
    });
    let devices = |list| ("DeviceAllow".to_owned(), Value::Array("(ss)".into(), list));
    let policy = if strict { "strict" } else { "auto" };
    // Emptied first: properties of this name add up.
    vec![devices(Vec::new()), ("DevicePolicy".to_owned(), Value::String(policy.into())), devices(allowed.collect())]
}

#[cfg(test)]
mod tests {
    use casemate_kernel::cgroup::Access;

    use super::*;

    fn of(limits: &Limits, unified: bool, now: &[(&str, &str)]) -> Vec<Property> {
        let current = |_, file: &str| now.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned());
        of_limits(limits, &Target { unified, version: 252, user: false, current: &current }).unwrap()
    }

    fn number(name: &str, value: u64) -> Property {
        (name.to_owned(), Value::Uint64(value))
    }

    #[test]
    fn limits_become_properties() {
        let limits = Limits {
            memory: Some(100),
            memory_and_swap: Some(300),
            memory_reservation: Some(50),
            pids: Some(-1),
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            cpu_period: Some(100_000),
            blkio_weight: Some(1000),
            cpuset_cpus: Some("0-2,9".into()),
            ..Limits::default()
        };
        let mut expected = vec![
            number("MemoryMax", 100),
            number("MemoryLow", 50),
            number("MemorySwapMax", 200),
            number("CPUWeight", 100),
            number("IOWeight", 10_000),
            ("AllowedCPUs".to_owned(), Value::Array("y".into(), vec![Value::Byte(7), Value::Byte(2)])),
        ];
        let both = [
            number("CPUQuotaPerSecUSec", 500_000),
            number("CPUQuotaPeriodUSec", 100_000),
            number("TasksMax", INFINITY),
        ];
        expected.extend(both.clone());
        assert_eq!(of(&limits, true, &[]), expected);
        let mut expected = vec![number("MemoryLimit", 100), number("CPUShares", 1024), number("BlockIOWeight", 1000)];
        expected.extend(both);
        assert_eq!(of(&limits, false, &[]), expected);
    }

    #[test]
    fn a_part_of_a_quota_is_completed_by_what_is_there() {
        let quota = Limits { cpu_quota: Some(3000), ..Limits::default() };
        assert_eq!(of(&quota, true, &[("cpu.max", "max 10000\n")]), [number("CPUQuotaPerSecUSec", 300_000)]);
        let period = Limits { cpu_period: Some(30_000), ..Limits::default() };
        // A third of a second, rounded up to hundredths.
        let rounded = [number("CPUQuotaPerSecUSec", 340_000), number("CPUQuotaPeriodUSec", 30_000)];
        assert_eq!(of(&period, true, &[("cpu.max", "10000 100000\n")]), rounded);
        assert_eq!(of(&period, false, &[("cpu.cfs_quota_us", "-1\n")])[0], number("CPUQuotaPerSecUSec", INFINITY));
    }

    #[test]
    fn files_of_version_2_become_properties() {
        let unified = [("memory.high", "max"), ("cpu.max", "max 5000"), ("pids.max", "0"), ("io.max", "8:0 rbps=1")];
        let unified = unified.map(|(file, value)| (file.to_owned(), value.to_owned())).to_vec();
        let limits = Limits { unified, pids: Some(5), ..Limits::default() };
        let expected = [
            number("MemoryHigh", INFINITY),
            number("CPUQuotaPerSecUSec", INFINITY),
            number("CPUQuotaPeriodUSec", 5000),
            number("TasksMax", 1),
        ];
        assert_eq!(of(&limits, true, &[]), expected);
    }

    #[test]
    fn devices_become_properties() {
        let target = Target { unified: true, version: 252, user: false, current: &|_, _| None };
        let rule = |allow, kind, major, minor| DeviceRule { allow, kind, major, minor, access: Access::ALL };
        let deny = rule(false, DeviceKind::All, None, None);
        let rules = [
            deny,
            rule(true, DeviceKind::Character, Some(1), Some(3)),
            rule(true, DeviceKind::Block, Some(8), None),
            rule(true, DeviceKind::Character, None, Some(5)),
        ];
        let text = |text: &str| Value::String(text.to_owned());
        let entry = |device: &str| Value::Struct(vec![text(device), text("rwm")]);
        let list = |list| ("DeviceAllow".to_owned(), Value::Array("(ss)".into(), list));
        let policy = |name: &str| ("DevicePolicy".to_owned(), text(name));
        let allowed = vec![entry("/dev/char/1:3"), entry("block-8"), entry("char-*")];
        assert_eq!(of_devices(&rules, &target), [list(vec![]), policy("strict"), list(allowed)]);
        let allow = rule(true, DeviceKind::All, None, None);
        assert_eq!(of_devices(&[allow], &target), [list(vec![]), policy("auto"), list(vec![])]);
        assert!(of_devices(&rules, &Target { user: true, ..target }).is_empty());
    }
}
