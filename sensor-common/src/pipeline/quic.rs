//! Datagrams of UDP services: the proof of QUIC clients, the volume of proven flows, and the
//! Initials that the daemon decrypts.

use super::{Tables, establish, ingress::Ingress, limit, strangers};
use crate::{
    abi::{
        Flow, FlowKey, HelloHeader, HelloKind, MilestoneKind, Reason, hello::HELLO_CHUNK,
        key::SourceKey, time::SECOND_NS,
    },
    flow::{
        quic::{FromClient, FromServer, is_own_choice},
        scan,
    },
    packet::{
        Headers, Packet, QuicHeader, Segment,
        quic::{Form, is_short},
        udp,
    },
    tls::Keys,
};

/// Datagrams with Initials are at least this long, or they are discarded (RFC 9000, section 14.1).
const LEAST_INITIAL: u32 = 1200;
/// Bytes of a datagram that are handed over: all of it on links of Ethernet's size.
const MOST_INITIAL: u32 = 1500;

/// Initials that a source may have decrypted: 20 a second, 64 at once.
const SOURCE_INTERVAL_NS: u64 = SECOND_NS / 20;
const SOURCE_BURST_NS: u64 = 63 * SOURCE_INTERVAL_NS;
/// Initials of a service's strangers, all of them together: 1000 a second, 1000 at once, which fill
/// less than half of the ring buffer.
const STRANGERS_INTERVAL_NS: u64 = SECOND_NS / 1000;
const STRANGERS_BURST_NS: u64 = 999 * STRANGERS_INTERVAL_NS;

/// A datagram to a UDP service, which passes in any case.
#[inline(never)]
pub(super) fn ingress<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    header: &mut QuicHeader,
    would: u32,
) {
    let tables = ingress.tables;
    let now_ns = tables.now_ns();
    let form = header.read(packet, ingress.headers);
    let header = &*core::hint::black_box(header);
    let datagram = datagram(ingress.headers, packet.segments());
    let count = |flow: &mut Flow| {
        let counts = flow.datagram_from_client(&header.destination, &datagram, now_ns);
        if counts && flow.is_to_be_told(now_ns) {
            establish::progress(tables, ingress.key(), flow, now_ns);
        }
    };
    let is_known = tables.with_flow(ingress.key(), count).is_some();
    let is_begun = is_known || tables.with_quic(ingress.key(), |_| ()).is_some();
    if !(is_begun || form == Form::Long && header.is_initial()) {
        strangers::note(ingress, MilestoneKind::Datagrams);
    }
    let may_prove = form == Form::Long || form == Form::Short && !is_known;
    if may_prove && prove(ingress, header, form, now_ns, would) {
        tables.with_flow(ingress.key(), count);
    }
    if form == Form::Long && header.is_initial() && datagram.payload >= LEAST_INITIAL {
        hand_over(packet, ingress, now_ns);
    }
}

/// Whether a datagram goes on with a connection that was proven. Long headers do not count: they
/// may begin another one from the same port.
#[inline(always)]
pub(super) fn continues<P: Packet, T: Tables>(packet: &P, ingress: &Ingress<'_, T>) -> bool {
    is_short(packet, ingress.headers) && ingress.tables.with_flow(ingress.key(), |_| ()).is_some()
}

/// A datagram, as directions count them.
#[inline(always)]
fn datagram(headers: &Headers, segments: u32) -> Segment {
    let payload = headers.end - headers.transport_at - udp::HEADER_LEN;
    Segment { payload, segments, ..Segment::default() }
}

/// Whether the client is proven by this datagram.
#[inline(never)]
fn prove<T: Tables>(
    ingress: &Ingress<'_, T>,
    header: &QuicHeader,
    form: Form,
    now_ns: u64,
    would: u32,
) -> bool {
    let (tables, service) = (ingress.tables, ingress.service);
    let step = tables.with_quic(ingress.key(), |handshake| {
        let step = handshake.from_client(form, header, now_ns);
        if step != FromClient::Proves || !chooses_ids(tables, service, now_ns) {
            return false;
        }
        establish::datagrams(ingress, handshake, would, now_ns);
        true
    });
    if step.is_none() && form == Form::Long && header.is_initial() {
        let inserted =
            tables.insert_quic(ingress.key(), |handshake| handshake.begin(header, now_ns));
        if !inserted {
            tables.note(Reason::FullQuic);
        }
    }
    step == Some(true)
}

#[inline(always)]
fn chooses_ids<T: Tables>(tables: &T, service: u8, now_ns: u64) -> bool {
    tables.with_quic_service(service, |it| is_own_choice(it.echoed_ns, now_ns)) == Some(true)
}

/// A UDP service answers: counted for proven flows; what it announces is remembered for those that
/// began.
#[inline(never)]
pub(super) fn egress<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    headers: &Headers,
    header: &mut QuicHeader,
    service: u8,
) {
    let now_ns = tables.now_ns();
    let form = header.read(packet, headers);
    let header = &*core::hint::black_box(header);
    let datagram = datagram(headers, packet.segments());
    tables.with_flow(&headers.key, |flow| flow.datagram_from_server(&datagram, now_ns));
    if form == Form::Long {
        announce(tables, &headers.key, header, service, now_ns);
    }
}

#[inline(never)]
fn announce<T: Tables>(tables: &T, key: &FlowKey, header: &QuicHeader, service: u8, now_ns: u64) {
    match tables.with_quic(key, |handshake| handshake.from_server(header, now_ns)) {
        Some(FromServer::Continues) => {
            tables.with_flow(key, |flow| flow.know(&header.source));
        }
        Some(FromServer::Echoes) => {
            tables.with_quic_service(service, |it| it.echoed_ns = now_ns);
        }
        Some(FromServer::Nothing) | None => {}
    }
}

/// Hands an Initial to the daemon, as long as it is not more than it should decrypt.
#[inline(never)]
fn hand_over<P: Packet, T: Tables>(packet: &P, ingress: &Ingress<'_, T>, now_ns: u64) {
    let tables = ingress.tables;
    if !is_within_budget(ingress, ingress.key().source(), now_ns) {
        tables.note(Reason::QuicOverBudget);
        return;
    }
    let headers = ingress.headers;
    let at = headers.transport_at + udp::HEADER_LEN;
    let payload = headers.end - at;
    let length = if payload > MOST_INITIAL { MOST_INITIAL } else { payload };
    let sent = tables.with_hello(tables.staging_slot(), |capture| {
        capture.header = HelloHeader {
            at_ns: now_ns,
            kind: HelloKind::Quic as u8,
            service: ingress.service,
            flags: 0,
            reserved: 0,
            ifindex: tables.ifindex(),
            key: headers.key,
            client: headers.key.remote,
            client_port: headers.key.remote_port,
            segments: 1,
            length,
            offset: 0,
            delay: 0,
            keys: Keys { matching: 0, stable: 0 },
            would_class: 0,
            reserved2: [0; 3],
        };
        let half = HELLO_CHUNK as u32;
        packet.copy(at, half, &mut capture.bytes, 0)
            && packet.copy(at + half, length - half, &mut capture.bytes, half)
            && tables.emit_hello(capture, false)
    });
    tables.note(if sent == Some(true) { Reason::QuicInitial } else { Reason::LostHello });
}

/// A rate for each source; and one for all strangers of a service together, so that a flood from
/// sources that do not exist cannot fill the ring buffer.
#[inline(always)]
fn is_within_budget<T: Tables>(ingress: &Ingress<'_, T>, source: SourceKey, now_ns: u64) -> bool {
    let tables = ingress.tables;
    let hash = scan::mix(ingress.control.seed, scan::source_bits(source));
    let of_source = tables.with_quic_budget(hash, |cell| {
        limit::take(tables, cell, now_ns, SOURCE_INTERVAL_NS, SOURCE_BURST_NS)
    });
    if of_source != Some(true) {
        return false;
    }
    limit::is_proven(tables, &source)
        || tables.with_quic_service(ingress.service, |it| {
            limit::take(tables, &mut it.tat_ns, now_ns, STRANGERS_INTERVAL_NS, STRANGERS_BURST_NS)
        }) == Some(true)
}
