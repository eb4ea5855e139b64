//! Keys: who, and which conversation.
//!
//! Addresses are words exactly as they lie on the wire, so that a key's bytes in memory are the
//! bytes of the packet and no stage swaps bytes. `[u32; 4]` and not `[u8; 16]`: byte arrays make
//! the compiler call `memset` in loops, which the verifier's instruction limit does not forgive.

/// An IPv6 address, or an IPv4 address mapped into `::ffff:0:0/96` (RFC 4291, section 2.5.5.2).
pub type Address = [u32; 4];

/// Third word of an IPv4-mapped address.
pub const V4_MAPPED: u32 = 0x0000_ffff_u32.to_be();

/// Transport protocols that have ports (IANA protocol numbers).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Protocol {
    /// TCP, 6.
    Tcp = 6,
    /// UDP, 17.
    Udp = 17,
}

/// One conversation between a remote peer and this host, in host terms: the same for both
/// directions. Ports are in network byte order, like the addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct FlowKey {
    /// The peer's address.
    pub remote: Address,
    /// This host's address.
    pub local: Address,
    /// The peer's port, network byte order.
    pub remote_port: u16,
    /// This host's port, network byte order.
    pub local_port: u16,
    /// IANA protocol number, widened so that there is no padding.
    pub protocol: u32,
}
const _: () = assert!(size_of::<FlowKey>() == 40);

impl FlowKey {
    /// The source that this conversation's peer is judged as.
    #[inline(always)]
    #[must_use]
    pub const fn source(&self) -> SourceKey {
        SourceKey::from_address(&self.remote)
    }
}

/// What a source is judged by: one IPv4 address, or one IPv6 /64.
///
/// IPv6 keeps its first two words. IPv4 is the address behind the word `ff:ff:ff:ff`: no IPv6
/// source lies in `ff00::/8`, which is multicast (RFC 4291, section 2.7), and the parser passes
/// such packets unmeasured, so no forged packet can count under an IPv4 source's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct SourceKey {
    /// `[0xffff_ffff, address]` for IPv4; the first 64 bits for IPv6. Wire order.
    pub words: [u32; 2],
}
const _: () = assert!(size_of::<SourceKey>() == 8);

impl SourceKey {
    /// The source of an address.
    #[inline(always)]
    #[must_use]
    pub const fn from_address(address: &Address) -> Self {
        let [a, b, c, d] = *address;
        if a == 0 && b == 0 && c == V4_MAPPED {
            Self { words: [u32::MAX, d] }
        } else {
            Self { words: [a, b] }
        }
    }

    /// The IPv4 address (wire order), if this is one.
    #[must_use]
    pub const fn v4(&self) -> Option<u32> {
        let [tag, address] = self.words;
        if tag == u32::MAX { Some(address) } else { None }
    }
}

/// A limiter's bucket: one source under one verdict class.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(C)]
pub struct BucketKey {
    /// Who is limited.
    pub source: SourceKey,
    /// The class whose rate applies.
    pub class: u32,
}
const _: () = assert!(size_of::<BucketKey>() == 12);
