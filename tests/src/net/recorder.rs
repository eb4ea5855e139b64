//! Records everything that passes an interface, both ways.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};

use super::{Namespace, Wire};
use crate::clock::monotonic_ns;

/// How often the recorder looks whether it is to stop.
const PULSE: Duration = Duration::from_millis(20);

/// Which way a frame went, seen from the host of the interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// It arrived.
    In,
    /// It left.
    Out,
}

/// A recorded frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// When it was read, `CLOCK_MONOTONIC` ns.
    pub at_ns: u64,
    /// Which way it went.
    pub direction: Direction,
    /// The frame.
    pub bytes: Vec<u8>,
}

/// What a recorder heard, in order.
pub type Capture = Vec<Captured>;

/// A running recorder. At an interface with native XDP it hears arriving packets only after XDP
/// passed them; at the other end of the veth pair it hears all of them.
#[derive(Debug)]
pub struct Recorder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Result<Capture>>>,
}

impl Recorder {
    /// Starts recording; frames that pass after the return are recorded. At most `limit` frames
    /// are kept, so that memory is bounded.
    pub fn start(namespace: &Namespace, interface: &str, limit: usize) -> Result<Self> {
        let wire = Wire::open(namespace, interface)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = namespace.spawn("recorder", move || record(&wire, &stopped, limit))?;
        Ok(Self { stop, thread })
    }

    /// Stops and returns what passed. Fails if any frame was lost or there was no room.
    pub fn stop(self) -> Result<Capture> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the recorder panicked"))??
    }
}

fn record(wire: &Wire, stop: &AtomicBool, limit: usize) -> Result<Capture> {
    let mut capture = Capture::new();
    loop {
        // Read first, so that what passed before the stop is still recorded.
        let last_round = stop.load(Ordering::Relaxed);
        while let Some(heard) = wire.hear(if last_round { Duration::ZERO } else { PULSE })? {
            ensure!(capture.len() < limit, "more than {limit} frames passed: raise the limit");
            let direction = if heard.outgoing { Direction::Out } else { Direction::In };
            capture.push(Captured { at_ns: monotonic_ns(), direction, bytes: heard.bytes });
        }
        if last_round {
            let lost = wire.lost()?;
            ensure!(lost == 0, "{lost} frames passed faster than they were recorded");
            return Ok(capture);
        }
    }
}
