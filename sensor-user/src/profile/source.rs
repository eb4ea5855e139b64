//! Sources as addresses: what a key of the kernel means to people.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serializer;
use weir_common::abi::SourceKey;

/// The prefix that a source is: an IPv4 /32 or an IPv6 /64.
#[must_use]
pub fn net(source: &SourceKey) -> IpNet {
    match source.v4() {
        // Keys are in wire order, so the bytes in memory are the address.
        Some(word) => IpNet::V4(Ipv4Net::from(Ipv4Addr::from(word.to_ne_bytes()))),
        None => {
            let [high, low] = source.words;
            let first = u128::from(u32::from_be_bytes(high.to_ne_bytes())) << 96;
            let second = u128::from(u32::from_be_bytes(low.to_ne_bytes())) << 64;
            let address = Ipv6Addr::from(first | second);
            // 64 is always a valid length; a full-length prefix is the same address if it were not.
            IpNet::V6(Ipv6Net::new(address, 64).unwrap_or_else(|_| Ipv6Net::from(address)))
        }
    }
}

pub(crate) fn serialize<S: Serializer>(source: &SourceKey, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&net(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_prefixes() {
        let v4 = SourceKey::from_address(&[
            0,
            0,
            weir_common::abi::key::V4_MAPPED,
            u32::from_ne_bytes([192, 0, 2, 7]),
        ]);
        assert_eq!(net(&v4).to_string(), "192.0.2.7/32");
        let octets = Ipv6Addr::from([0x2001, 0xdb8, 1, 2, 3, 4, 5, 6]).octets();
        let word = |at: usize| {
            u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
        };
        let v6 = SourceKey::from_address(&[word(0), word(4), word(8), word(12)]);
        assert_eq!(net(&v6).to_string(), "2001:db8:1:2::/64");
    }
}
