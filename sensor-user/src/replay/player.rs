//! A capture, from its first frame to its end.

use std::sync::Arc;

use weir_common::{
    abi::{Closed, EventHeader, EventKind, time::SECOND_NS},
    packet::{Headers, Heading, parse},
};

use super::{
    host::Host,
    packet::CapturedPacket,
    server::{Ports, Servers},
    session::{Session, Witness},
    summary::Summary,
};
use crate::{
    capture::Frame,
    enforce::stage::Stage,
    event::{Event, Signal},
    policy::CompiledPolicy,
    score::Clock,
};

/// When a capture seems to begin on the monotonic clock: long enough after 0 for every window.
const BEGINS_S: u64 = 100_000;

/// The latest time that is believed: some 290 years later, so that terms can be added to it.
const LATEST_NS: u64 = u64::MAX / 2;

/// Plays frames.
#[derive(Debug)]
pub struct Player {
    host: Host,
    session: Session,
    servers: Servers,
    ports: Ports,
    clock: Clock,
    now_ns: u64,
    summary: Summary,
}

impl Player {
    /// A player under a policy that knows who the protected host is. `first_ns` is when the first frame
    /// was taken, in ns since 1970.
    #[must_use]
    pub fn new(policy: Arc<CompiledPolicy>, servers: Servers, first_ns: u64) -> Self {
        let clock = Clock { unix_s_at_zero: (first_ns / SECOND_NS).saturating_sub(BEGINS_S) };
        Self {
            host: Host::new(&policy),
            ports: Ports::of(&policy),
            session: Session::new(policy, clock, Host::seed()),
            servers,
            clock,
            now_ns: 0,
            summary: Summary::default(),
        }
    }

    /// The same with policies at this stage.
    #[must_use]
    pub fn at(mut self, stage: Stage) -> Self {
        self.session.set_stage(stage);
        self
    }

    /// How the packets' time relates to the calendar.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// What there was so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let counters = self.session.engine().counters();
        Summary { sources: counters.sources, ..self.summary }
    }

    /// Plays a frame.
    pub fn frame(&mut self, frame: &Frame<'_>, witness: &mut impl Witness) {
        self.summary.frame(frame.time_ns);
        let Ok((mut packet, link)) = CapturedPacket::of(frame) else {
            self.summary.unread += 1;
            return;
        };
        let mut headers = Headers::default();
        if parse(&packet, link, Heading::Ingress, &mut headers).is_err() {
            self.summary.unread += 1;
            return;
        }
        let Some(heading) = self.servers.heading(&headers.key, &self.ports) else {
            self.summary.between_others += 1;
            return;
        };
        self.time(frame.time_ns, witness);
        self.host.packet(self.now_ns, heading, &mut packet, link);
        self.settle(witness);
    }

    /// An application said something. Its time is `time_ns`, as that of a frame.
    pub fn signal(&mut self, time_ns: u64, signal: Signal, witness: &mut impl Witness) {
        self.time(time_ns, witness);
        let event = Event::Signal(Signal { at_ns: self.now_ns, ..signal });
        self.summary.event(&event);
        self.session.event(&event, witness);
    }

    /// The capture is over. Of connections that go on, the daemon would hear in time; so they are told
    /// here as they stand. Nothing else is invented: who is silent from now on is not judged for it.
    pub fn finish(&mut self, witness: &mut impl Witness) {
        if self.now_ns == 0 {
            return;
        }
        for (key, flow) in self.host.open_flows() {
            let header = EventHeader {
                at_ns: self.now_ns,
                kind: EventKind::Progress as u8,
                service: flow.service,
                ..EventHeader::default()
            };
            let event = Event::Progress(Closed { header, key, flow });
            self.summary.event(&event);
            self.session.event(&event, witness);
        }
        let host = &self.host;
        self.session.tick(self.now_ns, &|key| host.flow(key), witness);
    }

    /// Time comes to that of a frame; it never goes back.
    fn time(&mut self, time_ns: u64, witness: &mut impl Witness) {
        let zero_ns = self.clock.unix_s_at_zero.saturating_mul(SECOND_NS);
        self.now_ns = self.now_ns.max(time_ns.saturating_sub(zero_ns)).clamp(1, LATEST_NS);
        let host = &self.host;
        self.session.pass_time(self.now_ns, &|key| host.flow(key), witness);
    }

    /// Judges what the last packet led to.
    fn settle(&mut self, witness: &mut impl Witness) {
        let (events, records) = self.host.take();
        for event in &events {
            self.summary.event(event);
            self.session.event(event, witness);
        }
        for record in &records {
            self.session.hello(record, witness);
        }
    }
}
