//! Moments on the screen and in `--since`: everything is shown in UTC.

use casemate_engine::Timestamp;
use casemate_posture::duration;

use super::age;

/// `2026-11-22 16:59:30 +0000 UTC`, Docker's `CreatedAt`.
pub(crate) fn display(moment: Timestamp) -> String {
    let mut text = Vec::with_capacity(32);
    moment.write_nanos(&mut text);
    let text = String::from_utf8_lossy(&text);
    match (text.get(..10), text.get(11..19)) {
        (Some(date), Some(time)) => format!("{date} {time} +0000 UTC"),
        _ => text.into_owned(),
    }
}

/// How long before `now` the moment was: "2 hours ago".
///
/// A moment in the future (a clock that was set back) is "Less than a second ago", as in Docker.
pub(crate) fn ago(now: Timestamp, then: Timestamp) -> String {
    format!("{} ago", age::duration(now.since(then).as_secs()))
}

/// What `--since` and `--until` take: RFC 3339, seconds since 1970 (`1700000000.5`) or a time ago (`10m`, `1h30m`).
pub(crate) fn parse_bound(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Some(moment) = Timestamp::parse(text) {
        return Ok(moment);
    }
    match duration::parse("a time", text) {
        Ok(ago) => Ok(now.before(ago)),
        Err(_) => Err(format!(
            "\"{text}\" is not a time: write a date (2026-01-31T12:00:00Z), seconds since 1970, or a time ago (90s, 10m, 1h30m)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_date() {
        let moment = Timestamp::parse("2026-11-22T16:59:30.5Z").unwrap();
        assert_eq!(display(moment), "2026-11-22 16:59:30 +0000 UTC");
    }

    #[test]
    fn ages() {
        let now = Timestamp::from_unix(100_000, 0);
        assert_eq!(ago(now, Timestamp::from_unix(100_000 - 7200, 0)), "2 hours ago");
        assert_eq!(ago(now, Timestamp::from_unix(200_000, 0)), "Less than a second ago");
    }

    #[test]
    fn bounds_take_three_forms() {
        let now = Timestamp::from_unix(10_000, 0);
        let seconds = |text: &str| parse_bound(text, now).unwrap().unix_seconds();
        assert_eq!(seconds("1h"), 6400);
        assert_eq!(seconds("1h30m"), 4600);
        assert_eq!(seconds("1700000000"), 1_700_000_000);
        assert_eq!(seconds("1970-01-01"), 0);
        let half = parse_bound("1.5s", now).unwrap();
        assert_eq!((half.unix_seconds(), half.subsecond_nanos()), (9998, 500_000_000));
        assert!(parse_bound("soon", now).unwrap_err().contains("10m"));
        for wrong in ["1x", "", "h", "99999999999999999999h", ".s"] {
            assert!(parse_bound(wrong, now).is_err(), "{wrong}");
        }
    }
}
