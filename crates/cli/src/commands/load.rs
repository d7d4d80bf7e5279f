//! `load`: bring images from `docker save` archives, OCI archives and OCI layouts.

use std::fmt::Write as _;
use std::path::PathBuf;

use casemate_image::Source;
use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::print;

pub(crate) const ENTRY: Entry = Entry {
    name: "load",
    section: Section::Images,
    summary: "Bring images from an archive (docker save, OCI) or an OCI layout directory",
    usage: "[OPTIONS] [FILE|DIRECTORY]",
    example: "casemate load -i images.tar",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// Read this file or OCI layout directory; standard input otherwise
    #[arg(short, long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// Accepted as Docker's; there is no progress to hide
    #[arg(short, long, hide = true)]
    quiet: bool,
    #[arg(value_name = "PATH", hide = true)]
    path: Option<PathBuf>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let path = match (options.input, options.path) {
        (Some(_), Some(_)) => return Err(Failure::usage("name the archive once: with -i, or without it")),
        (path, None) | (None, path) => path,
    };
    let source = match path {
        Some(path) if path.as_os_str() != "-" => Source::open(&path)?,
        _ => Source::Stream(super::import::open("-")?),
    };
    let engine = context.engine()?;
    let loaded = engine.images().load(source)?;
    let mut text = String::new();
    for image in loaded {
        if image.references.is_empty() {
            let _ = writeln!(text, "Loaded image ID: {}", image.id);
        }
        for reference in &image.references {
            let _ = writeln!(text, "Loaded image: {}", reference.familiar());
        }
    }
    print(&text)?;
    Ok(0)
}
