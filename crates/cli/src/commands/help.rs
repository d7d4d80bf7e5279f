//! `help`: the overview, and what stands under a management word.

use std::fmt::Write as _;

use super::{COMMANDS, GROUPS, Section};

/// The overview of all commands.
pub(crate) fn overview() -> String {
    let mut text = String::from(
        "A container engine that is hardened by default and proves it\n\n\
         Usage:  casemate [--data-root DIR] [--run-root DIR] COMMAND\n",
    );
    let sections = [(Section::Containers, "Containers"), (Section::Images, "Images"), (Section::System, "System")];
    for (section, title) in sections {
        let _ = writeln!(text, "\n{title}:");
        for entry in COMMANDS.iter().filter(|entry| entry.section == section) {
            line(&mut text, entry.name, entry.summary);
        }
        if section == Section::System {
            line(&mut text, super::system_check::ENTRY.name, super::system_check::ENTRY.summary);
            line(&mut text, "oci", "Be an OCI runtime for other engines, with runc's commands");
        }
    }
    text.push_str("\nManagement words:\n");
    for group in GROUPS {
        line(&mut text, group.word, group.summary);
    }
    text.push_str(
        "\nGlobal options:\n  \
         --data-root DIR    Images and containers (default /var/lib/casemate, or CASEMATE_ROOT)\n  \
         --run-root DIR     What a reboot forgets (default /run/casemate, or CASEMATE_RUN_ROOT)\n  \
         -v, --version      Show the version\n\n\
         'casemate COMMAND --help' tells more about a command.\n\n\
         Example:\n  casemate run --rm casemate/probe\n",
    );
    text
}

/// The commands under a management word; the overview when there is no such word.
pub(crate) fn group(word: &str) -> String {
    let Some(group) = super::group(word) else {
        return overview();
    };
    let mut text = format!("{}\n\nUsage:  casemate {word} COMMAND\n\nCommands:\n", group.summary);
    for member in group.members {
        line(&mut text, member.words[0], member.entry.summary);
    }
    let _ = writeln!(text, "\n'casemate {word} COMMAND --help' tells more about a command.");
    text
}

fn line(text: &mut String, name: &str, summary: &str) {
    let _ = writeln!(text, "  {name:<14} {summary}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_listed() {
        let text = overview();
        for entry in COMMANDS {
            assert!(text.contains(&format!("  {} ", entry.name)), "{}", entry.name);
        }
        assert!(text.contains("  oci "));
        assert!(group("image").contains("  ls "));
        assert!(group("nothing").contains("Usage"));
    }
}
