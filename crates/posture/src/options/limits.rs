//! The flags that limit what a container may use.

use super::{Error, Options};
use crate::limits::{Limits, Throttle};
use crate::{InvalidValue, bytes, cpu, path, ulimit};

impl Options {
    pub(super) fn limits(&self, limits: &mut Limits) -> Result<(), Error> {
        self.memory(limits)?;
        self.processors(limits)?;
        if let Some(text) = &self.pids_limit {
            limits.pids = match text.as_str() {
                "0" | "-1" => None,
                digits => Some(number("--pids-limit", digits, 1, 1 << 22)?),
            };
        }
        ulimit::apply(&self.ulimit, &mut limits.ulimits)?;
        if let Some(text) = &self.blkio_weight {
            let weight = number("--blkio-weight", text, 0, 1000)?;
            if (1..10).contains(&weight) {
                return Err(InvalidValue::new("--blkio-weight", text, "it is not from 10 to 1000").into());
            }
            limits.blkio_weight = u16::try_from(weight).ok().filter(|weight| *weight > 0);
        }
        limits.device_read_bps = throttles("--device-read-bps", &self.device_read_bps, true)?;
        limits.device_write_bps = throttles("--device-write-bps", &self.device_write_bps, true)?;
        limits.device_read_iops = throttles("--device-read-iops", &self.device_read_iops, false)?;
        limits.device_write_iops = throttles("--device-write-iops", &self.device_write_iops, false)?;
        if let Some(text) = &self.shm_size {
            limits.shm_size = match bytes::parse("--shm-size", text)? {
                0 => {
                    return Err(InvalidValue::new("--shm-size", text, "it has to be more than 0").into());
                }
                size => size,
            };
        }
        if let Some(text) = &self.oom_score_adj {
            limits.oom_score_adj = text
                .parse()
                .ok()
                .filter(|score| (-1000..=1000).contains(score))
                .ok_or_else(|| InvalidValue::new("--oom-score-adj", text, "it is no number from -1000 to 1000"))?;
        }
        limits.oom_kill_disable = self.oom_kill_disable;
        Ok(())
    }

    fn memory(&self, limits: &mut Limits) -> Result<(), Error> {
        /// Docker's least: less than this and a process can't even start.
        const LEAST: u64 = 6 << 20;
        if let Some(text) = &self.memory {
            limits.memory = match bytes::parse("--memory", text)? {
                0 => None,
                bytes if bytes < LEAST => {
                    return Err(InvalidValue::new(
                        "--memory",
                        text,
                        "it is below 6m, the least that a container can start in",
                    )
                    .into());
                }
                bytes => Some(bytes),
            };
            // No swap, whatever the memory.
            limits.memory_swap = limits.memory;
        }
        if let Some(text) = &self.memory_swap {
            let invalid = |reason: &str| InvalidValue::new("--memory-swap", text, reason);
            limits.memory_swap = match (text.as_str(), limits.memory) {
                ("-1", _) => None,
                ("0" | "", memory) => memory,
                (_, None) => {
                    return Err(invalid("it counts memory and swap together, and memory is not limited").into());
                }
                (sum, Some(memory)) => match bytes::parse("--memory-swap", sum)? {
                    sum if sum < memory => {
                        return Err(invalid("it counts memory and swap together, and is below --memory")
                            .hint("say the same as --memory for no swap, or -1 for as much as there is")
                            .into());
                    }
                    sum => Some(sum),
                },
            };
        }
        if let Some(text) = &self.memory_reservation {
            let reservation = bytes::parse("--memory-reservation", text)?;
            if limits.memory.is_some_and(|memory| reservation > memory) {
                return Err(InvalidValue::new("--memory-reservation", text, "it is above --memory").into());
            }
            limits.memory_reservation = (reservation > 0).then_some(reservation);
        }
        if let Some(text) = self.memory_swappiness.as_deref().filter(|text| *text != "-1") {
            limits.memory_swappiness = u8::try_from(number("--memory-swappiness", text, 0, 100)?).ok();
        }
        if self.oom_kill_disable && limits.memory.is_none() {
            let why = "when the host's memory is used up, nothing could be killed for it";
            return Err(Error::Conflict("--oom-kill-disable".into(), "--memory 0".into(), why.into()));
        }
        Ok(())
    }

    fn processors(&self, limits: &mut Limits) -> Result<(), Error> {
        // 0 is "not said", as API bodies write it.
        let said = |text: &Option<String>| text.clone().filter(|text| text != "0");
        let (quota, period) = (said(&self.cpu_quota), said(&self.cpu_period));
        if let Some(text) = &self.cpus {
            limits.nano_cpus = cpu::parse(text)?;
            if limits.nano_cpus.is_some() && (quota.is_some() || period.is_some()) {
                let why = "the first is a short form of the others";
                return Err(Error::Conflict("--cpus".into(), "--cpu-quota or --cpu-period".into(), why.into()));
            }
        }
        limits.cpu_period = period.map(|text| number("--cpu-period", &text, 1000, 1_000_000)).transpose()?;
        limits.cpu_quota = match quota.as_deref() {
            None => None,
            Some("-1") => Some(-1),
            Some(text) => i64::try_from(number("--cpu-quota", text, 1000, 1 << 44)?).ok(),
        };
        if let Some(text) = self.cpu_shares.as_deref().filter(|text| *text != "0") {
            limits.cpu_shares = Some(number("--cpu-shares", text, 2, 262_144)?);
        }
        let list = |flag, text: &Option<String>| {
            text.as_deref().filter(|text| !text.is_empty()).map(|text| cpu::parse_list(flag, text)).transpose()
        };
        limits.cpuset_cpus = list("--cpuset-cpus", &self.cpuset_cpus)?;
        limits.cpuset_mems = list("--cpuset-mems", &self.cpuset_mems)?;
        Ok(())
    }
}

/// A plain number from `least` to `most`.
fn number(flag: &'static str, text: &str, least: u64, most: u64) -> Result<u64, InvalidValue> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| plain && (least..=most).contains(number))
        .ok_or_else(|| InvalidValue::new(flag, text, format!("it is no number from {least} to {most}")))
}

/// `DEVICE:RATE`, in bytes (with a unit) or in operations.
fn throttles(flag: &'static str, texts: &[String], in_bytes: bool) -> Result<Vec<Throttle>, InvalidValue> {
    let one = |text: &String| {
        let (device, rate) = text.rsplit_once(':').ok_or_else(|| {
            InvalidValue::new(flag, text, "there is no \":\"").hint("write DEVICE:RATE, as in /dev/sda:10m")
        })?;
        let device = path::source(flag, text, device)?;
        if !device.starts_with("/dev/") {
            return Err(InvalidValue::new(flag, text, format!("{device:?} is not under /dev")));
        }
        let rate = if in_bytes { bytes::parse(flag, rate)? } else { number(flag, rate, 0, u64::MAX >> 1)? };
        Ok(Throttle { device, rate })
    };
    texts.iter().map(one).collect()
}
