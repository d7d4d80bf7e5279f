//! Signals by number and name, as `kill`, `--stop-signal` and STOPSIGNAL write them.

/// The signals of Linux on x86 and ARM, by number from 1 on.
pub const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];
/// The first real-time signal that programs are free to use.
pub const REALTIME_MIN: u8 = 34;
/// The highest signal of Linux.
pub const REALTIME_MAX: u8 = 64;

/// Reads `9`, `KILL`, `SIGKILL`, `RTMIN+3` or `SIGRTMAX-1`, in any case.
pub fn number(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=REALTIME_MAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = NAMES.iter().position(|name| *name == bare) {
        return u8::try_from(index + 1).ok();
    }
    let realtime = |offset: &str, base: u8, up: bool| -> Option<u8> {
        let offset: u8 =
            if offset.is_empty() { 0 } else { offset.strip_prefix(if up { '+' } else { '-' })?.parse().ok()? };
        let number = if up { base.checked_add(offset)? } else { base.checked_sub(offset)? };
        (REALTIME_MIN..=REALTIME_MAX).contains(&number).then_some(number)
    };
    match bare {
        "POLL" => Some(29),
        "CLD" => Some(17),
        "IOT" => Some(6),
        _ => bare
            .strip_prefix("RTMIN")
            .and_then(|offset| realtime(offset, REALTIME_MIN, true))
            .or_else(|| bare.strip_prefix("RTMAX").and_then(|offset| realtime(offset, REALTIME_MAX, false))),
    }
}
