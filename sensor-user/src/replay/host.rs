//! The kernel's programs on the host: packets in, events and records of ClientHellos out.
//!
//! The ports, names, proxies and guards are the policy's. Nothing is held back: what a capture shows
//! went through, or did not, when it was taken.

use weir_common::{
    abi::{
        Control, Flow, FlowKey, Mode, Protocol, Service, control::service_index,
        map::INTERFACE_PARTIAL_CHECKSUMS,
    },
    host::{Emitted, HelloRecord, MemoryTables},
    packet::{Heading, Link},
    pipeline::{self, Tables, Work},
    tls::{Seed, name::NameHash},
};

use super::packet::CapturedPacket;
use crate::{event::Event, policy::CompiledPolicy, system::address};

/// The secrets of match keys and of sketches. A replay decides the same every time, so they are the
/// same every time; nobody can aim at a replay.
const SEED: Seed = Seed { add: 0x7765_6972_7265_706c, multiply: 0x6179_5f73_6565_6431 };
const SKETCH_SEED: u64 = 0x7265_706c_6179_0001;

/// The interface that packets seem to come from.
const INTERFACE: u32 = 1;

/// Tables of one replay.
#[derive(Debug)]
pub(super) struct Host {
    tables: MemoryTables,
    work: Work,
}

impl Host {
    /// Empty tables under a policy.
    pub(super) fn new(policy: &CompiledPolicy) -> Self {
        let mut tables = MemoryTables::default();
        tables.set_ifindex(INTERFACE);
        tables.fingerprints_mut().seed = SEED;
        tables.set_control(Control {
            // Whatever the policy says: a replay measures, and holds nothing back.
            policy_mode: Mode::Observe as u8,
            seed: SKETCH_SEED,
            heartbeat_limit_ticks: 0,
            ..policy.control()
        });
        for port in policy.service_ports() {
            let index = service_index(port.protocol == Protocol::Udp, port.port);
            let service = Service { id: port.service, flags: port.flags, ..Service::default() };
            tables.set_service(index, service);
        }
        for (service, guard) in policy.guards() {
            tables.set_guard(service, guard);
        }
        let host = Self { tables, work: Work::default() };
        host.declare_names_and_proxies(policy);
        host
    }

    fn declare_names_and_proxies(&self, policy: &CompiledPolicy) {
        let tables = self.tables.fingerprints();
        // Captures of a host's own interfaces have sums that the card was to finish.
        tables.interfaces.borrow_mut().insert(INTERFACE, INTERFACE_PARTIAL_CHECKSUMS);
        let names = policy.service_names().into_iter();
        *tables.names.borrow_mut() = names
            .map(|name| {
                let hash = NameHash::of(&tables.seed, name.port_service, &name.name);
                (hash.key(), name.service)
            })
            .collect();
        let proxies = policy.proxies.speaking().into_iter();
        *tables.proxies.borrow_mut() = proxies
            .map(|net| {
                let words = address::words(net.trunc().addr());
                let mapped = if net.addr().is_ipv4() { 96 } else { 0 };
                (words, mapped + u32::from(net.prefix_len()))
            })
            .collect();
    }

    /// The secret of match keys.
    pub(super) const fn seed() -> Seed {
        SEED
    }

    /// Runs a packet through the stages.
    pub(super) fn packet(
        &mut self,
        at_ns: u64,
        heading: Heading,
        packet: &mut CapturedPacket<'_>,
        link: Link,
    ) {
        self.tables.set_now_ns(at_ns);
        match heading {
            Heading::Ingress => {
                pipeline::ingress(packet, &self.tables, link, &mut self.work);
            }
            Heading::Egress => pipeline::egress(packet, &self.tables, link, &mut self.work),
        }
    }

    /// What the packets since the last call led to.
    pub(super) fn take(&self) -> (Vec<Event>, Vec<HelloRecord>) {
        let events = self.tables.take_events().into_iter().map(event).collect();
        (events, self.tables.fingerprints().take_records())
    }

    /// A proven flow's record.
    pub(super) fn flow(&self, key: &FlowKey) -> Option<Flow> {
        self.tables.with_flow(key, |flow| *flow)
    }

    /// Every proven flow that goes on, by when it was proven.
    pub(super) fn open_flows(&self) -> Vec<(FlowKey, Flow)> {
        let mut flows = self.tables.flows();
        flows.sort_by_key(|(key, flow)| {
            (flow.proven_ns, key.remote, key.remote_port, key.local, key.local_port, key.protocol)
        });
        flows
    }
}

const fn event(emitted: Emitted) -> Event {
    match emitted {
        Emitted::Established(event) => Event::Established(event),
        Emitted::Closed(event) => Event::Closed(event),
        Emitted::Progress(event) => Event::Progress(event),
        Emitted::Milestone(event) => Event::Milestone(event),
        Emitted::Hit(event) => Event::Hit(event),
    }
}
