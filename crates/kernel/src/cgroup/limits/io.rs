//! Block devices: weights and ceilings.

use super::write::{Generation, Target, Write};
use super::{LimitError, Limits, Result};
use crate::cgroup::Controller;

const BLKIO: Controller = Controller::Blkio;

/// The weight of a group on one block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceWeight {
    /// Device number.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// As `blkio_weight`.
    pub weight: Option<u16>,
    /// As `blkio_leaf_weight`.
    pub leaf_weight: Option<u16>,
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
    /// Bytes or operations a second; 0 for no ceiling.
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

impl ThrottleKind {
    fn field(self) -> &'static str {
        match self {
            Self::ReadBytes => "blockIO.throttleReadBpsDevice",
            Self::WriteBytes => "blockIO.throttleWriteBpsDevice",
            Self::ReadOperations => "blockIO.throttleReadIOPSDevice",
            Self::WriteOperations => "blockIO.throttleWriteIOPSDevice",
        }
    }

    fn v1_file(self) -> &'static str {
        match self {
            Self::ReadBytes => "blkio.throttle.read_bps_device",
            Self::WriteBytes => "blkio.throttle.write_bps_device",
            Self::ReadOperations => "blkio.throttle.read_iops_device",
            Self::WriteOperations => "blkio.throttle.write_iops_device",
        }
    }

    fn v2_key(self) -> &'static str {
        match self {
            Self::ReadBytes => "rbps",
            Self::WriteBytes => "wbps",
            Self::ReadOperations => "riops",
            Self::WriteOperations => "wiops",
        }
    }
}

impl Limits {
    pub(super) fn has_io(&self) -> bool {
        self.blkio_weight.is_some()
            || self.blkio_leaf_weight.is_some()
            || !self.device_weights.is_empty()
            || !self.throttle.is_empty()
    }

    pub(super) fn write_io(&self, target: &Target<'_>, writes: &mut Vec<Write>) -> Result<()> {
        if !self.has_io() {
            return Ok(());
        }
        check_weight("blockIO.weight", self.blkio_weight)?;
        check_weight("blockIO.leafWeight", self.blkio_leaf_weight)?;
        for device in &self.device_weights {
            check_weight("blockIO.weightDevice", device.weight)?;
            check_weight("blockIO.weightDevice", device.leaf_weight)?;
        }
        match target.require(BLKIO, self.first_io_field())? {
            Generation::V1 => self.write_io_v1(writes),
            Generation::V2 => self.write_io_v2(writes)?,
        }
        Ok(())
    }

    fn first_io_field(&self) -> &'static str {
        match self.throttle.first() {
            _ if self.blkio_weight.is_some() => "blockIO.weight",
            _ if self.blkio_leaf_weight.is_some() => "blockIO.leafWeight",
            Some(throttle) if self.device_weights.is_empty() => throttle.kind.field(),
            _ => "blockIO.weightDevice",
        }
    }

    fn write_io_v1(&self, writes: &mut Vec<Write>) {
        // The file is named after the scheduler.
        if let Some(weight) = self.blkio_weight {
            let write = Write::new("blockIO.weight", BLKIO, "blkio.weight", weight.to_string());
            writes.push(write.or("blkio.bfq.weight", weight.to_string()).rare());
        }
        if let Some(weight) = self.blkio_leaf_weight {
            writes.push(Write::new("blockIO.leafWeight", BLKIO, "blkio.leaf_weight", weight.to_string()).rare());
        }
        for DeviceWeight { major, minor, weight, leaf_weight } in &self.device_weights {
            let field = "blockIO.weightDevice";
            if let Some(weight) = weight {
                let value = format!("{major}:{minor} {weight}");
                let write = Write::new(field, BLKIO, "blkio.weight_device", value.as_str());
                writes.push(write.or("blkio.bfq.weight_device", value).rare());
            }
            if let Some(weight) = leaf_weight {
                let value = format!("{major}:{minor} {weight}");
                writes.push(Write::new(field, BLKIO, "blkio.leaf_weight_device", value).rare());
            }
        }
        for Throttle { kind, major, minor, rate } in &self.throttle {
            writes.push(Write::new(kind.field(), BLKIO, kind.v1_file(), format!("{major}:{minor} {rate}")).rare());
        }
    }

    fn write_io_v2(&self, writes: &mut Vec<Write>) -> Result<()> {
        let leaf = self.device_weights.iter().any(|device| device.leaf_weight.is_some());
        for (asked, field) in [(self.blkio_leaf_weight.is_some(), "blockIO.leafWeight"), (leaf, "blockIO.weightDevice")]
        {
            if asked {
                return Err(LimitError::not_offered(field, "version 2 of control groups has no leaf weight"));
            }
        }
        if let Some(weight) = self.blkio_weight {
            let write = Write::new("blockIO.weight", BLKIO, "io.bfq.weight", weight.to_string());
            writes.push(write.or("io.weight", io_weight(weight).to_string()).rare());
        }
        for DeviceWeight { major, minor, weight, .. } in &self.device_weights {
            if let Some(weight) = *weight {
                let value = format!("{major}:{minor} {weight}");
                let write = Write::new("blockIO.weightDevice", BLKIO, "io.bfq.weight", value);
                writes.push(write.or("io.weight", format!("{major}:{minor} {}", io_weight(weight))).rare());
            }
        }
        for Throttle { kind, major, minor, rate } in &self.throttle {
            let rate = if *rate == 0 { "max".to_owned() } else { rate.to_string() };
            let value = format!("{major}:{minor} {}={rate}", kind.v2_key());
            writes.push(Write::new(kind.field(), BLKIO, "io.max", value).rare());
        }
        Ok(())
    }
}

fn check_weight(field: &str, weight: Option<u16>) -> Result<()> {
    match weight {
        Some(weight) if !(10..=1000).contains(&weight) => {
            Err(LimitError::invalid(field, format_args!("{weight} is not 10 to 1000")))
        }
        _ => Ok(()),
    }
}

/// Version 1's 10…1000 as `io.weight`'s 1…10000, the ends on the ends (as crun and runc map it).
pub fn io_weight(weight: u16) -> u32 {
    1 + u32::from(weight.clamp(10, 1000) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::Bench;
    use super::super::super::{Layout, Site, read_file};
    use super::*;

    #[test]
    fn weights_meet_at_the_ends() {
        assert_eq!((io_weight(10), io_weight(1000)), (1, 10_000));
    }

    fn with_weight() -> Limits {
        Limits { blkio_weight: Some(300), ..Limits::default() }
    }

    #[test]
    fn a_weight_lands_in_the_file_the_kernel_has() {
        let Some(bench) = Bench::new("io") else { return };
        let site = Site::new(&bench.layout, &bench.path, &[BLKIO]).unwrap();
        if site.is_unified(BLKIO) != Some(false) {
            eprintln!("SKIP: needs blkio of version 1");
            return;
        }
        let cgroup = site.create().unwrap();
        match cgroup.apply(&with_weight()) {
            Err(error) if error.error().errno() == rustix::io::Errno::OPNOTSUPP => {
                // A kernel without a scheduler that weighs.
                assert_eq!(error.field(), "blockIO.weight");
                return;
            }
            applied => applied.unwrap(),
        }
        let directory = cgroup.directory_of(BLKIO).unwrap();
        let text = read_file(directory, "blkio.weight").or_else(|_| read_file(directory, "blkio.bfq.weight")).unwrap();
        assert_eq!(text.trim(), "300");
    }

    #[test]
    fn what_the_host_lacks_is_known_before_anything_is_made() {
        let Ok(layout) = Layout::detect() else { return };
        let site = Site::new(&layout, "/casemate-test-never-made/group", &[Controller::Pids]).unwrap();
        assert_eq!(site.check(&with_weight()).unwrap_err().field(), "blockIO.weight");
        let throttle = Throttle { kind: ThrottleKind::WriteOperations, major: 8, minor: 0, rate: 1 };
        let limits = Limits { throttle: vec![throttle], ..Limits::default() };
        assert_eq!(site.check(&limits).unwrap_err().field(), "blockIO.throttleWriteIOPSDevice");
        let limits = Limits { blkio_weight: Some(5), ..Limits::default() };
        assert_eq!(
            site.check(&limits).unwrap_err().to_string(),
            "blockIO.weight: 5 is not 10 to 1000: Invalid argument (os error 22)"
        );
    }
}
