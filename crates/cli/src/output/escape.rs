//! Text from images and containers, made safe to show on a terminal.
//!
//! A label, a command line or a name that came with an image can hold escape sequences that rewrite the screen, the
//! window title or (on some terminals) type commands. Nothing of that kind reaches a terminal through a table.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every control character (C0, DEL, C1) and every character that reorders text replaced by its escape.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, &[])
}

/// As [`visible`], of text with a layout of its own: line breaks and tabs stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, &['\n', '\t'])
}

fn escaped<'a>(text: &'a str, but: &[char]) -> Cow<'a, str> {
    if !text.chars().any(|character| is_unsafe(character) && !but.contains(&character)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            c if but.contains(&c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_unsafe(c) && (c as u32) < 0x100 => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if is_unsafe(c) => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// JSON text with DEL, C1 controls and reordering characters written as JSON escapes (`serde_json` escapes only C0).
pub(crate) fn json(text: String) -> String {
    if !text.chars().any(is_unsafe_in_json) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe_in_json(character) {
            let _ = write!(out, "\\u{:04x}", character as u32);
        } else {
            out.push(character);
        }
    }
    out
}

fn is_unsafe(character: char) -> bool {
    character.is_control() || reorders(character)
}

/// Line breaks stand between the tokens of pretty JSON and are never inside a string.
fn is_unsafe_in_json(character: char) -> bool {
    is_unsafe(character) && character != '\n'
}

/// The bidirectional controls, which make text read otherwise than it is.
fn reorders(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_untouched() {
        assert!(matches!(visible("nginx -g 'daemon off;' été"), Cow::Borrowed(_)));
    }

    #[test]
    fn control_sequences_are_shown() {
        assert_eq!(visible("a\x1b]0;x\x07b\n"), "a\\x1b]0;x\\x07b\\n");
        assert_eq!(visible("\u{9b}2J"), "\\x9b2J");
        assert_eq!(visible("\u{202e}txt"), "\\u202etxt");
    }

    #[test]
    fn json_stays_json() {
        let text = serde_json::to_string("a\u{9b}\u{7f}\x1bb").unwrap();
        let safe = json(text);
        assert!(!safe.chars().any(is_unsafe));
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "a\u{9b}\u{7f}\x1bb");
    }
}
