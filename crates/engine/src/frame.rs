//! What supervisor and clients say to each other, on a Unix socket that keeps message boundaries (`SOCK_SEQPACKET`).
//!
//! One message is one frame: a byte that says what it is, and its content. Messages arrive whole or not at all, so a reader
//! never has half a frame to keep.

use crate::error::ErrorKind;

/// The largest content of a frame; well below what a socket buffer holds.
pub(crate) const LARGEST_CONTENT: usize = 32 * 1024;

/// Room for the largest frame.
pub(crate) const LARGEST_FRAME: usize = LARGEST_CONTENT + 1;

/// The room in front of the content, so that it can be read straight into its place in a frame.
pub(crate) const HEADER: usize = 1;

const STDIN: u8 = 1;
const STDIN_END: u8 = 2;
const RESIZE: u8 = 3;
const SUBSCRIBE: u8 = 4;
const DETACH: u8 = 5;
pub(crate) const STDOUT: u8 = 16;
pub(crate) const STDERR: u8 = 17;
const STARTED: u8 = 18;
const FAILED: u8 = 19;
const EXITED: u8 = 20;

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// The first message on a connection made through the socket file: what it wants to hear. Without it only the end is told.
    Subscribe {
        output: bool,
        input: bool,
    },
    Stdin(&'a [u8]),
    StdinEnd,
    Resize {
        columns: u16,
        rows: u16,
    },
    /// It leaves on purpose: the container's input stays open.
    Detach,
}

/// What a supervisor says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    Stdout(&'a [u8]),
    Stderr(&'a [u8]),
    Started { pid: u32 },
    Failed { kind: ErrorKind, text: &'a str },
    Exited { code: i32, oom_killed: bool },
}

impl<'a> Request<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        match *self {
            Self::Subscribe { output, input } => out.extend([SUBSCRIBE, u8::from(output) | u8::from(input) << 1]),
            Self::Stdin(data) => {
                out.push(STDIN);
                out.extend(data);
            }
            Self::StdinEnd => out.push(STDIN_END),
            Self::Detach => out.push(DETACH),
            Self::Resize { columns, rows } => {
                out.push(RESIZE);
                out.extend(columns.to_le_bytes());
                out.extend(rows.to_le_bytes());
            }
        }
    }

    /// `None` for what is no request; the connection is then closed.
    pub(crate) fn decode(message: &'a [u8]) -> Option<Self> {
        let (&kind, content) = message.split_first()?;
        Some(match (kind, content) {
            (SUBSCRIBE, &[flags]) if flags < 4 => Self::Subscribe { output: flags & 1 != 0, input: flags & 2 != 0 },
            (STDIN, data) if !data.is_empty() => Self::Stdin(data),
            (STDIN_END, []) => Self::StdinEnd,
            (DETACH, []) => Self::Detach,
            (RESIZE, &[c0, c1, r0, r1]) => {
                Self::Resize { columns: u16::from_le_bytes([c0, c1]), rows: u16::from_le_bytes([r0, r1]) }
            }
            _ => return None,
        })
    }
}

impl<'a> Reply<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        match *self {
            Self::Stdout(data) => {
                out.push(STDOUT);
                out.extend(data);
            }
            Self::Stderr(data) => {
                out.push(STDERR);
                out.extend(data);
            }
            Self::Started { pid } => {
                out.push(STARTED);
                out.extend(pid.to_le_bytes());
            }
            Self::Failed { kind, text } => {
                out.extend([FAILED, kind.to_wire()]);
                let end =
                    (0..=text.len().min(LARGEST_CONTENT - 1)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
                out.extend(text.as_bytes().get(..end).unwrap_or_default());
            }
            Self::Exited { code, oom_killed } => {
                out.push(EXITED);
                out.extend(code.to_le_bytes());
                out.push(u8::from(oom_killed));
            }
        }
    }

    pub(crate) fn decode(message: &'a [u8]) -> Option<Self> {
        let (&kind, content) = message.split_first()?;
        Some(match (kind, content) {
            (STDOUT, data) => Self::Stdout(data),
            (STDERR, data) => Self::Stderr(data),
            (STARTED, &[a, b, c, d]) => Self::Started { pid: u32::from_le_bytes([a, b, c, d]) },
            (FAILED, [kind, text @ ..]) => {
                Self::Failed { kind: ErrorKind::from_wire(*kind), text: std::str::from_utf8(text).ok()? }
            }
            (EXITED, &[a, b, c, d, oom]) => {
                Self::Exited { code: i32::from_le_bytes([a, b, c, d]), oom_killed: oom != 0 }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        let mut wire = Vec::new();
        for request in [
            Request::Subscribe { output: true, input: false },
            Request::Subscribe { output: false, input: true },
            Request::Stdin(b"x\0y"),
            Request::StdinEnd,
            Request::Detach,
            Request::Resize { columns: 300, rows: 24 },
        ] {
            request.encode(&mut wire);
            assert_eq!(Request::decode(&wire), Some(request));
        }
    }

    #[test]
    fn replies_survive_the_wire() {
        let mut wire = Vec::new();
        for reply in [
            Reply::Stdout(b"out"),
            Reply::Stderr(b"err"),
            Reply::Started { pid: 4_000_000 },
            Reply::Failed { kind: ErrorKind::CommandNotFound, text: "no such file" },
            Reply::Exited { code: 137, oom_killed: true },
        ] {
            reply.encode(&mut wire);
            assert_eq!(Reply::decode(&wire), Some(reply));
        }
    }

    #[test]
    fn what_is_no_frame_is_none() {
        for message in [&[][..], &[0], &[99, 1], &[STDIN], &[RESIZE, 1, 2, 3], &[STDIN_END, 1], &[SUBSCRIBE, 9]] {
            assert_eq!(Request::decode(message), None, "{message:?}");
        }
        for message in [&[][..], &[EXITED, 1], &[STARTED], &[FAILED, 1, 0xff]] {
            assert_eq!(Reply::decode(message), None, "{message:?}");
        }
    }

    #[test]
    fn a_long_failure_is_cut_at_a_character() {
        let text = "é".repeat(LARGEST_CONTENT);
        let mut wire = Vec::new();
        Reply::Failed { kind: ErrorKind::Internal, text: &text }.encode(&mut wire);
        assert!(wire.len() <= LARGEST_FRAME);
        assert!(Reply::decode(&wire).is_some());
    }
}
