//! Connections held open, so that those who hold many and send nothing more are seen too, and so that
//! a client's connections are known that cannot be told by address and port: through proxies, and to
//! services that share a port.
//!
//! The kernel notices a stalled client at its next packet. A client that sends no next packet makes
//! no event; once a second the flows of sources with many open connections are therefore looked
//! up, and one that waits too long becomes the same event.
//!
//! Bounded in memory (as many flows as the kernel remembers) and in look-ups a second.

use std::collections::{HashMap, VecDeque};

use weir_common::abi::{
    CloseReason, Closed, Established, EventHeader, EventKind, Flow, FlowKey, Milestone,
    MilestoneKind, Protocol, SourceKey,
    flow::{FLOW_PROXIED, FLOW_STALL_REPORTED},
    key::Address,
    map::capacity,
    time::SECOND_NS,
};

use crate::{event::Event, policy::Proxies, system::address};

/// A source with fewer open connections is a browser, and is left alone.
const MANY: usize = 8;
/// Silence must last this many times as long as a wait in which the client goes on sending: it is
/// weaker evidence, because a slow server looks the same.
const PATIENCE: u64 = 5;
/// Look-ups a second; one takes about a microsecond.
const LOOKUPS: usize = 2048;
/// A QUIC connection has ended after so long a silence: the idle timeout that servers and browsers
/// commonly announce (RFC 9000, section 10.1).
const QUIC_IDLE_NS: u64 = 30 * SECOND_NS;
/// How often the flows of sources with few connections are looked up, in case a Closed event was
/// lost.
const SWEEP_NS: u64 = 60 * SECOND_NS;

/// Open flows by source.
#[derive(Debug, Default)]
pub(crate) struct OpenFlows {
    sources: HashMap<SourceKey, Held>,
    /// Every key of `sources` once; those at the front wait longest for their turn.
    turns: VecDeque<SourceKey>,
    flows: usize,
}

#[derive(Debug, Default)]
struct Held {
    flows: Vec<OpenFlow>,
    looked_ns: u64,
}

#[derive(Debug)]
struct OpenFlow {
    key: FlowKey,
    service: u8,
    ifindex: u32,
    reported: bool,
}

impl OpenFlows {
    /// A flow of this client was proven.
    fn opened(&mut self, client: &Address, event: &Established) {
        if self.flows >= capacity::FLOWS {
            return;
        }
        let source = SourceKey::from_address(client);
        let held = self.sources.entry(source).or_insert_with(|| {
            self.turns.push_back(source);
            Held { flows: Vec::new(), looked_ns: event.header.at_ns }
        });
        held.flows.push(OpenFlow {
            key: event.key,
            service: event.header.service,
            ifindex: event.header.ifindex,
            reported: false,
        });
        self.flows += 1;
    }

    fn closed(&mut self, client: &Address, key: &FlowKey) {
        if let Some(held) = self.sources.get_mut(&SourceKey::from_address(client))
            && let Some(at) = held.flows.iter().position(|flow| flow.key == *key)
        {
            held.flows.swap_remove(at);
            self.flows -= 1;
        }
    }

    fn open_flow(&mut self, client: &Address, key: &FlowKey) -> Option<&mut OpenFlow> {
        let held = self.sources.get_mut(&SourceKey::from_address(client))?;
        held.flows.iter_mut().find(|flow| flow.key == *key)
    }

    /// A stall as it is after the hello: the kernel tells it for the service of the port, which the name
    /// may have refined.
    pub(crate) fn refined(&self, event: &Milestone) -> Milestone {
        let mut event = *event;
        if event.header.detail == MilestoneKind::Stalled as u8
            && let Some(held) = self.sources.get(&event.key.source())
            && let Some(flow) = held.flows.iter().find(|flow| flow.key == event.key)
        {
            event.header.service = flow.service;
        }
        event
    }

    /// Takes note of any event. A flow from a proxy counts from when the proxy has named the client.
    pub(crate) fn note(&mut self, event: &Event, proxies: &Proxies) {
        match event {
            Event::Established(event) if event.flags & FLOW_PROXIED != 0 => {
                self.opened(&event.client, event);
            }
            Event::Established(event) if !proxies.contains(address::ip(&event.key.remote)) => {
                self.opened(&event.key.remote, event);
            }
            Event::Closed(event) => {
                let is_proxied = event.flow.flags & FLOW_PROXIED != 0;
                let client = if is_proxied { event.flow.client } else { event.key.remote };
                self.closed(&client, &event.key);
            }
            // Of a flow through a proxy, the next look at the kernel's record says the same.
            Event::Milestone(event) if event.header.detail == MilestoneKind::Stalled as u8 => {
                if let Some(flow) = self.open_flow(&event.key.remote, &event.key) {
                    flow.reported = true;
                }
            }
            // The name in it may have refined the service.
            Event::Hello(event) => {
                if let Some(flow) = self.open_flow(&event.client, &event.key) {
                    flow.service = event.service;
                }
            }
            _ => {}
        }
    }

    /// Every client, and how many flows it has open; through proxies, whom they named.
    pub(crate) fn clients(&self) -> impl Iterator<Item = (&SourceKey, usize)> {
        self.sources.iter().map(|(source, held)| (source, held.flows.len()))
    }

    /// The flows of a source, and the service that each is for.
    pub(crate) fn of(&self, source: &SourceKey) -> impl Iterator<Item = (&FlowKey, u8)> {
        let held = self.sources.get(source);
        held.into_iter().flat_map(|held| held.flows.iter().map(|flow| (&flow.key, flow.service)))
    }

    /// Looks up the flows of sources that hold many, and appends an event for each that has been
    /// silent for [`PATIENCE`] times `stall_ns` (0 = none ever is). `flow` looks up what the kernel
    /// knows of one.
    pub(crate) fn look<E>(
        &mut self,
        now_ns: u64,
        stall_ns: u64,
        flow: &impl Fn(&FlowKey) -> Result<Option<Flow>, E>,
        events: &mut Vec<Event>,
    ) -> Result<(), E> {
        let mut budget = LOOKUPS;
        // Those whose turn does not come go to the front of the next round.
        let mut waiting = VecDeque::new();
        for _ in 0..self.turns.len() {
            let Some(source) = self.turns.pop_front() else {
                break;
            };
            let Some(held) = self.sources.get_mut(&source) else {
                continue;
            };
            let is_due =
                held.flows.len() >= MANY || now_ns.saturating_sub(held.looked_ns) >= SWEEP_NS;
            if is_due && budget < held.flows.len().min(LOOKUPS) {
                waiting.push_back(source);
                continue;
            }
            if is_due {
                budget -= held.flows.len().min(LOOKUPS);
                self.flows -= held.look(now_ns, stall_ns, flow, events)?;
            }
            if held.flows.is_empty() {
                self.sources.remove(&source);
            } else {
                self.turns.push_back(source);
            }
        }
        waiting.append(&mut self.turns);
        self.turns = waiting;
        Ok(())
    }
}

impl Held {
    /// Looks at one source's flows; returns how many are gone.
    fn look<E>(
        &mut self,
        now_ns: u64,
        stall_ns: u64,
        flow: &impl Fn(&FlowKey) -> Result<Option<Flow>, E>,
        events: &mut Vec<Event>,
    ) -> Result<usize, E> {
        self.looked_ns = now_ns;
        let holds_many = self.flows.len() >= MANY;
        let before = self.flows.len();
        let mut kept = Vec::with_capacity(before);
        for mut open in self.flows.drain(..) {
            let Some(flow) = flow(&open.key)? else {
                continue;
            };
            if open.key.protocol == Protocol::Udp as u32 {
                // Its client's last words are an acknowledgement, which asks for nothing.
                if silence_ns(&flow, now_ns) >= QUIC_IDLE_NS {
                    events.push(open.ended(now_ns, flow));
                } else {
                    kept.push(open);
                }
                continue;
            }
            open.reported |= flow.flags & FLOW_STALL_REPORTED != 0;
            let wait_ns = idle_wait_ns(&flow, now_ns);
            if holds_many && !open.reported && stall_ns > 0 && wait_ns / PATIENCE >= stall_ns {
                open.reported = true;
                events.push(open.stalled(now_ns, wait_ns));
            }
            kept.push(open);
        }
        self.flows = kept;
        Ok(before - self.flows.len())
    }
}

impl OpenFlow {
    fn ended(&self, at_ns: u64, flow: Flow) -> Event {
        Event::Closed(Closed {
            header: EventHeader {
                at_ns,
                kind: EventKind::Closed as u8,
                detail: CloseReason::Idle as u8,
                service: self.service,
                mode: 0,
                ifindex: self.ifindex,
            },
            key: self.key,
            flow,
        })
    }

    fn stalled(&self, at_ns: u64, wait_ns: u64) -> Event {
        Event::Milestone(Milestone {
            header: EventHeader {
                at_ns,
                kind: EventKind::Milestone as u8,
                detail: MilestoneKind::Stalled as u8,
                service: self.service,
                mode: 0,
                ifindex: self.ifindex,
            },
            key: self.key,
            value: wait_ns / 1_000_000,
        })
    }
}

/// For how long nobody has sent anything but acknowledgements.
fn silence_ns(flow: &Flow, now_ns: u64) -> u64 {
    let last_ns = flow.proven_ns.max(flow.ingress.last_ns).max(flow.egress.last_ns);
    now_ns.saturating_sub(last_ns)
}

/// How long both sides have been silent while it is the client's request that is not complete (or
/// that never came); 0 if that is not how the flow stands. A client that is sending, like an
/// upload, is not idle: of those the kernel judges the packets.
fn idle_wait_ns(flow: &Flow, now_ns: u64) -> u64 {
    let has_spoken = flow.ingress.payloads > 0;
    let since_ns = match flow.asked_ns {
        0 if has_spoken => return 0,
        0 => flow.proven_ns,
        asked_ns => asked_ns.max(flow.ingress.last_ns),
    };
    now_ns.saturating_sub(since_ns)
}

#[cfg(test)]
mod tests {
    use weir_common::abi::{Direction, key::V4_MAPPED};

    use super::*;
    use crate::{
        enforce::{dataplane::Dataplane, memory::MemoryDataplane},
        event::Hello,
    };

    const STALL_NS: u64 = 2 * SECOND_NS;

    #[test]
    fn a_silent_quic_connection_has_ended_and_is_never_a_stalled_request() {
        let mut watch = OpenFlows::default();
        let mut flow = Flow { proven_ns: SECOND_NS, asked_ns: 2 * SECOND_NS, ..Flow::default() };
        flow.ingress.last_ns = 2 * SECOND_NS;
        for port in 1..=20 {
            let key = FlowKey { protocol: Protocol::Udp as u32, ..key(1, port) };
            let header = EventHeader { at_ns: SECOND_NS, ..EventHeader::default() };
            let event = Established { header, key, ..Established::default() };
            watch.note(&Event::Established(event), &Proxies::default());
        }
        let mut events = Vec::new();
        let look = |_: &FlowKey| Ok::<_, ()>(Some(flow));
        watch.look(20 * SECOND_NS, STALL_NS, &look, &mut events).unwrap();
        assert!(events.is_empty(), "{events:?}");
        watch.look(32 * SECOND_NS, STALL_NS, &look, &mut events).unwrap();
        let ends = |event: &Event| matches!(event, Event::Closed(it) if it.header.detail == CloseReason::Idle as u8);
        assert!(events.len() == 20 && events.iter().all(ends), "{events:?}");
        events.clear();
        watch.look(40 * SECOND_NS, STALL_NS, &look, &mut events).unwrap();
        assert!(events.is_empty() && watch.flows == 0);
    }

    fn key(source: u32, port: u16) -> FlowKey {
        let mapped = |address: u32| [0, 0, V4_MAPPED, address.to_be()];
        FlowKey {
            remote: mapped(0xc000_0200 + source),
            local: mapped(0xc633_6401),
            remote_port: port.to_be(),
            local_port: 443u16.to_be(),
            protocol: 6,
        }
    }

    /// `count` flows of `source`, proven at 1 s, of which each client asked at `asked_s` (0 = never).
    fn open(
        watch: &mut OpenFlows,
        kernel: &mut MemoryDataplane,
        source: u32,
        count: u16,
        asked_s: u64,
    ) {
        for port in 1..=count {
            let asked_ns = asked_s * SECOND_NS;
            let payloads = u32::from(asked_s > 0);
            let ingress = Direction { last_ns: asked_ns, payloads, ..Direction::default() };
            let flow = Flow { proven_ns: SECOND_NS, asked_ns, ingress, ..Flow::default() };
            kernel.flows.insert(key(source, port), flow);
            let header = EventHeader { at_ns: SECOND_NS, service: 3, ..EventHeader::default() };
            let established =
                Established { header, key: key(source, port), ..Established::default() };
            watch.note(&Event::Established(established), &Proxies::default());
        }
    }

    fn look(watch: &mut OpenFlows, kernel: &MemoryDataplane, now_s: u64) -> Vec<Event> {
        let mut events = Vec::new();
        let flow = |key: &FlowKey| kernel.flow(key);
        watch.look(now_s * SECOND_NS, STALL_NS, &flow, &mut events).unwrap();
        events
    }

    #[test]
    fn a_hoarder_is_seen_once_a_connection_and_a_browser_never() {
        let (mut watch, mut kernel) = (OpenFlows::default(), MemoryDataplane::default());
        open(&mut watch, &mut kernel, 1, 20, 5);
        open(&mut watch, &mut kernel, 2, 6, 5);
        assert_eq!(look(&mut watch, &kernel, 14), []);
        let events = look(&mut watch, &kernel, 15);
        assert_eq!(events.len(), 20);
        let Event::Milestone(first) = events[0] else { panic!("{events:?}") };
        assert_eq!((first.value, first.header.service), (10_000, 3));
        assert_eq!(first.key.source(), key(1, 1).source());
        assert_eq!(look(&mut watch, &kernel, 40), [], "each only once");
    }

    #[test]
    fn silence_from_the_start_counts_and_an_idle_kept_alive_connection_does_not() {
        let (mut watch, mut kernel) = (OpenFlows::default(), MemoryDataplane::default());
        open(&mut watch, &mut kernel, 1, 10, 0);
        assert_eq!(look(&mut watch, &kernel, 12).len(), 10);
        let (mut watch, mut kernel) = (OpenFlows::default(), MemoryDataplane::default());
        open(&mut watch, &mut kernel, 1, 10, 5);
        // The server answered: nobody waits.
        kernel.flows.values_mut().for_each(|flow| flow.asked_ns = 0);
        assert_eq!(look(&mut watch, &kernel, 100), []);
    }

    #[test]
    fn an_upload_is_not_idle_and_the_kernels_own_report_is_enough() {
        let (mut watch, mut kernel) = (OpenFlows::default(), MemoryDataplane::default());
        open(&mut watch, &mut kernel, 1, 10, 5);
        kernel.flows.values_mut().for_each(|flow| flow.ingress.last_ns = 29 * SECOND_NS);
        assert_eq!(look(&mut watch, &kernel, 30), []);
        kernel.flows.values_mut().for_each(|flow| flow.flags |= FLOW_STALL_REPORTED);
        assert_eq!(look(&mut watch, &kernel, 60), []);
    }

    #[test]
    fn what_closed_or_is_gone_from_the_kernel_is_forgotten() {
        let (mut watch, mut kernel) = (OpenFlows::default(), MemoryDataplane::default());
        open(&mut watch, &mut kernel, 1, 10, 5);
        open(&mut watch, &mut kernel, 2, 2, 5);
        let closed = Closed { key: key(1, 1), ..Closed::default() };
        watch.note(&Event::Closed(closed), &Proxies::default());
        kernel.flows.remove(&key(1, 2));
        look(&mut watch, &kernel, 10);
        assert_eq!(watch.flows, 10, "8 of the first source, 2 of the second");
        kernel.flows.clear();
        look(&mut watch, &kernel, 100);
        assert_eq!((watch.flows, watch.sources.len(), watch.turns.len()), (0, 0, 0));
    }

    #[test]
    fn a_flow_through_a_proxy_is_its_clients_and_a_hello_says_what_for() {
        let mut watch = OpenFlows::default();
        let (through, client) = (key(7, 1), key(1, 1).remote);
        let mut event = Established { key: through, ..Established::default() };
        (event.flags, event.client) = (FLOW_PROXIED, client);
        watch.note(&Event::Established(event), &Proxies::default());
        let source = SourceKey::from_address(&client);
        let hello = Hello { key: through, client, service: 9, ..Hello::test() };
        watch.note(&Event::Hello(hello), &Proxies::default());
        assert_eq!(watch.of(&source).collect::<Vec<_>>(), [(&through, 9)]);
        assert_eq!(watch.of(&through.source()).count(), 0);
        let flow = Flow { flags: FLOW_PROXIED, client, ..Flow::default() };
        let closed = Closed { key: through, flow, ..Closed::default() };
        watch.note(&Event::Closed(closed), &Proxies::default());
        assert_eq!((watch.of(&source).count(), watch.flows), (0, 0));
    }

    #[test]
    fn a_stall_is_at_the_service_that_the_hello_named() {
        let mut watch = OpenFlows::default();
        let established = Established { key: key(1, 1), ..Established::default() };
        watch.note(&Event::Established(established), &Proxies::default());
        let hello = Hello { key: key(1, 1), client: key(1, 1).remote, service: 9, ..Hello::test() };
        watch.note(&Event::Hello(hello), &Proxies::default());
        let stall = |port, kind: MilestoneKind| {
            let header = EventHeader { service: 3, detail: kind as u8, ..EventHeader::default() };
            let milestone = Milestone { header, key: key(1, port), value: 1 };
            watch.refined(&milestone).header.service
        };
        assert_eq!(stall(1, MilestoneKind::Stalled), 9);
        assert_eq!(stall(1, MilestoneKind::Ports), 3, "it is about no connection");
        assert_eq!(stall(2, MilestoneKind::Stalled), 3, "one that is not known");
    }

    #[test]
    fn look_ups_are_bounded_and_everybody_has_a_turn() {
        let (mut watch, mut kernel) = (OpenFlows::default(), MemoryDataplane::default());
        for source in 0..3 {
            open(&mut watch, &mut kernel, source, 1000, 5);
        }
        let first = look(&mut watch, &kernel, 20).len();
        let second = look(&mut watch, &kernel, 21).len();
        assert_eq!((first, second), (2000, 1000));
    }
}
