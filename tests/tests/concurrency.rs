//! Many commands at once lose nothing and mix nothing up.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use casemate_tests::{Engine, command, host};

/// Waits for commands that were started together; their standard outputs.
#[track_caller]
fn all(children: Vec<Child>) -> Vec<(i32, String)> {
    children
        .into_iter()
        .map(|mut child| {
            let status = command::wait(&mut child, Duration::from_secs(60)).expect("none hangs");
            let mut text = String::new();
            child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
            (command::code(status), text.trim().to_owned())
        })
        .collect()
}

#[test]
fn eight_starts_at_once_five_times() {
    let engine = Engine::new();
    for round in 0..5 {
        let children = (0..8)
            .map(|number| {
                let text = format!("round {round} number {number}");
                let mut command =
                    engine.command(&["run", "--rm", "busybox", "sh", "-c", &format!("echo {text}; exit {number}")]);
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
            })
            .collect();
        for (number, (code, text)) in all(children).into_iter().enumerate() {
            assert_eq!((code, text), (i32::try_from(number).unwrap(), format!("round {round} number {number}")));
        }
    }
    engine.assert_nothing_left();
    engine.run(&["system", "check"]).ok();
}

#[test]
fn those_that_run_have_distinct_ids_names_and_addresses() {
    let engine = Engine::new();
    let children = (0..16).map(|_| engine.spawn(&["run", "-d", "busybox", "sleep", "1000"])).collect();
    let ids: BTreeSet<String> = all(children)
        .into_iter()
        .map(|(code, id)| {
            assert_eq!(code, 0);
            id
        })
        .collect();
    assert_eq!(ids.len(), 16);
    let listed = engine.run(&["ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}"]).ok();
    assert_eq!(listed.lines().count(), 16);
    let names: BTreeSet<&str> = listed.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(names.len(), 16);
    let mut bases: Vec<u32> =
        ids.iter().map(|id| host::first_uid(engine.field(id, "{{.State.Pid}}").parse().unwrap())).collect();
    bases.sort_unstable();
    assert!(bases.windows(2).all(|pair| pair[1] - pair[0] >= 65_536), "{bases:?}");
    let mut words = vec!["rm", "-f"];
    words.extend(ids.iter().map(String::as_str));
    engine.run(&words).ok();
    engine.assert_nothing_left();
}

#[test]
fn one_name_is_given_to_one() {
    let engine = Engine::new();
    for _ in 0..3 {
        let children =
            (0..6).map(|_| engine.spawn(&["run", "-d", "--name", "only", "busybox", "sleep", "1000"])).collect();
        let codes: Vec<i32> = all(children).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
        assert_eq!(codes.iter().filter(|code| **code == 125).count(), 5, "{codes:?}");
        engine.run(&["rm", "-f", "only"]).ok();
        engine.assert_nothing_left();
    }
}

#[test]
fn starts_stops_and_removals_of_one_container_at_once() {
    let engine = Engine::new();
    for _ in 0..3 {
        engine.run(&["create", "--name", "contested", "busybox", "sleep", "1000"]).ok();
        let mut children: Vec<Child> = (0..3).map(|_| engine.spawn(&["start", "contested"])).collect();
        children.extend((0..2).map(|_| engine.spawn(&["stop", "-t", "0", "contested"])));
        children.push(engine.spawn(&["inspect", "contested"]));
        all(children);
        let children = (0..4).map(|_| engine.spawn(&["rm", "-f", "contested"])).collect();
        let codes: Vec<i32> = all(children).into_iter().map(|(code, _)| code).collect();
        assert!(codes.contains(&0), "{codes:?}");
        engine.assert_nothing_left();
    }
    engine.run(&["system", "check"]).ok();
}

#[test]
fn images_are_imported_and_removed_at_once() {
    let engine = Engine::new();
    let tar = casemate_tests::images::busybox().display().to_string();
    let children = (0..6).map(|number| engine.spawn(&["import", &tar, &format!("copy-{number}")])).collect();
    assert!(all(children).iter().all(|(code, _)| *code == 0));
    assert_eq!(engine.run(&["images", "--format", "{{.Repository}}"]).ok().lines().count(), 7);
    let mut children: Vec<Child> = (0..3).map(|number| engine.spawn(&["rmi", &format!("copy-{number}")])).collect();
    children.extend((3..6).map(|number| engine.spawn(&["run", "--rm", &format!("copy-{number}"), "true"])));
    let ended = all(children);
    assert!(ended.iter().all(|(code, _)| *code == 0), "{ended:?}");
    assert_eq!(engine.run(&["images", "--format", "{{.Repository}}"]).ok().lines().count(), 4);
    engine.run(&["system", "check"]).ok();
}

#[test]
fn listing_while_all_come_and_go_never_fails() {
    let engine = Engine::new();
    let mut children: Vec<Child> = (0..12).map(|_| engine.spawn(&["run", "--rm", "busybox", "sleep", "0.1"])).collect();
    for _ in 0..30 {
        let output = engine.run(&["ps", "-a", "--format", "{{.ID}} {{.Names}} {{.Status}}"]).expect(0);
        assert_eq!(output.stderr, "");
        assert!(output.stdout().lines().all(|line| line.split(' ').count() >= 3), "{}", output.stdout());
    }
    for child in &mut children {
        command::wait(child, Duration::from_secs(30)).expect("it ends");
    }
    engine.assert_nothing_left();
}
