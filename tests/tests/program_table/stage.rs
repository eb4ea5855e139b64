//! A stage on which stories are played, packet by packet, and every one of them checked.
//!
//! Each story begins with the same tables and a visitor that no other story had. What happened is
//! written down, so that the same stories on another stage can be compared with it.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use ipnet::IpNet;
use weir_common::{
    abi::{
        Control, Guard, Mode, Protocol, Tally, Verdict, VerdictClass, flow::FLOW_APPROXIMATE, time,
    },
    packet::{Heading, Link},
    pipeline::Decision,
};
use weir_lab::bpf::{Counter, Engine, Fate, Hook, Moved, Records, moved};
use weir_sensor::{enforce::dataplane::ServicePort, event::Event};

use crate::{expect::Expect, talk::Talk};

/// The protected service of TCP port 443.
pub(crate) const SHOP: u8 = 1;
/// The protected service of TCP port 8443.
pub(crate) const API: u8 = 2;
/// The protected service of UDP port 443.
pub(crate) const QUIC: u8 = 3;
/// What belongs to no service.
pub(crate) const NONE: u8 = 0;

/// The protected ports of every stage.
pub(crate) const PORTS: [ServicePort; 3] = [
    ServicePort { protocol: Protocol::Tcp, port: 443, service: SHOP, flags: 0 },
    ServicePort { protocol: Protocol::Tcp, port: 8443, service: API, flags: 0 },
    ServicePort { protocol: Protocol::Udp, port: 443, service: QUIC, flags: 0 },
];

/// The settings that stories begin with.
pub(crate) const ENFORCING: Control = Control {
    policy_mode: Mode::Enforce as u8,
    breaker_mode: Mode::Enforce as u8,
    flags: 0,
    generation: 0,
    seed: 0x5eed_0000_5eed,
    stall_ns: 5_000_000_000,
    heartbeat_limit_ticks: 0,
    reserved2: 0,
    lane_interval_ns: 10_000_000_000,
    lane_burst_ns: 10_000_000_000,
};

/// Plays begin this far apart, so that none goes back in time where another one was.
pub(crate) const PLAYS_APART: Duration = Duration::from_secs(100 * 86_400);

/// Stories begin a day apart, so that nothing of one is in time for the next.
const APART: Duration = Duration::from_secs(86_400);

/// Length of an untagged Ethernet header.
const ETHERNET: usize = 14;

/// What happened at one step, to be compared.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Happened {
    fate: Fate,
    moved: Moved,
    events: Vec<Event>,
}

/// One play: every step by story and number, and what the tables remember at the end.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) steps: BTreeMap<(usize, usize), (String, Happened)>,
    pub(crate) records: Records,
    pub(crate) complaints: Vec<String>,
    pub(crate) packets: usize,
    pub(crate) too_short: usize,
}

/// The stage.
pub(crate) struct Stage<'a> {
    engine: &'a mut dyn Engine,
    record: Record,
    now: Duration,
    counted: Vec<Tally>,
    written: Vec<IpNet>,
    guarded: Vec<u8>,
    story: &'static str,
    stories: usize,
    steps: usize,
}

impl<'a> Stage<'a> {
    /// Over an engine that knows the protected ports and has forgotten everything else.
    pub(crate) fn new(engine: &'a mut dyn Engine, begin: Duration) -> Self {
        let counted = engine.tally().unwrap();
        Self {
            engine,
            record: Record::default(),
            now: begin,
            counted,
            written: Vec::new(),
            guarded: Vec::new(),
            story: "",
            stories: 0,
            steps: 0,
        }
    }

    /// Begins a story: enforcing, without verdicts and guards, with a visitor of its own.
    pub(crate) fn story(&mut self, story: &'static str) -> &mut Self {
        self.story = story;
        self.stories += 1;
        self.steps = 0;
        self.clear();
        self.engine.set_killed(false).unwrap();
        self.engine.set_control(&ENFORCING).unwrap();
        self.after(APART)
    }

    fn clear(&mut self) {
        for net in std::mem::take(&mut self.written) {
            self.engine.remove_verdict(net).unwrap();
        }
        for service in std::mem::take(&mut self.guarded) {
            self.engine.set_guard(service, Guard::default()).unwrap();
        }
    }

    /// Time passes.
    pub(crate) fn after(&mut self, duration: Duration) -> &mut Self {
        self.now += duration;
        self.engine.set_now_ns(self.now_ns()).unwrap();
        self
    }

    /// The time on stage.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now.as_nanos() as u64
    }

    /// By which way packets come in.
    pub(crate) fn hook(&self) -> Hook {
        self.engine.place().hook
    }

    /// What stands before the IP header.
    pub(crate) fn link(&self) -> Link {
        self.engine.place().link
    }

    /// The IPv4 visitor of this story, talking to a port of the server.
    pub(crate) fn v4(&self, port: u16) -> Talk {
        let visitor = SocketAddr::from(([203, 0, 113, self.stories as u8], 40_000));
        Talk::new(visitor, SocketAddr::from(([198, 51, 100, 10], port)))
    }

    /// The IPv6 visitor of this story, in a /64 of its own.
    pub(crate) fn v6(&self, port: u16) -> Talk {
        let network = self.stories as u16;
        let visitor = SocketAddr::from(([0x2001, 0xdb8, 0x113, network, 0, 0, 0, 7], 40_000));
        Talk::new(visitor, SocketAddr::from(([0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0x10], port)))
    }

    /// Changes the settings.
    pub(crate) fn control(&mut self, control: Control) -> &mut Self {
        self.engine.set_control(&control).unwrap();
        self
    }

    /// The daemon's pulse, now.
    pub(crate) fn pulse(&mut self) -> &mut Self {
        self.engine.pulse(time::tick(self.now_ns())).unwrap();
        self
    }

    /// Turns the kill switch.
    pub(crate) fn kill(&mut self, on: bool) -> &mut Self {
        self.engine.set_killed(on).unwrap();
        self
    }

    /// Sets a service's SYN guard: a first SYN every `interval`, and `burst` ahead of it.
    pub(crate) fn guard(&mut self, service: u8, interval: Duration, burst: Duration) -> &mut Self {
        let guard = Guard {
            interval_ns: interval.as_nanos() as u64,
            burst_ns: burst.as_nanos() as u64,
            ..Guard::default()
        };
        self.engine.set_guard(service, guard).unwrap();
        self.guarded.push(service);
        self
    }

    /// Writes a verdict without an end.
    pub(crate) fn verdict(&mut self, net: &str, id: u16, class: &VerdictClass) -> &mut Self {
        self.write(net, id, class, 0)
    }

    /// Writes a verdict that ends after a while.
    pub(crate) fn verdict_for(
        &mut self,
        net: &str,
        id: u16,
        class: &VerdictClass,
        lasting: Duration,
    ) -> &mut Self {
        let end = time::tick_ceil((self.now + lasting).as_nanos() as u64);
        self.write(net, id, class, end)
    }

    /// Writes a verdict of a class that nobody defined.
    pub(crate) fn verdict_of_undefined_class(&mut self, net: &str, id: u16) -> &mut Self {
        self.entry(net, id, 0)
    }

    fn write(&mut self, net: &str, id: u16, class: &VerdictClass, expires_tick: u32) -> &mut Self {
        self.engine.set_class(id, class).unwrap();
        self.entry(net, id, expires_tick)
    }

    fn entry(&mut self, net: &str, class: u16, expires_tick: u32) -> &mut Self {
        let net: IpNet = net.parse().unwrap();
        let verdict =
            Verdict { class, prefix_len: net.prefix_len(), expires_tick, ..Verdict::default() };
        self.engine.set_verdict(net, verdict).unwrap();
        self.written.push(net);
        self
    }

    /// A packet arrives. Returns it as it goes on.
    pub(crate) fn arrives(&mut self, what: &str, frame: &[u8], expect: Expect) -> Vec<u8> {
        self.step(Heading::Ingress, what, frame, expect)
    }

    /// A packet leaves.
    pub(crate) fn leaves(&mut self, what: &str, frame: &[u8], expect: Expect) {
        self.step(Heading::Egress, what, frame, expect);
    }

    /// Says that something is not as it should be.
    pub(crate) fn complain(&mut self, what: &str) {
        let place = self.engine.place();
        self.record.complaints.push(format!("{place}: {}: {what}", self.story));
    }

    /// Ends the play.
    pub(crate) fn finish(mut self) -> Record {
        self.clear();
        self.record.records = self.engine.records().unwrap();
        if self.hook() == Hook::Tc {
            self.record.records.forget_approximation();
        }
        self.record
    }

    fn step(&mut self, heading: Heading, what: &str, frame: &[u8], expect: Expect) -> Vec<u8> {
        self.steps += 1;
        let place = self.engine.place();
        let frame = match place.link {
            Link::Ethernet => frame,
            Link::None => frame.get(ETHERNET..).unwrap_or_default(),
        };
        if !self.engine.takes(heading, frame) {
            self.record.too_short += 1;
            return frame.to_vec();
        }
        self.record.packets += 1;
        let fate = match self.engine.run(heading, frame) {
            Ok(fate) => fate,
            Err(error) => {
                self.complain(&format!("{what}: {error:#}"));
                return frame.to_vec();
            }
        };
        let after = self.engine.tally().unwrap();
        let moved = moved(&self.counted, &after);
        self.counted = after;
        let mut events = self.engine.take_events().unwrap();
        let whole = place.hook == Hook::Tc;
        for complaint in expect.compare(&fate, frame, &moved, &events, whole) {
            self.complain(&format!("{what}: {complaint}"));
        }
        events.iter_mut().for_each(forget_approximation);
        let packet = fate.packet.clone();
        if let Some(moved) = expect.comparable(moved) {
            let happened = Happened { fate, moved, events };
            self.record.steps.insert((self.stories, self.steps), (what.to_owned(), happened));
        }
        packet
    }
}

fn forget_approximation(event: &mut Event) {
    if let Event::Closed(closed) = event {
        closed.flow.flags &= !FLOW_APPROXIMATE;
    }
}

/// Whether two plays of the same stories came to the same, a line for each difference.
pub(crate) fn differences(one: &Record, other: &Record) -> Vec<String> {
    let mut lines = Vec::new();
    for (step, (what, there)) in &other.steps {
        let Some((_, here)) = one.steps.get(step) else { continue };
        if here != there {
            lines.push(format!(
                "{what} (story {}, step {}):\n  {here:?}\n  {there:?}",
                step.0, step.1
            ));
        }
    }
    lines.extend(weir_lab::bpf::difference(&one.records, &other.records));
    lines
}

/// A packet that was dropped is nobody's: its bytes do not count.
pub(crate) fn goes_on(fate: &Fate) -> bool {
    fate.decision != Decision::Drop
}

/// Counters, without bytes.
pub(crate) fn packets(moved: &Moved) -> BTreeMap<Counter, u64> {
    moved.iter().map(|(counter, by)| (*counter, by.packets)).collect()
}
