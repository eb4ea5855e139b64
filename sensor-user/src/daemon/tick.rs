//! Once a second: the pulse, the passing of time, idle hoarders, what expired, what has to be
//! kept.

use weir_common::abi::{FlowKey, time};

use super::{
    Daemon,
    chores::{Chore, Then},
    sensor::Sensor,
};
use crate::{
    enforce::guard::Guards,
    event::Event,
    system::{address, clock, route},
};

/// How often this host's own addresses and gateways are looked up again, in ticks.
const GUARDS_EVERY: u64 = 60;

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
        if self.ticks.is_multiple_of(GUARDS_EVERY) {
            self.renew_guards();
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

    /// Addresses come and go (DHCP, tunnels).
    fn renew_guards(&mut self) {
        match guards() {
            Ok(guards) => {
                let guards = guards.with_proxies(&self.engine.policy().proxies);
                if guards != self.guards {
                    tracing::info!("this host's addresses or gateways changed");
                    self.set_guards(guards);
                }
            }
            Err(error) => tracing::warn!("cannot look this host's addresses up: {error}"),
        }
    }

    /// Guards these from now on; in the kernel with the next `apply`.
    pub(super) fn set_guards(&mut self, guards: Guards) {
        self.ledger.set_guards(guards.clone(), clock::monotonic_ns());
        self.feeds.protect(&guards);
        self.guards = guards;
    }
}

/// What must stay reachable: this host's own addresses and its default gateways.
pub(super) fn guards() -> std::io::Result<Guards> {
    let mut addresses = address::own()?;
    addresses.extend(route::gateways()?);
    Ok(Guards::new(addresses))
}
