//! A specification or a process as text (`config.json`, `process.json`), read.
//!
//! What the types at hand read as it stands costs one pass. Only what they refuse is looked at again: some of it is right
//! and has another spelling in the types, some is to be passed over with a warning, and the rest gets an error that says
//! where in the document it is.

use casemate_posture::Capability;
use oci_spec::runtime::{Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Error;

/// Reads a specification. The strings are warnings.
pub(crate) fn spec(text: &[u8]) -> Result<(Spec, Vec<String>), Error> {
    read(text, Some("process"))
}

/// Reads a process. The strings are warnings.
pub(crate) fn process(text: &[u8]) -> Result<(Process, Vec<String>), Error> {
    read(text, None)
}

/// Reads a document that is a process, or has one under this name.
fn read<T: DeserializeOwned>(text: &[u8], name: Option<&str>) -> Result<(T, Vec<String>), Error> {
    // The types would read a list, too, of their fields in an order that nobody knows.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::field("JSON", "not an object"));
    }
    if let Ok(read) = serde_json::from_slice(text) {
        return Ok((read, Vec::new()));
    }
    let mut document: Value = serde_json::from_slice(text).map_err(|error| Error::field("JSON", error))?;
    let process = match name {
        Some(name) => document.get_mut(name),
        None => Some(&mut document),
    };
    let warnings = process.and_then(Value::as_object_mut).map(adapt_process).unwrap_or_default();
    match serde_path_to_error::deserialize(document) {
        Ok(read) => Ok((read, warnings)),
        Err(error) => Err(match error.path().iter().next() {
            Some(_) => {
                let place = if name.is_none() { "process." } else { "" };
                Error::field(&format!("{place}{}", error.path()), error.inner())
            }
            None => Error::field("JSON", error.inner()),
        }),
    }
}

/// Names of scheduling flags, as the specification has them and as the types do.
const SCHEDULER_FLAGS: [(&str, &str); 2] =
    [("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK"), ("SCHED_FLAG_DL_OVERRUN", "SCHED_FLAG_D_L_OVERRUN")];

fn adapt_process(process: &mut Map<String, Value>) -> Vec<String> {
    // Root, when nobody is named: as for every other runtime.
    process.entry("user").or_insert_with(|| Value::Object(Map::new()));
    if let Some(Value::Object(affinity)) = process.get_mut("execCPUAffinity") {
        // An empty list means what none does.
        affinity.retain(|_, list| list.as_str() != Some(""));
    }
    if let Some(Value::Array(flags)) = process.get_mut("scheduler").and_then(|scheduler| scheduler.get_mut("flags")) {
        for flag in flags {
            if let Some((_, ours)) = SCHEDULER_FLAGS.iter().find(|(theirs, _)| flag.as_str() == Some(theirs)) {
                *flag = Value::from(*ours);
            }
        }
    }
    let mut unknown: Vec<String> = Vec::new();
    if let Some(Value::Object(sets)) = process.get_mut("capabilities") {
        for set in sets.values_mut().filter_map(Value::as_array_mut) {
            set.retain(|name| match name.as_str() {
                Some(name) if name.parse::<Capability>().is_err() => {
                    unknown.push(name.to_owned());
                    false
                }
                _ => true,
            });
        }
    }
    ignored_capabilities(unknown).into_iter().collect()
}

/// The warning about capabilities that nobody can have here, in the words that runc has for it.
pub(super) fn ignored_capabilities(mut names: Vec<String>) -> Option<String> {
    names.sort();
    names.dedup();
    (!names.is_empty()).then(|| format!("ignoring unknown or unavailable capabilities: [{}]", names.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        spec(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_error_says_where_it_is() {
        let text = r#"{"ociVersion":"1.0.2","linux":{"namespaces":[{"type":"pid"},{"type":"peace"}]}}"#;
        assert!(error(text).starts_with("linux.namespaces[1].type: unknown variant `peace`"), "{}", error(text));
        let text = r#"{"process":{"cwd":"/","rlimits":[{"type":"RLIMIT_TEST","hard":1,"soft":1}]}}"#;
        assert!(error(text).starts_with("process.rlimits[0].type: unknown variant `RLIMIT_TEST`"), "{}", error(text));
        assert!(error(r#"{"process":{"cwd":7}}"#).starts_with("process.cwd: "));
        assert!(error("{").starts_with("JSON: "));
        assert!(error("[]").starts_with("JSON: "));
    }

    #[test]
    fn unknown_capabilities_are_passed_over_with_one_warning() {
        let text =
            r#"{"cwd":"/","capabilities":{"bounding":["CAP_TEST","CAP_KILL"],"effective":["CAP_TEST","CAP_A"]}}"#;
        let (read, warnings) = process(text.as_bytes()).unwrap();
        assert_eq!(warnings, ["ignoring unknown or unavailable capabilities: [CAP_A CAP_TEST]"]);
        let sets = read.capabilities().as_ref().unwrap();
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 1);
        assert!(sets.effective().as_ref().unwrap().is_empty());
        assert_eq!(read.user().uid(), 0);
    }

    #[test]
    fn every_scheduling_flag_of_the_specification_is_read() {
        let flags = "RESET_ON_FORK RECLAIM DL_OVERRUN KEEP_POLICY KEEP_PARAMS UTIL_CLAMP_MIN UTIL_CLAMP_MAX";
        for flag in flags.split(' ') {
            let text = format!(
                r#"{{"cwd":"/","scheduler":{{"policy":"SCHED_IDLE","flags":["SCHED_FLAG_{flag}"]}},"execCPUAffinity":{{"initial":""}}}}"#
            );
            let (read, warnings) = process(text.as_bytes()).unwrap();
            assert_eq!(read.scheduler().as_ref().unwrap().flags().as_ref().unwrap().len(), 1);
            assert!(warnings.is_empty() && read.exec_cpu_affinity().as_ref().unwrap().initial().is_none());
        }
    }
}
