//! `--sysctl KEY=VALUE`: kernel settings of the container's own namespaces, and no others.

use crate::namespace::Namespaces;
use crate::{InvalidValue, suggest};

const FLAG: &str = "--sysctl";

/// Settings of an IPC namespace.
const IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Reads `net.ipv4.ip_forward=1`. A setting of a namespace that is not the container's own would be another one's: refused.
pub fn parse(text: &str, namespaces: &Namespaces) -> Result<(String, String), InvalidValue> {
    let invalid = |reason: String| InvalidValue::new(FLAG, text, reason);
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| invalid("there is no \"=\"".to_owned()).hint("write KEY=VALUE, as in net.ipv4.ip_forward=1"))?;
    // The kernel's names as paths are accepted too.
    let key = key.replace('/', ".");
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':' | b'@'))
    };
    if !key.split('.').all(plain) || key.len() > 256 {
        return Err(invalid(format!("{key:?} is no kernel setting's name")));
    }
    if value.contains(['\0', '\n']) || value.len() > 4096 {
        return Err(invalid("the value has a line break in it, or is longer than 4096 bytes".to_owned()));
    }
    let own = if IPC.contains(&key.as_str()) || key.starts_with("fs.mqueue.") {
        namespaces.ipc.is_own()
    } else if key.starts_with("net.") {
        namespaces.network.is_own()
    } else if key == "user.max_user_namespaces" {
        namespaces.user.is_own()
    } else {
        let refusal = invalid(format!("{key} is a setting of the whole host, not of a namespace"));
        let near = suggest::hint(&key, IPC.iter().copied());
        return Err(refusal.hint(near.unwrap_or_else(|| format!("known are net.*, fs.mqueue.*, {}", IPC.join(", ")))));
    };
    if !own {
        return Err(invalid(format!("{key} is a setting of a namespace that is not the container's own")));
    }
    Ok((key, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{IpcMode, NetworkMode};

    #[test]
    fn settings_of_own_namespaces_are_read() {
        let own = Namespaces::default();
        for text in
            ["net.ipv4.ip_forward=1", "kernel.shmmax=1", "fs.mqueue.msg_max=5", "net.ipv4.conf.eth0:1.forwarding=1"]
        {
            assert!(parse(text, &own).is_ok(), "{text}");
        }
        assert_eq!(parse("net/core/somaxconn=a=b", &own), Ok(("net.core.somaxconn".to_owned(), "a=b".to_owned())));
    }

    #[test]
    fn settings_of_the_host_are_refused() {
        let own = Namespaces::default();
        for text in [
            "kernel.core_pattern=|/x",
            "kernel.modprobe=/x",
            "vm.overcommit_memory=1",
            "fs.suid_dumpable=1",
            "kernel.sysrq=1",
            "net",
            "net..x=1",
            "net.=1",
            ".net.x=1",
            "net.ipv4.../../kernel/core_pattern=x",
            "net.ipv4.ip_forward",
            "=1",
            "",
            "fs.mqueue=1",
            "kernel.shmmax\0=1",
            "net.a=1\n2",
        ] {
            assert!(parse(text, &own).is_err(), "{text}");
        }
        let shared =
            Namespaces { network: NetworkMode::Host, ipc: IpcMode::Container("x".to_owned()), ..Namespaces::default() };
        assert!(parse("net.ipv4.ip_forward=1", &shared).is_err());
        assert!(parse("kernel.shmmax=1", &shared).is_err());
    }
}
