//! Recordings: every event as the daemon handled it, so that it can be judged again.
//!
//! A recording is a gzip stream (it can be cut anywhere and read up to there). First comes a line of
//! JSON, the [`Head`]: the format's version, what wrote it, how the events' clock relates to the
//! calendar, the numbers of services and signals, and the layout of every kind of record. Then records:
//! one byte of kind, two bytes of length (little-endian), and so many bytes.
//!
//! Addresses of clients are in it, as they were; accounts and endpoints are not, but as the pseudonyms
//! that the daemon gave them.

mod layout;
mod reader;
mod writer;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_common::abi::{Closed, Established, Hit, Milestone};

use self::layout::{Cursor, Field, Layout};
pub use self::{
    reader::{Recording, RecordingError},
    writer::Writer,
};
use crate::{
    event::{Event, Hello, Signal},
    policy::{CompiledPolicy, ServiceIds},
};

/// Version of the format: of the head and of the framing. Layouts describe themselves.
const FORMAT: u32 = 1;

/// What a recording says of itself before its first event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Head {
    /// Version of the format.
    #[serde(rename = "weir-recording")]
    pub format: u32,
    /// What wrote it.
    pub by: String,
    /// Seconds since 1970 when the events' clock was 0.
    pub unix_s_at_zero: u64,
    /// The numbers of services in its events.
    pub services: ServiceIds,
    /// The names of signals, by their number in its events.
    pub signals: Vec<String>,
    /// The numbers of each kind's record, by name, with their sizes in bytes.
    layouts: BTreeMap<String, Vec<Field>>,
}

impl Head {
    /// Of a recording that begins now, under a policy.
    #[must_use]
    pub fn new(policy: &CompiledPolicy, unix_s_at_zero: u64) -> Self {
        let signals = policy.signals.list().iter().map(|signal| signal.name.to_string());
        Self {
            format: FORMAT,
            by: format!("weir {}", env!("CARGO_PKG_VERSION")),
            unix_s_at_zero,
            services: policy.service_ids().clone(),
            signals: signals.collect(),
            layouts: Kind::ALL.iter().map(|kind| (kind.name().to_owned(), kind.fields())).collect(),
        }
    }
}

impl Head {
    /// Whether the events of both are of one run of the daemon: same clock, same numbers.
    #[must_use]
    pub fn is_of_the_run_of(&self, other: &Self) -> bool {
        (self.unix_s_at_zero, &self.services, &self.signals)
            == (other.unix_s_at_zero, &other.services, &other.signals)
    }
}

/// What a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Kind {
    Established = 1,
    Closed = 2,
    Milestone = 3,
    Hit = 4,
    Progress = 5,
    Hello = 6,
    Signal = 7,
    Tick = 8,
    /// Not an event: so many events could not be written.
    Lost = 9,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Established,
        Self::Closed,
        Self::Milestone,
        Self::Hit,
        Self::Progress,
        Self::Hello,
        Self::Signal,
        Self::Tick,
        Self::Lost,
    ];

    fn from_u8(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    const fn of(event: &Event) -> Self {
        match event {
            Event::Established(_) => Self::Established,
            Event::Closed(_) => Self::Closed,
            Event::Milestone(_) => Self::Milestone,
            Event::Hit(_) => Self::Hit,
            Event::Progress(_) => Self::Progress,
            Event::Hello(_) => Self::Hello,
            Event::Signal(_) => Self::Signal,
            Event::Tick { .. } => Self::Tick,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Closed => "closed",
            Self::Milestone => "milestone",
            Self::Hit => "hit",
            Self::Progress => "progress",
            Self::Hello => "hello",
            Self::Signal => "signal",
            Self::Tick => "tick",
            Self::Lost => "lost",
        }
    }

    fn fields(self) -> Vec<Field> {
        let mut fields = Vec::new();
        match self {
            Self::Established => Established::fields("", &mut fields),
            Self::Closed | Self::Progress => Closed::fields("", &mut fields),
            Self::Milestone => Milestone::fields("", &mut fields),
            Self::Hit => Hit::fields("", &mut fields),
            Self::Hello => Hello::fields("", &mut fields),
            Self::Signal => Signal::fields("", &mut fields),
            Self::Tick => u64::fields("at_ns", &mut fields),
            Self::Lost => u64::fields("events", &mut fields),
        }
        fields
    }

    /// The event of a record; `None` of one that is no event.
    fn event(self, mut cursor: Cursor<'_>) -> Option<Event> {
        let cursor = &mut cursor;
        Some(match self {
            Self::Established => Event::Established(Layout::take(cursor)),
            Self::Closed => Event::Closed(Layout::take(cursor)),
            Self::Milestone => Event::Milestone(Layout::take(cursor)),
            Self::Hit => Event::Hit(Layout::take(cursor)),
            Self::Progress => Event::Progress(Layout::take(cursor)),
            Self::Hello => Event::Hello(Layout::take(cursor)),
            Self::Signal => Event::Signal(Layout::take(cursor)),
            Self::Tick => Event::Tick { at_ns: Layout::take(cursor) },
            Self::Lost => return None,
        })
    }
}

/// Puts an event down as a record.
pub(crate) fn put(event: &Event, into: &mut Vec<u8>) {
    record(Kind::of(event), into, |into| match event {
        Event::Established(event) => event.put(into),
        Event::Closed(event) | Event::Progress(event) => event.put(into),
        Event::Milestone(event) => event.put(into),
        Event::Hit(event) => event.put(into),
        Event::Hello(event) => event.put(into),
        Event::Signal(event) => event.put(into),
        Event::Tick { at_ns } => at_ns.put(into),
    });
}

/// Puts down that so many events are missing here.
pub(crate) fn put_lost(events: u64, into: &mut Vec<u8>) {
    record(Kind::Lost, into, |into| events.put(into));
}

fn record(kind: Kind, into: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    into.push(kind as u8);
    let at = into.len();
    into.extend_from_slice(&[0; 2]);
    put(into);
    // No event has 64 KiB.
    let length = u16::try_from(into.len() - at - 2).unwrap_or(u16::MAX);
    if let Some(place) = into.get_mut(at..at + 2) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
