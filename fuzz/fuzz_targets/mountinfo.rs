//! The probe's parser of mount tables: whoever controls a container chooses the names in it.
#![no_main]

use casemate_audit::probe::parse_mountinfo;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let mounts = parse_mountinfo(&text);
    assert!(mounts.len() <= text.lines().count());
    for mount in &mounts {
        assert!(["shared", "slave", "private"].contains(&mount.propagation));
    }
});
