//! Clients behind one address: what cannot be enforced on this host, because a gateway or load balancer
//! puts its own address in the place of theirs.
//!
//! Told by where connections come from: when a few addresses have most of them, and these are gateways or
//! neighbours on a link, whoever is held back there is everybody.

use std::{collections::HashMap, io, net::IpAddr};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;

use super::{
    address, route,
    sockets::{self, SocketError},
};

/// Fewer connections than this say nothing.
const ENOUGH: usize = 100;
/// So few addresses …
const FEW: usize = 3;
/// … with so much of all connections are no visitors, where they are neighbours.
const MOST: f64 = 0.8;

/// Most connections come from a few neighbours.
#[derive(Clone, PartialEq, Debug)]
pub struct FanIn {
    /// From whom, the most connections first.
    pub peers: Vec<IpAddr>,
    /// Connections that are open.
    pub connections: usize,
    /// The share of them that comes from these, 0..=1.
    pub share: f64,
}

impl FanIn {
    /// What it is, for people.
    #[must_use]
    pub fn sentence(&self) -> String {
        let peers: Vec<String> = self.peers.iter().map(ToString::to_string).collect();
        format!(
            "{:.0} % of {} open connections come from {}, a gateway or neighbour: clients are hidden behind \
             it, and cannot be held back one by one",
            self.share * 100.0,
            self.connections,
            peers.join(", ")
        )
    }

    /// What helps.
    pub const ADVICE: &str = "declare it under `proxies` and have it send a PROXY header; in Kubernetes set \
                              externalTrafficPolicy: Local; have a gateway route and not translate";
}

/// Who is next to this host.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Neighbours {
    gateways: Vec<IpAddr>,
    /// Networks that an interface is in.
    links: Vec<IpNet>,
}

impl Neighbours {
    /// Looks at this thread's network namespace.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn look() -> io::Result<Self> {
        let mut links = Vec::new();
        for entry in getifaddrs()? {
            let (Some(own), Some(mask)) = (entry.address, entry.netmask) else { continue };
            let net = if let (Some(own), Some(mask)) = (own.as_sockaddr_in(), mask.as_sockaddr_in())
            {
                IpNet::with_netmask(own.ip().into(), mask.ip().into())
            } else if let (Some(own), Some(mask)) = (own.as_sockaddr_in6(), mask.as_sockaddr_in6())
            {
                IpNet::with_netmask(own.ip().into(), mask.ip().into())
            } else {
                continue;
            };
            links.extend(net.ok().map(|net| net.trunc()));
        }
        Ok(Self { gateways: route::gateways()?, links })
    }

    fn contains(&self, address: &IpAddr) -> bool {
        self.gateways.contains(address)
            // An address alone is no link.
            || self.links.iter().any(|net| {
                net.prefix_len() < net.max_prefix_len() && net.contains(address)
            })
    }
}

/// Judges open connections by how many each peer has.
#[must_use]
pub fn judge(
    counts: impl IntoIterator<Item = (IpAddr, usize)>,
    neighbours: &Neighbours,
) -> Option<FanIn> {
    let mut counts: Vec<(IpAddr, usize)> = counts.into_iter().collect();
    counts.sort_unstable_by_key(|(peer, count)| (std::cmp::Reverse(*count), *peer));
    let connections: usize = counts.iter().map(|(_, count)| count).sum();
    if connections < ENOUGH {
        return None;
    }
    let near = counts.iter().take(FEW).filter(|(peer, _)| neighbours.contains(peer));
    let (peers, held): (Vec<IpAddr>, Vec<usize>) = near.copied().unzip();
    let share = held.iter().sum::<usize>() as f64 / connections as f64;
    (share >= MOST).then_some(FanIn { peers, connections, share })
}

/// Looks at the connections that this host has open at ports it listens on, without a daemon.
///
/// # Errors
/// If the kernel does not list its sockets.
pub fn look() -> Result<Option<FanIn>, SocketError> {
    let failed = |source| SocketError::Kernel { operation: "look at the addresses of", source };
    let own = address::own().map_err(failed)?;
    let neighbours = Neighbours::look().map_err(failed)?;
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    for connection in sockets::inbound()? {
        if !own.contains(&connection.remote) {
            *counts.entry(connection.remote).or_default() += 1;
        }
    }
    Ok(judge(counts, &neighbours))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn few_neighbours_with_most_connections_hide_clients_and_few_visitors_do_not() {
        let neighbours = Neighbours {
            gateways: vec![address("192.0.2.254"), address("fe80::1")],
            links: vec!["10.1.0.0/16".parse().unwrap(), "203.0.113.9/32".parse().unwrap()],
        };
        let visitors = |count: u8| (0..count).map(|last| (IpAddr::from([198, 51, 100, last]), 1));
        let judge = |peers: &[(&str, usize)], others| {
            let peers = peers.iter().map(|(peer, count)| (address(peer), *count));
            super::judge(peers.chain(visitors(others)), &neighbours)
        };
        let found = judge(&[("192.0.2.254", 190)], 10).unwrap();
        assert_eq!((found.peers, found.connections), (vec![address("192.0.2.254")], 200));
        let nodes = judge(&[("10.1.0.4", 60), ("10.1.0.5", 50), ("10.1.0.6", 40)], 20).unwrap();
        assert_eq!(nodes.peers.len(), 3);
        assert!(nodes.sentence().starts_with("88 % of 170 open connections come from 10.1.0.4, "));
        assert_eq!(judge(&[("192.0.2.254", 90)], 0), None, "too few to tell");
        assert_eq!(judge(&[("192.0.2.254", 150)], 100), None, "most are somebody else's");
        assert_eq!(judge(&[("8.8.8.8", 500)], 10), None, "a stranger with many is one stranger");
        assert_eq!(judge(&[("203.0.113.9", 500)], 10), None, "an address alone is no link");
    }

    #[test]
    fn this_host_can_be_looked_at() {
        look().unwrap();
        Neighbours::look().unwrap();
    }
}
