//! Who lives where. Every address is from a range reserved for documentation or benchmarks
//! (RFC 5737, RFC 3849, RFC 2544), and exists inside the lab only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::packet::Mac;

/// Link-layer address of every interface of the edge.
pub const EDGE_MAC: Mac = [0x02, 0, 0, 0, 0, 0x0a];

/// Link-layer address of every interface on the clients' side.
pub const CLIENTS_MAC: Mac = [0x02, 0, 0, 0, 0, 0x0b];

/// Port of the shop: pages, assets, `/login`.
pub const SHOP_PORT: u16 = 443;

/// Port of the interface for programs: `/api/price`.
pub const API_PORT: u16 = 8443;

/// Both ports that the demo's policy protects.
pub const PROTECTED_PORTS: [u16; 2] = [SHOP_PORT, API_PORT];

/// The partners' range, 203.0.113.192/27, as address and prefix length.
pub const PARTNERS: (Ipv4Addr, u8) = (Ipv4Addr::new(203, 0, 113, 192), 27);

/// Where spoofed floods pretend to come from, 198.18.0.0/15: nobody lives there.
pub const FLOOD_SOURCES: (Ipv4Addr, u8) = (Ipv4Addr::new(198, 18, 0, 0), 15);

/// Where clients of the second link live, 192.0.2.128/25; a lab with `far_clients` has them on the
/// first link.
pub const FAR_CLIENTS: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 0, 2, 128), 25);

/// IPv4 or IPv6.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One veth pair between the edge and the clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkPlan {
    /// Interface of the edge.
    pub edge_interface: &'static str,
    /// Interface on the clients' side.
    pub clients_interface: &'static str,
    /// The server, IPv4.
    pub server_v4: Ipv4Addr,
    /// The server, IPv6.
    pub server_v6: Ipv6Addr,
    /// The clients' side of the link, the edge's gateway.
    pub gateway_v4: Ipv4Addr,
    /// The same, IPv6.
    pub gateway_v6: Ipv6Addr,
    /// Prefix length of the IPv4 link.
    pub link_prefix_v4: u8,
    /// Where clients live, IPv4, and its prefix length: every address of it answers.
    pub clients_v4: (Ipv4Addr, u8),
    /// The same, IPv6.
    pub clients_v6: (Ipv6Addr, u8),
}

impl LinkPlan {
    /// The server's address.
    #[must_use]
    pub fn server(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.server_v4.into(),
            Family::V6 => self.server_v6.into(),
        }
    }

    /// The shop.
    #[must_use]
    pub fn shop(&self, family: Family) -> SocketAddr {
        SocketAddr::new(self.server(family), SHOP_PORT)
    }

    /// The interface for programs.
    #[must_use]
    pub fn api(&self, family: Family) -> SocketAddr {
        SocketAddr::new(self.server(family), API_PORT)
    }

    /// The client number `host` of the IPv4 range.
    #[must_use]
    pub fn client_v4(&self, host: u8) -> Ipv4Addr {
        let (base, _) = self.clients_v4;
        Ipv4Addr::from_bits(base.to_bits() | u32::from(host))
    }

    /// The first host of the client network number `network` (a /64) of the IPv6 range.
    #[must_use]
    pub fn client_v6(&self, network: u16) -> Ipv6Addr {
        let (base, _) = self.clients_v6;
        Ipv6Addr::from_bits(base.to_bits() | u128::from(network) << 64 | 1)
    }
}

/// The links: a lab has the first, and with `second_interface` both.
pub const LINKS: [LinkPlan; 2] = [
    LinkPlan {
        edge_interface: "edge0",
        clients_interface: "clients0",
        server_v4: Ipv4Addr::new(198, 51, 100, 10),
        server_v6: Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0x10),
        gateway_v4: Ipv4Addr::new(198, 51, 100, 1),
        gateway_v6: Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 1),
        link_prefix_v4: 24,
        clients_v4: (Ipv4Addr::new(203, 0, 113, 0), 24),
        clients_v6: (Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0), 48),
    },
    LinkPlan {
        edge_interface: "edge1",
        clients_interface: "clients1",
        server_v4: Ipv4Addr::new(192, 0, 2, 10),
        server_v6: Ipv6Addr::new(0x2001, 0xdb8, 0x52, 0, 0, 0, 0, 0x10),
        gateway_v4: Ipv4Addr::new(192, 0, 2, 1),
        gateway_v6: Ipv6Addr::new(0x2001, 0xdb8, 0x52, 0, 0, 0, 0, 1),
        link_prefix_v4: 25,
        clients_v4: FAR_CLIENTS,
        clients_v6: (Ipv6Addr::new(0x2001, 0xdb8, 0x114, 0, 0, 0, 0, 0), 48),
    },
];
