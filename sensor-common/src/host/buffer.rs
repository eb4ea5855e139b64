//! A packet in a buffer of its own, which resets may rewrite.

use crate::{
    abi::hello::HELLO_ROOM,
    packet::{Packet, PacketMut, slice::SlicePacket},
};

/// An owned frame, link-layer header first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BufferPacket {
    bytes: Vec<u8>,
    mark: u32,
}

impl BufferPacket {
    /// Copies a frame.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), mark: 0 }
    }

    /// The frame as it stands.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its mark.
    #[must_use]
    pub const fn marked(&self) -> u32 {
        self.mark
    }

    fn view(&self) -> SlicePacket<'_> {
        SlicePacket::new(&self.bytes)
    }

    fn store(&mut self, offset: u32, from: &[u8]) -> bool {
        let start = offset as usize;
        match self.bytes.get_mut(start..start + from.len()) {
            Some(into) => {
                into.copy_from_slice(from);
                true
            }
            None => false,
        }
    }
}

impl Packet for BufferPacket {
    const APPROXIMATE: bool = false;

    fn len(&self) -> u32 {
        self.view().len()
    }

    fn byte(&self, offset: u32) -> Option<u8> {
        self.view().byte(offset)
    }

    fn half(&self, offset: u32) -> Option<u16> {
        self.view().half(offset)
    }

    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.view().load(offset)
    }

    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        self.view().words(offset)
    }

    fn copy(&self, offset: u32, length: u32, into: &mut [u8; HELLO_ROOM], to: u32) -> bool {
        self.view().copy(offset, length, into, to)
    }
}

impl PacketMut for BufferPacket {
    fn mark(&mut self, bits: u32) {
        self.mark |= bits;
    }

    fn store_half(&mut self, offset: u32, half: u16) -> bool {
        self.store(offset, &half.to_ne_bytes())
    }

    fn store_words<const N: usize>(&mut self, offset: u32, words: &[u32; N]) -> bool {
        words
            .iter()
            .zip(0u32..)
            .all(|(word, index)| self.store(offset + 4 * index, &word.to_ne_bytes()))
    }

    fn truncate(&mut self, len: u32) -> bool {
        self.bytes.truncate(len as usize);
        true
    }
}
