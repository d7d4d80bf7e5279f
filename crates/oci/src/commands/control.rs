//! `start`, `kill`, `delete`, `pause`, `resume`.

use std::collections::VecDeque;
use std::ffi::OsString;

use super::Call;
use crate::Failure;
use crate::arguments::{Until, parse, switch};

pub(super) fn start(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    let id = parse(&[], Until::End, arguments)?.only("start")?;
    call.globals.runtime().start(&id).map_err(|error| Failure::from(error).during("start failed"))?;
    Ok(0)
}

pub(super) fn kill(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    let mut parsed = parse(&[switch("all", Some('a'))], Until::FirstArgument, arguments)?;
    let id = parsed.first("kill")?;
    let mut all = parsed.is_set("all");
    let mut signal = 15;
    for word in parsed.arguments {
        match word.to_str() {
            Some("--all" | "-a") => all = true,
            Some(text) => {
                signal = casemate_posture::signal::number(text)
                    .ok_or_else(|| Failure::new(format!("unknown signal {text:?}")))?;
            }
            None => return Err(Failure::new(format!("unknown signal {word:?}"))),
        }
    }
    call.globals.runtime().kill(&id, signal, all)?;
    Ok(0)
}

pub(super) fn delete(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    let mut parsed = parse(&[switch("force", Some('f'))], Until::End, arguments)?;
    let id = parsed.only("delete")?;
    call.globals.runtime().delete(&id, parsed.is_set("force"))?;
    Ok(0)
}

pub(super) fn pause(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    let id = parse(&[], Until::End, arguments)?.only("pause")?;
    call.globals.runtime().pause(&id)?;
    Ok(0)
}

pub(super) fn resume(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    let id = parse(&[], Until::End, arguments)?.only("resume")?;
    call.globals.runtime().resume(&id)?;
    Ok(0)
}
