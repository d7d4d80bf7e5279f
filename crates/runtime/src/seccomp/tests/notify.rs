//! A call that is notified, on the real kernel: installed, handed over, and seen by who listens.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use casemate_kernel::{process, socket};
use oci_spec::runtime::{ContainerProcessState, ContainerState, StateBuilder};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_json::json;

use super::profiles::parse;
use crate::seccomp::{compile, notify};

#[test]
fn who_listens_gets_the_descriptor_and_the_state_and_sees_the_call() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let filter =
        compile(&parse(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "ours",
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]})))
        .unwrap();
    let target = directory.path().join("made");
    // Filters are a thread's own.
    let container = std::thread::spawn(move || {
        process::set_no_new_privileges().unwrap();
        let descriptor = filter.install().unwrap().unwrap();
        let listener = filter.listener.unwrap();
        let state = StateBuilder::default().id("c1").status(ContainerState::Creating).pid(7).build().unwrap();
        let state = notify::state(&listener, "1.3.0", 7, state).unwrap();
        notify::send(&listener.path, descriptor.as_fd(), &state).unwrap();
        drop(descriptor);
        rustix::fs::mkdir(&target, 0o700.into())
    });
    let (connection, _) = listener.accept().unwrap();
    let message = socket::receive(&connection, 1 << 16).unwrap();
    let said: ContainerProcessState = serde_json::from_slice(&message.data).unwrap();
    assert_eq!((said.fds().as_slice(), *said.pid()), (&["seccompFd".to_owned()][..], 7));
    assert_eq!((said.metadata().as_deref(), said.state().id().as_str()), (Some("ours"), "c1"));
    assert_eq!(socket::receive(&connection, 16).unwrap().data, b"", "one state in a connection");
    let [descriptor] = <[_; 1]>::try_from(message.descriptors).unwrap();
    let mut wait = [PollFd::new(&descriptor, PollFlags::IN)];
    let second = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    assert_eq!(poll(&mut wait, Some(&second)).unwrap(), 1, "the call waits to be decided on");
    // With nobody left to decide there is no such call.
    drop(descriptor);
    assert_eq!(container.join().unwrap(), Err(Errno::NOSYS));
}

#[test]
fn nobody_to_notify_is_an_error_and_soon() {
    let directory = tempfile::tempdir().unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let path = directory.path().join("agent.sock");
    let start = Instant::now();
    let error = notify::send(&path, null.as_fd(), &ContainerProcessState::default()).unwrap_err().to_string();
    assert!(error.starts_with("linux.seccomp.listenerPath: ") && error.contains("agent.sock"), "{error}");
    let _bound = UnixListener::bind(&path).unwrap();
    // A descriptor that can't be delivered does not keep a start waiting for ever.
    notify::send(&path, null.as_fd(), &ContainerProcessState::default()).unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}
