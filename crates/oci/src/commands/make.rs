//! `create` and `run`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;

use casemate_runtime::lifecycle::{Console, CreateOptions, RunOptions};

use super::Call;
use crate::Failure;
use crate::arguments::{Flag, Parsed, Until, parse, switch, value};
use crate::attend::Signals;
use crate::seal::seal;

const FLAGS: [Flag; 12] = [
    value("bundle", Some('b')),
    value("config", Some('f')),
    value("console-socket", None),
    value("pidfd-socket", None),
    value("pid-file", None),
    switch("no-pivot", None),
    switch("no-new-keyring", None),
    switch("no-subreaper", None),
    value("preserve-fds", None),
    // Of `run` only.
    switch("detach", Some('d')),
    switch("keep", None),
    switch("no-mount-fallback", None),
];
/// How many of [`FLAGS`] `create` has.
const OF_CREATE: usize = 9;

pub(super) fn create(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    seal(call.all)?;
    let known = FLAGS.get(..OF_CREATE).unwrap_or_default();
    let mut parsed = parse(known, Until::End, arguments)?;
    let id = parsed.only("create")?;
    let mut options = options(&parsed)?;
    options.console = console_socket(&parsed);
    call.globals.runtime().create(&id, &options).map_err(|error| Failure::from(error).during("create failed"))?;
    Ok(0)
}

pub(super) fn run(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    seal(call.all)?;
    let mut parsed = parse(&FLAGS, Until::End, arguments)?;
    let id = parsed.only("run")?;
    let mut options = options(&parsed)?;
    let run = RunOptions { detach: parsed.is_set("detach"), keep: parsed.is_set("keep") };
    options.console = match console_socket(&parsed) {
        Console::None if !run.detach => Console::Caller,
        other => other,
    };
    let signals = if run.detach { None } else { Some(Signals::hold()?) };
    let finished = call
        .globals
        .runtime()
        .run(&id, &options, run, &mut |pidfd, console| match &signals {
            Some(signals) => signals.attend(pidfd, console),
            None => casemate_kernel::process::wait(pidfd).map_err(Into::into),
        })
        .map_err(|error| Failure::from(error).during("run failed"))?;
    Ok(u8::try_from(finished.code).unwrap_or(u8::MAX))
}

/// How many sockets a service manager hands over (`sd_listen_fds(3)`), for the program.
fn listened() -> Result<u32, Failure> {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        crate::log::warn("NOTIFY_SOCKET is not passed on: the program can't tell the service manager that it is ready");
    }
    match std::env::var("LISTEN_FDS") {
        Err(_) => Ok(0),
        Ok(text) => text.parse().map_err(|_| Failure::new(format!("LISTEN_FDS={text:?} is no such number"))),
    }
}

fn options(parsed: &Parsed) -> Result<CreateOptions, Failure> {
    let absolute = |path: Option<PathBuf>| {
        path.map(|path| std::path::absolute(&path).map_err(|error| Failure::new(format!("{path:?}: {error}"))))
            .transpose()
    };
    Ok(CreateOptions {
        bundle: parsed.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
        config: absolute(parsed.path("config"))?,
        console: Console::None,
        pidfd_socket: absolute(parsed.path("pidfd-socket"))?,
        pid_file: absolute(parsed.path("pid-file"))?,
        preserved: parsed.number("preserve-fds")?.unwrap_or(0),
        listened: listened()?,
        keep_keyring: parsed.is_set("no-new-keyring"),
        no_pivot: parsed.is_set("no-pivot"),
    })
}

fn console_socket(parsed: &Parsed) -> Console {
    parsed.path("console-socket").map_or(Console::None, Console::Socket)
}
