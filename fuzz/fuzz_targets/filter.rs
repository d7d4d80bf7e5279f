//! `linux.seccomp` of a specification: what is compiled is a filter that the kernel takes, and says what the profile says.
#![no_main]

use casemate_posture::seccomp::Arch;
use casemate_runtime::seccomp::compile_for;
use libfuzzer_sys::fuzz_target;
use oci_spec::runtime::LinuxSeccomp;

#[path = "../../crates/runtime/src/seccomp/tests/calls.rs"]
mod calls;
#[path = "../../crates/runtime/src/seccomp/tests/machine.rs"]
#[allow(dead_code)]
mod machine;
#[path = "../../crates/runtime/src/seccomp/tests/reference.rs"]
#[allow(dead_code)]
mod reference;

fuzz_target!(|text: &[u8]| {
    let Ok(profile) = serde_json::from_slice::<LinuxSeccomp>(text) else { return };
    for native in [Arch::X86_64, Arch::Aarch64] {
        let Ok(filter) = compile_for(&profile, native) else { continue };
        machine::check(&filter.program);
        let reference = reference::Reference::new(&profile, native);
        // Another part of the numbers for each text.
        let some = calls::numbers(native).into_iter().skip(text.len() % 7).step_by(7);
        let plain = some.map(|(arch, number)| machine::Call { number, arch, args: [0; 6] });
        let looked_at = calls::values(&profile);
        let others = looked_at.iter().flat_map(|(arch, number, values)| calls::calls(*arch, *number, values, 1));
        for call in plain.chain(others.take(2000)) {
            let verdict = machine::run(&filter.program, &call);
            assert_eq!(verdict.action, reference.decide(&call), "{call:x?}");
        }
    }
});
