//! Network interfaces, addresses and routes, from `/proc/net`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use super::source::Source;
use super::verdict::{Facts, Judgement, listed};

/// The most interfaces, addresses and routes that are read.
const MAX_LINES: usize = 4096;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// IPv6 addresses.
    pub addresses: Vec<Ipv6Addr>,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent.
    pub sent: u64,
}

/// What can be seen of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Network {
    /// The interfaces; `None` when `/proc/net` can't be read.
    pub interfaces: Option<Vec<Interface>>,
    /// IPv4 addresses of this namespace.
    pub addresses: Vec<Ipv4Addr>,
    /// IPv4 gateways of default routes.
    pub gateways: Vec<Ipv4Addr>,
}

impl Network {
    pub(crate) fn read(source: &Source) -> Self {
        let interfaces = source.text("/proc/net/dev").map(|text| {
            let mut addresses = source.text("/proc/net/if_inet6").map(|text| parse_if_inet6(&text)).unwrap_or_default();
            parse_dev(&text)
                .into_iter()
                .map(|(name, received, sent)| {
                    let addresses = addresses.remove(&name).unwrap_or_default();
                    Interface { name, addresses, received, sent }
                })
                .collect()
        });
        Self {
            interfaces,
            addresses: source.text("/proc/net/fib_trie").map(|text| parse_fib_trie(&text)).unwrap_or_default(),
            gateways: source.text("/proc/net/route").map(|text| parse_gateways(&text)).unwrap_or_default(),
        }
    }

    /// Judged with whether the network namespace is the host's.
    pub(crate) fn judge(&self, host: Option<bool>) -> Judgement {
        let mut facts = Facts::default();
        let Some(interfaces) = &self.interfaces else {
            facts.note("/proc/net can't be read");
            return facts.judge();
        };
        // Tunnel devices that every namespace gets when their modules are loaded carry nothing until they are configured.
        let fallback = ["tunl0", "sit0", "ip6tnl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6gre0"];
        let beyond: Vec<&str> = interfaces
            .iter()
            .map(|i| i.name.as_str())
            .filter(|name| *name != "lo" && !fallback.contains(name))
            .collect();
        if host == Some(true) {
            facts.open("the host's network: its services and its other containers are in reach");
        }
        if beyond.is_empty() {
            facts.good("nothing but its own loopback");
        } else {
            facts.note(format!("interfaces: {}", listed(&beyond, 6)));
        }
        if !self.gateways.is_empty() {
            let gateways: Vec<String> = self.gateways.iter().map(ToString::to_string).collect();
            facts.note(format!("a way out through {}", listed(&gateways, 3)));
        }
        facts.judge()
    }
}

/// Name, bytes received and bytes sent of each line of `/proc/net/dev`.
fn parse_dev(text: &str) -> Vec<(String, u64, u64)> {
    text.lines()
        .skip(2)
        .take(MAX_LINES)
        .filter_map(|line| {
            let (name, counters) = line.rsplit_once(':')?;
            let counters: Vec<u64> =
                counters.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
            Some((name.trim().to_owned(), *counters.first()?, *counters.get(8)?))
        })
        .collect()
}

/// The addresses of each interface in `/proc/net/if_inet6`.
fn parse_if_inet6(text: &str) -> BTreeMap<String, Vec<Ipv6Addr>> {
    let mut found: BTreeMap<String, Vec<Ipv6Addr>> = BTreeMap::new();
    for line in text.lines().take(MAX_LINES) {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        if let [address, _, _, _, _, name] = fields[..]
            && address.len() == 32
            && let Ok(bits) = u128::from_str_radix(address, 16)
        {
            found.entry(name.to_owned()).or_default().push(Ipv6Addr::from_bits(bits));
        }
    }
    found
}

/// The local addresses in `/proc/net/fib_trie`, without those of the loopback network.
fn parse_fib_trie(text: &str) -> Vec<Ipv4Addr> {
    let mut last = None;
    let mut found = Vec::new();
    for line in text.lines().take(16 * MAX_LINES) {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = last
            && !address.is_loopback()
            && !found.contains(&address)
            && found.len() < MAX_LINES
        {
            found.push(address);
        }
    }
    found
}

/// The gateways of default routes in `/proc/net/route`.
fn parse_gateways(text: &str) -> Vec<Ipv4Addr> {
    text.lines()
        .skip(1)
        .take(MAX_LINES)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (destination, gateway) = (*fields.get(1)?, *fields.get(2)?);
            let gateway = u32::from_str_radix(gateway, 16).ok()?;
            // The kernel prints the address as a number in the machine's own byte order.
            (destination == "00000000" && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::super::verdict::Verdict;
    use super::*;

    #[test]
    fn interfaces_addresses_and_gateways_are_parsed() {
        let interfaces = parse_dev(samples::NET_DEV);
        assert_eq!(interfaces[0], ("lo".to_owned(), 0, 0));
        assert_eq!(interfaces[1], ("eth0".to_owned(), 1086, 126));
        assert_eq!(parse_fib_trie(samples::FIB_TRIE), [Ipv4Addr::new(172, 17, 0, 2)]);
        assert_eq!(parse_gateways(samples::ROUTE), [Ipv4Addr::new(172, 17, 0, 1)]);
        let addresses = parse_if_inet6("00000000000000000000000000000001 01 80 10 80       lo\nzz 01 80 10 80 lo\n");
        assert_eq!(addresses["lo"], [Ipv6Addr::LOCALHOST]);
    }

    #[test]
    fn only_loopback_is_good_and_the_hosts_is_open() {
        let lo = Interface { name: "lo".to_owned(), addresses: vec![], received: 0, sent: 0 };
        let mut network = Network { interfaces: Some(vec![lo.clone()]), ..Network::default() };
        assert_eq!(network.judge(Some(false)).verdict, Verdict::Good);
        assert_eq!(network.judge(Some(true)).verdict, Verdict::Open);
        network.interfaces = Some(vec![lo.clone(), Interface { name: "tunl0".to_owned(), ..lo.clone() }]);
        assert_eq!(network.judge(Some(false)).verdict, Verdict::Good);
        network.interfaces = Some(vec![Interface { name: "eth0".to_owned(), ..lo }]);
        assert_eq!(network.judge(Some(false)).verdict, Verdict::Note);
        assert_eq!(Network::default().judge(None).verdict, Verdict::Note);
    }
}
