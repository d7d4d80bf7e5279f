//! The commands: one module each, and the table that finds them.
//!
//! A new command is a module with an `ENTRY`, a line in [`COMMANDS`], and a line in a management group if it has one.

mod attach;
mod create;
mod exec;
pub(crate) mod help;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod logs;
mod ps;
mod rm;
mod rmi;
mod run;
mod start;
mod stop;
mod system_check;
mod tag;
pub(crate) mod version;
mod wait;

use casemate_engine::Engine;
use clap::{ArgMatches, Command};
use serde_json::Value;

use crate::context::Context;
use crate::failure::Failure;

/// What a command comes to: its exit code, or why it failed.
pub(crate) type Outcome = Result<u8, Failure>;

/// One command.
pub(crate) struct Entry {
    /// The word that calls it.
    pub(crate) name: &'static str,
    /// Under which heading the overview lists it.
    pub(crate) section: Section,
    /// What it does, in one line.
    pub(crate) summary: &'static str,
    /// Its arguments, as in "[OPTIONS] IMAGE".
    pub(crate) usage: &'static str,
    /// One command line that people can copy.
    pub(crate) example: &'static str,
    /// Adds its arguments to a command under construction.
    pub(crate) build: fn(Command) -> Command,
    /// Does it.
    pub(crate) run: fn(&Context, &ArgMatches) -> Outcome,
}

/// The headings of the overview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// Running things.
    Containers,
    /// What is run.
    Images,
    /// The engine itself.
    System,
}

/// Every command, in the order of the overview.
pub(crate) const COMMANDS: &[&Entry] = &[
    &run::ENTRY,
    &exec::ENTRY,
    &ps::ENTRY,
    &logs::ENTRY,
    &attach::ENTRY,
    &create::ENTRY,
    &start::ENTRY,
    &stop::ENTRY,
    &kill::ENTRY,
    &wait::ENTRY,
    &rm::ENTRY,
    &images::ENTRY,
    &load::ENTRY,
    &import::ENTRY,
    &tag::ENTRY,
    &rmi::ENTRY,
    &inspect::ENTRY,
    &info::ENTRY,
    &version::ENTRY,
];

/// A management word (`container`) and its members.
pub(crate) struct Group {
    /// The word.
    pub(crate) word: &'static str,
    /// What its members are about.
    pub(crate) summary: &'static str,
    /// The commands under it.
    pub(crate) members: &'static [Member],
}

/// A command under a management word.
pub(crate) struct Member {
    /// The words that call it there, the usual one first.
    pub(crate) words: &'static [&'static str],
    /// The command.
    pub(crate) entry: &'static Entry,
    /// Arguments that the management word implies.
    pub(crate) preset: &'static [&'static str],
}

const fn member(words: &'static [&'static str], entry: &'static Entry) -> Member {
    Member { words, entry, preset: &[] }
}

/// The management words.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        word: "container",
        summary: "Manage containers",
        members: &[
            member(&["run"], &run::ENTRY),
            member(&["exec"], &exec::ENTRY),
            member(&["ls", "list", "ps"], &ps::ENTRY),
            member(&["logs"], &logs::ENTRY),
            member(&["attach"], &attach::ENTRY),
            member(&["create"], &create::ENTRY),
            member(&["start"], &start::ENTRY),
            member(&["stop"], &stop::ENTRY),
            member(&["kill"], &kill::ENTRY),
            member(&["wait"], &wait::ENTRY),
            member(&["rm", "remove"], &rm::ENTRY),
            Member { words: &["inspect"], entry: &inspect::ENTRY, preset: &["--type=container"] },
        ],
    },
    Group {
        word: "image",
        summary: "Manage images",
        members: &[
            member(&["ls", "list"], &images::ENTRY),
            member(&["load"], &load::ENTRY),
            member(&["import"], &import::ENTRY),
            member(&["tag"], &tag::ENTRY),
            member(&["rm", "remove"], &rmi::ENTRY),
            Member { words: &["inspect"], entry: &inspect::ENTRY, preset: &["--type=image"] },
        ],
    },
    Group {
        word: "system",
        summary: "Look after the engine's state",
        members: &[member(&["check"], &system_check::ENTRY), member(&["info"], &info::ENTRY)],
    },
];

/// The command that this word calls.
pub(crate) fn by_name(word: &str) -> Option<&'static Entry> {
    COMMANDS.iter().find(|entry| entry.name == word).copied()
}

/// The management group of this word.
pub(crate) fn group(word: &str) -> Option<&'static Group> {
    GROUPS.iter().find(|group| group.word == word)
}

/// Every word that may stand first, for suggestions.
pub(crate) fn words() -> impl Iterator<Item = &'static str> {
    let commands = COMMANDS.iter().map(|entry| entry.name);
    commands.chain(GROUPS.iter().map(|group| group.word)).chain(["help"])
}

/// Reads a command's arguments. The parser has checked them: a failure here is a mismatch between the two.
fn arguments<T: clap::FromArgMatches>(matches: &ArgMatches) -> Result<T, Failure> {
    T::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))
}

/// What of a container decides how one connects to it.
struct Streams {
    tty: bool,
    open_stdin: bool,
}

impl Streams {
    fn of(engine: &Engine, name: &str) -> Result<Self, Failure> {
        let config = engine.inspect(name)?.config;
        let on = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
        Ok(Self { tty: on("Tty"), open_stdin: on("OpenStdin") })
    }
}

/// Reads a name for an image.
fn reference(text: &str) -> Result<casemate_image::Reference, Failure> {
    Ok(casemate_image::Reference::parse(text)?)
}

/// Does `each` for every name, says what failed, and goes on: exit code 1 when anything failed.
fn for_each(names: &[String], mut each: impl FnMut(&str) -> Result<(), Failure>) -> Outcome {
    let mut code = 0;
    for name in names {
        if let Err(failure) = each(name) {
            if failure.message().is_empty() {
                return Err(failure);
            }
            crate::output::complain(&format!("casemate: {}", failure.message()));
            code = 1;
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_builds_and_parses_help() {
        let entries = COMMANDS.iter().copied().chain(GROUPS.iter().flat_map(|g| g.members.iter().map(|m| m.entry)));
        for entry in entries {
            let command = (entry.build)(Command::new("casemate").no_binary_name(true).disable_help_flag(true));
            command.debug_assert();
            assert!(entry.example.starts_with("casemate "), "{}: {}", entry.name, entry.example);
            assert!(!entry.summary.ends_with('.'), "{}", entry.name);
        }
    }

    #[test]
    fn what_is_here_is_not_answered_with_something_else() {
        for word in words() {
            assert!(crate::refused::command(word).is_none(), "{word}");
        }
        for group in GROUPS {
            for word in group.members.iter().flat_map(|member| member.words) {
                assert!(crate::refused::command(&format!("{} {word}", group.word)).is_none(), "{} {word}", group.word);
            }
        }
        for entry in COMMANDS {
            let command = (entry.build)(Command::new("casemate"));
            for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
                let answer = crate::refused::flag(entry.name, &format!("--{flag}"));
                assert!(answer.is_none(), "{} --{flag}", entry.name);
            }
        }
    }

    #[test]
    fn every_argument_is_explained() {
        for entry in COMMANDS {
            let command = (entry.build)(Command::new("casemate"));
            for argument in command.get_arguments().filter(|a| !a.is_positional() && !a.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{} {:?}", entry.name, argument.get_long());
            }
        }
    }

    #[test]
    fn examples_parse() {
        for entry in COMMANDS {
            let words = entry.example.split_whitespace().skip(1 + entry.name.split(' ').count());
            let words: Vec<String> = words
                .take_while(|word| !matches!(*word, "<" | "|" | ">"))
                .map(|word| word.trim_matches('\'').to_owned())
                .collect();
            if entry.example.contains('\'') {
                continue; // quoting is the shell's
            }
            let command = (entry.build)(Command::new("casemate").no_binary_name(true).disable_help_flag(true));
            command.try_get_matches_from(&words).unwrap_or_else(|e| panic!("{}: {e}", entry.example));
        }
    }
}
