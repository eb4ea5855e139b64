//! What a fingerprint costs in the daemon: from the bytes of a ClientHello to its JA4.

use std::{hint::black_box, time::Instant};

use anyhow::{Result, ensure};
use weir_common::tls::{Seed, keys::Transport};
use weir_sensor::fingerprint::ja4::Ja4;

use super::{ROUNDS, hello, report::Row};

/// Name of the benchmark.
pub(super) const ID: &str = "hello-ja4";

/// Hellos of a round.
const REPEAT: u32 = 20_000;

/// Measures it, next to the walk and the match key alone.
pub(super) fn row() -> Result<Row> {
    let message = hello::message();
    let seed = Seed { add: 1, multiply: 3 };
    ensure!(Ja4::read(message, Transport::Tcp).is_ok(), "the recorded hello cannot be read");
    let (mut ours, mut peer) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        ours = ours.min(mean_ns(|| Ja4::read(black_box(message), Transport::Tcp).is_ok()));
        peer = peer.min(mean_ns(|| hello::keys(black_box(seed)).is_ok()));
    }
    Ok(Row::of_hello(
        ID,
        "from the bytes of a ClientHello of 517 bytes to its JA4, in the daemon; peer: the same walk to the match key",
        ours,
        peer,
    ))
}

fn mean_ns(mut once: impl FnMut() -> bool) -> f64 {
    let begin = Instant::now();
    for _ in 0..REPEAT {
        black_box(once());
    }
    (begin.elapsed().as_nanos() as f64 / f64::from(REPEAT)).round()
}
