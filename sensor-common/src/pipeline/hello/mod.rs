//! The hello stage: a flow's ClientHello, read on the segment that completes it.
//!
//! A segment's bytes count only where the server would take them: in window and acknowledging our
//! data (`flow::progress` saw to that), with good checksums and no old timestamp. One segment is
//! read where it was staged; more are collected in a slot, by sequence offset. What the kernel does
//! not collect goes to the daemon piece by piece. Nothing here holds a packet back but a verdict.

mod collect;
mod frame;
mod name;
mod proxied;
mod read;
mod stage;
mod timestamp;

use self::frame::Framing;
use super::{
    Decision, Tables,
    ingress::Ingress,
    limit,
    verdict::{self, Ruling, Verdict},
};
use crate::{
    abi::{
        Action, Capture, Flow, HelloKind, Reason,
        control::CONTROL_FINGERPRINTS,
        flow::{FLOW_PROXIED, FLOW_REFUSED, FLOW_TIMESTAMPS, hello},
        hello::{HELLO_LEN, HELLO_PROXIED},
        key::Address,
        tally::Outcome,
    },
    flow::seq,
    packet::{Link, PacketMut, Segment},
    tls::Keys,
};

/// Bytes of a stream that are handed to the daemon at most.
const FORWARD_LEN: i32 = 16 * 1024;

/// A flow as this stage found it, and what becomes of its segment. Plain words in working memory,
/// for the same reasons as [`super::Ruling`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Attended {
    pub(super) now_ns: u64,
    proven_ns: u64,
    client: Address,
    base: u32,
    ts_recent: u32,
    /// The server has taken the bytes before this number.
    next_seq: u32,
    /// Where a completed hello lies.
    slot: u32,
    fate: u32,
    action: u32,
    reason: u32,
    flags: u32,
    client_port: u32,
    hello: u32,
    is_in_order: u32,
    /// It acknowledges less than the server would have it.
    is_old_ack: u32,
    service: u32,
    is_complete: u32,
    /// An allow for the peer stands.
    pub(super) is_allowed: u32,
    /// The class by which the segment was counted as one on which would have been acted; 0 = it was not.
    pub(super) would: u32,
    /// A limit refused it, and counted it.
    is_limited: u32,
    /// A proxy just named the client: its connections so far, and in the last ten seconds.
    connections: u32,
    connections_10s: u32,
    /// Zero.
    reserved: u32,
    keys: Keys,
    ruling: Ruling,
}

/// What becomes of the segment: it passes.
const PASS: u32 = 0;
/// Its bytes count: go on with them.
const GO: u32 = 1;
/// It completed a hello, which lies in [`Attended::slot`].
const COMPLETE: u32 = 2;
/// It is refused, and with it the flow.
const REFUSED: u32 = 3;

impl Attended {
    #[inline(always)]
    const fn begin(&mut self, flow: &Flow, segment: &Segment, service: u8) {
        self.proven_ns = flow.proven_ns;
        self.client = flow.client;
        self.base = flow.hello_base;
        self.ts_recent = flow.ts_recent;
        self.fate = GO;
        // The hello, once it is read, may have named another than the port's.
        self.service = if flow.hello == hello::READ { flow.service } else { service } as u32;
        self.flags = flow.flags as u32;
        self.client_port = flow.client_port as u32;
        self.hello = flow.hello as u32;
        // Flow progress has moved on by the segment, unless it lies ahead or is over already.
        self.is_in_order = (segment.next_seq() == flow.client_next) as u32;
        self.next_seq = if self.is_in_order == 0 {
            flow.client_next
        } else {
            seq::latest(segment.seq, flow.hello_base)
        };
        // Of what the server sent, no more can have been acknowledged than there was (`tcp_ack`,
        // net/ipv4/tcp_input.c: RFC 5961, section 5, and `bytes_acked`).
        let older = flow.server_unacked.wrapping_sub(segment.ack);
        self.is_old_ack = (older as i32 > 0 && older as u64 > flow.egress.bytes) as u32;
    }

    #[inline(always)]
    const fn has(&self, flags: u16) -> bool {
        self.flags & flags as u32 != 0
    }

    #[inline(always)]
    const fn is(&self, state: u8) -> bool {
        self.hello == state as u32
    }

    #[inline(always)]
    const fn refuse(&mut self, action: Action, reason: Reason) {
        self.fate = REFUSED;
        self.action = action as u32;
        self.reason = reason as u32;
    }

    #[inline(always)]
    const fn goes_on(&self) -> bool {
        self.fate == GO
    }
}

/// Looks closer at a segment of a proven flow. `None`: it passes.
///
/// The steps are called one after the other and none from another: the verifier allows eight frames
/// and 512 bytes of stack, and goes through a function once for every place it is called from.
#[inline(always)]
pub(super) fn look<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
    flow: &mut Attended,
    link: Link,
) -> Option<Decision> {
    attend(packet, ingress, flow);
    let flow = core::hint::black_box(flow);
    if flow.fate == COMPLETE || flow.fate != REFUSED && flow.client != NOBODY {
        judge(ingress, flow);
    }
    conclude(packet, ingress, flow, link)
}

/// Takes up the segment's bytes; reads the hello that they complete.
#[inline(never)]
fn attend<P: PacketMut, T: Tables>(packet: &mut P, ingress: &Ingress<'_, T>, flow: &mut Attended) {
    let tables = ingress.tables;
    let segment = &ingress.headers.segment;
    flow.is_complete = 0;
    flow.is_limited = 0;
    flow.connections = 0;
    let known = tables.with_flow(ingress.key(), |known| {
        flow.begin(known, segment, ingress.service);
    });
    if known.is_none() {
        flow.client = NOBODY;
        flow.fate = PASS;
        return;
    }
    if flow.has(FLOW_REFUSED) {
        return flow.refuse(Action::Drop, Reason::DropRefused);
    }
    admit(packet, ingress, flow);
    if flow.goes_on() && proxied::expects_header(ingress, flow) {
        proxied::header(ingress, flow);
        if flow.goes_on() && flow.client != NOBODY {
            proxied::count(ingress, flow);
        }
    }
    if flow.goes_on() {
        place(packet, ingress, flow);
    }
    if flow.fate == COMPLETE {
        flow.is_complete = 1;
        tables.with_hello(flow.slot, |capture| read::read(ingress, capture, flow));
    }
}

/// Reports whom a proxy named and the hello that was read, and ends the flow that is refused.
#[inline(never)]
fn conclude<P: PacketMut, T: Tables>(
    packet: &mut P,
    ingress: &Ingress<'_, T>,
    flow: &Attended,
    link: Link,
) -> Option<Decision> {
    let tables = ingress.tables;
    if flow.connections != 0 {
        proxied::report(ingress, flow);
    }
    if flow.is_complete != 0 {
        tables.with_hello(flow.slot, |capture| read::report(ingress, capture, flow));
    }
    if flow.fate != REFUSED {
        return None;
    }
    if !flow.has(FLOW_REFUSED) {
        let next_seq = flow.next_seq;
        tables.with_flow(ingress.key(), |flow| {
            flow.flags |= FLOW_REFUSED;
            flow.client_next = next_seq;
        });
    }
    let (action, reason) = (Action::from_u8(flow.action as u8), Reason::from_u8(flow.reason as u8));
    if flow.is_limited == 0 {
        ingress.outcome(Outcome::Drop);
    }
    Some(verdict::refuse_late(packet, ingress, action, reason, link))
}

/// What the verdicts say now that client, service and fingerprint are known.
#[inline(never)]
fn judge<T: Tables>(ingress: &Ingress<'_, T>, flow: &mut Attended) {
    let is_complete = flow.is_complete != 0;
    let has_keys = is_complete && ingress.control.flags & CONTROL_FINGERPRINTS != 0;
    let is_renamed = flow.service != u32::from(ingress.service);
    let is_proxied = flow.client != NOBODY;
    let is_named_now = is_proxied && !flow.has(FLOW_PROXIED);
    if !(has_keys || is_proxied || is_complete && is_renamed) {
        return;
    }
    let Attended { client, service, keys, ruling, is_allowed, would, .. } = &mut *flow;
    let client = if is_proxied { &*client } else { &ingress.headers.key.remote };
    let judged = Ingress {
        client,
        service: *service as u8,
        service_flags: 0,
        renamed: is_renamed && !is_proxied,
        ..*ingress
    };
    ruling.begin_again(*would);
    // An allow for the client covers its fingerprint too. The peer itself was judged before the hello.
    if is_proxied || is_renamed {
        verdict::judge_client(&judged, ruling);
    } else if *is_allowed != 0 {
        ruling.allow();
    }
    if has_keys {
        verdict::judge_hello(&judged, keys, ruling);
    }
    let mut limited = false;
    let refused = match ruling.verdict() {
        Verdict::Refuse { action, reason } => Some((action, reason)),
        Verdict::Limit => {
            // Here is where a proxy's client opens a connection, or anybody one to the named service;
            // a limit that the port's service has too took that one at its SYN.
            let is_new = is_named_now || is_complete && is_renamed && !is_of_port(ingress, ruling);
            limited = is_new && limit::exceeded_at_hello(&judged, ruling);
            limited.then_some((Action::Drop, Reason::LimitVerdict))
        }
        _ => None,
    };
    if ruling.would() != 0 {
        *would = ruling.would();
    }
    if let Some((action, reason)) = refused {
        flow.refuse(action, reason);
        flow.is_limited = u32::from(limited);
    }
}

/// Whether a limit is also one of the port's own service.
#[inline(always)]
fn is_of_port<T: Tables>(ingress: &Ingress<'_, T>, ruling: &Ruling) -> bool {
    let service = ingress.service;
    let class = ruling.limit_class();
    ingress.tables.with_class(class, |class| class.services.contains(service)) == Some(true)
}

/// Stages the segment. It goes on only if the server takes it.
#[inline(never)]
fn admit<P: PacketMut, T: Tables>(packet: &P, ingress: &Ingress<'_, T>, flow: &mut Attended) {
    let segment = &ingress.headers.segment;
    let offset = segment.seq.wrapping_sub(flow.base);
    flow.fate = PASS;
    if flow.is(hello::NONE) || flow.is(hello::READ) {
        return;
    }
    let mut is_taken = false;
    ingress.tables.with_hello(ingress.tables.staging_slot(), |staged| {
        stage::load(packet, ingress.headers, staged, 0, offset);
        if !stage::is_good(packet, ingress, staged, offset) {
            ingress.reason(Reason::HelloBadChecksum);
        } else if flow.is_old_ack != 0 {
            ingress.reason(Reason::OutOfWindow);
        } else if flow.has(FLOW_TIMESTAMPS) && timestamp::is_old(packet, ingress, staged, flow) {
            ingress.reason(Reason::HelloOldTimestamp);
        } else {
            is_taken = true;
        }
    });
    if !is_taken {
        put_back(ingress, flow);
    } else if (offset as i32) < FORWARD_LEN {
        if segment.payload > 0 {
            flow.fate = GO;
        }
    } else if flow.is_in_order != 0 {
        // The server has come this far, and the hello is not found.
        state(ingress, hello::NONE);
    }
}

/// The server does not take the segment, so its next number is not the one behind it. Where it had a
/// part of it already, it says so with its next acknowledgement.
#[inline(always)]
fn put_back<T: Tables>(ingress: &Ingress<'_, T>, flow: &Attended) {
    let seq = ingress.headers.segment.seq;
    if flow.is_in_order != 0 {
        ingress.tables.with_flow(ingress.key(), |flow| flow.client_next = seq);
    }
}

/// Whether the segment's checksums are good.
#[inline(never)]
pub(super) fn is_intact<P: PacketMut, T: Tables>(packet: &P, ingress: &Ingress<'_, T>) -> bool {
    let tables = ingress.tables;
    let intact = tables.with_hello(tables.staging_slot(), |staged| {
        stage::load(packet, ingress.headers, staged, 0, 0);
        stage::is_good(packet, ingress, staged, 0)
    });
    intact == Some(true)
}

/// Puts the bytes of a good segment where the stream has them.
#[inline(never)]
fn place<P: PacketMut, T: Tables>(packet: &P, ingress: &Ingress<'_, T>, flow: &mut Attended) {
    let segment = &ingress.headers.segment;
    let offset = segment.seq.wrapping_sub(flow.base);
    flow.fate = PASS;
    ingress.tables.with_hello(ingress.tables.staging_slot(), |staged| {
        let mut from = offset;
        let end = offset.wrapping_add(segment.payload);
        if (offset as i32) < 0 {
            // The stream begins inside the segment, or behind it.
            let before = offset.wrapping_neg();
            if before >= segment.payload {
                return;
            }
            stage::load(packet, ingress.headers, staged, before, 0);
            from = 0;
        }
        let mut is_left = flow.is(hello::FORWARDED);
        if !is_left {
            flow.fate = GO;
            if flow.is(hello::AWAITED) && from == 0 {
                is_left = is_too_long(ingress, staged, flow);
            }
            if flow.goes_on() && (from as usize) < HELLO_LEN {
                is_left = !collect::add(ingress, staged, flow, from);
            }
            if is_left {
                state(ingress, hello::FORWARDED);
            }
        }
        // What lies beyond the bytes that are collected may belong to a hello that is too long.
        if is_left || flow.goes_on() && end as usize > HELLO_LEN {
            stage::forward(packet, ingress, staged, flow);
        }
    });
    if flow.goes_on() {
        flow.fate = PASS;
    }
}

/// Looks whether the stream's first segment holds all of the hello, or none of one: then it does
/// not go on. `true`: the hello is too long for the kernel.
#[inline(always)]
fn is_too_long<T: Tables>(
    ingress: &Ingress<'_, T>,
    staged: &mut Capture,
    flow: &mut Attended,
) -> bool {
    stage::begin(staged);
    flow.fate = PASS;
    let framing = frame::examine(ingress.tables, staged);
    match framing {
        Framing::NotTls => state(ingress, hello::NONE),
        Framing::Complete => {
            staged.header.segments = 1;
            staged.header.flags = stage::urgency(&ingress.headers.segment);
            flow.slot = ingress.tables.staging_slot();
            flow.fate = COMPLETE;
        }
        Framing::TooLong => ingress.reason(Reason::HelloTooLong),
        Framing::Incomplete => flow.fate = GO,
    }
    framing == Framing::TooLong
}

/// The proxy itself, or somebody that it cannot name.
const NOBODY: Address = [0; 4];
/// Of what the kernel did not read.
const NO_KEYS: Keys = Keys { matching: 0, stable: 0 };

/// Sets how far the flow's hello has come.
#[inline(always)]
fn state<T: Tables>(ingress: &Ingress<'_, T>, state: u8) {
    ingress.tables.with_flow(ingress.key(), |flow| flow.hello = state);
}

/// Fills what every record says of its flow.
#[inline(never)]
fn describe<T: Tables>(ingress: &Ingress<'_, T>, capture: &mut Capture, flow: &Attended) {
    let now_ns = flow.now_ns;
    let header = &mut capture.header;
    header.at_ns = now_ns;
    header.ifindex = ingress.tables.ifindex();
    header.key = *ingress.key();
    header.client = ingress.key().remote;
    header.client_port = ingress.key().remote_port;
    if flow.client != NOBODY {
        header.flags |= HELLO_PROXIED;
        header.client = flow.client;
        header.client_port = flow.client_port as u16;
    }
    let delay = now_ns.saturating_sub(flow.proven_ns) >> DELAY_SHIFT;
    header.delay = if delay > u32::MAX as u64 { u32::MAX } else { delay as u32 };
}

/// log2 of the unit of a record's delay, ns.
const DELAY_SHIFT: u32 = 10;

/// Sends a record.
#[inline(never)]
fn emit<T: Tables>(tables: &T, capture: &mut Capture, kind: HelloKind) {
    capture.header.kind = kind as u8;
    if kind as u8 != HelloKind::Whole as u8 {
        capture.header.keys = NO_KEYS;
    }
    if !tables.emit_hello(capture, kind as u8 == HelloKind::Collected as u8) {
        tables.note(Reason::LostHello);
    }
}
