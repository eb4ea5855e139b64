//! What is never blocked: this host's own addresses, what it depends on, and declared proxies.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::{IpNet, Ipv6Net};

use crate::policy::Proxies;

/// Addresses that must stay reachable: those of this host, its gateways, and proxies that clients
/// come through.
///
/// A verdict on one of them is refused; a prefix around one is accepted, and the address stays
/// allowed inside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Guards {
    addresses: BTreeSet<IpAddr>,
    proxies: Proxies,
}

/// Why an address is never blocked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Protection {
    /// It is this host's own, or a gateway's.
    Own,
    /// It is the proxy's of this name.
    Proxy(String),
}

impl Guards {
    /// Guards for these addresses.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let addresses = addresses.into_iter().map(|address| address.to_canonical());
        Self { addresses: addresses.collect(), proxies: Proxies::default() }
    }

    /// The same, and for these proxies.
    #[must_use]
    pub fn with_proxies(self, proxies: &Proxies) -> Self {
        Self { proxies: proxies.clone(), ..self }
    }

    /// Why a verdict on a prefix is refused: because it is one of the addresses, or all of it is a
    /// proxy's.
    #[must_use]
    pub fn protects(&self, net: &IpNet) -> Option<Protection> {
        // The /64 whose own address is guarded is one with it in the kernel.
        let is_address = net.prefix_len() == net.max_prefix_len()
            || matches!(net, IpNet::V6(v6) if v6.prefix_len() == 64);
        if is_address && self.addresses.contains(&net.network()) {
            return Some(Protection::Own);
        }
        let is_proxy = self.proxies.covers(net);
        let name = || self.proxies.owner(net).map_or_else(String::new, |proxy| proxy.name.clone());
        is_proxy.then(|| Protection::Proxy(name()))
    }

    /// What is guarded, as prefixes that can be allowed. The kernel has one entry for an IPv6 address
    /// whose lower half is zero and for its /64, so that is the /64.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.own_prefixes().chain(self.proxy_prefixes())
    }

    /// Those of this host and its gateways.
    pub fn own_prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.addresses.iter().map(|address| allowable(IpNet::from(*address)))
    }

    /// Those of proxies.
    pub fn proxy_prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.proxies.prefixes().iter().map(|net| allowable(*net))
    }
}

fn allowable(net: IpNet) -> IpNet {
    match net {
        IpNet::V6(v6) if v6.prefix_len() == 128 && v6.addr().to_bits() as u64 == 0 => {
            Ipv6Net::new(v6.addr(), 64).map_or(net, IpNet::V6)
        }
        _ => net,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Proxy, ProxyClient};

    #[test]
    fn protects_addresses_and_not_what_is_around_them() {
        let proxies = Proxies::new(vec![Proxy {
            name: "lb".into(),
            from: vec!["198.51.100.0/25".parse().unwrap()],
            client: ProxyClient::Signals,
        }]);
        let own = ["192.0.2.1".parse().unwrap(), "::ffff:192.0.2.2".parse().unwrap()];
        let guards = Guards::new(own).with_proxies(&proxies);
        let lb = || Some(Protection::Proxy("lb".into()));
        for (net, expected) in [
            ("192.0.2.1/32", Some(Protection::Own)),
            ("192.0.2.2/32", Some(Protection::Own)),
            ("192.0.2.0/24", None),
            ("192.0.2.3/32", None),
            ("198.51.100.7/32", lb()),
            ("198.51.100.0/25", lb()),
            ("198.51.100.0/24", None),
        ] {
            assert_eq!(guards.protects(&net.parse().unwrap()), expected, "{net}");
        }
    }
}
