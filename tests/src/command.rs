//! Running a program with a time limit.

use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// How long a command may take that nothing else is said of.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What became of a command.
#[derive(Debug)]
pub struct Output {
    /// What was run, for messages.
    pub line: String,
    /// The exit code, or 128 and the signal.
    pub code: i32,
    /// Standard output, byte for byte.
    pub bytes: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Standard output as text, without the last line's end.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.bytes).trim_end_matches('\n').to_owned()
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            code,
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.stdout().chars().take(4000).collect::<String>(),
            self.stderr
        );
        self
    }

    /// Asserts success, and gives standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        self.expect(0).stdout()
    }

    /// Asserts that standard error says all of `words`.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "{}\nshould say {word:?} and says:\n{}", self.line, self.stderr);
        }
        self
    }
}

/// A command as one would type it, for messages.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// The exit code as a shell says it.
pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Starts a command. A program that a test has just written may be held open for writing for a moment more, by the child of another
/// test's fork that has not executed its own program yet.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    for _ in 0..50 {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
    command.spawn()
}

/// Runs `command` with `input` on its standard input.
///
/// It is a failure when it takes longer than `limit`, and when something that it left behind holds its output open.
#[track_caller]
pub fn run(command: &mut Command, input: Option<Vec<u8>>, limit: Duration) -> Output {
    let line = line(command);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = spawn(command).unwrap_or_else(|error| panic!("{line}: {error}"));
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // What doesn't read its input closes it.
        std::thread::spawn(move || stdin.write_all(&input));
    }
    let stdout = drain(child.stdout.take().expect("piped"));
    let stderr = drain(child.stderr.take().expect("piped"));
    let end = Instant::now() + limit;
    let status = wait(&mut child, limit);
    let left = end.saturating_duration_since(Instant::now()).max(Duration::from_secs(5));
    let Some(status) = status else {
        kill_group(&child);
        let said = |stream: Receiver<Vec<u8>>| {
            String::from_utf8_lossy(&stream.recv_timeout(left).unwrap_or_default()).into_owned()
        };
        panic!("{line}\nstill ran after {limit:?}\n--- stdout\n{}\n--- stderr\n{}", said(stdout), said(stderr));
    };
    let read = |stream: Receiver<Vec<u8>>, name: &str| {
        stream.recv_timeout(left).unwrap_or_else(|_| panic!("{line}\nended, but something holds its {name} open"))
    };
    let bytes = read(stdout, "standard output");
    let stderr = String::from_utf8_lossy(&read(stderr, "standard error")).into_owned();
    Output { line, code: code(status), bytes, stderr }
}

/// Waits for a child; `None` when it still runs after `limit`.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() > end {
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Kills a child that leads a process group, and the group.
pub fn kill_group(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may be gone already.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

fn drain(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what there is.
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

/// Runs a tool that a fixture needs; its standard error when it fails.
pub fn tool(command: &mut Command, limit: Duration) -> Result<String, String> {
    let output = run(command, None, limit);
    if output.code == 0 {
        Ok(output.stdout())
    } else {
        let said = output.stderr.lines().last().unwrap_or_default();
        Err(format!("{} ended with {}: {said}", output.line, output.code))
    }
}
