//! Sizes in words, as `go-units` writes them.

const DECIMAL: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
const BINARY: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Powers of 1000, three significant digits: `12.3MB` (Docker's image sizes).
pub(crate) fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, 3, &DECIMAL)
}

/// Powers of 1024, four significant digits: `512MiB` (Docker's memory sizes).
pub(crate) fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, 4, &BINARY)
}

fn scaled(bytes: u64, base: f64, digits: usize, units: &[&str; 7]) -> String {
    #[allow(clippy::cast_precision_loss)] // three or four digits are shown
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// C's `%.{digits}g` for 0 ≤ value < 10^digits·10 without the exponent form: "1.5", "12", "999".
fn significant(value: f64, digits: usize) -> String {
    let whole = format!("{value:.0}").len();
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_sizes() {
        let cases = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.02kB"),
            (12_345_678, "12.3MB"),
            (128_900_000, "129MB"),
            (2_500_000_000, "2.5GB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, words) in cases {
            assert_eq!(decimal(bytes), words, "{bytes}");
        }
    }

    #[test]
    fn binary_sizes() {
        let cases = [(0, "0B"), (512 << 20, "512MiB"), (1536, "1.5KiB"), (8_200_000_000, "7.637GiB")];
        for (bytes, words) in cases {
            assert_eq!(binary(bytes), words, "{bytes}");
        }
    }
}
