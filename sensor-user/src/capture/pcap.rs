//! The classic format (draft-ietf-opsawg-pcap): a header, and records of time, lengths and bytes.

use super::{
    CaptureError, Frame, LinkType, MAX_FRAME,
    source::{Order, Source},
};

const FILE_HEADER: usize = 24;
const RECORD: &str = "packet";
const SECOND_NS: u64 = 1_000_000_000;

/// What the magic number says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Variant {
    order: Order,
    /// What the second half of a time counts.
    unit_ns: u64,
    record_header: usize,
}

impl Variant {
    /// `None`: another format.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        let variant = |order, magic| {
            let (unit_ns, record_header) = match magic {
                0xa1b2_c3d4 => (1_000, 16),
                0xa1b2_3c4d => (1, 16),
                // With interface and protocol in each record: Linux distributions of around 2000.
                0xa1b2_cd34 => (1_000, 24),
                _ => return None,
            };
            Some(Self { order, unit_ns, record_header })
        };
        variant(Order::Little, u32::from_le_bytes(magic))
            .or_else(|| variant(Order::Big, u32::from_be_bytes(magic)))
    }
}

/// A file of this format.
pub(super) struct Pcap {
    source: Source,
    variant: Variant,
    link: LinkType,
    frame: Vec<u8>,
}

impl Pcap {
    /// Reads the header.
    pub(super) fn open(mut source: Source, variant: Variant) -> Result<Self, CaptureError> {
        let mut header = [0; FILE_HEADER];
        if source.fill(&mut header)? < FILE_HEADER {
            return Err(source.cut_off("file header", 0));
        }
        // The high half says whether there are checksums at the frames' ends, which do no harm.
        let link = variant.order.word(&header, 20).unwrap_or_default() as u16;
        Ok(Self { source, variant, link: LinkType::from_number(link), frame: Vec::new() })
    }

    pub(super) fn next(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        let start = self.source.offset();
        let mut room = [0; 24];
        let header = room.get_mut(..self.variant.record_header).unwrap_or_default();
        match self.source.fill(header)? {
            0 => return Ok(None),
            count if count < header.len() => return Err(self.source.cut_off(RECORD, start)),
            _ => {}
        }
        let word = |at| self.variant.order.word(header, at).unwrap_or_default();
        let time_ns = u64::from(word(0)) * SECOND_NS + u64::from(word(4)) * self.variant.unit_ns;
        let (captured, original_len) = (word(8), word(12));
        if captured > MAX_FRAME {
            let problem = format!("says that it has {captured} bytes");
            return Err(self.source.damaged(RECORD, start, problem));
        }
        self.source.rest(&mut self.frame, captured as usize, RECORD, start)?;
        let original_len = original_len.max(captured);
        Ok(Some(Frame { time_ns, link: self.link, bytes: &self.frame, original_len }))
    }
}
