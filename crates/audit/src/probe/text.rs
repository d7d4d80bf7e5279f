//! The report as text for people.

use std::fmt::Write;

use super::cgroup::Limit;
use super::mounts::Mount;
use super::paths::State;
use super::report::Report;
use super::status::IdRange;

/// Width of the column of reasons.
const REASON_WIDTH: usize = 76;

/// Renders the report: the verdicts first, then the facts behind them.
pub(crate) fn render(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String never fails.
    let _ = write_report(&mut out, report);
    printable(&out)
}

fn write_report(out: &mut String, report: &Report) -> std::fmt::Result {
    let engine = report.engine.map_or(String::new(), |engine| format!(" ({engine})"));
    writeln!(out, "How isolated this container is{engine}, seen from inside")?;
    writeln!(out)?;
    for topic in &report.topics {
        let verdict = topic.judgement.verdict.name();
        writeln!(out, "  {verdict:<5} {:<18} {}", topic.topic, wrapped(&topic.judgement.why))?;
    }
    let score = report.score;
    writeln!(out)?;
    writeln!(out, "  {}: {} good, {} to note, {} open", report.verdict.name(), score.good, score.note, score.open)?;
    writeln!(out)?;
    facts(out, report)
}

fn facts(out: &mut String, report: &Report) -> std::fmt::Result {
    let identity = &report.identity;
    heading(out, "ids")?;
    line(out, "user, group", &format!("{}, {}", identity.uid, identity.gid))?;
    line(out, "groups", &joined(identity.groups.iter().map(ToString::to_string)))?;
    line(out, "uid map", &joined(identity.uid_map.iter().map(range)))?;
    line(out, "gid map", &joined(identity.gid_map.iter().map(range)))?;

    let capabilities = &report.capabilities;
    heading(out, "capabilities")?;
    for (set, names) in [
        ("effective", &capabilities.effective),
        ("permitted", &capabilities.permitted),
        ("inheritable", &capabilities.inheritable),
        ("bounding", &capabilities.bounding),
        ("ambient", &capabilities.ambient),
    ] {
        line(out, set, &joined(names.iter().cloned()))?;
    }
    for danger in &capabilities.dangerous {
        line(out, "! dangerous", &format!("{}: {}", danger.capability, danger.allows))?;
    }
    heading(out, "privileges")?;
    line(out, "no-new-privileges", known(report.no_new_privileges.map(|set| if set { "yes" } else { "no" })))?;
    let filters = report.seccomp.filters.map_or(String::new(), |count| format!(", filters: {count}"));
    line(out, "seccomp", &format!("{}{filters}", known(report.seccomp.mode)))?;
    line(out, "label", known(report.kernel.label.as_deref()))?;

    heading(out, "namespaces")?;
    for namespace in &report.namespaces.kinds {
        let whose = match namespace.initial {
            Some(true) => "the host's",
            Some(false) => "own",
            None => "not known",
        };
        let number = namespace.inode.map_or(String::new(), |inode| format!(" {inode}"));
        line(out, namespace.kind, &format!("{whose}{number} ({})", namespace.evidence))?;
    }
    line(out, "processes seen", &report.namespaces.visible_processes.to_string())?;

    heading(out, "mounts")?;
    for mount in &report.mounts {
        line(out, &mount.target, &options(mount))?;
    }
    heading(out, "kernel paths in reach")?;
    for path in report.paths.iter().filter(|path| matches!(path.state, State::Readable | State::Writable)) {
        let state = if path.state == State::Writable { "writable" } else { "readable" };
        line(out, path.path, &format!("{state}: {}", path.gives))?;
    }
    resources(out, report)?;
    reach(out, report)
}

fn resources(out: &mut String, report: &Report) -> std::fmt::Result {
    let cgroup = &report.cgroup;
    heading(out, "cgroup")?;
    line(out, "hierarchies", known(cgroup.version))?;
    for (name, limit) in [
        ("memory (bytes)", cgroup.memory),
        ("swap (bytes)", cgroup.swap),
        ("pids", cgroup.pids),
        ("CPU (thousandths)", cgroup.millicpus),
    ] {
        let words = match limit {
            Some(Limit::Max) => "unlimited".to_owned(),
            Some(Limit::At(number)) => number.to_string(),
            None => "can't be seen".to_owned(),
        };
        line(out, name, &words)?;
    }
    line(out, "CPUs", known(cgroup.cpuset.as_deref()))?;
    heading(out, "limits")?;
    for limit in &report.limits.resources {
        let number = |number: Option<u64>| number.map_or("unlimited".to_owned(), |number| number.to_string());
        line(out, &limit.name, &format!("{} : {}", number(limit.soft), number(limit.hard)))?;
    }
    line(out, "OOM score", &report.limits.oom_score_adj.map_or("not known".to_owned(), |score| score.to_string()))
}

fn reach(out: &mut String, report: &Report) -> std::fmt::Result {
    heading(out, "devices")?;
    line(out, "standard", &joined(report.devices.standard.iter().map(|name| (*name).to_owned())))?;
    for device in &report.devices.others {
        let access = match (device.readable, device.writable) {
            (true, true) => "read, write",
            (true, false) => "read",
            (false, true) => "write",
            (false, false) => "no access",
        };
        line(out, &device.path, &format!("{} {}:{}, {access}", device.kind, device.major, device.minor))?;
    }
    heading(out, "network")?;
    match &report.network.interfaces {
        Some(interfaces) => {
            for interface in interfaces {
                line(out, &interface.name, &joined(interface.addresses.iter().map(ToString::to_string)))?;
            }
        }
        None => line(out, "interfaces", "can't be seen")?,
    }
    line(out, "IPv4", &joined(report.network.addresses.iter().map(ToString::to_string)))?;
    line(out, "gateways", &joined(report.network.gateways.iter().map(ToString::to_string)))?;
    heading(out, "sockets")?;
    for socket in &report.sockets.paths {
        let words = match (socket.connectable, socket.engine) {
            (true, true) => "may connect: an engine's or manager's",
            (true, false) => "may connect",
            (false, _) => "no access",
        };
        line(out, &socket.path, words)?;
    }
    line(out, "abstract", &joined(report.sockets.abstract_names.iter().cloned()))?;
    heading(out, "kernel")?;
    line(out, "release", known(report.kernel.release.as_deref()))?;
    line(out, "core_pattern", known(report.kernel.core_pattern.as_deref()))?;
    line(out, "landlock", report.kernel.landlock)
}

/// Breaks words so that the column of reasons stays within 76 characters, below each other.
fn wrapped(words: &str) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in words.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > REASON_WIDTH {
            let _ = write!(out, "\n{:27}", "");
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += length;
    }
    out
}

fn heading(out: &mut String, title: &str) -> std::fmt::Result {
    writeln!(out, "{title}")
}

fn line(out: &mut String, name: &str, value: &str) -> std::fmt::Result {
    writeln!(out, "  {name:<24} {value}")
}

fn known(value: Option<&str>) -> &str {
    value.unwrap_or("not known")
}

fn joined(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    if values.is_empty() { "none".to_owned() } else { values.join(" ") }
}

fn range(range: &IdRange) -> String {
    format!("{}→{} ({})", range.inside, range.outside, range.size)
}

fn options(mount: &Mount) -> String {
    let mut words = vec![mount.kind.as_str(), if mount.writable { "rw" } else { "ro" }];
    for (given, word) in
        [(!mount.exec, "noexec"), (!mount.suid, "nosuid"), (!mount.dev, "nodev"), (mount.idmapped, "idmapped")]
    {
        if given {
            words.push(word);
        }
    }
    if let Some(size) = &mount.size {
        return format!("{} size={size}", words.join(" "));
    }
    words.join(" ")
}

/// Names inside a container are chosen by whoever is inside: no control character of theirs reaches the terminal.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let hidden = c != '\n'
                && (c.is_control()
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
            let escaped = hidden.then(|| c.escape_unicode());
            let plain = (!hidden).then_some(c);
            plain.into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[31m\tb\u{202e}\n→"), "a\\u{1b}[31m\\u{9}b\\u{202e}\n→");
    }

    #[test]
    fn reasons_are_broken_between_words() {
        let text = wrapped(&"word ".repeat(40));
        assert!(text.lines().count() > 2);
        assert!(text.lines().all(|line| line.trim_start().len() <= REASON_WIDTH));
        assert_eq!(text.split_ascii_whitespace().count(), 40);
        assert_eq!(wrapped(&"x".repeat(200)), "x".repeat(200));
    }

    #[test]
    fn a_mount_is_described_by_what_may_be_done() {
        let mounts = super::super::mounts::parse("1 0 0:1 / /tmp rw,nosuid,noexec - tmpfs tmpfs rw,size=64k");
        assert_eq!(options(&mounts[0]), "tmpfs rw noexec nosuid size=64k");
    }
}
