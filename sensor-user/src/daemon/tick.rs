//! Once a second: the pulse, the passing of time, idle hoarders, what expired, what has to be
//! kept.

use weir_common::abi::{FlowKey, time};

use super::{
    Daemon,
    chores::{Chore, Then},
    sensor::Sensor,
};
use crate::{event::Event, system::clock};

/// How often it is written down what caps on new drops did, in ticks.
const CAPS_EVERY: u64 = 60;

/// How often it is looked at whether events were lost, in ticks.
const LOSSES_EVERY: u64 = 10;

impl<S: Sensor> Daemon<S> {
    /// A second passed.
    pub(super) fn tick(&mut self) {
        let now_ns = clock::monotonic_ns();
        self.ticks += 1;
        if let Err(error) = self.sensor.pulse(time::tick(now_ns)) {
            tracing::error!("{error}; with a heartbeat in the policy, enforcement will stop");
        }
        self.offer_postponed();
        self.renew_feeds();
        self.tick_baselines();
        self.tick_hellos(now_ns);
        let mut events = vec![Event::Tick { at_ns: now_ns }];
        let stall_ns = self.engine.policy().settings.stall_ns;
        let flow = |key: &FlowKey| self.sensor.flow(key);
        let looked = self.open_flows.look(now_ns, stall_ns, &flow, &mut events);
        if let Err(error) = looked {
            tracing::warn!("{error}; idle connections are not seen this second");
        }
        self.handle(&events);
        if let Some(recorder) = &mut self.recorder {
            recorder.flush();
        }
        self.tick_stages(now_ns);
        self.lift_pressed(now_ns);
        self.tick_breaker(now_ns);
        self.tick_remembered();
        let ended = self.ledger.sweep(now_ns);
        if ended > 0 && !self.allowed.is_empty() {
            self.note_allowed(now_ns);
        }
        self.tick_mode();
        if self.ticks.is_multiple_of(CAPS_EVERY) {
            self.note_caps();
            self.watch_hidden();
        }
        if self.ticks % LOSSES_EVERY == 1 {
            self.watch_losses(now_ns);
        }
        if self.ledger.is_due() {
            self.apply();
        }
        self.tick_store(now_ns);
        self.tick_audit();
        self.tick_journal();
    }

    /// Connections that a dump may have missed, and chores that found the queue full.
    fn offer_postponed(&mut self) {
        for chore in std::mem::take(&mut self.postponed) {
            self.charge(chore);
        }
        for targets in std::mem::take(&mut self.again) {
            self.charge(Chore::End { targets, then: Then::Count });
        }
    }
}
