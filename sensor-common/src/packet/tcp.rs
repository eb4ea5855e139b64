//! TCP (RFC 9293): one segment's fields. The options of SYNs are read by [`super::syn`].

use super::{Headers, Heading, Packet};
use crate::abi::Reason;

/// IANA protocol number.
pub const TCP: u32 = 6;
/// Bytes of a header without options.
pub const HEADER_LEN: u32 = 20;

/// FIN flag.
pub const FIN: u8 = 0x01;
/// SYN flag.
pub const SYN: u8 = 0x02;
/// RST flag.
pub const RST: u8 = 0x04;
/// PSH flag.
pub const PSH: u8 = 0x08;
/// ACK flag.
pub const ACK: u8 = 0x10;
/// URG flag.
pub const URG: u8 = 0x20;

/// One segment. Numbers are in host byte order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segment {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Payload bytes.
    pub payload: u32,
    /// Segments on the wire that this stands for.
    pub segments: u32,
    /// Window, unscaled.
    pub window: u16,
    /// Low eight flags.
    pub flags: u8,
}

/// Reads the header at `headers.transport_at`.
#[inline(always)]
pub fn read<P: Packet>(packet: &P, heading: Heading, headers: &mut Headers) -> Result<(), Reason> {
    let [ports, seq, ack, control, _] =
        packet.words::<5>(headers.transport_at).ok_or(Reason::PassTruncated)?;
    let control = u32::from_be(control);
    let header_len = control >> 28 << 2;
    let payload_at = headers.transport_at + header_len;
    if header_len < HEADER_LEN || payload_at > headers.end {
        return Err(Reason::PassMalformed);
    }
    let ports = u32::from_be(ports);
    headers.set_ports(heading, ((ports >> 16) as u16).to_be(), (ports as u16).to_be());
    headers.segment = Segment {
        seq: u32::from_be(seq),
        ack: u32::from_be(ack),
        payload: headers.end - payload_at,
        segments: packet.segments(),
        window: control as u16,
        flags: (control >> 16) as u8,
    };
    Ok(())
}

impl Segment {
    /// Whether all of `flags` are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// A connection attempt: SYN without ACK, RST or FIN.
    #[inline(always)]
    #[must_use]
    pub const fn is_first_syn(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// The answer to one.
    #[inline(always)]
    #[must_use]
    pub const fn is_syn_ack(&self) -> bool {
        self.flags & (SYN | ACK | RST | FIN) == SYN | ACK
    }

    /// One past the last sequence number that the segment takes.
    #[inline(always)]
    #[must_use]
    pub const fn next_seq(&self) -> u32 {
        let flags = self.has(SYN) as u32 + self.has(FIN) as u32;
        self.seq.wrapping_add(self.payload).wrapping_add(flags)
    }
}
