//! A recording, from its first event to its end.

use std::sync::Arc;

use weir_common::abi::time::SECOND_NS;

use super::{recording::Head, session::Witness, summary::Summary};
use crate::{
    enforce::stage::{Acting, CANARY_PPM, Stage},
    event::Event,
    policy::CompiledPolicy,
    score::{Clock, Engine},
};

/// Judges recorded events.
#[derive(Debug)]
pub struct Judge {
    engine: Engine,
    clock: Clock,
    /// By the number that a signal has in the recording: the one that it has in the policy.
    signals: Vec<Option<u16>>,
    summary: Summary,
}

impl Judge {
    /// A judge of a recording's events. The policy was compiled with the recording's numbers of
    /// services.
    #[must_use]
    pub fn new(policy: Arc<CompiledPolicy>, head: &Head) -> Self {
        let clock = Clock { unix_s_at_zero: head.unix_s_at_zero };
        let kinds = head.signals.iter().map(|name| policy.signals.kind(name));
        Self {
            signals: kinds.collect(),
            engine: super::reputation::engine(policy, clock),
            clock,
            summary: Summary::default(),
        }
    }

    /// The same with policies at this stage.
    #[must_use]
    pub fn at(mut self, stage: Stage) -> Self {
        self.engine.set_acting(Acting::all(stage, CANARY_PPM));
        self
    }

    /// How the events' time relates to the calendar.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// What there was so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary { sources: self.engine.counters().sources, ..self.summary }
    }

    /// Judges an event.
    pub fn event(&mut self, event: &Event, witness: &mut impl Witness) {
        let zero_ns = self.clock.unix_s_at_zero.saturating_mul(SECOND_NS);
        self.summary.time(zero_ns.saturating_add(event.at_ns()));
        self.summary.event(event);
        let mut event = *event;
        if let Event::Signal(signal) = &mut event {
            // What the policy does not declare, it does not count.
            let kind = self.signals.get(usize::from(signal.kind)).copied().flatten();
            let Some(kind) = kind else { return };
            signal.kind = kind;
        }
        witness.event(&event);
        let decisions = self.engine.handle(&event);
        witness.judged(&event, decisions, &mut self.engine);
    }
}
