//! `inspect`: everything that is known of containers and images.

use casemate_engine::{Engine, ErrorKind};
use casemate_image::{Image, Reference};
use clap::{ArgMatches, Args};
use serde_json::{Value, json};

use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{complain, document};
use crate::suggest;

pub(crate) const ENTRY: Entry = Entry {
    name: "inspect",
    section: Section::System,
    summary: "Show everything that is known of containers and images",
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    example: "casemate inspect --format '{{.State.Status}} {{.PostureSummary}}' web",
    build: Options::augment_args,
    run,
};

const TYPES: [&str; 2] = ["container", "image"];

#[derive(Debug, Args)]
struct Options {
    /// Print as json, or through a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only look for this: container or image
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    #[arg(value_name = "NAME", required = true, hide = true)]
    names: Vec<String>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    if let Some(kind) = options.kind.as_deref().filter(|kind| !TYPES.contains(kind)) {
        let hint = suggest::hint(kind, TYPES);
        return Err(Failure::usage(format!("--type \"{kind}\": the types are container and image{hint}")));
    }
    let engine = context.engine()?;
    let mut found = Vec::new();
    let mut code = 0;
    for name in &options.names {
        match look_up(&engine, name, options.kind.as_deref()) {
            Ok(document) => found.push(document),
            Err(failure) => {
                complain(&format!("casemate: {}", failure.message()));
                code = 1;
            }
        }
    }
    // Docker prints what it found, an empty list included, beside the errors.
    if options.format.is_none() || !found.is_empty() {
        document::show_all(&found, options.format.as_deref())?;
    }
    Ok(code)
}

fn look_up(engine: &Engine, name: &str, kind: Option<&str>) -> Result<Value, Failure> {
    if kind != Some("image") {
        match engine.inspect(name) {
            Ok(container) => {
                return serde_json::to_value(container).map_err(|error| Failure::new(format!("{name}: {error}")));
            }
            Err(error) if error.kind() == ErrorKind::NotFound && kind.is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    match engine.images().resolve(name) {
        Ok(image) => image_document(&image),
        Err(error) if kind.is_none() && error.kind() == casemate_image::Kind::NotFound => {
            Err(Failure::new(format!("no such container or image: {name}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Docker's form of an image.
fn image_document(image: &Image) -> Result<Value, Failure> {
    let config = &image.config;
    let value =
        |part: serde_json::Result<Value>| part.map_err(|error| Failure::new(format!("image {}: {error}", image.id)));
    let tags: Vec<String> = image.references.iter().filter(|r| r.tag().is_some()).map(Reference::familiar).collect();
    let mut digests: Vec<String> =
        image.references.iter().map(|r| format!("{}@{}", r.familiar_name(), image.manifest)).collect();
    digests.dedup();
    let layers: Vec<String> = image.layers.iter().map(ToString::to_string).collect();
    Ok(json!({
        "Id": image.id.to_string(),
        "RepoTags": tags,
        "RepoDigests": digests,
        "Comment": "",
        "Created": image.created,
        "Author": config.author().clone().unwrap_or_default(),
        "Config": with_all_fields(value(serde_json::to_value(config.config()))?),
        "Architecture": config.architecture().to_string(),
        "Os": config.os().to_string(),
        "Size": image.size,
        "RootFS": { "Type": "layers", "Layers": layers },
        "Manifest": image.manifest.to_string(),
        "History": value(serde_json::to_value(config.history()))?,
    }))
}

/// Docker's fields of an image's configuration are there also when the image says nothing about them: templates name them.
fn with_all_fields(config: Value) -> Value {
    let mut all = json!({
        "Cmd": null,
        "Entrypoint": null,
        "Env": [],
        "ExposedPorts": {},
        "Labels": {},
        "StopSignal": "",
        "User": "",
        "Volumes": {},
        "WorkingDir": "",
    });
    if let (Value::Object(all), Value::Object(given)) = (&mut all, config) {
        all.extend(given.into_iter().filter(|(_, value)| !value.is_null()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_dockers_fields() {
        let config = with_all_fields(json!({"Cmd": ["sh"], "Labels": null}));
        assert_eq!(config["Cmd"], json!(["sh"]));
        assert_eq!(config["Labels"], json!({}));
        assert!(with_all_fields(Value::Null).get("Entrypoint").is_some());
    }
}
