//! `--init`: a first process that starts the container's command, passes signals on to it, and reaps what is left behind.
//!
//! It is casemate itself under another name, bound read-only from the image store.

use std::ffi::OsString;
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use casemate_image::Store;
use casemate_kernel::process;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use crate::error::{Error, Result};

/// Where the program is in the container: `/dev` is always there and always writable for the runtime.
pub(crate) const TARGET: &str = "/dev/casemate-init";

/// The name by which the program knows that it is the init.
pub const INIT_NAME: &str = "casemate-init";

/// The first argument by which the program knows that it is the init's child; the init's own is `--`.
const UNBLOCK: &str = "--unblock";

const SIGCHLD: u8 = 17;

/// The program's path on the host: a copy that no container can be given to write to.
pub(crate) fn program(images: &Store) -> Result<PathBuf> {
    let path = "/proc/self/exe";
    let executable = File::open(path).map_err(Error::file("open", path))?;
    let image = images.ensure_probe(&executable, env!("CARGO_PKG_VERSION"))?;
    let layer = image.layers.first().ok_or_else(|| Error::invalid("image", "casemate/probe", "has no layer"))?;
    Ok(images.layer(layer).join("casemate-probe"))
}

/// The init's `main`: runs the command after `--`, and returns the exit code that the container ends with.
pub fn main(mut args: impl Iterator<Item = OsString>) -> u8 {
    if args.next().is_some_and(|first| first == UNBLOCK) {
        return become_command(&args.collect::<Vec<_>>());
    }
    let command: Vec<OsString> = args.collect();
    if command.is_empty() {
        return 127;
    }
    // Everything that can be caught and means something for the command. Blocked before the fork, so that none is lost.
    let forwarded: Vec<u8> =
        (1..=64).filter(|signal| !matches!(signal, 8 | 9 | 11 | 4 | 5 | 6 | 7 | 19 | 31 | 32 | 33)).collect();
    let Ok(signals) = process::signal_fd(&forwarded) else { return 125 };
    // What is blocked stays blocked over an exec, and the library does not undo it: this program does, once more, as the child.
    // A group of its own: a Ctrl-C goes to the command, not here too.
    let spawned = Command::new(TARGET).arg(UNBLOCK).args(&command).process_group(0).spawn();
    match spawned {
        Ok(child) => {
            let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return 125 };
            if rustix::termios::isatty(rustix::stdio::stdin()) {
                // Without a terminal to give away there is none to lose.
                let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), pid);
            }
            look_after(pid, &signals)
        }
        Err(error) => {
            eprintln!("{INIT_NAME}: {TARGET}: {error}");
            125
        }
    }
}

/// In the child: lets all signals through again and becomes the command. Returns the exit code when it can't.
fn become_command(command: &[OsString]) -> u8 {
    let Some((program, arguments)) = command.split_first() else { return 127 };
    if process::reset_signals().is_err() {
        return 125;
    }
    let error = Command::new(program).args(arguments).exec();
    eprintln!("{INIT_NAME}: {}: {error}", program.to_string_lossy().escape_debug());
    if error.kind() == ErrorKind::NotFound { 127 } else { 126 }
}

/// Until the command has ended: passes signals on, reaps orphans.
fn look_after(pid: Pid, signals: &OwnedFd) -> u8 {
    loop {
        let mut set = [PollFd::new(signals, PollFlags::IN)];
        let _ = poll(&mut set, None);
        while let Ok(Some(signal)) = process::read_signal(signals) {
            // Our child, not reaped yet: the number is its own.
            if signal != SIGCHLD
                && let Some(signal) = Signal::from_named_raw(i32::from(signal))
            {
                let _ = kill_process(pid, signal);
            }
        }
        while let Ok(Some((ended, status))) = wait(WaitOptions::NOHANG) {
            if ended == pid {
                let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                return code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255);
            }
        }
    }
}
