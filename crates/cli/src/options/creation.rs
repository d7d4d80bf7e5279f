//! Everything that `run` and `create` have in common.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use casemate_engine::{ContainerConfig, LogConfig, LogDriver};
use clap::Args;

use super::environment::{self, Environment};
use super::isolation::Isolation;
use super::resources::Resources;
use super::storage::Storage;
use super::{key_value, posture};
use crate::failure::Failure;
use crate::suggest;

/// The flags and arguments.
#[derive(Debug, Args)]
pub(crate) struct Creation {
    /// Name the container; a random name otherwise
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the container a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Remove the container when it has ended
    #[arg(long)]
    pub(crate) rm: bool,
    #[command(flatten)]
    environment: Environment,
    /// Working directory inside
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// User, by name or number: USER[:GROUP]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Run this instead of the image's entry point; empty: none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Run a small init as process 1, which reaps what is left behind
    #[arg(long)]
    init: bool,
    /// Host name inside
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// NIS domain name inside
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,
    /// Add a line to /etc/hosts: NAME:ADDRESS (repeatable)
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
    /// Name server for /etc/resolv.conf (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,
    /// Label the container (repeatable)
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Add an annotation to the OCI configuration (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
    /// Write the container's id to a new file
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// What 'stop' sends: TERM, SIGINT, 15, …
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds that 'stop' waits before it kills (10 by default)
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
    /// Where the output is kept: json-file (the default) or none
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    /// max-size=BYTES (10m by default), max-file=NUMBER (3 by default)
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
    /// When to fetch the image; images are never fetched here
    #[arg(long, value_name = "WHEN", hide = true)]
    pull: Option<String>,
    #[command(flatten)]
    isolation: Isolation,
    #[command(flatten)]
    storage: Storage,
    #[command(flatten)]
    resources: Resources,
    /// The image, and the command with its arguments
    #[arg(value_names = ["IMAGE", "COMMAND"], required = true, trailing_var_arg = true, num_args = 1.., hide = true)]
    image_and_command: Vec<String>,
}

impl Creation {
    /// The image as the user named it.
    pub(crate) fn image(&self) -> &str {
        self.image_and_command.first().map_or("", String::as_str)
    }

    /// What the engine is asked for. `size` tells the size of the terminal that the container gets with `-t`.
    pub(crate) fn config(&self, size: impl FnOnce() -> Option<(u16, u16)>) -> Result<ContainerConfig, Failure> {
        self.check_pull()?;
        let (image, command) =
            self.image_and_command.split_first().ok_or_else(|| Failure::usage("an image is needed"))?;
        let mut config = ContainerConfig::new(image);
        config.command = command.to_vec();
        config.name.clone_from(&self.name);
        config.entrypoint = self.entrypoint.as_ref().map(|program| vec![program.clone()]);
        config.env = environment::resolve(&self.environment)?;
        config.user.clone_from(&self.user);
        config.workdir.clone_from(&self.workdir);
        config.hostname.clone_from(&self.hostname);
        config.domainname.clone_from(&self.domainname);
        config.labels = self.labels()?;
        config.extra_hosts = self.add_host.iter().map(|text| extra_host(text)).collect::<Result<_, _>>()?;
        config.dns.clone_from(&self.dns);
        config.tty = self.tty;
        config.terminal_size = if self.tty { size() } else { None };
        config.open_stdin = self.interactive;
        config.auto_remove = self.rm;
        config.init = self.init;
        config.stop_signal.clone_from(&self.stop_signal);
        config.stop_timeout = self.stop_timeout.map(|seconds| Duration::from_secs(seconds.into()));
        config.log = self.log()?;
        config.posture = posture::resolve(&self.isolation, &self.storage, &self.resources)?;
        config.allow.clone_from(&self.isolation.allow);
        config.annotations =
            self.annotation.iter().map(|text| key_value("--annotation", text)).collect::<Result<_, _>>()?;
        Ok(config)
    }

    fn labels(&self) -> Result<BTreeMap<String, String>, Failure> {
        self.label
            .iter()
            .map(|text| match text.split_once('=') {
                Some(("", _)) => Err(Failure::usage(format!("--label \"{text}\": a label needs a name"))),
                Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
                None if text.is_empty() => Err(Failure::usage("--label \"\": a label needs a name")),
                None => Ok((text.clone(), String::new())),
            })
            .collect()
    }

    fn log(&self) -> Result<LogConfig, Failure> {
        const OPTIONS: [&str; 2] = ["max-size", "max-file"];
        const DRIVERS: [&str; 2] = ["json-file", "none"];
        let mut log = LogConfig::default();
        if let Some(name) = &self.log_driver {
            log.driver = LogDriver::from_name(name).ok_or_else(|| {
                let hint = suggest::hint(name, DRIVERS);
                Failure::usage(format!("--log-driver \"{name}\": the drivers are {}{hint}", DRIVERS.join(" and ")))
            })?;
        }
        for option in &self.log_opt {
            let (key, value) = key_value("--log-opt", option)?;
            let wrong = |why: &str| Failure::usage(format!("--log-opt {key}={value}: {why}"));
            match key.as_str() {
                "max-size" => {
                    log.max_size = casemate_posture::bytes::parse("--log-opt max-size", &value)
                        .map_err(|error| Failure::usage(error.to_string()))?;
                }
                "max-file" => {
                    log.max_files = value
                        .parse()
                        .ok()
                        .filter(|n| (1..=1000).contains(n))
                        .ok_or_else(|| wrong("write a number of files from 1 to 1000"))?;
                }
                _ => {
                    let hint = suggest::hint(&key, OPTIONS);
                    return Err(wrong(&format!("the options are {}{hint}", OPTIONS.join(" and "))));
                }
            }
        }
        Ok(log)
    }

    /// Nothing is fetched: "never" is what happens, "missing" is the same for an image that is here.
    fn check_pull(&self) -> Result<(), Failure> {
        match self.pull.as_deref() {
            None | Some("never" | "missing") => Ok(()),
            Some("always") => Err(Failure::usage(
                "--pull always: images are not fetched here; bring the image with 'casemate load' or 'casemate import'",
            )),
            Some(other) => Err(Failure::usage(format!("--pull {other}: write never or missing"))),
        }
    }
}

/// `NAME:ADDRESS`, or Docker's newer `NAME=ADDRESS`.
fn extra_host(text: &str) -> Result<(String, String), Failure> {
    let split = text.split_once('=').or_else(|| text.split_once(':'));
    let wrong = |why: &str| Failure::usage(format!("--add-host \"{text}\": {why}"));
    let (name, address) = split.ok_or_else(|| wrong("write NAME:ADDRESS"))?;
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if bare == "host-gateway" {
        return Err(wrong("there is no network to the host"));
    }
    let valid = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    match bare.parse::<std::net::IpAddr>() {
        Ok(address) if valid => Ok((name.to_owned(), address.to_string())),
        Ok(_) => Err(wrong("the name is empty or holds blanks")),
        Err(_) => Err(wrong("the part after the name is no IP address")),
    }
}

/// The file of `--cidfile`: made before the container so that two commands can't take the same, removed when there is no
/// container in the end.
#[derive(Debug)]
pub(crate) struct CidFile {
    path: PathBuf,
    file: std::fs::File,
    written: bool,
}

impl CidFile {
    /// Makes the file, which must not exist.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(|error| {
            let words = match error.kind() {
                ErrorKind::AlreadyExists => {
                    "it exists already: remove it, or choose another, so that no other container's id is lost"
                        .to_owned()
                }
                _ => error.to_string(),
            };
            Failure::usage(format!("--cidfile {}: {words}", path.display()))
        })?;
        Ok(Self { path: path.to_owned(), file, written: false })
    }

    /// Writes the id.
    pub(crate) fn write(&mut self, id: &str) -> Result<(), Failure> {
        self.file
            .write_all(id.as_bytes())
            .map_err(|error| Failure::new(format!("--cidfile {}: {error}", self.path.display())).with_code(125))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if !self.written {
            // It is empty and ours; a left-over would only make the next command fail.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn parse(arguments: &[&str]) -> Creation {
        let command = Creation::augment_args(Command::new("run").no_binary_name(true).disable_help_flag(true));
        let matches = command.args_override_self(true).try_get_matches_from(arguments).unwrap();
        Creation::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn what_follows_the_image_is_the_command() {
        let creation = parse(&["-it", "--name", "a", "debian", "ls", "--name", "b", "-la", "--", "x"]);
        let config = creation.config(|| Some((80, 24))).unwrap();
        assert_eq!(config.image, "debian");
        assert_eq!(config.command, ["ls", "--name", "b", "-la", "--", "x"]);
        assert_eq!(config.name.as_deref(), Some("a"));
        assert!(config.tty && config.open_stdin);
        assert_eq!(config.terminal_size, Some((80, 24)));
    }

    #[test]
    fn labels_hosts_and_logs() {
        let creation = parse(&[
            "-l",
            "a=1",
            "--label",
            "b",
            "--add-host",
            "db:10.0.0.1",
            "--add-host=six=[::1]",
            "--log-opt",
            "max-size=1m",
            "--log-opt",
            "max-file=2",
            "x",
        ]);
        let config = creation.config(|| None).unwrap();
        assert_eq!(config.labels["a"], "1");
        assert_eq!(config.labels["b"], "");
        assert_eq!(config.extra_hosts[1], ("six".to_owned(), "::1".to_owned()));
        assert_eq!((config.log.max_size, config.log.max_files), (1 << 20, 2));
        for wrong in [
            &["--log-opt", "max-sizes=1m", "x"][..],
            &["--log-driver", "syslog", "x"],
            &["--label", "=x", "x"],
            &["--add-host", "x", "x"],
            &["--add-host", "x:host-gateway", "x"],
            &["--pull", "always", "x"],
            &["--annotation", "x", "x"],
        ] {
            assert!(parse(wrong).config(|| None).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn cidfile_is_exclusive_and_not_left_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cid");
        drop(CidFile::create(&path).unwrap());
        assert!(!path.exists());
        let mut file = CidFile::create(&path).unwrap();
        assert!(CidFile::create(&path).unwrap_err().message().contains("exists"));
        file.write("abc").unwrap();
        drop(file);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "abc");
    }
}
