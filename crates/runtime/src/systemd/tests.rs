//! What is sent goes through a real bus, which refuses what is not well-formed; behind it answers a stand-in, or systemd
//! itself where that has booted the machine.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// A bus of its own.
struct Daemon {
    child: Child,
    address: String,
}

impl Daemon {
    fn start() -> Option<Self> {
        let mut child = match Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .spawn()
        {
            Ok(child) => child,
            Err(error) => {
                eprintln!("SKIP: needs dbus-daemon: {error}");
                return None;
            }
        };
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Some(Self { child, address: address.trim().to_owned() })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn job_removed(bus: &mut Bus, job: &str, result: &str, to: Option<&str>) {
    let signal = Message {
        path: Some(PATH.into()),
        interface: Some(MANAGER.into()),
        member: Some("JobRemoved".into()),
        destination: to.map(str::to_owned),
        body: vec![
            Value::Uint32(1),
            Value::Path(job.into()),
            Value::String("a.scope".into()),
            Value::String(result.into()),
        ],
        ..bus.message(Kind::Signal)
    };
    bus.send_message(&signal).unwrap();
}

/// Answers as systemd does, until it is asked to stop a unit; returns the calls.
fn stand_in(address: &str, ready: &std::sync::mpsc::Sender<()>) -> Vec<Message> {
    let mut bus = Bus::connect(address).unwrap();
    bus.call_bus("RequestName", vec![Value::String(SYSTEMD.into()), Value::Uint32(0)]).unwrap();
    ready.send(()).unwrap();
    let mut impostor = Bus::connect(address).unwrap();
    let mut calls = Vec::new();
    loop {
        let call = bus.receive(Instant::now() + Duration::from_secs(20)).unwrap();
        if call.kind != Kind::Call {
            continue;
        }
        let member = call.member.clone().unwrap_or_default();
        let first = calls.iter().all(|known: &Message| known.member != call.member);
        let mut reply =
            Message { destination: call.sender.clone(), reply_serial: Some(call.serial), ..bus.message(Kind::Reply) };
        match member.as_str() {
            "Get" => reply.body = vec![Value::Variant(Box::new(Value::String("252.39-1~deb12u2".into())))],
            "StartTransientUnit" if first => {
                reply.kind = Kind::Error;
                reply.error_name = Some("org.freedesktop.systemd1.UnitExists".into());
                reply.body = vec![Value::String("Unit a.scope already exists.".into())];
            }
            "StartTransientUnit" | "StopUnit" => {
                let job = format!("{PATH}/job/{}", call.serial);
                reply.body = vec![Value::Path(job.clone())];
                // Not from systemd: must not count. The real one comes before the reply, which must not matter.
                job_removed(&mut impostor, &job, "failed", call.sender.as_deref());
                impostor.call_bus("GetId", Vec::new()).unwrap();
                job_removed(&mut bus, &job, "done", None);
            }
            _ => {}
        }
        bus.send_message(&reply).unwrap();
        calls.push(call);
        if calls.iter().filter(|call| call.member.as_deref() == Some("StopUnit")).count() == 1
            && member == "ResetFailedUnit"
        {
            return calls;
        }
    }
}

#[test]
fn a_scope_is_started_changed_and_stopped_over_a_bus() {
    let Some(daemon) = Daemon::start() else { return };
    let (ready, is_ready) = std::sync::mpsc::channel();
    let address = daemon.address.clone();
    let server = std::thread::spawn(move || stand_in(&address, &ready));
    is_ready.recv().unwrap();

    let mut manager = Manager { bus: Bus::connect(&daemon.address).unwrap() };
    assert_eq!(manager.version().unwrap(), 252);
    let properties: Vec<Property> = vec![
        ("Delegate".into(), Value::Bool(true)),
        ("PIDs".into(), Value::Array("u".into(), vec![Value::Uint32(7)])),
        (
            "DeviceAllow".into(),
            Value::Array(
                "(ss)".into(),
                vec![Value::Struct(vec![Value::String("/dev/char/1:3".into()), Value::String("rwm".into())])],
            ),
        ),
    ];
    manager.start_scope("a.scope", &properties).unwrap();
    manager.set_properties("a.scope", &[("MemoryMax".into(), Value::Uint64(u64::MAX))]).unwrap();
    manager.stop("a.scope").unwrap();

    let calls = server.join().unwrap();
    let of = |name: &str| calls.iter().filter(|call| call.member.as_deref() == Some(name)).collect::<Vec<_>>();
    let started = of("StartTransientUnit");
    // Once refused, because one of its name had failed.
    assert_eq!(started.len(), 2);
    assert_eq!(started[1].body[0], Value::String("a.scope".into()));
    assert_eq!(started[1].body[2], Value::Array("(sv)".into(), properties.iter().map(property).collect()));
    assert_eq!(of("SetUnitProperties")[0].body[1], Value::Bool(true));
    assert_eq!(of("StopUnit")[0].body[1], Value::String("replace".into()));
}

#[test]
fn nobody_to_talk_to_is_told() {
    let error = Bus::connect("unix:path=/nonesuch/bus").unwrap_err().to_string();
    assert!(error.contains("unix:path=/nonesuch/bus") && error.contains("os error 2"), "{error}");
}

#[test]
fn systemd_itself_starts_and_stops_a_scope() {
    if !std::path::Path::new("/run/systemd/system").exists() || !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: needs a machine that systemd has booted, and root");
        return;
    }
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let mut manager = Manager::connect(false).unwrap();
    assert!(manager.version().unwrap() > 200);
    assert_eq!(manager.control_group().unwrap(), "");
    let scope = format!("casemate-test-{}.scope", std::process::id());
    let properties: Vec<Property> = vec![
        ("Slice".into(), Value::String("casemate-test.slice".into())),
        ("Delegate".into(), Value::Bool(true)),
        ("PIDs".into(), Value::Array("u".into(), vec![Value::Uint32(child.id())])),
    ];
    manager.start_scope(&scope, &properties).unwrap();
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).unwrap();
    let path = format!("{}/{scope}", slice_path("casemate-test.slice").unwrap());
    assert!(groups.lines().any(|line| line.ends_with(&path)), "{groups}");
    manager.set_properties(&scope, &[("TasksMax".into(), Value::Uint64(9))]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    manager.stop(&scope).unwrap();
    // And once more: it is gone.
    manager.stop(&scope).unwrap();
}
