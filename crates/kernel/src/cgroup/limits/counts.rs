//! What is simply counted: processes, huge pages, RDMA handles and objects.

use super::write::{Generation, Target, Write};
use super::{LimitError, Limits, Result};
use crate::cgroup::Controller;

/// A limit on huge pages of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HugepageLimit {
    /// The size, as the kernel names it: `2MB`, `1GB`.
    pub page_size: String,
    /// Bytes in pages of that size.
    pub limit: u64,
}

/// A limit on an RDMA device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdmaLimit {
    /// The device's name, such as `mlx5_1`.
    pub device: String,
    /// Open handles.
    pub handles: Option<u32>,
    /// Objects.
    pub objects: Option<u32>,
}

impl Limits {
    pub(super) fn write_counts(&self, target: &Target<'_>, writes: &mut Vec<Write>) -> Result<()> {
        match (self.pids, target.version_of(Controller::Pids)) {
            // Without the controller there is no limit, which is what a negative value asks for.
            (None, _) | (Some(..0), None) => {}
            (Some(_), None) => target.require(Controller::Pids, "pids.limit").map(|_| ())?,
            (Some(value), Some(_)) => {
                // Nothing could be started with 0: systemd takes it for 1, and runc since 1.4 with it.
                let value = if value == 0 { "1".to_owned() } else { super::max_or(value) };
                writes.push(Write::new("pids.limit", Controller::Pids, "pids.max", value));
            }
        }
        for HugepageLimit { page_size, limit } in &self.hugepages {
            let field = "hugepageLimits";
            if page_size.is_empty()
                || page_size.len() > 16
                || !page_size.bytes().all(|byte| byte.is_ascii_alphanumeric())
            {
                return Err(LimitError::invalid(
                    field,
                    format_args!("{page_size:?} is no size of a page, such as 2MB"),
                ));
            }
            let (used, reserved) = match target.require(Controller::Hugetlb, field)? {
                Generation::V1 => ("limit_in_bytes", "rsvd.limit_in_bytes"),
                Generation::V2 => ("max", "rsvd.max"),
            };
            let write = |file: &str| {
                Write::new(field, Controller::Hugetlb, format!("hugetlb.{page_size}.{file}"), limit.to_string())
            };
            writes.push(write(used).rare());
            // Since Linux 5.7.
            writes.push(write(reserved).optional());
        }
        for RdmaLimit { device, handles, objects } in &self.rdma {
            if device.is_empty() || device.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
                return Err(LimitError::invalid("rdma", format_args!("{device:?} is no name of a device")));
            }
            target.require(Controller::Rdma, "rdma")?;
            let part =
                |key: &str, value: &Option<u32>| value.map(|value| format!(" {key}={value}")).unwrap_or_default();
            let value = format!("{device}{}{}", part("hca_handle", handles), part("hca_object", objects));
            writes.push(Write::new("rdma", Controller::Rdma, "rdma.max", value).rare());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::Bench;
    use super::super::super::{Cgroup, Site, read_file};
    use super::*;

    #[test]
    fn no_processes_are_one_and_less_are_any_number() {
        let Some(bench) = Bench::new("pids") else { return };
        let cgroup = Cgroup::create(&bench.layout, &bench.path, &[Controller::Pids]).unwrap();
        let Some(directory) = cgroup.directory_of(Controller::Pids) else { return };
        for (asked, written) in [(7, "7"), (0, "1"), (-1, "max")] {
            cgroup.apply(&Limits { pids: Some(asked), ..Limits::default() }).unwrap();
            assert_eq!(read_file(directory, "pids.max").unwrap().trim(), written);
        }
    }

    #[test]
    fn huge_pages_are_limited_wherever_their_controller_is() {
        let Some(bench) = Bench::new("hugetlb") else { return };
        let limits = |page_size: &str| Limits {
            hugepages: vec![HugepageLimit { page_size: page_size.to_owned(), limit: 4 << 20 }],
            ..Limits::default()
        };
        let site = Site::new(&bench.layout, &bench.path, &[Controller::Hugetlb]).unwrap();
        assert_eq!(site.check(&limits("../2MB")).unwrap_err().field(), "hugepageLimits");
        let Some(unified) = site.is_unified(Controller::Hugetlb) else {
            eprintln!("SKIP: needs hugetlb");
            return;
        };
        let cgroup = site.create().unwrap();
        cgroup.apply(&limits("2MB")).unwrap();
        let file = if unified { "hugetlb.2MB.max" } else { "hugetlb.2MB.limit_in_bytes" };
        let directory = cgroup.directory_of(Controller::Hugetlb).unwrap();
        assert_eq!(read_file(directory, file).unwrap().trim(), (4 << 20).to_string());
        let error = cgroup.apply(&limits("3MB")).unwrap_err();
        assert_eq!((error.field(), error.error().errno()), ("hugepageLimits", rustix::io::Errno::OPNOTSUPP));
    }
}
