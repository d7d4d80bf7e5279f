//! Writing a log: lines out of chunks, JSON out of lines, rotation.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{LOG_FILE, Stream};
use crate::config::LogConfig;
use crate::time::Timestamp;

/// A line longer than this is logged in parts, as Docker does.
const LONGEST_LINE: usize = 16 * 1024;

/// Appends to a container's log. The file is made with the first line: most short-lived containers write none.
#[derive(Debug)]
pub(crate) struct LogWriter {
    directory: PathBuf,
    max_size: u64,
    max_files: u32,
    file: Option<File>,
    /// Of the current file; `None` until it was looked at.
    size: Option<u64>,
    partial: [Vec<u8>; 2],
    encoded: Vec<u8>,
    lost: u64,
}

impl LogWriter {
    pub(crate) fn new(directory: &Path, config: &LogConfig) -> Self {
        Self {
            directory: directory.to_path_buf(),
            max_size: config.max_size.max(1),
            max_files: config.max_files.max(1),
            file: None,
            size: None,
            partial: [Vec::new(), Vec::new()],
            encoded: Vec::new(),
            lost: 0,
        }
    }

    /// Takes what was read from a stream. Whole lines are written; the rest waits for its end.
    ///
    /// A log that can't be written (a full disk) must not stop the container: the lines are counted and left out.
    pub(crate) fn write(&mut self, stream: Stream, mut data: &[u8], now: Timestamp) {
        let mut partial = std::mem::take(self.partial_of(stream));
        while !data.is_empty() {
            let room = LONGEST_LINE - partial.len();
            let window = data.get(..room.min(data.len())).unwrap_or(data);
            let end = window.iter().position(|&b| b == b'\n').map(|at| at + 1);
            let (taken, complete) = match end {
                Some(end) => (end, true),
                None => (window.len(), window.len() == room),
            };
            let (piece, rest) = data.split_at(taken);
            data = rest;
            if !complete {
                partial.extend_from_slice(piece);
            } else if partial.is_empty() {
                self.line(stream, piece, now);
            } else {
                partial.extend_from_slice(piece);
                self.line(stream, &partial, now);
                partial.clear();
            }
        }
        // A buffer that grew for one long line is not kept for the container's life.
        if partial.is_empty() && partial.capacity() > 1024 {
            partial = Vec::new();
        }
        *self.partial_of(stream) = partial;
        self.flush();
    }

    /// Writes what has no newline yet: the stream has ended.
    pub(crate) fn finish(&mut self, now: Timestamp) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(self.partial_of(stream));
            if !partial.is_empty() {
                self.line(stream, &partial, now);
            }
        }
        self.flush();
    }

    /// How many lines could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    fn partial_of(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.partial[0],
            Stream::Stderr => &mut self.partial[1],
        }
    }

    fn line(&mut self, stream: Stream, line: &[u8], now: Timestamp) {
        let before = self.encoded.len();
        encode(&mut self.encoded, stream, line, now);
        let pending = self.encoded.len() as u64;
        if self.current_size() + pending > self.max_size && (self.current_size() > 0 || before > 0) {
            let last = self.encoded.split_off(before);
            self.flush();
            // Where that fails the old file is gone on with: better too long a file than lines that are lost.
            let _ = self.rotate();
            self.encoded = last;
        }
    }

    fn current_size(&mut self) -> u64 {
        if let Some(size) = self.size {
            return size;
        }
        // A container that is started again goes on with its log.
        let size = std::fs::metadata(self.path(0)).map_or(0, |found| found.len());
        self.size = Some(size);
        size
    }

    fn flush(&mut self) {
        if self.encoded.is_empty() {
            return;
        }
        if self.append().is_err() {
            self.lost += self.encoded.split(|&b| b == b'\n').count() as u64 - 1;
        }
        self.encoded.clear();
        if self.encoded.capacity() > 4096 {
            self.encoded = Vec::new();
        }
    }

    fn append(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let file = OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
                .open(self.path(0))?;
            self.size = Some(file.metadata()?.len());
            self.file = Some(file);
        }
        if let Some(file) = &mut self.file {
            file.write_all(&self.encoded)?;
            self.size = self.size.map(|size| size + self.encoded.len() as u64);
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        if self.max_files == 1 {
            std::fs::remove_file(self.path(0))?;
        }
        for number in (0..self.max_files - 1).rev() {
            match std::fs::rename(self.path(number), self.path(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.size = Some(0);
        Ok(())
    }

    fn path(&self, number: u32) -> PathBuf {
        path_of(&self.directory, number)
    }
}

/// The current log (0) or a rotated one.
pub(super) fn path_of(directory: &Path, number: u32) -> PathBuf {
    if number == 0 { directory.join(LOG_FILE) } else { directory.join(format!("{LOG_FILE}.{number}")) }
}

fn encode(out: &mut Vec<u8>, stream: Stream, line: &[u8], now: Timestamp) {
    out.extend_from_slice(br#"{"log":""#);
    let text = String::from_utf8_lossy(line);
    let mut plain_from = 0;
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        let escaped: &[u8] = match byte {
            b'"' => br#"\""#,
            b'\\' => br"\\",
            b'\n' => br"\n",
            b'\r' => br"\r",
            b'\t' => br"\t",
            0x00..=0x1f | 0x7f => b"",
            _ => continue,
        };
        out.extend_from_slice(bytes.get(plain_from..at).unwrap_or_default());
        plain_from = at + 1;
        if escaped.is_empty() {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(br"\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
        } else {
            out.extend_from_slice(escaped);
        }
    }
    out.extend_from_slice(bytes.get(plain_from..).unwrap_or_default());
    out.extend_from_slice(br#"","stream":""#);
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(br#"","time":""#);
    now.write_nanos(out);
    out.extend_from_slice(b"\"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(max_size: u64, max_files: u32) -> LogConfig {
        LogConfig { max_size, max_files, ..LogConfig::default() }
    }

    fn content(directory: &Path, number: u32) -> String {
        std::fs::read_to_string(path_of(directory, number)).unwrap_or_default()
    }

    #[test]
    fn lines_are_dockers_json() {
        let root = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(root.path(), &config(1 << 20, 3));
        let now = Timestamp::from_unix(0, 1);
        log.write(Stream::Stdout, b"hello \"world\"\\\n", now);
        log.write(Stream::Stderr, b"bell\x07 \xff end\n", now);
        let text = content(root.path(), 0);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"log":"hello \"world\"\\\n","stream":"stdout","time":"1970-01-01T00:00:00.000000001Z"}"#
        );
        let entry: super::super::LogEntry = serde_json::from_str(lines[1]).unwrap();
        assert_eq!(entry.text, "bell\u{7} \u{fffd} end\n");
        assert_eq!(entry.stream, Stream::Stderr);
    }

    #[test]
    fn chunks_are_joined_to_lines_for_each_stream() {
        let root = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(root.path(), &config(1 << 20, 3));
        let now = Timestamp::from_unix(0, 0);
        log.write(Stream::Stdout, b"one ", now);
        log.write(Stream::Stderr, b"other\n", now);
        assert_eq!(content(root.path(), 0).lines().count(), 1);
        log.write(Stream::Stdout, b"line\nrest", now);
        log.finish(now);
        let text = content(root.path(), 0);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[1].starts_with(r#"{"log":"one line\n""#));
        assert!(lines[2].starts_with(r#"{"log":"rest""#));
    }

    #[test]
    fn a_line_without_end_is_logged_in_parts() {
        let root = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(root.path(), &config(1 << 20, 3));
        let now = Timestamp::from_unix(0, 0);
        log.write(Stream::Stdout, &vec![b'x'; LONGEST_LINE * 2 + 5], now);
        assert_eq!(content(root.path(), 0).lines().count(), 2);
        log.finish(now);
        assert_eq!(content(root.path(), 0).lines().count(), 3);
    }

    #[test]
    fn rotation_keeps_as_many_files_as_asked_and_no_more_bytes() {
        let root = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(root.path(), &config(1000, 3));
        for number in 0..100 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes(), Timestamp::from_unix(0, 0));
        }
        assert_eq!(log.lost(), 0);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 3);
        for number in 0..3 {
            assert!(content(root.path(), number).len() <= 1000);
        }
        assert!(content(root.path(), 0).contains("line 99"));
        assert!(content(root.path(), 1).lines().count() > 3);
    }

    #[test]
    fn one_chunk_of_many_lines_is_rotated_within() {
        let root = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(root.path(), &config(500, 2));
        log.write(Stream::Stdout, "abcdefgh\n".repeat(50).as_bytes(), Timestamp::from_unix(0, 0));
        assert!(content(root.path(), 0).len() <= 500 && content(root.path(), 1).len() <= 500);
    }

    #[test]
    fn one_file_only_starts_over() {
        let root = tempfile::tempdir().unwrap();
        let mut log = LogWriter::new(root.path(), &config(200, 1));
        for number in 0..10 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes(), Timestamp::from_unix(0, 0));
        }
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
        assert!(content(root.path(), 0).contains("line 9"));
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let mut log = LogWriter::new(Path::new("/nonexistent/casemate"), &config(1000, 3));
        log.write(Stream::Stdout, b"a\nb\n", Timestamp::from_unix(0, 0));
        assert_eq!(log.lost(), 2);
    }
}
