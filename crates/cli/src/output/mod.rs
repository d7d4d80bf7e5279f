//! What commands print: tables, templates, JSON, words for sizes and times.

pub(crate) mod age;
pub(crate) mod clock;
pub(crate) mod document;
pub(crate) mod escape;
pub(crate) mod filter;
pub(crate) mod listing;
pub(crate) mod size;
pub(crate) mod table;
pub(crate) mod template;

use std::io::{self, Write};

use crate::failure::Failure;

/// Writes `text` to standard output.
///
/// A reader that went away (`casemate ps | head -1`) ends the command quietly, as it ends every Unix tool.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::quiet(141)),
        Err(error) => Err(Failure::new(format!("cannot write to standard output: {error}"))),
    }
}

/// Writes to standard error, with what may have come from an image, or from whoever wrote the command line, made safe to
/// show; that it can't be written is nobody's business.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{}", escape::lines(text));
}
