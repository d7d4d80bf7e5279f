//! Network devices of the host that are handed to a container (`linux.netDevices`).

use std::os::fd::{AsFd, OwnedFd};

use casemate_kernel::namespace::{self, Namespaces};
use casemate_kernel::netlink::{self, Route};
use oci_spec::runtime::Linux;
use rustix::io::Errno;

use crate::error::{Error, Step};

/// A device to hand to a container.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Device {
    /// What it is called outside.
    pub(crate) host_name: String,
    /// Its number outside, which stays its own however it is called.
    index: u32,
    /// What it is to be called inside; with `%d` for the first free number.
    pub(crate) name: String,
}

/// The devices of a specification, which must be there.
pub(crate) fn plan(linux: &Linux, own: Namespaces) -> Result<Vec<Device>, Error> {
    let Some(devices) = linux.net_devices().as_ref().filter(|devices| !devices.is_empty()) else {
        return Ok(Vec::new());
    };
    if !own.contains(Namespaces::NETWORK) {
        return Err(Error::field("linux.netDevices", "needs a network namespace of the container's own"));
    }
    let mut list: Vec<Device> = Vec::with_capacity(devices.len());
    for (host_name, device) in devices {
        let field = field(host_name);
        let name = device.name().as_deref().filter(|name| !name.is_empty()).unwrap_or(host_name);
        for (field, name) in [(&field, host_name.as_str()), (&format!("{field}.name"), name)] {
            if !netlink::is_valid_name(name) {
                return Err(Error::field(field, format!("{name:?} is not the name of a network device")));
            }
        }
        if host_name.contains('%')
            || name.matches('%').count() != name.matches("%d").count()
            || name.matches('%').count() > 1
        {
            return Err(Error::field(
                &field,
                format!("{name:?}: only one %d, in the name inside, stands for a number"),
            ));
        }
        if !name.contains('%') && list.iter().any(|other| other.name == name) {
            return Err(Error::field(&field, format!("two devices would be called {name:?}")));
        }
        let index = netlink::link_index(host_name).map_err(|error| Error::field(&field, error))?;
        list.push(Device { host_name: host_name.clone(), index, name: name.to_owned() });
    }
    list.sort_by(|a, b| a.host_name.cmp(&b.host_name));
    Ok(list)
}

fn field(host_name: &str) -> String {
    format!("linux.netDevices[{}]", host_name.escape_debug())
}

/// Moves devices into the network namespace of a process, with the addresses that somebody gave them for good, and raises
/// them there. Needs `CAP_NET_ADMIN` over both networks, and one thread.
///
/// The kernel takes each out of service, renames and moves it in one step, or leaves it as it is. It takes its addresses
/// away; they are read before and given back after.
pub(crate) fn move_all(devices: &[Device], pid: u32) -> Result<(), Error> {
    if devices.is_empty() {
        return Ok(());
    }
    let home = namespace::open_of_process(std::process::id(), "net").step("linux.netDevices")?;
    let target = namespace::open_of_process(pid, "net").step("linux.netDevices")?;
    if namespace::same(&home, &target).step("linux.netDevices")? {
        return Err(Error::field("linux.netDevices", "the container's network namespace is that of the devices"));
    }
    let mut outside = Route::open().step("linux.netDevices")?;
    let (mut inside, names) = within(&target, &home, || {
        let names = devices.iter().map(free_name).collect::<Result<Vec<_>, _>>()?;
        Ok((Route::open().step("linux.netDevices")?, names))
    })?;
    let mut moved = Vec::with_capacity(devices.len());
    for (device, name) in devices.iter().zip(&names) {
        let step = field(&device.host_name);
        let addresses = netlink::permanent_addresses(&mut outside, device.index).step(&step)?;
        netlink::move_link(&mut outside, device.index, name, &target).step(&step)?;
        moved.push((step, name, addresses));
    }
    let indexes = within(&target, &home, || {
        moved.iter().map(|(step, name, _)| netlink::link_index(name).step(step)).collect::<Result<Vec<_>, _>>()
    })?;
    for ((step, _, addresses), index) in moved.iter().zip(indexes) {
        for address in addresses {
            netlink::add_address(&mut inside, index, address).step(step)?;
        }
        netlink::set_link(&mut inside, index, true).step(step)?;
    }
    Ok(())
}

/// The name that a device gets in the caller's network namespace: one that nobody has.
fn free_name(device: &Device) -> Result<String, Error> {
    let field = format!("{}.name", field(&device.host_name));
    let is_free = |name: &str| match netlink::link_index(name) {
        Err(error) if error.errno() == Errno::NODEV => Ok(true),
        Err(error) => Err(Error::step(&field, error)),
        Ok(_) => Ok(false),
    };
    if !device.name.contains("%d") {
        let name = &device.name;
        let taken = || Error::field(&field, format!("the container's network has a device {name:?}"));
        return is_free(name)?.then(|| name.clone()).ok_or_else(taken);
    }
    // As many as fit into a name of 15 bytes, and no more than anybody has.
    for number in 0..10_000 {
        let name = device.name.replace("%d", &number.to_string());
        if netlink::is_valid_name(&name) && is_free(&name)? {
            return Ok(name);
        }
    }
    Err(Error::field(&field, format!("no number is free for {:?}", device.name)))
}

/// Does something in another network namespace, and comes back whatever it was.
fn within<T>(target: &OwnedFd, home: &OwnedFd, what: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    namespace::enter(target.as_fd(), Namespaces::NETWORK).step("linux.netDevices")?;
    let done = what();
    namespace::enter(home.as_fd(), Namespaces::NETWORK).step("return to the own network namespace")?;
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(devices: &str, own: Namespaces) -> String {
        let linux: Linux = serde_json::from_str(&format!(r#"{{"netDevices":{devices}}}"#)).unwrap();
        plan(&linux, own).unwrap_err().to_string()
    }

    #[test]
    fn devices_need_a_network_names_and_to_be_there() {
        let network = Namespaces::NETWORK;
        assert!(refused(r#"{"lo":{}}"#, Namespaces::PID).starts_with("linux.netDevices: needs a network namespace"));
        let missing = refused(r#"{"no-such-device":{}}"#, network);
        assert!(missing.starts_with("linux.netDevices[no-such-device]: "), "{missing}");
        for name in ["a/b", "a b", "..", "sixteen-bytes-xx", "a:1", "a%s", "%d%d"] {
            let wrong = refused(&format!(r#"{{"lo":{{"name":"{name}"}}}}"#), network);
            assert!(wrong.starts_with("linux.netDevices[lo]"), "{wrong}");
        }
        assert!(refused(r#"{"eth%d":{}}"#, network).contains("%d"));
    }

    #[test]
    fn a_name_is_the_devices_own_unless_another_is_given() {
        let linux: Linux = serde_json::from_str(r#"{"netDevices":{"lo":{"name":""}}}"#).unwrap();
        let list = plan(&linux, Namespaces::NETWORK).unwrap();
        assert_eq!((list[0].host_name.as_str(), list[0].name.as_str()), ("lo", "lo"));
        assert!(plan(&Linux::default(), Namespaces::empty()).unwrap().is_empty());
    }
}
