//! Addresses: those of this host, which can be no visitor's, and how the kernel's keys hold them.

use std::{io, net::IpAddr};

use nix::ifaddrs::getifaddrs;
use weir_common::abi::key::{Address, V4_MAPPED};

/// Every unicast address of every interface in this thread's network namespace.
pub fn own() -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = getifaddrs()?
        .filter_map(|entry| {
            let address = entry.address?;
            if let Some(v4) = address.as_sockaddr_in() {
                Some(IpAddr::V4(v4.ip()))
            } else {
                address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()))
            }
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// The words of an address as they lie on the wire.
#[must_use]
pub fn words(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(v4) => [0, 0, V4_MAPPED, u32::from_ne_bytes(v4.octets())],
        IpAddr::V6(v6) => {
            let bytes = v6.octets();
            let mut words = [0; 4];
            for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(4)) {
                *word = chunk.try_into().map_or(0, u32::from_ne_bytes);
            }
            words
        }
    }
}

/// An address as people write it; an IPv4-mapped one as IPv4.
#[must_use]
pub fn ip(address: &Address) -> IpAddr {
    let [a, b, c, d] = *address;
    if a == 0 && b == 0 && c == V4_MAPPED {
        // Wire order: the bytes in memory are the address.
        return IpAddr::from(d.to_ne_bytes());
    }
    let bits =
        address.iter().fold(0u128, |bits, word| bits << 32 | u128::from(u32::from_be(*word)));
    IpAddr::from(bits.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_one_of_our_own() {
        assert!(own().unwrap().contains(&IpAddr::from([127, 0, 0, 1])));
    }

    #[test]
    fn words_are_the_bytes_of_the_wire() {
        let v4 = words("192.0.2.1".parse().unwrap()).map(u32::to_ne_bytes).concat();
        assert_eq!(v4, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1]);
        let v6 = words("2001:db8::5".parse().unwrap()).map(u32::to_ne_bytes).concat();
        assert_eq!(v6, [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]);
        for text in ["192.0.2.1", "2001:db8::5", "::1", "::ffff:0:5"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(ip(&words(address)), address.to_canonical());
        }
    }
}
