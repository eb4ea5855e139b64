//! A SYN's own look: what p0f's raw signature is made of (p0f 3, docs/README, section 5).

/// Options of a SYN that are remembered: as many as p0f looks at (`MAX_TCP_OPT`).
pub const MAX_SYN_OPTIONS: usize = 24;

/// "Don't fragment" is set (IPv4): `df`.
pub const QUIRK_DF: u32 = 1 << 0;
/// DF is set and the identification is not zero: `id+`.
pub const QUIRK_ID_WITH_DF: u32 = 1 << 1;
/// DF is not set and the identification is zero: `id-`.
pub const QUIRK_NO_ID: u32 = 1 << 2;
/// Explicit congestion notification (RFC 3168): `ecn`.
pub const QUIRK_ECN: u32 = 1 << 3;
/// A reserved bit of the IPv4 header is set: `0+`.
pub const QUIRK_RESERVED: u32 = 1 << 4;
/// The IPv6 flow label is not zero: `flow`.
pub const QUIRK_FLOW_LABEL: u32 = 1 << 5;
/// The sequence number is zero: `seq-`.
pub const QUIRK_ZERO_SEQ: u32 = 1 << 6;
/// ACK is not set and the acknowledgement number is not zero: `ack+`.
pub const QUIRK_ACK_NUMBER: u32 = 1 << 7;
/// ACK is set and the acknowledgement number is zero: `ack-`.
pub const QUIRK_ZERO_ACK: u32 = 1 << 8;
/// URG is not set and the urgent pointer is not zero: `uptr+`.
pub const QUIRK_URGENT_POINTER: u32 = 1 << 9;
/// URG is set: `urgf+`.
pub const QUIRK_URG: u32 = 1 << 10;
/// PSH is set: `pushf+`.
pub const QUIRK_PSH: u32 = 1 << 11;
/// The sender's own timestamp is zero: `ts1-`.
pub const QUIRK_ZERO_TIMESTAMP: u32 = 1 << 12;
/// The peer's timestamp is not zero: `ts2+`.
pub const QUIRK_PEER_TIMESTAMP: u32 = 1 << 13;
/// What stands behind the end of the options is not zero: `opt+`.
pub const QUIRK_TRAILING: u32 = 1 << 14;
/// The window scale is above 14: `exws`.
pub const QUIRK_EXCESSIVE_SCALE: u32 = 1 << 15;
/// An option contradicts itself: `bad`.
pub const QUIRK_BAD_OPTIONS: u32 = 1 << 16;

/// What a SYN looks like. Forgeable, like the SYN. All zero: unknown.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct SynSignature {
    /// Option kinds in order; `options` of them count, the rest is zero.
    pub layout: [u8; MAX_SYN_OPTIONS],
    /// `QUIRK_*` bits.
    pub quirks: u32,
    /// Maximum segment size; 0 = not stated.
    pub mss: u16,
    /// Window, unscaled.
    pub window: u16,
    /// TTL or hop limit as it arrived.
    pub ttl: u8,
    /// IP version: 4 or 6.
    pub version: u8,
    /// Bytes of IPv4 options or IPv6 extension headers; saturating.
    pub ip_options_len: u8,
    /// Window scale; 0 = not stated, like a scale of 0.
    pub scale: u8,
    /// Options in `layout`.
    pub options: u8,
    /// Bytes behind the end-of-options option.
    pub padding: u8,
    /// 1 where the SYN carries payload.
    pub has_payload: u8,
    /// Bytes of TCP options, padding included.
    pub options_len: u8,
}
const _: () = assert!(size_of::<SynSignature>() == 40);

impl SynSignature {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        layout: [0; MAX_SYN_OPTIONS],
        quirks: 0,
        mss: 0,
        window: 0,
        ttl: 0,
        version: 0,
        ip_options_len: 0,
        scale: 0,
        options: 0,
        padding: 0,
        has_payload: 0,
        options_len: 0,
    };

    /// Whether a SYN was seen.
    #[inline(always)]
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.version != 0
    }
}
