//! Processors: `--cpus`, `--cpuset-cpus`, `--cpuset-mems`.

use crate::InvalidValue;

/// Reads `1.5` as billionths of a processor; 0 is the default ceiling.
pub fn parse(text: &str) -> Result<Option<u64>, InvalidValue> {
    let invalid =
        |reason: &str| InvalidValue::new("--cpus", text, reason).hint("write a number of processors, as in 1.5");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return Err(invalid("it is not a number"));
    }
    if fraction.len() > 9 {
        return Err(invalid("it has more than nine digits after the point"));
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid("it is too large"))? };
    let part: u64 = format!("{fraction:0<9}").parse().map_err(|_| invalid("it is not a number"))?;
    let nano = whole
        .checked_mul(1_000_000_000)
        .and_then(|nano| nano.checked_add(part))
        .ok_or_else(|| invalid("it is too large"))?;
    match nano {
        0 => Ok(None),
        // The kernel's least quota, a millisecond of the default period.
        1..10_000_000 => Err(invalid("it is below 0.01, the least that the kernel can give")),
        _ => Ok(Some(nano)),
    }
}

/// More processors and nodes than any kernel is built for.
const MOST: u32 = 8192;

/// Checks a list such as `0-3,7`, as the kernel's cpusets take it, and gives it back as it is.
pub fn parse_list(flag: &'static str, text: &str) -> Result<String, InvalidValue> {
    let invalid = |reason: String| InvalidValue::new(flag, text, reason).hint("write numbers and ranges, as in 0-3,7");
    if text.len() > 4096 {
        return Err(invalid("it is longer than 4096 bytes".to_owned()));
    }
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |digits: &str| {
            crate::user::id(digits)
                .filter(|number| *number < MOST)
                .ok_or_else(|| invalid(format!("{digits:?} is no number below {MOST}")))
        };
        if number(first)? > number(last)? {
            return Err(invalid(format!("{part:?} ends before it begins")));
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_processors() {
        assert_eq!(parse("1.5"), Ok(Some(1_500_000_000)));
        assert_eq!(parse("2"), Ok(Some(2_000_000_000)));
        assert_eq!(parse(".5"), Ok(Some(500_000_000)));
        assert_eq!(parse("0"), Ok(None));
        assert_eq!(parse("0.01"), Ok(Some(10_000_000)));
        for bad in ["", ".", "-1", "+1", "1e3", "NaN", "inf", "0.001", "1.2.3", "99999999999999", "1.0000000000"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_of_processors() {
        for good in ["0", "0-3", "0,2,4-7"] {
            assert_eq!(parse_list("--cpuset-cpus", good).as_deref(), Ok(good));
        }
        for bad in ["", "a", "3-1", "0,", "0-", "-1", "1-2-3", "4294967295", "0-1000000000", " 1"] {
            assert!(parse_list("--cpuset-mems", bad).is_err(), "{bad}");
        }
        assert!(parse_list("--cpuset-mems", &"0,".repeat(100_000)).is_err());
    }
}
