//! `tag`: give an image another name.

use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;

pub(crate) const ENTRY: Entry = Entry {
    name: "tag",
    section: Section::Images,
    summary: "Give an image another name",
    usage: "IMAGE NAME[:TAG]",
    example: "casemate tag debian:12 base:latest",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    #[arg(value_name = "IMAGE", hide = true)]
    source: String,
    #[arg(value_name = "NAME", hide = true)]
    target: String,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let engine = context.engine()?;
    engine.images().tag(&options.source, &super::reference(&options.target)?)?;
    Ok(0)
}
