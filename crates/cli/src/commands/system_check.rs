//! `system check`: verify images and containers, and repair what can be repaired.

use std::fmt::Write as _;

use casemate_engine::CheckReport;
use clap::{ArgMatches, Args};

use super::{Entry, Outcome, Section, arguments};
use crate::context::Context;
use crate::output::{escape, print};

pub(crate) const ENTRY: Entry = Entry {
    name: "system check",
    section: Section::System,
    summary: "Verify images and containers, and repair what can be repaired",
    usage: "[OPTIONS]",
    example: "casemate system check",
    build: Options::augment_args,
    run,
};

#[derive(Debug, Args)]
struct Options {
    /// Only look: change nothing
    #[arg(long)]
    no_repair: bool,
}

/// The exit code is 1 when something is wrong that was not repaired.
fn run(context: &Context, matches: &ArgMatches) -> Outcome {
    let options: Options = arguments(matches)?;
    let report = context.engine()?.check(!options.no_repair)?;
    print(&text(&report))?;
    Ok(u8::from(!report.is_sound()))
}

fn text(report: &CheckReport) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let state = if finding.repaired { "repaired" } else { "WRONG" };
        let subject = escape::visible(&finding.subject);
        let what = escape::visible(&finding.what);
        let _ = writeln!(text, "{state}: {subject}: {what} ({})", escape::visible(&finding.remedy));
    }
    let wrong = report.findings.iter().filter(|finding| !finding.repaired).count();
    let _ = writeln!(
        text,
        "{} images, {} blobs, {} layers, {} containers checked: {}",
        report.images,
        report.blobs,
        report.layers,
        report.containers,
        match (report.findings.len(), wrong) {
            (0, _) => "all sound".to_owned(),
            (found, 0) => format!("{found} repaired, all sound now"),
            (found, wrong) => format!("{wrong} wrong, {} repaired", found - wrong),
        }
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use casemate_engine::Finding;

    #[test]
    fn the_last_line_sums_up() {
        let mut report = CheckReport::default();
        assert!(text(&report).ends_with("checked: all sound\n"));
        let finding = |repaired| Finding {
            subject: "x\x1b".to_owned(),
            what: "broken".to_owned(),
            remedy: "mend it".to_owned(),
            repaired,
        };
        report.findings = vec![finding(true)];
        assert_eq!(text(&report).lines().next(), Some("repaired: x\\x1b: broken (mend it)"));
        assert!(text(&report).ends_with("1 repaired, all sound now\n"));
        report.findings.push(finding(false));
        assert!(text(&report).ends_with("1 wrong, 1 repaired\n"));
    }
}
