//! The daemon's way of an event, without a daemon: hellos are read, flows watched and events judged by
//! the same code, on the time of the packets alone.

use std::{convert::Infallible, sync::Arc};

use weir_common::{
    abi::{Established, Flow, FlowKey, Protocol, time::SECOND_NS},
    host::HelloRecord,
    tls::Seed,
};

use crate::{
    daemon::{
        hellos::{reader::Reader, suspects::Suspects},
        open_flows::OpenFlows,
    },
    enforce::stage::{Acting, CANARY_PPM, Stage},
    event::Event,
    policy::CompiledPolicy,
    score::{Clock, Decision, Engine},
};

/// Ticks at most between two packets: the seconds of an hour. In a longer silence they are further
/// apart, so that a capture with a wrong clock ends.
const MOST_TICKS: u64 = 3_600;

/// What is made of events.
pub trait Witness {
    /// An event, before it is judged.
    fn event(&mut self, event: &Event);
    /// An event, after it was judged, and what followed.
    fn judged(&mut self, event: &Event, decisions: Vec<Decision>, engine: &mut Engine);
}

/// A daemon's state of mind.
#[derive(Debug)]
pub(super) struct Session {
    engine: Engine,
    reader: Reader,
    suspects: Suspects<()>,
    open_flows: OpenFlows,
    stall_ns: u64,
    /// When the next tick is due; 0 = nothing happened yet.
    tick_ns: u64,
}

impl Session {
    /// Nothing has happened yet.
    pub(super) fn new(policy: Arc<CompiledPolicy>, clock: Clock, seed: Seed) -> Self {
        Self {
            stall_ns: policy.settings.stall_ns,
            engine: super::reputation::engine(policy, clock),
            reader: Reader::new(seed),
            suspects: Suspects::default(),
            open_flows: OpenFlows::default(),
            tick_ns: 0,
        }
    }

    /// Policies are at this stage.
    pub(super) fn set_stage(&mut self, stage: Stage) {
        self.engine.set_acting(Acting::all(stage, CANARY_PPM));
    }

    /// What the engine knows.
    pub(super) const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Time has come to `now_ns`: a tick for every second since the last one. `flow` looks a flow's
    /// record up.
    pub(super) fn pass_time(
        &mut self,
        now_ns: u64,
        flow: &impl Fn(&FlowKey) -> Option<Flow>,
        witness: &mut impl Witness,
    ) {
        if self.tick_ns == 0 {
            self.tick_ns = now_ns.saturating_add(SECOND_NS);
        }
        let silence_ns = now_ns.saturating_sub(self.tick_ns);
        let step_ns = SECOND_NS.max(silence_ns / MOST_TICKS);
        while self.tick_ns <= now_ns {
            self.tick(self.tick_ns, flow, witness);
            // The end of time has no next second.
            let Some(next_ns) = self.tick_ns.checked_add(step_ns) else { return };
            self.tick_ns = next_ns;
        }
    }

    /// A second passed.
    pub(super) fn tick(
        &mut self,
        at_ns: u64,
        flow: &impl Fn(&FlowKey) -> Option<Flow>,
        witness: &mut impl Witness,
    ) {
        self.reader.renew_budget();
        let mut events = vec![Event::Tick { at_ns }];
        let flow = |key: &FlowKey| Ok::<_, Infallible>(flow(key));
        let Ok(()) = self.open_flows.look(at_ns, self.stall_ns, &flow, &mut events);
        for event in events {
            self.judge(&event, witness);
        }
    }

    /// An event of the kernel's.
    pub(super) fn event(&mut self, event: &Event, witness: &mut impl Witness) {
        let event = match event {
            Event::Established(event) => Event::Established(self.joined(event)),
            Event::Milestone(event) => Event::Milestone(self.open_flows.refined(event)),
            other => *other,
        };
        self.judge(&event, witness);
    }

    /// A record of a ClientHello.
    pub(super) fn hello(&mut self, record: &HelloRecord, witness: &mut impl Witness) {
        let policy = Arc::clone(self.engine.policy());
        let Some(read) = self.reader.read(record, &policy.services) else { return };
        if read.is_late && read.hello.is_quic() {
            self.suspects.hello(&read.hello, None);
        }
        self.judge(&Event::Hello(read.hello), witness);
    }

    /// An event that is as the daemon judges it already.
    pub(super) fn judge(&mut self, event: &Event, witness: &mut impl Witness) {
        witness.event(event);
        self.open_flows.note(event, &self.engine.policy().proxies);
        let decisions = self.engine.handle(event);
        witness.judged(event, decisions, &mut self.engine);
    }

    /// A proof as it is after the hello that came before it: over QUIC, that names the service.
    fn joined(&mut self, event: &Established) -> Established {
        let mut event = *event;
        if event.key.protocol == Protocol::Udp as u32
            && let Some(proof) = self.suspects.proven(&event.key, event.header.at_ns)
        {
            event.header.service = proof.service;
        }
        event
    }
}
