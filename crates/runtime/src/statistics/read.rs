//! Statistics read from the files of a control group, of either version.

use std::collections::BTreeMap;

use casemate_kernel::cgroup::{Cgroup, Controller};

use super::{
    Blkio, BlkioEntry, Cpu, CpuUsage, Cpuset, Hugetlb, Memory, MemoryEntry, Pids, Pressure, PressureShare, Statistics,
    Throttling,
};
use crate::cgroup::ContainerGroup;
use crate::error::{Error, Step};

/// One tick of `cpuacct.stat`: `USER_HZ` is 100 on every architecture that this runs on (`proc(5)`).
const NANOSECONDS_A_TICK: u64 = 10_000_000;

impl ContainerGroup {
    /// What the container uses now.
    pub fn statistics(&self) -> Result<Statistics, Error> {
        let files = Files { cgroup: self };
        Ok(Statistics {
            cpu: files.cpu()?,
            cpuset: files.cpuset()?,
            memory: files.memory()?,
            pids: files.pids()?,
            blkio: files.blkio()?,
            hugetlb: files.hugetlb()?,
            intel_rdt: serde_json::Map::new(),
            network_interfaces: None,
        })
    }
}

struct Files<'a> {
    cgroup: &'a Cgroup,
}

impl Files<'_> {
    fn text(&self, controller: Controller, file: &str) -> Result<Option<String>, Error> {
        self.cgroup.read(controller, file).step("read the container's control group")
    }

    /// A file with one number; `max` is the largest.
    fn number(&self, controller: Controller, file: &str) -> Result<Option<u64>, Error> {
        Ok(self.text(controller, file)?.and_then(|text| number(&text)))
    }

    /// A file of lines with a key and a number.
    fn table(&self, controller: Controller, file: &str) -> Result<BTreeMap<String, u64>, Error> {
        Ok(self.text(controller, file)?.map(|text| table(&text)).unwrap_or_default())
    }

    fn is_unified(&self, controller: Controller) -> bool {
        self.cgroup.is_unified(controller) == Some(true)
    }

    fn pressure(&self, controller: Controller, file: &str) -> Result<Option<Pressure>, Error> {
        if !self.is_unified(controller) {
            return Ok(None);
        }
        Ok(self.text(controller, file)?.map(|text| pressure(&text)))
    }

    fn cpu(&self) -> Result<Cpu, Error> {
        let stat = self.table(Controller::Cpu, "cpu.stat")?;
        let value = |key: &str| stat.get(key).copied().unwrap_or(0);
        let (mut throttling, mut usage) = (
            Throttling {
                periods: value("nr_periods"),
                throttled_periods: value("nr_throttled"),
                throttled_time: value("throttled_time"),
            },
            CpuUsage::default(),
        );
        if self.is_unified(Controller::Cpu) {
            // Microseconds.
            throttling.throttled_time = value("throttled_usec").saturating_mul(1000);
            usage.total = value("usage_usec").saturating_mul(1000);
            usage.user = value("user_usec").saturating_mul(1000);
            usage.kernel = value("system_usec").saturating_mul(1000);
        } else {
            usage = self.cpuacct()?;
        }
        Ok(Cpu { usage, throttling, psi: self.pressure(Controller::Cpu, "cpu.pressure")? })
    }

    fn cpuacct(&self) -> Result<CpuUsage, Error> {
        let controller = Controller::Cpuacct;
        let stat = self.table(controller, "cpuacct.stat")?;
        let ticks = |key: &str| stat.get(key).copied().unwrap_or(0).saturating_mul(NANOSECONDS_A_TICK);
        let percpu = self.text(controller, "cpuacct.usage_percpu")?.unwrap_or_default();
        // A header, then "cpu user system".
        let all = self.text(controller, "cpuacct.usage_all")?.unwrap_or_default();
        let column = |index: usize| {
            let field = |line: &str| line.split_ascii_whitespace().nth(index)?.parse().ok();
            all.lines().skip(1).filter_map(field).collect()
        };
        Ok(CpuUsage {
            total: self.number(controller, "cpuacct.usage")?.unwrap_or(0),
            percpu: percpu.split_ascii_whitespace().filter_map(|value| value.parse().ok()).collect(),
            percpu_kernel: column(2),
            percpu_user: column(1),
            kernel: ticks("system"),
            user: ticks("user"),
        })
    }

    fn cpuset(&self) -> Result<Cpuset, Error> {
        let controller = Controller::Cpuset;
        if self.cgroup.is_unified(controller) != Some(false) {
            return Ok(Cpuset::default());
        }
        let value = |name: &str| Ok::<_, Error>(self.number(controller, &format!("cpuset.{name}"))?.unwrap_or(0));
        let members = |name: &str| {
            Ok::<_, Error>(
                self.text(controller, &format!("cpuset.{name}"))?.map(|text| list(&text)).unwrap_or_default(),
            )
        };
        let level = self.text(controller, "cpuset.sched_relax_domain_level")?.unwrap_or_default();
        Ok(Cpuset {
            cpus: members("cpus")?,
            cpu_exclusive: value("cpu_exclusive")?,
            mems: members("mems")?,
            mem_hardwall: value("mem_hardwall")?,
            mem_exclusive: value("mem_exclusive")?,
            memory_migrate: value("memory_migrate")?,
            memory_spread_page: value("memory_spread_page")?,
            memory_spread_slab: value("memory_spread_slab")?,
            memory_pressure: value("memory_pressure")?,
            sched_load_balance: value("sched_load_balance")?,
            sched_relax_domain_level: level.trim().parse().unwrap_or(0),
        })
    }

    fn memory(&self) -> Result<Memory, Error> {
        let raw = self.table(Controller::Memory, "memory.stat")?;
        let value = |key: &str| raw.get(key).copied().unwrap_or(0);
        let psi = self.pressure(Controller::Memory, "memory.pressure")?;
        if !self.is_unified(Controller::Memory) {
            return Ok(Memory {
                cache: value("cache"),
                usage: self.memory_v1("memory")?,
                swap: self.memory_v1("memory.memsw")?,
                kernel: self.memory_v1("memory.kmem")?,
                kernel_tcp: self.memory_v1("memory.kmem.tcp")?,
                raw,
                psi,
            });
        }
        let usage = self.memory_v2("memory")?;
        let mut swap = self.memory_v2("memory.swap")?;
        // As version 1 counts: memory and swap together, whose highest sum nobody knows.
        swap.usage = swap.usage.saturating_add(usage.usage);
        if swap.limit != u64::MAX {
            swap.limit = swap.limit.saturating_add(usage.limit);
        }
        swap.max = 0;
        Ok(Memory { cache: value("file"), usage, swap, raw, psi, ..Memory::default() })
    }

    fn memory_v1(&self, prefix: &str) -> Result<MemoryEntry, Error> {
        let value =
            |name: &str| Ok::<_, Error>(self.number(Controller::Memory, &format!("{prefix}.{name}"))?.unwrap_or(0));
        Ok(MemoryEntry {
            limit: value("limit_in_bytes")?,
            usage: value("usage_in_bytes")?,
            max: value("max_usage_in_bytes")?,
            failcnt: value("failcnt")?,
        })
    }

    fn memory_v2(&self, prefix: &str) -> Result<MemoryEntry, Error> {
        let value =
            |name: &str| Ok::<_, Error>(self.number(Controller::Memory, &format!("{prefix}.{name}"))?.unwrap_or(0));
        Ok(MemoryEntry { limit: value("max")?, usage: value("current")?, max: value("peak")?, failcnt: 0 })
    }

    fn pids(&self) -> Result<Pids, Error> {
        let Some(current) = self.number(Controller::Pids, "pids.current")? else {
            let processes = self.cgroup.processes().step("list the container's processes")?;
            return Ok(Pids { current: processes.len() as u64, limit: 0 });
        };
        let limit = self.number(Controller::Pids, "pids.max")?.filter(|limit| *limit != u64::MAX);
        Ok(Pids { current, limit: limit.unwrap_or(0) })
    }

    fn blkio(&self) -> Result<Blkio, Error> {
        if self.is_unified(Controller::Blkio) {
            let mut blkio = self.text(Controller::Blkio, "io.stat")?.map(|text| io_stat(&text)).unwrap_or_default();
            blkio.psi = self.pressure(Controller::Blkio, "io.pressure")?;
            return Ok(blkio);
        }
        // Whichever scheduler counts; the block layer itself does in any case.
        for prefix in ["blkio.bfq.", "blkio.", "blkio.throttle."] {
            let entries = |name: &str| {
                let text = self.text(Controller::Blkio, &format!("{prefix}{name}"))?;
                Ok::<_, Error>(text.map(|text| blkio_entries(&text)).unwrap_or_default())
            };
            let blkio = Blkio {
                io_service_bytes_recursive: entries("io_service_bytes_recursive")?,
                io_serviced_recursive: entries("io_serviced_recursive")?,
                io_queued_recursive: entries("io_queued_recursive")?,
                io_service_time_recursive: entries("io_service_time_recursive")?,
                io_wait_time_recursive: entries("io_wait_time_recursive")?,
                io_merged_recursive: entries("io_merged_recursive")?,
                io_time_recursive: entries("time_recursive")?,
                sectors_recursive: entries("sectors_recursive")?,
                psi: None,
            };
            if blkio != Blkio::default() {
                return Ok(blkio);
            }
        }
        Ok(Blkio::default())
    }

    fn hugetlb(&self) -> Result<BTreeMap<String, Hugetlb>, Error> {
        let mut sizes = BTreeMap::new();
        let controller = Controller::Hugetlb;
        if self.cgroup.is_unified(controller).is_none() {
            return Ok(sizes);
        }
        for size in page_sizes() {
            let value = |name: &str| {
                // Reserved pages count, where the kernel tells (since Linux 5.7).
                let reserved = self.number(controller, &format!("hugetlb.{size}.rsvd.{name}"))?;
                match reserved {
                    None => self.number(controller, &format!("hugetlb.{size}.{name}")),
                    reserved => Ok(reserved),
                }
            };
            let entry = if self.is_unified(controller) {
                let failures = self.table(controller, &format!("hugetlb.{size}.events"))?;
                value("current")?.map(|usage| Hugetlb {
                    usage,
                    max: 0,
                    failcnt: failures.get("max").copied().unwrap_or(0),
                })
            } else {
                let (max, failcnt) = (value("max_usage_in_bytes")?, value("failcnt")?);
                value("usage_in_bytes")?.map(|usage| Hugetlb {
                    usage,
                    max: max.unwrap_or(0),
                    failcnt: failcnt.unwrap_or(0),
                })
            };
            sizes.extend(entry.map(|entry| (size, entry)));
        }
        Ok(sizes)
    }
}

/// The sizes of huge pages the host has, as control groups name them: `2MB`.
fn page_sizes() -> Vec<String> {
    let Ok(directory) = std::fs::read_dir("/sys/kernel/mm/hugepages") else {
        return Vec::new();
    };
    directory.flatten().filter_map(|entry| page_size(entry.file_name().to_str()?)).collect()
}

/// As the kernel does (`mem_fmt` in `hugetlb_cgroup.c`): `hugepages-2048kB` → `2MB`.
fn page_size(directory: &str) -> Option<String> {
    let kilobytes: u64 = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kilobytes {
        kilobytes if kilobytes >= 1 << 20 => format!("{}GB", kilobytes >> 20),
        kilobytes if kilobytes >= 1 << 10 => format!("{}MB", kilobytes >> 10),
        kilobytes => format!("{kilobytes}KB"),
    })
}

fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

fn table(text: &str) -> BTreeMap<String, u64> {
    let entry = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

/// A list such as `0-2,7`.
fn list(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some(from.parse::<u16>().ok()?..=to.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

fn pressure(text: &str) -> Pressure {
    let share = |name: &str| {
        let mut share = PressureShare::default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default();
        for (key, value) in line.split_ascii_whitespace().filter_map(|field| field.split_once('=')) {
            match key {
                "avg10" => share.avg10 = value.parse().unwrap_or(0.0),
                "avg60" => share.avg60 = value.parse().unwrap_or(0.0),
                "avg300" => share.avg300 = value.parse().unwrap_or(0.0),
                "total" => share.total = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        share
    };
    Pressure { some: share("some"), full: share("full") }
}

/// Lines of `8:0 Read 1282048` or `8:0 6792`; sums over all devices are left out.
fn blkio_entries(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (major, minor) = fields.next()?.split_once(':')?;
        let (second, third) = (fields.next()?, fields.next());
        let (op, value) = third.map_or(("", second), |value| (second, value));
        Some(BlkioEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: op.to_owned(),
            value: value.parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

/// Lines of `8:0 rbytes=1282048 wbytes=… rios=… wios=… …`, in version 1's terms.
fn io_stat(text: &str) -> Blkio {
    let mut blkio = Blkio::default();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some((major, minor)) = fields.next().and_then(|device| device.split_once(':')) else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let (list, op) = match key {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            if let Ok(value) = value.parse() {
                list.push(BlkioEntry { major, minor, op: op.to_owned(), value });
            }
        }
    }
    blkio
}

#[cfg(test)]
mod tests {
    use super::super::Event;
    use super::*;

    #[test]
    fn files_are_read_as_the_kernel_writes_them() {
        assert_eq!(list("0-2,7\n"), [0, 1, 2, 7]);
        assert!(list("\n").is_empty());
        assert_eq!(number("max\n"), Some(u64::MAX));
        assert_eq!(page_size("hugepages-2048kB").as_deref(), Some("2MB"));
        assert_eq!(page_size("hugepages-1048576kB").as_deref(), Some("1GB"));
        assert_eq!(page_size("hugepages-64kB").as_deref(), Some("64KB"));
        let text = "some avg10=1.50 avg60=0.20 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        let read = pressure(text);
        assert_eq!((read.some.avg10, read.some.total), (1.5, 5));
        assert_eq!(read.full, PressureShare::default());
        let entry = |op: &str, value| BlkioEntry { major: 8, minor: 0, op: op.to_owned(), value };
        assert_eq!(blkio_entries("8:0 Read 12\n8:0 Write 0\nTotal 12\n"), [entry("Read", 12), entry("Write", 0)]);
        assert_eq!(blkio_entries("8:0 6792\n"), [entry("", 6792)]);
        let read = io_stat("8:0 rbytes=90 wbytes=1 rios=2 wios=3 dbytes=0 dios=0\n");
        assert_eq!(read.io_service_bytes_recursive, [entry("Read", 90), entry("Write", 1)]);
        assert_eq!(read.io_serviced_recursive, [entry("Read", 2), entry("Write", 3)]);
    }

    #[test]
    fn events_are_written_as_runc_writes_them() {
        let statistics = Statistics {
            pids: Pids { current: 1, limit: 0 },
            memory: Memory { usage: MemoryEntry { limit: 9, usage: 4, max: 5, failcnt: 0 }, ..Memory::default() },
            ..Statistics::default()
        };
        let line = serde_json::to_string(&Event::stats("c1", statistics)).unwrap();
        assert_eq!(
            line,
            concat!(
                r#"{"type":"stats","id":"c1","data":{"cpu":{},"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"#,
                r#""mem_exclusive":0,"memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"#,
                r#""memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"#,
                r#""memory":{"usage":{"limit":9,"usage":4,"max":5,"failcnt":0}},"pids":{"current":1},"#,
                r#""blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}}"#
            )
        );
        assert_eq!(serde_json::to_string(&Event::oom("c1")).unwrap(), r#"{"type":"oom","id":"c1"}"#);
    }
}
