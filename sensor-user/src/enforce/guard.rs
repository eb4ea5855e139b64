//! What is never blocked: this host's own addresses, and what it depends on.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::{IpNet, Ipv6Net};

/// Addresses that must stay reachable: those of this host, its gateways.
///
/// A verdict on one of them is refused; a prefix around one is accepted, and the address stays
/// allowed inside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Guards {
    addresses: BTreeSet<IpAddr>,
}

impl Guards {
    /// Guards for these addresses.
    #[must_use]
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let addresses = addresses.into_iter().map(|address| address.to_canonical());
        Self { addresses: addresses.collect() }
    }

    /// Whether a prefix is one of the addresses.
    #[must_use]
    pub fn protects(&self, net: &IpNet) -> bool {
        net.prefix_len() == net.max_prefix_len() && self.addresses.contains(&net.addr())
    }

    /// The addresses, as prefixes that can be allowed. The kernel has one entry for an IPv6 address
    /// whose lower half is zero and for its /64, so that is the /64.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.addresses.iter().map(|address| match address {
            IpAddr::V6(v6) if v6.to_bits() as u64 == 0 => {
                Ipv6Net::new(*v6, 64).map_or(IpNet::from(*address), IpNet::V6)
            }
            _ => IpNet::from(*address),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protects_addresses_and_not_what_is_around_them() {
        let guards =
            Guards::new(["192.0.2.1".parse().unwrap(), "::ffff:192.0.2.2".parse().unwrap()]);
        for (net, expected) in [
            ("192.0.2.1/32", true),
            ("192.0.2.2/32", true),
            ("192.0.2.0/24", false),
            ("192.0.2.3/32", false),
        ] {
            assert_eq!(guards.protects(&net.parse().unwrap()), expected, "{net}");
        }
    }
}
