//! The tracker as its users see it.

mod attack;
mod bounds;
mod random;
mod retry;
mod samples;
mod whole;

use super::{
    Counters, Hello, Limits, Tracker,
    forge::{Forge, crypto, hello},
};

/// A tracker that has seen these datagrams of one client, a second apart, and the hellos it gave.
fn after(datagrams: &[Vec<u8>]) -> (Tracker<u8>, Vec<Hello>) {
    let mut tracker = Tracker::new(Limits::default());
    let hellos = feed(&mut tracker, datagrams);
    (tracker, hellos)
}

fn feed(tracker: &mut Tracker<u8>, datagrams: &[Vec<u8>]) -> Vec<Hello> {
    let times = (1..).map(|second| second * 1_000_000_000);
    let mut hellos = Vec::new();
    for (datagram, time_ns) in datagrams.iter().zip(times) {
        hellos.extend(tracker.client_datagram(&1, time_ns, datagram));
    }
    hellos
}

/// Parts of a message as CRYPTO frames, in this order.
fn parts(message: &[u8], ranges: &[(usize, usize)]) -> Vec<u8> {
    ranges.iter().flat_map(|&(from, to)| crypto(from, &message[from..to])).collect()
}
