//! Records from a ring buffer.

use std::{io, marker::PhantomData, mem::size_of};

use aya::maps::{MapData, RingBuf};
use tokio::io::{Interest, unix::AsyncFd};
use weir_common::abi::{Closed, Established, EventHeader, HelloHeader, Hit, Milestone};

use crate::daemon::sensor::RecordStream;

/// What a ring buffer carries.
pub trait Decode: Sized {
    /// Records handled before the loop looks at anything else.
    const BATCH: usize;

    /// Reads one record; `None` if it is none.
    fn decode(record: &[u8]) -> Option<Self>;
}

/// The daemon's end of a ring buffer.
pub struct Ring<T> {
    ring: AsyncFd<RingBuf<MapData>>,
    unreadable: u64,
    records: PhantomData<T>,
}

impl<T: Decode> Ring<T> {
    /// Takes the ring buffer. Needs a tokio runtime.
    pub(super) fn new(ring: RingBuf<MapData>) -> io::Result<Self> {
        // SAFETY: the ring buffer owns its descriptor and gives out the same one until it is dropped,
        // which the AsyncFd does.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }?;
        Ok(Self { ring, unreadable: 0, records: PhantomData })
    }

    fn take(&mut self, batch: &mut Vec<T>) -> bool {
        let before = batch.len();
        let (_, unreadable) = drain(self.ring.get_mut(), batch);
        self.unreadable += unreadable;
        batch.len() > before
    }
}

impl<T: Decode> RecordStream<T> for Ring<T> {
    async fn next(&mut self, batch: &mut Vec<T>) -> io::Result<()> {
        // Drain first, and again once the readiness is cleared: a record may come in between.
        while !self.take(batch) {
            self.ring.readable_mut().await?.clear_ready();
            if self.take(batch) {
                break;
            }
        }
        Ok(())
    }

    fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

/// Takes up to a batch of records: how many there were, and how many could not be read.
pub(super) fn drain<T: Decode>(ring: &mut RingBuf<MapData>, batch: &mut Vec<T>) -> (usize, u64) {
    let mut taken = 0;
    let mut unreadable = 0;
    while taken < T::BATCH {
        let Some(record) = ring.next() else { break };
        taken += 1;
        match T::decode(&record) {
            Some(record) => batch.push(record),
            None => unreadable += 1,
        }
    }
    (taken, unreadable)
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
