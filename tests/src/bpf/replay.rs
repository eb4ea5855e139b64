//! Captured traffic through an engine, by the capture's own time.

use anyhow::Result;
use weir_common::{abi::Tally, packet::Heading};
use weir_sensor::event::Event;

use super::{Engine, Fate, Records};

/// A packet of a capture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passed {
    /// When, ns.
    pub at_ns: u64,
    /// From or to the peer.
    pub heading: Heading,
    /// The frame.
    pub frame: Vec<u8>,
}

/// What an engine made of a capture.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What became of every packet.
    pub fates: Vec<Fate>,
    /// The events, in order.
    pub events: Vec<Event>,
    /// What the tables remember.
    pub records: Records,
    /// Every counter.
    pub tally: Vec<Tally>,
}

/// Events are taken out this often, so that none is lost in a full ring buffer.
const EVENTS_EVERY: usize = 512;

/// Sends a capture through an engine.
pub fn replay(engine: &mut dyn Engine, capture: &[Passed]) -> Result<Replayed> {
    let mut fates = Vec::with_capacity(capture.len());
    let mut events = Vec::new();
    for (number, packet) in capture.iter().enumerate() {
        engine.set_now_ns(packet.at_ns)?;
        fates.push(engine.run(packet.heading, &packet.frame)?);
        if number % EVENTS_EVERY == 0 {
            events.extend(engine.take_events()?);
        }
    }
    events.extend(engine.take_events()?);
    Ok(Replayed { fates, events, records: engine.records()?, tally: engine.tally()? })
}
