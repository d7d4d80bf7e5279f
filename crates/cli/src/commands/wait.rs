//! `wait`: block until containers end, and print their exit codes.

use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments, for_each};
use crate::context::Context;
use crate::output::print;

pub(crate) const ENTRY: Entry = Entry {
    name: "wait",
    section: Section::Containers,
    summary: "Wait until containers have ended, and print their exit codes",
    usage: "CONTAINER [CONTAINER...]",
    example: "casemate wait job",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let engine = context.engine()?;
    for_each(&options.containers, |name| {
        let code = engine.wait(name)?;
        print(&format!("{code}\n"))
    })
}
