//! Files of version 2, by name.

use std::borrow::Cow;

use super::write::{Generation, Presence, Target, Write};
use super::{LimitError, Limits, Result};
use crate::cgroup::Controller;

/// The controller of a file such as `io.max`; of a controller that is not known here, the core.
pub(super) fn controller(file: &str) -> Option<Controller> {
    let (name, _) = file.split_once('.')?;
    Some(Controller::from_unified_name(name).unwrap_or(Controller::Core))
}

impl Limits {
    pub(super) fn write_unified(&self, target: &Target<'_>, writes: &mut Vec<Write>) -> Result<()> {
        for (file, value) in &self.unified {
            let field = "unified";
            if file.contains(['/', '\0']) {
                return Err(LimitError::invalid(field, format_args!("{file:?} is not the name of a file")));
            }
            let Some(controller) = controller(file) else {
                return Err(LimitError::invalid(
                    field,
                    format_args!("{file:?} is not of the form CONTROLLER.PARAMETER"),
                ));
            };
            if target.version_of(controller) != Some(Generation::V2) {
                let why = format_args!("{file:?}: this host has that controller on no hierarchy of version 2");
                return Err(LimitError::not_offered(field, why));
            }
            // A file of several lines takes one at a time.
            for line in value.lines().filter(|line| !line.is_empty()) {
                writes.push(Write {
                    field: Cow::Owned(format!("{field}[{file:?}]")),
                    controller,
                    files: vec![(Cow::Owned(file.clone()), line.to_owned())],
                    presence: Presence::Rare,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::Bench;
    use super::super::super::{Site, Version, read_file};
    use super::*;

    fn limits(file: &str, value: &str) -> Limits {
        Limits { unified: vec![(file.to_owned(), value.to_owned())], ..Limits::default() }
    }

    #[test]
    fn files_are_written_where_version_2_has_the_controller() {
        let Some(bench) = Bench::new("unified") else { return };
        let site = Site::new(&bench.layout, &bench.path, &Controller::ALL).unwrap();
        assert_eq!(site.check(&limits("a/b.max", "1")).unwrap_err().field(), "unified");
        assert_eq!(site.check(&limits("memory", "1")).unwrap_err().field(), "unified");
        if bench.layout.version() == Version::V1 {
            assert_eq!(site.check(&limits("cgroup.freeze", "0")).unwrap_err().field(), "unified");
            return;
        }
        if bench.layout.version() == Version::Hybrid && site.is_unified(Controller::Memory) == Some(false) {
            assert_eq!(site.check(&limits("memory.max", "1")).unwrap_err().field(), "unified");
        }
        let cgroup = site.create().unwrap();
        cgroup.apply(&limits("cgroup.max.depth", "7")).unwrap();
        let directory = cgroup.directory_of(Controller::Core).unwrap();
        assert_eq!(read_file(directory, "cgroup.max.depth").unwrap().trim(), "7");
        let error = cgroup.apply(&limits("nonesuch.max", "7")).unwrap_err();
        assert_eq!(error.field(), "unified[\"nonesuch.max\"]");
    }
}
