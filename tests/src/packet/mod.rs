//! Packets, byte by byte: a builder for everything that tests send, and a reader for what comes
//! back.
//!
//! What is built is well-formed, with right lengths and checksums, until a method says otherwise:
//! a test names only what its packet is about.
//!
//! ```
//! use weir_lab::packet::{Extension, TcpOption, ipv4, ipv6, tcp};
//!
//! let syn = ipv4([203, 0, 113, 7], [198, 51, 100, 10])
//!     .tcp(40_000, 443)
//!     .syn()
//!     .seq(1000)
//!     .option(TcpOption::MaxSegment(1460))
//!     .build();
//! assert_eq!(syn.len(), 14 + 20 + 24);
//!
//! let late_fragment = ipv6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2])
//!     .extension(Extension::Fragment { offset: 1480, more: false, id: 7 })
//!     .raw(6, b"no header here");
//! assert_eq!(late_fragment.frame().headers().len(), 3); // Ethernet, IPv6, fragment
//! # let _ = tcp;
//! ```
//!
//! Reading is written apart from the product's parser on purpose, so that neither can hide the
//! other's mistake.

mod checksum;
mod ethernet;
mod frame;
mod icmp;
mod ipv4;
mod ipv6;
mod network;
mod read;
mod tcp;
mod udp;

pub use checksum::{checksum, pseudo_header_sum};
pub use ethernet::{Ethernet, Mac};
pub use frame::{Frame, Header};
pub use icmp::Icmp;
pub use ipv4::Ipv4;
pub use ipv6::{Extension, Ipv6};
pub use network::{Network, Raw};
pub use read::{Read, ReadTcp, read};
pub use tcp::{Tcp, TcpFlags, TcpOption};
pub use udp::Udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IPv4 packet in an Ethernet frame.
pub fn ipv4(from: impl Into<Ipv4Addr>, to: impl Into<Ipv4Addr>) -> Ipv4 {
    Ethernet::new().ipv4(from, to)
}

/// An IPv6 packet in an Ethernet frame.
pub fn ipv6(from: impl Into<Ipv6Addr>, to: impl Into<Ipv6Addr>) -> Ipv6 {
    Ethernet::new().ipv6(from, to)
}

/// A TCP segment in an Ethernet frame, of whichever family the addresses are. Of mixed families
/// both become IPv6 (mapped), which no host answers.
#[must_use]
pub fn tcp(from: SocketAddr, to: SocketAddr) -> Tcp {
    tcp_over(Ethernet::new(), from, to)
}

/// The same over another link layer.
#[must_use]
pub fn tcp_over(link: Ethernet, from: SocketAddr, to: SocketAddr) -> Tcp {
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            link.ipv4(source, destination).tcp(from.port(), to.port())
        }
        (source, destination) => {
            link.ipv6(mapped(source), mapped(destination)).tcp(from.port(), to.port())
        }
    }
}

fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
