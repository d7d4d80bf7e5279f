//! `attach`: connect the terminal to a running container's first process.

use clap::{ArgMatches, Args};

use super::run::finish;
use super::{Entry, Outcome, Section, Streams, arguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::options::boolean;
use crate::terminal::{self, Connection, Signals, keys};

pub(crate) const ENTRY: Entry = Entry {
    name: "attach",
    section: Section::Containers,
    summary: "Connect to the standard streams of a running container",
    usage: "[OPTIONS] CONTAINER",
    example: "casemate attach --detach-keys ctrl-x web",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// Don't connect standard input
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the container's process; true by default
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "true", value_parser = boolean, hide_default_value = true, hide_possible_values = true)]
    sig_proxy: bool,
    /// The keys that detach
    #[arg(long, value_name = "KEYS", default_value = keys::DEFAULT)]
    detach_keys: String,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let detach_keys =
        keys::parse(&options.detach_keys).map_err(|why| Failure::usage(format!("--detach-keys: {why}")))?;
    let engine = context.engine()?;
    let container = Streams::of(&engine, &options.container)?;
    let input = !options.no_stdin && container.open_stdin;
    terminal::check_input(input, container.tty)?;
    let signals = Signals::hold(options.sig_proxy)?;
    let mut session = engine.attach(&options.container, input)?;
    if container.tty {
        terminal::provoke_redraw(&mut session);
    }
    let connection = Connection { input, tty: container.tty, signals: Some(&signals), detach_keys: &detach_keys };
    finish(&engine, &options.container, terminal::connect(&mut session, &connection)?)
}
