//! `start`: run containers that were created or have ended.

use casemate_engine::Engine;
use clap::{ArgMatches, Args};

use super::run::{finish, protect_program, warn};
use super::{Entry, Outcome, Section, Streams, arguments, for_each};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::print;
use crate::terminal::{self, Connection, Signals, keys};

pub(crate) const ENTRY: Entry = Entry {
    name: "start",
    section: Section::Containers,
    summary: "Start containers that were created or have ended",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    example: "casemate start -ai job",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// Stay connected to the output, pass signals on, and end with the container's exit code
    #[arg(short, long)]
    attach: bool,
    /// Connect standard input too
    #[arg(short, long)]
    interactive: bool,
    /// The keys that detach
    #[arg(long, value_name = "KEYS", default_value = keys::DEFAULT)]
    detach_keys: String,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    containers: Vec<String>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    protect_from(&context.engine()?, options.containers.iter().map(String::as_str))?;
    if options.attach || options.interactive {
        return match options.containers.as_slice() {
            [name] => attached(context, &options, name).map_err(Failure::of_start),
            _ => Err(Failure::usage("only one container can be started with -a or -i").with_code(1)),
        };
    }
    let engine = context.engine()?;
    for_each(&options.containers, |name| {
        let started = engine.start(name, false, false)?;
        warn(&started.warnings);
        print(&format!("{name}\n"))
    })
}

/// Protects this program's own file if one of the containers has ids that it does not have for itself. One that is not there
/// is for the command to report.
pub(super) fn protect_from<'a>(engine: &Engine, mut containers: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    if containers.any(|name| engine.has_ids_of_others(name).unwrap_or(false)) { protect_program() } else { Ok(()) }
}

fn attached(context: &Context, options: &Options, name: &str) -> Outcome {
    let detach_keys =
        keys::parse(&options.detach_keys).map_err(|why| Failure::usage(format!("--detach-keys: {why}")))?;
    let engine = context.engine()?;
    let container = Streams::of(&engine, name)?;
    let input = options.interactive && container.open_stdin;
    terminal::check_input(input, container.tty)?;
    let signals = Signals::hold(true)?;
    let mut started = engine.start(name, true, input)?;
    warn(&started.warnings);
    let Some(session) = started.session.as_mut() else {
        return Ok(0);
    };
    let connection = Connection { input, tty: container.tty, signals: Some(&signals), detach_keys: &detach_keys };
    finish(&engine, name, terminal::connect(session, &connection)?)
}
