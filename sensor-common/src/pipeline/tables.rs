//! What the stages need from the outside: clocks, maps, counters, events.
//!
//! Entries are reached through closures, so that the kernel can lend a map value's memory and the
//! host a hash map's, both without copies. A closure must not reach for the same table again.

use crate::abi::{
    BucketKey, Capture, Closed, Control, Established, EventHeader, Flow, FlowKey, Guard, Handshake,
    Hit, Milestone, Outbound, QuicHandshake, QuicService, Reason, Scan, Service, Source, SourceKey,
    Verdict, VerdictClass, hello::HELLO_ROOM, key::Address,
};
use crate::tls::Seed;

/// Bytes that one sum takes at most: the helper's limit before kernel 6.13.
pub const SUM_LEN: u32 = 512;

/// One step of a long loop, for [`Tables::repeat`]. It keeps its place in a map's value: what
/// changes on the stack, the verifier would follow from step to step.
pub trait Step {
    /// Takes it. `false`: the loop is over.
    fn step(&mut self) -> bool;
}

/// The tables behind the pipeline. Kernel: BPF maps. Host: [`crate::host::MemoryTables`].
pub trait Tables {
    /// Whether a packet is done with once the verdict on its address stands: what it looks like is not
    /// asked, limits take no token, and nothing is measured.
    const ENDS_AT_VERDICT: bool = false;

    /// Fine clock, `CLOCK_MONOTONIC` ns. Costs ten times the coarse one.
    fn now_ns(&self) -> u64;
    /// Coarse clock: the time of the last timer interrupt.
    fn coarse_ns(&self) -> u64;
    /// Interface that the packet is on.
    fn ifindex(&self) -> u32;

    /// Whether the kill switch is on.
    fn is_killed(&self) -> bool;
    /// Modes and settings. `None`: there are none, and nothing is judged or measured.
    fn control(&self) -> Option<&Control>;
    /// The daemon's last pulse, as a tick.
    fn pulse_tick(&self) -> u32;
    /// The protected service of a port; index as in `abi::control::service_index`.
    fn service(&self, index: u32) -> Service;
    /// The secret of match keys.
    fn key_seed(&self) -> Seed;

    /// What a verdict class means.
    fn with_class<R>(&self, id: u16, f: impl FnOnce(&VerdictClass) -> R) -> Option<R>;
    /// The exact IPv4 verdict.
    fn with_v4_exact<R>(&self, address: &u32, f: impl FnOnce(&mut Verdict) -> R) -> Option<R>;
    /// The exact IPv6 verdict.
    fn with_v6_exact<R>(&self, address: &Address, f: impl FnOnce(&mut Verdict) -> R) -> Option<R>;
    /// The longest IPv4 prefix of at most `max_len` bits.
    fn with_v4_prefix<R>(
        &self,
        address: u32,
        max_len: u32,
        f: impl FnOnce(&mut Verdict) -> R,
    ) -> Option<R>;
    /// The longest IPv6 prefix of at most `max_len` bits.
    fn with_v6_prefix<R>(
        &self,
        address: &Address,
        max_len: u32,
        f: impl FnOnce(&mut Verdict) -> R,
    ) -> Option<R>;

    /// The verdict on a match key or stable key.
    fn with_fingerprint<R>(&self, key: u64, f: impl FnOnce(&mut Verdict) -> R) -> Option<R>;
    /// The verdict on a SYN signature's key.
    fn with_syn_verdict<R>(&self, key: u64, f: impl FnOnce(&mut Verdict) -> R) -> Option<R>;
    /// The verdict on a flow.
    fn with_flow_verdict<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Verdict) -> R) -> Option<R>;
    /// The service that a name's key stands for.
    fn named_service(&self, key: u64) -> Option<u8>;
    /// Whether an address is a declared proxy that sends a PROXY header.
    fn is_proxy(&self, address: &Address) -> bool;
    /// `INTERFACE_*` bits of the packet's interface.
    fn interface_flags(&self) -> u32;

    /// The slot in which this CPU checks segments, and reads hellos of one segment.
    fn staging_slot(&self) -> u32;
    /// A slot of hellos that arrive, or in which segments are staged. One table holds both, so that
    /// the verifier goes through what works on either only once.
    fn with_hello<R>(&self, slot: u32, f: impl FnOnce(&mut Capture) -> R) -> Option<R>;
    /// Whether a hello that was read is awaited again: only so can a benchmark read one many times.
    fn reads_again(&self) -> bool {
        false
    }
    /// How many slots of hellos there are: a power of two.
    fn hello_slots(&self) -> u32;
    /// Takes steps until one says `false`, at most `limit`.
    fn repeat<S: Step>(&self, limit: u32, steps: &mut S);
    /// The one's-complement sum of `length` bytes, at most [`SUM_LEN`] and a multiple of four, on
    /// top of `sum`.
    fn sum(bytes: &[u8; HELLO_ROOM], from: u32, length: u32, sum: u32) -> u32;
    /// Sends the capture's header and the first `header.length` of its bytes; all of it, coverage
    /// included, where `whole`. `false`: the ring buffer is full.
    fn emit_hello(&self, capture: &Capture, whole: bool) -> bool;

    /// A service's SYN guard.
    fn with_guard<R>(&self, service: u8, f: impl FnOnce(&mut Guard) -> R) -> Option<R>;
    /// The state of a limiter, made at zero where there is none. `None`: there is no room.
    fn with_bucket<R>(&self, key: &BucketKey, f: impl FnOnce(&mut u64) -> R) -> Option<R>;
    /// A cell of held-back SYNs.
    fn with_retry<R>(&self, hash: u64, f: impl FnOnce(&mut u64) -> R) -> Option<R>;
    /// A cell of the port sketch.
    fn with_scan<R>(&self, hash: u64, f: impl FnOnce(&mut Scan) -> R) -> Option<R>;
    /// Replaces `cell` by `new` if it still is `old`: one atomic operation.
    fn compare_exchange(&self, cell: &mut u64, old: u64, new: u64) -> bool;

    /// A half-open connection.
    fn with_handshake<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Handshake) -> R) -> Option<R>;
    /// Adds or replaces one, made from an unknown one by `f`. `false`: there is no room.
    fn insert_handshake(&self, key: &FlowKey, f: impl FnOnce(&mut Handshake)) -> bool;
    /// Removes one.
    fn remove_handshake(&self, key: &FlowKey);

    /// A proven flow.
    fn with_flow<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Flow) -> R) -> Option<R>;
    /// Adds or replaces one, made from zero by `f`. `false`: there is no room.
    fn insert_flow(&self, key: &FlowKey, f: impl FnOnce(&mut Flow)) -> bool;
    /// Removes one.
    fn remove_flow(&self, key: &FlowKey);

    /// A QUIC handshake.
    fn with_quic<R>(&self, key: &FlowKey, f: impl FnOnce(&mut QuicHandshake) -> R) -> Option<R>;
    /// Adds or replaces one, every field written by `f`. `false`: there is no room.
    fn insert_quic(&self, key: &FlowKey, f: impl FnOnce(&mut QuicHandshake)) -> bool;
    /// What is known of a service's QUIC server.
    fn with_quic_service<R>(&self, service: u8, f: impl FnOnce(&mut QuicService) -> R)
    -> Option<R>;
    /// A cell of limiters of Initials that are handed to the daemon.
    fn with_quic_budget<R>(&self, hash: u64, f: impl FnOnce(&mut u64) -> R) -> Option<R>;

    /// A flow that this host opened.
    fn with_outbound<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Outbound) -> R) -> Option<R>;
    /// Adds one.
    fn insert_outbound(&self, key: &FlowKey, outbound: &Outbound);

    /// A proven source.
    fn with_source<R>(&self, key: &SourceKey, f: impl FnOnce(&mut Source) -> R) -> Option<R>;
    /// Adds one, made from zero by `f`, and returns what `f` did. `None`: there is no room.
    fn insert_source<R>(&self, key: &SourceKey, f: impl FnOnce(&mut Source) -> R) -> Option<R>;

    /// Adds to a counter; index as in `abi::tally`.
    fn tally(&self, index: u32, packets: u32, bytes: u32);
    /// Reports a proven flow, every field written by `f`. `false`: the ring buffer is full.
    fn emit_established(&self, f: impl FnOnce(&mut Established)) -> bool;
    /// Reports the end or the progress of a flow: a [`Closed`] of these parts.
    fn emit_closed(&self, header: &EventHeader, key: &FlowKey, flow: &Flow) -> bool;
    /// Reports a threshold.
    fn emit_milestone(&self, event: &Milestone) -> bool;
    /// Reports a verdict's hit, every field of which `f` writes.
    fn emit_hit(&self, f: impl FnOnce(&mut Hit)) -> bool;

    /// Counts one occurrence of a reason that is not the packet's own fate.
    #[inline(always)]
    fn note(&self, reason: Reason) {
        self.tally(crate::abi::tally::reason_index(reason), 1, 0);
    }

    /// Reports a threshold and counts the loss where there is no room.
    #[inline(always)]
    fn report_milestone(&self, event: &Milestone) {
        if !self.emit_milestone(event) {
            self.note(Reason::LostMilestone);
        }
    }
}

/// `Closed` is written by its parts; this keeps the two layouts one.
const _: () = assert!(
    size_of::<Closed>() == size_of::<EventHeader>() + size_of::<FlowKey>() + size_of::<Flow>()
);
