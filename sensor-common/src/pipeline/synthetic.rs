//! A synthetic packet: the stages of ingress up to the verdict, over tables that keep nothing.

use core::cell::Cell;

use super::{Decision, Step, Tables, Work, ingress};
use crate::{
    abi::{
        BucketKey, Capture, Control, Established, EventHeader, Flow, FlowKey, Guard, Handshake,
        Hit, Milestone, Outbound, QuicHandshake, QuicService, Scan, Service, Source, SourceKey,
        Verdict, VerdictClass,
        hello::HELLO_ROOM,
        key::Address,
        synthetic::{ANSWER_ALLOWED, ANSWER_GIVEN, ANSWER_LIMITED, ANSWER_WOULD},
        tally,
        verdict::CLASS_COUNT,
    },
    packet::{Link, PacketMut},
    tls::Seed,
};

/// What the verdict stage came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// The class that it would be counted under, or that limits it; 0 = none.
    pub class: u32,
    /// `ANSWER_*` bits.
    pub flags: u32,
}

/// Decides on a packet as [`super::ingress()`] does, by the same lines, and leaves nothing behind.
#[inline(always)]
pub fn ask<P: PacketMut, T: Tables>(
    packet: &mut P,
    tables: &T,
    link: Link,
    work: &mut Work,
    answer: &mut Answer,
) -> Decision {
    let quiet = Quiet { tables, counted: Cell::new(0) };
    work.ruling.forget();
    let decision = ingress(packet, &quiet, link, work);
    let ruling = &work.ruling;
    let counted = quiet.counted.get();
    answer.class = if counted == 0 { u32::from(ruling.limit_class()) } else { counted };
    answer.flags = ANSWER_GIVEN
        | if ruling.is_counted() { ANSWER_WOULD } else { 0 }
        | if ruling.allows() { ANSWER_ALLOWED } else { 0 }
        | if ruling.limit_class() != 0 { ANSWER_LIMITED } else { 0 };
    decision
}

/// The tables as they are, with nothing written to them: what holds state is not reached, and of verdicts
/// only hits would be written, which [`Tables::ENDS_AT_VERDICT`] leaves out.
struct Quiet<'a, T> {
    tables: &'a T,
    /// The class that was counted last.
    counted: Cell<u32>,
}

const FIRST_CLASS: u32 = tally::class_index(0);

impl<T: Tables> Tables for Quiet<'_, T> {
    const ENDS_AT_VERDICT: bool = true;

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        self.tables.now_ns()
    }
    #[inline(always)]
    fn coarse_ns(&self) -> u64 {
        self.tables.coarse_ns()
    }
    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.tables.ifindex()
    }
    #[inline(always)]
    fn is_killed(&self) -> bool {
        self.tables.is_killed()
    }
    #[inline(always)]
    fn control(&self) -> Option<&Control> {
        self.tables.control()
    }
    #[inline(always)]
    fn pulse_tick(&self) -> u32 {
        self.tables.pulse_tick()
    }
    #[inline(always)]
    fn service(&self, index: u32) -> Service {
        self.tables.service(index)
    }
    #[inline(always)]
    fn key_seed(&self) -> Seed {
        self.tables.key_seed()
    }

    #[inline(always)]
    fn with_class<R>(&self, id: u16, f: impl FnOnce(&VerdictClass) -> R) -> Option<R> {
        self.tables.with_class(id, f)
    }
    #[inline(always)]
    fn with_v4_exact<R>(&self, address: &u32, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        self.tables.with_v4_exact(address, f)
    }
    #[inline(always)]
    fn with_v6_exact<R>(&self, address: &Address, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        self.tables.with_v6_exact(address, f)
    }
    #[inline(always)]
    fn with_v4_prefix<R>(
        &self,
        address: u32,
        max_len: u32,
        f: impl FnOnce(&mut Verdict) -> R,
    ) -> Option<R> {
        self.tables.with_v4_prefix(address, max_len, f)
    }
    #[inline(always)]
    fn with_v6_prefix<R>(
        &self,
        address: &Address,
        max_len: u32,
        f: impl FnOnce(&mut Verdict) -> R,
    ) -> Option<R> {
        self.tables.with_v6_prefix(address, max_len, f)
    }
    #[inline(always)]
    fn with_fingerprint<R>(&self, key: u64, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        self.tables.with_fingerprint(key, f)
    }
    #[inline(always)]
    fn with_syn_verdict<R>(&self, key: u64, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        self.tables.with_syn_verdict(key, f)
    }
    #[inline(always)]
    fn with_flow_verdict<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        self.tables.with_flow_verdict(key, f)
    }
    #[inline(always)]
    fn named_service(&self, key: u64) -> Option<u8> {
        self.tables.named_service(key)
    }
    #[inline(always)]
    fn is_proxy(&self, address: &Address) -> bool {
        self.tables.is_proxy(address)
    }
    #[inline(always)]
    fn interface_flags(&self) -> u32 {
        self.tables.interface_flags()
    }
    #[inline(always)]
    fn repeat<S: Step>(&self, limit: u32, steps: &mut S) {
        self.tables.repeat(limit, steps);
    }
    #[inline(always)]
    fn sum(bytes: &[u8; HELLO_ROOM], from: u32, length: u32, sum: u32) -> u32 {
        T::sum(bytes, from, length, sum)
    }
    #[inline(always)]
    fn with_outbound<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Outbound) -> R) -> Option<R> {
        self.tables.with_outbound(key, f)
    }

    #[inline(always)]
    fn tally(&self, index: u32, _packets: u32, _bytes: u32) {
        let class = index.wrapping_sub(FIRST_CLASS);
        if class < CLASS_COUNT as u32 {
            self.counted.set(class);
        }
    }

    // A synthetic packet belongs to no flow, and nothing of it is kept.
    #[inline(always)]
    fn staging_slot(&self) -> u32 {
        0
    }
    #[inline(always)]
    fn with_hello<R>(&self, _: u32, _: impl FnOnce(&mut Capture) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn hello_slots(&self) -> u32 {
        1
    }
    #[inline(always)]
    fn emit_hello(&self, _: &Capture, _: bool) -> bool {
        true
    }
    #[inline(always)]
    fn with_guard<R>(&self, _: u8, _: impl FnOnce(&mut Guard) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn with_bucket<R>(&self, _: &BucketKey, _: impl FnOnce(&mut u64) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn with_retry<R>(&self, _: u64, _: impl FnOnce(&mut u64) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn with_scan<R>(&self, _: u64, _: impl FnOnce(&mut Scan) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn compare_exchange(&self, _: &mut u64, _: u64, _: u64) -> bool {
        true
    }
    #[inline(always)]
    fn with_handshake<R>(&self, _: &FlowKey, _: impl FnOnce(&mut Handshake) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn insert_handshake(&self, _: &FlowKey, _: impl FnOnce(&mut Handshake)) -> bool {
        true
    }
    #[inline(always)]
    fn remove_handshake(&self, _: &FlowKey) {}
    #[inline(always)]
    fn with_flow<R>(&self, _: &FlowKey, _: impl FnOnce(&mut Flow) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn insert_flow(&self, _: &FlowKey, _: impl FnOnce(&mut Flow)) -> bool {
        true
    }
    #[inline(always)]
    fn remove_flow(&self, _: &FlowKey) {}
    #[inline(always)]
    fn with_quic<R>(&self, _: &FlowKey, _: impl FnOnce(&mut QuicHandshake) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn insert_quic(&self, _: &FlowKey, _: impl FnOnce(&mut QuicHandshake)) -> bool {
        true
    }
    #[inline(always)]
    fn with_quic_service<R>(&self, _: u8, _: impl FnOnce(&mut QuicService) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn with_quic_budget<R>(&self, _: u64, _: impl FnOnce(&mut u64) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn insert_outbound(&self, _: &FlowKey, _: &Outbound) {}
    #[inline(always)]
    fn with_source<R>(&self, _: &SourceKey, _: impl FnOnce(&mut Source) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn insert_source<R>(&self, _: &SourceKey, _: impl FnOnce(&mut Source) -> R) -> Option<R> {
        None
    }
    #[inline(always)]
    fn emit_established(&self, _: impl FnOnce(&mut Established)) -> bool {
        true
    }
    #[inline(always)]
    fn emit_closed(&self, _: &EventHeader, _: &FlowKey, _: &Flow) -> bool {
        true
    }
    #[inline(always)]
    fn emit_milestone(&self, _: &Milestone) -> bool {
        true
    }
    #[inline(always)]
    fn emit_hit(&self, _: impl FnOnce(&mut Hit)) -> bool {
        true
    }
}
