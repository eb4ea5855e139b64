//! TCP (RFC 9293), with options, data and every field that can lie.

use super::{Frame, Network};

const PROTOCOL: u8 = 6;
const CHECKSUM_AT: usize = 16;

/// The flag bits of a TCP header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// ECN echo.
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced.
    pub const CWR: Self = Self(0x80);

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A TCP option.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TcpOption {
    /// End of options.
    End,
    /// No operation.
    Nop,
    /// Maximum segment size.
    MaxSegment(u16),
    /// Window scale (RFC 7323).
    WindowScale(u8),
    /// Selective acknowledgements permitted.
    SackPermitted,
    /// Timestamps (RFC 7323): value and echo.
    Timestamps(u32, u32),
    /// Fast Open (RFC 7413): a cookie, or none to ask for one.
    FastOpen(Vec<u8>),
    /// Any bytes.
    Raw(Vec<u8>),
}

impl TcpOption {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::End => out.push(0),
            Self::Nop => out.push(1),
            Self::MaxSegment(size) => {
                out.extend([2, 4]);
                out.extend(size.to_be_bytes());
            }
            Self::WindowScale(shift) => out.extend([3, 3, *shift]),
            Self::SackPermitted => out.extend([4, 2]),
            Self::Timestamps(value, echo) => {
                out.extend([8, 10]);
                out.extend(value.to_be_bytes());
                out.extend(echo.to_be_bytes());
            }
            Self::FastOpen(cookie) => {
                out.extend([34, (2 + cookie.len()) as u8]);
                out.extend_from_slice(cookie);
            }
            Self::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }
}

/// A TCP segment. Without a flag method it carries none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tcp {
    network: Network,
    from: u16,
    to: u16,
    seq: u32,
    ack: u32,
    flags: TcpFlags,
    window: u16,
    urgent: u16,
    options: Vec<u8>,
    payload: Vec<u8>,
    header_words: Option<u8>,
    spoil_checksum: bool,
}

impl Tcp {
    pub(super) fn new(network: Network, from: u16, to: u16) -> Self {
        Self {
            network,
            from,
            to,
            seq: 0,
            ack: 0,
            flags: TcpFlags::default(),
            window: 64_240,
            urgent: 0,
            options: Vec::new(),
            payload: Vec::new(),
            header_words: None,
            spoil_checksum: false,
        }
    }

    /// Sets SYN.
    #[must_use]
    pub fn syn(self) -> Self {
        self.flags(TcpFlags::SYN)
    }

    /// Sets ACK and the acknowledgement number.
    #[must_use]
    pub fn ack(mut self, number: u32) -> Self {
        self.ack = number;
        self.flags(TcpFlags::ACK)
    }

    /// Sets FIN.
    #[must_use]
    pub fn fin(self) -> Self {
        self.flags(TcpFlags::FIN)
    }

    /// Sets RST.
    #[must_use]
    pub fn rst(self) -> Self {
        self.flags(TcpFlags::RST)
    }

    /// Sets PSH.
    #[must_use]
    pub fn psh(self) -> Self {
        self.flags(TcpFlags::PSH)
    }

    /// Sets flags in addition to those so far.
    #[must_use]
    pub fn flags(mut self, flags: TcpFlags) -> Self {
        self.flags = self.flags.union(flags);
        self
    }

    /// Sets the sequence number.
    #[must_use]
    pub fn seq(mut self, number: u32) -> Self {
        self.seq = number;
        self
    }

    /// Sets the receive window.
    #[must_use]
    pub fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    /// Sets the urgent pointer.
    #[must_use]
    pub fn urgent(mut self, pointer: u16) -> Self {
        self.urgent = pointer;
        self
    }

    /// Adds an option after those so far. Options are padded to whole words at the end; at most
    /// 40 bytes fit.
    #[must_use]
    pub fn option(mut self, option: TcpOption) -> Self {
        option.write(&mut self.options);
        self
    }

    /// Adds the options that a Linux client sends with its SYN.
    #[must_use]
    pub fn linux_options(self) -> Self {
        self.option(TcpOption::MaxSegment(1460))
            .option(TcpOption::SackPermitted)
            .option(TcpOption::Timestamps(1, 0))
            .option(TcpOption::Nop)
            .option(TcpOption::WindowScale(7))
    }

    /// Sets the payload.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// Claims another header length, in 32-bit words.
    #[must_use]
    pub fn header_words(mut self, words: u8) -> Self {
        self.header_words = Some(words);
        self
    }

    /// Makes the checksum wrong.
    #[must_use]
    pub fn bad_checksum(mut self) -> Self {
        self.spoil_checksum = true;
        self
    }

    /// The packet with the places of its headers.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let length = 20 + options.len();
        let words = self.header_words.unwrap_or((length / 4) as u8);
        let mut segment = self.from.to_be_bytes().to_vec();
        segment.extend(self.to.to_be_bytes());
        segment.extend(self.seq.to_be_bytes());
        segment.extend(self.ack.to_be_bytes());
        segment.extend([words << 4, self.flags.0]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0, 0]);
        segment.extend(self.urgent.to_be_bytes());
        segment.extend(options);
        segment.extend_from_slice(&self.payload);
        self.network.seal(&mut segment, CHECKSUM_AT, PROTOCOL, self.spoil_checksum);
        self.network.enclose(PROTOCOL, Some("tcp"), length, &segment)
    }

    /// The packet's bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        self.frame().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Ethernet, checksum, ipv6, pseudo_header_sum};

    #[test]
    fn the_checksum_covers_pseudo_header_options_and_data() {
        let packet = Ethernet::absent()
            .ipv4([203, 0, 113, 7], [198, 51, 100, 10])
            .tcp(40_000, 443)
            .syn()
            .linux_options()
            .payload(b"odd")
            .build();
        let segment = &packet[20..];
        assert_eq!(segment.len(), 20 + 20 + 3);
        let sum = pseudo_header_sum(
            [203, 0, 113, 7].into(),
            [198, 51, 100, 10].into(),
            PROTOCOL,
            segment.len(),
        );
        assert_eq!(checksum(sum, segment), 0);
    }

    #[test]
    fn a_spoilt_checksum_is_wrong() {
        let good = ipv6([0; 8], [1; 8]).tcp(1, 2).syn();
        assert_ne!(good.build(), good.clone().bad_checksum().build());
    }

    #[test]
    fn flags_and_numbers_stand_where_the_rfc_puts_them() {
        let packet = Ethernet::absent()
            .ipv4([192, 0, 2, 1], [192, 0, 2, 2])
            .tcp(0x1234, 0x5678)
            .seq(0x0102_0304)
            .ack(0x0506_0708)
            .fin()
            .psh()
            .window(0x090a)
            .build();
        let header = [0x12, 0x34, 0x56, 0x78, 1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x19, 9, 0x0a];
        assert_eq!(packet[20..36], header);
    }
}
