//! Environment variables: `-e KEY=VALUE`, `-e KEY` (the caller's value) and `--env-file`.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;

/// No file of variables is larger than what the kernel would pass to a program.
const MAX_FILE: u64 = 2 << 20;

/// The flags.
#[derive(Debug, Default, Args)]
pub(crate) struct Environment {
    /// Set a variable; without a value, the caller's own is passed on
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// Set the variables of a file: a KEY=VALUE or KEY a line, # begins a comment
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
}

/// The variables in the order in which they are set: those of the files, then those of the flags.
pub(crate) fn resolve(flags: &Environment) -> Result<Vec<String>, Failure> {
    resolve_with(flags, |name| std::env::var_os(name))
}

fn resolve_with(flags: &Environment, caller: impl Fn(&str) -> Option<OsString>) -> Result<Vec<String>, Failure> {
    let mut variables = Vec::with_capacity(flags.env.len());
    for path in &flags.env_file {
        read_file(path, &caller, &mut variables)?;
    }
    for argument in &flags.env {
        if let Some(variable) =
            variable(argument, &caller).map_err(|why| Failure::usage(format!("--env \"{argument}\": {why}")))?
        {
            variables.push(variable);
        }
    }
    Ok(variables)
}

/// One argument or line; `None` when the caller has no such variable, which Docker leaves out silently.
fn variable(text: &str, caller: &impl Fn(&str) -> Option<OsString>) -> Result<Option<String>, String> {
    let name = text.split('=').next().unwrap_or("");
    if name.is_empty() {
        return Err("a variable needs a name before the =".to_owned());
    }
    if text.contains('\0') {
        return Err("a variable can't hold a NUL byte".to_owned());
    }
    if text.contains('=') {
        return Ok(Some(text.to_owned()));
    }
    match caller(name) {
        None => Ok(None),
        Some(value) => match value.into_string() {
            Ok(value) => Ok(Some(format!("{name}={value}"))),
            Err(_) => Err(format!("the value that {name} has here is not UTF-8")),
        },
    }
}

fn read_file(
    path: &Path,
    caller: &impl Fn(&str) -> Option<OsString>,
    variables: &mut Vec<String>,
) -> Result<(), Failure> {
    let shown = path.display();
    let fail = |why: String| Failure::usage(format!("--env-file {shown}: {why}"));
    let mut bytes = Vec::new();
    let mut read = || File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes);
    read().map_err(|error| fail(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(fail("larger than 2 MiB".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|_| fail("not UTF-8".to_owned()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for (index, line) in text.lines().enumerate() {
        // Docker's format: blanks before the name are dropped, those of the value are kept, quotes are not special.
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or("");
        if name.contains(char::is_whitespace) {
            return Err(fail(format!("line {}: the name \"{name}\" contains a blank", index + 1)));
        }
        if let Some(variable) = variable(line, caller).map_err(|why| fail(format!("line {}: {why}", index + 1)))? {
            variables.push(variable);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn caller(name: &str) -> Option<OsString> {
        (name == "HOME").then(|| "/root".into())
    }

    #[test]
    fn flags_take_values_or_the_callers() {
        let flags = Environment {
            env: vec!["A=1".into(), "HOME".into(), "NONE".into(), "B=".into(), "C=a=b".into()],
            env_file: Vec::new(),
        };
        assert_eq!(resolve_with(&flags, caller).unwrap(), ["A=1", "HOME=/root", "B=", "C=a=b"]);
        for wrong in ["", "=x"] {
            let flags = Environment { env: vec![wrong.into()], env_file: Vec::new() };
            assert!(resolve_with(&flags, caller).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn files_are_dockers() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"\xef\xbb\xbf# comment\n\n  A= \"x\" \nHOME\nNONE\n B=2").unwrap();
        let flags = Environment { env: vec!["A=last".into()], env_file: vec![file.path().into()] };
        assert_eq!(resolve_with(&flags, caller).unwrap(), ["A= \"x\" ", "HOME=/root", "B=2", "A=last"]);
    }

    #[test]
    fn wrong_lines_are_named() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"A=1\nexport B=2\n").unwrap();
        let flags = Environment { env: Vec::new(), env_file: vec![file.path().into()] };
        let failure = resolve_with(&flags, caller).unwrap_err();
        assert!(failure.message().contains("line 2"), "{}", failure.message());
        let flags = Environment { env: Vec::new(), env_file: vec!["/nonexistent".into()] };
        assert!(resolve_with(&flags, caller).unwrap_err().message().contains("/nonexistent"));
    }
}
