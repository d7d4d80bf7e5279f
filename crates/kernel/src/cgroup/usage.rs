//! What a group has used and suffered.

use super::{Cgroup, Controller};
use crate::error::Result;

/// How often the out-of-memory killer struck in a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OomKills(pub u64);

impl Cgroup {
    /// Processes of this group that were killed for lack of memory since it was made; none when memory is not controlled.
    pub fn oom_kills(&self) -> Result<OomKills> {
        let unified = self.is_unified(Controller::Memory) == Some(true);
        let file = if unified { "memory.events" } else { "memory.oom_control" };
        let text = self.read(Controller::Memory, file)?.unwrap_or_default();
        Ok(OomKills(value_of(&text, "oom_kill").unwrap_or(0)))
    }

    /// Memory in use, in bytes, when it is controlled.
    pub fn memory_used(&self) -> Option<u64> {
        let unified = self.is_unified(Controller::Memory)?;
        let file = if unified { "memory.current" } else { "memory.usage_in_bytes" };
        self.read(Controller::Memory, file).ok()??.trim().parse().ok()
    }
}

/// The number after a key in a file of "key number" lines.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_matched_whole() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(value_of(text, "oom_kill"), Some(3));
        assert_eq!(value_of(text, "oom"), None);
    }
}
