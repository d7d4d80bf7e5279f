//! `update`: limits of a container that runs.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::Read as _;

use serde_json::{Map, Value, json};

use super::Call;
use crate::Failure;
use crate::arguments::{Flag, Parsed, Until, parse, value};

/// The most that is read of a resources document, in bytes.
const LARGEST: u64 = 4 << 20;

const FLAGS: [Flag; 19] = [
    value("resources", Some('r')),
    value("blkio-weight", None),
    value("cpu-period", None),
    value("cpu-quota", None),
    value("cpu-burst", None),
    value("cpu-share", None),
    value("cpu-rt-period", None),
    value("cpu-rt-runtime", None),
    value("cpuset-cpus", None),
    value("cpuset-mems", None),
    value("cpu-idle", None),
    value("kernel-memory", None),
    value("kernel-memory-tcp", None),
    value("memory", None),
    value("memory-reservation", None),
    value("memory-swap", None),
    value("pids-limit", None),
    value("l3-cache-schema", None),
    value("mem-bw-schema", None),
];

pub(super) fn update(call: &Call<'_>, arguments: VecDeque<OsString>) -> Result<u8, Failure> {
    let mut parsed = parse(&FLAGS, Until::End, arguments)?;
    let id = parsed.only("update")?;
    for flag in ["l3-cache-schema", "mem-bw-schema"] {
        if parsed.value(flag).is_some() {
            return Err(Failure::new(format!(
                "--{flag}: linux.intelRdt is set when a container is made, and not later"
            )));
        }
    }
    let document = match parsed.value("resources") {
        Some(path) => read(path)?,
        None => serde_json::to_vec(&from_flags(&parsed)?).map_err(|error| Failure::new(error.to_string()))?,
    };
    let resources = casemate_runtime::read_update(&document)?;
    call.globals.runtime().update(&id, &resources)?;
    Ok(0)
}

fn read(path: &std::ffi::OsStr) -> Result<Vec<u8>, Failure> {
    let fail = |error: std::io::Error| Failure::new(format!("--resources {path:?}: {error}"));
    let mut text = Vec::new();
    if path == "-" {
        std::io::stdin().take(LARGEST + 1).read_to_end(&mut text).map_err(fail)?;
    } else {
        std::fs::File::open(path).map_err(fail)?.take(LARGEST + 1).read_to_end(&mut text).map_err(fail)?;
    }
    Ok(text)
}

/// The flags as the document that the others give: one way to read them.
fn from_flags(parsed: &Parsed) -> Result<Value, Failure> {
    let mut parts: [(&str, Map<String, Value>); 4] =
        [("memory", Map::new()), ("cpu", Map::new()), ("blockIO", Map::new()), ("pids", Map::new())];
    let mut put = |part: usize, key: &str, value: Option<Value>| {
        if let Some(value) = value {
            parts[part].1.insert(key.to_owned(), value);
        }
    };
    for (flag, key) in [
        ("memory", "limit"),
        ("memory-reservation", "reservation"),
        ("memory-swap", "swap"),
        ("kernel-memory", "kernel"),
        ("kernel-memory-tcp", "kernelTCP"),
    ] {
        put(0, key, size(parsed, flag)?.map(Value::from));
    }
    for (flag, key) in [("cpu-period", "period"), ("cpu-share", "shares"), ("cpu-rt-period", "realtimePeriod")] {
        put(1, key, parsed.number::<u64>(flag)?.map(Value::from));
    }
    for (flag, key) in
        [("cpu-quota", "quota"), ("cpu-burst", "burst"), ("cpu-rt-runtime", "realtimeRuntime"), ("cpu-idle", "idle")]
    {
        put(1, key, parsed.number::<i64>(flag)?.map(Value::from));
    }
    for (flag, key) in [("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")] {
        put(1, key, parsed.text(flag)?.map(Value::from));
    }
    put(2, "weight", parsed.number::<u16>("blkio-weight")?.map(Value::from));
    put(3, "limit", parsed.number::<i64>("pids-limit")?.map(Value::from));
    let given = parts.into_iter().filter(|(_, part)| !part.is_empty());
    Ok(json!(given.map(|(name, part)| (name.to_owned(), Value::Object(part))).collect::<Map<_, _>>()))
}

/// A size in bytes, with a unit as in `64M` if there is one; `-1` is no limit.
fn size(parsed: &Parsed, flag: &str) -> Result<Option<i64>, Failure> {
    let Some(text) = parsed.text(flag)? else { return Ok(None) };
    if text == "-1" {
        return Ok(Some(-1));
    }
    let bytes =
        casemate_posture::bytes::parse("size", text).map_err(|error| Failure::new(format!("--{flag}: {error}")))?;
    i64::try_from(bytes).map(Some).map_err(|_| Failure::new(format!("--{flag}: {text:?} is too large")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(words: &str) -> Value {
        let words = words.split(' ').map(OsString::from).collect();
        from_flags(&parse(&FLAGS, Until::End, words).unwrap()).unwrap()
    }

    #[test]
    fn flags_are_the_fields_of_the_document() {
        let given = document("id --memory 64M --memory-swap -1 --cpu-quota -1 --cpu-share 512 --pids-limit 7");
        assert_eq!(
            given,
            json!({
                "memory": { "limit": 64 << 20, "swap": -1 },
                "cpu": { "quota": -1, "shares": 512 },
                "pids": { "limit": 7 },
            })
        );
        assert_eq!(document("id"), json!({}));
    }
}
