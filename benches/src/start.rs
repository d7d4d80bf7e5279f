//! `run --rm IMAGE true`, by everyone in turns.

use crate::arguments::Request;
use crate::casemate::{Casemate, IMAGE};
use crate::contest::{self, Contender};
use crate::error::Result;
use crate::floor::Floor;
use crate::peers::Peers;
use crate::report::{Goal, Report};
use crate::rootfs::Stage;

/// Measures, and holds the goals of the first issue against it.
pub(crate) fn run(
    request: &Request,
    stage: &Stage,
    casemate: &Casemate,
    peers: &mut Peers,
    report: &mut Report,
) -> Result<()> {
    let floor = Floor::prepare(stage, &["/bin/true"])?;
    floor.start(0)?;
    compare_mounts(stage, casemate, report);
    let ours = casemate.command(&["run", "--rm", IMAGE, "true"]);
    let mut contenders = vec![
        Contender { name: "floor", every: 1, act: Box::new(|turn| floor.start(turn)) },
        Contender { name: "casemate", every: 1, act: Box::new(|_| ours.timed()) },
    ];
    let peers: &Peers = peers;
    for peer in &peers.all {
        let every = if peer.slow { request.slow_every } else { 1 };
        contenders.push(Contender { name: peer.name, every, act: Box::new(move |turn| peers.run(peer, turn)) });
    }
    report.table("start", "run --rm IMAGE true", contest::hold(contenders, request.rounds));
    for (peer, most) in [("floor", 2.0), ("crun", 0.5), ("kern", 0.6), ("podman", 1.0 / 30.0), ("docker", 1.0 / 80.0)] {
        report.goal(Goal::ratio("start", "casemate", peer, most));
    }
    Ok(())
}

/// The floor must have what casemate's container has, or the ratio says nothing.
fn compare_mounts(stage: &Stage, casemate: &Casemate, report: &mut Report) {
    let script = "cat /proc/self/mountinfo";
    let theirs = casemate.command(&["run", "--rm", IMAGE, "sh", "-c", script]).output();
    let log = stage.directory.join("floor-mounts");
    let floors = crate::floor::mounts(stage, &log);
    match (theirs, floors) {
        (Ok(theirs), Ok(floors)) => {
            report.note(format!("mounts in the container: casemate {}, floor {floors}", theirs.lines().count()));
        }
        (Err(error), _) | (_, Err(error)) => report.note(format!("mounts could not be compared: {error}")),
    }
}
