//! What the stages need from the outside: clocks, maps, counters, events.
//!
//! Entries are reached through closures, so that the kernel can lend a map value's memory and the
//! host a hash map's, both without copies. A closure must not reach for the same table again.

use crate::abi::{
    BucketKey, Closed, Control, Established, EventHeader, Flow, FlowKey, Guard, Handshake, Hit,
    Milestone, Outbound, Reason, Scan, Source, SourceKey, Verdict, VerdictClass, key::Address,
};

/// The tables behind the pipeline. Kernel: BPF maps. Host: [`crate::host::MemoryTables`].
pub trait Tables {
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
    fn service(&self, index: u32) -> u8;

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
    /// Adds or replaces one. `false`: there is no room.
    fn insert_handshake(&self, key: &FlowKey, handshake: &Handshake) -> bool;
    /// Removes one.
    fn remove_handshake(&self, key: &FlowKey);

    /// A proven flow.
    fn with_flow<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Flow) -> R) -> Option<R>;
    /// Adds or replaces one, made from zero by `f`. `false`: there is no room.
    fn insert_flow(&self, key: &FlowKey, f: impl FnOnce(&mut Flow)) -> bool;
    /// Removes one.
    fn remove_flow(&self, key: &FlowKey);

    /// A flow that this host opened.
    fn with_outbound<R>(&self, key: &FlowKey, f: impl FnOnce(&mut Outbound) -> R) -> Option<R>;
    /// Adds one.
    fn insert_outbound(&self, key: &FlowKey, outbound: &Outbound);

    /// A proven source.
    fn with_source<R>(&self, key: &SourceKey, f: impl FnOnce(&mut Source) -> R) -> Option<R>;
    /// Adds one. `false`: there is no room.
    fn insert_source(&self, key: &SourceKey, source: &Source) -> bool;

    /// Adds to a counter; index as in `abi::tally`.
    fn tally(&self, index: u32, packets: u32, bytes: u32);
    /// Reports a proven flow. `false`: the ring buffer is full.
    fn emit_established(&self, event: &Established) -> bool;
    /// Reports the end of a flow: a [`Closed`] of these parts.
    fn emit_closed(&self, header: &EventHeader, key: &FlowKey, flow: &Flow) -> bool;
    /// Reports a threshold.
    fn emit_milestone(&self, event: &Milestone) -> bool;
    /// Reports a verdict's hit.
    fn emit_hit(&self, event: &Hit) -> bool;

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
