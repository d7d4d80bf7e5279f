//! Runs casemate, its peers and the kernel's floor side by side, alternating, and reports ratios within one run.
//!
//! See `--help`. As root; needs Debian's `busybox-static`. Peers that are not installed are left out by name.

#![forbid(unsafe_code)]

mod arguments;
mod bundle;
mod burst;
mod casemate;
mod contest;
mod crowd;
mod error;
mod exec;
mod floor;
mod floor_mounts;
mod peers;
mod proportional;
mod report;
mod rootfs;
mod spawn;
mod start;
mod statistics;
mod unpack;

use std::io::Write;
use std::process::ExitCode;

use arguments::{Part, Request};
use error::Result;

fn main() -> ExitCode {
    let request = match arguments::parse(std::env::args().skip(1)) {
        Ok(Some(request)) => request,
        Ok(None) => {
            let _ = std::io::stdout().write_all(arguments::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            let _ = writeln!(std::io::stderr(), "casemate-bench: {message}");
            return ExitCode::from(2);
        }
    };
    match run(&request) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "casemate-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(request: &Request) -> Result<()> {
    let stage = rootfs::Stage::make(&request.directory)?;
    let mut report = report::Report::new(request);
    let casemate = casemate::Casemate::set_up(&request.casemate, &stage)?;
    if request.has(Part::Start) || request.has(Part::Exec) {
        let mut peers = peers::Peers::set_up(request, &stage, &mut report)?;
        if request.has(Part::Start) {
            start::run(request, &stage, &casemate, &mut peers, &mut report)?;
        }
        if request.has(Part::Exec) {
            exec::run(request, &casemate, &mut peers, &mut report)?;
        }
        peers.tear_down();
    }
    if request.has(Part::Burst) {
        burst::run(request, &casemate, &mut report)?;
    }
    if request.has(Part::Crowd) {
        crowd::run(request, &casemate, &mut report)?;
    }
    if request.has(Part::Unpack) {
        unpack::run(request, &stage, &casemate, &mut report)?;
    }
    let text = report.text();
    let _ = std::io::stdout().write_all(text.as_bytes());
    if let Some(path) = &request.json {
        error::io(std::fs::write(path, report.json()), || format!("writing {}", path.display()))?;
    }
    stage.remove();
    Ok(())
}
