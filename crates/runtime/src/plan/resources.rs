//! `linux.resources` as limits of a control group.

use casemate_kernel::cgroup::{Access, DeviceKind, DeviceRule, Limits, Throttle, ThrottleKind};
use oci_spec::runtime::{Linux, LinuxBlockIo, LinuxDeviceCgroup, LinuxDeviceType, LinuxThrottleDevice};

use crate::error::Error;

pub(super) fn limits(linux: &Linux) -> Result<Limits, Error> {
    let mut limits = Limits::default();
    let Some(resources) = linux.resources() else {
        return Ok(limits);
    };
    if let Some(memory) = resources.memory() {
        limits.memory = memory.limit();
        limits.memory_and_swap = memory.swap();
        limits.memory_reservation = memory.reservation();
        limits.swappiness = memory.swappiness();
        limits.oom_kill_disable = memory.disable_oom_killer().filter(|disable| *disable);
    }
    if let Some(cpu) = resources.cpu() {
        limits.cpu_shares = cpu.shares().filter(|shares| *shares != 0);
        limits.cpu_quota = cpu.quota().filter(|quota| *quota != 0);
        limits.cpu_period = cpu.period().filter(|period| *period != 0);
        limits.cpu_burst = cpu.burst();
        limits.cpuset_cpus = cpu.cpus().clone().filter(|list| !list.is_empty());
        limits.cpuset_mems = cpu.mems().clone().filter(|list| !list.is_empty());
        if cpu.realtime_runtime().is_some_and(|value| value != 0)
            || cpu.realtime_period().is_some_and(|value| value != 0)
        {
            return Err(Error::field("linux.resources.cpu.realtimeRuntime", "this runtime does not offer it"));
        }
    }
    limits.pids = resources.pids().as_ref().map(oci_spec::runtime::LinuxPids::limit);
    if let Some(io) = resources.block_io() {
        limits.blkio_weight = io.weight().filter(|weight| *weight != 0);
        throttles(io, &mut limits.throttle)?;
    }
    if let Some(devices) = resources.devices() {
        limits.devices = devices.iter().map(device_rule).collect::<Result<_, _>>()?;
        limits.devices.extend(super::devices::default_device_rules());
    }
    if resources.hugepage_limits().as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(Error::field("linux.resources.hugepageLimits", "this runtime does not offer it"));
    }
    if resources.network().is_some() || resources.rdma().as_ref().is_some_and(|map| !map.is_empty()) {
        return Err(Error::field("linux.resources.network, rdma", "this runtime does not offer them"));
    }
    if let Some(unified) = resources.unified() {
        limits.unified = unified.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        limits.unified.sort();
    }
    Ok(limits)
}

fn throttles(io: &LinuxBlockIo, list: &mut Vec<Throttle>) -> Result<(), Error> {
    let kinds = [
        (io.throttle_read_bps_device(), ThrottleKind::ReadBytes),
        (io.throttle_write_bps_device(), ThrottleKind::WriteBytes),
        (io.throttle_read_iops_device(), ThrottleKind::ReadOperations),
        (io.throttle_write_iops_device(), ThrottleKind::WriteOperations),
    ];
    for (devices, kind) in kinds {
        for device in devices.as_deref().unwrap_or_default() {
            list.push(throttle(device, kind)?);
        }
    }
    if io.weight_device().as_ref().is_some_and(|list| !list.is_empty()) {
        return Err(Error::field("linux.resources.blockIO.weightDevice", "this runtime does not offer it"));
    }
    Ok(())
}

fn throttle(device: &LinuxThrottleDevice, kind: ThrottleKind) -> Result<Throttle, Error> {
    let number = |value: i64| {
        u32::try_from(value).map_err(|_| Error::field("linux.resources.blockIO", format!("device number {value}")))
    };
    Ok(Throttle { kind, major: number(device.major())?, minor: number(device.minor())?, rate: device.rate() })
}

fn device_rule(rule: &LinuxDeviceCgroup) -> Result<DeviceRule, Error> {
    let field = "linux.resources.devices";
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => DeviceKind::All,
        Some(LinuxDeviceType::B) => DeviceKind::Block,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceKind::Character,
        Some(other) => return Err(Error::field(field, format!("type {other:?}"))),
    };
    let number = |value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(value) => {
            u32::try_from(value).map(Some).map_err(|_| Error::field(field, format!("device number {value}")))
        }
    };
    let letters = rule.access().as_deref().unwrap_or("rwm");
    let access = Access::parse(letters)
        .ok_or_else(|| Error::field(field, format!("access {letters:?}: letters of \"rwm\" are meant")))?;
    Ok(DeviceRule { allow: rule.allow(), kind, major: number(rule.major())?, minor: number(rule.minor())?, access })
}
