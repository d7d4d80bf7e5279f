//! Signals by number and name, as `kill`, `--stop-signal` and STOPSIGNAL write them.

use casemate_posture::signal::{NAMES, REALTIME_MAX, REALTIME_MIN, number};

use crate::error::{Error, Result};

/// A signal that can be sent to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(u8);

impl Signal {
    /// SIGHUP
    pub const HUP: Self = Self(1);
    /// SIGINT
    pub const INT: Self = Self(2);
    /// SIGKILL
    pub const KILL: Self = Self(9);
    /// SIGTERM
    pub const TERM: Self = Self(15);

    /// The signal with this number, 1 to 64.
    pub fn from_number(number: u8) -> Option<Self> {
        (1..=REALTIME_MAX).contains(&number).then_some(Self(number))
    }

    /// Reads `9`, `KILL`, `SIGKILL`, `RTMIN+3` or `SIGRTMAX-1`, in any case.
    pub fn parse(text: &str) -> Result<Self> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        number(text).map(Self).ok_or_else(|| {
            let hint = casemate_posture::suggest::nearest(bare, NAMES).map_or_else(
                || "known are 1 to 64, names such as SIGTERM, and RTMIN+n".to_owned(),
                |name| format!("did you mean SIG{name}?"),
            );
            Error::invalid("signal", text, hint)
        })
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// `SIGTERM`, `SIGRTMIN+2`, …
    pub fn name(self) -> String {
        match NAMES.get(usize::from(self.0).wrapping_sub(1)) {
            Some(name) => format!("SIG{name}"),
            None if self.0 >= REALTIME_MIN => format!("SIGRTMIN+{}", self.0 - REALTIME_MIN),
            None => self.0.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_in_every_form() {
        for (text, number) in [
            ("9", 9),
            ("kill", 9),
            ("SIGKILL", 9),
            ("SigTerm", 15),
            ("SYS", 31),
            ("WINCH", 28),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("64", 64),
            ("HUP", 1),
        ] {
            assert_eq!(Signal::parse(text).unwrap().number(), number, "{text}");
        }
        assert_eq!(Signal::TERM.name(), "SIGTERM");
        assert_eq!(Signal::parse("37").unwrap().name(), "SIGRTMIN+3");
    }

    #[test]
    fn what_is_no_signal_gets_a_suggestion() {
        for text in ["", "0", "65", "-9", "SIG", "RTMIN+31", "RTMAX-31", "RTMIN-1"] {
            assert!(Signal::parse(text).is_err(), "{text}");
        }
        assert!(Signal::parse("SIGTREM").unwrap_err().to_string().contains("SIGTERM"));
    }
}
