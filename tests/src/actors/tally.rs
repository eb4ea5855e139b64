//! What became of an actor's attempts, counted while it plays.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Origin;
use crate::clock::monotonic_ns;

/// Live counters of one actor.
#[derive(Debug, Default)]
pub struct Tally {
    attempted: AtomicU64,
    served: AtomicU64,
    failed: AtomicU64,
    held: AtomicU64,
    began_ns: AtomicU64,
    first_failed_ns: AtomicU64,
    last_served_ns: AtomicU64,
}

impl Tally {
    /// A request, a connection or a packet, whichever the actor is about.
    pub(crate) fn attempt(&self) {
        if self.attempted.fetch_add(1, Relaxed) == 0 {
            self.began_ns.store(monotonic_ns(), Relaxed);
        }
    }

    /// An attempt ended.
    pub(crate) fn outcome<T, E>(&self, result: &Result<T, E>) {
        match result {
            Ok(_) => {
                self.served.fetch_add(1, Relaxed);
                self.last_served_ns.store(monotonic_ns(), Relaxed);
            }
            Err(_) => {
                self.failed.fetch_add(1, Relaxed);
                // The first one stays, whoever else comes at the same time.
                let _ = self.first_failed_ns.compare_exchange(0, monotonic_ns(), Relaxed, Relaxed);
            }
        }
    }

    /// A connection is held from now on.
    pub(crate) fn hold(&self) {
        self.held.fetch_add(1, Relaxed);
    }

    /// A held connection is gone.
    pub(crate) fn lose(&self) {
        self.held.fetch_sub(1, Relaxed);
    }

    pub(super) fn report(&self, actor: &'static str, origin: Origin, is_honest: bool) -> Report {
        let at = |ns: &AtomicU64| Some(ns.load(Relaxed)).filter(|ns| *ns != 0);
        Report {
            actor,
            origin,
            is_honest,
            attempted: self.attempted.load(Relaxed),
            served: self.served.load(Relaxed),
            failed: self.failed.load(Relaxed),
            held: self.held.load(Relaxed),
            began_ns: at(&self.began_ns),
            first_failed_ns: at(&self.first_failed_ns),
            last_served_ns: at(&self.last_served_ns),
        }
    }
}

/// An actor's counters at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Name of the actor.
    pub actor: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether it deserves to be served.
    pub is_honest: bool,
    /// Requests begun; of the hoarder connections, of raw actors packets sent.
    pub attempted: u64,
    /// Attempts that succeeded.
    pub served: u64,
    /// Attempts that were refused, cut off or never answered.
    pub failed: u64,
    /// Connections that the actor holds open now (hoarder only).
    pub held: u64,
    /// When the first attempt began, `CLOCK_MONOTONIC` ns.
    pub began_ns: Option<u64>,
    /// When the first attempt failed, `CLOCK_MONOTONIC` ns.
    pub first_failed_ns: Option<u64>,
    /// When the last attempt succeeded, `CLOCK_MONOTONIC` ns.
    pub last_served_ns: Option<u64>,
}

impl Report {
    /// Whether everything attempted was served, and that something was.
    #[must_use]
    pub fn is_fully_served(&self) -> bool {
        self.attempted > 0 && self.served == self.attempted
    }
}
