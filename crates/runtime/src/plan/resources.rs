//! `linux.resources` as limits of a control group.
//!
//! Zero and empty mean "leave it as it is" wherever they do for runc, because engines write them so. What the host can't
//! give is refused when its control groups are looked at (`cgroup.rs`), by the same names.

use casemate_kernel::cgroup::{
    Access, DeviceKind, DeviceRule, DeviceWeight, HugepageLimit, InterfacePriority, Limits, RdmaLimit, Throttle,
    ThrottleKind,
};
use oci_spec::runtime::{
    Linux, LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources, LinuxThrottleDevice,
};

use crate::error::Error;

/// The limits of a new container.
pub(super) fn limits(linux: &Linux) -> Result<Limits, Error> {
    let resources = linux.resources().as_ref();
    let mut limits = resources.map_or_else(|| Ok(Limits::default()), resource_limits)?;
    let rules = resources.and_then(|resources| resources.devices().as_deref()).unwrap_or_default();
    limits.devices = device_rules(rules)?;
    Ok(limits)
}

/// All limits but those on devices, which a container keeps.
pub(crate) fn resource_limits(resources: &LinuxResources) -> Result<Limits, Error> {
    let mut limits = Limits::default();
    if let Some(memory) = resources.memory() {
        memory_limits(memory, &mut limits);
    }
    if let Some(cpu) = resources.cpu() {
        cpu_limits(cpu, &mut limits);
    }
    limits.pids = resources.pids().as_ref().map(oci_spec::runtime::LinuxPids::limit);
    if let Some(io) = resources.block_io() {
        io_limits(io, &mut limits)?;
    }
    for huge in resources.hugepage_limits().as_deref().unwrap_or_default() {
        let limit = u64::try_from(huge.limit()).map_err(|_| {
            Error::field("linux.resources.hugepageLimits", format!("{} bytes of {:?}", huge.limit(), huge.page_size()))
        })?;
        limits.hugepages.push(HugepageLimit { page_size: huge.page_size().clone(), limit });
    }
    if let Some(network) = resources.network() {
        limits.network_class = network.class_id().filter(|class| *class != 0);
        limits.network_priorities = network
            .priorities()
            .as_deref()
            .unwrap_or_default()
            .iter()
            .map(|of| InterfacePriority { name: of.name().clone(), priority: of.priority() })
            .collect();
    }
    for (device, of) in resources.rdma().iter().flatten() {
        if of.hca_handles().is_some() || of.hca_objects().is_some() {
            let (handles, objects) = (of.hca_handles(), of.hca_objects());
            limits.rdma.push(RdmaLimit { device: device.clone(), handles, objects });
        }
    }
    limits.rdma.sort_by(|a, b| a.device.cmp(&b.device));
    limits.unified = resources.unified().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    limits.unified.sort();
    Ok(limits)
}

fn memory_limits(memory: &LinuxMemory, limits: &mut Limits) {
    let asked = |value: Option<i64>| value.filter(|value| *value != 0);
    limits.memory = asked(memory.limit());
    limits.memory_and_swap = asked(memory.swap());
    limits.memory_reservation = asked(memory.reservation());
    #[allow(deprecated)]
    {
        // Old, but part of the specification: applied where the kernel still knows it, else refused. "No limit" is what
        // a kernel without it has.
        limits.memory_kernel = memory.kernel().filter(|value| *value > 0);
    }
    limits.memory_kernel_tcp = memory.kernel_tcp().filter(|value| *value > 0);
    // An engine's -1, which is "as it is", in a field without a sign.
    limits.swappiness = memory.swappiness().filter(|value| *value != u64::MAX);
    limits.oom_kill_disable = memory.disable_oom_killer().filter(|disable| *disable);
    limits.use_hierarchy = memory.use_hierarchy();
    limits.memory_check_before_update = memory.check_before_update().unwrap_or(false);
}

fn cpu_limits(cpu: &LinuxCpu, limits: &mut Limits) {
    limits.cpu_shares = cpu.shares().filter(|shares| *shares != 0);
    limits.cpu_quota = cpu.quota().filter(|quota| *quota != 0);
    limits.cpu_period = cpu.period().filter(|period| *period != 0);
    limits.cpu_burst = cpu.burst();
    limits.cpu_realtime_runtime = cpu.realtime_runtime().filter(|value| *value != 0);
    limits.cpu_realtime_period = cpu.realtime_period().filter(|value| *value != 0);
    limits.cpu_idle = cpu.idle();
    limits.cpuset_cpus = cpu.cpus().clone().filter(|list| !list.is_empty());
    limits.cpuset_mems = cpu.mems().clone().filter(|list| !list.is_empty());
}

fn io_limits(io: &LinuxBlockIo, limits: &mut Limits) -> Result<(), Error> {
    let asked = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    limits.blkio_weight = asked(io.weight());
    limits.blkio_leaf_weight = asked(io.leaf_weight());
    for device in io.weight_device().as_deref().unwrap_or_default() {
        let field = "linux.resources.blockIO.weightDevice";
        let (weight, leaf_weight) = (asked(device.weight()), asked(device.leaf_weight()));
        if weight.is_some() || leaf_weight.is_some() {
            let (major, minor) = (number(field, device.major())?, number(field, device.minor())?);
            limits.device_weights.push(DeviceWeight { major, minor, weight, leaf_weight });
        }
    }
    let kinds = [
        ("throttleReadBpsDevice", io.throttle_read_bps_device(), ThrottleKind::ReadBytes),
        ("throttleWriteBpsDevice", io.throttle_write_bps_device(), ThrottleKind::WriteBytes),
        ("throttleReadIOPSDevice", io.throttle_read_iops_device(), ThrottleKind::ReadOperations),
        ("throttleWriteIOPSDevice", io.throttle_write_iops_device(), ThrottleKind::WriteOperations),
    ];
    for (name, devices, kind) in kinds {
        for device in devices.as_deref().unwrap_or_default() {
            limits.throttle.push(throttle(name, device, kind)?);
        }
    }
    Ok(())
}

fn throttle(name: &str, device: &LinuxThrottleDevice, kind: ThrottleKind) -> Result<Throttle, Error> {
    let field = format!("linux.resources.blockIO.{name}");
    let (major, minor) = (number(&field, device.major())?, number(&field, device.minor())?);
    Ok(Throttle { kind, major, minor, rate: device.rate() })
}

fn number(field: &str, value: i64) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::field(field, format!("device number {value}")))
}

const EVERYTHING: DeviceRule =
    DeviceRule { allow: false, kind: DeviceKind::All, major: None, minor: None, access: Access::ALL };

/// The specification's rules, with what holds for every container around them: nothing is allowed before the first, and
/// the devices that every container has are after the last.
fn device_rules(rules: &[LinuxDeviceCgroup]) -> Result<Vec<DeviceRule>, Error> {
    let mut list = vec![EVERYTHING];
    for (index, rule) in rules.iter().enumerate() {
        device_rule(index, rule, &mut list)?;
    }
    // What comes before a rule on everything does not count.
    let start = list.iter().rposition(|rule| rule.kind == DeviceKind::All).unwrap_or(0);
    list.drain(..start);
    list.extend(super::devices::default_device_rules());
    Ok(list)
}

fn device_rule(index: usize, rule: &LinuxDeviceCgroup, list: &mut Vec<DeviceRule>) -> Result<(), Error> {
    let field = format!("linux.resources.devices[{index}]");
    let kinds: &[DeviceKind] = match rule.typ() {
        None | Some(LinuxDeviceType::A) => &[DeviceKind::Block, DeviceKind::Character],
        Some(LinuxDeviceType::B) => &[DeviceKind::Block],
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => &[DeviceKind::Character],
        Some(other) => return Err(Error::field(&field, format!("type {other:?}"))),
    };
    let number = |value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => number(&field, value).map(Some),
    };
    let letters = rule.access().as_deref().unwrap_or("rwm");
    let access = Access::parse(letters)
        .ok_or_else(|| Error::field(&field, format!("access {letters:?}: letters of \"rwm\" are meant")))?;
    let (allow, major, minor) = (rule.allow(), number(rule.major())?, number(rule.minor())?);
    // Version 1, and so runc, takes a rule on both kinds of devices for one on all devices and any access. To deny so is
    // to be on the safe side; to allow so would give more than was written.
    let everything = kinds.len() == 2 && major.is_none() && minor.is_none() && access == Access::ALL;
    if everything || (kinds.len() == 2 && !allow) {
        list.push(DeviceRule { allow, ..EVERYTHING });
    } else {
        list.extend(kinds.iter().map(|&kind| DeviceRule { allow, kind, major, minor, access }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits_of(json: &str) -> Result<Limits, Error> {
        let linux: Linux = serde_json::from_str(&format!("{{\"resources\":{json}}}")).unwrap();
        limits(&linux)
    }

    #[test]
    fn zero_and_empty_change_nothing() {
        let limits = limits_of(
            r#"{"memory":{"limit":0,"swap":0,"reservation":0,"kernel":-1,"kernelTCP":0,"disableOOMKiller":false,
                "swappiness":18446744073709551615},
               "cpu":{"shares":0,"quota":0,"period":0,"realtimeRuntime":0,"realtimePeriod":0,"cpus":"","mems":""},
               "blockIO":{"weight":0,"leafWeight":0,"weightDevice":[{"major":8,"minor":0}]},
               "network":{"classID":0,"priorities":[]},"hugepageLimits":[],"rdma":{"mlx5_1":{}},"unified":{}}"#,
        )
        .unwrap();
        assert_eq!(limits, Limits { devices: limits.devices.clone(), ..Limits::default() });
    }

    #[test]
    fn every_field_becomes_a_limit() {
        let limits = limits_of(
            r#"{"memory":{"limit":1,"swap":2,"reservation":3,"kernel":4,"kernelTCP":5,"swappiness":6,
                "disableOOMKiller":true,"useHierarchy":true,"checkBeforeUpdate":true},
               "cpu":{"shares":7,"quota":8,"period":9,"burst":10,"realtimeRuntime":11,"realtimePeriod":12,"cpus":"0",
                "mems":"1","idle":0},
               "pids":{"limit":-1},
               "blockIO":{"weight":13,"leafWeight":14,"weightDevice":[{"major":8,"minor":0,"weight":15,"leafWeight":16}],
                "throttleReadBpsDevice":[{"major":8,"minor":1,"rate":17}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":2,"rate":18}]},
               "hugepageLimits":[{"pageSize":"2MB","limit":19}],
               "network":{"classID":20,"priorities":[{"name":"eth0","priority":21}]},
               "rdma":{"mlx5_1":{"hcaHandles":22}},
               "unified":{"io.max":"8:0 rbps=1"}}"#,
        )
        .unwrap();
        let throttle = |kind, minor, rate| Throttle { kind, major: 8, minor, rate };
        let expected = Limits {
            memory: Some(1),
            memory_and_swap: Some(2),
            memory_reservation: Some(3),
            memory_kernel: Some(4),
            memory_kernel_tcp: Some(5),
            swappiness: Some(6),
            oom_kill_disable: Some(true),
            use_hierarchy: Some(true),
            memory_check_before_update: true,
            pids: Some(-1),
            cpu_shares: Some(7),
            cpu_quota: Some(8),
            cpu_period: Some(9),
            cpu_burst: Some(10),
            cpu_realtime_runtime: Some(11),
            cpu_realtime_period: Some(12),
            cpu_idle: Some(0),
            cpuset_cpus: Some("0".into()),
            cpuset_mems: Some("1".into()),
            blkio_weight: Some(13),
            blkio_leaf_weight: Some(14),
            device_weights: vec![DeviceWeight { major: 8, minor: 0, weight: Some(15), leaf_weight: Some(16) }],
            throttle: vec![throttle(ThrottleKind::ReadBytes, 1, 17), throttle(ThrottleKind::WriteOperations, 2, 18)],
            hugepages: vec![HugepageLimit { page_size: "2MB".into(), limit: 19 }],
            network_class: Some(20),
            network_priorities: vec![InterfacePriority { name: "eth0".into(), priority: 21 }],
            rdma: vec![RdmaLimit { device: "mlx5_1".into(), handles: Some(22), objects: None }],
            unified: vec![("io.max".into(), "8:0 rbps=1".into())],
            devices: limits.devices.clone(),
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn nothing_is_allowed_before_the_first_rule_and_default_devices_after_the_last() {
        let defaults = super::super::devices::default_device_rules();
        let without = |json: &str| {
            let mut rules = limits_of(json).unwrap().devices;
            let rest = rules.split_off(rules.len() - defaults.len());
            assert_eq!(rest, defaults);
            rules
        };
        assert_eq!(without("{}"), [EVERYTHING]);
        let rules = without(r#"{"devices":[{"allow":true,"type":"c","major":10,"minor":200,"access":"rw"}]}"#);
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[0], EVERYTHING);
        // All before it is void.
        let all = DeviceRule { allow: true, ..EVERYTHING };
        assert_eq!(without(r#"{"devices":[{"allow":false},{"allow":true}]}"#), [all]);
        // Not everything: both kinds of this number.
        let rules = without(r#"{"devices":[{"allow":true,"major":10,"minor":200}]}"#);
        assert_eq!((rules.len(), rules[1].kind, rules[2].kind), (3, DeviceKind::Block, DeviceKind::Character));
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for (json, field) in [
            (r#"{"devices":[{"allow":true,"access":"x"}]}"#, "linux.resources.devices[0]: "),
            (r#"{"devices":[{"allow":true,"type":"c","major":-2}]}"#, "linux.resources.devices[0]: "),
            (r#"{"hugepageLimits":[{"pageSize":"2MB","limit":-1}]}"#, "linux.resources.hugepageLimits: "),
            (
                r#"{"blockIO":{"throttleReadIOPSDevice":[{"major":-8,"minor":0,"rate":1}]}}"#,
                "linux.resources.blockIO.throttleReadIOPSDevice: ",
            ),
        ] {
            let error = limits_of(json).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
