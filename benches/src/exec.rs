//! `exec CONTAINER true`, by everyone in turns, and what a running container costs in memory besides its own processes.

use crate::arguments::Request;
use crate::casemate::{Casemate, IMAGE};
use crate::contest::{self, Contender};
use crate::error::{Error, Result};
use crate::peers::{Peer, Peers, RUNNING};
use crate::proportional;
use crate::report::{Goal, Report};

/// Measures, and holds the goals of the first issue against it.
pub(crate) fn run(request: &Request, casemate: &Casemate, peers: &mut Peers, report: &mut Report) -> Result<()> {
    casemate.command(&["run", "--detach", "--name", RUNNING, IMAGE, "sleep", "100000"]).output()?;
    let ours = casemate.command(&["exec", RUNNING, "true"]);
    let peers: &Peers = peers;
    let mut started: Vec<&Peer> = Vec::new();
    for peer in peers.all.iter().filter(|peer| peer.has_exec()) {
        match peers.start(peer) {
            Ok(()) => started.push(peer),
            Err(error) => report.note(format!("{} exec: {error}", peer.name)),
        }
    }
    let mut contenders = vec![Contender { name: "casemate", every: 1, act: Box::new(|_| ours.timed()) }];
    for peer in &started {
        let every = if peer.slow { request.slow_every } else { 1 };
        contenders.push(Contender { name: peer.name, every, act: Box::new(move |_| peers.exec(peer)) });
    }
    report.table("exec", "exec CONTAINER true", contest::hold(contenders, request.rounds));
    report.goal(Goal::ratio("exec", "casemate", "crun", 0.5));
    memory(casemate, peers, &started, report)?;
    for peer in started {
        peers.end(peer);
    }
    casemate.command(&["rm", "--force", RUNNING]).output()?;
    Ok(())
}

/// The parent of a container's first process is what keeps it: casemate's supervisor, conmon, the shim.
fn memory(casemate: &Casemate, peers: &Peers, started: &[&Peer], report: &mut Report) -> Result<()> {
    let keeper = |pid: u32| proportional::parent(pid).and_then(proportional::pss_kib);
    let ours = keeper(casemate.pid(RUNNING)?).ok_or_else(|| Error::new("casemate's supervisor can't be seen"))?;
    report.goal(Goal::at_most("supervisor's PSS (KiB)", ours, 700));
    for peer in started {
        if let Some(kib) = peers.pid(peer).and_then(keeper) {
            report.note(format!("{}'s keeper of one container: {kib} KiB PSS", peer.name));
        }
    }
    Ok(())
}
