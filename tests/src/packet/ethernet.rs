//! The link layer: Ethernet with any number of VLAN tags, or none at all (tun devices).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Frame, Ipv4, Ipv6, Network, Raw};

/// An Ethernet address.
pub type Mac = [u8; 6];

const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

/// An Ethernet header with its tags.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ethernet {
    to: Mac,
    from: Mac,
    tags: Vec<(u16, u16)>,
    ethertype: Option<u16>,
    absent: bool,
}

impl Default for Ethernet {
    fn default() -> Self {
        Self::new()
    }
}

impl Ethernet {
    /// A header between two locally administered addresses.
    #[must_use]
    pub fn new() -> Self {
        Self {
            to: [0x02, 0, 0, 0, 0, 0x0a],
            from: [0x02, 0, 0, 0, 0, 0x0b],
            tags: Vec::new(),
            ethertype: None,
            absent: false,
        }
    }

    /// No link-layer header: the frame begins with the IP header.
    #[must_use]
    pub fn absent() -> Self {
        Self { absent: true, ..Self::new() }
    }

    /// Sets the source address.
    #[must_use]
    pub fn from_mac(mut self, mac: Mac) -> Self {
        self.from = mac;
        self
    }

    /// Sets the destination address.
    #[must_use]
    pub fn to_mac(mut self, mac: Mac) -> Self {
        self.to = mac;
        self
    }

    /// Adds a VLAN tag (802.1Q) inside the tags so far.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.tag(ETHERTYPE_VLAN, id)
    }

    /// Adds a service VLAN tag (802.1ad), the outer one of QinQ, inside the tags so far.
    #[must_use]
    pub fn service_vlan(self, id: u16) -> Self {
        self.tag(ETHERTYPE_SERVICE_VLAN, id)
    }

    /// Adds any tag: its protocol identifier and control information.
    #[must_use]
    pub fn tag(mut self, protocol: u16, control: u16) -> Self {
        self.tags.push((protocol, control));
        self
    }

    /// Claims another ethertype than that of what follows.
    #[must_use]
    pub fn ethertype(mut self, ethertype: u16) -> Self {
        self.ethertype = Some(ethertype);
        self
    }

    /// Goes on with IPv4.
    pub fn ipv4(self, from: impl Into<Ipv4Addr>, to: impl Into<Ipv4Addr>) -> Ipv4 {
        Ipv4::new(self, from.into(), to.into())
    }

    /// Goes on with IPv6.
    pub fn ipv6(self, from: impl Into<Ipv6Addr>, to: impl Into<Ipv6Addr>) -> Ipv6 {
        Ipv6::new(self, from.into(), to.into())
    }

    /// Goes on with something that is not IP.
    #[must_use]
    pub fn raw(self, ethertype: u16, payload: &[u8]) -> Raw {
        Raw::new(Network::None { link: self, ethertype }, 0, payload)
    }

    /// Writes the header; `ethertype` is that of what follows.
    pub(super) fn write(&self, frame: &mut Frame, ethertype: u16) {
        if self.absent {
            return;
        }
        // Every header carries the type of the next one, so the types run one header ahead.
        let mut types = self.tags.iter().map(|(protocol, _)| *protocol);
        let last = self.ethertype.unwrap_or(ethertype);
        let mut header = [self.to, self.from].concat();
        header.extend(types.next().unwrap_or(last).to_be_bytes());
        frame.push_header("ethernet", &header);
        for (_, control) in &self.tags {
            let mut tag = control.to_be_bytes().to_vec();
            tag.extend(types.next().unwrap_or(last).to_be_bytes());
            frame.push_header("vlan", &tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_chain_their_types() {
        let frame = Ethernet::new().service_vlan(7).vlan(9).raw(0x0806, b"arp").build();
        assert_eq!(frame[12..], [0x88, 0xa8, 0, 7, 0x81, 0, 0, 9, 0x08, 0x06, b'a', b'r', b'p']);
    }

    #[test]
    fn without_a_link_layer_the_frame_begins_with_ip() {
        let packet = Ethernet::absent().ipv4([192, 0, 2, 1], [192, 0, 2, 2]).udp(1, 2).build();
        assert_eq!(packet[0], 0x45);
    }
}
