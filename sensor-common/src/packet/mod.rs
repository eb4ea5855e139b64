//! Packets as the stages read them: bounds-checked words at offsets, and the header cursor.
//!
//! [`Packet`] has three implementations: XDP and TC contexts in the kernel, byte slices on the
//! host. Reads are whole words in wire order, so that one bounds check covers one header.

pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
mod network;
pub mod proxy;
pub mod quic;
pub mod reset;
pub mod slice;
pub mod syn;
pub mod tcp;
pub mod udp;

use crate::abi::hello::HELLO_ROOM;

pub use network::{Family, Headers, Heading, Link, Transport, parse};
pub use quic::QuicHeader;
pub use reset::PacketMut;
pub use syn::Syn;
pub use tcp::Segment;

/// Bounds-checked access to one packet. Offsets count from the first byte that the hook sees.
pub trait Packet {
    /// Whether the hook may see super-packets (GSO, GRO), so that sizes and gaps are approximate.
    const APPROXIMATE: bool;

    /// Length in bytes, link-layer header included, fragments of the buffer included.
    fn len(&self) -> u32;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the packet holds `end` bytes. Cheaper than [`Packet::len`] where buffers are
    /// fragmented.
    fn holds(&self, end: u32) -> bool {
        end <= self.len()
    }

    /// How many segments this is on the wire: 1 unless the hook sees super-packets.
    fn segments(&self) -> u32 {
        1
    }

    /// Bytes on the wire, the headers of each segment included.
    fn wire_len(&self) -> u32 {
        self.len()
    }

    /// One byte.
    fn byte(&self, offset: u32) -> Option<u8>;

    /// Two bytes in wire order.
    fn half(&self, offset: u32) -> Option<u16>;

    /// `N` bytes, wherever the buffer has them: payload need not lie where headers do.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;

    /// `N` words in wire order.
    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]>;

    /// Copies `length` bytes at `offset` to place `to`: at most [`HELLO_CHUNK`] bytes, to a place
    /// up to [`HELLO_LEN`]. `false`: they are not there, or not that many may be asked for.
    ///
    /// [`HELLO_CHUNK`]: crate::abi::hello::HELLO_CHUNK
    /// [`HELLO_LEN`]: crate::abi::hello::HELLO_LEN
    fn copy(&self, offset: u32, length: u32, into: &mut [u8; HELLO_ROOM], to: u32) -> bool;
}
