//! What a filter costs at a start: `cargo test --release -p casemate-runtime what_a_filter_costs -- --nocapture`.

use std::time::{Duration, Instant};

use casemate_posture::seccomp::Arch;
use oci_spec::runtime::LinuxSeccomp;

use super::profiles::{installed, like_dockers, own};
use crate::seccomp::compile;

const TIMES: usize = 300;
/// Many times what it takes, in a build without optimisation on a busy machine: what is not a measurement is a fault.
const MOST: Duration = Duration::from_millis(200);

fn median(mut one: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..TIMES).map(|_| one()).collect();
    times.sort_unstable();
    times[TIMES / 2]
}

fn timed<T>(what: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    std::hint::black_box(what());
    start.elapsed()
}

#[test]
fn what_a_filter_costs() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: needs root, to load filters");
        return;
    }
    let native = Arch::native().unwrap();
    let mut profiles: Vec<(&str, LinuxSeccomp)> =
        vec![("casemate's own", own(native, &[], &[])), ("like Docker's", like_dockers(native))];
    profiles.extend(installed(native, &[]).map(|profile| ("Podman's", profile)));
    for (name, profile) in profiles {
        let text = serde_json::to_vec(&profile).unwrap();
        let filter = compile(&profile).unwrap();
        let read = median(|| timed(|| serde_json::from_slice::<LinuxSeccomp>(&text).unwrap()));
        let compiled = median(|| timed(|| compile(&profile).unwrap()));
        // On a thread of its own each time: filters add up and never go.
        let loaded = median(|| {
            let filter = filter.clone();
            std::thread::spawn(move || timed(|| filter.install().unwrap())).join().unwrap()
        });
        eprintln!(
            "{name}: {} bytes read in {read:?}, compiled in {compiled:?} to {} instructions, loaded in {loaded:?}",
            text.len(),
            filter.program.len(),
        );
        assert!(compiled < MOST, "{name}: {compiled:?}");
    }
}
