//! Proportional set size: a process's memory, with what it shares divided among those that share it.

use std::fs;

/// The PSS of a process in KiB; `None` when it is gone or can't be seen.
pub(crate) fn pss_kib(pid: u32) -> Option<u64> {
    parse_rollup(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn parse_rollup(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

/// The parent of a process.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_found_and_not_a_part_of_it() {
        let text = "5555-6666 ---p 00000000 00:00 0 [rollup]\nRss:  900 kB\nPss_Dirty: 1 kB\nPss:       640 kB\nPss_Anon: 2 kB\n";
        assert_eq!(parse_rollup(text), Some(640));
        assert_eq!(parse_rollup(""), None);
    }

    #[test]
    fn this_process_has_memory_and_a_parent() {
        assert!(pss_kib(std::process::id()).unwrap() > 0);
        assert!(parent(std::process::id()).is_some());
    }
}
