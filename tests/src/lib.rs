//! The harness of the end-to-end tests: it drives the built binary as root against the real kernel.
//!
//! Each test has an [`Engine`] of its own: a data root, a run root and a configuration in a temporary directory, taken down with
//! everything that runs in it when the test ends. Nothing waits for ever: every command has a time limit. What this host can't do
//! is skipped with a reason, never silently: [`skip`].
#![forbid(unsafe_code)]

pub mod archive;
pub mod bundle;
pub mod command;
pub mod console;
pub mod docker;
mod engine;
pub mod engines;
pub mod host;
pub mod host_mount;
pub mod images;
pub mod layered;
mod lock;
pub mod terminal;
pub mod tree;

use std::io::Write as _;
use std::path::{Path, PathBuf};

pub use bundle::{Bundle, Runtime};
pub use command::Output;
pub use engine::{Engine, Running};

/// Says that the running test can't be done here and why. Reasons that no machine of ours can mend begin with one of the words that
/// `tests/run` lists, such as `no-cgroup-v2`.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("test");
    println!("SKIP {name}: {reason}");
    if let Some(path) = std::env::var_os("CASEMATE_SKIPS") {
        let mut file =
            std::fs::OpenOptions::new().append(true).create(true).open(path).expect("CASEMATE_SKIPS is a file");
        // One write: two tests at once don't mix.
        file.write_all(format!("{name}: {reason}\n").as_bytes()).expect("the skip can be noted");
    }
}

/// Which of these programs is not installed, in words for [`skip`].
pub fn missing(programs: &[&str]) -> Option<String> {
    programs.iter().find(|name| program(name).is_none()).map(|name| format!("{name} is not installed"))
}

/// Where a program is.
pub fn program(name: &str) -> Option<PathBuf> {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// The binary that is tested: `CASEMATE_BIN`, or the newer of what `cargo build` and `cargo build --release` made.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CASEMATE_BIN") {
        return PathBuf::from(path);
    }
    let target = target_directory();
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    [format!("{host}/release"), format!("{host}/debug"), "release".to_owned(), "debug".to_owned()]
        .iter()
        .map(|directory| target.join(directory).join("casemate"))
        .filter(|path| path.is_file())
        .max_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok())
        .expect("no casemate is built: cargo build --release -p casemate, or set CASEMATE_BIN")
}

fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"), PathBuf::from)
}

/// Calls `test` until it is true, for as long as `seconds`. False when it never was.
pub fn eventually(seconds: u64, mut test: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    loop {
        if test() {
            return true;
        }
        if std::time::Instant::now() > end {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
