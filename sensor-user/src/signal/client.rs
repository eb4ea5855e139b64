//! Whom a request is about, where it came through proxies.
//!
//! `X-Forwarded-For` and `Forwarded` (RFC 7239) are lists that every proxy adds to at the right. What a
//! declared proxy added is true; what stands left of that, somebody else wrote, who may be the
//! client. So the list is walked from the right, past declared proxies, and the first other address is
//! the client. Only proxies with `client: signals` add to it: one that speaks the PROXY protocol
//! passes on what the client wrote.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::policy::{Proxies, ProxyClient};

/// Proxies that one request can have come through.
const MOST_HOPS: usize = 32;

/// The client of a request that came from `peer` with this header; `None` if a proxy named none that
/// can be told.
#[must_use]
pub fn resolve(peer: IpAddr, header: Option<&str>, proxies: &Proxies) -> Option<IpAddr> {
    let peer = peer.to_canonical();
    if !names_in_headers(peer, proxies) {
        return Some(peer);
    }
    for element in from_the_right(header?).take(MOST_HOPS) {
        let hop = address_in(element)?;
        if !names_in_headers(hop, proxies) {
            // A proxy of another kind stands for somebody whom nobody named.
            return (!proxies.contains(hop) && can_be_client(hop)).then_some(hop);
        }
    }
    None
}

fn names_in_headers(address: IpAddr, proxies: &Proxies) -> bool {
    let owner = proxies.owner(&IpNet::from(address));
    owner.is_some_and(|proxy| proxy.client == ProxyClient::Signals)
}

/// Whether requests can come from an address at all.
#[must_use]
pub fn can_be_client(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !is_broadcast
}

/// The elements of a list, the last first. Commas in quotes part nothing; quotes are told from the
/// right too, because what a client left open at its left must not swallow what the proxy wrote.
fn from_the_right(header: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(header);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        let comma = text.bytes().enumerate().rev().find(|(at, byte)| {
            match byte {
                b'"' if !is_escaped(text, *at) => is_quoted = !is_quoted,
                b',' => return !is_quoted,
                _ => {}
            }
            false
        });
        let Some((at, _)) = comma else {
            rest = None;
            return Some(text);
        };
        rest = text.get(..at);
        text.get(at + 1..)
    })
}

/// Whether an odd number of backslashes stands before.
fn is_escaped(text: &str, at: usize) -> bool {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The address in an element of either header.
fn address_in(element: &str) -> Option<IpAddr> {
    let element = element.trim();
    if !element.contains('=') {
        return address(element);
    }
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let node = node.trim();
    let quoted = node.strip_prefix('"').and_then(|node| node.strip_suffix('"'));
    address(quoted.unwrap_or(node))
}

/// An address as headers, logs and people write it: with or without a port, IPv6 with or without
/// brackets. `unknown` and invented names are none.
#[must_use]
pub fn address(text: &str) -> Option<IpAddr> {
    let found = if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else if let Some(bracketed) = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        IpAddr::V6(bracketed.parse::<Ipv6Addr>().ok()?)
    } else {
        let address: SocketAddr = text.parse().ok()?;
        // A scope makes it an address of this link, which no proxy names.
        if matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0) {
            return None;
        }
        address.ip()
    };
    Some(found.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Proxy;

    fn proxies() -> Proxies {
        let proxy = |name: &str, from: &[&str], client| Proxy {
            name: name.into(),
            from: from.iter().map(|net| net.parse().unwrap()).collect(),
            client,
        };
        Proxies::new(vec![
            proxy("cdn", &["10.0.0.0/24", "2001:db8:cd::/48"], ProxyClient::Signals),
            proxy("lb", &["10.9.0.0/24"], ProxyClient::ProxyProtocol),
        ])
    }

    #[test]
    fn only_what_declared_proxies_wrote_counts() {
        for (peer, header, expected) in [
            // Nobody's header counts without a proxy.
            ("203.0.113.7", "", "203.0.113.7"),
            ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
            ("::ffff:203.0.113.7", "198.51.100.1", "203.0.113.7"),
            ("203.0.113.7", "10.0.0.1", "203.0.113.7"),
            // One proxy, and what clients put before.
            ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
            ("10.0.0.1", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
            ("10.0.0.1", "198.51.100.1,203.0.113.7 ", "203.0.113.7"),
            ("10.0.0.1", "rubbish, \", 203.0.113.7", "203.0.113.7"),
            ("10.0.0.1", "10.0.0.9, 203.0.113.7", "203.0.113.7"),
            ("2001:db8:cd::1", "203.0.113.7", "203.0.113.7"),
            // Several proxies.
            ("10.0.0.1", "198.51.100.1, 203.0.113.7, 10.0.0.2, 2001:db8:cd::7", "203.0.113.7"),
            // Ways to write an address.
            ("10.0.0.1", "203.0.113.7:4711", "203.0.113.7"),
            ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
            ("10.0.0.1", "[2001:db8::7]", "2001:db8::7"),
            ("10.0.0.1", "[2001:db8::7]:443", "2001:db8::7"),
            ("10.0.0.1", "::ffff:203.0.113.7", "203.0.113.7"),
            // RFC 7239.
            ("10.0.0.1", "for=203.0.113.7", "203.0.113.7"),
            ("10.0.0.1", "For=\"[2001:db8::7]:4711\"", "2001:db8::7"),
            (
                "10.0.0.1",
                "for=198.51.100.1, for=203.0.113.7;proto=https;by=10.0.0.1",
                "203.0.113.7",
            ),
            ("10.0.0.1", "by=10.0.0.1; for = \"203.0.113.7:80\"", "203.0.113.7"),
            ("10.0.0.1", "for=\", for=203.0.113.7", "203.0.113.7"),
            // Names of hosts in quotes are the client's to choose.
            ("10.0.0.1", "for=203.0.113.7;host=\"a, for=198.51.100.1\"", "203.0.113.7"),
            ("10.0.0.1", "for=203.0.113.7;host=\"a\\\", for=198.51.100.1\"", "203.0.113.7"),
            // Nobody is named.
            ("10.0.0.1", "", "-"),
            ("10.0.0.1", "unknown", "-"),
            ("10.0.0.1", "203.0.113.7, unknown", "-"),
            ("10.0.0.1", "203.0.113.7, for=_hidden", "-"),
            ("10.0.0.1", "10.0.0.2, 10.0.0.3", "-"),
            ("10.0.0.1", "203.0.113.7,", "-"),
            ("10.0.0.1", "fe80::1%eth0", "-"),
            ("10.0.0.1", "[fe80::1%3]:80", "-"),
            ("10.0.0.1", "0.0.0.0", "-"),
            ("10.0.0.1", "224.0.0.1", "-"),
            ("10.0.0.1", "203.0.113.7.example.com", "-"),
            // A proxy that speaks the PROXY protocol passes on what the client wrote.
            ("10.9.0.1", "198.51.100.1", "10.9.0.1"),
            ("10.0.0.1", "198.51.100.1, 10.9.0.1", "-"),
        ] {
            let header_given = (!header.is_empty()).then_some(header);
            let found = resolve(peer.parse().unwrap(), header_given, &proxies());
            let found = found.map_or("-".to_owned(), |address| address.to_string());
            assert_eq!(found, expected, "{peer} {header}");
        }
    }

    #[test]
    fn a_long_list_is_not_walked_to_its_end() {
        let list = vec!["10.0.0.2"; 100_000].join(", ");
        let header = format!("203.0.113.7, {list}");
        assert_eq!(resolve("10.0.0.1".parse().unwrap(), Some(&header), &proxies()), None);
    }

    proptest! {
        /// Whatever a client writes before, the proxy's word counts.
        #[test]
        fn nobody_can_be_framed(before in "[ -~]{0,60}") {
            for said in ["203.0.113.7", "for=203.0.113.7;proto=http", "for=\"203.0.113.7:1\""] {
                let header = format!("{before}, {said}");
                let found = resolve("10.0.0.1".parse().unwrap(), Some(&header), &proxies());
                prop_assert_eq!(found, Some("203.0.113.7".parse().unwrap()), "{}", header);
            }
        }

        #[test]
        fn nothing_written_breaks_it(header in ".{0,80}") {
            let _ = resolve("10.0.0.1".parse().unwrap(), Some(&header), &proxies());
        }
    }
}
