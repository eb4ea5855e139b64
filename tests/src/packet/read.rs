//! Reads what came back: enough of Ethernet, IP and TCP to recognise an answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::TcpFlags;

/// An IP packet, as far as tests look at it. Fragments after the first and extension headers are
/// not followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// Sender.
    pub from: IpAddr,
    /// Receiver.
    pub to: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Its TCP header and data, if it has one.
    pub tcp: Option<ReadTcp>,
}

/// A TCP segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadTcp {
    /// Sender.
    pub from: SocketAddr,
    /// Receiver.
    pub to: SocketAddr,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Receive window, unscaled.
    pub window: u16,
    /// Data.
    pub payload: Vec<u8>,
}

impl ReadTcp {
    /// Whether exactly these flags are set, PSH and ECN aside.
    #[must_use]
    pub fn is(&self, flags: TcpFlags) -> bool {
        const SIGNIFICANT: u8 =
            TcpFlags::SYN.0 | TcpFlags::ACK.0 | TcpFlags::FIN.0 | TcpFlags::RST.0;
        self.flags.0 & SIGNIFICANT == flags.0
    }
}

/// Reads an Ethernet frame with VLAN tags or none; `None` if it is not IP or ends too early.
#[must_use]
pub fn read(frame: &[u8]) -> Option<Read> {
    let mut rest = frame.get(12..)?;
    loop {
        let ethertype = u16_at(rest, 0)?;
        rest = rest.get(2..)?;
        match ethertype {
            0x8100 | 0x88a8 => rest = rest.get(2..)?,
            0x0800 => return read_v4(rest),
            0x86dd => return read_v6(rest),
            _ => return None,
        }
    }
}

fn read_v4(packet: &[u8]) -> Option<Read> {
    let header = usize::from(packet.first()? & 0xf) * 4;
    let total = usize::from(u16_at(packet, 2)?);
    let from = Ipv4Addr::from(array_at::<4>(packet, 12)?).into();
    let to = Ipv4Addr::from(array_at::<4>(packet, 16)?).into();
    let protocol = *packet.get(9)?;
    let first = u16_at(packet, 6)? & 0x1fff == 0;
    let payload = packet.get(header..total.clamp(header, packet.len()))?;
    let tcp = if protocol == 6 && first { read_tcp(from, to, payload) } else { None };
    Some(Read { from, to, protocol, tcp })
}

fn read_v6(packet: &[u8]) -> Option<Read> {
    let length = usize::from(u16_at(packet, 4)?);
    let protocol = *packet.get(6)?;
    let from = Ipv6Addr::from(array_at::<16>(packet, 8)?).into();
    let to = Ipv6Addr::from(array_at::<16>(packet, 24)?).into();
    let payload = packet.get(40..(40 + length).min(packet.len()))?;
    let tcp = if protocol == 6 { read_tcp(from, to, payload) } else { None };
    Some(Read { from, to, protocol, tcp })
}

fn read_tcp(from: IpAddr, to: IpAddr, segment: &[u8]) -> Option<ReadTcp> {
    let header = usize::from(segment.get(12)? >> 4) * 4;
    Some(ReadTcp {
        from: SocketAddr::new(from, u16_at(segment, 0)?),
        to: SocketAddr::new(to, u16_at(segment, 2)?),
        seq: u32::from_be_bytes(array_at(segment, 4)?),
        ack: u32::from_be_bytes(array_at(segment, 8)?),
        flags: TcpFlags(*segment.get(13)?),
        window: u16_at(segment, 14)?,
        payload: segment.get(header..)?.to_vec(),
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_be_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Ethernet, tcp};

    #[test]
    fn what_was_built_is_read_back() {
        for (from, to) in [
            ("203.0.113.7:40000", "198.51.100.10:443"),
            ("[2001:db8:113::7]:40000", "[2001:db8:51::10]:443"),
        ] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let frame = tcp(from, to).syn().ack(9).seq(8).linux_options().payload(b"hi").build();
            let segment = read(&frame).unwrap().tcp.unwrap();
            assert_eq!((segment.from, segment.to, segment.seq, segment.ack), (from, to, 8, 9));
            assert!(segment.is(TcpFlags::SYN.union(TcpFlags::ACK)));
            assert_eq!(segment.payload, b"hi");
        }
    }

    #[test]
    fn tags_are_skipped_and_other_types_refused() {
        let link = Ethernet::new().service_vlan(1).vlan(2);
        assert!(read(&link.clone().ipv4([1, 2, 3, 4], [5, 6, 7, 8]).udp(1, 2).build()).is_some());
        assert!(read(&link.raw(0x0806, &[0; 28]).build()).is_none());
    }
}
