//! Bytes of a capture, counted, so that an error can say where.

use std::io::{self, Read};

use super::CaptureError;

/// Reads forwards only.
pub(super) struct Source {
    name: String,
    reader: Box<dyn Read>,
    offset: u64,
}

impl Source {
    /// `name` is how errors call it.
    pub(super) fn new(name: String, reader: Box<dyn Read>) -> Self {
        Self { name, reader, offset: 0 }
    }

    /// How many bytes were read.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads until `buffer` is full or the file ends; how many bytes that were.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, CaptureError> {
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.reader.read(room) {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    self.offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.unreadable(source)),
            }
        }
        Ok(filled)
    }

    /// Reads `length` bytes, the rest of the `what` that begins at `start`, into `buffer`.
    pub(super) fn rest(
        &mut self,
        buffer: &mut Vec<u8>,
        length: usize,
        what: &'static str,
        start: u64,
    ) -> Result<(), CaptureError> {
        // Memory grows with what is there, not with what a header promises.
        buffer.clear();
        let read = (&mut self.reader).take(length as u64).read_to_end(buffer);
        self.offset += buffer.len() as u64;
        match read {
            Ok(count) if count == length => Ok(()),
            Ok(_) => Err(self.cut_off(what, start)),
            Err(source) => Err(self.unreadable(source)),
        }
    }

    /// Passes over the next `length` bytes.
    pub(super) fn skip(
        &mut self,
        length: u64,
        what: &'static str,
        start: u64,
    ) -> Result<(), CaptureError> {
        let skipped = io::copy(&mut (&mut self.reader).take(length), &mut io::sink());
        match skipped {
            Ok(count) => {
                self.offset += count;
                if count == length { Ok(()) } else { Err(self.cut_off(what, start)) }
            }
            Err(source) => Err(self.unreadable(source)),
        }
    }

    pub(super) fn cut_off(&self, what: &'static str, offset: u64) -> CaptureError {
        CaptureError::CutOff { file: self.name.clone(), offset, what }
    }

    pub(super) fn damaged(&self, what: &'static str, offset: u64, problem: String) -> CaptureError {
        CaptureError::Damaged { file: self.name.clone(), offset, what, problem }
    }

    fn unreadable(&self, source: io::Error) -> CaptureError {
        CaptureError::Read { file: self.name.clone(), offset: self.offset, source }
    }
}

/// Byte order of a capture: that of the machine that wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    /// The two bytes at `at`.
    pub(super) fn half(self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        })
    }

    /// The four bytes at `at`.
    pub(super) fn word(self, bytes: &[u8], at: usize) -> Option<u32> {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }
}
