//! Merging an image's configuration with what was asked for: Docker's rules of what wins.

use std::collections::BTreeMap;

use casemate_image::Image;

use crate::config::ContainerConfig;
use crate::error::{Error, Result};
use crate::record::ProcessRecord;
use crate::signal::Signal;

/// What image and request come to.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) process: ProcessRecord,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) stop_signal: Signal,
    /// Paths that the image declares as volumes.
    pub(crate) volumes: Vec<String>,
}

/// Merges. `hostname` goes into the environment, as Docker's `HOSTNAME`.
pub(crate) fn merge(config: &ContainerConfig, image: &Image, hostname: &str) -> Result<Merged> {
    let of_image = image.config.config().clone().unwrap_or_default();
    let (entrypoint, command) = command_line(
        config,
        of_image.entrypoint().clone().unwrap_or_default(),
        of_image.cmd().clone().unwrap_or_default(),
    )?;
    let mut env = Environment::default();
    for (name, value) in casemate_posture::DEFAULT_ENVIRONMENT {
        env.set(&format!("{name}={value}"));
    }
    env.set(&format!("HOSTNAME={hostname}"));
    for entry in of_image.env().iter().flatten() {
        // Without "=" it is kept as it is, and its name is never looked up anywhere (CVE-2026-57231).
        env.set(entry);
    }
    for entry in &config.env {
        check_env(entry)?;
        // Docker's `-e NAME` of a name that is not set anywhere takes it out.
        if entry.contains('=') { env.set(entry) } else { env.remove(entry) }
    }
    let workdir = config.workdir.clone().or_else(|| of_image.working_dir().clone()).filter(|path| !path.is_empty());
    let user = config.user.clone().or_else(|| of_image.user().clone()).filter(|user| !user.is_empty());
    let mut labels: BTreeMap<String, String> =
        of_image.labels().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    labels.extend(config.labels.clone());
    let stop_signal =
        match config.stop_signal.as_deref().or(of_image.stop_signal().as_deref()).filter(|name| !name.is_empty()) {
            Some(name) => Signal::parse(name)?,
            None => Signal::TERM,
        };
    let mut volumes: Vec<String> = of_image.volumes().iter().flatten().cloned().collect();
    volumes.sort();
    Ok(Merged {
        process: ProcessRecord {
            entrypoint,
            command,
            env: env.0,
            workdir: check_workdir(workdir.unwrap_or_else(|| "/".to_owned()))?,
            user: user.unwrap_or_else(|| "0".to_owned()),
            tty: config.tty,
            terminal_size: config.terminal_size,
            open_stdin: config.open_stdin,
            stdin_once: config.stdin_once,
        },
        labels,
        stop_signal,
        volumes,
    })
}

/// An entrypoint that was asked for takes the image's command with it; an empty one takes the image's entrypoint away.
fn command_line(
    config: &ContainerConfig,
    image_entrypoint: Vec<String>,
    image_command: Vec<String>,
) -> Result<(Vec<String>, Vec<String>)> {
    let (entrypoint, command) = match &config.entrypoint {
        Some(asked) => {
            let asked: Vec<String> = asked.iter().filter(|part| !part.is_empty()).cloned().collect();
            (asked, config.command.clone())
        }
        None if config.command.is_empty() => (image_entrypoint, image_command),
        None => (image_entrypoint, config.command.clone()),
    };
    if entrypoint.is_empty() && command.is_empty() {
        return Err(Error::invalid(
            "command",
            "",
            format!("the image {} names none: write one after the image", config.image),
        ));
    }
    for part in entrypoint.iter().chain(&command) {
        if part.contains('\0') {
            return Err(Error::invalid("command", part.clone(), "holds a NUL byte"));
        }
    }
    Ok((entrypoint, command))
}

pub(crate) fn check_env(entry: &str) -> Result<()> {
    let name = entry.split_once('=').map_or(entry, |(name, _)| name);
    if name.is_empty() || entry.contains('\0') {
        return Err(Error::invalid("environment variable", entry, "must be NAME=VALUE, without NUL bytes"));
    }
    Ok(())
}

pub(crate) fn check_workdir(path: String) -> Result<String> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Error::invalid("working directory", path, "must be an absolute path"));
    }
    Ok(path)
}

/// An environment in which a later entry takes the place of an earlier one of its name.
#[derive(Debug, Default)]
pub(crate) struct Environment(pub(crate) Vec<String>);

impl Environment {
    pub(crate) fn set(&mut self, entry: &str) {
        let name = name_of(entry);
        match self.0.iter_mut().find(|existing| name_of(existing) == name) {
            Some(existing) => entry.clone_into(existing),
            None => self.0.push(entry.to_owned()),
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|existing| name_of(existing) != name);
    }
}

fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(config: &ContainerConfig) -> Result<(Vec<String>, Vec<String>)> {
        command_line(config, vec!["/entry".into()], vec!["a".into(), "b".into()])
    }

    fn config(command: &[&str], entrypoint: Option<&[&str]>) -> ContainerConfig {
        let mut config = ContainerConfig::new("image");
        config.command = command.iter().map(|&part| part.to_owned()).collect();
        config.entrypoint = entrypoint.map(|parts| parts.iter().map(|&part| part.to_owned()).collect());
        config
    }

    #[test]
    fn command_lines_follow_dockers_rules() {
        let strings = |parts: &[&str]| parts.iter().map(|&part| part.to_owned()).collect::<Vec<_>>();
        assert_eq!(lines(&config(&[], None)).unwrap(), (strings(&["/entry"]), strings(&["a", "b"])));
        assert_eq!(lines(&config(&["x"], None)).unwrap(), (strings(&["/entry"]), strings(&["x"])));
        assert_eq!(lines(&config(&["x"], Some(&["/other"]))).unwrap(), (strings(&["/other"]), strings(&["x"])));
        assert_eq!(lines(&config(&[], Some(&["/other"]))).unwrap(), (strings(&["/other"]), strings(&[])));
        assert_eq!(lines(&config(&["x"], Some(&[""]))).unwrap(), (strings(&[]), strings(&["x"])));
        assert!(lines(&config(&[], Some(&[""]))).is_err());
        assert!(lines(&config(&["a\0b"], None)).is_err());
    }

    #[test]
    fn later_variables_replace_earlier_ones_in_place() {
        let mut env = Environment::default();
        for entry in ["PATH=/bin", "A=1", "LITERAL", "PATH=/usr/bin", "AB=2"] {
            env.set(entry);
        }
        env.remove("A");
        assert_eq!(env.0, ["PATH=/usr/bin", "LITERAL", "AB=2"]);
    }

    #[test]
    fn hostile_values_are_refused() {
        for entry in ["", "=x", "A=\0"] {
            assert!(check_env(entry).is_err(), "{entry:?}");
        }
        for path in ["", "relative", "/a\0b"] {
            assert!(check_workdir(path.to_owned()).is_err(), "{path:?}");
        }
    }
}
