//! Sizes: `512m`, `1.5g`, `1024`.

use crate::InvalidValue;

/// Reads a size as Docker does: a number, whole or with a decimal point, and b, k, m, g, t or p (with or without `b` or `ib`
/// after it, in any case; always powers of 1024). Bytes without a unit.
pub fn parse(flag: &'static str, text: &str) -> Result<u64, InvalidValue> {
    let form = "write a number with b, k, m, g or t, as in 512m";
    let invalid = |reason: String| InvalidValue::new(flag, text, reason).hint(form);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Err(invalid(
            if text.starts_with('-') { "a size can't be negative" } else { "there is no number" }.to_owned(),
        ));
    }
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        other => return Err(invalid(format!("unknown unit {other:?}"))),
    };
    let too_large = || InvalidValue::new(flag, text, "it is larger than 2^63 - 1 bytes");
    let (whole, fraction) = match number.split_once('.') {
        Some((_, fraction)) if fraction.contains('.') => {
            return Err(invalid(format!("{number:?} is not a number")));
        }
        Some((whole, fraction)) if !whole.is_empty() || !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(invalid(format!("{number:?} is not a number"))),
        None => (number, ""),
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_large())? };
    // Twelve digits after the point are more than any unit can tell apart by a byte that matters.
    let digits = &fraction[..fraction.len().min(12)];
    let scale = 10_u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    let part: u128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| too_large())? };
    let bytes = (u128::from(whole) << shift) + ((part << shift) / scale);
    u64::try_from(bytes).ok().filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(text: &str) -> u64 {
        parse("--memory", text).unwrap()
    }

    #[test]
    fn reads_what_docker_reads() {
        assert_eq!(ok("0"), 0);
        assert_eq!(ok("1024"), 1024);
        assert_eq!(ok("1b"), 1);
        assert_eq!(ok("512m"), 512 << 20);
        assert_eq!(ok("512M"), 512 << 20);
        assert_eq!(ok("512MB"), 512 << 20);
        assert_eq!(ok("512MiB"), 512 << 20);
        assert_eq!(ok("1.5g"), 3 << 29);
        assert_eq!(ok(".5k"), 512);
        assert_eq!(ok("2."), 2);
        assert_eq!(ok("1 g"), 1 << 30);
        assert_eq!(ok("3t"), 3 << 40);
    }

    #[test]
    fn refuses_the_rest_with_words() {
        let message = |text| parse("--memory", text).unwrap_err().to_string();
        assert_eq!(
            message("512x"),
            "invalid value \"512x\" for --memory: unknown unit \"x\"; write a number with b, k, m, g or t, as in 512m"
        );
        assert!(message("").contains("no number"));
        assert!(message("m").contains("no number"));
        assert!(message("-1").contains("negative"));
        assert!(message("+1").contains("no number"));
        assert!(message(".").contains("not a number"));
        assert!(message("1.2.3").contains("not a number"));
        assert!(message("9223372036854775808").contains("larger"));
        assert!(message("99999999p").contains("larger"));
        assert!(message("99999999999999999999999999999999999999").contains("larger"));
        assert!(message("1e3").contains("unknown unit"));
        assert_eq!(ok("9223372036854775807"), i64::MAX.unsigned_abs());
    }
}
