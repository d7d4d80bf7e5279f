//! A terminal that a test types into.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::command::{self, kill_group};

/// A program whose controlling terminal is this end's other end.
#[derive(Debug)]
pub struct Terminal {
    master: OwnedFd,
    child: Child,
    line: String,
    seen: Vec<u8>,
    /// What of `seen` was expected already.
    read: usize,
}

impl Terminal {
    /// Starts `command` in a session of its own on a new terminal of this size.
    #[track_caller]
    pub fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).expect("a terminal");
        unlockpt(&master).expect("a terminal");
        let name = ptsname(&master, Vec::new()).expect("a terminal has a name");
        let path = std::ffi::OsStr::from_bytes(name.as_bytes()).to_owned();
        tcsetwinsize(&master, size(columns, rows)).expect("a terminal has a size");
        let open = || {
            use std::os::unix::fs::OpenOptionsExt as _;
            let flags = i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).expect("a small number");
            Stdio::from(OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path).expect("a terminal"))
        };
        let line = command::line(command);
        // A new session with the terminal on its standard input as the controlling one; only exec is between it and the program.
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            session.current_dir(directory);
        }
        let child = session.stdin(open()).stdout(open()).stderr(open()).spawn().expect("setsid is there");
        Self { master, child, line, seen: Vec::new(), read: 0 }
    }

    /// Types.
    #[track_caller]
    pub fn send(&self, keys: &str) {
        rustix::io::write(&self.master, keys.as_bytes()).expect("the terminal takes input");
    }

    /// Waits until `text` has appeared after what was expected before, and gives everything up to its end.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let new = &self.seen[self.read..];
            if let Some(at) = new.windows(text.len()).position(|window| window == text.as_bytes()) {
                let found = String::from_utf8_lossy(&new[..at + text.len()]).into_owned();
                self.read += at + text.len();
                return found;
            }
            let open = self.read_more(end);
            assert!(
                Instant::now() < end && open,
                "{}\n{text:?} did not appear ({}); what did after the last that was expected:\n{}",
                self.line,
                if open { "in time" } else { "before the end" },
                String::from_utf8_lossy(&self.seen[self.read..])
            );
        }
    }

    /// Everything that appeared until the program ended.
    pub fn rest(&mut self) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end && self.read_more(end) {}
        let rest = String::from_utf8_lossy(&self.seen[self.read..]).into_owned();
        self.read = self.seen.len();
        rest
    }

    /// Reads what there is; false when the other end is closed.
    fn read_more(&mut self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now()).min(Duration::from_millis(200));
        let timeout = Timespec::try_from(left).expect("a short time");
        let mut polled = [PollFd::new(&self.master, PollFlags::IN)];
        poll(&mut polled, Some(&timeout)).expect("a terminal can be polled");
        if polled[0].revents().is_empty() {
            return true;
        }
        let mut buffer = [0_u8; 4096];
        match rustix::io::read(&self.master, &mut buffer[..]) {
            // EIO: nobody has the other end open.
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.seen.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, columns: u16, rows: u16) {
        tcsetwinsize(&self.master, size(columns, rows)).expect("a terminal has a size");
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The terminal's settings, as the program has left them: whether lines are edited and characters echoed.
    pub fn is_cooked(&self) -> bool {
        let modes = rustix::termios::tcgetattr(&self.master).expect("a terminal has modes").local_modes;
        modes.contains(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO)
    }

    /// Waits for the end and gives the exit code.
    #[track_caller]
    pub fn code(&mut self) -> i32 {
        // Its output must be read, or it may not be able to end.
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return command::code(status);
            }
            assert!(
                Instant::now() < end,
                "{}\nstill runs; it showed:\n{}",
                self.line,
                String::from_utf8_lossy(&self.seen)
            );
            if !self.read_more(Instant::now() + Duration::from_millis(20)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            kill_group(&self.child);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
