//! From a frame to its IP packet: link types (<https://www.tcpdump.org/linktypes.html>), and the
//! tags and tunnels of the link layer.

/// What a frame begins with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LinkType {
    /// Ethernet.
    Ethernet,
    /// An IP packet: tunnels, WireGuard, tun.
    Ip,
    /// The address family, in four bytes: BSD's loopback.
    Family,
    /// PPP.
    Ppp,
    /// Linux "cooked" capture, version 1.
    Cooked,
    /// Linux "cooked" capture, version 2.
    Cooked2,
    /// One that is not read.
    Other(u16),
}

impl LinkType {
    /// By its `LINKTYPE_` number.
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        match number {
            0 | 108 => Self::Family,
            1 => Self::Ethernet,
            9 | 50 => Self::Ppp,
            // 12 and 14 are what BSDs wrote for 101.
            12 | 14 | 101 | 228 | 229 => Self::Ip,
            113 => Self::Cooked,
            276 => Self::Cooked2,
            other => Self::Other(other),
        }
    }
}

/// Why a frame gives no IP packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NotIp {
    /// It carries something else.
    Other,
    /// It ends before its IP packet begins.
    Cut,
    /// It has more tags and labels than are followed.
    TooDeep,
    /// Its link type is not read.
    LinkType,
}

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// 802.1Q, 802.1ad, and the two that were used for the outer tag before.
const TAGS: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
const MPLS: u16 = 0x8847;
const MPLS_MULTICAST: u16 = 0x8848;
const PPPOE_SESSION: u16 = 0x8864;
/// Address and control before the protocol (RFC 1662, section 3.1).
const PPP_HDLC: [u8; 2] = [0xff, 3];
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;
/// Largest value that is a length and no EtherType (IEEE 802.3, clause 3.2.6).
const MAX_LENGTH: u16 = 1500;
/// LLC with a SNAP header for an EtherType (RFC 1042).
const SNAP: [u8; 6] = [0xaa, 0xaa, 3, 0, 0, 0];

const MAX_TAGS: u32 = 4;
const MAX_LABELS: u32 = 8;

/// The IP packet in a frame, and what follows it.
pub(crate) fn ip_packet(link: LinkType, frame: &[u8]) -> Result<&[u8], NotIp> {
    let at = match link {
        LinkType::Ethernet => behind_ethertype(frame, 12)?,
        LinkType::Ip => by_version(frame, 0)?,
        LinkType::Family => by_version(frame, 4)?,
        LinkType::Ppp => behind_ppp(frame, if frame.starts_with(&PPP_HDLC) { 2 } else { 0 })?,
        LinkType::Cooked => behind_ethertype(frame, 14)?,
        // The protocol comes first; what it announces begins behind the 20 bytes of the header.
        LinkType::Cooked2 => follow(frame, half(frame, 0)?, 20)?,
        LinkType::Other(_) => return Err(NotIp::LinkType),
    };
    frame.get(at..).ok_or(NotIp::Cut)
}

/// Where the IP packet begins, given where the EtherType is.
fn behind_ethertype(frame: &[u8], at: usize) -> Result<usize, NotIp> {
    follow(frame, half(frame, at)?, at + 2)
}

/// Where the IP packet begins in what an EtherType announces at `at`.
fn follow(frame: &[u8], ethertype: u16, at: usize) -> Result<usize, NotIp> {
    let (mut ethertype, mut at) = (ethertype, at);
    let mut tags = 0;
    loop {
        match ethertype {
            IPV4 | IPV6 => return Ok(at),
            MPLS | MPLS_MULTICAST => return behind_labels(frame, at),
            // Version, type, code, session, length, then PPP's protocol (RFC 2516, section 4).
            PPPOE_SESSION => return behind_ppp(frame, at + 6),
            tag if TAGS.contains(&tag) => {
                tags += 1;
                if tags > MAX_TAGS {
                    return Err(NotIp::TooDeep);
                }
                ethertype = half(frame, at + 2)?;
                at += 4;
            }
            length if length <= MAX_LENGTH && frame.get(at..at + 6) == Some(&SNAP) => {
                ethertype = half(frame, at + 6)?;
                at += 8;
                if ethertype <= MAX_LENGTH {
                    return Err(NotIp::Other);
                }
            }
            _ => return Err(NotIp::Other),
        }
    }
}

/// Where the IP packet begins behind PPP's protocol at `at`.
fn behind_ppp(frame: &[u8], at: usize) -> Result<usize, NotIp> {
    match half(frame, at)? {
        PPP_IPV4 | PPP_IPV6 => Ok(at + 2),
        _ => Err(NotIp::Other),
    }
}

/// Behind MPLS labels, the last of which has a bit set (RFC 3032, section 2.1), nothing says what
/// follows; IP packets tell by their version.
fn behind_labels(frame: &[u8], at: usize) -> Result<usize, NotIp> {
    let mut at = at;
    for _ in 0..MAX_LABELS {
        let is_last = frame.get(at + 2).ok_or(NotIp::Cut)? & 1 == 1;
        at += 4;
        if is_last {
            return by_version(frame, at);
        }
    }
    Err(NotIp::TooDeep)
}

fn by_version(frame: &[u8], at: usize) -> Result<usize, NotIp> {
    match frame.get(at).ok_or(NotIp::Cut)? >> 4 {
        4 | 6 => Ok(at),
        _ => Err(NotIp::Other),
    }
}

fn half(frame: &[u8], at: usize) -> Result<u16, NotIp> {
    let bytes = frame.get(at..).and_then(<[u8]>::first_chunk).ok_or(NotIp::Cut)?;
    Ok(u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with these halves before an "IP packet", and what becomes of it.
    fn read(link: u16, head: &[u16], packet: &[u8]) -> Result<Vec<u8>, NotIp> {
        let mut frame: Vec<u8> = head.iter().flat_map(|half| half.to_be_bytes()).collect();
        frame.extend(packet);
        ip_packet(LinkType::from_number(link), &frame).map(<[u8]>::to_vec)
    }

    const MACS: [u16; 6] = [0; 6];

    fn ethernet(rest: &[u16]) -> Result<Vec<u8>, NotIp> {
        read(1, &[&MACS, rest].concat(), b"E...")
    }

    #[test]
    fn every_link_type_leads_to_the_packet() {
        let found = Ok(b"E...".to_vec());
        for raw in [12, 14, 101, 228, 229] {
            assert_eq!(read(raw, &[], b"E..."), found);
        }
        assert_eq!(read(0, &[0x0200, 0], b"E..."), found);
        assert_eq!(read(108, &[0, 2], b"E..."), found);
        assert_eq!(read(9, &[0x0021], b"E..."), found);
        assert_eq!(read(50, &[0xff03, 0x0057], b"E..."), found);
        assert_eq!(read(113, &[0, 1, 6, 0, 0, 0, 0, 0x0800], b"E..."), found);
        assert_eq!(read(113, &[0, 1, 6, 0, 0, 0, 0, 0x8100, 7, 0x0800], b"E..."), found);
        assert_eq!(read(276, &[0x0800, 0, 0, 0, 0, 0, 0, 0, 0, 0], b"E..."), found);
        assert_eq!(read(105, &[], b"E..."), Err(NotIp::LinkType));
        assert_eq!(read(101, &[], b"\x50"), Err(NotIp::Other));
    }

    #[test]
    fn tags_labels_and_sessions_are_passed() {
        let found = Ok(b"E...".to_vec());
        assert_eq!(ethernet(&[0x86dd]), found);
        assert_eq!(ethernet(&[0x88a8, 1, 0x9100, 2, 0x8100, 3, 0x8100, 4, 0x0800]), found);
        assert_eq!(ethernet(&[0x8100, 1, 0x8847, 0, 0, 0, 0x0140, 0x4500]).map(|_| ()), Ok(()));
        assert_eq!(ethernet(&[0x88a8, 1, 0x8100, 2, 0x8864, 0x1100, 5, 6, 0x0021]), found);
        assert_eq!(ethernet(&[12, 0xaaaa, 0x0300, 0, 0x0800]), found);
    }

    #[test]
    fn anything_else_has_its_reason() {
        let five = [0x8100, 0].repeat(5);
        assert_eq!(ethernet(&[&five[..], &[0x0800]].concat()), Err(NotIp::TooDeep));
        assert_eq!(ethernet(&[&[0x8847][..], &[0; 18]].concat()), Err(NotIp::TooDeep));
        assert_eq!(ethernet(&[0x0806]), Err(NotIp::Other));
        assert_eq!(ethernet(&[0x8864, 0x1100, 5, 6, 0xc021]), Err(NotIp::Other));
        assert_eq!(ethernet(&[38, 0x4242, 0x0300]), Err(NotIp::Other));
        assert_eq!(read(1, &MACS[..3], b""), Err(NotIp::Cut));
        assert_eq!(read(1, &[&MACS[..], &[0x8100]].concat(), b""), Err(NotIp::Cut));
    }
}
