//! Synthetic packets: how the daemon asks the live programs what they do with somebody's packet.
//!
//! The question lies in the packet's metadata, which only drivers and test runs can give a packet,
//! never the wire. It begins with a nonce that the daemon put into `AUDIT_NONCE` for this one question
//! and takes out again after it; while there is none, the map is zero and no question is answered. A
//! packet with the nonce gets the verdict that any packet would get, and leaves nothing behind: no
//! counter, no event, no state.

/// What the daemon asks with; all zero: nothing is asked.
pub type Nonce = [u32; 4];

/// What stands before a synthetic packet, in its metadata. The kernel takes at most 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Question {
    /// The nonce.
    pub nonce: Nonce,
    /// Answer: the class that decided, would have, or limits it; 0 = none.
    pub class: u32,
    /// Answer: `ANSWER_*` bits.
    pub flags: u32,
}
const _: () = assert!(size_of::<Question>() == 24);

/// It was answered: the program knew the nonce.
pub const ANSWER_GIVEN: u32 = 1 << 0;
/// It would have been refused, had the mode been enforce.
pub const ANSWER_WOULD: u32 = 1 << 1;
/// An allow stands.
pub const ANSWER_ALLOWED: u32 = 1 << 2;
/// A limit applies to it.
pub const ANSWER_LIMITED: u32 = 1 << 3;
