//! `rm`: remove containers.

use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments, for_each};
use crate::context::Context;
use crate::output::print;

pub(crate) const ENTRY: Entry = Entry {
    name: "rm",
    section: Section::Containers,
    summary: "Remove containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    example: "casemate rm -f web",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// Kill the container first if it runs
    #[arg(short, long)]
    force: bool,
    /// Remove the volumes without a name that came with it
    #[arg(short, long)]
    volumes: bool,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let engine = context.engine()?;
    for_each(&options.containers, |name| {
        engine.remove(name, options.force, options.volumes)?;
        print(&format!("{name}\n"))
    })
}
