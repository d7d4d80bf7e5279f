//! Container ids: 64 hexadecimal digits, random, so that nobody has to ask anybody which are taken.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

const DIGITS: usize = 64;
const SHORT: usize = 12;

/// The id of a container.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Box<str>);

impl ContainerId {
    /// A new random id (256 bits from the kernel).
    pub fn random() -> Result<Self> {
        let mut bytes = [0_u8; DIGITS / 2];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
                .map_err(|errno| Error::kernel("get random bytes for an id")(errno.into()))?;
        }
        let mut text = String::with_capacity(DIGITS);
        for byte in bytes {
            for half in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(half), 16).unwrap_or('0'));
            }
        }
        // An id of decimal digits only would be taken for a number by some tools that read it as a host name.
        if text.get(..SHORT).is_some_and(|short| short.bytes().all(|b| b.is_ascii_digit())) {
            return Self::random();
        }
        Ok(Self(text.into()))
    }

    /// The id that this text is, if it is one in full.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == DIGITS && is_hex(text)).then(|| Self(text.into()))
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, which people use.
    pub fn short(&self) -> &str {
        self.0.get(..SHORT).unwrap_or(&self.0)
    }

    /// A number below `bound` that follows from the id alone.
    pub(crate) fn spread(&self, bound: u32) -> u32 {
        let first = self.0.get(..8).and_then(|text| u32::from_str_radix(text, 16).ok()).unwrap_or(0);
        if bound == 0 { 0 } else { first % bound }
    }
}

/// Whether the text could be the beginning of an id.
pub(crate) fn is_prefix(text: &str) -> bool {
    !text.is_empty() && text.len() <= DIGITS && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl std::fmt::Display for ContainerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.short())
    }
}

impl Serialize for ContainerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("'{text}' is not a container id")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_ids_and_differ() {
        let (a, b) = (ContainerId::random().unwrap(), ContainerId::random().unwrap());
        assert_ne!(a, b);
        assert_eq!(ContainerId::parse(a.as_str()), Some(a.clone()));
        assert_eq!(a.short().len(), 12);
        assert!(a.spread(4093) < 4093);
        assert_eq!(a.spread(0), 0);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "abc", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65)] {
            assert!(ContainerId::parse(text).is_none(), "{text}");
        }
        assert!(is_prefix("0af"));
        assert!(!is_prefix(""));
        assert!(!is_prefix("../x"));
    }
}
