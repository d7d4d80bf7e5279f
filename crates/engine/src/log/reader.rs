//! Reading a log: across rotated files, from its end, and on while it grows.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::writer::path_of;
use super::{LogEntry, LogOptions};
use crate::error::{Error, Result};

const CHUNK: usize = 32 * 1024;

/// A line of our own writer is at most this long (16 KiB of text, each byte escaped to six).
const LONGEST_LINE: usize = 128 * 1024;

/// Reads a container's log and gives each entry to `sink` until that breaks. With `follow`, `wait` is called at the end of the
/// log: it returns true when there may be more, false when the container has ended.
pub(crate) fn read(
    directory: &Path,
    options: &LogOptions,
    wait: &mut dyn FnMut() -> Result<bool>,
    sink: &mut dyn FnMut(LogEntry) -> ControlFlow<()>,
) -> Result<()> {
    let mut files = open_all(directory)?;
    if let Some(tail) = options.tail {
        skip_to_tail(&mut files, tail).map_err(|(path, error)| Error::file("read", path)(error))?;
    }
    let mut emitter = Emitter { options, sink, line: Vec::new() };
    let mut current = None;
    for mut log in files {
        if emitter.copy(&mut log)?.is_break() {
            return Ok(());
        }
        current = Some(log);
    }
    if options.follow { follow(directory, current, &mut emitter, wait) } else { Ok(()) }
}

struct LogFile {
    path: PathBuf,
    file: File,
    inode: u64,
}

impl LogFile {
    fn open(path: PathBuf) -> Result<Option<Self>> {
        let opened = match File::open(&path) {
            Ok(file) => file.metadata().map(|found| (file, found.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(error),
        };
        match opened {
            Ok((file, inode)) => Ok(Some(Self { path, file, inode })),
            Err(error) => Err(Error::file("open", path)(error)),
        }
    }
}

/// All files of the log, oldest first.
fn open_all(directory: &Path) -> Result<VecDeque<LogFile>> {
    loop {
        let mut files: VecDeque<LogFile> = VecDeque::new();
        for number in 0.. {
            match LogFile::open(path_of(directory, number))? {
                Some(log) => files.push_front(log),
                None if number == 0 => {}
                None => break,
            }
        }
        // A rotation while the files were opened shows as one file seen twice.
        let mut inodes: Vec<u64> = files.iter().map(|log| log.inode).collect();
        inodes.sort_unstable();
        if !inodes.windows(2).any(|pair| pair.first() == pair.last()) {
            return Ok(files);
        }
    }
}

/// Drops files, and seeks in the first that stays, so that `tail` lines remain.
fn skip_to_tail(files: &mut VecDeque<LogFile>, tail: u64) -> Result<(), (PathBuf, io::Error)> {
    let mut missing = tail;
    let mut keep = 0;
    for log in files.iter_mut().rev() {
        keep += 1;
        match seek_back(&mut log.file, missing) {
            Ok(found) => missing -= found,
            Err(error) => return Err((log.path.clone(), error)),
        }
        if missing == 0 {
            break;
        }
    }
    files.drain(..files.len() - keep);
    Ok(())
}

/// Seeks to where the last `lines` lines begin, or to the start; says how many lines follow, `lines` at most.
fn seek_back(file: &mut File, lines: u64) -> io::Result<u64> {
    let mut position = file.seek(SeekFrom::End(0))?;
    let mut buffer = vec![0_u8; CHUNK];
    let mut newlines = 0;
    let mut at_end = true;
    while position > 0 {
        let length = position.min(CHUNK as u64);
        position -= length;
        file.seek(SeekFrom::Start(position))?;
        let chunk = buffer.get_mut(..usize::try_from(length).unwrap_or(CHUNK)).unwrap_or_default();
        file.read_exact(chunk)?;
        for (at, _) in chunk.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The newline at the very end ends a line; it does not begin one.
            if std::mem::take(&mut at_end) && position + at as u64 + 1 == file.metadata()?.len() && lines > 0 {
                continue;
            }
            newlines += 1;
            if newlines >= lines {
                file.seek(SeekFrom::Start(position + at as u64 + 1))?;
                return Ok(lines);
            }
        }
        if lines == 0 {
            file.seek(SeekFrom::End(0))?;
            return Ok(0);
        }
    }
    file.seek(SeekFrom::Start(0))?;
    let has_any = file.metadata()?.len() > 0;
    Ok((newlines + u64::from(has_any)).min(lines))
}

struct Emitter<'a> {
    options: &'a LogOptions,
    sink: &'a mut dyn FnMut(LogEntry) -> ControlFlow<()>,
    line: Vec<u8>,
}

impl Emitter<'_> {
    /// Gives out all whole lines up to the end of the file; a line without its end waits.
    fn copy(&mut self, log: &mut LogFile) -> Result<ControlFlow<()>> {
        let mut buffer = vec![0_u8; CHUNK];
        loop {
            let length = log.file.read(&mut buffer).map_err(Error::file("read", &log.path))?;
            if length == 0 {
                return Ok(ControlFlow::Continue(()));
            }
            for piece in buffer.get(..length).unwrap_or_default().split_inclusive(|&b| b == b'\n') {
                if self.line.len() < LONGEST_LINE {
                    self.line.extend_from_slice(piece);
                }
                if piece.ends_with(b"\n") && self.emit().is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }

    fn emit(&mut self) -> ControlFlow<()> {
        let line = std::mem::take(&mut self.line);
        // A line that is damaged (a full disk, a kill in the middle) is passed over; those around it are worth reading.
        let Ok(entry) = serde_json::from_slice::<LogEntry>(&line) else { return ControlFlow::Continue(()) };
        let options = self.options;
        if options.until.is_some_and(|until| entry.time > until) {
            return ControlFlow::Break(());
        }
        let wanted = match entry.stream {
            super::Stream::Stdout => options.stdout,
            super::Stream::Stderr => options.stderr,
        };
        if !wanted || options.since.is_some_and(|since| entry.time < since) {
            return ControlFlow::Continue(());
        }
        (self.sink)(entry)
    }
}

fn follow(
    directory: &Path,
    mut current: Option<LogFile>,
    emitter: &mut Emitter<'_>,
    wait: &mut dyn FnMut() -> Result<bool>,
) -> Result<()> {
    loop {
        // Asked before reading, so that nothing written before the end is missed.
        let more = wait()?;
        loop {
            if let Some(log) = &mut current
                && emitter.copy(log)?.is_break()
            {
                return Ok(());
            }
            match next_file(directory, current.as_ref())? {
                Some(next) => {
                    // What was appended between the last read and the rotation.
                    if let Some(log) = &mut current
                        && emitter.copy(log)?.is_break()
                    {
                        return Ok(());
                    }
                    current = Some(next);
                }
                None => break,
            }
        }
        if !more {
            return Ok(());
        }
    }
}

/// The file that comes after this one, if the log was rotated since it was opened.
fn next_file(directory: &Path, current: Option<&LogFile>) -> Result<Option<LogFile>> {
    let mut files = open_all(directory)?;
    let Some(current) = current else { return Ok(files.pop_front()) };
    match files.iter().position(|log| log.inode == current.inode) {
        Some(at) => Ok(files.into_iter().nth(at + 1)),
        // Rotated away altogether: the oldest that is left comes next.
        None => Ok(files.pop_front()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogWriter, Stream};
    use super::*;
    use crate::config::LogConfig;
    use crate::time::Timestamp;

    fn written(lines: u32, max_size: u64) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(root.path(), &LogConfig { max_size, max_files: 50, ..LogConfig::default() });
        for number in 0..lines {
            let stream = if number % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
            log.write(stream, format!("line {number}\n").as_bytes(), Timestamp::from_unix(i64::from(number), 0));
        }
        root
    }

    fn lines(root: &tempfile::TempDir, options: &LogOptions) -> Vec<String> {
        let mut found = Vec::new();
        read(root.path(), options, &mut || Ok(false), &mut |entry| {
            found.push(entry.text.trim_end().to_owned());
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    #[test]
    fn everything_in_order_across_rotated_files() {
        let root = written(40, 500);
        assert!(std::fs::read_dir(root.path()).unwrap().count() > 3);
        let all: Vec<_> = (0..40).map(|number| format!("line {number}")).collect();
        assert_eq!(lines(&root, &LogOptions::default()), all);
    }

    #[test]
    fn the_tail_is_exact_wherever_it_begins() {
        for max_size in [500, 1 << 20] {
            let root = written(40, max_size);
            for tail in [0_u32, 1, 5, 6, 7, 39, 40, 41, 1000] {
                let expected: Vec<_> =
                    (40_u32.saturating_sub(tail)..40).map(|number| format!("line {number}")).collect();
                let options = LogOptions { tail: Some(tail.into()), ..LogOptions::default() };
                assert_eq!(lines(&root, &options), expected, "tail {tail} of files of {max_size}");
            }
        }
    }

    #[test]
    fn times_and_streams_filter() {
        let root = written(10, 1 << 20);
        let options = LogOptions {
            since: Some(Timestamp::from_unix(3, 0)),
            until: Some(Timestamp::from_unix(7, 0)),
            stderr: false,
            ..LogOptions::default()
        };
        assert_eq!(lines(&root, &options), ["line 4", "line 6"]);
    }

    #[test]
    fn no_log_is_an_empty_log() {
        let root = tempfile::tempdir().unwrap();
        assert!(lines(&root, &LogOptions::default()).is_empty());
        assert!(lines(&root, &LogOptions { tail: Some(3), follow: true, ..LogOptions::default() }).is_empty());
    }

    #[test]
    fn a_damaged_line_does_not_hide_the_others() {
        let root = written(2, 1 << 20);
        let path = path_of(root.path(), 0);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen('\n', "\n{\"log\":\"torn\n", 1)).unwrap();
        assert_eq!(lines(&root, &LogOptions::default()), ["line 0", "line 1"]);
    }

    #[test]
    fn following_survives_rotation_and_loses_nothing() {
        let root = written(5, 500);
        let mut log = LogWriter::new(root.path(), &LogConfig { max_size: 500, max_files: 50, ..LogConfig::default() });
        let mut rounds = 0;
        let mut found = Vec::new();
        let options = LogOptions { follow: true, ..LogOptions::default() };
        read(
            root.path(),
            &options,
            &mut || {
                rounds += 1;
                for number in 0..20 {
                    log.write(
                        Stream::Stdout,
                        format!("round {rounds} {number}\n").as_bytes(),
                        Timestamp::from_unix(9, 0),
                    );
                }
                Ok(rounds < 3)
            },
            &mut |entry| {
                found.push(entry.text);
                ControlFlow::Continue(())
            },
        )
        .unwrap();
        assert_eq!(found.len(), 5 + 60);
        assert_eq!(found.last().unwrap(), "round 3 19\n");
    }
}
