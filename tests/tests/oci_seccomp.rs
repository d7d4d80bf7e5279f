//! Filters of bundles: refused calls, and calls that somebody else is asked about.
#![forbid(unsafe_code)]

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use casemate_tests::bundle::{Bundle, Runtime};
use casemate_tests::eventually;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

fn with_filter<'a>(bundle: Bundle<'a>, filter: &Value) -> Bundle<'a> {
    bundle.edit(|config| config["linux"]["seccomp"] = filter.clone())
}

#[test]
fn a_filter_refuses_with_the_error_that_it_names_whether_or_not_privileges_can_be_gained() {
    let runtime = Runtime::new();
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
        "syscalls": [
            {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
        ],
    });
    for gained in [false, true] {
        let bundle = runtime.bundle().sh("mkdir /x 2>&1; grep -E 'Seccomp:|CapEff' /proc/self/status");
        let bundle =
            with_filter(bundle, &filter).edit(|config| config["process"]["noNewPrivileges"] = (!gained).into());
        let output = bundle.run().ok();
        assert!(output.contains("No space left on device"), "{output}");
        assert!(output.contains("Seccomp:\t2"), "{output}");
        // What was kept to install it is given up: Docker's fourteen.
        assert!(output.contains("CapEff:\t00000000a80425fb"), "{output}");
    }
}

#[test]
fn whoever_is_asked_about_calls_has_the_listener_when_the_container_is_made() {
    let runtime = Runtime::new();
    let bundle = runtime.bundle().sh("mkdir /asked; echo done");
    let path = bundle.directory().join("agent");
    let listener = UnixListener::bind(&path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "for the agent",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let bundle = with_filter(bundle, &filter);
    bundle.create().ok();
    let mut connection = None;
    assert!(eventually(10, || {
        connection = listener.accept().ok();
        connection.is_some()
    }));
    let (stream, _) = connection.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0_u8; 1 << 16];
    let received = recvmsg(&stream, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let descriptors: Vec<_> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(descriptors.len(), 1);
    let state: Value = serde_json::from_slice(&text[..received.bytes]).unwrap();
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["metadata"], "for the agent");
    assert_eq!(state["pid"], bundle.pid());
    assert_eq!(state["state"]["id"], bundle.id.as_str());
    bundle.start().ok();
    // Nobody answers, so the call does not return; when the listener is closed, the kernel says that nobody does.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(bundle.stdout(), "");
    drop(descriptors);
    assert!(eventually(10, || bundle.stdout() == "done\n"), "{:?}", bundle.stdout());
    assert!(!bundle.rootfs().join("asked").exists());
}

#[test]
fn a_listener_that_is_not_there_or_not_asked_for_is_an_error() {
    let runtime = Runtime::new();
    let notify = json!([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]);
    let without = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": notify});
    casemate_tests::bundle::refused(&with_filter(runtime.bundle().sh("true"), &without), &["linux.seccomp"]);
    let nobody = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nobody/listens", "syscalls": notify});
    casemate_tests::bundle::refused(&with_filter(runtime.bundle().sh("true"), &nobody), &["/nobody/listens"]);
}
