//! Reading a complete hello: keys, service, verdict, and the record for the daemon.

use super::{Attended, REFUSED, collect, describe, emit, frame, name};
use crate::{
    abi::{
        Capture, HelloKind, Reason,
        flow::{FLOW_HELLO_CONFLICT, hello},
        hello::{HELLO_CONFLICT, HELLO_MALFORMED, HELLO_REFUSED},
    },
    pipeline::{Step, Tables, ingress::Ingress},
    tls::{KeyBuilder, Keys, Progress, RECORD_HEADER_LEN, Walk, keys::Transport},
};

/// What a walk came to.
const DONE: u32 = 1;

/// One step of the walk.
struct Steps<'a> {
    capture: &'a mut Capture,
}

impl Step for Steps<'_> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let Capture { walk, bytes, builder, outcome, .. } = &mut *self.capture;
        match walk.step(bytes, builder) {
            Progress::More => return true,
            Progress::Done => *outcome = DONE,
            Progress::Malformed => {}
        }
        false
    }
}

/// Reads the hello: its keys, and the service that it names.
#[inline(never)]
pub(super) fn read<T: Tables>(
    ingress: &Ingress<'_, T>,
    capture: &mut Capture,
    flow: &mut Attended,
) {
    frame::join(ingress.tables, capture);
    flow.keys = walk(ingress.tables, capture);
    let service = name::service(ingress, capture);
    flow.service = u32::from(service);
    let conflict = capture.header.flags & HELLO_CONFLICT != 0;
    let (now_ns, proven_ns) = (flow.now_ns, flow.proven_ns);
    let reads_again = ingress.tables.reads_again();
    ingress.tables.with_flow(ingress.key(), |flow| {
        flow.hello = if reads_again { hello::AWAITED } else { hello::READ };
        flow.service = service;
        let hello_ns = now_ns.saturating_sub(proven_ns);
        flow.hello_ns = if hello_ns > u64::from(u32::MAX) { u32::MAX } else { hello_ns as u32 };
        if conflict {
            flow.flags |= FLOW_HELLO_CONFLICT;
        }
    });
}

/// Counts the hello and sends it to the daemon, now that its fate is known; gives its slot back.
#[inline(never)]
pub(super) fn report<T: Tables>(ingress: &Ingress<'_, T>, capture: &mut Capture, flow: &Attended) {
    let mut flags = capture.header.flags;
    ingress.reason(Reason::HelloRead);
    if flags & HELLO_CONFLICT != 0 {
        ingress.reason(Reason::HelloConflict);
    }
    if flow.keys.matching == 0 {
        flags |= HELLO_MALFORMED;
        ingress.reason(Reason::HelloMalformed);
    }
    if flow.fate == REFUSED {
        flags |= HELLO_REFUSED;
    }
    let header = &mut capture.header;
    header.flags = flags;
    header.keys = flow.keys;
    header.would_class = flow.would as u16;
    header.service = flow.service as u8;
    header.offset = RECORD_HEADER_LEN;
    header.length = RECORD_HEADER_LEN + capture.message_len;
    describe(ingress, capture, flow);
    emit(ingress.tables, capture, HelloKind::Whole);
    collect::release(capture);
}

/// Walks over the message. Keys of zero: it does not hold together.
#[inline(always)]
fn walk<T: Tables>(tables: &T, capture: &mut Capture) -> Keys {
    let end = RECORD_HEADER_LEN + capture.message_len;
    capture.builder = KeyBuilder::new(tables.key_seed());
    capture.outcome = 0;
    let Capture { bytes, builder, .. } = &mut *capture;
    let Ok(walk) = Walk::begin(bytes, RECORD_HEADER_LEN, end, builder) else {
        return Keys::default();
    };
    capture.walk = walk;
    tables.repeat(Walk::max_steps(capture.message_len), &mut Steps { capture });
    if capture.outcome == DONE { capture.builder.finish(Transport::Tcp) } else { Keys::default() }
}
