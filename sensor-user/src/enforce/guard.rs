//! What is never blocked: this host's own addresses, its gateways, declared proxies and ranges; and, at
//! the management port only, the peers of sessions in which somebody is logged in.
//!
//! None of it is earned by packets: addresses and routes are the kernel's own, proxies and ranges an
//! operator's word, and sessions have been through authentication ([`crate::system::sessions`]). An allow
//! overrides source verdicts, never a SYN guard, and proves nothing: who sends in the name of one of
//! these addresses is treated as any stranger. Resolvers are not among them: answers to what this host
//! asks pass as part of a flow that it opened, and a resolver has no business at a service.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::{IpNet, Ipv6Net};
use weir_common::abi::ServiceSet;

use crate::policy::{NamedRange, Proxies};

/// Addresses that must stay reachable.
///
/// A verdict on one of them is refused; a prefix around one is accepted, and the address stays
/// allowed inside. Peers of sessions can have verdicts, which do not reach the management port.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Guards {
    own: BTreeSet<IpAddr>,
    gateways: BTreeSet<IpAddr>,
    sessions: BTreeSet<IpAddr>,
    management: ServiceSet,
    ranges: Vec<NamedRange>,
    proxies: Proxies,
}

/// Why an address is never blocked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Protection {
    /// It is this host's own, or a gateway's.
    Own,
    /// It lies in the declared range of this name.
    Range(String),
    /// It is the proxy's of this name.
    Proxy(String),
}

/// Something that is allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Allowed {
    /// What.
    pub net: IpNet,
    /// As what.
    pub kind: AllowedKind,
}

/// As what something is allowed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AllowedKind {
    /// This host's own address.
    Own,
    /// A gateway.
    Gateway,
    /// The peer of a session in which somebody is logged in: for the management port only.
    Session,
    /// Part of a declared range.
    Range,
    /// Part of a declared proxy.
    Proxy,
}

impl AllowedKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Own, Self::Gateway, Self::Session, Self::Range, Self::Proxy];

    /// As status and journal name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Gateway => "gateway",
            Self::Session => "session",
            Self::Range => "range",
            Self::Proxy => "proxy",
        }
    }

    /// Why, as a verdict says it.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Own => "this host",
            Self::Gateway => "a gateway of this host",
            Self::Session => "somebody is logged in from there",
            Self::Range => "a declared range",
            Self::Proxy => "a declared proxy",
        }
    }
}

impl Guards {
    /// Guards for this host's own addresses.
    #[must_use]
    pub fn new(own: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { own: canonical(own), ..Self::default() }
    }

    /// The same, and for these gateways.
    #[must_use]
    pub fn with_gateways(self, gateways: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { gateways: canonical(gateways), ..self }
    }

    /// The same, and for peers of sessions at these services.
    #[must_use]
    pub fn with_sessions(
        self,
        sessions: impl IntoIterator<Item = IpAddr>,
        management: ServiceSet,
    ) -> Self {
        Self { sessions: canonical(sessions), management, ..self }
    }

    /// The same, and for these ranges.
    #[must_use]
    pub fn with_ranges(self, ranges: &[NamedRange]) -> Self {
        Self { ranges: ranges.to_vec(), ..self }
    }

    /// The same, and for these proxies.
    #[must_use]
    pub fn with_proxies(self, proxies: &Proxies) -> Self {
        Self { proxies: proxies.clone(), ..self }
    }

    /// Why a verdict on a prefix is refused: because it is one of the addresses, or all of it is in a
    /// range or a proxy's.
    #[must_use]
    pub fn protects(&self, net: &IpNet) -> Option<Protection> {
        // The /64 whose own address is guarded is one with it in the kernel.
        let is_address = net.prefix_len() == net.max_prefix_len()
            || matches!(net, IpNet::V6(v6) if v6.prefix_len() == 64);
        let address = net.network();
        if is_address && (self.own.contains(&address) || self.gateways.contains(&address)) {
            return Some(Protection::Own);
        }
        let range = self.ranges.iter().find(|range| range.nets.iter().any(|it| it.contains(net)));
        if let Some(range) = range {
            return Some(Protection::Range(range.name.clone()));
        }
        let is_proxy = self.proxies.covers(net);
        let name = || self.proxies.owner(net).map_or_else(String::new, |proxy| proxy.name.clone());
        is_proxy.then(|| Protection::Proxy(name()))
    }

    /// Everything that is allowed. The kernel has one entry for an IPv6 address whose lower half is zero
    /// and for its /64, so that is the /64.
    pub fn allowed(&self) -> impl Iterator<Item = Allowed> {
        let of = |addresses: &BTreeSet<IpAddr>, kind| {
            let nets: Vec<IpNet> = addresses.iter().map(|it| allowable(IpNet::from(*it))).collect();
            nets.into_iter().map(move |net| Allowed { net, kind })
        };
        let ranges = self.ranges.iter().flat_map(|range| &range.nets);
        let ranges = ranges.map(|net| Allowed { net: allowable(*net), kind: AllowedKind::Range });
        let proxies = self.proxies.prefixes().iter();
        let proxies = proxies.map(|net| Allowed { net: allowable(*net), kind: AllowedKind::Proxy });
        of(&self.own, AllowedKind::Own)
            .chain(of(&self.gateways, AllowedKind::Gateway))
            .chain(of(&self.sessions, AllowedKind::Session))
            .chain(ranges)
            .chain(proxies)
    }

    /// For which services something is allowed.
    #[must_use]
    pub const fn services(&self, kind: AllowedKind) -> ServiceSet {
        match kind {
            AllowedKind::Session => self.management,
            _ => ServiceSet::ALL,
        }
    }

    /// What is allowed at every service, as prefixes: connections from there are never ended.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.allowed().filter(|it| it.kind != AllowedKind::Session).map(|it| it.net)
    }

    /// Those of this host, its gateways and declared ranges.
    pub fn own_prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.prefixes_of(&[AllowedKind::Own, AllowedKind::Gateway, AllowedKind::Range])
    }

    /// Those of proxies.
    pub fn proxy_prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.prefixes_of(&[AllowedKind::Proxy])
    }

    /// How many there are of a kind.
    #[must_use]
    pub fn count(&self, kind: AllowedKind) -> usize {
        self.allowed().filter(|it| it.kind == kind).count()
    }

    /// Whether an address is a gateway.
    #[must_use]
    pub fn is_gateway(&self, address: &IpAddr) -> bool {
        self.gateways.contains(address)
    }

    fn prefixes_of<'a>(
        &'a self,
        kinds: &'a [AllowedKind],
    ) -> impl Iterator<Item = IpNet> + use<'a> {
        self.allowed().filter(move |it| kinds.contains(&it.kind)).map(|it| it.net)
    }
}

fn canonical(addresses: impl IntoIterator<Item = IpAddr>) -> BTreeSet<IpAddr> {
    addresses.into_iter().map(|address| address.to_canonical()).collect()
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
        let ranges =
            [NamedRange { name: "cluster".into(), nets: vec!["10.0.0.0/8".parse().unwrap()] }];
        let own = ["192.0.2.1".parse().unwrap(), "::ffff:192.0.2.2".parse().unwrap()];
        let guards = Guards::new(own)
            .with_gateways(["192.0.2.254".parse().unwrap(), "fe80::1".parse().unwrap()])
            .with_sessions(["203.0.113.7".parse().unwrap()], ServiceSet::one(9))
            .with_ranges(&ranges)
            .with_proxies(&proxies);
        let lb = || Some(Protection::Proxy("lb".into()));
        let cluster = || Some(Protection::Range("cluster".into()));
        for (net, expected) in [
            ("192.0.2.1/32", Some(Protection::Own)),
            ("192.0.2.2/32", Some(Protection::Own)),
            ("192.0.2.254/32", Some(Protection::Own)),
            ("fe80::1/128", Some(Protection::Own)),
            ("192.0.2.0/24", None),
            ("192.0.2.3/32", None),
            ("203.0.113.7/32", None),
            ("10.0.0.0/8", cluster()),
            ("10.9.0.0/16", cluster()),
            ("10.0.0.0/7", None),
            ("198.51.100.7/32", lb()),
            ("198.51.100.0/25", lb()),
            ("198.51.100.0/24", None),
        ] {
            assert_eq!(guards.protects(&net.parse().unwrap()), expected, "{net}");
        }
        let session = guards.allowed().find(|it| it.kind == AllowedKind::Session).unwrap();
        assert_eq!(session.net, "203.0.113.7/32".parse().unwrap());
        assert_eq!(
            guards.services(session.kind),
            ServiceSet::one(9),
            "at the management port only"
        );
        assert!(!guards.prefixes().any(|net| net == session.net));
    }
}
