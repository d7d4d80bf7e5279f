//! `version`.

use clap::{ArgMatches, Args};
use serde_json::json;

use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::output::{document, print};

pub(crate) const ENTRY: Entry = Entry {
    name: "version",
    section: Section::System,
    summary: "Show the version of casemate and of the kernel",
    usage: "[OPTIONS]",
    example: "casemate version --format json",
    build: Options::augment_args,
    run,
};

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Args)]
struct Options {
    /// Print as json, or through a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// What `--version` prints.
pub(crate) fn line() -> String {
    format!("casemate version {VERSION}\n")
}

fn run(_: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let system = rustix::system::uname();
    let kernel = system.release().to_string_lossy();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    match options.format.as_deref() {
        Some(format) => {
            // Docker's shape: scripts ask for .Client.Version or .Server.Version; here both are this program.
            let part = json!({
                "Version": VERSION,
                "Os": "linux",
                "Arch": architecture,
                "KernelVersion": kernel,
            });
            document::show(&json!({"Client": part, "Server": part}), format)?;
        }
        None => print(&format!(
            "casemate\n Version:   {VERSION}\n OS/Arch:   linux/{architecture}\n Kernel:    {kernel}\n"
        ))?,
    }
    Ok(0)
}
