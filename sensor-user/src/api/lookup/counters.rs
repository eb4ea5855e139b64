//! What happened, in numbers that the daemon's loop reads for `weir status`.

use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

use super::answer::Ruling;
use crate::api::message::LookupStatus;

/// Counters that several threads touch.
#[derive(Debug, Default)]
pub(super) struct Counters {
    answered: AtomicU64,
    challenged: AtomicU64,
    limited: AtomicU64,
    refused: AtomicU64,
    would: AtomicU64,
    misunderstood: AtomicU64,
    malformed: AtomicU64,
    slow: AtomicU64,
    turned_away: AtomicU64,
}

fn add(counter: &AtomicU64) {
    // Counters are read one by one and order nothing else.
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(super) fn note(&self, ruling: &Ruling) {
        add(&self.answered);
        match ruling.status(None) {
            StatusCode::UNAUTHORIZED => add(&self.challenged),
            StatusCode::TOO_MANY_REQUESTS => add(&self.limited),
            StatusCode::FORBIDDEN => add(&self.refused),
            _ if ruling.would.is_some() => add(&self.would),
            _ => {}
        }
    }

    pub(super) fn misunderstood(&self) {
        add(&self.misunderstood);
    }

    pub(super) fn malformed(&self) {
        add(&self.malformed);
    }

    pub(super) fn slow(&self) {
        add(&self.slow);
    }

    pub(super) fn turned_away(&self) {
        add(&self.turned_away);
    }

    pub(super) fn status(&self) -> LookupStatus {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LookupStatus {
            answered: read(&self.answered),
            challenged: read(&self.challenged),
            limited: read(&self.limited),
            refused: read(&self.refused),
            would: read(&self.would),
            misunderstood: read(&self.misunderstood),
            malformed: read(&self.malformed),
            slow: read(&self.slow),
            turned_away: read(&self.turned_away),
            prefixes: 0,
        }
    }
}
