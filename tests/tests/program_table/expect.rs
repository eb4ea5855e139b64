//! What a packet is expected to do: where it goes, which counters it moves, which events it causes
//! — and no others.

use std::collections::BTreeMap;

use weir_common::{
    abi::{
        Action, CloseReason, EventKind, HelloKind, MilestoneKind, Mode, Reason, VerdictKind,
        flow::FLOW_PROXIED, key::Address, tally::Outcome,
    },
    host::HelloRecord,
    pipeline::Decision,
    tls::Seed,
};
use weir_lab::bpf::{Counter, Fate, Hook, Moved};
use weir_sensor::event::Event;

use crate::{
    heard::Heard,
    stage::{ENFORCING, NONE, goes_on, packets},
};

/// An event, as far as stories tell it. All of its bytes are compared between the engines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Told {
    /// A flow was proven: the source's connections so far, and whether the handshake is known.
    Established { connections: u32, known: bool },
    /// A flow was proven that a verdict of this class would have refused.
    WouldBeRefused { class: u16 },
    /// A proxy named the client of a flow: its address, and its connections so far.
    Proxied { client: Address, port: u16, connections: u32 },
    /// A flow ended.
    Closed(CloseReason),
    /// A flow has got some way: its exchanges, and records of application data from its client.
    Progress { exchanges: u32, records: u32 },
    /// A threshold was crossed, with its value.
    Milestone(MilestoneKind, u64),
    /// A verdict of this class, on an address or something else, was hit that many times.
    Hit { by: VerdictKind, class: u16, action: Action, mode: Mode, hits: u32 },
    /// Something that no story expects.
    Unreadable,
}

impl Told {
    fn of(event: &Event) -> Self {
        match event {
            Event::Established(it) if it.would_class != 0 => {
                Self::WouldBeRefused { class: it.would_class }
            }
            Event::Established(it) if it.flags & FLOW_PROXIED != 0 => Self::Proxied {
                client: it.client,
                port: u16::from_be(it.client_port),
                connections: it.connections,
            },
            Event::Established(it) => {
                Self::Established { connections: it.connections, known: it.flags == 0 }
            }
            Event::Closed(it) => match it.header.detail {
                1 => Self::Closed(CloseReason::Fin),
                2 => Self::Closed(CloseReason::ClientReset),
                3 => Self::Closed(CloseReason::ServerReset),
                4 => Self::Closed(CloseReason::Reopened),
                _ => Self::Unreadable,
            },
            Event::Milestone(it) => MilestoneKind::from_u8(it.header.detail)
                .map_or(Self::Unreadable, |kind| Self::Milestone(kind, it.value)),
            Event::Hit(it) if it.header.kind == EventKind::Hit as u8 => Self::Hit {
                by: VerdictKind::from_u8(it.by),
                class: it.class,
                action: Action::from_u8(it.header.detail),
                mode: Mode::from_u8(it.header.mode),
                hits: it.hits,
            },
            Event::Progress(it) => Self::Progress {
                exchanges: it.flow.exchanges,
                records: it.flow.ingress_records.count,
            },
            Event::Signal(_) | Event::Hit(_) | Event::Hello(_) | Event::Tick { .. } => {
                Self::Unreadable
            }
        }
    }
}

/// What is to happen.
#[derive(Clone, Debug)]
pub(crate) struct Expect {
    decision: Decision,
    counts: BTreeMap<Counter, u64>,
    events: Vec<Told>,
    initials: usize,
    heard: Vec<Heard>,
    padding: usize,
    rewritten: bool,
    peculiar: bool,
    marked: bool,
}

/// It passes, and nothing is counted but what is said further.
pub(crate) fn passes() -> Expect {
    Expect::new(Decision::Pass)
}

/// It passes and is counted as a packet that the service was given.
pub(crate) fn served(service: u8) -> Expect {
    passes().service(service, Outcome::Pass)
}

/// It passes, for a reason that a counter gives.
pub(crate) fn passes_as(reason: Reason) -> Expect {
    passes().reason(reason)
}

/// A first SYN that reaches a protected service.
pub(crate) fn syn_served(service: u8) -> Expect {
    served(service).reason(Reason::SynSeen)
}

/// It is dropped.
pub(crate) fn dropped() -> Expect {
    Expect::new(Decision::Drop)
}

/// It is dropped by an operator's verdict of this class, to a service.
pub(crate) fn dropped_by(class: u16, service: u8) -> Expect {
    dropped().reason(Reason::DropOperator).class(class).service(service, Outcome::Drop)
}

/// A packet without ports is dropped by an operator's verdict of this class.
pub(crate) fn dropped_opaque(class: u16) -> Expect {
    dropped_by(class, NONE)
}

/// It is turned around, out of the interface that it came by.
pub(crate) fn answered() -> Expect {
    Expect::new(Decision::Reply).rewritten()
}

impl Expect {
    fn new(decision: Decision) -> Self {
        Self {
            decision,
            counts: BTreeMap::new(),
            events: Vec::new(),
            initials: 0,
            heard: Vec::new(),
            padding: 0,
            rewritten: false,
            peculiar: false,
            marked: false,
        }
    }

    /// A reason is counted.
    pub(crate) fn reason(self, reason: Reason) -> Self {
        self.count(Counter::reason(reason))
    }

    /// A verdict class is counted.
    pub(crate) fn class(self, id: u16) -> Self {
        self.count(Counter::class(id))
    }

    /// A service's outcome is counted.
    pub(crate) fn service(self, service: u8, outcome: Outcome) -> Self {
        self.count(Counter::service(service, outcome))
    }

    /// An event comes.
    pub(crate) fn event(mut self, event: Told) -> Self {
        self.events.push(event);
        self
    }

    /// An event comes before those so far.
    pub(crate) fn told_first(mut self, event: Told) -> Self {
        self.events.insert(0, event);
        self
    }

    /// A verdict reports its hit, the `hits`-th.
    pub(crate) fn hit(self, class: u16, action: Action, mode: Mode, hits: u32) -> Self {
        self.hit_by(VerdictKind::Address, class, action, hits, mode)
    }

    /// A verdict on something else than an address reports its hit, the `hits`-th: before the connection
    /// that the packet proves.
    pub(crate) fn hit_by(
        self,
        by: VerdictKind,
        class: u16,
        action: Action,
        hits: u32,
        mode: Mode,
    ) -> Self {
        let mut expect = self;
        let is_proof = |told: &Told| {
            matches!(
                told,
                Told::Established { .. } | Told::WouldBeRefused { .. } | Told::Proxied { .. }
            )
        };
        let at = expect.events.iter().position(is_proof).unwrap_or(expect.events.len());
        expect.events.insert(at, Told::Hit { by, class, action, mode, hits });
        expect
    }

    /// The daemon gets the datagram, because it begins with a QUIC Initial.
    pub(crate) fn handed_over(mut self) -> Self {
        self.initials += 1;
        self.reason(Reason::QuicInitial)
    }

    /// The daemon hears of a ClientHello over TCP.
    pub(crate) fn hears(mut self, heard: Heard) -> Self {
        self.heard.push(heard);
        self
    }

    /// What was not heard as expected, of ClientHellos over TCP.
    pub(crate) fn compare_heard(
        &self,
        hellos: &[HelloRecord],
        seed: Seed,
        now_ns: u64,
    ) -> Vec<String> {
        let is_tcp = |it: &&HelloRecord| it.header.kind != HelloKind::Quic as u8;
        let hellos: Vec<&HelloRecord> = hellos.iter().filter(is_tcp).collect();
        if hellos.len() != self.heard.len() {
            let kinds: Vec<u8> = hellos.iter().map(|it| it.header.kind).collect();
            return vec![format!("heard of {kinds:?}, expected {:?}", self.heard)];
        }
        let pairs = self.heard.iter().zip(hellos);
        pairs.flat_map(|(heard, hello)| heard.compare(hello, seed, now_ns)).collect()
    }

    /// What was not handed over as expected, of what begins with a QUIC Initial.
    pub(crate) fn compare_hellos(&self, frame: &[u8], hellos: &[HelloRecord]) -> Vec<String> {
        let is_initial = |it: &&HelloRecord| it.header.kind == HelloKind::Quic as u8;
        let initials: Vec<&HelloRecord> = hellos.iter().filter(is_initial).collect();
        let mut complaints = Vec::new();
        if initials.len() != self.initials {
            complaints.push(format!("{} Initials were handed over", initials.len()));
        }
        for initial in initials {
            let is_whole = initial.header.length as usize == initial.bytes.len();
            if !is_whole || !frame.ends_with(&initial.bytes) {
                complaints.push("what was handed over is not the datagram's payload".to_owned());
            }
        }
        complaints
    }

    /// The packet goes on as another one.
    pub(crate) fn rewritten(mut self) -> Self {
        self.rewritten = true;
        self
    }

    /// The frame is this much longer than its IP packet: only a hook that sees whole buffers counts
    /// all of it.
    pub(crate) fn padded_by(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    /// Hooks differ in this one, as the story says.
    pub(crate) fn peculiar(mut self) -> Self {
        self.peculiar = true;
        self
    }

    /// The packet is marked, where the hook has marks: XDP has none.
    pub(crate) fn marked(mut self) -> Self {
        self.marked = true;
        self
    }

    /// Whether the packet has the mark that it should have.
    pub(crate) fn is_marked_so(&self, fate: &Fate, hook: Hook) -> bool {
        let mark = if self.marked && hook != Hook::Xdp { ENFORCING.mark } else { 0 };
        fate.mark == mark
    }

    fn count(mut self, counter: Counter) -> Self {
        *self.counts.entry(counter).or_default() += 1;
        self
    }

    /// What is not as expected. `whole`: the hook counts whole buffers.
    pub(crate) fn compare(
        &self,
        fate: &Fate,
        frame: &[u8],
        moved: &Moved,
        events: &[Event],
        whole: bool,
    ) -> Vec<String> {
        let mut complaints = Vec::new();
        if fate.decision != self.decision {
            complaints.push(format!("expected {:?}, was {:?}", self.decision, fate.decision));
        }
        if goes_on(fate) && !self.rewritten && fate.packet != frame {
            complaints.push("it was rewritten".to_owned());
        }
        let counts = packets(moved);
        if counts != self.counts {
            complaints.push(format!("expected to count {:?}, counted {counts:?}", self.counts));
        }
        let length = (frame.len() - if whole { 0 } else { self.padding }) as u64;
        for (counter, by) in moved {
            let bytes = if counter.is_note() { 0 } else { by.packets * length };
            if by.bytes != bytes {
                complaints.push(format!("{counter:?} counted {} bytes, not {bytes}", by.bytes));
            }
        }
        let told: Vec<Told> = events.iter().map(Told::of).collect();
        if told != self.events {
            complaints.push(format!("expected events {:?}, had {told:?}", self.events));
        }
        complaints
    }

    /// The counters as far as every hook has to agree on them; `None` where they differ.
    pub(crate) fn comparable(&self, mut moved: Moved) -> Option<Moved> {
        if self.padding != 0 {
            moved.values_mut().for_each(|by| by.bytes = 0);
        }
        (!self.peculiar).then_some(moved)
    }
}
