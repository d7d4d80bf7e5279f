//! Memory and swap.

use rustix::io::Errno;

use super::write::{Generation, Target, Write};
use super::{LimitError, Limits, Result, max_or};
use crate::cgroup::{Cgroup, Controller, read_file};
use crate::error::Error;

const MEMORY: Controller = Controller::Memory;

impl Limits {
    pub(super) fn has_memory(&self) -> bool {
        let asked =
            [self.memory, self.memory_and_swap, self.memory_reservation, self.memory_kernel, self.memory_kernel_tcp];
        asked.iter().any(Option::is_some)
            || self.swappiness.is_some()
            || self.oom_kill_disable.is_some()
            || self.use_hierarchy.is_some()
    }

    pub(super) fn write_memory(&self, target: &Target<'_>, writes: &mut Vec<Write>) -> Result<()> {
        if !self.has_memory() {
            return Ok(());
        }
        if let Some(value) = self.swappiness.filter(|value| *value > 100) {
            return Err(LimitError::invalid("memory.swappiness", format_args!("{value} is not 0 to 100")));
        }
        match target.version_of(MEMORY) {
            Some(Generation::V1) => {
                self.write_memory_v1(target, writes);
                Ok(())
            }
            Some(Generation::V2) => self.write_memory_v2(target, writes),
            // Without the controller there is no limit, which is what a negative value asks for.
            None if self.asks_for_no_memory_limit() => Ok(()),
            None => target.require(MEMORY, self.first_memory_field()).map(|_| ()),
        }
    }

    fn asks_for_no_memory_limit(&self) -> bool {
        let amounts =
            [self.memory, self.memory_and_swap, self.memory_reservation, self.memory_kernel, self.memory_kernel_tcp];
        amounts.into_iter().flatten().all(|value| value < 0)
            && self.swappiness.is_none()
            && self.oom_kill_disable != Some(true)
            && self.use_hierarchy.is_none()
    }

    fn first_memory_field(&self) -> &'static str {
        let limited = |value: Option<i64>| value.is_some_and(|value| value >= 0);
        let fields = [
            ("memory.limit", limited(self.memory)),
            ("memory.swap", limited(self.memory_and_swap)),
            ("memory.reservation", limited(self.memory_reservation)),
            ("memory.kernel", limited(self.memory_kernel)),
            ("memory.kernelTCP", limited(self.memory_kernel_tcp)),
            ("memory.swappiness", self.swappiness.is_some()),
            ("memory.disableOOMKiller", self.oom_kill_disable == Some(true)),
        ];
        fields.iter().find(|(_, asked)| *asked).map_or("memory", |(field, _)| field)
    }

    fn write_memory_v1(&self, target: &Target<'_>, writes: &mut Vec<Write>) {
        let write = |field, file: &'static str, value: String| Write::new(field, MEMORY, file, value);
        let mut total = self.memory_and_swap;
        if let Some(value) = self.memory {
            writes.push(write("memory.limit", "memory.limit_in_bytes", value.to_string()));
            // No limit on memory is meant to be none on swap either, unless said otherwise (as runc).
            if value < 0 && total.is_none() {
                total = Some(-1);
            }
        }
        if let Some(value) = total {
            let swap = write("memory.swap", "memory.memsw.limit_in_bytes", value.to_string());
            writes.push(match self.memory {
                // A kernel that does not account swap has nothing to lift.
                _ if value < 0 => swap.optional(),
                // It limits memory alone, and swappiness keeps that out of swap.
                Some(memory) if memory >= value => swap.or("memory.swappiness", "0"),
                _ => swap.rare(),
            });
        }
        if let Some(value) = self.memory_reservation {
            writes.push(write("memory.reservation", "memory.soft_limit_in_bytes", value.to_string()));
        }
        if let Some(value) = self.memory_kernel {
            writes.push(write("memory.kernel", "memory.kmem.limit_in_bytes", value.to_string()).rare());
        }
        if let Some(value) = self.memory_kernel_tcp {
            writes.push(write("memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", value.to_string()).rare());
        }
        if let Some(value) = self.swappiness {
            writes.push(write("memory.swappiness", "memory.swappiness", value.to_string()));
        }
        if let Some(disable) = self.oom_kill_disable {
            writes.push(write("memory.disableOOMKiller", "memory.oom_control", u8::from(disable).to_string()));
        }
        if let Some(use_hierarchy) = self.use_hierarchy {
            let value = u8::from(use_hierarchy).to_string();
            // A kernel that has it off may not switch it on below a group that has; one that has it on needs no write.
            if target.current(MEMORY, "memory.use_hierarchy").is_none_or(|now| now.trim() != value) {
                writes.push(write("memory.useHierarchy", "memory.use_hierarchy", value).rare());
            }
        }
    }

    fn write_memory_v2(&self, target: &Target<'_>, writes: &mut Vec<Write>) -> Result<()> {
        let only_v1 = |asked: bool, field: &str| {
            if asked {
                Err(LimitError::not_offered(field, "version 2 of control groups has no such limit"))
            } else {
                Ok(())
            }
        };
        let limited = |value: Option<i64>| value.is_some_and(|value| value >= 0);
        only_v1(limited(self.memory_kernel), "memory.kernel")?;
        only_v1(limited(self.memory_kernel_tcp), "memory.kernelTCP")?;
        only_v1(self.swappiness.is_some(), "memory.swappiness")?;
        only_v1(self.oom_kill_disable == Some(true), "memory.disableOOMKiller")?;
        only_v1(self.use_hierarchy == Some(false), "memory.useHierarchy")?;
        // Swap before memory: a group that gets smaller is not to push into swap what it may not have there.
        let now = |file: &str| target.current(MEMORY, file).and_then(|text| number(&text));
        if let Some(swap) = self.swap_alone(|| now("memory.max"), || now("memory.swap.max"))? {
            let write = Write::new("memory.swap", MEMORY, "memory.swap.max", max_or(swap));
            // Without swap accounting there is none to be had.
            writes.push(if swap <= 0 { write.optional() } else { write.rare() });
        }
        if let Some(value) = self.memory {
            writes.push(Write::new("memory.limit", MEMORY, "memory.max", max_or(value)));
        }
        if let Some(value) = self.memory_reservation {
            writes.push(Write::new("memory.reservation", MEMORY, "memory.low", max_or(value)));
        }
        Ok(())
    }

    /// Swap without memory, as version 2 counts it; `None` when it stays what it is. `memory_now` and `swap_now` say what
    /// a group in use is limited to, -1 for no limit; of a new one, `None`.
    pub fn swap_alone(
        &self,
        memory_now: impl Fn() -> Option<i64>,
        swap_now: impl Fn() -> Option<i64>,
    ) -> Result<Option<i64>> {
        let memory = self.memory.or_else(|| self.memory_and_swap.and_then(|_| memory_now()));
        match (self.memory_and_swap, memory) {
            (Some(total), _) if total < 0 => Ok(Some(-1)),
            (Some(_), None) => {
                Err(LimitError::invalid("memory.swap", "it is a limit on memory and swap, and there is none on memory"))
            }
            // No limit on memory: then it is one on swap.
            (Some(total), Some(memory)) if memory < 0 => Ok(Some(total)),
            (Some(total), Some(memory)) if total < memory => Err(LimitError::invalid(
                "memory.swap",
                format_args!("{total} for memory and swap is less than {memory} for memory"),
            )),
            (Some(total), Some(memory)) => Ok(Some(total - memory)),
            (None, Some(memory)) if self.memory.is_some() && memory < 0 => Ok(Some(-1)),
            // Memory alone is changed: both together stay what they were.
            (None, Some(memory)) if self.memory.is_some() => {
                let (Some(old_memory), Some(old_swap)) = (memory_now(), swap_now()) else {
                    return Ok(None);
                };
                if old_memory < 0 || old_swap < 0 {
                    return Ok(None);
                }
                let total = old_memory.saturating_add(old_swap);
                if total < memory {
                    let why = format_args!("{memory} is more than {total} that memory and swap are limited to");
                    return Err(LimitError::invalid("memory.limit", why));
                }
                Ok(Some(total - memory))
            }
            (None, _) => Ok(None),
        }
    }
}

impl Cgroup {
    /// Refuses a memory limit that is not above what is used now, if the limits ask for that: version 2 kills to get below
    /// a new limit; version 1 refuses by itself. [`Cgroup::update`] does this, too.
    pub fn check_memory_usage(&self, limits: &Limits) -> Result<()> {
        let Some(place) = self.place(MEMORY).filter(|place| limits.memory_check_before_update && place.unified) else {
            return Ok(());
        };
        let Some(used) = read_file(place.directory, "memory.current").ok().and_then(|text| number(&text)) else {
            return Ok(());
        };
        for (field, limit) in [("memory.swap", limits.memory_and_swap), ("memory.limit", limits.memory)] {
            if let Some(limit) = limit.filter(|limit| (0..=used).contains(limit)) {
                let call = format!("{limit} is not above the {used} bytes in use");
                return Err(LimitError::new(field, Error::new(call, Errno::BUSY)));
            }
        }
        Ok(())
    }
}

/// What a file of version 2 says: `max` is -1.
fn number(text: &str) -> Option<i64> {
    match text.trim() {
        "max" => Some(-1),
        digits => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::Bench;
    use super::*;

    #[test]
    fn memory_and_swap_become_swap_alone() {
        let swap = |memory, total, now: Option<(i64, i64)>| {
            let limits = Limits { memory, memory_and_swap: total, ..Limits::default() };
            let swap = limits.swap_alone(|| now.map(|now| now.0), || now.map(|now| now.1));
            swap.map_err(|error| error.field().to_owned())
        };
        assert_eq!(swap(Some(100), Some(300), None), Ok(Some(200)));
        assert_eq!(swap(Some(100), Some(100), None), Ok(Some(0)));
        assert_eq!(swap(Some(100), Some(-1), None), Ok(Some(-1)));
        assert_eq!(swap(Some(-1), None, None), Ok(Some(-1)));
        assert_eq!(swap(Some(-1), Some(100), None), Ok(Some(100)));
        assert_eq!(swap(Some(100), None, None), Ok(None));
        assert_eq!(swap(None, None, Some((100, 0))), Ok(None));
        assert_eq!(swap(None, Some(100), None), Err("memory.swap".to_owned()));
        assert_eq!(swap(Some(100), Some(50), None), Err("memory.swap".to_owned()));
        // A group in use: the total stays.
        assert_eq!(swap(Some(150), None, Some((100, 200))), Ok(Some(150)));
        assert_eq!(swap(Some(150), None, Some((100, -1))), Ok(None));
        assert_eq!(swap(None, Some(300), Some((100, 0))), Ok(Some(200)));
        assert_eq!(swap(Some(400), None, Some((100, 200))), Err("memory.limit".to_owned()));
    }

    #[test]
    fn memory_and_swap_move_up_and_down_together() {
        let Some(bench) = Bench::new("memory") else { return };
        let cgroup = Cgroup::create(&bench.layout, &bench.path, &[MEMORY]).unwrap();
        let Some(place) = cgroup.place(MEMORY).filter(|place| !place.unified) else { return };
        let read = |file: &str| read_file(place.directory, file).unwrap().trim().parse::<i64>().unwrap();
        let limits = |memory, total| Limits { memory: Some(memory), memory_and_swap: total, ..Limits::default() };
        let mib = 1 << 20;
        cgroup.apply(&limits(64 * mib, Some(128 * mib))).unwrap();
        cgroup.update(&limits(256 * mib, Some(512 * mib))).unwrap();
        cgroup.update(&limits(16 * mib, Some(32 * mib))).unwrap();
        assert_eq!(read("memory.limit_in_bytes"), 16 * mib);
        assert_eq!(read("memory.memsw.limit_in_bytes"), 32 * mib);
        let error = cgroup.update(&limits(64 * mib, None)).unwrap_err();
        assert_eq!((error.field(), error.error().errno()), ("memory.limit", Errno::INVAL));
        cgroup.update(&limits(-1, None)).unwrap();
        assert!(read("memory.limit_in_bytes") > 1 << 60);
        assert!(read("memory.memsw.limit_in_bytes") > 1 << 60);
        let tcp = Limits { memory_kernel_tcp: Some(mib), ..Limits::default() };
        cgroup.update(&tcp).unwrap();
        assert_eq!(read("memory.kmem.tcp.limit_in_bytes"), mib);
    }
}
