//! The user's side of a container's standard streams: raw mode, size, signals, detach keys.

pub(crate) mod keys;
mod raw;

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};

use casemate_engine::{Forward, Outcome, Session, Signal};
use casemate_kernel::process::signal_fd;

use raw::RawMode;
pub(crate) use raw::size;

use crate::failure::Failure;

/// SIGWINCH: the terminal has another size.
const WINCH: u8 = 28;
/// SIGHUP: the terminal is gone.
const HUP: u8 = 1;
/// SIGINT and SIGTERM: somebody wants an end.
const INT: u8 = 2;
const TERM: u8 = 15;
/// How often somebody must want an end to get rid of this side at least.
const STRIKES: u32 = 3;
/// What is passed on to the container: HUP, INT, QUIT, USR1, USR2, ALRM, TERM. Stop and continue stay with the shell's job
/// control, and what means a fault of this program stays deadly.
const PROXIED: [u8; 7] = [HUP, INT, 3, 10, 12, 14, TERM];

/// The signals of this process, held back until they can be passed on.
///
/// Made before the container is started: a Ctrl-C in between must not be lost or end only this side.
#[derive(Debug)]
pub(crate) struct Signals {
    descriptor: OwnedFd,
}

impl Signals {
    /// Holds back the terminal's resizing and, with `proxy`, the signals that are passed on.
    pub(crate) fn hold(proxy: bool) -> Result<Self, Failure> {
        let mut held = vec![WINCH];
        if proxy {
            held.extend(PROXIED);
        }
        let descriptor = signal_fd(&held).map_err(|error| Failure::from_error(&error).with_code(125))?;
        Ok(Self { descriptor })
    }
}

/// How this process is connected to a container's process.
#[derive(Debug)]
pub(crate) struct Connection<'a> {
    /// Standard input goes to the process.
    pub(crate) input: bool,
    /// The process has a terminal.
    pub(crate) tty: bool,
    /// The signals that were held back.
    pub(crate) signals: Option<&'a Signals>,
    /// The keys that detach.
    pub(crate) detach_keys: &'a [u8],
}

/// Whether standard input can serve a process with a terminal: what is piped in can't be typed.
pub(crate) fn check_input(input: bool, tty: bool) -> Result<(), Failure> {
    if input && tty && !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "-i with -t needs a terminal on standard input, and there is none: leave -t out when input is piped in",
        )
        .with_code(1));
    }
    Ok(())
}

/// Copies between the user and the process until the process ends or the user detaches.
pub(crate) fn connect(session: &mut Session, connection: &Connection<'_>) -> Result<Outcome, Failure> {
    let raw = if connection.tty && connection.input {
        RawMode::enter().map_err(|error| Failure::new(format!("cannot put the terminal into raw mode: {error}")))?
    } else {
        None
    };
    if connection.tty
        && let Some((columns, rows)) = size()
    {
        // The size may have changed since the process was given its first one. That it can't be told is no reason to end.
        let _ = session.resize(columns, rows);
    }
    let detach_keys = if raw.is_some() { connection.detach_keys } else { &[] };
    let forward = Forward {
        signals: connection.signals.map(|signals| signals.descriptor.as_fd()),
        detach_keys,
        ..Forward::standard(connection.input)
    };
    let tty = connection.tty;
    let mut asked_to_end = 0;
    let outcome = session.forward(&forward, &mut |session, number| {
        asked_to_end += u32::from(matches!(number, INT | TERM));
        if asked_to_end == STRIKES && !tty {
            // Docker's way out of a container whose first process ignores the signals. Nothing is left to put back: the
            // terminal is not raw without -t.
            crate::output::complain(
                "casemate: the process ignores the signal; leaving it alone, it runs on ('casemate ps')",
            );
            std::process::exit(1);
        }
        on_signal(session, number, tty);
    });
    if raw.is_some() && matches!(outcome, Ok(Outcome::Detached)) {
        // The shell's prompt begins a line of its own. The terminal may be gone.
        let _ = io::Write::write_all(&mut io::stderr(), b"\r\n");
    }
    drop(raw);
    match outcome {
        Ok(outcome) => Ok(outcome),
        // The reader of our output went away (`| head`): this side ends as every Unix tool does, the container runs on.
        Err(casemate_engine::Error::Kernel { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Err(Failure::quiet(141))
        }
        Err(error) => Err(error.into()),
    }
}

fn on_signal(session: &mut Session, number: u8, tty: bool) {
    // A process that has just ended can't be told anything; its end is what is heard next.
    if number == WINCH {
        if tty && let Some((columns, rows)) = size() {
            let _ = session.resize(columns, rows);
        }
    } else if let Some(signal) = Signal::from_number(number) {
        let _ = session.signal(signal);
    }
}

/// Lets a program with a full screen draw itself again after attaching: it only does so when its size changes.
pub(crate) fn provoke_redraw(session: &mut Session) {
    if let Some((columns, rows)) = size() {
        let _ = session.resize(columns.saturating_add(1), rows.saturating_add(1));
    }
}
