//! `import`: make an image from a root file system.

use std::fs::File;
use std::io::{self, IsTerminal, Read};

use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::print;

pub(crate) const ENTRY: Entry = Entry {
    name: "import",
    section: Section::Images,
    summary: "Make an image from the archive of a root file system",
    usage: "[OPTIONS] FILE|- NAME[:TAG]",
    example: "casemate import --change 'CMD [\"/bin/bash\"]' rootfs.tar.zst debian:12",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// Apply a Dockerfile instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR (repeatable)
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    #[arg(value_name = "FILE", hide = true)]
    file: String,
    #[arg(value_name = "NAME", hide = true)]
    name: String,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let changes =
        options.change.iter().map(|text| casemate_image::Change::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let reference = super::reference(&options.name)?;
    let engine = context.engine()?;
    let imported = engine.images().import(open(&options.file)?, &reference, &changes)?;
    print(&format!("{}\n", imported.id))?;
    Ok(0)
}

/// A file, or standard input for `-`.
pub(super) fn open(name: &str) -> Result<Box<dyn Read + Send>, Failure> {
    if name == "-" {
        if io::stdin().is_terminal() {
            return Err(Failure::usage("standard input is a terminal: pipe the archive in, or name a file"));
        }
        return Ok(Box::new(io::stdin()));
    }
    if name.starts_with("http://") || name.starts_with("https://") {
        return Err(Failure::usage(format!(
            "{name}: fetch the archive first; nothing is fetched from the network here"
        )));
    }
    let file = File::open(name).map_err(|error| Failure::new(format!("cannot open {name}: {error}")))?;
    Ok(Box::new(file))
}
