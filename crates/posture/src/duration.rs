//! Spans of time: `10`, `1.5s`, `1m30s`, `250ms`.

use std::time::Duration;

use crate::InvalidValue;

/// Reads a span as Go does (`1h2m3.5s`), or a plain number of seconds.
pub fn parse(flag: &'static str, text: &str) -> Result<Duration, InvalidValue> {
    let invalid = |reason: &str| InvalidValue::new(flag, text, reason).hint("write seconds, or as in 1m30s or 250ms");
    if text.is_empty() {
        return Err(invalid("it is empty"));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map(Duration::from_secs).map_err(|_| invalid("it is too long"));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| invalid("there is no unit at its end"))?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let nanos: u64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(invalid("it has a unit other than h, m, s, ms, us and ns")),
        };
        let part =
            scaled(number, nanos).ok_or_else(|| invalid("it has a number that is none, or that is too large"))?;
        total = total.checked_add(part).ok_or_else(|| invalid("it is too long"))?;
        rest = tail;
    }
    Ok(total)
}

/// `number`, whole or with a point, of units of `nanos`.
fn scaled(number: &str, nanos: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { u128::from(whole.parse::<u64>().ok()?) };
    let digits = &fraction[..fraction.len().min(18)];
    let part: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
    let total = whole.checked_mul(nanos.into())?.checked_add(part * u128::from(nanos) / scale)?;
    let seconds = u64::try_from(total / 1_000_000_000).ok()?;
    let rest = u32::try_from(total % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let ok = |text| parse("--stop-timeout", text).unwrap();
        assert_eq!(ok("10"), Duration::from_secs(10));
        assert_eq!(ok("1m30s"), Duration::from_secs(90));
        assert_eq!(ok("250ms"), Duration::from_millis(250));
        assert_eq!(ok("1.5h"), Duration::from_secs(5400));
        assert_eq!(ok("1us"), Duration::from_micros(1));
        assert_eq!(ok("0"), Duration::ZERO);
        for bad in [
            "",
            "s",
            "1x",
            "1m30",
            "-1s",
            "1.2.3s",
            ".s",
            "1 s",
            "99999999999999999999",
            "99999999999999999999h",
            "9999999999999999999h",
        ] {
            assert!(parse("--since", bad).is_err(), "{bad}");
        }
    }
}
