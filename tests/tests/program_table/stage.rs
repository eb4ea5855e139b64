//! A stage on which stories are played, packet by packet, and every one of them checked.
//!
//! Each story begins with the same tables and a visitor that no other story had. What happened is
//! written down, so that the same stories on another stage can be compared with it.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use ipnet::IpNet;
use weir_common::{
    abi::{
        Control, Flow, Guard, Mode, Protocol, Tally, Verdict, VerdictClass, flow::FLOW_APPROXIMATE,
        time,
    },
    host::HelloRecord,
    packet::{Heading, Link},
    pipeline::Decision,
    tls::Keys,
};
use weir_lab::bpf::{Counter, Engine, Fate, Hook, Moved, Records, moved};
use weir_sensor::{
    enforce::dataplane::{ServiceName, ServicePort, Subject},
    event::Event,
    fingerprint::syn::SynPattern,
};

use crate::{client_hello::ClientHello, expect::Expect, heard::keys_of, talk::Talk};

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
    mark: 0x80,
    lane_interval_ns: 10_000_000_000,
    lane_burst_ns: 10_000_000_000,
    strays_from_ns: 0,
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
    hellos: Vec<HelloRecord>,
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
    subjects: Vec<Subject>,
    guarded: Vec<u8>,
    is_arranged: bool,
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
            subjects: Vec::new(),
            guarded: Vec::new(),
            is_arranged: false,
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
        for subject in std::mem::take(&mut self.subjects) {
            self.engine.remove_subject(subject).unwrap();
        }
        for service in std::mem::take(&mut self.guarded) {
            self.engine.set_guard(service, Guard::default()).unwrap();
        }
        if std::mem::take(&mut self.is_arranged) {
            self.shop_is(0).names(&[]).proxies(&[]).interface_is(0);
            self.is_arranged = false;
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

    /// Writes a verdict without an end on SYNs that look like this.
    pub(crate) fn syn_verdict(&mut self, look: &str, id: u16, class: &VerdictClass) -> &mut Self {
        let pattern: SynPattern = look.parse().unwrap();
        let key = pattern.key(&self.engine.key_seed());
        self.subject(Subject::Syn(key), id, class)
    }

    /// Writes a verdict without an end on something else than an address.
    pub(crate) fn subject(&mut self, subject: Subject, id: u16, class: &VerdictClass) -> &mut Self {
        self.write_subject(subject, id, class, 0)
    }

    /// Writes one that ends after a while.
    pub(crate) fn subject_for(
        &mut self,
        subject: Subject,
        id: u16,
        class: &VerdictClass,
        lasting: Duration,
    ) -> &mut Self {
        let end = time::tick_ceil((self.now + lasting).as_nanos() as u64);
        self.write_subject(subject, id, class, end)
    }

    /// Removes what was said of something else than an address.
    pub(crate) fn no_subject(&mut self, subject: Subject) -> &mut Self {
        self.engine.remove_subject(subject).unwrap();
        self.subjects.retain(|it| *it != subject);
        self
    }

    fn write_subject(
        &mut self,
        subject: Subject,
        id: u16,
        class: &VerdictClass,
        expires_tick: u32,
    ) -> &mut Self {
        self.engine.set_class(id, class).unwrap();
        let verdict = Verdict { class: id, expires_tick, ..Verdict::default() };
        self.engine.set_subject(subject, verdict).unwrap();
        self.subjects.push(subject);
        self
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

    /// The keys of a hello, by this engine's secret.
    pub(crate) fn keys(&self, hello: &ClientHello) -> Keys {
        keys_of(&hello.message(), self.engine.key_seed())
    }

    /// In this story port 443 has these `SERVICE_*` bits.
    pub(crate) fn shop_is(&mut self, flags: u8) -> &mut Self {
        let mut ports = PORTS;
        let [shop, ..] = &mut ports;
        shop.flags = flags;
        self.engine.set_services(&ports).unwrap();
        self.is_arranged = true;
        self
    }

    /// In this story these names, asked for at port 443, stand for these services.
    pub(crate) fn names(&mut self, names: &[(&str, u8)]) -> &mut Self {
        let names = names.iter().map(|(name, service)| ServiceName {
            port_service: SHOP,
            name: (*name).to_owned(),
            service: *service,
        });
        self.engine.set_names(&names.collect::<Vec<_>>()).unwrap();
        self.is_arranged = true;
        self
    }

    /// In this story these are proxies that send a PROXY header.
    pub(crate) fn proxies(&mut self, proxies: &[&str]) -> &mut Self {
        let proxies: Vec<IpNet> = proxies.iter().map(|net| net.parse().unwrap()).collect();
        self.engine.set_proxies(&proxies).unwrap();
        self.is_arranged = true;
        self
    }

    /// In this story the interface has these `INTERFACE_*` bits.
    pub(crate) fn interface_is(&mut self, flags: u32) -> &mut Self {
        self.engine.set_interface_flags(flags).unwrap();
        self.is_arranged = true;
        self
    }

    /// Complains where a flow is not remembered so.
    pub(crate) fn remembers(&mut self, what: &str, talk: &Talk, is_so: impl Fn(&Flow) -> bool) {
        self.remembers_of(Protocol::Tcp, what, talk, is_so);
    }

    /// The same of either protocol.
    pub(crate) fn remembers_of(
        &mut self,
        protocol: Protocol,
        what: &str,
        talk: &Talk,
        is_so: impl Fn(&Flow) -> bool,
    ) {
        let flows = self.engine.records().unwrap().flows;
        let key = talk.flow(protocol);
        let flow = flows.iter().find(|(it, _)| *it == key).map(|(_, flow)| flow);
        if !flow.is_some_and(is_so) {
            self.complain(&format!("{what}: remembers {flow:?}"));
        }
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
        let mut fate = match self.engine.run(heading, frame) {
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
        let mut hellos = self.engine.take_hellos().unwrap();
        let heard = expect.compare_heard(&hellos, self.engine.key_seed(), self.now_ns());
        for complaint in expect.compare_hellos(frame, &hellos).iter().chain(&heard) {
            self.complain(&format!("{what}: {complaint}"));
        }
        for event in &mut events {
            self.forget_key(event);
        }
        for hello in &mut hellos {
            hello.header.keys = Keys::default();
            forget_gaps(hello);
        }
        let whole = place.hook == Hook::Tc;
        for complaint in expect.compare(&fate, frame, &moved, &events, whole) {
            self.complain(&format!("{what}: {complaint}"));
        }
        if !expect.is_marked_so(&fate, place.hook) {
            self.complain(&format!("{what}: its mark is {:#x}", fate.mark));
        }
        fate.mark = 0;
        events.iter_mut().for_each(forget_approximation);
        let packet = fate.packet.clone();
        if let Some(moved) = expect.comparable(moved) {
            let happened = Happened { fate, moved, events, hellos };
            self.record.steps.insert((self.stories, self.steps), (what.to_owned(), happened));
        }
        packet
    }
}

impl Stage<'_> {
    /// Keys depend on a secret that every engine has its own of: what counts is whose they are.
    fn forget_key(&self, event: &mut Event) {
        let Event::Hit(hit) = event else { return };
        let key = hit.fingerprint;
        let is_it = |subject: &Subject| matches!(subject, Subject::Syn(it) | Subject::Fingerprint(it) if *it == key);
        if key != 0 {
            let place = self.subjects.iter().position(is_it);
            hit.fingerprint = place.map_or(u64::MAX, |place| place as u64 + 1);
        }
    }
}

/// What lies in the gaps of what was collected is left from another hello.
fn forget_gaps(hello: &mut HelloRecord) {
    let Some(coverage) = hello.coverage else { return };
    for (at, byte) in hello.bytes.iter_mut().enumerate() {
        if coverage.get(at / 64).is_none_or(|word| word >> (at % 64) & 1 == 0) {
            *byte = 0;
        }
    }
}

fn forget_approximation(event: &mut Event) {
    if let Event::Closed(closed) | Event::Progress(closed) = event {
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
