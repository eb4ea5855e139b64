//! A conversation between one visitor and the server, by position and not by sequence number.

use std::net::{IpAddr, SocketAddr};

use weir_common::abi::{FlowKey, Protocol, key::Address};
use weir_lab::packet::{Tcp, ipv4, ipv6, tcp};

/// The visitor's initial sequence number: near the end, so that every conversation wraps.
pub(crate) const CLIENT_ISN: u32 = 0xffff_ff00;
/// The server's initial sequence number.
pub(crate) const SERVER_ISN: u32 = 0x7fff_fff0;

/// A visitor and a port of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    pub(crate) visitor: SocketAddr,
    pub(crate) server: SocketAddr,
}

impl Talk {
    pub(crate) fn new(visitor: SocketAddr, server: SocketAddr) -> Self {
        Self { visitor, server }
    }

    /// The same visitor from another port.
    pub(crate) fn with_port(mut self, port: u16) -> Self {
        self.visitor.set_port(port);
        self
    }

    /// The same visitor to another port.
    pub(crate) fn to_port(mut self, port: u16) -> Self {
        self.server.set_port(port);
        self
    }

    /// The visitor's address, as a prefix of full length.
    pub(crate) fn net(&self) -> String {
        let address = self.visitor.ip();
        format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
    }

    /// What the tables know the conversation by.
    pub(crate) fn flow(&self, protocol: Protocol) -> FlowKey {
        FlowKey {
            remote: words(self.visitor.ip()),
            local: words(self.server.ip()),
            remote_port: self.visitor.port().to_be(),
            local_port: self.server.port().to_be(),
            protocol: protocol as u32,
        }
    }

    /// A datagram of the visitor's.
    pub(crate) fn datagram(&self, payload: &[u8]) -> Vec<u8> {
        datagram(self.visitor, self.server, payload)
    }

    /// A datagram of the server's.
    pub(crate) fn datagram_back(&self, payload: &[u8]) -> Vec<u8> {
        datagram(self.server, self.visitor, payload)
    }

    /// A segment of the visitor's without flags or numbers.
    pub(crate) fn segment(&self) -> Tcp {
        tcp(self.visitor, self.server)
    }

    /// A segment of the server's without flags or numbers.
    pub(crate) fn reply(&self) -> Tcp {
        tcp(self.server, self.visitor)
    }

    /// The first packet, as Linux sends it.
    pub(crate) fn syn(&self) -> Tcp {
        self.segment().syn().seq(CLIENT_ISN).linux_options()
    }

    /// The second packet.
    pub(crate) fn syn_ack(&self) -> Tcp {
        self.reply().syn().seq(SERVER_ISN).ack(CLIENT_ISN.wrapping_add(1)).linux_options()
    }

    /// The visitor's segment at byte `sent` of its stream, acknowledging `heard` bytes of the
    /// server's. At 0, 0 it is the third packet.
    pub(crate) fn ask(&self, sent: u32, heard: u32) -> Tcp {
        self.segment()
            .seq(CLIENT_ISN.wrapping_add(1).wrapping_add(sent))
            .ack(SERVER_ISN.wrapping_add(1).wrapping_add(heard))
    }

    /// The server's segment at byte `sent` of its stream, acknowledging `heard` bytes of the
    /// visitor's.
    pub(crate) fn answer(&self, sent: u32, heard: u32) -> Tcp {
        self.reply()
            .seq(SERVER_ISN.wrapping_add(1).wrapping_add(sent))
            .ack(CLIENT_ISN.wrapping_add(1).wrapping_add(heard))
    }
}

fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    match (from.ip(), to.ip()) {
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            ipv6(a, b).udp(from.port(), to.port()).payload(payload).build()
        }
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            ipv4(a, b).udp(from.port(), to.port()).payload(payload).build()
        }
        _ => unreachable!("both ends are of one family"),
    }
}

/// An address as it lies on the wire.
pub(crate) fn words(address: IpAddr) -> Address {
    let octets = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let (quads, _) = octets.as_chunks::<4>();
    let mut quads = quads.iter();
    std::array::from_fn(|_| quads.next().map_or(0, |quad| u32::from_ne_bytes(*quad)))
}
