//! `exec`: another process in a running container.

use casemate_engine::ExecConfig;
use clap::{ArgMatches, Args};

use super::run::exit_code;
use super::start::protect_from;
use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::options::{Environment, resolve_environment};
use crate::terminal::{self, Connection, Signals, keys};

pub(crate) const ENTRY: Entry = Entry {
    name: "exec",
    section: Section::Containers,
    summary: "Run another command in a running container",
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    example: "casemate exec -it web sh",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// Leave it running in the background
    #[arg(short, long)]
    detach: bool,
    /// Connect standard input
    #[arg(short, long)]
    interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
    #[command(flatten)]
    environment: Environment,
    /// Working directory inside
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// User, by name or number: USER[:GROUP]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// The keys that detach
    #[arg(long, value_name = "KEYS", default_value = keys::DEFAULT)]
    detach_keys: String,
    #[arg(value_names = ["CONTAINER", "COMMAND"], required = true, trailing_var_arg = true, num_args = 1.., hide = true)]
    container_and_command: Vec<String>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    execute(context, &options).map_err(Failure::of_start)
}

fn execute(context: &Context, options: &Options) -> Outcome {
    let Some((name, command)) = options.container_and_command.split_first().filter(|(_, command)| !command.is_empty())
    else {
        return Err(Failure::usage("a command is needed after the container's name"));
    };
    protect_from(&context.engine()?, std::iter::once(name.as_str()))?;
    let input = options.interactive && !options.detach;
    terminal::check_input(input, options.tty)?;
    let detach_keys =
        keys::parse(&options.detach_keys).map_err(|why| Failure::usage(format!("--detach-keys: {why}")))?;
    let config = ExecConfig {
        command: command.to_vec(),
        env: resolve_environment(&options.environment)?,
        user: options.user.clone(),
        workdir: options.workdir.clone(),
        tty: options.tty,
        terminal_size: terminal::size().filter(|_| options.tty),
        open_stdin: input,
        detach: options.detach,
    };
    let engine = context.engine()?;
    // Signals are not passed on, as with Docker: Ctrl-C ends this side, and with a terminal it is typed, not sent.
    let signals = options.tty.then(|| Signals::hold(false)).transpose()?;
    let mut exec = engine.exec(name, &config)?;
    let Some(session) = exec.session.as_mut() else {
        return Ok(0);
    };
    let connection = Connection { input, tty: options.tty, signals: signals.as_ref(), detach_keys: &detach_keys };
    match terminal::connect(session, &connection)? {
        casemate_engine::Outcome::Exited { code, .. } => Ok(exit_code(code)),
        casemate_engine::Outcome::Detached => Ok(0),
        casemate_engine::Outcome::Lost => {
            Err(Failure::new(format!("exec in {name}: the connection was lost, and with it the exit code")))
        }
    }
}
