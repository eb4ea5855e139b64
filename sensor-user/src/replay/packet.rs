//! A captured frame as the stages read it: as long as it was on the wire, and with the bytes that were
//! kept.
//!
//! Nothing is ever rewritten: a replay holds nothing back, so no stage has a reason to.

use weir_common::packet::{Link, PacketMut, slice::SlicePacket};

use crate::capture::{Captured, Frame, NotIp, ip_packet};

/// Ethernet's header, alone and with one or two tags: what the kernel's programs read.
const ETHERNET: [usize; 3] = [14, 18, 22];

/// A frame of a capture.
pub(super) type CapturedPacket<'a> = Captured<'a, false>;

impl<'a> CapturedPacket<'a> {
    /// The packet in a frame, and what it begins with. Frames with what the kernel does not see (link
    /// types of captures, labels, sessions) are stripped of it.
    pub(super) fn of(frame: &Frame<'a>) -> Result<(Self, Link), NotIp> {
        let ip = ip_packet(frame.link, frame.bytes)?;
        let header = frame.bytes.len() - ip.len();
        let is_plain = frame.link == crate::capture::LinkType::Ethernet;
        let (bytes, cut, link) = if is_plain && ETHERNET.contains(&header) {
            (frame.bytes, 0, Link::Ethernet)
        } else {
            (ip, header as u32, Link::None)
        };
        let original_len = frame.original_len.saturating_sub(cut);
        Ok((Self { bytes: SlicePacket::new(bytes), original_len }, link))
    }
}

impl PacketMut for CapturedPacket<'_> {
    fn store_half(&mut self, _offset: u32, _half: u16) -> bool {
        false
    }

    fn store_words<const N: usize>(&mut self, _offset: u32, _words: &[u32; N]) -> bool {
        false
    }

    fn truncate(&mut self, _len: u32) -> bool {
        false
    }
}
