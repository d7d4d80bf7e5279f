//! From `argv` to one command: global options, management words (`container ls`), help, suggestions.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::commands::{self, Entry};
use crate::context::Context;
use crate::failure::Failure;
use crate::options::boolean;
use crate::{output, refused, suggest};

/// Runs what the arguments (without the program's name) ask for, and says what went wrong.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    // Another program's command line, with flags of its own before the command.
    if arguments.first().is_some_and(|word| word == "oci") {
        return casemate_oci::main(&arguments, false);
    }
    let mut context = Context { called: "casemate".to_owned(), ..Context::default() };
    match run(&mut context, arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.message().is_empty() {
                output::complain(&format!("casemate: {}", failure.message()));
                if failure.is_usage() {
                    output::complain(&format!("See '{} --help'.", context.called));
                }
            }
            ExitCode::from(failure.code())
        }
    }
}

fn run(context: &mut Context, mut arguments: Vec<OsString>) -> Result<u8, Failure> {
    let first = global_options(context, &arguments)?;
    arguments.drain(..first);
    if arguments.is_empty() {
        output::print(&commands::help::overview())?;
        return Ok(0);
    }
    let word = arguments.remove(0);
    let word = word.to_str().ok_or_else(|| no_such_command(&word.to_string_lossy()))?;
    if matches!(word, "--help" | "-h") {
        output::print(&commands::help::overview())?;
        return Ok(0);
    }
    if matches!(word, "--version" | "-v") {
        output::print(&commands::version::line())?;
        return Ok(0);
    }
    if word == "help" {
        return help(context, &arguments);
    }
    let (entry, preset) = find(context, word, &mut arguments)?;
    let Some(entry) = entry else {
        output::print(&commands::help::group(word))?;
        return Ok(0);
    };
    execute(context, entry, preset, &arguments)
}

/// Reads the options that stand before the command; the index of the first argument that is none of them.
fn global_options(context: &mut Context, arguments: &[OsString]) -> Result<usize, Failure> {
    const KNOWN: [&str; 4] = ["--data-root", "--run-root", "--help", "--version"];
    let mut at = 0;
    while let Some(argument) = arguments.get(at).and_then(|a| a.to_str()) {
        if !argument.starts_with('-') || matches!(argument, "--help" | "-h" | "--version" | "-v") {
            break;
        }
        let (name, attached) = argument.split_once('=').map_or((argument, None), |(n, v)| (n, Some(v)));
        let target = match name {
            "--data-root" => &mut context.data_root,
            "--run-root" => &mut context.run_root,
            _ => {
                return Err(Failure::usage(match refused::flag("", name) {
                    Some(words) => format!("{name}: {words}"),
                    None => format!("unknown flag: {name}{}", suggest::hint(name, KNOWN)),
                }));
            }
        };
        let value = if let Some(value) = attached {
            OsStr::new(value)
        } else {
            at += 1;
            arguments.get(at).ok_or_else(|| Failure::usage(format!("{name} needs a directory")))?
        };
        *target = Some(absolute(name, value)?);
        at += 1;
    }
    Ok(at)
}

fn absolute(name: &str, value: &OsStr) -> Result<PathBuf, Failure> {
    std::path::absolute(value).map_err(|error| Failure::usage(format!("{name} {}: {error}", value.display())))
}

/// The entry for a command word, and the arguments that the management word implies. `None` for a bare management word.
fn find(
    context: &mut Context,
    word: &str,
    arguments: &mut Vec<OsString>,
) -> Result<(Option<&'static Entry>, &'static [&'static str]), Failure> {
    context.called = format!("casemate {word}");
    if let Some(entry) = commands::by_name(word) {
        return Ok((Some(entry), &[]));
    }
    let Some(group) = commands::group(word) else {
        "casemate".clone_into(&mut context.called);
        return Err(no_such_command(word));
    };
    let asked = arguments.first().and_then(|a| a.to_str()).unwrap_or("--help");
    if matches!(asked, "--help" | "-h") {
        return Ok((None, &[]));
    }
    let Some(member) = group.members.iter().find(|member| member.words.contains(&asked)) else {
        let known = group.members.iter().flat_map(|member| member.words.iter().copied());
        return Err(Failure::usage(match refused::command(&format!("{word} {asked}")) {
            Some(words) => format!("'{word} {asked}': {words}"),
            None => format!("'{asked}' is not a command of 'casemate {word}'{}", suggest::hint(asked, known)),
        })
        .with_code(1));
    };
    context.called = format!("casemate {word} {asked}");
    arguments.remove(0);
    Ok((Some(member.entry), member.preset))
}

fn no_such_command(word: &str) -> Failure {
    let known = commands::words();
    Failure::usage(match refused::command(word) {
        Some(words) => format!("'{word}': {words}"),
        None => format!("'{word}' is not a casemate command{}", suggest::hint(word, known)),
    })
    .with_code(1)
}

fn help(context: &mut Context, arguments: &[OsString]) -> Result<u8, Failure> {
    let mut rest = arguments.to_vec();
    if rest.is_empty() {
        output::print(&commands::help::overview())?;
        return Ok(0);
    }
    let word = rest.remove(0);
    let word = word.to_string_lossy().into_owned();
    let (entry, _) = find(context, &word, &mut rest)?;
    match entry {
        Some(entry) => output::print(&ended(&command(context, entry).render_help().to_string()))?,
        None => output::print(&commands::help::group(&word))?,
    }
    Ok(0)
}

fn execute(context: &Context, entry: &'static Entry, preset: &[&str], arguments: &[OsString]) -> Result<u8, Failure> {
    let all = preset.iter().map(OsStr::new).chain(arguments.iter().map(OsString::as_os_str));
    let mut command = command(context, entry);
    if arguments.iter().any(|argument| gives_switch_a_value(argument)) {
        command = command.mut_args(switch_with_value);
    }
    let matches: ArgMatches = match command.try_get_matches_from_mut(all) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            output::print(&ended(&error.render().to_string()))?;
            return Ok(0);
        }
        Err(error) => return Err(wrong_arguments(entry, &command, &error)),
    };
    (entry.run)(context, &matches)
}

/// The text with one line break at its end.
fn ended(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

/// Whether this looks like Docker's `--rm=true`, `-i=false`.
fn gives_switch_a_value(argument: &OsStr) -> bool {
    let Some((flag, value)) = argument.to_str().and_then(|text| text.split_once('=')) else { return false };
    flag.starts_with('-') && boolean(value).is_ok()
}

/// Lets an on/off flag take a value after `=`. Only done when one is given: the help stays free of it.
fn switch_with_value(argument: Arg) -> Arg {
    if !matches!(argument.get_action(), ArgAction::SetTrue) {
        return argument;
    }
    argument
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_parser(boolean)
}

/// Builds one command. `-h` is not help: in Docker it is `--hostname`.
fn command(context: &Context, entry: &Entry) -> Command {
    const TEMPLATE: &str = "{about-with-newline}\nUsage:  {usage}\n\n{all-args}{after-help}\n";
    let command = Command::new("casemate")
        .bin_name(context.called.clone())
        .no_binary_name(true)
        // As in Docker, the last of a repeated flag wins.
        .args_override_self(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .help_template(TEMPLATE)
        .override_usage(format!("{} {}", context.called, entry.usage))
        .after_help(format!("Example:\n  {}", entry.example))
        .arg(Arg::new("help").long("help").action(ArgAction::HelpShort).help("Show this help").display_order(1000));
    // The flags' own documentation would take the place of the command's.
    (entry.build)(command).about(entry.summary)
}

/// Turns the parser's error into ours: one line, what to write instead, and what Docker's flag became here.
fn wrong_arguments(entry: &Entry, command: &Command, error: &clap::Error) -> Failure {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => Some(argument.as_str()),
        _ => None,
    };
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(argument) = argument
    {
        let flag = argument.split('=').next().unwrap_or(argument);
        if !flag.starts_with('-') {
            return Failure::usage(format!("'{argument}' is one argument too many"));
        }
        if let Some(words) = refused::flag(entry.name, flag) {
            return Failure::usage(format!("{flag}: {words}"));
        }
        let known: Vec<String> =
            command.get_arguments().filter_map(|a| a.get_long()).map(|l| format!("--{l}")).collect();
        let hint = suggest::hint(flag, known.iter().map(String::as_str));
        return Failure::usage(format!("unknown flag: {flag}{hint}"));
    }
    if error.kind() == ErrorKind::MissingRequiredArgument {
        return Failure::usage(format!("an argument is missing: {} {}", entry.name, entry.usage));
    }
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or("wrong arguments");
    Failure::usage(line.strip_prefix("error: ").unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(words: &[&str]) -> Failure {
        let mut context = Context { called: "casemate".to_owned(), ..Context::default() };
        run(&mut context, words.iter().map(OsString::from).collect()).expect_err("wrong on purpose")
    }

    #[test]
    fn wrong_words_get_suggestions() {
        for (words, wanted) in [
            (&["rnu"][..], "did you mean \"run\"?"),
            (&["contianer", "ls"], "did you mean \"container\"?"),
            (&["container", "sotp", "x"], "did you mean \"stop\"?"),
            (&["ps", "--no-trunk"], "did you mean \"--no-trunc\"?"),
            (&["run", "--memroy=1g", "x"], "did you mean \"--memory\"?"),
            (&["run", "-p", "80:80", "x"], "no network"),
            (&["run", "--network-alias=a", "x"], "no network"),
            (&["exec", "--privileged", "x", "sh"], "--cap-add"),
            (&["ps", "-s"], "inspect"),
            (&["inspect", "--size", "x"], "images"),
            (&["pull", "x"], "load"),
            (&["image", "pull", "x"], "load"),
            (&["-H", "tcp://x", "ps"], "no daemon"),
            (&["--data-rot", "/x", "ps"], "did you mean \"--data-root\"?"),
            (&["ps", "extra"], "too many"),
            (&["rm"], "missing"),
            (&["run", "--rm=maybe", "x"], "unexpected value"),
        ] {
            let failure = outcome(words);
            assert!(failure.message().contains(wanted), "{words:?}: {}", failure.message());
            assert_ne!(failure.code(), 0);
        }
    }

    #[test]
    fn usage_errors_have_dockers_codes() {
        assert_eq!(outcome(&["nonsense"]).code(), 1);
        assert_eq!(outcome(&["ps", "--nonsense"]).code(), 125);
        assert_eq!(outcome(&["run", "--nonsense", "x"]).code(), 125);
    }

    #[test]
    fn switches_take_values_after_an_equals_sign() {
        assert!(gives_switch_a_value(OsStr::new("--rm=true")));
        assert!(gives_switch_a_value(OsStr::new("-i=0")));
        assert!(!gives_switch_a_value(OsStr::new("--name=x")));
        let context = Context::default();
        let entry = commands::by_name("run").expect("run exists");
        let command = command(&context, entry).mut_args(switch_with_value);
        let matches =
            command.try_get_matches_from(["--rm=true", "-i", "-t=false", "img", "--rm=false"]).expect("parses");
        assert!(matches.get_flag("rm") && matches.get_flag("interactive") && !matches.get_flag("tty"));
    }

    #[test]
    fn global_options_stand_before_the_command() {
        let mut context = Context::default();
        let words: Vec<OsString> = ["--data-root=/a", "--run-root", "/b", "ps"].map(OsString::from).to_vec();
        assert_eq!(global_options(&mut context, &words).expect("valid"), 3);
        assert_eq!(context.data_root.as_deref(), Some(std::path::Path::new("/a")));
        assert_eq!(context.run_root.as_deref(), Some(std::path::Path::new("/b")));
    }
}
