//! Network devices (`RTM_NEWLINK`).

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use super::Route;
use crate::error::{Call, Result};

/// The longest name of a network device, in bytes (`IFNAMSIZ` less the NUL byte).
const LONGEST_NAME: usize = 15;

/// Whether the kernel takes this for the name of a network device (`dev_valid_name` of the kernel). `%d` in it stands
/// for the first free number.
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name != "."
        && name != ".."
        && !name.bytes().any(|byte| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace() || byte == 0x0b)
}

/// The number of a network device of the caller's network namespace.
///
/// # Errors
/// `ENODEV` when there is none of that name.
pub fn link_index(name: &str) -> Result<u32> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .call(|| "socket(AF_UNIX, SOCK_DGRAM)".to_owned())?;
    rustix::net::netdevice::name_to_index(&socket, name).call(|| format!("ioctl(SIOCGIFINDEX, {name:?})"))
}

/// Raises a device, or takes it down.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` in the user namespace that owns the network namespace; what the device's driver says.
pub fn set_link(route: &mut Route, index: u32, up: bool) -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.change_mask = LinkFlags::Up;
    if up {
        message.header.flags = LinkFlags::Up;
    }
    let call = || format!("RTM_NEWLINK({index}, {})", if up { "up" } else { "down" });
    route.change(RouteNetlinkMessage::NewLink(message), 0, call)
}

/// Moves a device into another network namespace, where it is called `name`, in one step.
///
/// # Errors
/// `EEXIST` when there is one of that name; `EINVAL` for one that can't be moved; `EBUSY` for one that must be down.
pub fn move_link(route: &mut Route, index: u32, name: &str, namespace: impl AsFd) -> Result<()> {
    let namespace = namespace.as_fd().as_raw_fd();
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::NetNsFd(namespace)];
    let call = || format!("RTM_NEWLINK({index}, IFLA_IFNAME={name:?}, IFLA_NET_NS_FD=[{namespace}])");
    route.change(RouteNetlinkMessage::NewLink(message), 0, call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_kernel_takes() {
        for name in ["eth0", "enp0s3", "a", "fifteen-bytes-x", "ctr%d", "\u{e9}"] {
            assert!(is_valid_name(name), "{name:?}");
        }
        for name in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\u{b}b", "a\0b", "sixteen-bytes-xx"] {
            assert!(!is_valid_name(name), "{name:?}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_has_no_number() {
        assert_eq!(link_index("no-such-device").unwrap_err().errno(), rustix::io::Errno::NODEV);
    }
}
