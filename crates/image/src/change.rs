//! Changes to an image's configuration in a Dockerfile's words: the values of `--change`.

use std::collections::HashMap;
use std::str::FromStr;

use oci_spec::image::Config;

use crate::config::{check_path, check_port, check_signal, check_text, check_user};
use crate::suggest::closest;

const INSTRUCTIONS: [&str; 9] =
    ["CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"];

/// One change to an image's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The default arguments.
    Cmd(Vec<String>),
    /// What is run.
    Entrypoint(Vec<String>),
    /// Variables of the environment.
    Env(Vec<(String, String)>),
    /// Ports that the image's program listens on.
    Expose(Vec<String>),
    /// Labels.
    Label(Vec<(String, String)>),
    /// The signal that asks the program to end.
    StopSignal(String),
    /// Who the program runs as.
    User(String),
    /// Directories that hold data of their own.
    Volume(Vec<String>),
    /// Where the program starts.
    WorkingDir(String),
}

/// What was written is not a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{input:?} is not a change to an image: {reason}")]
pub struct InvalidChange {
    /// The start of what was written.
    pub input: String,
    /// What is wrong with it, and what could be meant.
    pub reason: String,
}

impl Change {
    /// Parses one instruction, for example `CMD ["sh", "-c", "date"]` or `ENV LANG=C TZ=UTC`.
    ///
    /// # Errors
    /// [`InvalidChange`] says what is wrong and what could be meant.
    pub fn parse(input: &str) -> Result<Self, InvalidChange> {
        parse(input).map_err(|reason| InvalidChange { input: input.chars().take(120).collect(), reason })
    }

    /// Applies the change.
    pub fn apply(&self, config: &mut Config) {
        match self {
            Self::Cmd(words) => {
                config.set_cmd(Some(words.clone()));
            }
            Self::Entrypoint(words) => {
                // Docker's drops the arguments that came from a base image, and an import has none: those here were asked for.
                config.set_entrypoint(Some(words.clone()));
            }
            Self::Env(pairs) => {
                let mut env = config.env().clone().unwrap_or_default();
                for (name, value) in pairs {
                    let prefix = format!("{name}=");
                    let entry = format!("{prefix}{value}");
                    match env.iter_mut().find(|present| present.starts_with(&prefix)) {
                        Some(present) => *present = entry,
                        None => env.push(entry),
                    }
                }
                config.set_env(Some(env));
            }
            Self::Expose(ports) => {
                let all = extended(config.exposed_ports().as_ref(), ports);
                config.set_exposed_ports(Some(all));
            }
            Self::Label(pairs) => {
                let mut labels: HashMap<_, _> = config.labels().clone().unwrap_or_default();
                labels.extend(pairs.iter().cloned());
                config.set_labels(Some(labels));
            }
            Self::StopSignal(signal) => {
                config.set_stop_signal(Some(signal.clone()));
            }
            Self::User(user) => {
                config.set_user(Some(user.clone()));
            }
            Self::Volume(paths) => {
                let all = extended(config.volumes().as_ref(), paths);
                config.set_volumes(Some(all));
            }
            Self::WorkingDir(path) => {
                config.set_working_dir(Some(path.clone()));
            }
        }
    }
}

impl FromStr for Change {
    type Err = InvalidChange;

    fn from_str(text: &str) -> Result<Self, InvalidChange> {
        Self::parse(text)
    }
}

fn extended(present: Option<&Vec<String>>, more: &[String]) -> Vec<String> {
    let mut all = present.cloned().unwrap_or_default();
    all.extend_from_slice(more);
    all.sort_unstable();
    all.dedup();
    all
}

fn parse(input: &str) -> Result<Change, String> {
    check_text("the change", input)?;
    let trimmed = input.trim();
    let (instruction, value) = trimmed
        .split_once(|c: char| c.is_ascii_whitespace() || c == '=')
        .map_or((trimmed, ""), |(instruction, value)| (instruction, value.trim()));
    let name = instruction.to_ascii_uppercase();
    if !INSTRUCTIONS.contains(&name.as_str()) {
        return Err(match closest(&name, INSTRUCTIONS) {
            Some(meant) => format!("{instruction:?} is not known; did you mean {meant}?"),
            None => format!("{instruction:?} is not known; write one of {}", INSTRUCTIONS.join(", ")),
        });
    }
    if value.is_empty() {
        return Err(format!("{name} lacks a value"));
    }
    Ok(match name.as_str() {
        "CMD" => Change::Cmd(command(value)?),
        "ENTRYPOINT" => Change::Entrypoint(command(value)?),
        "ENV" => Change::Env(pairs(value)?),
        "LABEL" => Change::Label(pairs(value)?),
        "EXPOSE" => {
            let ports = words(value)?;
            ports.iter().try_for_each(|port| check_port(port))?;
            Change::Expose(ports.iter().map(|port| canonical_port(port)).collect())
        }
        "STOPSIGNAL" => {
            check_signal(value)?;
            Change::StopSignal(value.to_owned())
        }
        "USER" => {
            check_user(value)?;
            Change::User(value.to_owned())
        }
        "VOLUME" => {
            let paths = if value.starts_with('[') { command(value)? } else { words(value)? };
            paths.iter().try_for_each(|path| check_path("volume", path))?;
            Change::Volume(paths)
        }
        _ => {
            check_path("working directory", value)?;
            Change::WorkingDir(value.to_owned())
        }
    })
}

fn canonical_port(port: &str) -> String {
    if port.contains('/') { port.to_ascii_lowercase() } else { format!("{port}/tcp") }
}

/// A JSON array of strings, or a line for the image's shell.
fn command(value: &str) -> Result<Vec<String>, String> {
    if value.starts_with('[') {
        let list: Vec<String> =
            serde_json::from_str(value).map_err(|error| format!("it is not a JSON list of strings: {error}"))?;
        list.iter().try_for_each(|word| check_text("argument", word))?;
        return Ok(list);
    }
    Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), value.to_owned()])
}

/// `name=value name="value"`, or the old `name value`.
fn pairs(value: &str) -> Result<Vec<(String, String)>, String> {
    let words = words(value)?;
    let first = words.first().map(String::as_str).unwrap_or_default();
    if !first.contains('=') {
        return match value.split_once(|c: char| c.is_ascii_whitespace()) {
            Some((name, value)) => Ok(vec![(name.to_owned(), value.trim().to_owned())]),
            None => Err(format!("{value:?} lacks \"=VALUE\"")),
        };
    }
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(format!("{word:?} is not NAME=VALUE")),
        })
        .collect()
}

/// Splits at white space, with a shell's quotes and backslashes.
fn words(value: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => match characters.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("it ends in a backslash".to_owned()),
            },
            (c, None) if c.is_ascii_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn each_instruction_changes_what_it_names() {
        let mut config = Config::default();
        for change in [
            r#"CMD ["old"]"#,
            "cmd echo hello",
            r#"ENTRYPOINT ["/bin/app", "-v"]"#,
            "ENV A=1 B=\"two words\" C='x y'",
            "ENV A=3",
            "ENV D one two",
            "USER nobody:nogroup",
            "WORKDIR /srv",
            "EXPOSE 80 53/UDP",
            "EXPOSE 80/tcp",
            "LABEL a.b=c",
            "VOLUME /data /more",
            r#"VOLUME ["/data"]"#,
            "STOPSIGNAL SIGINT",
        ] {
            Change::parse(change).unwrap().apply(&mut config);
        }
        assert_eq!(config.entrypoint(), &Some(owned(&["/bin/app", "-v"])));
        assert_eq!(config.cmd(), &Some(owned(&["/bin/sh", "-c", "echo hello"])));
        assert_eq!(config.env(), &Some(owned(&["A=3", "B=two words", "C=x y", "D=one two"])));
        assert_eq!(config.user().as_deref(), Some("nobody:nogroup"));
        assert_eq!(config.working_dir().as_deref(), Some("/srv"));
        assert_eq!(config.exposed_ports(), &Some(owned(&["53/udp", "80/tcp"])));
        assert_eq!(config.volumes(), &Some(owned(&["/data", "/more"])));
        assert_eq!(config.labels().as_ref().unwrap()["a.b"], "c");
        assert_eq!(config.stop_signal().as_deref(), Some("SIGINT"));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for wrong in [
            "",
            "CMD",
            "FROM x",
            "ENV",
            "ENV A",
            "ENV =x",
            "ENV A=\"x",
            "WORKDIR srv",
            "USER a b:c:d",
            "EXPOSE x",
            "VOLUME ../x",
            r#"CMD ["a", 1]"#,
            "CMD [",
            "STOPSIGNAL a b",
            "CMD a\0b",
            "ENV A=x\\",
        ] {
            assert!(Change::parse(wrong).is_err(), "{wrong:?} was accepted");
        }
        let slip = Change::parse("ENTRPOINT x").unwrap_err();
        assert!(slip.reason.contains("did you mean ENTRYPOINT"), "{slip}");
    }
}
