//! The commands: which there are, and what each is called with.

mod control;
mod events;
mod exec;
mod make;
mod observe;
mod spec;
mod update;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;

use crate::Failure;
use crate::globals::Globals;

/// What a command is given besides its own arguments.
pub(crate) struct Call<'a> {
    pub(crate) globals: &'a Globals,
    /// All arguments of the program, for one that executes itself again.
    pub(crate) all: &'a [OsString],
}

type Run = fn(&Call<'_>, VecDeque<OsString>) -> Result<u8, Failure>;

/// Name, arguments and what it does, in the order of `--help`.
const COMMANDS: [(&str, &str, &str, Run); 17] = [
    ("create", "ID --bundle DIRECTORY", "make a container, which waits to be started", make::create),
    ("start", "ID", "start a container that was created", control::start),
    ("run", "ID --bundle DIRECTORY", "create and start a container, and wait for it", make::run),
    ("state", "ID", "print the state of a container, as JSON", observe::state),
    ("kill", "ID [SIGNAL]", "send a signal (TERM) to a container", control::kill),
    ("delete", "ID", "remove a container that is stopped", control::delete),
    ("exec", "ID COMMAND [ARGUMENT...]", "start a process in a container", exec::exec),
    ("list", "", "list containers", observe::list),
    ("ps", "ID [PS OPTION...]", "list the processes of a container", observe::ps),
    ("pause", "ID", "freeze the processes of a container", control::pause),
    ("resume", "ID", "let the processes of a paused container go on", control::resume),
    ("update", "ID --memory 64M …", "change limits of a container", update::update),
    ("events", "ID [--stats]", "print what a container uses, as JSON", events::events),
    ("spec", "", "write a specification to start from", spec::spec),
    ("features", "", "print what this runtime offers, as JSON", observe::features),
    ("checkpoint", "ID", "not supported", not_supported),
    ("restore", "ID", "not supported", not_supported),
];

/// Finds the command and runs it.
pub(crate) fn dispatch(globals: &Globals, mut arguments: VecDeque<OsString>, all: &[OsString]) -> Result<u8, Failure> {
    if globals.version {
        return print(&version());
    }
    let Some(word) = arguments.pop_front().filter(|word| word != "help" && !globals.help) else {
        return print(&help());
    };
    let (name, _, _, run) = COMMANDS
        .iter()
        .find(|(name, ..)| word == *name)
        .ok_or_else(|| Failure::new(format!("no such command: {word:?}; 'casemate oci --help' lists them")))?;
    if arguments.iter().take_while(|word| *word != "--").any(|word| word == "--help" || word == "-h")
        && !matches!(*name, "exec" | "ps")
    {
        return print(&help());
    }
    run(&Call { globals, all }, arguments)
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Result<u8, Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(0),
        Err(error) => Err(Failure::new(format!("write to standard output: {error}"))),
    }
}

/// The lines that Docker, containerd and Podman read.
fn version() -> String {
    format!(
        "casemate-oci version {}\ncommit: v{}\nspec: {}\n",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_VERSION"),
        casemate_runtime::SPEC_VERSION
    )
}

fn help() -> String {
    let mut text = String::from(
        "An OCI runtime, hardened: for Docker, containerd, Podman and CRI-O, or by hand.\n\n\
         Usage: casemate oci [--root DIRECTORY] [--log FILE] [--log-format text|json] [--debug]\n\
         \x20                   [--systemd-cgroup] [--rootless true|false|auto] [--hardened] COMMAND\n\n",
    );
    for (name, arguments, what, _) in COMMANDS {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:<36}  {what}", format!("{name} {arguments}"));
    }
    text.push_str(
        "\nExample:\n  mkdir -p bundle/rootfs && tar -C bundle/rootfs -xf rootfs.tar && cd bundle && casemate oci spec\n\
         \x20 casemate oci run my-container\n",
    );
    text
}

fn not_supported(_: &Call<'_>, _: VecDeque<OsString>) -> Result<u8, Failure> {
    Err(Failure::new("checkpoint and restore are not supported: a saved process can't be proved to be hardened"))
}
