//! Processor time, and which processors and memory nodes.

use super::write::{Generation, Target, Write};
use super::{LimitError, Limits, Result, max_or};
use crate::cgroup::Controller;

const CPU: Controller = Controller::Cpu;

/// The kernel's default period, in microseconds (`cgroup-v2.rst`, `cpu.max`).
const DEFAULT_PERIOD: u64 = 100_000;

impl Limits {
    pub(super) fn has_cpu(&self) -> bool {
        self.cpu_shares.is_some()
            || self.cpu_quota.is_some()
            || self.cpu_period.is_some()
            || self.cpu_burst.is_some()
            || self.cpu_realtime_runtime.is_some()
            || self.cpu_realtime_period.is_some()
            || self.cpu_idle.is_some()
    }

    pub(super) fn write_cpu(&self, target: &Target<'_>, writes: &mut Vec<Write>) -> Result<()> {
        if self.has_cpu() {
            self.check_cpu()?;
            match target.version_of(CPU) {
                Some(Generation::V1) => self.write_cpu_v1(writes)?,
                Some(Generation::V2) => self.write_cpu_v2(target, writes)?,
                // Without the controller there is no limit, which is what this asks for.
                None if self.asks_for_no_cpu_limit() => {}
                None => target.require(CPU, self.first_cpu_field()).map(|_| ())?,
            }
        }
        for (field, file, value) in
            [("cpu.cpus", "cpuset.cpus", &self.cpuset_cpus), ("cpu.mems", "cpuset.mems", &self.cpuset_mems)]
        {
            if let Some(value) = value {
                target.require(Controller::Cpuset, field)?;
                writes.push(Write::new(field, Controller::Cpuset, file, value.as_str()));
            }
        }
        Ok(())
    }

    fn check_cpu(&self) -> Result<()> {
        if let Some(idle) = self.cpu_idle.filter(|idle| !matches!(idle, 0 | 1)) {
            return Err(LimitError::invalid("cpu.idle", format_args!("{idle} is neither 0 nor 1")));
        }
        if self.cpu_idle == Some(1) && self.cpu_shares.is_some() {
            return Err(LimitError::invalid("cpu.shares", "an idle group (cpu.idle) has none"));
        }
        Ok(())
    }

    fn asks_for_no_cpu_limit(&self) -> bool {
        self.cpu_quota.is_none_or(|quota| quota < 0)
            && self.cpu_shares.is_none()
            && self.cpu_burst.is_none()
            && self.cpu_realtime_runtime.is_none()
            && self.cpu_realtime_period.is_none()
            && self.cpu_idle.is_none_or(|idle| idle == 0)
    }

    fn first_cpu_field(&self) -> &'static str {
        let fields = [
            ("cpu.shares", self.cpu_shares.is_some()),
            ("cpu.quota", self.cpu_quota.is_some_and(|quota| quota >= 0)),
            ("cpu.period", self.cpu_period.is_some()),
            ("cpu.burst", self.cpu_burst.is_some()),
            ("cpu.realtimeRuntime", self.cpu_realtime_runtime.is_some()),
            ("cpu.realtimePeriod", self.cpu_realtime_period.is_some()),
            ("cpu.idle", self.cpu_idle.is_some()),
        ];
        fields.iter().find(|(_, asked)| *asked).map_or("cpu", |(field, _)| field)
    }

    fn write_cpu_v1(&self, writes: &mut Vec<Write>) -> Result<()> {
        if let Some(value) = self.cpu_idle {
            writes.push(Write::new("cpu.idle", CPU, "cpu.idle", value.to_string()).rare());
        }
        if let Some(value) = self.cpu_shares {
            // The kernel would silently take the nearest.
            if !(2..=262_144).contains(&value) {
                return Err(LimitError::invalid("cpu.shares", format_args!("{value} is not 2 to 262144")));
            }
            writes.push(Write::new("cpu.shares", CPU, "cpu.shares", value.to_string()));
        }
        if let Some(value) = self.cpu_period {
            writes.push(Write::new("cpu.period", CPU, "cpu.cfs_period_us", value.to_string()));
        }
        if let Some(value) = self.cpu_quota {
            writes.push(Write::new("cpu.quota", CPU, "cpu.cfs_quota_us", value.to_string()));
        }
        if let Some(value) = self.cpu_burst {
            writes.push(Write::new("cpu.burst", CPU, "cpu.cfs_burst_us", value.to_string()).rare());
        }
        if let Some(value) = self.cpu_realtime_period {
            writes.push(Write::new("cpu.realtimePeriod", CPU, "cpu.rt_period_us", value.to_string()).rare());
        }
        if let Some(value) = self.cpu_realtime_runtime {
            writes.push(Write::new("cpu.realtimeRuntime", CPU, "cpu.rt_runtime_us", value.to_string()).rare());
        }
        Ok(())
    }

    fn write_cpu_v2(&self, target: &Target<'_>, writes: &mut Vec<Write>) -> Result<()> {
        for (asked, field) in [
            (self.cpu_realtime_runtime.is_some(), "cpu.realtimeRuntime"),
            (self.cpu_realtime_period.is_some(), "cpu.realtimePeriod"),
        ] {
            if asked {
                return Err(LimitError::not_offered(field, "version 2 of control groups has no such limit"));
            }
        }
        if let Some(value) = self.cpu_idle {
            writes.push(Write::new("cpu.idle", CPU, "cpu.idle", value.to_string()).rare());
        }
        if let Some(shares) = self.cpu_shares {
            // A group that is idle takes no weight until it is no more.
            if target.current(CPU, "cpu.idle").is_some_and(|idle| idle.trim() == "1") && self.cpu_idle.is_none() {
                writes.push(Write::new("cpu.shares", CPU, "cpu.idle", "0"));
            }
            writes.push(Write::new("cpu.shares", CPU, "cpu.weight", weight_of_shares(shares).to_string()));
        }
        if self.cpu_quota.is_some() || self.cpu_period.is_some() {
            let field = if self.cpu_quota.is_some() { "cpu.quota" } else { "cpu.period" };
            let now = target.current(CPU, "cpu.max").unwrap_or_default();
            let mut now = now.split_ascii_whitespace();
            let (now_quota, now_period) = (now.next().unwrap_or("max"), now.next().and_then(|text| text.parse().ok()));
            let quota = self.cpu_quota.map_or_else(|| now_quota.to_owned(), max_or);
            let period = self.cpu_period.or(now_period).unwrap_or(DEFAULT_PERIOD);
            writes.push(Write::new(field, CPU, "cpu.max", format!("{quota} {period}")));
        }
        if let Some(value) = self.cpu_burst {
            writes.push(Write::new("cpu.burst", CPU, "cpu.max.burst", value.to_string()).rare());
        }
        Ok(())
    }
}

/// Version 1's 2…262144 as version 2's 1…10000, so that the defaults (1024, 100) meet: the formula that systemd, runc and
/// crun agreed on in 2025, `10^(l²/612 + 125l/612 - 7/34)` with `l = log2(shares)`.
pub fn weight_of_shares(shares: u64) -> u64 {
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

#[cfg(test)]
mod tests {
    use super::super::super::tests::Bench;
    use super::super::super::{Cgroup, read_file};
    use super::*;

    #[test]
    fn weights_meet_at_the_defaults_and_the_ends() {
        assert_eq!(weight_of_shares(2), 1);
        assert_eq!(weight_of_shares(1024), 100);
        assert_eq!(weight_of_shares(262_144), 10_000);
    }

    #[test]
    fn quota_period_and_burst_change_in_any_order() {
        let Some(bench) = Bench::new("cpu") else { return };
        let parent = bench.path.trim_end_matches("/group").to_owned();
        let above = Cgroup::create(&bench.layout, &parent, &[CPU]).unwrap();
        let cgroup = Cgroup::create(&bench.layout, &bench.path, &[CPU]).unwrap();
        let Some(place) = cgroup.place(CPU).filter(|place| !place.unified) else { return };
        let read = |file: &str| read_file(place.directory, file).unwrap().trim().to_owned();
        let limits = |quota, period, burst| Limits {
            cpu_quota: quota,
            cpu_period: period,
            cpu_burst: burst,
            ..Limits::default()
        };
        // Half a processor for the group above: the ratio below it is checked at each write.
        above.apply(&limits(Some(50_000), Some(100_000), None)).unwrap();
        cgroup.apply(&limits(Some(40_000), Some(100_000), None)).unwrap();
        cgroup.update(&limits(Some(4000), Some(10_000), None)).unwrap();
        assert_eq!((read("cpu.cfs_quota_us"), read("cpu.cfs_period_us")), ("4000".into(), "10000".into()));
        cgroup.update(&limits(Some(400_000), Some(1_000_000), Some(100_000))).unwrap();
        assert_eq!((read("cpu.cfs_quota_us"), read("cpu.cfs_burst_us")), ("400000".into(), "100000".into()));
        cgroup.update(&limits(None, Some(900_000), None)).unwrap();
        assert_eq!((read("cpu.cfs_quota_us"), read("cpu.cfs_period_us")), ("400000".into(), "900000".into()));
        let error = cgroup.update(&limits(Some(900_000), None, None)).unwrap_err();
        assert_eq!(error.field(), "cpu.quota");
        cgroup.remove().unwrap();
    }

    #[test]
    fn what_is_wrong_on_any_host_is_refused() {
        let Some(bench) = Bench::new("cpu-values") else { return };
        let cgroup = Cgroup::create(&bench.layout, &bench.path, &[CPU]).unwrap();
        let field = |limits: Limits| cgroup.apply(&limits).unwrap_err().field().to_owned();
        assert_eq!(field(Limits { cpu_idle: Some(2), ..Limits::default() }), "cpu.idle");
        assert_eq!(field(Limits { cpu_idle: Some(1), cpu_shares: Some(2), ..Limits::default() }), "cpu.shares");
        assert_eq!(field(Limits { cpuset_cpus: Some("0".into()), ..Limits::default() }), "cpu.cpus");
    }
}
