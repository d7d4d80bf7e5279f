//! `images`: the images of the store.

use casemate_engine::Timestamp;
use casemate_image::{Image, Reference};
use clap::{ArgMatches, Args};
use serde_json::{Map, Value, json};

use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::options::boolean;
use crate::output::filter::{Filters, glob_matches, labels_match};
use crate::output::listing::{Field, Listing};
use crate::output::{clock, size};

pub(crate) const ENTRY: Entry = Entry {
    name: "images",
    section: Section::Images,
    summary: "List images",
    usage: "[OPTIONS] [NAME[:TAG]]",
    example: "casemate images --filter dangling=true",
    build: Options::augment_args,
    run,
};

const FILTERS: [&str; 5] = ["before", "dangling", "label", "reference", "since"];

const LISTING: Listing = Listing {
    fields: &[
        Field { name: "Repository", heading: "REPOSITORY" },
        Field { name: "Tag", heading: "TAG" },
        Field { name: "Digest", heading: "DIGEST" },
        Field { name: "ID", heading: "IMAGE ID" },
        Field { name: "CreatedSince", heading: "CREATED" },
        Field { name: "CreatedAt", heading: "CREATED AT" },
        Field { name: "Size", heading: "SIZE" },
    ],
    table: "{{.Repository}}\\t{{.Tag}}\\t{{.ID}}\\t{{.CreatedSince}}\\t{{.Size}}",
    quiet: "ID",
};

#[derive(Debug, Args)]
struct Options {
    /// Accepted as Docker's; images have no hidden parents here
    #[arg(short, long, hide = true)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Only what matches: before=, dangling=, label=, reference=, since= (repeatable)
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    #[arg(value_name = "NAME", hide = true)]
    name: Option<String>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let filters = Filters::parse(&options.filter, &FILTERS)?;
    let engine = context.engine()?;
    let store = engine.images();
    let mut images = store.list()?;
    // Newest first, as Docker's; what has no date is oldest.
    images.sort_by_key(|image| std::cmp::Reverse(created(image)));
    let bound = |key: &str| -> Result<Option<Timestamp>, Failure> {
        filters.values(key).last().map(|name| Ok(created(&store.resolve(name)?).unwrap_or_default())).transpose()
    };
    let (before, since) = (bound("before")?, bound("since")?);
    let dangling = filters
        .values("dangling")
        .last()
        .map(|text| boolean(text).map_err(|why| Failure::usage(format!("--filter dangling={text}: {why}"))))
        .transpose()?;
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for image in &images {
        let moment = created(image).unwrap_or_default();
        let kept = before.is_none_or(|bound| moment < bound)
            && since.is_none_or(|bound| moment > bound)
            && dangling.is_none_or(|wanted| image.references.is_empty() == wanted)
            && labels_match(&filters, |key| label(image, key));
        if !kept {
            continue;
        }
        let named = |reference: &&Reference| {
            filters.allows("reference", |pattern| reference_matches(pattern, reference))
                && options.name.as_deref().is_none_or(|name| reference_matches(name, reference))
        };
        let names: Vec<&Reference> = image.references.iter().filter(named).collect();
        let unnamed = image.references.is_empty() && options.name.is_none() && filters.values("reference").is_empty();
        if unnamed {
            rows.push(row(image, None, now, options.no_trunc));
        }
        rows.extend(names.into_iter().map(|reference| row(image, Some(reference), now, options.no_trunc)));
    }
    if options.quiet {
        // An image with two names is one image.
        rows.dedup_by(|a, b| a.get("ID") == b.get("ID"));
    }
    LISTING.show(&rows, options.format.as_deref(), options.quiet)?;
    Ok(0)
}

fn created(image: &Image) -> Option<Timestamp> {
    image.created.as_deref().and_then(Timestamp::parse)
}

fn label<'a>(image: &'a Image, key: &str) -> Option<&'a str> {
    image.config.config().as_ref()?.labels().as_ref()?.get(key).map(String::as_str)
}

/// Docker's: the pattern is held against the short name with and without the tag.
fn reference_matches(pattern: &str, reference: &Reference) -> bool {
    let familiar = reference.familiar();
    glob_matches(pattern, &familiar) || glob_matches(pattern, &reference.familiar_name())
}

fn row(image: &Image, reference: Option<&Reference>, now: Timestamp, whole: bool) -> Map<String, Value> {
    let id = image.id.to_string();
    let short = id.split(':').next_back().and_then(|hex| hex.get(..12)).unwrap_or(&id).to_owned();
    let moment = created(image);
    let row = json!({
        "Repository": reference.map_or("<none>".to_owned(), Reference::familiar_name),
        "Tag": reference.and_then(Reference::tag).unwrap_or("<none>"),
        "Digest": image.manifest.to_string(),
        "ID": if whole { id } else { short },
        "CreatedSince": moment.map_or("N/A".to_owned(), |moment| clock::ago(now, moment)),
        "CreatedAt": moment.map_or("N/A".to_owned(), clock::display),
        "Size": size::decimal(image.size),
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}
