//! Captures of anyone's making: classic pcap and pcapng, as far as they hold Ethernet or bare IP.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};
use weir_common::packet::Link;

const SECOND_NS: u64 = 1_000_000_000;

/// A capture file's packets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frames {
    /// Packets with the time of capture, ns, in the order of the file.
    pub frames: Vec<(u64, Vec<u8>)>,
    /// What stands before the IP header; `None` for link types that Weir does not attach to.
    pub link: Option<Link>,
}

/// Reads at most `limit` packets, all of the link type of the first interface.
pub fn read_frames(path: &Path, limit: usize) -> Result<Frames> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let frames = match bytes.first_chunk().map(|magic| u32::from_le_bytes(*magic)) {
        Some(0x0a0d_0d0a) => pcapng(&bytes, limit),
        Some(0xa1b2_c3d4) => pcap(&bytes, Order::Little, 1000, limit),
        Some(0xa1b2_3c4d) => pcap(&bytes, Order::Little, 1, limit),
        Some(0xd4c3_b2a1) => pcap(&bytes, Order::Big, 1000, limit),
        Some(0x4d3c_b2a1) => pcap(&bytes, Order::Big, 1, limit),
        _ => bail!("{} is neither pcap nor pcapng", path.display()),
    };
    frames.with_context(|| format!("{} ends inside its header", path.display()))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }
}

/// What a link type (<https://www.tcpdump.org/linktypes.html>) puts before the IP header.
const fn link_of(number: u32) -> Option<Link> {
    match number & 0xffff {
        1 => Some(Link::Ethernet),
        12 | 14 | 101 | 228 | 229 => Some(Link::None),
        _ => None,
    }
}

fn pcap(bytes: &[u8], order: Order, unit_ns: u64, limit: usize) -> Option<Frames> {
    let link = link_of(order.u32(bytes, 20)?);
    let mut rest = bytes.get(24..)?;
    let mut frames = Vec::new();
    while frames.len() < limit
        && let Some((at_ns, length)) = pcap_record(rest, order, unit_ns)
        && let Some(frame) = rest.get(16..16 + length)
    {
        frames.push((at_ns, frame.to_vec()));
        rest = rest.get(16 + length..).unwrap_or_default();
    }
    Some(Frames { frames, link })
}

/// A record's time and captured length.
fn pcap_record(record: &[u8], order: Order, unit_ns: u64) -> Option<(u64, usize)> {
    let seconds = u64::from(order.u32(record, 0)?);
    let rest = u64::from(order.u32(record, 4)?);
    Some((seconds * SECOND_NS + rest * unit_ns, order.u32(record, 8)? as usize))
}

/// An interface of a pcapng section.
#[derive(Clone, Copy)]
struct Interface {
    link: Option<Link>,
    ticks_per_s: u64,
}

fn pcapng(bytes: &[u8], limit: usize) -> Option<Frames> {
    let mut found = Frames::default();
    let mut order = Order::Little;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut rest = bytes;
    while found.frames.len() < limit && rest.len() >= 12 {
        let is_section = order.u32(rest, 0) == Some(0x0a0d_0d0a);
        if is_section {
            let big = Order::Big.u32(rest, 8)? == 0x1a2b_3c4d;
            order = if big { Order::Big } else { Order::Little };
            interfaces.clear();
        }
        let length = order.u32(rest, 4)? as usize;
        let Some(block) = rest.get(..length).filter(|_| length >= 12) else { break };
        match order.u32(block, 0)? {
            // Interface description.
            1 => interfaces.push(Interface {
                link: link_of(u32::from(order.u16(block, 8)?)),
                ticks_per_s: ticks_per_s(block.get(16..length - 4)?, order),
            }),
            // Enhanced packet.
            6 => {
                let number = order.u32(block, 8)? as usize;
                let captured = order.u32(block, 20)? as usize;
                let ticks =
                    u64::from(order.u32(block, 12)?) << 32 | u64::from(order.u32(block, 16)?);
                if let (Some(interface), Some(frame)) =
                    (interfaces.get(number), block.get(28..28 + captured))
                {
                    keep(&mut found, interface, ticks, frame);
                }
            }
            _ => {}
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Some(found)
}

fn keep(found: &mut Frames, interface: &Interface, ticks: u64, frame: &[u8]) {
    if found.frames.is_empty() {
        found.link = interface.link;
    }
    if found.link == interface.link {
        let ns = u128::from(ticks) * u128::from(SECOND_NS) / u128::from(interface.ticks_per_s);
        found.frames.push((ns as u64, frame.to_vec()));
    }
}

/// The clock's rate: option 9 of an interface, a power of ten, or of two with the high bit;
/// without it microseconds.
fn ticks_per_s(options: &[u8], order: Order) -> u64 {
    let mut rest = options;
    while let (Some(code), Some(length)) = (order.u16(rest, 0), order.u16(rest, 2)) {
        if code == 9 && length == 1 {
            let exponent = rest.get(4).copied().unwrap_or(6);
            let base: u64 = if exponent & 0x80 == 0 { 10 } else { 2 };
            return base.checked_pow(u32::from(exponent & 0x7f)).unwrap_or(1_000_000);
        }
        let next = 4 + usize::from(length).next_multiple_of(4);
        rest = rest.get(next..).unwrap_or_default();
    }
    1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pcapng block.
    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let length = (12 + body.len()) as u32;
        let mut block = kind.to_le_bytes().to_vec();
        block.extend(length.to_le_bytes());
        block.extend(body);
        block.extend(length.to_le_bytes());
        block
    }

    fn read(bytes: &[u8]) -> Frames {
        pcapng(bytes, 10).unwrap()
    }

    #[test]
    fn pcapng_packets_have_the_time_of_their_interface() {
        let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        section.extend([0xff; 8]);
        // Ethernet, snapshot length, resolution 10^-9, end of options.
        let interface = [1, 0, 0, 0, 0, 0, 4, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        let mut packet = vec![0; 4];
        packet.extend(1u32.to_le_bytes());
        packet.extend(7u32.to_le_bytes());
        packet.extend(4u32.to_le_bytes());
        packet.extend(4u32.to_le_bytes());
        packet.extend([0xaa; 4]);
        let file = [block(0x0a0d_0d0a, &section), block(1, &interface), block(6, &packet)].concat();
        let found = read(&file);
        assert_eq!(found.link, Some(Link::Ethernet));
        assert_eq!(found.frames, [((1 << 32) + 7, vec![0xaa; 4])]);
    }

    #[test]
    fn a_file_cut_inside_a_packet_gives_what_is_whole() {
        let mut file = 0xa1b2_c3d4_u32.to_le_bytes().to_vec();
        file.extend([0; 16]);
        file.extend(101u32.to_le_bytes());
        for length in [3u32, 9] {
            file.extend(1u32.to_le_bytes());
            file.extend(2u32.to_le_bytes());
            file.extend(length.to_le_bytes());
            file.extend(length.to_le_bytes());
            file.extend([0x45; 3]);
        }
        let found = pcap(&file, Order::Little, 1000, 10).unwrap();
        assert_eq!(found.frames, [(SECOND_NS + 2000, vec![0x45; 3])]);
        assert_eq!(found.link, Some(Link::None));
    }
}
