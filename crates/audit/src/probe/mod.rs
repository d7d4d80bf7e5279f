//! A program that runs inside a container, of any engine, and reports how isolated it is (AUD-4).
//!
//! It only reads: `/proc`, `/sys`, `/dev`, permissions and directories. It never tries a system call to see what happens, so
//! it changes nothing, triggers no alarm and says the same however often it runs. What can't be told by reading is reported as
//! not known.

mod cgroup;
mod devices;
mod kernel;
mod limits;
mod mounts;
mod namespaces;
mod network;
mod paths;
mod report;
#[cfg(test)]
mod samples;
mod sockets;
mod source;
mod status;
mod text;
mod verdict;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

pub use mounts::{Mount, parse as parse_mountinfo};
pub use report::Report;
pub use verdict::Verdict;

const HELP: &str = "\
Reports from inside a container how isolated it is. It reads and tries nothing.

Usage: casemate-probe [OPTIONS]

Options:
      --json            Print the report as JSON
      --fail-on LEVEL   Exit with 1 when the verdict is LEVEL or worse: note, open
  -h, --help            Print this help
  -V, --version         Print the version

Each topic gets a verdict:
  good   as closed as a container can reasonably be
  note   a weaker hold, or something that can't be seen from inside
  open   what would hold the container back is missing

Example, for any engine:
  docker run --rm -v \"$(command -v casemate)\":/casemate-probe:ro --entrypoint /casemate-probe IMAGE
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Report { json: bool, fail_on: Option<Verdict> },
    Help,
    Version,
}

/// Runs the probe. `args` are the arguments without the program's name. Exits with 0, with 1 when `--fail-on` says so or the
/// report can't be written, and with 2 when the arguments are wrong.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let (output, code) = match parse(args) {
        Ok(Request::Help) => (HELP.to_owned(), 0),
        Ok(Request::Version) => (format!("casemate-probe {}\n", env!("CARGO_PKG_VERSION")), 0),
        Ok(Request::Report { json, fail_on }) => {
            let report = Report::read();
            let failed = fail_on.is_some_and(|level| report.verdict >= level);
            (if json { report.json() } else { text::render(&report) }, u8::from(failed))
        }
        Err(message) => {
            // Nothing can be done when even standard error is closed.
            let _ = writeln!(io::stderr(), "casemate-probe: {message}");
            return ExitCode::from(2);
        }
    };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => ExitCode::from(code),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "casemate-probe: writing the report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: impl Iterator<Item = OsString>) -> Result<Request, String> {
    let (mut json, mut fail_on) = (false, None);
    let mut args = args.map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--json" => json = true,
            "-h" | "--help" => return Ok(Request::Help),
            "-V" | "--version" => return Ok(Request::Version),
            "--fail-on" => {
                let level = args.next().ok_or("--fail-on needs a level: note or open")?;
                fail_on = Some(level_of(&level)?);
            }
            other => match other.strip_prefix("--fail-on=") {
                Some(level) => fail_on = Some(level_of(level)?),
                None => {
                    return Err(format!("unknown argument {other:?}; --help lists what there is"));
                }
            },
        }
    }
    Ok(Request::Report { json, fail_on })
}

fn level_of(name: &str) -> Result<Verdict, String> {
    match Verdict::parse(name) {
        Some(level @ (Verdict::Note | Verdict::Open)) => Ok(level),
        _ => Err(format!("--fail-on {name:?}: the levels are note and open")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Request, String> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn arguments_are_understood_or_refused() {
        assert_eq!(parsed(&[]), Ok(Request::Report { json: false, fail_on: None }));
        let both = Request::Report { json: true, fail_on: Some(Verdict::Open) };
        assert_eq!(parsed(&["--json", "--fail-on", "open"]), Ok(both));
        assert_eq!(parsed(&["--fail-on=note"]), Ok(Request::Report { json: false, fail_on: Some(Verdict::Note) }));
        assert_eq!(parsed(&["--help", "--nonsense"]), Ok(Request::Help));
        for wrong in [&["--jsn"][..], &["--fail-on"], &["--fail-on", "good"], &["x"]] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }
}
