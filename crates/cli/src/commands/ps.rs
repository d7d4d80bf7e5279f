//! `ps`: the containers.

use casemate_engine::{Engine, Status, Summary, Timestamp};
use clap::{ArgMatches, Args};
use serde_json::{Map, Value, json};

use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::filter::{Filters, labels_match, name_matches};
use crate::output::listing::{Field, Listing};
use crate::output::template::LABEL_MAP;
use crate::output::{age, clock};

pub(crate) const ENTRY: Entry = Entry {
    name: "ps",
    section: Section::Containers,
    summary: "List containers",
    usage: "[OPTIONS]",
    example: "casemate ps -a --filter status=exited --format 'table {{.Names}}\\t{{.Status}}\\t{{.Posture}}'",
    build: Options::augment_args,
    run,
};

const FILTERS: [&str; 11] =
    ["ancestor", "before", "exited", "id", "label", "name", "network", "posture", "since", "status", "volume"];

const STATUSES: [&str; 3] = ["created", "running", "exited"];

const LISTING: Listing = Listing {
    fields: &[
        Field { name: "ID", heading: "CONTAINER ID" },
        Field { name: "Image", heading: "IMAGE" },
        Field { name: "Command", heading: "COMMAND" },
        Field { name: "RunningFor", heading: "CREATED" },
        Field { name: "CreatedAt", heading: "CREATED AT" },
        Field { name: "Status", heading: "STATUS" },
        Field { name: "State", heading: "STATE" },
        Field { name: "Ports", heading: "PORTS" },
        Field { name: "Names", heading: "NAMES" },
        Field { name: "Labels", heading: "LABELS" },
        Field { name: "Mounts", heading: "MOUNTS" },
        Field { name: "LocalVolumes", heading: "LOCAL VOLUMES" },
        Field { name: "Networks", heading: "NETWORKS" },
        Field { name: "Posture", heading: "POSTURE" },
    ],
    table: "{{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.RunningFor}}\\t{{.Status}}\\t{{.Ports}}\\t{{.Names}}",
    quiet: "ID",
};

#[derive(Debug, Args)]
struct Options {
    /// Those that don't run too
    #[arg(short, long)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only the last N that were created, whatever they do
    #[arg(short = 'n', long, value_name = "N", allow_negative_numbers = true)]
    last: Option<i64>,
    /// Only the one that was created last, whatever it does
    #[arg(short, long)]
    latest: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// Only what matches: ancestor=, before=, exited=, id=, label=, name=, network=, posture=, since=, status=, volume= (repeatable)
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let filters = Filters::parse(&options.filter, &FILTERS)?;
    let selection = Selection::parse(&filters)?;
    let last = match (options.latest, options.last) {
        (true, _) => Some(1),
        // Docker's default of -n is -1: no limit.
        (false, last) => last.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
    };
    let engine = context.engine()?;
    let all =
        options.all || last.is_some() || !filters.values("status").is_empty() || !filters.values("exited").is_empty();
    let bounds = Bounds::find(&engine, &filters)?;
    let ancestors = ancestors(&engine, filters.values("ancestor"));
    let mut containers = engine.list(all)?;
    containers.retain(|container| {
        bounds.hold(container) && selection.holds(container) && kept(&filters, &ancestors, container)
    });
    if let Some(last) = last {
        containers.truncate(last);
    }
    let now = Timestamp::now();
    let rows: Vec<_> = containers.iter().map(|container| row(container, now, options.no_trunc)).collect();
    LISTING.show(&rows, options.format.as_deref(), options.quiet)?;
    Ok(0)
}

/// The filters whose values must be understood before any container is looked at.
struct Selection {
    statuses: Vec<String>,
    exit_codes: Vec<i32>,
}

impl Selection {
    fn parse(filters: &Filters) -> Result<Self, Failure> {
        for status in filters.values("status") {
            // Docker's other states never match here, but a script that asks for them is not wrong.
            const OTHERS: [&str; 4] = ["paused", "restarting", "removing", "dead"];
            if !STATUSES.iter().chain(&OTHERS).any(|known| known == status) {
                let hint = crate::suggest::hint(status, STATUSES);
                return Err(Failure::usage(format!(
                    "--filter status={status}: the states are {}{hint}",
                    STATUSES.join(", ")
                )));
            }
        }
        let exit_codes = filters
            .values("exited")
            .iter()
            .map(|text| {
                let wrong = |_| Failure::usage(format!("--filter exited={text}: write an exit code, as in exited=137"));
                text.parse().map_err(wrong)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { statuses: filters.values("status").to_vec(), exit_codes })
    }

    fn holds(&self, container: &Summary) -> bool {
        let status = container.status.name();
        (self.statuses.is_empty() || self.statuses.iter().any(|wanted| wanted == status))
            && (self.exit_codes.is_empty()
                || container.status == Status::Exited
                    && container.exit_code.is_some_and(|code| self.exit_codes.contains(&code)))
    }
}

/// `before=` and `since=`: the creation times of other containers.
struct Bounds {
    before: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl Bounds {
    fn find(engine: &Engine, filters: &Filters) -> Result<Self, Failure> {
        let created = |key: &str| -> Result<Option<Timestamp>, Failure> {
            filters.values(key).last().map(|name| Ok(engine.look_up(name)?.identity.created)).transpose()
        };
        Ok(Self { before: created("before")?, since: created("since")? })
    }

    fn hold(&self, container: &Summary) -> bool {
        let created = container.identity.created;
        self.before.is_none_or(|bound| created < bound) && self.since.is_none_or(|bound| created > bound)
    }
}

/// The ids of the images that `ancestor=` names; a name that is no image matches by what was written.
fn ancestors(engine: &Engine, names: &[String]) -> Vec<(String, Option<String>)> {
    let id = |name: &String| engine.images().resolve(name).ok().map(|image| image.id.to_string());
    names.iter().map(|name| (name.clone(), id(name))).collect()
}

fn kept(filters: &Filters, ancestors: &[(String, Option<String>)], container: &Summary) -> bool {
    let identity = &container.identity;
    let any = |key: &str, test: &dyn Fn(&str) -> bool| filters.allows(key, test);
    any("id", &|prefix| identity.id.as_str().starts_with(prefix))
        && any("name", &|pattern| name_matches(pattern, &identity.name))
        && any("network", &|network| identity.networks.iter().any(|n| n == network))
        && any("volume", &|volume| identity.mounts.iter().any(|m| m.name == volume || m.destination == volume))
        && any("posture", &|words| words_match(words, &identity.posture))
        && labels_match(filters, |key| identity.labels.get(key).map(String::as_str))
        && (ancestors.is_empty()
            || ancestors.iter().any(|(name, id)| id.as_ref() == Some(&identity.image_id) || *name == identity.image))
}

/// `posture=hardened`, `posture=relaxed`, or a part of what was relaxed: `posture=cap-add`.
fn words_match(words: &str, posture: &str) -> bool {
    match words {
        "hardened" => posture == "hardened",
        "relaxed" => posture != "hardened",
        part => posture.contains(part),
    }
}

fn row(container: &Summary, now: Timestamp, whole: bool) -> Map<String, Value> {
    let identity = &container.identity;
    let command = identity.command.join(" ");
    let volumes = identity.mounts.iter().filter(|mount| mount.kind == "volume").count();
    let labels: Vec<String> = identity.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mounts: Vec<String> = identity
        .mounts
        .iter()
        .map(|mount| if mount.name.is_empty() { &mount.source } else { &mount.name })
        .map(|name| if whole { name.clone() } else { shortened(name, 15) })
        .collect();
    let label_map: Map<String, Value> =
        identity.labels.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
    let row = json!({
        "ID": if whole { identity.id.as_str() } else { identity.id.short() },
        "Image": identity.image,
        "Command": quoted(&if whole { command } else { shortened(&command, 20) }),
        "RunningFor": clock::ago(now, identity.created),
        "CreatedAt": clock::display(identity.created),
        "Status": status(container, now),
        "State": container.status.name(),
        "Ports": "",
        "Names": identity.name,
        "Labels": labels.join(","),
        "Mounts": mounts.join(","),
        "LocalVolumes": volumes.to_string(),
        "Networks": identity.networks.join(","),
        "Posture": identity.posture,
        LABEL_MAP: label_map,
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

/// Docker's words: "Up 5 minutes", "Exited (0) 2 hours ago", "Created".
fn status(container: &Summary, now: Timestamp) -> String {
    match container.status {
        Status::Created => "Created".to_owned(),
        Status::Running => {
            let since = container.started.map_or(0, |started| now.since(started).as_secs());
            format!("Up {}", age::duration(since))
        }
        Status::Exited => {
            let code = container.exit_code.unwrap_or_default();
            let ago = container.finished.map_or_else(String::new, |finished| format!(" {}", clock::ago(now, finished)));
            format!("Exited ({code}){ago}")
        }
    }
}

/// At most `width` characters, the last one an ellipsis when something was cut.
fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width - 1).collect();
    cut.push('…');
    cut
}

/// In double quotes, as Docker shows commands.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_cut_and_quoted() {
        assert_eq!(shortened("sleep 100", 20), "sleep 100");
        assert_eq!(shortened("/usr/sbin/nginx -g daemon", 20), "/usr/sbin/nginx -g …");
        assert_eq!(quoted("sh -c \"a\\b\""), "\"sh -c \\\"a\\\\b\\\"\"");
    }

    #[test]
    fn postures_match_by_words() {
        assert!(words_match("hardened", "hardened"));
        assert!(words_match("relaxed", "relaxed: cap-add=NET_RAW"));
        assert!(words_match("cap-add", "relaxed: cap-add=NET_RAW"));
        assert!(!words_match("relaxed", "hardened"));
    }

    #[test]
    fn wrong_states_are_refused() {
        let filters = Filters::parse(&["status=runing".to_owned()], &FILTERS).unwrap();
        let failure = Selection::parse(&filters).err().unwrap();
        assert!(failure.message().contains("did you mean \"running\""), "{}", failure.message());
        let filters = Filters::parse(&["exited=x".to_owned()], &FILTERS).unwrap();
        assert!(Selection::parse(&filters).is_err());
    }
}
