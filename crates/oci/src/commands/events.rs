//! `events`: what a container uses, and when it runs out of memory, one JSON document a line.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::time::Duration;

use casemate_runtime::statistics::Event;

use super::{Call, print};
use crate::Failure;
use crate::arguments::{Until, parse, switch, value};

pub(super) fn events(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    let mut parsed = parse(&[value("interval", None), switch("stats", None)], Until::End, arguments)?;
    let id = parsed.only("events")?;
    let interval = match parsed.text("interval")? {
        None => Duration::from_secs(5),
        Some(text) => casemate_posture::duration::parse("interval", text)
            .map_err(|error| Failure::new(format!("--interval: {error}")))?,
    };
    if interval.is_zero() {
        return Err(Failure::new("duration interval must be greater than 0"));
    }
    let runtime = call.globals.runtime();
    if parsed.is_set("stats") {
        return line(&Event::stats(&id, runtime.statistics(&id)?));
    }
    runtime.watch(&id, interval, &mut |event| {
        line(&event).map(drop).map_err(|failure| casemate_runtime::Error::other("events", failure.text))
    })?;
    Ok(0)
}

fn line(event: &Event<'_>) -> Result<u8, Failure> {
    let text = serde_json::to_string(event).map_err(|error| Failure::new(error.to_string()))?;
    print(&format!("{text}\n"))
}
