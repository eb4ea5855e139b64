//! The pipeline's tables over the maps.

use core::{mem::offset_of, ptr};

use aya_ebpf::{
    Global,
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::{
        bpf_csum_diff, bpf_get_smp_processor_id, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns,
        bpf_loop, bpf_map_lookup_elem, bpf_ringbuf_output, bpf_ringbuf_reserve, bpf_ringbuf_submit,
    },
    maps::lpm_trie::Key,
};
use weir_common::{
    abi::{
        BucketKey, Capture, Closed, Control, Established, EventHeader, Flow, FlowKey, Guard,
        Handshake, HelloHeader, Hit, Milestone, Outbound, QuicHandshake, QuicService, Scan,
        Service, Source, SourceKey, Verdict, VerdictClass,
        hello::{COVERAGE_WORDS, HELLO_LEN, HELLO_ROOM},
        key::Address,
        map::{Scratch, capacity},
        synthetic::Nonce,
        verdict::CLASS_COUNT,
    },
    packet::Heading,
    pipeline::{SUM_LEN, Step, Tables},
    tls::Seed,
};

use crate::{atomic, maps, verifier};

/// 1 in tests and replay: time comes from `REPLAY_CLOCK`. The loader freezes it, so that the
/// verifier removes the other branch.
#[unsafe(no_mangle)]
static REPLAY: Global<u8> = Global::new(0);

/// 1 in benchmarks: a hello that was read is awaited again. As [`REPLAY`].
#[unsafe(no_mangle)]
static READ_AGAIN: Global<u8> = Global::new(0);

/// The maps, as seen from one packet.
pub(crate) struct KernelTables {
    pub(crate) ifindex: u32,
    pub(crate) heading: Heading,
}

/// The memory to work in of one direction.
#[inline(always)]
pub(crate) fn scratch<'a>(heading: Heading) -> Option<&'a mut Scratch> {
    value(&maps::SCRATCH, &(heading as u32))
}

/// The value of `key`, exclusively enough: the kernel keeps it in place for this program's run.
/// Other CPUs may write the same value; every field is a counter or a state for which a lost
/// update is harmless, or is changed by [`atomic::compare_exchange`].
#[expect(clippy::mut_from_ref, reason = "the value is the kernel's, not a part of the definition")]
#[inline(always)]
fn value<'a, M, K, V>(map: &'a M, key: &K) -> Option<&'a mut V> {
    // SAFETY: `map` is a map definition that the loader has replaced by its map, whose key and
    // value are K and V (asserted in `maps`); a non-null result points to a V that lives, by RCU,
    // until the program ends.
    unsafe {
        let map = ptr::from_ref(map).cast_mut().cast();
        bpf_map_lookup_elem(map, ptr::from_ref(key).cast()).cast::<V>().as_mut()
    }
}

/// The nonce of the synthetic packet that is under way, if there is one.
#[inline(always)]
pub(crate) fn nonce() -> Option<Nonce> {
    let nonce = *value::<_, _, Nonce>(&maps::AUDIT_NONCE, &0u32)?;
    let [a, b, c, d] = nonce;
    if a | b | c | d == 0 { None } else { Some(nonce) }
}

/// Sends an event that `f` writes where it is sent from: the stack has no room for most of them.
/// `f` has to write every field.
#[inline(always)]
fn fill<E>(f: impl FnOnce(&mut E)) -> bool {
    // SAFETY: the reservation is either null or a writable, 8-byte aligned E. Events are made of
    // integers, so any bytes are one.
    unsafe {
        let room = bpf_ringbuf_reserve(
            ptr::from_ref(&maps::EVENTS).cast_mut().cast(),
            size_of::<E>() as u64,
            0,
        );
        let Some(event) = room.cast::<E>().as_mut() else {
            return false;
        };
        f(event);
        bpf_ringbuf_submit(room, 0);
    }
    true
}

/// Sends a whole event.
#[inline(always)]
fn send<E>(event: &E) -> bool {
    // SAFETY: EVENTS is a ring buffer and `event` is readable for its size.
    let status = unsafe {
        bpf_ringbuf_output(
            ptr::from_ref(&maps::EVENTS).cast_mut().cast(),
            ptr::from_ref(event).cast_mut().cast(),
            size_of::<E>() as u64,
            0,
        )
    };
    status == 0
}

/// One step, as `bpf_loop` calls it: 0 goes on.
extern "C" fn step<S: Step>(_index: u64, steps: *mut S) -> u64 {
    // SAFETY: `bpf_loop` passes on what `repeat` gave it.
    match unsafe { steps.as_mut() } {
        Some(steps) => u64::from(!steps.step()),
        None => 1,
    }
}

const _: () = assert!(
    offset_of!(Capture, bytes) == offset_of!(Capture, header) + size_of::<HelloHeader>()
        && offset_of!(Capture, coverage) == offset_of!(Capture, bytes) + HELLO_ROOM
        && size_of::<Capture>() == offset_of!(Capture, coverage) + 8 * COVERAGE_WORDS
);

impl Tables for KernelTables {
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        if REPLAY.load() != 0 {
            return value::<_, _, u64>(&maps::REPLAY_CLOCK, &0u32).map_or(0, |now| *now);
        }
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn coarse_ns(&self) -> u64 {
        if REPLAY.load() != 0 {
            return value::<_, _, u64>(&maps::REPLAY_CLOCK, &0u32).map_or(0, |now| *now);
        }
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.ifindex
    }

    #[inline(always)]
    fn is_killed(&self) -> bool {
        value::<_, _, u32>(&maps::KILL, &0u32).is_none_or(|kill| *kill != 0)
    }

    #[inline(always)]
    fn control(&self) -> Option<&Control> {
        value::<_, _, Control>(&maps::CONTROL, &0u32).map(|control| &*control)
    }

    #[inline(always)]
    fn pulse_tick(&self) -> u32 {
        value::<_, _, u32>(&maps::HEARTBEAT, &0u32).map_or(0, |tick| *tick)
    }

    #[inline(always)]
    fn service(&self, index: u32) -> Service {
        value(&maps::SERVICES, &index).map_or(Service::default(), |service| *service)
    }

    #[inline(always)]
    fn key_seed(&self) -> Seed {
        value(&maps::KEY_SEED, &0u32).map_or(Seed::default(), |seed| *seed)
    }

    #[inline(always)]
    fn with_class<R>(&self, id: u16, f: impl FnOnce(&VerdictClass) -> R) -> Option<R> {
        let index = u32::from(id);
        if index as usize >= CLASS_COUNT {
            return None;
        }
        value::<_, _, VerdictClass>(&maps::VERDICT_CLASSES, &index).map(|class| f(class))
    }

    #[inline(always)]
    fn with_v4_exact<R>(&self, address: &u32, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        value(&maps::V4_EXACT, address).map(f)
    }

    #[inline(always)]
    fn with_v6_exact<R>(&self, address: &Address, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        value(&maps::V6_EXACT, address).map(f)
    }

    #[inline(always)]
    fn with_v4_prefix<R>(
        &self,
        address: u32,
        max_len: u32,
        f: impl FnOnce(&mut Verdict) -> R,
    ) -> Option<R> {
        value(&maps::V4_PREFIXES, &Key::new(max_len, address)).map(f)
    }

    #[inline(always)]
    fn with_v6_prefix<R>(
        &self,
        address: &Address,
        max_len: u32,
        f: impl FnOnce(&mut Verdict) -> R,
    ) -> Option<R> {
        value(&maps::V6_PREFIXES, &Key::new(max_len, *address)).map(f)
    }

    #[inline(always)]
    fn with_fingerprint<R>(&self, key: u64, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        value(&maps::FINGERPRINT_VERDICTS, &key).map(f)
    }

    #[inline(always)]
    fn with_syn_verdict<R>(&self, key: u64, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        value(&maps::SYN_VERDICTS, &key).map(f)
    }

    #[inline(always)]
    fn with_flow_verdict<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Verdict) -> R) -> Option<R> {
        value(&maps::FLOW_VERDICTS, key).map(f)
    }

    #[inline(always)]
    fn named_service(&self, key: u64) -> Option<u8> {
        value::<_, _, u32>(&maps::SNI_SERVICES, &key).map(|service| *service as u8)
    }

    #[inline(always)]
    fn is_proxy(&self, address: &Address) -> bool {
        value::<_, _, u32>(&maps::PROXIES, &Key::new(128, *address)).is_some()
    }

    #[inline(always)]
    fn interface_flags(&self) -> u32 {
        value::<_, _, u32>(&maps::INTERFACES, &self.ifindex).map_or(0, |flags| *flags)
    }

    #[inline(always)]
    fn staging_slot(&self) -> u32 {
        // SAFETY: the helper has no preconditions.
        capacity::HELLOS as u32 + unsafe { bpf_get_smp_processor_id() }
    }

    #[inline(always)]
    fn with_hello<R>(&self, slot: u32, f: impl FnOnce(&mut Capture) -> R) -> Option<R> {
        value(&maps::HELLOS, &slot).map(f)
    }

    #[inline(always)]
    fn reads_again(&self) -> bool {
        READ_AGAIN.load() != 0
    }

    #[inline(always)]
    fn hello_slots(&self) -> u32 {
        capacity::HELLOS as u32
    }

    #[inline(always)]
    fn repeat<S: Step>(&self, limit: u32, steps: &mut S) {
        // SAFETY: `step` is called with `steps`, which outlives the loop, and nobody else has it.
        unsafe {
            bpf_loop(limit, step::<S> as *mut core::ffi::c_void, ptr::from_mut(steps).cast(), 0);
        }
    }

    #[inline(always)]
    fn sum(bytes: &[u8; HELLO_ROOM], from: u32, length: u32, sum: u32) -> u32 {
        let from = verifier::opaque(from as usize);
        let length = verifier::opaque(length as usize);
        if from > HELLO_ROOM - SUM_LEN as usize || length > SUM_LEN as usize {
            return sum;
        }
        // SAFETY: `length` bytes at `from` are within `bytes`.
        unsafe {
            bpf_csum_diff(
                ptr::null_mut(),
                0,
                bytes.as_ptr().add(from).cast_mut().cast(),
                length as u32,
                sum,
            ) as u32
        }
    }

    #[inline(always)]
    fn emit_hello(&self, capture: &Capture, whole: bool) -> bool {
        const HEADER: usize = size_of::<HelloHeader>();
        let length = if whole {
            HEADER + HELLO_ROOM + 8 * COVERAGE_WORDS
        } else {
            let bytes = verifier::opaque(capture.header.length as usize);
            HEADER + if bytes > HELLO_LEN { HELLO_LEN } else { bytes }
        };
        // SAFETY: HELLO_BYTES is a ring buffer, and header, bytes and coverage lie behind each
        // other (asserted below).
        let status = unsafe {
            bpf_ringbuf_output(
                ptr::from_ref(&maps::HELLO_BYTES).cast_mut().cast(),
                ptr::from_ref(capture).byte_add(offset_of!(Capture, header)).cast_mut().cast(),
                length as u64,
                0,
            )
        };
        status == 0
    }

    #[inline(always)]
    fn with_guard<R>(&self, service: u8, f: impl FnOnce(&mut Guard) -> R) -> Option<R> {
        value(&maps::GUARDS, &u32::from(service)).map(f)
    }

    #[inline(always)]
    fn with_bucket<R>(&self, key: &BucketKey, f: impl FnOnce(&mut u64) -> R) -> Option<R> {
        if let Some(cell) = value(&maps::BUCKETS, key) {
            return Some(f(cell));
        }
        // Another CPU may have been first: either way there is a cell now, or no room.
        let _ = maps::BUCKETS.insert(key, 0, u64::from(BPF_NOEXIST));
        value(&maps::BUCKETS, key).map(f)
    }

    #[inline(always)]
    fn with_retry<R>(&self, hash: u64, f: impl FnOnce(&mut u64) -> R) -> Option<R> {
        let index = hash as u32 & (capacity::SYN_RETRIES as u32 - 1);
        value(&maps::SYN_RETRIES, &index).map(f)
    }

    #[inline(always)]
    fn with_scan<R>(&self, hash: u64, f: impl FnOnce(&mut Scan) -> R) -> Option<R> {
        let index = hash as u32 & (capacity::SCANS as u32 - 1);
        value(&maps::SCANS, &index).map(f)
    }

    #[inline(always)]
    fn compare_exchange(&self, cell: &mut u64, old: u64, new: u64) -> bool {
        atomic::compare_exchange(cell, old, new)
    }

    #[inline(always)]
    fn with_handshake<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Handshake) -> R) -> Option<R> {
        value(&maps::HANDSHAKES, key).map(f)
    }

    #[inline(always)]
    fn insert_handshake(&self, key: &FlowKey, f: impl FnOnce(&mut Handshake)) -> bool {
        let Some(Scratch { handshake, .. }) = scratch(self.heading) else {
            return false;
        };
        *handshake = Handshake::UNKNOWN;
        f(handshake);
        let handshake: &Handshake = handshake;
        maps::HANDSHAKES.insert(key, handshake, u64::from(BPF_ANY)).is_ok()
    }

    #[inline(always)]
    fn remove_handshake(&self, key: &FlowKey) {
        // Absent is as good as removed.
        let _ = maps::HANDSHAKES.remove(key);
    }

    #[inline(always)]
    fn with_flow<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Flow) -> R) -> Option<R> {
        value(&maps::FLOWS, key).map(f)
    }

    #[inline(always)]
    fn insert_flow(&self, key: &FlowKey, f: impl FnOnce(&mut Flow)) -> bool {
        let Some(Scratch { flow, .. }) = scratch(self.heading) else {
            return false;
        };
        *flow = Flow::default();
        f(flow);
        // Lent, not copied: a copy would not fit on the stack.
        let flow: &Flow = flow;
        maps::FLOWS.insert(key, flow, u64::from(BPF_ANY)).is_ok()
    }

    #[inline(always)]
    fn remove_flow(&self, key: &FlowKey) {
        // Absent is as good as removed.
        let _ = maps::FLOWS.remove(key);
    }

    #[inline(always)]
    fn with_quic<R>(&self, key: &FlowKey, f: impl FnOnce(&mut QuicHandshake) -> R) -> Option<R> {
        value(&maps::QUIC_HANDSHAKES, key).map(f)
    }

    #[inline(always)]
    fn insert_quic(&self, key: &FlowKey, f: impl FnOnce(&mut QuicHandshake)) -> bool {
        let Some(Scratch { quic, .. }) = scratch(self.heading) else {
            return false;
        };
        f(quic);
        let quic: &QuicHandshake = quic;
        maps::QUIC_HANDSHAKES.insert(key, quic, u64::from(BPF_ANY)).is_ok()
    }

    #[inline(always)]
    fn with_quic_service<R>(
        &self,
        service: u8,
        f: impl FnOnce(&mut QuicService) -> R,
    ) -> Option<R> {
        value(&maps::QUIC_SERVICES, &u32::from(service)).map(f)
    }

    #[inline(always)]
    fn with_quic_budget<R>(&self, hash: u64, f: impl FnOnce(&mut u64) -> R) -> Option<R> {
        let index = hash as u32 & (capacity::QUIC_BUDGETS as u32 - 1);
        value(&maps::QUIC_BUDGETS, &index).map(f)
    }

    #[inline(always)]
    fn with_outbound<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Outbound) -> R) -> Option<R> {
        value(&maps::OUTBOUND, key).map(f)
    }

    #[inline(always)]
    fn insert_outbound(&self, key: &FlowKey, outbound: &Outbound) {
        // Without room the flow is treated like any other: a drop verdict on its peer hits it.
        let _ = maps::OUTBOUND.insert(key, outbound, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn with_source<R>(&self, key: &SourceKey, f: impl FnOnce(&mut Source) -> R) -> Option<R> {
        value(&maps::SOURCES, key).map(f)
    }

    #[inline(always)]
    fn insert_source<R>(&self, key: &SourceKey, f: impl FnOnce(&mut Source) -> R) -> Option<R> {
        let Scratch { source, .. } = scratch(self.heading)?;
        *source = Source::default();
        let result = f(source);
        let source: &Source = source;
        maps::SOURCES.insert(key, source, u64::from(BPF_ANY)).is_ok().then_some(result)
    }

    #[inline(always)]
    fn tally(&self, index: u32, packets: u32, bytes: u32) {
        if let Some(tally) = value::<_, _, weir_common::abi::Tally>(&maps::TALLY, &index) {
            tally.packets = tally.packets.wrapping_add(u64::from(packets));
            tally.bytes = tally.bytes.wrapping_add(u64::from(bytes));
        }
    }

    #[inline(always)]
    fn emit_established(&self, f: impl FnOnce(&mut Established)) -> bool {
        fill(f)
    }

    #[inline(always)]
    fn emit_closed(&self, header: &EventHeader, key: &FlowKey, flow: &Flow) -> bool {
        fill(|event: &mut Closed| {
            event.header = *header;
            event.key = *key;
            event.flow = *flow;
        })
    }

    #[inline(always)]
    fn emit_milestone(&self, event: &Milestone) -> bool {
        send(event)
    }

    #[inline(always)]
    fn emit_hit(&self, f: impl FnOnce(&mut Hit)) -> bool {
        fill(f)
    }
}
