//! Detach keys: the sequence that leaves a container's terminal without ending anything (Docker's `ctrl-p,ctrl-q`).

/// The longest sequence that is accepted.
const MAX_KEYS: usize = 16;

/// Docker's sequence.
pub(crate) const DEFAULT: &str = "ctrl-p,ctrl-q";

/// Reads Docker's notation: keys separated by commas, each a character or `ctrl-` and one of `a`–`z @ [ \ ] ^ _`.
/// An empty text means that there are no detach keys.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let keys = text.split(',').map(key).collect::<Result<Vec<u8>, String>>()?;
    if keys.len() > MAX_KEYS {
        return Err(format!("{} keys are too many: {MAX_KEYS} at most", keys.len()));
    }
    Ok(keys)
}

fn key(text: &str) -> Result<u8, String> {
    if let [byte] = text.as_bytes()
        && byte.is_ascii()
    {
        return Ok(*byte);
    }
    match text.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([byte @ b'a'..=b'z']) => Ok(byte - b'a' + 1),
        Some([byte @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => Ok(byte - b'@'),
        _ => Err(format!(
            "\"{text}\" is not a key: write a character or ctrl- and one of a-z @ [ \\ ] ^ _, separated by commas (ctrl-p,ctrl-q)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation() {
        assert_eq!(parse(DEFAULT).unwrap(), [0x10, 0x11]);
        assert_eq!(parse("ctrl-@,x,ctrl-]").unwrap(), [0, b'x', 0x1d]);
        assert!(parse("").unwrap().is_empty());
        for wrong in ["ctrl-", "ctrl-1", "ab", "ctrl-P", "é", "a,,b", "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
