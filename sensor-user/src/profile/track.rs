//! What one source does to one set of services.

use weir_common::abi::{
    Closed, FlowKey, Protocol,
    flow::{FLOW_RESET_SENT, FLOW_RESUMED},
};

use super::{
    ProfileCounters, ProfileLimits,
    arrivals::Arrivals,
    closed::ClosedConnections,
    hellos::Hellos,
    open::{OpenConnections, Outcome},
    rhythm::{Rhythm, Totals},
};

/// A source's connections to a set of services.
#[derive(Debug, Default)]
pub struct Track {
    pub(crate) arrivals: Arrivals,
    pub(crate) open: OpenConnections,
    pub(crate) closed: ClosedConnections,
    pub(crate) hellos: Hellos,
    pub(crate) rhythm: Option<Box<Rhythm>>,
}

impl Track {
    /// A connection was proven; whether that is news.
    pub(super) fn established(
        &mut self,
        key: &FlowKey,
        at_ns: u64,
        limits: &ProfileLimits,
        counters: &mut ProfileCounters,
    ) -> bool {
        self.open.time_out(at_ns, limits.connection_timeout_ns);
        if self.closed.is_known(key, at_ns) {
            counters.duplicates += 1;
            return false;
        }
        match self.open.open(key, at_ns, limits.connections_per_source) {
            Outcome::New => {}
            Outcome::Known => {
                counters.duplicates += 1;
                return false;
            }
            // It came, even if it cannot be followed.
            Outcome::Full => counters.untracked += 1,
        }
        self.arrivals.record(at_ns, self.open.len());
        true
    }

    /// A connection's hello showed that it is for these services. Nothing is new where they were known
    /// from its port.
    pub(super) fn turned_out_here(
        &mut self,
        key: &FlowKey,
        proven_ns: u64,
        limits: &ProfileLimits,
        counters: &mut ProfileCounters,
    ) {
        if !self.open.is_known(key, proven_ns) && !self.closed.is_known(key, proven_ns) {
            self.established(key, proven_ns, limits, counters);
        }
    }

    /// A connection turned out to be for other services: it does not count here.
    pub(super) fn turned_out_elsewhere(&mut self, key: &FlowKey, proven_ns: u64) {
        if self.open.is_known(key, proven_ns) {
            drop(self.open.close(key));
            self.arrivals.take_back(proven_ns);
        }
    }

    /// A connection ended; whether that is news, and the client's doing.
    pub(super) fn closed(&mut self, event: &Closed, counters: &mut ProfileCounters) -> bool {
        let was_open = self.open.close(&event.key);
        if was_open.is_none() {
            counters.unknown_closed += 1;
        }
        // What a verdict cut short says nothing about the client, nor does the rest of what another
        // version of Weir had seen the beginning of.
        if event.flow.flags & (FLOW_RESET_SENT | FLOW_RESUMED) != 0 {
            return false;
        }
        let is_news = self.closed.record(event);
        if is_news {
            let before = was_open.flatten();
            let totals = Totals::of(&event.flow).after(before.as_deref());
            self.add(event, &totals, before.as_deref());
        } else {
            counters.duplicates += 1;
            counters.unknown_closed -= u64::from(was_open.is_none());
        }
        is_news
    }

    /// A connection goes on. One whose beginning was not seen counts from here, unless another version
    /// of Weir saw it.
    pub(super) fn progress(
        &mut self,
        event: &Closed,
        limits: &ProfileLimits,
        counters: &mut ProfileCounters,
    ) {
        if event.flow.flags & FLOW_RESUMED != 0 {
            return;
        }
        let proven_ns = event.flow.proven_ns;
        if self.closed.is_known(&event.key, proven_ns) || self.open.was_ended(proven_ns) {
            counters.duplicates += 1;
            return;
        }
        self.open.time_out(event.header.at_ns, limits.connection_timeout_ns);
        if !self.open.is_known(&event.key, proven_ns) {
            self.established(&event.key, proven_ns, limits, counters);
        }
        let progress = self.open.progress(&event.key, Totals::of(&event.flow));
        if let Some((totals, before)) = progress {
            self.add(event, &totals, before.as_deref());
        }
    }

    fn add(&mut self, event: &Closed, totals: &Totals, before: Option<&Totals>) {
        let at_ns = event.header.at_ns;
        let rhythm = self.rhythm.get_or_insert_default();
        rhythm.add(at_ns, totals, before);
        if event.key.protocol == Protocol::Tcp as u32 {
            rhythm.note_run(at_ns, totals);
        }
    }

    pub(super) fn stalled(
        &mut self,
        key: &FlowKey,
        at_ns: u64,
        limits: &ProfileLimits,
        counters: &mut ProfileCounters,
    ) {
        self.open.time_out(at_ns, limits.connection_timeout_ns);
        match self.open.stall(key, at_ns, limits) {
            Outcome::New => {}
            Outcome::Known => counters.duplicates += 1,
            Outcome::Full => counters.untracked += 1,
        }
    }

    pub(super) fn time_out(&mut self, now_ns: u64, timeout_ns: u64) {
        self.open.time_out(now_ns, timeout_ns);
    }

    pub(super) fn end_all(&mut self, now_ns: u64) {
        self.open.end_all(now_ns);
    }
}
