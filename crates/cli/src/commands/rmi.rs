//! `rmi`: remove images.

use casemate_image::Removed;
use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments, for_each};
use crate::context::Context;
use crate::output::print;

pub(crate) const ENTRY: Entry = Entry {
    name: "rmi",
    section: Section::Images,
    summary: "Remove images",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    example: "casemate rmi debian:12",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// Remove it although it has more names or a stopped container uses it
    #[arg(short, long)]
    force: bool,
    #[arg(value_name = "IMAGE", required = true, hide = true)]
    images: Vec<String>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let engine = context.engine()?;
    for_each(&options.images, |name| {
        for removed in engine.remove_image(name, options.force)? {
            print(&match removed {
                Removed::Untagged(reference) => format!("Untagged: {}\n", reference.familiar()),
                Removed::Deleted(digest) => format!("Deleted: {digest}\n"),
            })?;
        }
        Ok(())
    })
}
