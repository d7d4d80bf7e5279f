//! Instants as Docker writes them: RFC 3339 in UTC with nanoseconds, from the wall clock and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A point in time, nanoseconds since 1970 in UTC. Written as RFC 3339 with nanoseconds, also in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i128);

impl Timestamp {
    /// What Docker prints for "never": the first instant of year 1.
    pub const NEVER: Self = Self(-62_135_596_800 * NANOS_PER_SECOND);

    /// The wall clock.
    pub fn now() -> Self {
        Self::from_system(SystemTime::now())
    }

    /// The same instant.
    pub fn from_system(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(i128::try_from(after.as_nanos()).unwrap_or(i128::MAX)),
            Err(before) => Self(-i128::try_from(before.duration().as_nanos()).unwrap_or(i128::MAX)),
        }
    }

    /// `seconds` and `nanos` after 1970.
    pub const fn from_unix(seconds: i64, nanos: u32) -> Self {
        Self(seconds as i128 * NANOS_PER_SECOND + nanos as i128)
    }

    /// Whole seconds since 1970, rounded down.
    pub fn unix_seconds(self) -> i64 {
        i64::try_from(self.0.div_euclid(NANOS_PER_SECOND)).unwrap_or(i64::MAX)
    }

    /// The nanoseconds within the second.
    pub fn subsecond_nanos(self) -> u32 {
        u32::try_from(self.0.rem_euclid(NANOS_PER_SECOND)).unwrap_or(0)
    }

    /// How long ago `earlier` was; zero when it is later.
    pub fn since(self, earlier: Self) -> Duration {
        let nanos = u128::try_from(self.0 - earlier.0).unwrap_or(0);
        Duration::new(
            u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX),
            u32::try_from(nanos % 1_000_000_000).unwrap_or(0),
        )
    }

    /// This instant minus `duration`.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0 - i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX / 2))
    }

    /// Reads RFC 3339 (`2026-11-22T17:01:38.5Z`, with any offset), a date and time without a zone (taken as UTC), a date
    /// alone, or seconds since 1970 with an optional fraction. `None` when it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(unix) = parse_unix(text) {
            return Some(unix);
        }
        let (date, rest) = match text.find(['T', 't', ' ']) {
            Some(at) => (text.get(..at)?, text.get(at + 1..)?),
            None => (text, ""),
        };
        let mut parts = date.splitn(3, '-');
        let year = digits(parts.next()?, 4)?;
        let month = digits(parts.next()?, 2)?;
        let day = digits(parts.next()?, 2)?;
        if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        let (seconds, nanos, offset) = if rest.is_empty() { (0, 0, 0) } else { parse_clock(rest)? };
        let total = days_from_civil(year, month, day) * SECONDS_PER_DAY + seconds - offset;
        Some(Self::from_unix(total, nanos))
    }

    /// Writes `2026-11-22T17:01:38.123456789Z` (always nine digits) without allocating more than the line.
    pub fn write_nanos(self, out: &mut Vec<u8>) {
        use std::io::Write as _;
        let (year, month, day, hour, minute, second) = self.civil();
        // Writing to a vector cannot fail.
        let _ = write!(
            out,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z",
            self.subsecond_nanos()
        );
    }

    fn civil(self) -> (i64, i64, i64, i64, i64, i64) {
        let seconds = self.unix_seconds();
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        (year, month, day, of_day / 3600, of_day / 60 % 60, of_day % 60)
    }
}

impl std::fmt::Display for Timestamp {
    /// As Go prints RFC 3339 with nanoseconds: trailing zeros of the fraction are left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day, hour, minute, second) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        let nanos = self.subsecond_nanos();
        if nanos != 0 {
            let fraction = format!("{nanos:09}");
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("'{text}' is not an RFC 3339 time")))
    }
}

fn digits(text: &str, at_most: usize) -> Option<i64> {
    let good = !text.is_empty() && text.len() <= at_most && text.bytes().all(|b| b.is_ascii_digit());
    good.then(|| text.parse().ok()).flatten()
}

fn fraction_nanos(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kept = text.get(..9).unwrap_or(text);
    Some(kept.parse::<u32>().ok()? * 10_u32.pow(u32::try_from(9 - kept.len()).ok()?))
}

fn parse_unix(text: &str) -> Option<Timestamp> {
    let (seconds, nanos) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, fraction_nanos(fraction)?),
        None => (text, 0),
    };
    // Four digits alone would be a year; nobody means the first hours of 1970.
    (seconds.len() > 4).then_some(())?;
    Some(Timestamp::from_unix(digits(seconds, 18)?, nanos))
}

/// `HH:MM[:SS[.fraction]][Z|±HH:MM]` → (seconds of the day, nanoseconds, offset in seconds).
fn parse_clock(text: &str) -> Option<(i64, u32, i64)> {
    let (clock, offset) = if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        (clock, 0)
    } else if let Some(at) = text.rfind(['+', '-']) {
        let sign = if text.as_bytes().get(at) == Some(&b'-') { -1 } else { 1 };
        let (hours, minutes) = text.get(at + 1..)?.split_once(':')?;
        let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
        (hours < 24 && minutes < 60).then_some(())?;
        (text.get(..at)?, sign * (hours * 3600 + minutes * 60))
    } else {
        (text, 0)
    };
    let mut parts = clock.splitn(3, ':');
    let hour = digits(parts.next()?, 2)?;
    let minute = digits(parts.next()?, 2)?;
    let (second, nanos) = match parts.next() {
        None => (0, 0),
        Some(seconds) => match seconds.split_once('.') {
            Some((whole, fraction)) => (digits(whole, 2)?, fraction_nanos(fraction)?),
            None => (digits(seconds, 2)?, 0),
        },
    };
    (hour < 24 && minute < 60 && second <= 60).then_some((hour * 3600 + minute * 60 + second, nanos, offset))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar (Howard Hinnant's algorithm).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_and_read() {
        for (seconds, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_400, 0, "2000-02-29T00:00:00Z"),
            (1_795_366_898, 123_456_789, "2026-11-22T17:01:38.123456789Z"),
            (1_795_366_898, 500_000_000, "2026-11-22T17:01:38.5Z"),
            (-1, 0, "1969-12-31T23:59:59Z"),
        ] {
            let stamp = Timestamp::from_unix(seconds, nanos);
            assert_eq!(stamp.to_string(), text);
            assert_eq!(Timestamp::parse(text), Some(stamp));
        }
        assert_eq!(Timestamp::NEVER.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(Timestamp::parse("0001-01-01T00:00:00Z"), Some(Timestamp::NEVER));
    }

    #[test]
    fn offsets_and_short_forms_are_read() {
        let noon = Timestamp::parse("2026-11-22T12:00:00Z");
        assert!(noon.is_some());
        assert_eq!(Timestamp::parse("2026-11-22T14:00:00+02:00"), noon);
        assert_eq!(Timestamp::parse("2026-11-22T05:30:00-06:30"), noon);
        assert_eq!(Timestamp::parse("2026-11-22T12:00"), noon);
        assert_eq!(Timestamp::parse("2026-11-22 12:00:00"), noon);
        assert_eq!(Timestamp::parse("1795348800.25"), Some(Timestamp::from_unix(1_795_348_800, 250_000_000)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-13-01",
            "2026-02-30",
            "2026-11-22T25:00:00Z",
            "2026-11-22T12:00:00+25:00",
            "é-01-01",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn json_keeps_every_nanosecond() {
        let stamp = Timestamp::from_unix(1_795_366_898, 1);
        let text = serde_json::to_string(&stamp).unwrap();
        assert_eq!(text, "\"2026-11-22T17:01:38.000000001Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), stamp);
        let mut line = Vec::new();
        Timestamp::from_unix(0, 5).write_nanos(&mut line);
        assert_eq!(line, b"1970-01-01T00:00:00.000000005Z");
    }
}
