//! Durations and moments in words, as Docker's tables show them.
//!
//! The wording and its limits are those of `go-units` (`HumanDuration`), so that scripts and eyes that know Docker's
//! tables read ours.

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24;

/// A duration of whole seconds in words: "Less than a second", "About a minute", "3 hours", "2 weeks".
pub(crate) fn duration(seconds: u64) -> String {
    let minutes = seconds / MINUTE;
    // Hours are rounded, not cut, as go-units does: 1 h 31 min is "2 hours".
    let hours = (seconds + HOUR / 2) / HOUR;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, ..48) => format!("{hours} hours"),
        _ if hours < DAY * 7 * 2 => format!("{} days", hours / DAY),
        _ if hours < DAY * 30 * 2 => format!("{} weeks", hours / DAY / 7),
        _ if hours < DAY * 365 * 2 => format!("{} months", hours / DAY / 30),
        _ => format!("{} years", seconds / HOUR / DAY / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_go_units() {
        let cases = [
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (45 * 60, "45 minutes"),
            (60 * 60, "About an hour"),
            (90 * 60 - 1, "About an hour"),
            (90 * 60, "2 hours"),
            (45 * 3600, "45 hours"),
            (48 * 3600, "2 days"),
            (13 * 24 * 3600, "13 days"),
            (14 * 24 * 3600, "2 weeks"),
            (59 * 24 * 3600, "8 weeks"),
            (60 * 24 * 3600, "2 months"),
            (729 * 24 * 3600, "24 months"),
            (730 * 24 * 3600, "2 years"),
        ];
        for (seconds, words) in cases {
            assert_eq!(duration(seconds), words, "{seconds} s");
        }
    }
}
