//! The flags of `run` and `create`, in the groups in which the help shows them, and what they become for the engine.

mod creation;
mod environment;
mod isolation;
mod posture;
mod resources;
mod storage;

pub(crate) use creation::{CidFile, Creation};
pub(crate) use environment::{Environment, resolve as resolve_environment};

use crate::failure::Failure;

/// The words that Go's `strconv.ParseBool`, and so every on/off flag of Docker's, takes.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

/// `KEY=VALUE` of a flag.
fn key_value(flag: &str, text: &str) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!("{flag} \"{text}\": write KEY=VALUE"))),
    }
}
