//! `logs`: what a container has written.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::ops::ControlFlow;

use casemate_engine::{LogEntry, LogOptions, Stream, Timestamp};
use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::clock;

pub(crate) const ENTRY: Entry = Entry {
    name: "logs",
    section: Section::Containers,
    summary: "Show what a container has written",
    usage: "[OPTIONS] CONTAINER",
    example: "casemate logs -f --tail 20 web",
    build: Options::augment_args,
    run,
};

/// What is written at once when nobody watches.
const BUFFER: usize = 64 * 1024;

#[derive(Debug, Args)]
struct Options {
    /// Go on showing what is written, until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only this many lines from the end, or all
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all", allow_hyphen_values = true)]
    tail: String,
    /// Only what was written after: a date, seconds since 1970, or a time ago (10m)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what was written before: a date, seconds since 1970, or a time ago (10m)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Begin each line with its time
    #[arg(short, long)]
    timestamps: bool,
    #[arg(value_name = "CONTAINER", required = true, hide = true)]
    container: String,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let now = Timestamp::now();
    let bound = |flag: &str, text: &Option<String>| {
        let read =
            |text: &String| clock::parse_bound(text, now).map_err(|why| Failure::usage(format!("{flag}: {why}")));
        text.as_ref().map(read).transpose()
    };
    let wanted = LogOptions {
        follow: options.follow,
        tail: tail(&options.tail)?,
        since: bound("--since", &options.since)?,
        until: bound("--until", &options.until)?,
        ..LogOptions::default()
    };
    let engine = context.engine()?;
    let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let mut errors = io::stderr().lock();
    // Whoever watches sees each line at once; whoever reads it all gets it in large pieces.
    let hurry = options.follow || io::stdout().is_terminal();
    let mut writer = Writer { timestamps: options.timestamps, unfinished: [false, false] };
    let mut written = Ok(());
    engine.logs(&options.container, &wanted, &mut |entry| {
        written = writer.write(&mut out, &mut errors, &entry).and_then(|()| if hurry { out.flush() } else { Ok(()) });
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(141),
        Err(error) => Err(Failure::new(format!("cannot write the log: {error}"))),
    }
}

/// `all`, Docker's -1 for the same, or a number of lines.
fn tail(text: &str) -> Result<Option<u64>, Failure> {
    match text {
        "all" | "-1" => Ok(None),
        number => number
            .parse()
            .map(Some)
            .map_err(|_| Failure::usage(format!("--tail {number}: write a number of lines, or all"))),
    }
}

/// Writes entries where their streams belong. Nothing is escaped: this is what the container wrote, byte for byte.
struct Writer {
    timestamps: bool,
    /// Whether a line of the stream is not finished: its rest gets no time.
    unfinished: [bool; 2],
}

impl Writer {
    fn write(&mut self, out: &mut dyn Write, errors: &mut dyn Write, entry: &LogEntry) -> io::Result<()> {
        match entry.stream {
            Stream::Stdout => self.write_to(out, 0, entry),
            Stream::Stderr => {
                // On a terminal both are one, and the order is the container's.
                out.flush()?;
                self.write_to(errors, 1, entry)
            }
        }
    }

    fn write_to(&mut self, out: &mut dyn Write, stream: usize, entry: &LogEntry) -> io::Result<()> {
        if self.timestamps && !self.unfinished[stream] {
            let mut time = Vec::with_capacity(32);
            entry.time.write_nanos(&mut time);
            time.push(b' ');
            out.write_all(&time)?;
        }
        self.unfinished[stream] = !entry.text.ends_with('\n');
        out.write_all(entry.text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails() {
        assert_eq!(tail("all").unwrap(), None);
        assert_eq!(tail("-1").unwrap(), None);
        assert_eq!(tail("20").unwrap(), Some(20));
        assert!(tail("some").is_err());
    }

    #[test]
    fn times_stand_at_the_beginning_of_lines_only() {
        let mut writer = Writer { timestamps: true, unfinished: [false, false] };
        let mut out = Vec::new();
        for text in ["a", "b\n", "c\n"] {
            let entry = LogEntry { time: Timestamp::from_unix(0, 0), stream: Stream::Stdout, text: text.to_owned() };
            writer.write_to(&mut out, 0, &entry).unwrap();
        }
        let time = "1970-01-01T00:00:00.000000000Z";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{time} ab\n{time} c\n"));
    }
}
