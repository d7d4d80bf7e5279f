//! `state`, `list`, `ps`, `features`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::Command;

use casemate_runtime::lifecycle::State;
use serde::Serialize;

use super::{Call, print};
use crate::Failure;
use crate::arguments::{Flag, Until, parse, switch, value};

const FORMAT: Flag = value("format", Some('f'));

pub(super) fn state(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    let id = parse(&[], Until::End, arguments)?.only("state")?;
    let state = call.globals.runtime().state(&id)?;
    print(&format!("{}\n", json(&WithOwner { state: &state, owner: "" }, true)?))
}

/// A state as it is listed.
#[derive(Serialize)]
struct WithOwner<'a> {
    #[serde(flatten)]
    state: &'a State,
    owner: &'a str,
}

fn json(value: &impl Serialize, pretty: bool) -> Result<String, Failure> {
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    text.map_err(|error| Failure::new(error.to_string()))
}

pub(super) fn list(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    let mut parsed = parse(&[FORMAT, switch("quiet", Some('q'))], Until::End, arguments)?;
    if parsed.arguments.pop_front().is_some() {
        return Err(Failure::new("\"list\" takes no arguments"));
    }
    let states = call.globals.runtime().list()?;
    if parsed.is_set("quiet") {
        return print(&states.iter().flat_map(|state| [state.id.as_str(), "\n"]).collect::<String>());
    }
    let owners: Vec<String> = states.iter().map(|state| owner(state.owner)).collect();
    match parsed.text("format")?.unwrap_or("table") {
        "json" if states.is_empty() => print("null\n"),
        "json" => {
            let rows: Vec<_> = states.iter().zip(&owners).map(|(state, owner)| WithOwner { state, owner }).collect();
            print(&format!("{}\n", json(&rows, false)?))
        }
        "table" | "" => print(&table(&states, &owners)),
        other => Err(Failure::new(format!("invalid format option: {other:?}"))),
    }
}

/// Columns as Go's `tabwriter` lays them out with a minimum of twelve and three between: what scripts were written for.
fn table(states: &[State], owners: &[String]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(header)
        .chain(states.iter().zip(owners).map(|(state, owner)| {
            [
                state.id.clone(),
                state.pid.to_string(),
                state.status.to_string(),
                state.bundle.to_string_lossy().escape_debug().to_string(),
                state.created.clone(),
                owner.clone(),
            ]
        }))
        .collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count() + 3).max().unwrap_or(0).max(12)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for [id, pid, status, bundle, created, owner] in &rows {
        for (cell, width) in [id, pid, status, bundle, created].into_iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{cell:<width$}");
        }
        text.push_str(owner);
        text.push('\n');
    }
    text
}

/// The name of a user of the host, or `#` and the number.
fn owner(uid: u32) -> String {
    // A line of passwd is `name:password:uid:…`.
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
        })
        .unwrap_or_else(|| format!("#{uid}"))
}

pub(super) fn ps(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    let mut parsed = parse(&[FORMAT], Until::FirstArgument, arguments)?;
    let id = parsed.first("ps")?;
    let mut format = parsed.text("format")?.unwrap_or("table").to_owned();
    let mut options: Vec<OsString> = Vec::new();
    let mut rest = parsed.arguments.iter();
    while let Some(option) = rest.next() {
        match option.to_str() {
            Some("--format" | "-f") => {
                format = rest.next().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
            }
            Some(text) if text.starts_with("--format=") => {
                text["--format=".len()..].clone_into(&mut format);
            }
            _ => options.push(option.clone()),
        }
    }
    let pids = call.globals.runtime().processes(&id)?;
    match format.as_str() {
        "json" => print(&format!("{}\n", json(&pids, false)?)),
        "table" | "" => print(&process_table(&pids, &options)?),
        other => Err(Failure::new(format!("invalid format option: {other:?}"))),
    }
}

/// What `ps` says of the container's processes.
fn process_table(pids: &[u32], options: &[OsString]) -> Result<String, Failure> {
    let usual = [OsString::from("-ef")];
    let options = if options.is_empty() { &usual[..] } else { options };
    let output = Command::new("ps").args(options).output().map_err(|error| Failure::new(format!("run ps: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new(format!("ps: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    let column = title
        .split_ascii_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| Failure::new("ps: couldn't find PID field in ps output"))?;
    let mut table = format!("{title}\n");
    for line in lines {
        let pid = line.split_ascii_whitespace().nth(column).and_then(|field| field.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            table.push_str(line);
            table.push('\n');
        }
    }
    Ok(table)
}

pub(super) fn features(_: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    if parse(&[], Until::End, arguments)?.arguments.pop_front().is_some() {
        return Err(Failure::new("\"features\" takes no arguments"));
    }
    print(&format!("{}\n", json(&casemate_runtime::features(), true)?))
}
