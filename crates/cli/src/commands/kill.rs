//! `kill`: send a signal to a container's first process.

use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments, for_each};
use crate::context::Context;
use crate::output::print;

pub(crate) const ENTRY: Entry = Entry {
    name: "kill",
    section: Section::Containers,
    summary: "Send a signal to running containers (KILL unless told otherwise)",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    example: "casemate kill -s HUP web",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// The signal: HUP, SIGHUP or 1
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let engine = context.engine()?;
    for_each(&options.containers, |name| {
        engine.kill(name, &options.signal)?;
        print(&format!("{name}\n"))
    })
}
