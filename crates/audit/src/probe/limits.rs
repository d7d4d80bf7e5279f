//! Resource limits of the process and its standing when memory runs out.

use serde::Serialize;

use super::source::Source;
use super::verdict::{Facts, Judgement};

/// The most open files that a program needs in practice; far more lets a container exhaust the host's.
const MANY_FILES: u64 = 65_536;

/// One resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceLimit {
    /// The kernel's words for it.
    pub name: String,
    /// In force; `None` is unlimited.
    pub soft: Option<u64>,
    /// How far the process may raise it; `None` is unlimited.
    pub hard: Option<u64>,
}

/// Limits of the process itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// All of `/proc/self/limits`.
    pub resources: Vec<ResourceLimit>,
    /// From -1000 (never killed) to 1000 (killed first).
    pub oom_score_adj: Option<i32>,
}

impl Limits {
    pub(crate) fn read(source: &Source) -> Self {
        Self {
            resources: source.text("/proc/self/limits").map(|text| parse(&text)).unwrap_or_default(),
            oom_score_adj: source.line("/proc/self/oom_score_adj").and_then(|line| line.parse().ok()),
        }
    }

    pub(crate) fn judge(&self) -> Judgement {
        let mut facts = Facts::default();
        let limit = |name: &str| self.resources.iter().find(|limit| limit.name == name);
        match limit("Max open files") {
            Some(files) if files.hard.is_none_or(|hard| hard > MANY_FILES) => {
                facts.note(format!(
                    "open files up to {}",
                    files.hard.map_or("any number".to_owned(), |hard| hard.to_string())
                ));
            }
            Some(files) => facts.good(format!("open files {}:{}", files.soft.unwrap_or(0), files.hard.unwrap_or(0))),
            None => {}
        }
        match limit("Max core file size") {
            Some(core) if core.hard == Some(0) => facts.good("no core dumps"),
            Some(_) => facts.note("core dumps can be written"),
            None => {}
        }
        match self.oom_score_adj {
            Some(score) if score < 0 => {
                facts.open(format!("killed after the host's processes when memory runs out ({score})"));
            }
            Some(score) if score > 0 => {
                facts.good(format!("killed before the host's processes when memory runs out ({score})"));
            }
            _ => {}
        }
        facts.judge()
    }
}

/// Parses `/proc/PID/limits`: names with single blanks, columns parted by two or more.
fn parse(text: &str) -> Vec<ResourceLimit> {
    text.lines()
        .skip(1)
        .take(64)
        .filter_map(|line| {
            let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty());
            let name = columns.next()?.to_owned();
            let soft = number(columns.next()?)?;
            let hard = number(columns.next()?)?;
            Some(ResourceLimit { name, soft, hard })
        })
        .collect()
}

/// `Some(None)` for unlimited.
#[allow(clippy::option_option)] // Three answers: ill-formed, unlimited, a number.
fn number(text: &str) -> Option<Option<u64>> {
    if text == "unlimited" { Some(None) } else { text.parse().ok().map(Some) }
}

#[cfg(test)]
mod tests {
    use super::super::verdict::Verdict;
    use super::*;

    const TEXT: &str = concat!(
        "Limit                     Soft Limit           Hard Limit           Units     \n",
        "Max core file size        0                    0                    bytes     \n",
        "Max open files            1024                 4096                 files     \n",
        "Max nice priority         0                    0                    \n",
        "Max stack size            8388608              unlimited            bytes     \n",
        "Broken                    x                    y                    \n",
    );

    #[test]
    fn limits_are_parsed() {
        let limits = parse(TEXT);
        assert_eq!(limits.len(), 4);
        assert_eq!(limits[1], ResourceLimit { name: "Max open files".to_owned(), soft: Some(1024), hard: Some(4096) });
        assert_eq!(limits[3].hard, None);
    }

    #[test]
    fn tight_is_good_and_loose_noted() {
        let mut limits = Limits { resources: parse(TEXT), oom_score_adj: Some(100) };
        assert_eq!(limits.judge().verdict, Verdict::Good);
        limits.resources[1].hard = Some(1_048_576);
        assert_eq!(limits.judge().verdict, Verdict::Note);
        limits.oom_score_adj = Some(-500);
        assert_eq!(limits.judge().verdict, Verdict::Open);
    }
}
