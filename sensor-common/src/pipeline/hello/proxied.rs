//! Flows through a declared proxy: who the client is.

use super::{Attended, PASS, state};
use crate::{
    abi::{
        Capture, Reason, SourceKey,
        control::SERVICE_PROXIED,
        flow::{FLOW_PROXIED, hello},
    },
    packet::proxy::{self, MAX_LINE, Proxied},
    pipeline::{
        Step, Tables,
        establish::{self, About, Counts},
        ingress::Ingress,
    },
};

/// Whether the flow's first bytes have to be a PROXY header.
#[inline(always)]
pub(super) fn expects_header<T: Tables>(ingress: &Ingress<'_, T>, flow: &Attended) -> bool {
    ingress.service_flags & SERVICE_PROXIED != 0
        && !flow.has(FLOW_PROXIED)
        && flow.is(hello::AWAITED)
        && ingress.tables.is_proxy(&ingress.key().remote)
}

/// Reads the header, which has to lie in one segment.
#[inline(never)]
pub(super) fn header<T: Tables>(ingress: &Ingress<'_, T>, flow: &mut Attended) {
    let is_first = ingress.headers.segment.seq == flow.base;
    let mut length = 0;
    ingress.tables.with_hello(ingress.tables.staging_slot(), |staged| {
        if is_first && let Some(proxied) = read(ingress, staged) {
            length = proxied.length;
            flow.client = proxied.client;
            flow.client_port = u32::from(proxied.port);
        }
    });
    if length == 0 {
        ingress.reason(Reason::ProxyUnreadable);
        flow.fate = PASS;
        return state(ingress, hello::NONE);
    }
    ingress.reason(Reason::ProxyRead);
    flow.base = flow.base.wrapping_add(length);
    let (client, client_port, base) = (flow.client, flow.client_port as u16, flow.base);
    ingress.tables.with_flow(ingress.key(), |flow| {
        flow.flags |= FLOW_PROXIED;
        flow.client = client;
        flow.client_port = client_port;
        flow.hello_base = base;
        flow.ingress_records.begin(base);
    });
}

/// The connection counts as the client's that the proxy named.
#[inline(always)]
pub(super) fn count<T: Tables>(ingress: &Ingress<'_, T>, flow: &mut Attended) {
    let source = SourceKey::from_address(&flow.client);
    let counts = establish::count_source(ingress.tables, source, flow.now_ns);
    flow.connections = counts.so_far;
    flow.connections_10s = counts.in_10s;
}

/// Reports it as such, now that the client was judged.
#[inline(never)]
pub(super) fn report<T: Tables>(ingress: &Ingress<'_, T>, flow: &Attended) {
    let about = About { key: ingress.key(), at_ns: flow.now_ns, service: ingress.service };
    let counts = Counts { so_far: flow.connections, in_10s: flow.connections_10s };
    establish::emit(ingress.tables, &about, &counts, |event| {
        // What the SYN looked like is the proxy's.
        event.flags |= FLOW_PROXIED;
        event.client = flow.client;
        event.client_port = flow.client_port as u16;
        event.would_class = flow.would as u16;
    });
}

#[inline(always)]
fn read<T: Tables>(ingress: &Ingress<'_, T>, staged: &mut Capture) -> Option<Proxied> {
    let end = ingress.headers.segment.payload;
    if proxy::is_v2(&staged.bytes, 0) {
        return proxy::read_v2(&staged.bytes, 0, end);
    }
    staged.line.begin(0, end);
    ingress.tables.repeat(MAX_LINE + 1, &mut Lines { staged });
    staged.line.finish()
}

/// One byte of a line.
struct Lines<'a> {
    staged: &'a mut Capture,
}

impl Step for Lines<'_> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let Capture { line, bytes, .. } = &mut *self.staged;
        line.step(bytes)
    }
}
