//! Image configurations: parsed from bytes that a stranger wrote, and checked before anything believes them.

use oci_spec::image::{Config, ImageConfiguration, Os};

use crate::digest::{DiffId, Digest};
use crate::document::{InvalidDocument, MAX_LAYERS, check_size};

const DOCUMENT: &str = "image configuration";
const MAX_USER: usize = 256;
const MAX_PATH: usize = 4095;

/// Parses and checks an image configuration. Returns it with its layers' diff-ids, bottom first.
///
/// An `Env` entry without `=` is kept as it is; nobody may look its name up in another environment.
///
/// # Errors
/// [`InvalidDocument`] when it is too large, malformed, not for Linux, or holds what no container may be given: NUL bytes, a user
/// with control characters, a working directory or volume that is not an absolute path without `..`, ….
pub fn parse_configuration(bytes: &[u8]) -> Result<(ImageConfiguration, Vec<DiffId>), InvalidDocument> {
    let invalid = |reason: String| InvalidDocument::new(DOCUMENT, reason);
    check_size(bytes, DOCUMENT)?;
    let configuration: ImageConfiguration =
        serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    if *configuration.os() != Os::Linux {
        return Err(invalid(format!("it is for {:?}; only linux images run here", configuration.os().to_string())));
    }
    let root = configuration.rootfs();
    if root.typ() != "layers" {
        return Err(invalid(format!("its rootfs is of type {:?}, not \"layers\"", root.typ())));
    }
    if root.diff_ids().len() > MAX_LAYERS {
        return Err(invalid(format!("it has {} layers, more than {MAX_LAYERS}", root.diff_ids().len())));
    }
    let layers = root
        .diff_ids()
        .iter()
        .map(|id| Digest::parse(id).map(DiffId))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(error.to_string()))?;
    if let Some(created) = configuration.created() {
        check_text("creation time", created).map_err(invalid)?;
    }
    if let Some(config) = configuration.config() {
        check_config(config).map_err(invalid)?;
    }
    Ok((configuration, layers))
}

fn check_config(config: &Config) -> Result<(), String> {
    for (what, list) in [("Env", config.env()), ("Cmd", config.cmd()), ("Entrypoint", config.entrypoint())] {
        for value in list.iter().flatten() {
            check_text(what, value)?;
        }
    }
    if let Some(user) = config.user() {
        check_user(user)?;
    }
    if let Some(path) = config.working_dir()
        && !path.is_empty()
    {
        check_path("working directory", path)?;
    }
    for path in config.volumes().iter().flatten() {
        check_path("volume", path)?;
    }
    for port in config.exposed_ports().iter().flatten() {
        check_port(port)?;
    }
    if let Some(signal) = config.stop_signal()
        && !signal.is_empty()
    {
        check_signal(signal)?;
    }
    for (key, value) in config.labels().iter().flatten() {
        check_text("label", key)?;
        check_text("label", value)?;
    }
    Ok(())
}

pub(crate) fn check_text(what: &str, text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err(format!("{what} {text:?} holds a NUL byte"));
    }
    Ok(())
}

/// `name`, `id`, `name:group`, …: whether they exist is decided when a container is made.
pub(crate) fn check_user(user: &str) -> Result<(), String> {
    if user.len() > MAX_USER {
        return Err(format!("the user is longer than {MAX_USER} bytes"));
    }
    if user.chars().any(|c| c.is_control() || c == '/') || user.matches(':').count() > 1 {
        return Err(format!("{user:?} is not a user (write USER, UID, USER:GROUP or UID:GID)"));
    }
    Ok(())
}

pub(crate) fn check_path(what: &str, path: &str) -> Result<(), String> {
    check_text(what, path)?;
    if !path.starts_with('/') {
        return Err(format!("the {what} {path:?} is not an absolute path"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(format!("the {what} {path:?} climbs with \"..\""));
    }
    if path.len() > MAX_PATH {
        return Err(format!("the {what} is longer than {MAX_PATH} bytes"));
    }
    Ok(())
}

/// `PORT[-PORT][/tcp|udp|sctp]`.
pub(crate) fn check_port(port: &str) -> Result<(), String> {
    let (numbers, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let fits = match (number(first), number(last)) {
        (Some(first), Some(last)) => first <= last,
        _ => false,
    };
    if !fits || !matches!(protocol.to_ascii_lowercase().as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("{port:?} is not a port (write 80, 53/udp or 8000-8010/tcp)"));
    }
    Ok(())
}

/// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`: which of them exist is decided when a container is made.
pub(crate) fn check_signal(signal: &str) -> Result<(), String> {
    let fits = signal.len() <= 16 && signal.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-'));
    if fits {
        return Ok(());
    }
    Err(format!("{signal:?} is not a signal (write SIGTERM or 15)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(config: &str) -> Result<(ImageConfiguration, Vec<DiffId>), InvalidDocument> {
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{config},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
        );
        parse_configuration(text.as_bytes())
    }

    #[test]
    fn an_ordinary_configuration_with_gos_nulls_is_accepted() {
        let (configuration, layers) = with(
            r#"{"User":"","Env":["PATH=/bin","LITERAL"],"Cmd":null,"Entrypoint":null,"WorkingDir":"","Labels":null,
                "Volumes":{"/data":{}},"ExposedPorts":{"80/tcp":{},"53/udp":{},"8000-8010":{}},"OnBuild":null,
                "StopSignal":"SIGRTMIN+3","Healthcheck":{"Test":["NONE"]}}"#,
        )
        .unwrap();
        assert!(layers.is_empty());
        let config = configuration.config().as_ref().unwrap();
        assert_eq!(config.env().as_ref().unwrap()[1], "LITERAL");
    }

    #[test]
    fn what_no_container_may_be_given_is_refused() {
        for wrong in [
            r#"{"User":"root\nx"}"#,
            r#"{"User":"a:b:c"}"#,
            r#"{"User":"../x"}"#,
            r#"{"Env":["A=\u0000"]}"#,
            r#"{"Cmd":["\u0000"]}"#,
            r#"{"Entrypoint":["/x\u0000"]}"#,
            r#"{"WorkingDir":"relative"}"#,
            r#"{"WorkingDir":"/a/../../b"}"#,
            r#"{"WorkingDir":"/\u0000"}"#,
            r#"{"Volumes":{"../x":{}}}"#,
            r#"{"Volumes":{"/a/../../x":{}}}"#,
            r#"{"ExposedPorts":{"99999/tcp":{}}}"#,
            r#"{"ExposedPorts":{"80/../x":{}}}"#,
            r#"{"ExposedPorts":{"9-8":{}}}"#,
            r#"{"StopSignal":"$(x)"}"#,
            r#"{"Labels":{"a":"\u0000"}}"#,
            r#"{"Env":"A=b"}"#,
        ] {
            assert!(with(wrong).is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn only_linux_layers_with_strict_digests_are_accepted() {
        for wrong in [
            r#"{"architecture":"amd64","os":"windows","rootfs":{"type":"layers","diff_ids":[]}}"#,
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"disk","diff_ids":[]}}"#,
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}"#,
            r#"{"architecture":"amd64","os":"linux"}"#,
            "null",
            "",
        ] {
            assert!(parse_configuration(wrong.as_bytes()).is_err(), "{wrong} was accepted");
        }
    }
}
