//! Old timestamps (RFC 7323, section 5): a segment that carries one, the server discards
//! (`tcp_paws_discard`, net/ipv4/tcp_input.c), so its bytes must not count.

use super::Attended;
use crate::{
    abi::{Capture, hello::HELLO_LEN},
    packet::{
        Packet,
        syn::option::{END, NOP, TIMESTAMPS},
        tcp,
    },
    pipeline::{Step, Tables, ingress::Ingress},
};

/// Two NOPs and the timestamp option's kind and length, wire order.
const USUAL_HEAD: u32 = 0x0101_080a_u32.to_be();
/// Bytes of the option, and of the options that have nothing else in them.
const LEN: u8 = 10;
const USUAL_LEN: u32 = 12;
/// How much older than the newest a timestamp may be (`TCP_PAWS_WINDOW`, include/net/tcp.h).
const REPLAY_WINDOW: i32 = 1;
/// Options of a header at most.
const MAX_OPTIONS: u32 = 40;

/// Whether the segment's timestamp is older than one that the server has taken. A newer one in
/// order is taken note of.
#[inline(never)]
pub(super) fn is_old<P: Packet, T: Tables>(
    packet: &P,
    ingress: &Ingress<'_, T>,
    staged: &mut Capture,
    flow: &Attended,
) -> bool {
    staged.outcome = 0;
    read(packet, ingress, staged);
    if staged.outcome == 0 {
        return false;
    }
    let value = staged.until;
    let ahead = value.wrapping_sub(flow.ts_recent) as i32;
    if ahead > 0 && flow.is_in_order != 0 {
        ingress.tables.with_flow(ingress.key(), |flow| flow.ts_recent = value);
    }
    ahead < -REPLAY_WINDOW
}

/// Leaves the sender's timestamp in `staged.until` and 1 in `staged.outcome`, if there is one.
#[inline(always)]
fn read<P: Packet, T: Tables>(packet: &P, ingress: &Ingress<'_, T>, staged: &mut Capture) {
    let headers = ingress.headers;
    let at = headers.transport_at + tcp::HEADER_LEN;
    let length = headers.end - headers.segment.payload - at;
    if length == USUAL_LEN
        && let Some([USUAL_HEAD, value, _]) = packet.words::<3>(at)
    {
        staged.until = u32::from_be(value);
        staged.outcome = 1;
    } else if packet.copy(at, length, &mut staged.bytes, HELLO_LEN as u32) {
        staged.at = 0;
        staged.end = length;
        ingress.tables.repeat(MAX_OPTIONS, &mut Options { staged });
    }
}

/// One option. The last timestamp counts, as in Linux (`tcp_parse_options`).
struct Options<'a> {
    staged: &'a mut Capture,
}

impl Options<'_> {
    #[inline(always)]
    fn byte(&self, at: u32) -> u8 {
        let at = HELLO_LEN + (at & 63) as usize;
        self.staged.bytes.get(at).copied().unwrap_or(0)
    }
}

impl Step for Options<'_> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let at = self.staged.at;
        if at >= self.staged.end {
            return false;
        }
        let kind = self.byte(at);
        if kind == NOP {
            self.staged.at = at + 1;
            return true;
        }
        let length = self.byte(at + 1);
        if kind == END || length < 2 || at + u32::from(length) > self.staged.end {
            return false;
        }
        if kind == TIMESTAMPS && length == LEN {
            let mut value = 0;
            for index in 2..6 {
                value = value << 8 | u32::from(self.byte(at + index));
            }
            self.staged.until = value;
            self.staged.outcome = 1;
        }
        self.staged.at = at + u32::from(length);
        true
    }
}
