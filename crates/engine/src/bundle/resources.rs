//! Limits and devices of a specification.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use casemate_posture::device::DeviceKind;
use casemate_posture::limits::Throttle;
use casemate_posture::{Limits, Posture};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxCpu, LinuxCpuBuilder, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup,
    LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxMemory, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources,
    LinuxResourcesBuilder, LinuxThrottleDevice, LinuxThrottleDeviceBuilder,
};

use super::built;
use crate::error::{Error, Result};

/// The limits of the control group.
pub(super) fn resources(posture: &Posture, rules: Vec<LinuxDeviceCgroup>) -> Result<LinuxResources> {
    let limits = &posture.limits;
    let mut builder = LinuxResourcesBuilder::default().devices(rules).memory(memory(limits)?).cpu(cpu(limits)?);
    let pids = limits.pids.map_or(-1, |pids| i64::try_from(pids).unwrap_or(i64::MAX));
    builder = builder.pids(built(LinuxPidsBuilder::default().limit(pids).build())?);
    if let Some(io) = block_io(limits)? {
        builder = builder.block_io(io);
    }
    built(builder.build())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn memory(limits: &Limits) -> Result<LinuxMemory> {
    let mut builder = LinuxMemoryBuilder::default();
    if let Some(bytes) = limits.memory {
        builder = builder.limit(signed(bytes));
    }
    if let Some(bytes) = limits.memory_swap {
        builder = builder.swap(signed(bytes));
    }
    if let Some(bytes) = limits.memory_reservation {
        builder = builder.reservation(signed(bytes));
    }
    if let Some(percent) = limits.memory_swappiness {
        builder = builder.swappiness(u64::from(percent));
    }
    if limits.oom_kill_disable {
        builder = builder.disable_oom_killer(true);
    }
    built(builder.build())
}

fn cpu(limits: &Limits) -> Result<LinuxCpu> {
    let mut builder = LinuxCpuBuilder::default();
    if let Some((quota, period)) = limits.cpu_quota_and_period() {
        builder = builder.quota(signed(quota)).period(period);
    }
    if let Some(shares) = limits.cpu_shares {
        builder = builder.shares(shares);
    }
    if let Some(cpus) = &limits.cpuset_cpus {
        builder = builder.cpus(cpus.clone());
    }
    if let Some(mems) = &limits.cpuset_mems {
        builder = builder.mems(mems.clone());
    }
    built(builder.build())
}

fn block_io(limits: &Limits) -> Result<Option<LinuxBlockIo>> {
    let throttles =
        [&limits.device_read_bps, &limits.device_write_bps, &limits.device_read_iops, &limits.device_write_iops];
    if limits.blkio_weight.is_none() && throttles.iter().all(|list| list.is_empty()) {
        return Ok(None);
    }
    let mut builder = LinuxBlockIoBuilder::default()
        .throttle_read_bps_device(throttle(&limits.device_read_bps)?)
        .throttle_write_bps_device(throttle(&limits.device_write_bps)?)
        .throttle_read_iops_device(throttle(&limits.device_read_iops)?)
        .throttle_write_iops_device(throttle(&limits.device_write_iops)?);
    if let Some(weight) = limits.blkio_weight {
        builder = builder.weight(weight);
    }
    built(builder.build()).map(Some)
}

fn throttle(list: &[Throttle]) -> Result<Vec<LinuxThrottleDevice>> {
    list.iter()
        .map(|throttle| {
            let (kind, major, minor) = device_numbers(&throttle.device)?;
            if kind != LinuxDeviceType::B {
                return Err(Error::invalid("device", throttle.device.clone(), "is not a block device"));
            }
            built(LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(throttle.rate).build())
        })
        .collect()
}

/// The device files of the container beyond those that all have, and the rules of its device control group: nothing but what is
/// named. The runtime adds the default devices.
pub(super) fn devices(posture: &Posture) -> Result<(Vec<LinuxDevice>, Vec<LinuxDeviceCgroup>)> {
    let mut files = Vec::with_capacity(posture.devices.len());
    let mut rules =
        vec![built(LinuxDeviceCgroupBuilder::default().allow(false).typ(LinuxDeviceType::A).access("rwm").build())?];
    for device in &posture.devices {
        let (kind, major, minor) = device_numbers(&device.host)?;
        files.push(built(
            LinuxDeviceBuilder::default()
                .path(&device.container)
                .typ(kind)
                .major(major)
                .minor(minor)
                .file_mode(0o666_u32)
                .uid(0_u32)
                .gid(0_u32)
                .build(),
        )?);
        rules.push(built(
            LinuxDeviceCgroupBuilder::default()
                .allow(true)
                .typ(kind)
                .major(major)
                .minor(minor)
                .access(device.permissions.to_string())
                .build(),
        )?);
    }
    for rule in &posture.device_rules {
        let kind = match rule.kind {
            DeviceKind::All => LinuxDeviceType::A,
            DeviceKind::Block => LinuxDeviceType::B,
            DeviceKind::Character => LinuxDeviceType::C,
        };
        let mut builder =
            LinuxDeviceCgroupBuilder::default().allow(true).typ(kind).access(rule.permissions.to_string());
        if let Some(major) = rule.major {
            builder = builder.major(i64::from(major));
        }
        if let Some(minor) = rule.minor {
            builder = builder.minor(i64::from(minor));
        }
        rules.push(built(builder.build())?);
    }
    Ok((files, rules))
}

fn device_numbers(path: &str) -> Result<(LinuxDeviceType, i64, i64)> {
    let found = Path::new(path).symlink_metadata().map_err(Error::file("look at the device", path))?;
    let kind = if found.file_type().is_block_device() {
        LinuxDeviceType::B
    } else if found.file_type().is_char_device() {
        LinuxDeviceType::C
    } else {
        return Err(Error::invalid("device", path, "is neither a block nor a character device"));
    };
    let number = found.rdev();
    Ok((kind, i64::from(rustix::fs::major(number)), i64::from(rustix::fs::minor(number))))
}
