//! Image references, digests and `--change`.
#![no_main]

use casemate_image::{Change, Digest, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse(text) {
        // What is shown, in full or in short, names the same image again.
        for shown in [reference.to_string(), reference.familiar()] {
            let again = Reference::parse(&shown).expect("what is shown can be read");
            assert_eq!(again, reference, "{text:?} is shown as {shown:?}");
        }
        assert!(!reference.path().split('/').any(|part| part.is_empty() || part == "." || part == ".."));
    }
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::from_hex(&digest.hex()), Some(digest));
    }
    let _ = Change::parse(text);
});
