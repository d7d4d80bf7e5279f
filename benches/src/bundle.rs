//! OCI bundles for bare runtimes: what `runc spec` writes, with the program and nothing else changed.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Error, Result, io};
use crate::rootfs::Stage;
use crate::spawn::Invocation;

/// Makes a bundle in the directory `name` of the stage that runs `arguments`, and returns its path.
pub(crate) fn make(stage: &Stage, name: &str, arguments: &[&str]) -> Result<String> {
    let directory = stage.path(name);
    io(std::fs::create_dir_all(&directory), || format!("making {directory}"))?;
    let file = Path::new(&directory).join("config.json");
    let _ = std::fs::remove_file(&file);
    Invocation::new("runc", &["spec", "--bundle", &directory]).output()?;
    let text = io(std::fs::read(&file), || format!("reading {}", file.display()))?;
    let mut spec: Value =
        serde_json::from_slice(&text).map_err(|error| Error::new(format!("what runc spec wrote: {error}")))?;
    spec["process"]["args"] = json!(arguments);
    spec["process"]["terminal"] = json!(false);
    spec["root"] = json!({ "path": stage.rootfs, "readonly": true });
    io(std::fs::write(&file, spec.to_string()), || format!("writing {}", file.display()))?;
    Ok(directory)
}
