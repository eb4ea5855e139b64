//! The cursor: from the first byte to the transport header, for both directions and both families.

use super::{Packet, Segment, ethernet, icmp, ipv4, ipv6, tcp, udp};
use crate::abi::{FlowKey, Reason, key::V4_MAPPED};

/// What the device puts before the network header, by its ARPHRD type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// Ethernet II.
    Ethernet,
    /// Nothing: tunnels, WireGuard, tun.
    None,
}

/// Which end of a packet is the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heading {
    /// From the peer: its address is the source.
    Ingress,
    /// To the peer: its address is the destination.
    Egress,
}

/// IP version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

/// What the transport layer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// No ports, or a header that cannot be read; [`Headers::reason`] says why. Verdicts by
    /// address hold all the same.
    #[default]
    Opaque,
    /// TCP, with [`Headers::segment`].
    Tcp,
    /// UDP.
    Udp,
    /// What the network itself needs: no verdict may hold it back.
    Essential,
}

/// The headers of one packet, filled in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Headers {
    /// Addresses, protocol and ports.
    pub key: FlowKey,
    /// The TCP segment.
    pub segment: Segment,
    /// Where the IP header begins.
    pub network_at: u32,
    /// Where the transport header begins.
    pub transport_at: u32,
    /// Where the IP payload ends.
    pub end: u32,
    /// IP version.
    pub family: Family,
    /// What the transport layer is.
    pub transport: Transport,
    /// Why it is opaque.
    pub reason: Reason,
    /// TTL or hop limit.
    pub ttl: u8,
}

/// Reads one packet into `headers`. `Err` is the reason to pass it by.
#[inline(always)]
pub fn parse<P: Packet>(
    packet: &P,
    link: Link,
    heading: Heading,
    headers: &mut Headers,
) -> Result<(), Reason> {
    let (ethertype, at) = match link {
        Link::Ethernet => ethernet::payload(packet)?,
        Link::None => match packet.byte(0).ok_or(Reason::PassTruncated)? >> 4 {
            4 => (ethernet::IPV4, 0),
            6 => (ethernet::IPV6, 0),
            _ => (0, 0),
        },
    };
    headers.network_at = at;
    headers.transport = Transport::Opaque;
    headers.reason = Reason::Pass;
    headers.key.remote_port = 0;
    headers.key.local_port = 0;
    match ethertype {
        ethernet::IPV4 => ipv4::read(packet, heading, headers)?,
        ethernet::IPV6 => ipv6::read(packet, heading, headers)?,
        _ => return Err(Reason::PassNotIp),
    }
    // Read back from memory, so that the verifier forgets by which way it got there.
    let headers = core::hint::black_box(headers);
    if headers.reason == Reason::Pass
        && let Err(reason) = transport(packet, heading, headers)
    {
        headers.reason = reason;
    }
    Ok(())
}

#[inline(always)]
fn transport<P: Packet>(packet: &P, heading: Heading, headers: &mut Headers) -> Result<(), Reason> {
    headers.transport = match headers.key.protocol {
        tcp::TCP => {
            tcp::read(packet, heading, headers)?;
            Transport::Tcp
        }
        udp::UDP => {
            udp::read(packet, heading, headers)?;
            if udp::is_dhcp(headers) { Transport::Essential } else { Transport::Udp }
        }
        icmp::ICMP | icmp::ICMPV6 if icmp::is_essential(packet, headers) => Transport::Essential,
        _ => return Err(Reason::PassOtherProtocol),
    };
    Ok(())
}

impl Headers {
    /// Sets the ports, given those of the packet in wire order.
    #[inline(always)]
    pub(super) const fn set_ports(&mut self, heading: Heading, source: u16, destination: u16) {
        (self.key.remote_port, self.key.local_port) = match heading {
            Heading::Ingress => (source, destination),
            Heading::Egress => (destination, source),
        };
    }

    /// Whether the peer's address cannot be a source: multicast, IPv4's "this network" (RFC 1122,
    /// section 3.2.1.3), or an IPv4 address in an IPv6 header, which would pass for the IPv4 source
    /// (Linux discards it: `ip6_rcv_core`, net/ipv6/ip6_input.c).
    #[inline(always)]
    #[must_use]
    pub const fn remote_is_martian(&self) -> bool {
        let [a, b, c, d] = self.key.remote;
        match self.family {
            Family::V4 => {
                let first = u32::from_be(d) >> 24;
                first == 0 || first >= 224
            }
            Family::V6 => {
                u32::from_be(a) >> 24 == 0xff || a | b == 0 && (c == V4_MAPPED || c | d == 0)
            }
        }
    }
}
