//! What the kernel says of a network interface (rtnetlink(7)), and its driver (ethtool).
//!
//! Asked over netlink and ioctl, never read from sysfs: inside a network namespace /sys may still
//! show the interfaces of another.

use std::io;

use nix::sys::socket::SockProtocol;
use serde::{Deserialize, Serialize};

use super::{
    ethtool::{Channels, Ethtool},
    netlink::{DUMP, Netlink, ONE, attributes, push_attribute, text, u16_at, u32_at},
};

/// `struct ifinfomsg`
const IFINFO: usize = 16;

// IFLA_* of include/uapi/linux/if_link.h
const IFNAME: u16 = 3;
const MTU: u16 = 4;
const LINKINFO: u16 = 18;
const NUM_RX_QUEUES: u16 = 32;
const XDP: u16 = 43;
const INFO_KIND: u16 = 1;
const XDP_ATTACHED: u16 = 2;
const XDP_PROG_ID: u16 = 4;

/// An interface could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// There is none of that name.
    #[error(
        "no interface {name:?} in this network namespace; there are: {present}",
        present = present.join(", ")
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        present: Vec<String>,
    },
    /// The kernel refused.
    #[error("cannot ask the kernel about interface {name}: {source}")]
    Netlink {
        /// Which.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// How an XDP program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum XdpAttachment {
    /// In the driver.
    Native,
    /// In the network core, after the packet buffer is made.
    Generic,
    /// In the device.
    Offloaded,
    /// In several of these at once.
    Several,
}

/// An XDP program in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct XdpInPlace {
    /// How.
    pub attachment: XdpAttachment,
    /// The program's id; 0 if several are attached.
    pub program_id: u32,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index in this network namespace.
    pub index: u32,
    /// Whether it is administratively up.
    pub up: bool,
    /// `ARPHRD_*`: 1 is Ethernet, 65534 has no link-layer header.
    pub link_type: u16,
    /// Largest packet, link-layer header not counted.
    pub mtu: u32,
    /// Kind of a virtual interface ("veth", "bond", "wireguard").
    pub kind: Option<String>,
    /// Driver.
    pub driver: Option<String>,
    /// Receive queues that the kernel made.
    pub receive_queues: u32,
    /// Queues in use and available, where the driver says.
    pub channels: Option<Channels>,
    /// Large receive offload, where the driver says.
    pub lro: Option<bool>,
    /// The XDP program in place.
    pub xdp: Option<XdpInPlace>,
}

impl Interface {
    /// Whether frames begin with an Ethernet header.
    #[must_use]
    pub const fn is_ethernet(&self) -> bool {
        self.link_type == libc::ARPHRD_ETHER || self.link_type == libc::ARPHRD_LOOPBACK
    }

    /// Whether packets that come in here may carry a checksum that is only begun: those that this
    /// machine or its host makes, and leaves to a device to complete that there is none of
    /// (`CHECKSUM_PARTIAL`, include/linux/skbuff.h). `native`: the driver itself runs XDP, for which
    /// virtio and Xen devices turn such packets off. What is stacked on these devices (VLANs,
    /// bonds) is not followed.
    #[must_use]
    pub fn may_carry_partial_checksums(&self, native: bool) -> bool {
        if self.link_type == libc::ARPHRD_LOOPBACK {
            return true;
        }
        match (self.kind.as_deref(), self.driver.as_deref()) {
            (
                Some(
                    "veth" | "netkit" | "tun" | "bridge" | "dummy" | "ifb" | "macvlan" | "macvtap"
                    | "ipvlan",
                ),
                _,
            ) => true,
            (None, Some("virtio_net" | "vif")) => !native,
            _ => false,
        }
    }

    /// The interface of this name in this thread's network namespace.
    pub fn named(name: &str) -> Result<Self, InterfaceError> {
        let failed = |source| InterfaceError::Netlink { name: name.into(), source };
        let mut body = vec![0; IFINFO];
        let mut terminated = name.as_bytes().to_vec();
        terminated.push(0);
        push_attribute(&mut body, IFNAME, &terminated);
        let mut found = None;
        let mut netlink = Netlink::open(SockProtocol::NetlinkRoute).map_err(failed)?;
        let asked = netlink.request(libc::RTM_GETLINK, ONE, &body, |kind, payload| {
            if kind == libc::RTM_NEWLINK {
                found = Self::parse(payload);
            }
        });
        match (asked, found) {
            (Ok(()), Some(mut interface)) => {
                interface.ask_driver().map_err(failed)?;
                Ok(interface)
            }
            // ENODEV: no such name. ERANGE and EINVAL: no interface can have such a name.
            (Err(error), _)
                if !matches!(
                    error.raw_os_error(),
                    Some(libc::ENODEV | libc::ERANGE | libc::EINVAL)
                ) =>
            {
                Err(failed(error))
            }
            _ => Err(InterfaceError::Unknown {
                name: name.into(),
                present: Self::all()?.into_iter().map(|interface| interface.name).collect(),
            }),
        }
    }

    /// Every interface of this thread's network namespace.
    pub fn all() -> Result<Vec<Self>, InterfaceError> {
        let failed = |source| InterfaceError::Netlink { name: "(all)".into(), source };
        let mut found = Vec::new();
        let mut netlink = Netlink::open(SockProtocol::NetlinkRoute).map_err(failed)?;
        netlink
            .request(libc::RTM_GETLINK, DUMP, &[0; IFINFO], |kind, payload| {
                if kind == libc::RTM_NEWLINK {
                    found.extend(Self::parse(payload));
                }
            })
            .map_err(failed)?;
        for interface in &mut found {
            interface.ask_driver().map_err(failed)?;
        }
        Ok(found)
    }

    fn parse(payload: &[u8]) -> Option<Self> {
        let mut interface = Self {
            name: String::new(),
            index: u32_at(payload, 4)?,
            up: u32_at(payload, 8)? & libc::IFF_UP as u32 != 0,
            link_type: u16_at(payload, 2)?,
            mtu: 0,
            kind: None,
            driver: None,
            receive_queues: 1,
            channels: None,
            lro: None,
            xdp: None,
        };
        for (kind, value) in attributes(payload.get(IFINFO..)?) {
            match kind {
                IFNAME => interface.name = text(value),
                MTU => interface.mtu = u32_at(value, 0)?,
                NUM_RX_QUEUES => interface.receive_queues = u32_at(value, 0)?,
                LINKINFO => {
                    interface.kind = attributes(value)
                        .find(|(kind, _)| *kind == INFO_KIND)
                        .map(|(_, value)| text(value));
                }
                XDP => interface.xdp = XdpInPlace::parse(value),
                _ => {}
            }
        }
        Some(interface)
    }

    fn ask_driver(&mut self) -> io::Result<()> {
        let ethtool = Ethtool::open()?;
        self.driver = ethtool.driver(&self.name);
        self.lro = ethtool.lro(&self.name);
        self.channels = ethtool.channels(&self.name);
        Ok(())
    }
}

impl XdpInPlace {
    fn parse(nested: &[u8]) -> Option<Self> {
        let mut attachment = None;
        let mut program_id = 0;
        for (kind, value) in attributes(nested) {
            match kind {
                // enum XDP_ATTACHED_*
                XDP_ATTACHED => {
                    attachment = match value.first()? {
                        1 => Some(XdpAttachment::Native),
                        2 => Some(XdpAttachment::Generic),
                        3 => Some(XdpAttachment::Offloaded),
                        4 => Some(XdpAttachment::Several),
                        _ => None,
                    };
                }
                XDP_PROG_ID => program_id = u32_at(value, 0)?,
                _ => {}
            }
        }
        Some(Self { attachment: attachment?, program_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_by_name_and_in_the_list() {
        let loopback = Interface::named("lo").unwrap();
        assert_eq!((loopback.index, loopback.link_type), (1, libc::ARPHRD_LOOPBACK));
        assert!(Interface::all().unwrap().contains(&loopback));
    }

    #[test]
    fn checksums_may_be_begun_only_where_packets_are_made_on_this_machine() {
        let mut interface = Interface::named("lo").unwrap();
        assert!(interface.may_carry_partial_checksums(false));
        interface.link_type = libc::ARPHRD_ETHER;
        let mut may = |kind: Option<&str>, driver: &str, native| {
            (interface.kind, interface.driver) = (kind.map(Into::into), Some(driver.into()));
            interface.may_carry_partial_checksums(native)
        };
        assert!(may(Some("veth"), "veth", true));
        assert!(may(None, "virtio_net", false));
        assert!(!may(None, "virtio_net", true));
        assert!(!may(None, "ixgbe", false));
        assert!(!may(Some("vlan"), "802.1Q VLAN Support", false));
    }

    #[test]
    fn an_unknown_interface_is_answered_with_those_there_are() {
        for name in ["weir-none", "a-name-that-no-interface-can-have"] {
            let error = Interface::named(name).unwrap_err();
            assert!(matches!(error, InterfaceError::Unknown { .. }), "{name}: {error}");
            assert!(error.to_string().contains("there are: lo"), "{error}");
        }
    }

    #[test]
    fn an_xdp_program_is_read_from_its_nested_attributes() {
        let mut nested = Vec::new();
        push_attribute(&mut nested, XDP_ATTACHED, &[1]);
        push_attribute(&mut nested, XDP_PROG_ID, &99u32.to_ne_bytes());
        let expected = XdpInPlace { attachment: XdpAttachment::Native, program_id: 99 };
        assert_eq!(XdpInPlace::parse(&nested), Some(expected));
        let mut none = Vec::new();
        push_attribute(&mut none, XDP_ATTACHED, &[0]);
        assert_eq!(XdpInPlace::parse(&none), None);
    }
}
