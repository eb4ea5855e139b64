//! What a SYN looks like, in one walk over its options: the signature that p0f would print, the
//! client's timestamp, and whether the server may take it for a Fast Open.
//!
//! The walk follows p0f's rules (version 3.09b), which differ from a receiver's in one point: an
//! option of known length that states another one is passed over by the known length. Behind such
//! an option a receiver may read something else than the walk did, so whatever does not hold
//! together counts as a Fast Open that the walk did not see.

use super::{Family, Headers, Packet, ipv4, ipv6, tcp};
use crate::abi::{
    SynSignature,
    syn::{
        MAX_SYN_OPTIONS, QUIRK_ACK_NUMBER, QUIRK_BAD_OPTIONS, QUIRK_DF, QUIRK_ECN,
        QUIRK_EXCESSIVE_SCALE, QUIRK_FLOW_LABEL, QUIRK_ID_WITH_DF, QUIRK_NO_ID,
        QUIRK_PEER_TIMESTAMP, QUIRK_PSH, QUIRK_RESERVED, QUIRK_TRAILING, QUIRK_URG,
        QUIRK_URGENT_POINTER, QUIRK_ZERO_ACK, QUIRK_ZERO_SEQ, QUIRK_ZERO_TIMESTAMP,
    },
};

/// Option kinds (IANA registry), as far as the walk looks into them.
pub mod option {
    /// End of option list (RFC 9293)
    pub const END: u8 = 0;
    /// No-operation (RFC 9293)
    pub const NOP: u8 = 1;
    /// Maximum segment size (RFC 9293)
    pub const MSS: u8 = 2;
    /// Window scale (RFC 7323)
    pub const WINDOW_SCALE: u8 = 3;
    /// SACK permitted (RFC 2018)
    pub const SACK_PERMITTED: u8 = 4;
    /// SACK (RFC 2018)
    pub const SACK: u8 = 5;
    /// Timestamps (RFC 7323)
    pub const TIMESTAMPS: u8 = 8;
    /// TCP Fast Open (RFC 7413)
    pub const FAST_OPEN: u8 = 34;
    /// Shared experimental option (RFC 6994), which early Fast Open used with a magic number
    pub const EXPERIMENT: u8 = 254;
}

const FAST_OPEN_MAGIC: u16 = 0xf989_u16.to_be();
/// Largest shift that a receiver may use (RFC 7323, section 2.3).
const MAX_WINDOW_SHIFT: u8 = 14;
/// Bytes of options at most: the header's length has four bits.
pub const MAX_OPTIONS_LEN: u32 = 40;

/// Explicit congestion in the IPv4 type of service, as in the IPv6 traffic class (RFC 3168).
const IP_ECN: u32 = 0x03;
/// NS (RFC 3540), CWR and ECE in a TCP header's fourth word.
const TCP_ECN: u32 = 0x01c0 << 16;

/// The server may take it for a Fast Open.
const OFFERS_FAST_OPEN: u32 = 1 << 0;
/// It has timestamps.
const HAS_TIMESTAMPS: u32 = 1 << 1;

/// The rest is padding.
const IN_PADDING: u32 = 1 << 2;

/// Steps that a walk takes at most.
pub const MAX_STEPS: u32 = MAX_SYN_OPTIONS as u32 + MAX_OPTIONS_LEN;

/// A SYN or SYN-ACK as the walk shows it: [`Syn::begin`], [`Syn::step`] as long as it says `true`,
/// [`Syn::finish`]. It lies in memory to work in, so that the kernel can take the steps in a
/// `bpf_loop`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Syn {
    /// The signature; unknown where it could not be read.
    pub signature: SynSignature,
    /// The sender's timestamp; 0 = none.
    pub ts_value: u32,
    flags: u32,
    // Where the walk is, and where the options end.
    at: u32,
    end: u32,
    /// The signature's exact key and its generic one, where they were asked for.
    pub keys: [u64; 2],
}

impl Syn {
    /// Nothing was read.
    #[inline(always)]
    pub const fn forget(&mut self) {
        self.signature.version = 0;
    }

    /// Whether the server may take it for a Fast Open: it carries that option, with or without a
    /// cookie, or something that could hide it.
    #[inline(always)]
    #[must_use]
    pub const fn offers_fast_open(&self) -> bool {
        self.flags & OFFERS_FAST_OPEN != 0
    }

    /// Whether it has timestamps.
    #[inline(always)]
    #[must_use]
    pub const fn has_timestamps(&self) -> bool {
        self.flags & HAS_TIMESTAMPS != 0
    }

    /// The shift that its sender's windows are to be read with.
    #[inline(always)]
    #[must_use]
    pub const fn window_shift(&self) -> u8 {
        let scale = self.signature.scale;
        if scale > MAX_WINDOW_SHIFT { MAX_WINDOW_SHIFT } else { scale }
    }

    /// Reads the headers. `false`: they are not where they can be read, and there is nothing to
    /// walk over.
    #[inline(always)]
    pub fn begin<P: Packet>(&mut self, packet: &P, headers: &Headers) -> bool {
        self.signature = SynSignature::UNKNOWN;
        self.ts_value = 0;
        // Until it is read.
        self.flags = OFFERS_FAST_OPEN;
        let Some(version) = network(packet, headers, self) else { return false };
        if transport(anew(packet), headers, self).is_none() {
            return false;
        }
        self.flags = 0;
        self.signature.version = version;
        true
    }

    /// Reads one option, or one byte of the padding.
    #[inline(always)]
    pub fn step<P: Packet>(&mut self, packet: &P) -> bool {
        let at = self.at;
        if at >= self.end {
            return false;
        }
        let Some(byte) = packet.byte(at) else {
            return self.bad();
        };
        if self.flags & IN_PADDING == 0 {
            return self.option(anew(packet), byte);
        }
        if byte != 0 {
            self.quirk(QUIRK_TRAILING);
            return false;
        }
        self.at = at + 1;
        true
    }

    /// Ends the walk.
    #[inline(always)]
    pub const fn finish(&mut self) {
        // There are more options than p0f looks at.
        if self.at < self.end && self.flags & IN_PADDING == 0 {
            self.quirk(QUIRK_BAD_OPTIONS);
        }
        if self.signature.quirks & QUIRK_BAD_OPTIONS != 0 {
            self.flags |= OFFERS_FAST_OPEN;
        }
    }

    #[inline(always)]
    fn option<P: Packet>(&mut self, packet: &P, kind: u8) -> bool {
        let (at, end) = (self.at, self.end);
        let Some(place) = self.signature.layout.get_mut(usize::from(self.signature.options)) else {
            return false;
        };
        *place = kind;
        self.signature.options += 1;
        match kind {
            option::NOP => {
                self.at = at + 1;
                return true;
            }
            option::END => {
                self.at = at + 1;
                self.signature.padding = (end - at - 1) as u8;
                self.flags |= IN_PADDING;
                return true;
            }
            _ => {}
        }
        let Some(stated) = packet.byte(at + 1).filter(|_| at + 1 < end) else {
            return self.bad();
        };
        let (stated, known) = (u32::from(stated), known_len(kind));
        let length = if known != 0 { known } else { stated };
        let (shortest, longest) =
            if kind == option::SACK { (10, 34) } else { (2, MAX_OPTIONS_LEN) };
        if length < shortest || length > longest || at + length > end {
            return self.bad();
        }
        self.quirk(set(QUIRK_BAD_OPTIONS, length != stated));
        if self.content(anew(packet), kind, at + 2).is_none() {
            return self.bad();
        }
        self.at = at + length;
        true
    }

    /// Takes out what an option says at `at`.
    #[inline(always)]
    fn content<P: Packet>(&mut self, packet: &P, kind: u8, at: u32) -> Option<()> {
        match kind {
            option::MSS => self.signature.mss = u16::from_be(packet.half(at)?),
            option::WINDOW_SCALE => {
                let scale = packet.byte(at)?;
                self.signature.scale = scale;
                self.quirk(set(QUIRK_EXCESSIVE_SCALE, scale > MAX_WINDOW_SHIFT));
            }
            option::TIMESTAMPS => {
                let [own, peers] = packet.words::<2>(at)?;
                self.ts_value = u32::from_be(own);
                self.flags |= HAS_TIMESTAMPS;
                self.quirk(set(QUIRK_ZERO_TIMESTAMP, own == 0));
                self.quirk(set(QUIRK_PEER_TIMESTAMP, peers != 0));
            }
            option::FAST_OPEN => self.flags |= OFFERS_FAST_OPEN,
            option::EXPERIMENT => {
                // Behind an empty one stands another option; it is not worth telling apart.
                let is_fast_open = packet.half(at) == Some(FAST_OPEN_MAGIC);
                self.flags |= set(OFFERS_FAST_OPEN, is_fast_open);
            }
            _ => {}
        }
        Some(())
    }

    /// What follows cannot be told apart.
    #[inline(always)]
    const fn bad(&mut self) -> bool {
        self.quirk(QUIRK_BAD_OPTIONS);
        false
    }

    #[inline(always)]
    const fn quirk(&mut self, bits: u32) {
        self.signature.quirks |= bits;
    }
}

/// The packet, as if it had not been read from: what the compiler keeps of its bounds between two
/// reads is no pointer to the verifier.
#[inline(always)]
fn anew<P>(packet: &P) -> &P {
    core::hint::black_box(packet)
}

/// What the IP header says. Returns the version.
#[inline(always)]
fn network<P: Packet>(packet: &P, headers: &Headers, syn: &mut Syn) -> Option<u8> {
    let (version, header_len, quirks) = match headers.family {
        Family::V4 => {
            let [first, fragment] = packet.words::<2>(headers.network_at)?;
            (4, ipv4::HEADER_LEN, v4_quirks(u32::from_be(first), u32::from_be(fragment)))
        }
        Family::V6 => {
            let [first] = packet.words::<1>(headers.network_at)?;
            (6, ipv6::HEADER_LEN, v6_quirks(u32::from_be(first)))
        }
    };
    let options_len = headers.transport_at - headers.network_at - header_len;
    syn.signature.ip_options_len = if options_len > 0xff { 0xff } else { options_len as u8 };
    syn.signature.ttl = headers.ttl;
    syn.signature.quirks = quirks;
    Some(version)
}

/// From the words with the type of service, and with identification and flags.
#[inline(always)]
const fn v4_quirks(first: u32, fragment: u32) -> u32 {
    let has_df = fragment & 0x4000 != 0;
    let has_id = fragment >> 16 != 0;
    set(QUIRK_ECN, first >> 16 & IP_ECN != 0)
        | set(QUIRK_RESERVED, fragment & 0x8000 != 0)
        | set(QUIRK_DF, has_df)
        | set(QUIRK_ID_WITH_DF, has_df && has_id)
        | set(QUIRK_NO_ID, !has_df && !has_id)
}

/// From the word with traffic class and flow label.
#[inline(always)]
const fn v6_quirks(first: u32) -> u32 {
    set(QUIRK_ECN, first >> 20 & IP_ECN != 0) | set(QUIRK_FLOW_LABEL, first & 0xf_ffff != 0)
}

/// A bit where a condition holds: arithmetic and not a branch, whose outcomes the verifier would
/// follow in every combination.
#[inline(always)]
const fn set(bit: u32, holds: bool) -> u32 {
    bit * holds as u32
}

/// What the TCP header says, and where its options are.
#[inline(always)]
fn transport<P: Packet>(packet: &P, headers: &Headers, syn: &mut Syn) -> Option<()> {
    let [control, urgent] = packet.words::<2>(headers.transport_at + 12)?;
    let (control, pointer) = (u32::from_be(control), u32::from_be(urgent) & 0xffff);
    let segment = &headers.segment;
    let (has_ack, has_urg) = (segment.has(tcp::ACK), segment.has(tcp::URG));
    syn.quirk(
        set(QUIRK_ECN, control & TCP_ECN != 0)
            | set(QUIRK_ZERO_SEQ, segment.seq == 0)
            | set(QUIRK_ZERO_ACK, has_ack && segment.ack == 0)
            | set(QUIRK_ACK_NUMBER, !has_ack && segment.ack != 0)
            | set(QUIRK_URG, has_urg)
            | set(QUIRK_URGENT_POINTER, !has_urg && pointer != 0)
            | set(QUIRK_PSH, segment.has(tcp::PSH)),
    );
    let options_len = (control >> 28 << 2) - tcp::HEADER_LEN;
    syn.signature.options_len = options_len as u8;
    syn.signature.window = segment.window;
    syn.signature.has_payload = u8::from(segment.payload > 0);
    syn.at = headers.transport_at + tcp::HEADER_LEN;
    syn.end = syn.at + options_len;
    Some(())
}

/// The length of an option that has but one; 0 for others.
#[inline(always)]
const fn known_len(kind: u8) -> u32 {
    match kind {
        option::MSS => 4,
        option::WINDOW_SCALE => 3,
        option::SACK_PERMITTED => 2,
        option::TIMESTAMPS => 10,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
