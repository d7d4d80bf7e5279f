//! Docker's seccomp profiles, as `--security-opt seccomp=FILE` reads them.
#![no_main]

use casemate_posture::CapabilitySet;
use casemate_posture::seccomp::{Arch, Profile};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(profile) = Profile::parse(text) else { return };
    // An empty profile would be no filter at all.
    assert!(!profile.syscalls.is_empty());
    let _ = profile.unknown_names();
    for capabilities in [CapabilitySet::empty(), CapabilitySet::all()] {
        let rules = profile.resolve(Arch::X86_64, &capabilities, (6, 1));
        let _ = rules.decide("clone", [0x1000_0000, 0, 0, 0, 0, 0]);
        let _ = rules.decide("no such call", [0; 6]);
    }
});
