//! Packets from capture files and live interfaces, and the ClientHellos in them.
//!
//! [`Capture`] reads pcap and pcapng, also compressed with gzip or zstd, as a stream; [`Live`] hears
//! an interface. Both give frames; [`Hellos`] turns frames into ClientHellos. Files are anybody's:
//! nothing here panics, and memory is bounded whatever they hold.

mod compression;
mod error;
mod file;
mod fragments;
mod hellos;
mod link;
mod live;
mod packet;
mod pcap;
mod pcapng;
mod proxied;
mod source;

pub(crate) use compression::decompress;
pub use error::CaptureError;
pub use file::Capture;
pub use fragments::Fragments;
pub use hellos::{Counts, Hello, Hellos};
pub(crate) use link::ip_packet;
pub use link::{LinkType, NotIp};
pub use live::{Live, LiveError};
pub(crate) use packet::Captured;
pub use packet::{Packet, Protocol};

/// Longest frame that is read. A super-packet (BIG TCP) has at most 512 KiB.
pub const MAX_FRAME: u32 = 1 << 20;

/// One captured frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// When, in ns since 1970; 0 where the file does not say (pcapng's simple packets).
    pub time_ns: u64,
    /// What the bytes begin with.
    pub link: LinkType,
    /// The bytes, as far as they were kept.
    pub bytes: &'a [u8],
    /// How many there were on the wire.
    pub original_len: u32,
}

#[cfg(test)]
mod tests;
