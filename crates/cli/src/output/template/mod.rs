//! `--format`: Go templates with Docker's functions, over JSON values.
//!
//! The language is Go's `text/template` as far as formats use it: fields, pipelines, variables, `if`, `with`, `range`, Go's
//! and Docker's functions. Ready-made crates were tried: `gtmpl` and `go-template` are not kept any more, and `gotmpl` takes
//! templates that Go refuses (an `if` without an end, a stray `else`) and can't say where an error is. Everything is
//! bounded: length, nesting, iterations and output.

mod evaluate;
mod format;
mod functions;
mod lexer;
mod parser;

use serde_json::Value;

/// Longest template.
const MAX_LENGTH: usize = 16 * 1024;

/// A place in the template, in bytes.
type Position = usize;

/// A template that parsed.
#[derive(Debug)]
pub(crate) struct Template {
    source: String,
    nodes: Vec<parser::Node>,
}

/// What is wrong with a template, and where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// More than a person writes.
    #[error("the --format template is longer than 16 KiB")]
    TooLong,
    /// It doesn't parse, or doesn't fit the data.
    #[error("--format: {message}\n  {line}\n  {caret}")]
    At {
        /// What is wrong.
        message: String,
        /// The line of the template.
        line: String,
        /// The mark under the place.
        caret: String,
        /// A field is named that the data doesn't have.
        no_field: bool,
    },
}

impl Error {
    fn at(source: &str, at: Position, message: impl Into<String>) -> Self {
        let at = (0..=at.min(source.len())).rev().find(|at| source.is_char_boundary(*at)).unwrap_or(0);
        let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = source[at..].find('\n').map_or(source.len(), |newline| at + newline);
        let column = source[start..at].chars().count();
        Self::At {
            message: message.into(),
            line: super::escape::visible(&source[start..end].replace('\t', " ")).into_owned(),
            caret: format!("{}^", " ".repeat(column)),
            no_field: false,
        }
    }

    /// Whether a field is named that the data doesn't have: the same whatever values the data has.
    pub(crate) fn is_no_field(&self) -> bool {
        matches!(self, Self::At { no_field: true, .. })
    }
}

/// The key under which rows of lists keep their labels as an object (their `Labels` is Docker's joined text), for
/// `.Label "key"`.
pub(crate) const LABEL_MAP: &str = "\u{0}labels";

impl Template {
    /// Parses a template. `\t` and `\n` written as two characters are a tab and a line break, as in Docker.
    pub(crate) fn parse(source: &str) -> Result<Self, Error> {
        if source.len() > MAX_LENGTH {
            return Err(Error::TooLong);
        }
        let source = unescape_text(source);
        let nodes = parser::parse(&source)?;
        Ok(Self { source, nodes })
    }

    /// Executes it over `data`.
    pub(crate) fn execute(&self, data: &Value) -> Result<String, Error> {
        evaluate::run(&self.source, &self.nodes, data)
    }
}

/// Docker's short forms outside of actions; inside, texts have Go's own.
fn unescape_text(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    loop {
        let open = rest.find("{{").unwrap_or(rest.len());
        out.push_str(&rest[..open].replace("\\t", "\t").replace("\\n", "\n"));
        rest = &rest[open..];
        if rest.is_empty() {
            return out;
        }
        let close = rest.find("}}").map_or(rest.len(), |at| at + 2);
        out.push_str(&rest[..close]);
        rest = &rest[close..];
    }
}

#[cfg(test)]
mod tests;
