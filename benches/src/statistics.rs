//! Many measurements of one thing, in few numbers.

use std::time::Duration;

use serde::Serialize;

/// Minimum, median and 90th percentile, in milliseconds. The machine is noisy: the minimum is what the work costs, the median is
/// what a person meets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) samples: usize,
    pub(crate) minimum_ms: f64,
    pub(crate) median_ms: f64,
    pub(crate) p90_ms: f64,
}

impl Summary {
    /// `None` without measurements.
    pub(crate) fn of(times: &[Duration]) -> Option<Self> {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let at = |part: usize| sorted.get((sorted.len().saturating_sub(1)) * part / 100).copied();
        Some(Self {
            samples: sorted.len(),
            minimum_ms: milliseconds(at(0)?),
            median_ms: milliseconds(at(50)?),
            p90_ms: milliseconds(at(90)?),
        })
    }
}

/// A time in milliseconds.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends_are_found() {
        let times: Vec<Duration> = (1..=101).rev().map(Duration::from_millis).collect();
        let summary = Summary::of(&times).unwrap();
        assert_eq!(summary.samples, 101);
        assert!((summary.minimum_ms - 1.0).abs() < 1e-9);
        assert!((summary.median_ms - 51.0).abs() < 1e-9);
        assert!((summary.p90_ms - 91.0).abs() < 1e-9);
        assert_eq!(Summary::of(&[]), None);
    }
}
