//! `run`: create a container, start it, and stay connected to it.

use std::fs::File;

use casemate_engine::{Engine, Outcome as End};
use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::options::{CidFile, Creation, boolean};
use crate::output::{complain, escape, print};
use crate::terminal::{self, Connection, Signals, keys};

pub(crate) const ENTRY: Entry = Entry {
    name: "run",
    section: Section::Containers,
    summary: "Create a hardened container from an image and run it",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    example: "casemate run --rm -it debian:12 bash",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// Run in the background, and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Pass signals on to the container's process; true by default
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "true", value_parser = boolean, hide_default_value = true, hide_possible_values = true)]
    sig_proxy: bool,
    /// The keys that detach
    #[arg(long, value_name = "KEYS", default_value = keys::DEFAULT)]
    detach_keys: String,
    #[command(flatten)]
    creation: Creation,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    start(context, &options).map_err(Failure::of_start)
}

fn start(context: &Context, options: &Options) -> Outcome {
    let creation = &options.creation;
    let input = creation.interactive && !options.detach;
    terminal::check_input(input, creation.tty)?;
    let detach_keys =
        keys::parse(&options.detach_keys).map_err(|why| Failure::usage(format!("--detach-keys: {why}")))?;
    let mut config = creation.config(terminal::size)?;
    config.stdin_once = input;
    if !config.posture.namespaces.user.is_own() {
        protect_program()?;
    }
    let cidfile = creation.cidfile.as_deref().map(CidFile::create).transpose()?;
    let engine = context.engine()?;
    provide_probe(&engine, creation.image())?;
    // Held back before anything is started: a Ctrl-C must reach the container, or nobody.
    let signals = (!options.detach).then(|| Signals::hold(options.sig_proxy)).transpose()?;
    let mut run = engine.run(config, !options.detach)?;
    warn(&run.warnings);
    if let Some(mut cidfile) = cidfile {
        cidfile.write(run.id.as_str())?;
    }
    let Some(session) = run.session.as_mut() else {
        print(&format!("{}\n", run.id.as_str()))?;
        return Ok(0);
    };
    let connection = Connection { input, tty: creation.tty, signals: signals.as_ref(), detach_keys: &detach_keys };
    finish(&engine, run.id.as_str(), terminal::connect(session, &connection)?)
}

/// The exit code that a session's end comes to.
pub(super) fn finish(engine: &Engine, name: &str, end: End) -> Outcome {
    match end {
        End::Exited { code, .. } => Ok(exit_code(code)),
        End::Detached => Ok(0),
        // The supervisor was killed: the record tells, or else nobody can.
        End::Lost => Ok(exit_code(engine.wait(name)?)),
    }
}

/// What a shell would see: the low eight bits.
pub(super) fn exit_code(code: i32) -> u8 {
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}

/// Goes on from a read-only mount of this program's own file, which a container with the host's ids could otherwise write
/// to (CVE-2019-5736). Comes before anything is made: everything up to here is done once more.
pub(super) fn protect_program() -> Result<(), Failure> {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    match casemate_kernel::program::seal(&arguments) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(format!("cannot protect casemate's own file: {error}"))),
    }
}

/// What the host could not give, one line each.
pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        complain(&format!("casemate: warning: {}", escape::visible(warning)));
    }
}

/// The embedded image, of which this program is the only file, is made when it is first asked for.
pub(super) fn provide_probe(engine: &Engine, image: &str) -> Result<(), Failure> {
    if matches!(image, "casemate/probe" | "casemate/probe:latest" | "docker.io/casemate/probe:latest") {
        let path = "/proc/self/exe";
        let executable = File::open(path).map_err(|error| Failure::new(format!("cannot open {path}: {error}")))?;
        engine.images().ensure_probe(&executable, env!("CARGO_PKG_VERSION"))?;
    }
    Ok(())
}
