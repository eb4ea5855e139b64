//! Events from the ring buffer.

use std::mem::size_of;

use weir_common::abi::{Closed, Established, EventHeader, EventKind, Hit, Milestone};

use super::ring::{self, Decode, read};
use crate::event::Event;

/// The daemon's end of `EVENTS`.
pub type Events = ring::Ring<Event>;

impl Decode for Event {
    const BATCH: usize = 512;

    fn decode(record: &[u8]) -> Option<Self> {
        let header: EventHeader = read(record.get(..size_of::<EventHeader>())?)?;
        Some(match EventKind::from_u8(header.kind)? {
            EventKind::Established => Self::Established(read::<Established>(record)?),
            EventKind::Closed => Self::Closed(read::<Closed>(record)?),
            EventKind::Progress => Self::Progress(read::<Closed>(record)?),
            EventKind::Milestone => Self::Milestone(read::<Milestone>(record)?),
            EventKind::Hit => Self::Hit(read::<Hit>(record)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_strange_kind_or_size_is_no_event() {
        assert_eq!(Event::decode(&[]), None);
        assert_eq!(Event::decode(&[9; 32]), None, "kind 9");
        let mut hit = [0u8; size_of::<Hit>()];
        hit[8] = EventKind::Hit as u8;
        assert!(matches!(Event::decode(&hit), Some(Event::Hit(_))));
        assert_eq!(Event::decode(&hit[..31]), None, "cut");
    }
}
