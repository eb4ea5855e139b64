//! A packet as a byte slice: the host's implementation of [`Packet`].

use super::Packet;
use crate::abi::hello::{HELLO_CHUNK, HELLO_LEN, HELLO_ROOM};

/// A captured frame.
#[derive(Clone, Copy, Debug)]
pub struct SlicePacket<'a> {
    bytes: &'a [u8],
}

impl<'a> SlicePacket<'a> {
    /// Wraps a frame, link-layer header first.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn array<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let start = offset as usize;
        self.bytes.get(start..start.checked_add(N)?)?.try_into().ok()
    }
}

impl Packet for SlicePacket<'_> {
    const APPROXIMATE: bool = false;

    fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn byte(&self, offset: u32) -> Option<u8> {
        self.bytes.get(offset as usize).copied()
    }

    fn half(&self, offset: u32) -> Option<u16> {
        self.array(offset).map(u16::from_ne_bytes)
    }

    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.array(offset)
    }

    fn words<const N: usize>(&self, offset: u32) -> Option<[u32; N]> {
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
            *word = u32::from_ne_bytes(self.array(offset.checked_add(4 * index as u32)?)?);
        }
        Some(words)
    }

    fn copy(&self, offset: u32, length: u32, into: &mut [u8; HELLO_ROOM], to: u32) -> bool {
        let (offset, length, to) = (offset as usize, length as usize, to as usize);
        if !(1..=HELLO_CHUNK).contains(&length) || to > HELLO_LEN {
            return false;
        }
        match (self.bytes.get(offset..offset + length), into.get_mut(to..to + length)) {
            (Some(from), Some(into)) => {
                into.copy_from_slice(from);
                true
            }
            _ => false,
        }
    }
}
