//! [`Tables`] over hash maps.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::Hash,
};

use super::{Fingerprints, VerdictTable};
use crate::{
    abi::{
        BucketKey, Capture, Closed, Control, Established, EventHeader, EventKind, Flow, FlowKey,
        Guard, Handshake, Hit, Milestone, Outbound, QuicHandshake, QuicService, Scan, Service,
        Source, SourceKey, Tally, Verdict, VerdictClass,
        control::SERVICE_SLOTS,
        hello::HELLO_ROOM,
        key::Address,
        map::capacity,
        tally::TALLY_SLOTS,
        verdict::{CLASS_COUNT, SERVICE_COUNT},
    },
    pipeline::{Step, Tables},
    tls::Seed,
};

/// An event, as the kernel would have put it into the ring buffer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Emitted {
    /// A flow was proven.
    Established(Established),
    /// A flow ended.
    Closed(Closed),
    /// A flow goes on.
    Progress(Closed),
    /// A threshold was crossed.
    Milestone(Milestone),
    /// A verdict was hit.
    Hit(Hit),
}

/// A bounded table whose least recently touched entry makes room.
#[derive(Debug)]
struct Lru<K, V> {
    capacity: usize,
    clock: Cell<u64>,
    entries: RefCell<HashMap<K, (u64, V)>>,
}

impl<K: Copy + Eq + Hash, V: Copy> Lru<K, V> {
    fn new(capacity: usize) -> Self {
        Self { capacity, clock: Cell::new(0), entries: RefCell::default() }
    }

    fn touch(&self) -> u64 {
        self.clock.set(self.clock.get() + 1);
        self.clock.get()
    }

    fn with<R>(&self, key: &K, f: impl FnOnce(&mut V) -> R) -> Option<R> {
        let now = self.touch();
        let mut entries = self.entries.borrow_mut();
        let (touched, value) = entries.get_mut(key)?;
        *touched = now;
        Some(f(value))
    }

    fn insert(&self, key: &K, value: V) {
        let now = self.touch();
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= self.capacity
            && !entries.contains_key(key)
            && let Some(oldest) =
                entries.iter().min_by_key(|(_, (touched, _))| *touched).map(|(key, _)| *key)
        {
            entries.remove(&oldest);
        }
        entries.insert(*key, (now, value));
    }

    fn remove(&self, key: &K) {
        self.entries.borrow_mut().remove(key);
    }

    fn dump(&self) -> Vec<(K, V)> {
        self.entries.borrow().iter().map(|(key, (_, value))| (*key, *value)).collect()
    }
}

/// The kernel's tables in memory.
#[derive(Debug)]
pub struct MemoryTables {
    now_ns: Cell<u64>,
    ifindex: Cell<u32>,
    killed: Cell<bool>,
    control: Control,
    pulse_tick: Cell<u32>,
    services: RefCell<Vec<Service>>,
    guards: RefCell<Vec<Guard>>,
    classes: RefCell<HashMap<u16, VerdictClass>>,
    v4_exact: VerdictTable,
    v6_exact: VerdictTable,
    v4_prefixes: VerdictTable,
    v6_prefixes: VerdictTable,
    handshakes: Lru<FlowKey, Handshake>,
    quic: Lru<FlowKey, QuicHandshake>,
    quic_services: RefCell<Vec<QuicService>>,
    quic_budgets: RefCell<Vec<u64>>,
    flows: Lru<FlowKey, Flow>,
    outbound: Lru<FlowKey, Outbound>,
    sources: Lru<SourceKey, Source>,
    buckets: Lru<BucketKey, u64>,
    scans: RefCell<Vec<Scan>>,
    retries: RefCell<Vec<u64>>,
    fingerprints: Fingerprints,
    tally: RefCell<Vec<Tally>>,
    events: RefCell<Vec<Emitted>>,
}

impl Default for MemoryTables {
    fn default() -> Self {
        Self {
            now_ns: Cell::new(0),
            ifindex: Cell::new(0),
            killed: Cell::new(false),
            control: Control::default(),
            pulse_tick: Cell::new(0),
            services: RefCell::new(vec![Service::default(); SERVICE_SLOTS]),
            guards: RefCell::new(vec![Guard::default(); 256]),
            classes: RefCell::default(),
            v4_exact: VerdictTable::default(),
            v6_exact: VerdictTable::default(),
            v4_prefixes: VerdictTable::default(),
            v6_prefixes: VerdictTable::default(),
            handshakes: Lru::new(capacity::HANDSHAKES),
            quic: Lru::new(capacity::QUIC_HANDSHAKES),
            quic_services: RefCell::new(vec![QuicService::default(); SERVICE_COUNT]),
            quic_budgets: RefCell::new(vec![0; capacity::QUIC_BUDGETS]),
            flows: Lru::new(capacity::FLOWS),
            outbound: Lru::new(capacity::OUTBOUND),
            sources: Lru::new(capacity::SOURCES),
            buckets: Lru::new(capacity::BUCKETS),
            scans: RefCell::new(vec![Scan::default(); capacity::SCANS]),
            retries: RefCell::new(vec![0; capacity::SYN_RETRIES]),
            fingerprints: Fingerprints::default(),
            tally: RefCell::new(vec![Tally::default(); TALLY_SLOTS]),
            events: RefCell::default(),
        }
    }
}

impl MemoryTables {
    /// Sets both clocks.
    pub fn set_now_ns(&self, now_ns: u64) {
        self.now_ns.set(now_ns);
    }

    /// Sets the interface that packets come from.
    pub fn set_ifindex(&self, ifindex: u32) {
        self.ifindex.set(ifindex);
    }

    /// Turns the kill switch.
    pub fn set_killed(&self, killed: bool) {
        self.killed.set(killed);
    }

    /// Sets the daemon's last pulse.
    pub fn set_pulse_tick(&self, tick: u32) {
        self.pulse_tick.set(tick);
    }

    /// Sets modes and settings.
    pub fn set_control(&mut self, control: Control) {
        self.control = control;
    }

    /// Declares a port's service; index as in `abi::control::service_index`.
    pub fn set_service(&self, index: u32, service: Service) {
        if let Some(slot) = self.services.borrow_mut().get_mut(index as usize) {
            *slot = service;
        }
    }

    /// The tables of fingerprints.
    #[must_use]
    pub const fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// The same, to set the seed.
    pub const fn fingerprints_mut(&mut self) -> &mut Fingerprints {
        &mut self.fingerprints
    }

    /// Sets a service's SYN guard.
    pub fn set_guard(&self, service: u8, guard: Guard) {
        if let Some(slot) = self.guards.borrow_mut().get_mut(usize::from(service)) {
            *slot = guard;
        }
    }

    /// A service's SYN guard as it stands.
    #[must_use]
    pub fn guard(&self, service: u8) -> Guard {
        self.guards.borrow().get(usize::from(service)).copied().unwrap_or_default()
    }

    /// Defines a verdict class.
    pub fn set_class(&self, id: u16, class: VerdictClass) {
        self.classes.borrow_mut().insert(id, class);
    }

    /// The exact and prefix tables of IPv4 (addresses in the first word) and IPv6.
    #[must_use]
    pub const fn verdicts(&self) -> [&VerdictTable; 4] {
        [&self.v4_exact, &self.v4_prefixes, &self.v6_exact, &self.v6_prefixes]
    }

    /// Every proven flow, in no order.
    #[must_use]
    pub fn flows(&self) -> Vec<(FlowKey, Flow)> {
        self.flows.dump()
    }

    /// Every proven source, in no order.
    #[must_use]
    pub fn sources(&self) -> Vec<(SourceKey, Source)> {
        self.sources.dump()
    }

    /// Every half-open connection, in no order.
    #[must_use]
    pub fn handshakes(&self) -> Vec<(FlowKey, Handshake)> {
        self.handshakes.dump()
    }

    /// Every QUIC handshake, in no order.
    #[must_use]
    pub fn quic_handshakes(&self) -> Vec<(FlowKey, QuicHandshake)> {
        self.quic.dump()
    }

    /// Every flow that the host opened, in no order.
    #[must_use]
    pub fn outbound(&self) -> Vec<(FlowKey, Outbound)> {
        self.outbound.dump()
    }

    /// A counter.
    #[must_use]
    pub fn counted(&self, index: u32) -> Tally {
        self.tally.borrow().get(index as usize).copied().unwrap_or_default()
    }

    /// Takes the events emitted since the last call.
    #[must_use]
    pub fn take_events(&self) -> Vec<Emitted> {
        self.events.take()
    }

    fn emit(&self, event: Emitted) -> bool {
        self.events.borrow_mut().push(event);
        true
    }
}

fn cell<T, R>(cells: &RefCell<Vec<T>>, hash: u64, f: impl FnOnce(&mut T) -> R) -> Option<R> {
    let mut cells = cells.borrow_mut();
    let index = hash as usize & (cells.len() - 1);
    cells.get_mut(index).map(f)
}

const fn v4(address: u32) -> Address {
    [address, 0, 0, 0]
}

impl Tables for MemoryTables {
    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn coarse_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn ifindex(&self) -> u32 {
        self.ifindex.get()
    }

    fn is_killed(&self) -> bool {
        self.killed.get()
    }

    fn control(&self) -> Option<&Control> {
        Some(&self.control)
    }

    fn pulse_tick(&self) -> u32 {
        self.pulse_tick.get()
    }

    fn service(&self, index: u32) -> Service {
        self.services.borrow().get(index as usize).copied().unwrap_or_default()
    }

    fn key_seed(&self) -> Seed {
        self.fingerprints.seed
    }

    fn with_fingerprint<R>(&self, key: u64, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        self.fingerprints.hellos.borrow_mut().get_mut(&key).map(f)
    }

    fn with_syn_verdict<R>(&self, key: u64, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        self.fingerprints.syns.borrow_mut().get_mut(&key).map(f)
    }

    fn with_flow_verdict<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        self.fingerprints.flows.borrow_mut().get_mut(key).map(f)
    }

    fn named_service(&self, key: u64) -> Option<u8> {
        self.fingerprints.names.borrow().get(&key).copied()
    }

    fn is_proxy(&self, address: &Address) -> bool {
        self.fingerprints.is_proxy(address)
    }

    fn interface_flags(&self) -> u32 {
        self.fingerprints.interfaces.borrow().get(&self.ifindex.get()).copied().unwrap_or(0)
    }

    fn staging_slot(&self) -> u32 {
        capacity::HELLOS as u32
    }

    fn with_hello<R>(&self, slot: u32, f: impl FnOnce(&mut Capture) -> R) -> Option<R> {
        Some(self.fingerprints.with_slot(slot, f))
    }

    fn hello_slots(&self) -> u32 {
        capacity::HELLOS as u32
    }

    fn repeat<S: Step>(&self, limit: u32, steps: &mut S) {
        for _ in 0..limit {
            if !steps.step() {
                return;
            }
        }
    }

    fn sum(bytes: &[u8; HELLO_ROOM], from: u32, length: u32, sum: u32) -> u32 {
        let bytes = bytes.iter().skip(from as usize).take(length as usize);
        let (sum, _) = bytes.fold((u64::from(sum), 0), |(sum, shift), byte| {
            (sum + (u64::from(*byte) << shift), (shift + 8) % 32)
        });
        let folded = (sum & 0xffff_ffff) + (sum >> 32);
        ((folded & 0xffff_ffff) + (folded >> 32)) as u32
    }

    fn emit_hello(&self, capture: &Capture, whole: bool) -> bool {
        self.fingerprints.record(capture, whole);
        true
    }

    fn with_class<R>(&self, id: u16, f: impl FnOnce(&VerdictClass) -> R) -> Option<R> {
        // As in the kernel's array: a class that was never written is all zero.
        if usize::from(id) >= CLASS_COUNT {
            return None;
        }
        Some(f(&self.classes.borrow().get(&id).copied().unwrap_or_default()))
    }

    fn with_v4_exact<R>(&self, address: &u32, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        self.v4_exact.exact(&v4(*address), 32, f)
    }

    fn with_v6_exact<R>(&self, address: &Address, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        self.v6_exact.exact(address, 128, f)
    }

    fn with_v4_prefix<R>(
        &self,
        address: u32,
        max_len: u32,
        f: impl FnOnce(&mut Verdict) -> R,
    ) -> Option<R> {
        self.v4_prefixes.longest(&v4(address), max_len, f)
    }

    fn with_v6_prefix<R>(
        &self,
        address: &Address,
        max_len: u32,
        f: impl FnOnce(&mut Verdict) -> R,
    ) -> Option<R> {
        self.v6_prefixes.longest(address, max_len, f)
    }

    fn with_guard<R>(&self, service: u8, f: impl FnOnce(&mut Guard) -> R) -> Option<R> {
        self.guards.borrow_mut().get_mut(usize::from(service)).map(f)
    }

    fn with_bucket<R>(&self, key: &BucketKey, f: impl FnOnce(&mut u64) -> R) -> Option<R> {
        if self.buckets.with(key, |_| ()).is_none() {
            self.buckets.insert(key, 0);
        }
        self.buckets.with(key, f)
    }

    fn with_retry<R>(&self, hash: u64, f: impl FnOnce(&mut u64) -> R) -> Option<R> {
        cell(&self.retries, hash, f)
    }

    fn with_scan<R>(&self, hash: u64, f: impl FnOnce(&mut Scan) -> R) -> Option<R> {
        cell(&self.scans, hash, f)
    }

    fn compare_exchange(&self, cell: &mut u64, old: u64, new: u64) -> bool {
        let same = *cell == old;
        if same {
            *cell = new;
        }
        same
    }

    fn with_handshake<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Handshake) -> R) -> Option<R> {
        self.handshakes.with(key, f)
    }

    fn insert_handshake(&self, key: &FlowKey, f: impl FnOnce(&mut Handshake)) -> bool {
        let mut handshake = Handshake::UNKNOWN;
        f(&mut handshake);
        self.handshakes.insert(key, handshake);
        true
    }

    fn remove_handshake(&self, key: &FlowKey) {
        self.handshakes.remove(key);
    }

    fn with_flow<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Flow) -> R) -> Option<R> {
        self.flows.with(key, f)
    }

    fn insert_flow(&self, key: &FlowKey, f: impl FnOnce(&mut Flow)) -> bool {
        let mut flow = Flow::default();
        f(&mut flow);
        self.flows.insert(key, flow);
        true
    }

    fn remove_flow(&self, key: &FlowKey) {
        self.flows.remove(key);
    }

    fn with_quic<R>(&self, key: &FlowKey, f: impl FnOnce(&mut QuicHandshake) -> R) -> Option<R> {
        self.quic.with(key, f)
    }

    fn insert_quic(&self, key: &FlowKey, f: impl FnOnce(&mut QuicHandshake)) -> bool {
        let mut handshake = QuicHandshake::default();
        f(&mut handshake);
        self.quic.insert(key, handshake);
        true
    }

    fn with_quic_service<R>(
        &self,
        service: u8,
        f: impl FnOnce(&mut QuicService) -> R,
    ) -> Option<R> {
        self.quic_services.borrow_mut().get_mut(usize::from(service)).map(f)
    }

    fn with_quic_budget<R>(&self, hash: u64, f: impl FnOnce(&mut u64) -> R) -> Option<R> {
        cell(&self.quic_budgets, hash, f)
    }

    fn with_outbound<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Outbound) -> R) -> Option<R> {
        self.outbound.with(key, f)
    }

    fn insert_outbound(&self, key: &FlowKey, outbound: &Outbound) {
        self.outbound.insert(key, *outbound);
    }

    fn with_source<R>(&self, key: &SourceKey, f: impl FnOnce(&mut Source) -> R) -> Option<R> {
        self.sources.with(key, f)
    }

    fn insert_source<R>(&self, key: &SourceKey, f: impl FnOnce(&mut Source) -> R) -> Option<R> {
        let mut source = Source::default();
        let result = f(&mut source);
        self.sources.insert(key, source);
        Some(result)
    }

    fn tally(&self, index: u32, packets: u32, bytes: u32) {
        if let Some(tally) = self.tally.borrow_mut().get_mut(index as usize) {
            tally.packets += u64::from(packets);
            tally.bytes += u64::from(bytes);
        }
    }

    fn emit_established(&self, f: impl FnOnce(&mut Established)) -> bool {
        let mut event = Established::default();
        f(&mut event);
        self.emit(Emitted::Established(event))
    }

    fn emit_closed(&self, header: &EventHeader, key: &FlowKey, flow: &Flow) -> bool {
        let event = Closed { header: *header, key: *key, flow: *flow };
        self.emit(if header.kind == EventKind::Progress as u8 {
            Emitted::Progress(event)
        } else {
            Emitted::Closed(event)
        })
    }

    fn emit_milestone(&self, event: &Milestone) -> bool {
        self.emit(Emitted::Milestone(*event))
    }

    fn emit_hit(&self, f: impl FnOnce(&mut Hit)) -> bool {
        let mut event = Hit::default();
        f(&mut event);
        self.emit(Emitted::Hit(event))
    }
}
