//! `stop`: ask the process to end, and end it when it doesn't.

use std::time::Duration;

use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments, for_each};
use crate::context::Context;
use crate::output::print;

pub(crate) const ENTRY: Entry = Entry {
    name: "stop",
    section: Section::Containers,
    summary: "Stop running containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    example: "casemate stop -t 30 web",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// Seconds to wait before the container is killed; -1 waits for ever
    #[arg(short, long = "timeout", visible_alias = "time", value_name = "SECONDS", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// The signal that is sent instead of the container's own
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let engine = context.engine()?;
    // Docker's -1 means "for ever".
    let timeout =
        options.timeout.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::from(u32::MAX))));
    for_each(&options.containers, |name| {
        engine.stop(name, timeout, options.signal.as_deref())?;
        print(&format!("{name}\n"))
    })
}
