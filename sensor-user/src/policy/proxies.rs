//! Declared proxies: load balancers and CDNs that clients come through. A proxy is not a client: it
//! is never scored, and never limited, rejected or dropped as a source.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::group;

/// Who says whom a proxy stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyClient {
    /// The proxy, in a PROXY protocol header before the connection's first byte.
    ProxyProtocol,
    /// Applications and their logs.
    Signals,
}

/// A declared proxy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// Where its connections come from: disjoint and ascending.
    pub from: Vec<IpNet>,
    /// Who says whom it stands for.
    pub client: ProxyClient,
}

/// All declared proxies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proxies {
    list: Vec<Proxy>,
    // All of them, disjoint and ascending.
    prefixes: Vec<IpNet>,
}

impl Proxies {
    /// These proxies.
    #[must_use]
    pub fn new(list: Vec<Proxy>) -> Self {
        let all = list.iter().flat_map(|proxy| proxy.from.iter().copied()).collect();
        Self { list, prefixes: IpNet::aggregate(&all) }
    }

    /// Whether an address is a declared proxy's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.covers(&IpNet::from(address.to_canonical()))
    }

    /// Whether every address of a prefix is a declared proxy's.
    #[must_use]
    pub fn covers(&self, net: &IpNet) -> bool {
        let found = group::touching(&self.prefixes, net);
        found.is_some_and(|prefix| prefix.contains(net))
    }

    /// The first proxy that has an address of a prefix.
    #[must_use]
    pub fn owner(&self, net: &IpNet) -> Option<&Proxy> {
        self.list.iter().find(|proxy| group::touching(&proxy.from, net).is_some())
    }

    /// Where connections of all of them come from: disjoint and ascending.
    #[must_use]
    pub fn prefixes(&self) -> &[IpNet] {
        &self.prefixes
    }

    /// Those that send a PROXY header.
    #[must_use]
    pub fn speaking(&self) -> Vec<IpNet> {
        let speaking = self.list.iter().filter(|proxy| proxy.client == ProxyClient::ProxyProtocol);
        IpNet::aggregate(&speaking.flat_map(|proxy| proxy.from.iter().copied()).collect())
    }

    /// A proxy by its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Proxy> {
        self.list.iter().find(|proxy| proxy.name == name)
    }

    /// The proxies, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Proxy> {
        self.list.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_proxies_of_both_families() {
        let from =
            ["10.0.0.0/25", "10.0.0.128/25", "2001:db8::7/128"].map(|net| net.parse().unwrap());
        let proxies = Proxies::new(vec![Proxy {
            name: "lb".into(),
            from: from.into(),
            client: ProxyClient::Signals,
        }]);
        for (address, expected) in [
            ("10.0.0.200", true),
            ("::ffff:10.0.0.1", true),
            ("10.0.1.0", false),
            ("2001:db8::7", true),
            ("2001:db8::8", false),
        ] {
            assert_eq!(proxies.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(proxies.covers(&"10.0.0.0/24".parse().unwrap()));
        assert!(!proxies.covers(&"10.0.0.0/23".parse().unwrap()));
        assert!(proxies.speaking().is_empty());
        assert!(!Proxies::default().contains("10.0.0.1".parse().unwrap()));
    }
}
