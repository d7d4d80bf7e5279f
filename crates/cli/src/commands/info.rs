//! `info` and `system info`: what there is, and what the host gives.

use std::fmt::Write as _;

use casemate_engine::Info;
use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{document, escape, print, size};

pub(crate) const ENTRY: Entry = Entry {
    name: "info",
    section: Section::System,
    summary: "Show what there is, and what the host gives",
    usage: "[OPTIONS]",
    example: "casemate info --format '{{.CgroupVersion}}'",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// Print as json, or through a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let info = context.engine()?.info()?;
    match options.format.as_deref() {
        Some(format) => {
            let value = serde_json::to_value(&info).map_err(|error| Failure::new(error.to_string()))?;
            document::show(&value, format)?;
        }
        None => print(&text(&info))?,
    }
    Ok(0)
}

fn text(info: &Info) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name}: {}", escape::visible(value));
    };
    line("Containers", &info.containers.to_string());
    line(" Running", &info.containers_running.to_string());
    line(" Stopped", &info.containers_stopped.to_string());
    line("Images", &info.images.to_string());
    line("Version", info.server_version);
    line("Storage Driver", info.driver);
    line("Logging Driver", info.logging_driver);
    line("Cgroup Driver", info.cgroup_driver);
    line("Cgroup Version", &info.cgroup_version);
    line("Security Options", &info.security_options.join(" "));
    let allowed = &info.allowed_relaxations;
    line("Allowed Relaxations", &if allowed.is_empty() { "none".to_owned() } else { allowed.join(" ") });
    line("Kernel Version", &info.kernel_version);
    line("Architecture", &info.architecture);
    line("CPUs", &info.cpus.to_string());
    line("Total Memory", &size::binary(info.mem_total));
    line("Name", &info.name);
    line("Root Dir", &info.docker_root_dir);
    for warning in &info.warnings {
        line("WARNING", warning);
    }
    text
}
