//! Events from the ring buffer.

use std::{io, mem::size_of};

use aya::maps::{MapData, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};
use weir_common::abi::{Closed, Established, EventHeader, EventKind, HelloHeader, Hit, Milestone};

use crate::{daemon::sensor::EventStream, event::Event};

/// Events handled before the loop looks at anything else.
const BATCH: usize = 512;

/// The daemon's end of `EVENTS`.
pub struct Events {
    ring: AsyncFd<RingBuf<MapData>>,
    unreadable: u64,
}

impl Events {
    /// Takes the ring buffer. Needs a tokio runtime.
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring buffer owns its descriptor and gives out the same one until it is dropped,
        // which the AsyncFd does.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        Ok(Self { ring, unreadable: 0 })
    }
}

impl EventStream for Events {
    async fn next(&mut self, batch: &mut Vec<Event>) -> io::Result<()> {
        let before = batch.len();
        loop {
            // Drain first: a record may have come between the last look and this one.
            let (_, unreadable) = drain(self.ring.get_mut(), batch);
            self.unreadable += unreadable;
            if batch.len() > before {
                return Ok(());
            }
            self.ring.readable_mut().await?.clear_ready();
            let (_, unreadable) = drain(self.ring.get_mut(), batch);
            self.unreadable += unreadable;
            if batch.len() > before {
                return Ok(());
            }
        }
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

/// Takes up to a batch of records: how many there were, and how many could not be read.
pub(super) fn drain(ring: &mut RingBuf<MapData>, batch: &mut Vec<Event>) -> (usize, u64) {
    let mut taken = 0;
    let mut unreadable = 0;
    while taken < BATCH {
        let Some(record) = ring.next() else { break };
        taken += 1;
        match decode(&record) {
            Some(event) => batch.push(event),
            None => unreadable += 1,
        }
    }
    (taken, unreadable)
}

/// Reads one record.
fn decode(record: &[u8]) -> Option<Event> {
    let header: EventHeader = read(record.get(..size_of::<EventHeader>())?)?;
    Some(match EventKind::from_u8(header.kind)? {
        EventKind::Established => Event::Established(read::<Established>(record)?),
        EventKind::Closed => Event::Closed(read::<Closed>(record)?),
        EventKind::Milestone => Event::Milestone(read::<Milestone>(record)?),
        EventKind::Hit => Event::Hit(read::<Hit>(record)?),
        EventKind::Progress => Event::Progress(read::<Closed>(record)?),
    })
}

/// A record type: integers only, so that every bit pattern is one.
pub(super) trait Record: Copy {}
impl Record for EventHeader {}
impl Record for Established {}
impl Record for Closed {}
impl Record for Milestone {}
impl Record for Hit {}
impl Record for HelloHeader {}

/// Reads a record of exactly this type's size.
pub(super) fn read<T: Record>(record: &[u8]) -> Option<T> {
    if record.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the record has T's size, and T is made of integers (see `Record`); it may lie at any
    // address.
    Some(unsafe { record.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_strange_kind_or_size_is_no_event() {
        assert_eq!(decode(&[]), None);
        assert_eq!(decode(&[9; 32]), None, "kind 9");
        let mut hit = [0u8; size_of::<Hit>()];
        hit[8] = EventKind::Hit as u8;
        assert!(matches!(decode(&hit), Some(Event::Hit(_))));
        assert_eq!(decode(&hit[..31]), None, "cut");
    }
}
