//! `config.json`, as an engine hands it to the OCI runtime: read, checked, and refused by field or turned into a plan.
#![no_main]

use casemate_runtime::bundle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|config: &[u8]| {
    if let Err(error) = bundle::check("fuzz", config) {
        // An error says where, and what: "field: why".
        let text = error.to_string();
        assert!(text.contains(": "), "{text}");
    }
});
