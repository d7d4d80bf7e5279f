//! Limits of a group, in one vocabulary for both versions.

use super::device::DeviceRule;
use super::{Cgroup, Controller, Version, device, write_file};
use crate::error::{Error, Result};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// What a group may use. `None` leaves a value as it is; sizes are bytes, times microseconds, `-1` is "no limit".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory.
    pub memory: Option<i64>,
    /// Memory and swap together, as in version 1 and Docker; equal to `memory` means no swap.
    pub memory_and_swap: Option<i64>,
    /// Memory that is reclaimed down to when the host is short.
    pub memory_reservation: Option<i64>,
    /// How readily anonymous memory is swapped, 0 to 100 (version 1 only).
    pub swappiness: Option<u64>,
    /// Whether the out-of-memory killer stays away (version 1 only).
    pub oom_kill_disable: Option<bool>,
    /// Processes and threads.
    pub pids: Option<i64>,
    /// Weight of processor time, 2 to 262144, 1024 by default.
    pub cpu_shares: Option<u64>,
    /// Processor time in each period.
    pub cpu_quota: Option<i64>,
    /// The period.
    pub cpu_period: Option<u64>,
    /// Processor time that may be saved up for a burst.
    pub cpu_burst: Option<u64>,
    /// Processors, as a list such as `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, likewise.
    pub cpuset_mems: Option<String>,
    /// Weight of block I/O, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Ceilings on block devices.
    pub throttle: Vec<Throttle>,
    /// Rules on device files, in order; the last that matches decides, and none means denied. Empty: no restriction.
    pub devices: Vec<DeviceRule>,
    /// Version 2 files to be written as they are, by name.
    pub unified: Vec<(String, String)>,
}

/// A ceiling on one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// What is counted.
    pub kind: ThrottleKind,
    /// Device number.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// Bytes or operations a second.
    pub rate: u64,
}

/// What a [`Throttle`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThrottleKind {
    /// Bytes read.
    ReadBytes,
    /// Bytes written.
    WriteBytes,
    /// Read operations.
    ReadOperations,
    /// Write operations.
    WriteOperations,
}

impl Cgroup {
    /// Sets limits.
    ///
    /// # Errors
    /// `EOPNOTSUPP`, naming the limit, when the group lacks the controller or its version has no such limit.
    pub fn apply(&self, limits: &Limits) -> Result<()> {
        match self.version() {
            Version::V2 => self.apply_v2(limits)?,
            Version::V1 | Version::Hybrid => self.apply_v1(limits)?,
        }
        if !limits.devices.is_empty() {
            match (self.version(), self.controller(Controller::Devices, "devices")?) {
                (Version::V2, directory) => device::attach_program(directory, &limits.devices)?,
                (_, directory) => device::write_rules(directory, &limits.devices)?,
            }
        }
        Ok(())
    }

    fn controller(&self, controller: Controller, what: &str) -> Result<BorrowedFd<'_>> {
        self.directory_of(controller).ok_or_else(|| {
            Error::new(format!("limit {what}: this host has no {} controller", controller.name()), Errno::OPNOTSUPP)
        })
    }

    fn apply_v1(&self, limits: &Limits) -> Result<()> {
        let limited = |value: &i64| *value >= 0 || self.has(Controller::Memory);
        if limits.memory.as_ref().is_some_and(limited) || limits.memory_and_swap.as_ref().is_some_and(limited) {
            self.apply_memory_v1(limits)?;
        }
        if let Some(value) = limits.memory_reservation {
            write_file(
                self.controller(Controller::Memory, "memory reservation")?,
                "memory.soft_limit_in_bytes",
                &value.to_string(),
            )?;
        }
        if let Some(value) = limits.swappiness {
            write_file(self.controller(Controller::Memory, "swappiness")?, "memory.swappiness", &value.to_string())?;
        }
        if let Some(disable) = limits.oom_kill_disable {
            write_file(
                self.controller(Controller::Memory, "oom_kill_disable")?,
                "memory.oom_control",
                if disable { "1" } else { "0" },
            )?;
        }
        // Without the controller there is no limit, which is what a negative value asks for.
        if let Some(value) = limits.pids.filter(|value| *value >= 0 || self.has(Controller::Pids)) {
            write_file(self.controller(Controller::Pids, "pids")?, "pids.max", &max_or(value))?;
        }
        if let Some(value) = limits.cpu_shares {
            write_file(self.controller(Controller::Cpu, "cpu shares")?, "cpu.shares", &value.to_string())?;
        }
        // The period before the quota: the pair must be valid after each write.
        if let Some(value) = limits.cpu_period {
            write_file(self.controller(Controller::Cpu, "cpu period")?, "cpu.cfs_period_us", &value.to_string())?;
        }
        if let Some(value) = limits.cpu_quota {
            write_file(self.controller(Controller::Cpu, "cpu quota")?, "cpu.cfs_quota_us", &value.to_string())?;
        }
        if let Some(value) = limits.cpu_burst {
            write_file(self.controller(Controller::Cpu, "cpu burst")?, "cpu.cfs_burst_us", &value.to_string())?;
        }
        self.apply_cpuset(limits)?;
        if let Some(value) = limits.blkio_weight {
            let directory = self.controller(Controller::Blkio, "blkio weight")?;
            // Schedulers name it differently.
            match write_file(directory, "blkio.bfq.weight", &value.to_string()) {
                Err(error) if error.errno() == Errno::NOENT => {
                    or_not_offered("block I/O weight", write_file(directory, "blkio.weight", &value.to_string()))?;
                }
                other => other?,
            }
        }
        for throttle in &limits.throttle {
            let file = match throttle.kind {
                ThrottleKind::ReadBytes => "blkio.throttle.read_bps_device",
                ThrottleKind::WriteBytes => "blkio.throttle.write_bps_device",
                ThrottleKind::ReadOperations => "blkio.throttle.read_iops_device",
                ThrottleKind::WriteOperations => "blkio.throttle.write_iops_device",
            };
            let value = format!("{}:{} {}", throttle.major, throttle.minor, throttle.rate);
            write_file(self.controller(Controller::Blkio, "device throttle")?, file, &value)?;
        }
        if let Some((name, _)) = limits.unified.first() {
            return Err(Error::new(format!("limit {name:?}: a version 2 file on a version 1 host"), Errno::OPNOTSUPP));
        }
        Ok(())
    }

    fn apply_memory_v1(&self, limits: &Limits) -> Result<()> {
        let directory = self.controller(Controller::Memory, "memory")?;
        let memory = |value: i64| write_file(directory, "memory.limit_in_bytes", &value.to_string());
        let both = |value: i64| match write_file(directory, "memory.memsw.limit_in_bytes", &value.to_string()) {
            // A kernel that does not account swap: memory alone is limited, and swappiness keeps it out of swap.
            Err(error) if error.errno() == Errno::NOENT => write_file(directory, "memory.swappiness", "0"),
            other => other,
        };
        match (limits.memory, limits.memory_and_swap) {
            // Memory may never be above both together, so which is written first depends on what is there: try the
            // order for a new group, then the other (an update that raises both).
            (Some(value), Some(total)) => match memory(value) {
                Ok(()) => both(total),
                Err(error) if error.errno() == Errno::INVAL => both(total).and_then(|()| memory(value)),
                Err(error) => Err(error),
            },
            (Some(value), None) => memory(value),
            (None, Some(total)) => both(total),
            (None, None) => Ok(()),
        }
    }

    fn apply_cpuset(&self, limits: &Limits) -> Result<()> {
        for (file, value) in [("cpuset.cpus", &limits.cpuset_cpus), ("cpuset.mems", &limits.cpuset_mems)] {
            if let Some(value) = value {
                or_not_offered(file, write_file(self.controller(Controller::Cpuset, file)?, file, value))?;
            }
        }
        Ok(())
    }

    fn apply_v2(&self, limits: &Limits) -> Result<()> {
        let Some(directory) = self.unified() else {
            return Err(Error::new("limit any: the group was made in no hierarchy", Errno::OPNOTSUPP));
        };
        let write = |what: &str, file: &str, value: &str| or_not_offered(what, write_file(directory, file, value));
        // A group that was not given the controller has no limit, which is what a negative value asks for.
        let limit = |what: &str, file: &str, value: i64| match write(what, file, &max_or(value)) {
            Err(error) if error.errno() == Errno::OPNOTSUPP && value < 0 => Ok(()),
            other => other,
        };
        if let Some(value) = limits.memory {
            limit("memory", "memory.max", value)?;
        }
        if let Some(total) = limits.memory_and_swap {
            let swap = match (total, limits.memory) {
                (total, Some(memory)) if memory > 0 && total >= 0 => total.saturating_sub(memory).max(0),
                (total, _) => total,
            };
            match limit("memory and swap", "memory.swap.max", swap) {
                // A kernel without swap accounting; "no swap" needs swap to exist.
                Err(error) if error.errno() == Errno::OPNOTSUPP && swap == 0 => {}
                other => other?,
            }
        }
        if let Some(value) = limits.memory_reservation {
            limit("memory reservation", "memory.low", value)?;
        }
        if limits.swappiness.is_some() || limits.oom_kill_disable == Some(true) {
            return Err(Error::new("limit swappiness, oom_kill_disable: version 1 only", Errno::OPNOTSUPP));
        }
        if let Some(value) = limits.pids {
            limit("pids", "pids.max", value)?;
        }
        if let Some(shares) = limits.cpu_shares {
            write("cpu shares", "cpu.weight", &weight_of_shares(shares).to_string())?;
        }
        if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
            let value = format!("{} {}", max_or(limits.cpu_quota.unwrap_or(-1)), limits.cpu_period.unwrap_or(100_000));
            write("cpu quota", "cpu.max", &value)?;
        }
        if let Some(value) = limits.cpu_burst {
            write("cpu burst", "cpu.max.burst", &value.to_string())?;
        }
        self.apply_cpuset(limits)?;
        if let Some(weight) = limits.blkio_weight {
            match write_file(directory, "io.bfq.weight", &format!("default {weight}")) {
                Err(error) if error.errno() == Errno::NOENT => {
                    write("block I/O weight", "io.weight", &format!("default {}", weight_of_blkio(weight)))?;
                }
                other => other?,
            }
        }
        for throttle in &limits.throttle {
            let key = match throttle.kind {
                ThrottleKind::ReadBytes => "rbps",
                ThrottleKind::WriteBytes => "wbps",
                ThrottleKind::ReadOperations => "riops",
                ThrottleKind::WriteOperations => "wiops",
            };
            let value = format!("{}:{} {key}={}", throttle.major, throttle.minor, throttle.rate);
            write("device throttle", "io.max", &value)?;
        }
        for (file, value) in &limits.unified {
            if file.contains('/') {
                return Err(Error::new(format!("limit {file:?}: not the name of a file"), Errno::INVAL));
            }
            write(file, file, value)?;
        }
        Ok(())
    }
}

fn max_or(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// Version 1's 2…262144 as version 2's 1…10000, so that the defaults (1024, 100) meet: the formula that systemd, runc and
/// crun agreed on in 2025, `10^(l²/612 + 125l/612 - 7/34)` with `l = log2(shares)`.
fn weight_of_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    {
        // Both ends are cut off above: the value is between 1 and 10000.
        let l = (shares as f64).log2();
        10_f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil() as u64
    }
}

/// Version 1's 10…1000 as `io.weight`'s 1…10000, the ends on the ends (as crun and runc map it).
fn weight_of_blkio(weight: u16) -> u32 {
    1 + u32::from(weight.clamp(10, 1000) - 10) * 9999 / 990
}

/// A file that is not there is a limit that this group can't have.
fn or_not_offered(what: &str, written: Result<()>) -> Result<()> {
    match written {
        Err(error) if error.errno() == Errno::NOENT => {
            Err(Error::new(format!("limit {what}: the group has no such file: {}", error.call()), Errno::OPNOTSUPP))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_meet_at_the_defaults_and_the_ends() {
        assert_eq!(weight_of_shares(2), 1);
        assert_eq!(weight_of_shares(1024), 100);
        assert_eq!(weight_of_shares(262_144), 10_000);
        assert_eq!((weight_of_blkio(10), weight_of_blkio(1000)), (1, 10_000));
    }
}
