//! Container names: what is a name, and a random one when nobody chose.

use crate::error::{Error, Result};

/// What a fortress is like.
const ADJECTIVES: [&str; 64] = [
    "able", "alert", "ample", "ancient", "ardent", "armed", "barred", "bold", "brave", "bright", "calm", "candid",
    "careful", "certain", "civil", "clear", "cool", "daring", "deep", "discreet", "eager", "earnest", "exact", "fair",
    "faithful", "fast", "firm", "frank", "gallant", "gentle", "grand", "guarded", "hardy", "honest", "humble",
    "intact", "just", "keen", "kind", "lasting", "level", "loyal", "lucid", "merry", "modest", "neat", "noble",
    "patient", "plain", "proud", "quiet", "ready", "robust", "sealed", "secure", "sober", "solid", "sound", "stable",
    "steady", "stern", "sturdy", "vigilant", "wary",
];

/// People who built fortresses, locks, ciphers and the machines that they protect.
const SURNAMES: [&str; 64] = [
    "alberti",
    "babbage",
    "bacon",
    "bazeries",
    "bell",
    "blackwell",
    "boole",
    "bramah",
    "brialmont",
    "bryant",
    "chubb",
    "church",
    "clarke",
    "coehoorn",
    "cohen",
    "curie",
    "daguerre",
    "diffie",
    "dijkstra",
    "driscoll",
    "euler",
    "fermat",
    "feistel",
    "friedman",
    "galois",
    "gauss",
    "germain",
    "gibbs",
    "hellman",
    "hobbs",
    "hopper",
    "johnson",
    "kasiski",
    "kerckhoffs",
    "knuth",
    "koblitz",
    "lamport",
    "lamarr",
    "leibniz",
    "liskov",
    "lovelace",
    "marconi",
    "martini",
    "merkle",
    "montalembert",
    "neumann",
    "noether",
    "pagan",
    "pascal",
    "playfair",
    "porta",
    "rejewski",
    "ritchie",
    "rivest",
    "sangallo",
    "shamir",
    "shannon",
    "tartaglia",
    "turing",
    "vauban",
    "vernam",
    "vigenere",
    "yale",
    "yao",
];

/// A name that nobody chose, such as `steady_vauban`; with `attempt` above 0 a digit is added, as Docker does.
pub(crate) fn random(attempt: u32) -> Result<String> {
    let mut bytes = [0_u8; 3];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::kernel("get random bytes for a name")(errno.into()))?;
    let adjective = ADJECTIVES[usize::from(bytes[0]) % ADJECTIVES.len()];
    let surname = SURNAMES[usize::from(bytes[1]) % SURNAMES.len()];
    let suffix = if attempt == 0 { String::new() } else { format!("{}", u32::from(bytes[2]) + attempt * 256) };
    Ok(format!("{adjective}_{surname}{suffix}"))
}

/// Docker's rule, `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, with a bound that every file system takes. One leading `/` is accepted
/// and dropped, because Docker prints names so.
pub(crate) fn check(name: &str) -> Result<&str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let good_rest = bare.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    let good_first = bare.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if good_first && good_rest && (2..=128).contains(&bare.len()) {
        Ok(bare)
    } else {
        Err(Error::invalid(
            "container name",
            name,
            "must be 2 to 128 letters, digits, '_', '.' or '-', the first a letter or digit",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names_are_names() {
        for attempt in 0..4 {
            let name = random(attempt).unwrap();
            assert_eq!(check(&name).unwrap(), name);
        }
    }

    #[test]
    fn every_part_is_there_once() {
        for list in [&ADJECTIVES, &SURNAMES] {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), list.len());
        }
    }

    #[test]
    fn names_that_would_be_paths_or_options_are_refused() {
        for name in ["", "a", "-a", ".hidden", "..", "a/b", "a b", "ä-b", "a\0b", "a\nb", &"x".repeat(129)] {
            assert!(check(name).is_err(), "{name:?}");
        }
        assert_eq!(check("/web-1.a_b").unwrap(), "web-1.a_b");
    }
}
