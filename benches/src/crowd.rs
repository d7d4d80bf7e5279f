//! Many containers running at once: how long `ps` takes, and whether the next start is as fast as the first.

use crate::arguments::Request;
use crate::casemate::{Casemate, IMAGE};
use crate::error::{Error, Result};
use crate::proportional;
use crate::report::{Goal, Report};
use crate::statistics::Summary;

/// How often the starts with and without the crowd, and `ps`, are measured.
const SAMPLES: usize = 30;

/// How many containers one `rm` takes away.
const CHUNK: usize = 100;

/// Measures, and ends the crowd again.
pub(crate) fn run(request: &Request, casemate: &Casemate, report: &mut Report) -> Result<()> {
    let start = casemate.command(&["run", "--rm", IMAGE, "true"]);
    let alone = sample(|| start.timed())?;
    let mut names = Vec::new();
    let result = gather(request, casemate, &mut names).and_then(|()| {
        let ps = casemate.command(&["ps"]);
        let seen = ps.output()?.lines().count().saturating_sub(1);
        if seen < request.containers {
            return Err(Error::new(format!("ps shows {seen} of {} containers", request.containers)));
        }
        let listing = sample(|| ps.timed())?;
        let among = sample(|| start.timed())?;
        report.figure("start, alone", alone);
        report.figure("start among the crowd", among);
        report.figure("ps of the crowd", listing);
        report.goal(Goal::at_most_ms("ps of the crowd (ms)", listing.median_ms, 20.0));
        let ratio = among.median_ms / alone.median_ms;
        report.goal(Goal::at_most_ms("start among the crowd against alone (ratio)", ratio, 1.5));
        report.note(format!("crowd: {} containers, {}", request.containers, memory(casemate, &names)));
        Ok(())
    });
    for chunk in names.chunks(CHUNK) {
        let names: Vec<&str> = chunk.iter().map(String::as_str).collect();
        casemate.command(&[&["rm", "--force"], &names[..]].concat()).output()?;
    }
    result
}

fn gather(request: &Request, casemate: &Casemate, names: &mut Vec<String>) -> Result<()> {
    for number in 0..request.containers {
        let name = format!("crowd-{number}");
        casemate.command(&["run", "--detach", "--name", &name, IMAGE, "sleep", "100000"]).output()?;
        names.push(name);
    }
    Ok(())
}

/// The supervisors of the first ten, together.
fn memory(casemate: &Casemate, names: &[String]) -> String {
    let sizes: Vec<u64> = names
        .iter()
        .take(10)
        .filter_map(|name| proportional::pss_kib(proportional::parent(casemate.pid(name).ok()?)?))
        .collect();
    match sizes.len() as u64 {
        0 => "their supervisors can't be seen".to_owned(),
        count => format!("a supervisor costs {} KiB PSS in the crowd", sizes.iter().sum::<u64>() / count),
    }
}

fn sample(mut action: impl FnMut() -> Result<std::time::Duration>) -> Result<Summary> {
    let times = (0..SAMPLES).map(|_| action()).collect::<Result<Vec<_>>>()?;
    Summary::of(&times).ok_or_else(|| Error::new("nothing was measured"))
}
