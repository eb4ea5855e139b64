//! A policy with a hundred rules, of which any kind of event touches ten.

use std::fmt::Write;

/// Features that change with one kind of event each, ten rules for each kind.
const TOUCHED: [[&str; 5]; 3] = [
    // With a ClientHello.
    [
        "source.fingerprints_1h > 20",
        "source.browser_likeness < 0.1 && source.handshakes_10s > 40",
        "source.full_handshakes_10m > 50",
        "fingerprint.new_sources_10m > 100 && fingerprint.share > 0.9",
        "source.hello_delay_p50 > 5",
    ],
    // With the end of a connection.
    [
        "source.request_bytes_cv < 0.01 && source.exchanges_1m > 500",
        "source.single_exchange_share > 0.9 && source.think_time_p50 < 0.01",
        "source.exchanges_10m > 2000",
        "source.empty_connections_share > 0.99",
        "campaign.sources_1h > 200 && campaign.exclusive_share > 0.9",
    ],
    // With a stalled connection.
    [
        "source.stalled_connections > 60",
        "source.stalled_share > 0.95",
        "source.stalled_connections > 40 && source.open_connections > 90",
        "source.stalled_connections > 80",
        "source.stalled_connections > 20 && source.connections_10m < 5",
    ],
];

/// What the other rules read: something that none of the measured mixes changes.
const UNTOUCHED: [&str; 7] = [
    "source.distinct_ports > 100",
    "source.half_open_1m > 500",
    "source.stray_segments_1m > 500",
    "source.odd_segments_1m > 100",
    "source.stray_datagrams_1m > 500",
    "source.distinct_ports > 50 && source.half_open_1m > 100",
    "source.odd_segments_1m > 20 && source.stray_segments_1m > 200",
];

/// The policy, with room for so many sources.
pub(super) fn policy(sources: u32) -> String {
    let mut text = format!(
        "kind: Site
services: {{shop: {{tcp: [443]}}}}
sensor: {{profiles: {sources}}}
ladders: {{default: [{{at: 90, action: drop, for: 10m}}]}}
---
kind: Policy
metadata: {{name: bench}}
applies: [shop]
rules:
"
    );
    let touched = TOUCHED.iter().flatten().chain(TOUCHED.iter().flatten());
    let rest = UNTOUCHED.iter().cycle();
    for (n, when) in touched.chain(rest).take(100).enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  - {{name: r{n}, points: 1, when: {when}}}");
    }
    text
}
