//! What one source does to one set of services.

use weir_common::abi::{Flow, FlowKey, flow::FLOW_RESET_SENT};

use super::{
    ProfileCounters, ProfileLimits,
    arrivals::Arrivals,
    closed::ClosedConnections,
    hellos::Hellos,
    open::{OpenConnections, Outcome},
};

/// A source's connections to a set of services.
#[derive(Debug, Default)]
pub struct Track {
    pub(crate) arrivals: Arrivals,
    pub(crate) open: OpenConnections,
    pub(crate) closed: ClosedConnections,
    pub(crate) hellos: Hellos,
}

impl Track {
    pub(super) fn established(
        &mut self,
        key: &FlowKey,
        at_ns: u64,
        limits: &ProfileLimits,
        counters: &mut ProfileCounters,
    ) {
        self.open.time_out(at_ns, limits.connection_timeout_ns);
        if self.closed.is_known(key, at_ns) {
            counters.duplicates += 1;
            return;
        }
        match self.open.open(key, at_ns, limits.connections_per_source) {
            Outcome::New => {}
            Outcome::Known => {
                counters.duplicates += 1;
                return;
            }
            // It came, even if it cannot be followed.
            Outcome::Full => counters.untracked += 1,
        }
        self.arrivals.record(at_ns);
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
            self.open.close(key);
            self.arrivals.take_back(proven_ns);
        }
    }

    pub(super) fn closed(
        &mut self,
        key: &FlowKey,
        flow: &Flow,
        at_ns: u64,
        counters: &mut ProfileCounters,
    ) {
        let was_open = self.open.close(key);
        // What a verdict cut short says nothing about the client.
        let is_news = flow.flags & FLOW_RESET_SENT != 0 || self.closed.record(key, flow, at_ns);
        if !is_news {
            counters.duplicates += 1;
        } else if !was_open {
            counters.unknown_closed += 1;
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
