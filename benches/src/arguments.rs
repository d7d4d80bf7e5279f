//! The command line.

use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Runs casemate, its peers and the kernel's floor side by side and reports ratios within one run.

Usage: casemate-bench [OPTIONS] [PART...]

Parts: start exec burst crowd unpack (all, when none is named)

Options:
      --casemate PATH    The casemate binary [default: beside this program]
      --kern PATH        A kern binary to run beside it
      --without NAME     Leave a peer out: crun, runc, podman, docker, bwrap
      --rounds N         Rounds of start and exec [default: 100]
      --slow-every N     podman and docker take part in every Nth round [default: 5]
      --containers N     How many containers the crowd has [default: 500]
      --bursts N         How often 8 are started at once [default: 20]
      --layer-mib N      Size of the layer to unpack [default: 256]
      --directory PATH   Where to work; a real disk [default: /var/tmp/casemate-bench]
      --json FILE        Write the report as JSON too
  -h, --help             Print this help

As root. Nothing that is measured runs while something else is: keep the machine quiet.

Example:
  cargo build --release -p casemate -p casemate-bench
  target/x86_64-unknown-linux-gnu/release/casemate-bench --json bench.json start exec
";

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Start,
    Exec,
    Burst,
    Crowd,
    Unpack,
}

const PARTS: [(&str, Part); 5] = [
    ("start", Part::Start),
    ("exec", Part::Exec),
    ("burst", Part::Burst),
    ("crowd", Part::Crowd),
    ("unpack", Part::Unpack),
];

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) parts: Vec<Part>,
    pub(crate) casemate: PathBuf,
    pub(crate) kern: Option<PathBuf>,
    pub(crate) without: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) slow_every: usize,
    pub(crate) containers: usize,
    pub(crate) bursts: usize,
    pub(crate) layer_mib: usize,
    pub(crate) directory: PathBuf,
    pub(crate) json: Option<PathBuf>,
}

impl Request {
    pub(crate) fn has(&self, part: Part) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

/// `None`: help was asked for.
pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Option<Request>, String> {
    let beside = std::env::current_exe().map(|path| path.with_file_name("casemate"));
    let mut request = Request {
        parts: Vec::new(),
        casemate: beside.unwrap_or_else(|_| PathBuf::from("casemate")),
        kern: None,
        without: Vec::new(),
        rounds: 100,
        slow_every: 5,
        containers: 500,
        bursts: 20,
        layer_mib: 256,
        directory: PathBuf::from("/var/tmp/casemate-bench"),
        json: None,
    };
    let mut args = args;
    while let Some(arg) = args.next() {
        if arg == "-h" || arg == "--help" {
            return Ok(None);
        }
        if let Some((_, part)) = PARTS.iter().find(|(name, _)| *name == arg) {
            request.parts.push(*part);
            continue;
        }
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let mut value = || value.clone().or_else(|| args.next()).ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--casemate" => request.casemate = value()?.into(),
            "--kern" => request.kern = Some(value()?.into()),
            "--without" => request.without.push(value()?),
            "--rounds" => request.rounds = number(&name, &value()?)?,
            "--slow-every" => request.slow_every = number(&name, &value()?)?,
            "--containers" => request.containers = number(&name, &value()?)?,
            "--bursts" => request.bursts = number(&name, &value()?)?,
            "--layer-mib" => request.layer_mib = number(&name, &value()?)?,
            "--directory" => request.directory = value()?.into(),
            "--json" => request.json = Some(value()?.into()),
            _ => return Err(format!("unknown argument {name:?}; --help lists what there is")),
        }
    }
    Ok(Some(request))
}

fn number(name: &str, value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err(format!("{name} {value:?}: a number from 1 to 1000000 is needed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Option<Request>, String> {
        parse(args.iter().map(ToString::to_string))
    }

    #[test]
    fn parts_and_options_are_understood() {
        let request = parsed(&["start", "--rounds=7", "--kern", "/k", "unpack"]).unwrap().unwrap();
        assert!(request.has(Part::Start) && request.has(Part::Unpack) && !request.has(Part::Crowd));
        assert_eq!((request.rounds, request.kern), (7, Some(PathBuf::from("/k"))));
        assert!(parsed(&[]).unwrap().unwrap().has(Part::Crowd));
        assert_eq!(parsed(&["--help"]), Ok(None));
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in [&["strat"][..], &["--rounds"], &["--rounds", "0"], &["--rounds=x"]] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }
}
