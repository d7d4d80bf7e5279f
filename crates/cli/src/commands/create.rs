//! `create`: a container that is started later.

use clap::{ArgMatches, Args};

use super::run::{provide_probe, warn};
use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::options::{CidFile, Creation};
use crate::output::print;
use crate::terminal;

pub(crate) const ENTRY: Entry = Entry {
    name: "create",
    section: Section::Containers,
    summary: "Create a container without starting it",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    example: "casemate create --name web debian:12 sleep 60",
    build: Creation::augment_args,
    run,
};

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let creation: Creation = arguments(matches)?;
    create(context, &creation).map_err(Failure::of_start)
}

fn create(context: &Context, creation: &Creation) -> Outcome {
    let mut config = creation.config(terminal::size)?;
    config.stdin_once = creation.interactive;
    let cidfile = creation.cidfile.as_deref().map(CidFile::create).transpose()?;
    let engine = context.engine()?;
    provide_probe(&engine, creation.image())?;
    let created = engine.create(config)?;
    warn(&created.warnings);
    if let Some(mut cidfile) = cidfile {
        cidfile.write(created.id.as_str())?;
    }
    print(&format!("{}\n", created.id.as_str()))?;
    Ok(0)
}
