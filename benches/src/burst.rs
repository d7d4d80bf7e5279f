//! Eight starts at once, again and again: nothing may be lost or mixed up.

use std::time::Instant;

use crate::arguments::Request;
use crate::casemate::{Casemate, IMAGE};
use crate::error::{Result, io};
use crate::report::{Goal, Report};
use crate::statistics::Summary;

/// How many start at once.
const AT_ONCE: usize = 8;

/// Measures; every container must say its own word and be gone afterwards.
pub(crate) fn run(request: &Request, casemate: &Casemate, report: &mut Report) -> Result<()> {
    let before = listed(casemate)?;
    let (mut times, mut lost) = (Vec::new(), 0u64);
    for burst in 0..request.bursts {
        let started = Instant::now();
        let mut children = Vec::new();
        for place in 0..AT_ONCE {
            let word = format!("word-{burst}-{place}");
            let child = casemate.command(&["run", "--rm", IMAGE, "echo", &word]).piped()?;
            children.push((word, child));
        }
        for (word, child) in children {
            let output = io(child.wait_with_output(), || "waiting for casemate run".to_owned())?;
            let said = String::from_utf8_lossy(&output.stdout);
            if !output.status.success() || said.trim() != word {
                lost += 1;
                let complaint = String::from_utf8_lossy(&output.stderr);
                report.note(format!("burst: {word} ended with {}: {said:?} {}", output.status, complaint.trim()));
            }
        }
        times.push(started.elapsed());
    }
    let left = listed(casemate)?.saturating_sub(before);
    report.goal(Goal::at_most("8 at once: starts lost or mixed up", lost, 0));
    report.goal(Goal::at_most("8 at once: containers left over", left, 0));
    match casemate.command(&["system", "check"]).output() {
        Ok(_) => report.goal(Goal::at_most("8 at once: faults that system check finds", 0, 0)),
        Err(error) => {
            report.note(error.to_string());
            report.goal(Goal::at_most("8 at once: faults that system check finds", 1, 0));
        }
    }
    if let Some(summary) = Summary::of(&times) {
        report.figure("8 starts at once", summary);
    }
    Ok(())
}

fn listed(casemate: &Casemate) -> Result<u64> {
    Ok(casemate.command(&["ps", "--all", "--quiet"]).output()?.lines().count() as u64)
}
