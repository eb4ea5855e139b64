//! Packets that ask the live program for its verdict: a first SYN in somebody's name to a port of a
//! service, as the first of a connection would be.

use std::net::IpAddr;

use weir_common::abi::{Action, Mode};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Bytes of a TCP header without options.
const TCP: usize = 20;

/// What the program answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// What became of the packet.
    pub fate: Fate,
    /// The class that it was counted under, or that limits it; 0 = none.
    pub class: u16,
    /// Whether it would have been refused, had the mode been enforce.
    pub observed: bool,
    /// Whether an allow stands.
    pub allowed: bool,
    /// Whether a limit applies to it.
    pub limited: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fate {
    /// On to the network stack.
    #[default]
    Passed,
    /// Dropped.
    Dropped,
    /// Answered with a reset.
    Rejected,
}

/// What the ledger wants of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// What.
    pub action: Action,
    /// Whether it acts: the verdict's own mode, and everything above it.
    pub mode: Mode,
}

impl Wanted {
    /// Whether an answer is what is wanted.
    #[must_use]
    pub fn is_met_by(self, answer: &Answer) -> bool {
        let passed = answer.fate == Fate::Passed;
        let acts = self.mode == Mode::Enforce;
        match self.action {
            Action::Allow | Action::Mark => passed,
            Action::Limit => passed && answer.limited,
            Action::Reject if acts => answer.fate == Fate::Rejected,
            Action::Drop if acts => answer.fate == Fate::Dropped,
            // With the switch off nothing is looked at.
            Action::Reject | Action::Drop => passed && (answer.observed || self.mode == Mode::Off),
        }
    }
}

/// A first SYN from an address to a port of this host. Checksums are left out: nobody looks at them
/// before the verdict.
#[must_use]
pub fn syn(from: IpAddr, to_port: u16, is_ethernet: bool) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET + 40 + TCP);
    if is_ethernet {
        frame.extend([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
        let kind: u16 = if from.is_ipv4() { 0x0800 } else { 0x86dd };
        frame.extend(kind.to_be_bytes());
    }
    match from {
        IpAddr::V4(from) => {
            // Version and header length, length, do not fragment, TTL 64, TCP; to TEST-NET-1.
            frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
            frame.extend(from.octets());
            frame.extend([192, 0, 2, 1]);
        }
        IpAddr::V6(from) => {
            // Version, payload length, TCP, hop limit 64; to the documentation prefix.
            frame.extend([0x60, 0, 0, 0, 0, TCP as u8, 6, 64]);
            frame.extend(from.octets());
            frame.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        }
    }
    frame.extend(40_000u16.to_be_bytes());
    frame.extend(to_port.to_be_bytes());
    // Sequence number 1, nothing acknowledged, header of five words, SYN, window 65535.
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}

#[cfg(test)]
mod tests {
    use weir_common::packet::{Headers, Heading, Link, parse, slice::SlicePacket};

    use super::*;

    #[test]
    fn a_frame_is_a_first_syn_from_whom_it_says_to_the_port_it_says() {
        for (from, is_ethernet) in
            [("203.0.113.7", true), ("203.0.113.7", false), ("2001:db8::7", true)]
        {
            let from: IpAddr = from.parse().unwrap();
            let frame = syn(from, 8443, is_ethernet);
            let mut headers = Headers::default();
            let link = if is_ethernet { Link::Ethernet } else { Link::None };
            parse(&SlicePacket::new(&frame), link, Heading::Ingress, &mut headers).unwrap();
            assert!(headers.segment.is_first_syn());
            assert_eq!(crate::system::address::ip(&headers.key.remote), from);
            assert_eq!(u16::from_be(headers.key.local_port), 8443);
        }
    }

    #[test]
    fn a_wish_is_met_by_what_it_asks_for_and_nothing_else() {
        let drop = Wanted { action: Action::Drop, mode: Mode::Enforce };
        let dropped = Answer { fate: Fate::Dropped, class: 3, ..Answer::default() };
        let passed = Answer::default();
        assert!(drop.is_met_by(&dropped) && !drop.is_met_by(&passed));
        let observe = Wanted { mode: Mode::Observe, ..drop };
        assert!(observe.is_met_by(&Answer { observed: true, class: 3, ..passed }));
        assert!(!observe.is_met_by(&passed) && !observe.is_met_by(&dropped));
        let allow = Wanted { action: Action::Allow, mode: Mode::Enforce };
        assert!(allow.is_met_by(&passed) && !allow.is_met_by(&dropped));
        let limit = Wanted { action: Action::Limit, mode: Mode::Enforce };
        assert!(limit.is_met_by(&Answer { limited: true, ..passed }) && !limit.is_met_by(&passed));
        let off = Wanted { mode: Mode::Off, ..drop };
        assert!(off.is_met_by(&passed) && !off.is_met_by(&dropped));
    }
}
