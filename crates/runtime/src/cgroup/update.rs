//! Limits of a running container, changed.

use oci_spec::runtime::LinuxResources;

use super::{ContainerGroup, refused};
use crate::error::Error;
use crate::plan::resource_limits;

/// The longest document that is read.
const LONGEST: usize = 4 << 20;

/// Reads the resources that an update is to change, in the JSON of `linux.resources` with all the rest left out. Rules on
/// devices are passed over: a container keeps those it was made with, and engines send them along (as for runc).
///
/// # Errors
/// When it is no such document.
pub fn read_update(json: &[u8]) -> Result<LinuxResources, Error> {
    let field = "linux.resources";
    if json.len() > LONGEST {
        return Err(Error::field(field, format!("{} bytes are more than the {LONGEST} that are read", json.len())));
    }
    let mut value: serde_json::Value = serde_json::from_slice(json).map_err(|error| Error::field(field, error))?;
    let fields = value.as_object_mut().ok_or_else(|| Error::field(field, "not a JSON object"))?;
    fields.remove("devices");
    // No limit is none to change; the type that it is read into would take it for 0.
    if fields.get("pids").is_some_and(|pids| pids.get("limit").is_none_or(serde_json::Value::is_null)) {
        fields.remove("pids");
    }
    serde_json::from_value(value).map_err(|error| Error::field(field, error))
}

impl ContainerGroup {
    /// Changes the limits that are given; all others stay what they are.
    ///
    /// # Errors
    /// Naming the field. Limits that were changed before it stay changed.
    pub fn update(&self, resources: &LinuxResources) -> Result<(), Error> {
        let limits = resource_limits(resources)?;
        if let Some(scope) = &self.scope {
            // Before systemd sets a limit that kills.
            self.cgroup.check_memory_usage(&limits).map_err(|error| refused(&error))?;
            scope.update(&limits, &self.cgroup)?;
        }
        self.cgroup.update(&limits).map_err(|error| refused(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_not_changed() {
        let limits = |json: &str| resource_limits(&read_update(json.as_bytes()).unwrap()).unwrap();
        let none = limits("{}");
        assert_eq!(limits(r#"{"pids":{},"memory":{},"cpu":{},"blockIO":{}}"#), none);
        assert_eq!(limits(r#"{"pids":{"limit":null},"memory":{"checkBeforeUpdate":false}}"#), none);
        assert_eq!(limits(r#"{"devices":[{"allow":"nonsense"}],"unknown":1}"#), none);
        assert_eq!(limits(r#"{"pids":{"limit":0}}"#).pids, Some(0));
    }

    #[test]
    fn other_documents_are_refused() {
        for wrong in ["", "[]", "{\"memory\":1}", "{\"memory\":{\"limit\":\"1g\"}}"] {
            assert!(read_update(wrong.as_bytes()).unwrap_err().to_string().starts_with("linux.resources: "));
        }
    }
}
