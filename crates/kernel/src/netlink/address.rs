//! Addresses of network devices (`RTM_GETADDR`, `RTM_NEWADDR`).

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};

use super::Route;
use crate::error::Result;

/// An address of a device, with its prefix and what was chosen for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(AddressMessage);

/// Those flags that somebody chose; the others are states of the address.
const CHOSEN: AddressFlags = AddressFlags::Nodad
    .union(AddressFlags::Homeaddress)
    .union(AddressFlags::Managetempaddr)
    .union(AddressFlags::Noprefixroute)
    .union(AddressFlags::Mcautojoin);

/// The addresses of a device that somebody gave it for good and that are meant for the whole world: `IFA_F_PERMANENT`,
/// `RT_SCOPE_UNIVERSE`. In the order the kernel has them, secondary ones after their primary.
///
/// # Errors
/// What `rtnetlink(7)` answers.
pub fn permanent_addresses(route: &mut Route, index: u32) -> Result<Vec<Address>> {
    let mut list = Vec::new();
    let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    route.dump(
        question,
        || "RTM_GETADDR".to_owned(),
        |answer| {
            if let RouteNetlinkMessage::NewAddress(message) = answer
                && message.header.index == index
                && message.header.scope == AddressScope::Universe
                && flags(&message).contains(AddressFlags::Permanent)
            {
                list.push(Address(message));
            }
        },
    )?;
    Ok(list)
}

/// All 32 flags: the header has room for eight.
fn flags(message: &AddressMessage) -> AddressFlags {
    let long = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    long.unwrap_or(AddressFlags::from_bits_retain(u32::from(message.header.flags.bits())))
}

/// Gives a device an address as [`permanent_addresses`] tells it of another (or of the same one, elsewhere).
///
/// # Errors
/// `EEXIST` when the device has it; `EPERM` without `CAP_NET_ADMIN` in the user namespace that owns the network.
pub fn add_address(route: &mut Route, index: u32, address: &Address) -> Result<()> {
    let Address(source) = address;
    let mut message = AddressMessage::default();
    message.header.family = source.header.family;
    message.header.prefix_len = source.header.prefix_len;
    message.header.scope = source.header.scope;
    message.header.index = index;
    // A label holds the device's old name, and the cache information is the age of the address.
    message.attributes = source
        .attributes
        .iter()
        .filter(|attribute| {
            matches!(
                attribute,
                AddressAttribute::Address(_)
                    | AddressAttribute::Local(_)
                    | AddressAttribute::Broadcast(_)
                    | AddressAttribute::RoutePriority(_)
            )
        })
        .cloned()
        .collect();
    message.attributes.push(AddressAttribute::Flags(flags(source) & CHOSEN));
    let shown = format!("{:?}/{}", message.attributes.first(), message.header.prefix_len);
    let call = || format!("RTM_NEWADDR({index}, {shown})");
    route.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL, call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_address_is_of_the_host_only() {
        let mut route = Route::open().unwrap();
        let lo = super::super::link_index("lo").unwrap();
        // 127.0.0.1 is permanent, and its scope is the host.
        assert!(permanent_addresses(&mut route, lo).unwrap().iter().all(|address| {
            address
                .0
                .attributes
                .iter()
                .all(|attribute| !matches!(attribute, AddressAttribute::Local(ip) if ip.is_loopback()))
        }));
    }
}
