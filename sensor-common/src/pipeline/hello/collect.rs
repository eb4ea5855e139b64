//! Collecting: a hello that takes several segments, by sequence offset and in any order, in one of
//! the four slots that its source shares with few others. The first copy of a byte counts.

use super::{
    Attended, COMPLETE, DELAY_SHIFT, PASS, describe, emit, frame, frame::Framing, stage, state,
};
use crate::{
    abi::{
        Capture, HelloKind, Reason,
        flow::hello,
        hello::{COVERAGE_WORDS, HELLO_CONFLICT, HELLO_LEN, HELLO_ROOM, HELLO_WAYS},
        time::SECOND_NS,
    },
    flow::scan,
    pipeline::{Step, Tables, ingress::Ingress},
};

/// A hello that has not gone on for this long gives way to another one.
const STALE_NS: u64 = 8 * SECOND_NS;

/// Who is whose: the connection, as one number that nobody can aim at. Another one of the same ports is
/// somebody else, and gets no byte of this one.
#[inline(always)]
fn owner<T: Tables>(ingress: &Ingress<'_, T>, flow: &Attended) -> (u64, u32) {
    let key = ingress.key();
    let seed = ingress.control.seed;
    let set = scan::mix(seed, scan::source_bits(ingress.source()));
    let [a, b, c, d] = key.remote;
    let [e, f, g, h] = key.local;
    let ports = u64::from(key.remote_port) << 16 | u64::from(key.local_port);
    let mut owner = scan::mix(scan::mix(set, ports), flow.proven_ns);
    for (high, low) in [(a, b), (c, d), (e, f), (g, h)] {
        owner = scan::mix(owner, u64::from(high) << 32 | u64::from(low));
    }
    // 0 is nobody.
    (owner | 1, set as u32 & (ingress.tables.hello_slots() - 1) & !(HELLO_WAYS - 1))
}

/// Adds the staged bytes, the first of which stands at `from` of the stream, to the flow's slot.
/// `false`: there is no slot for the flow.
#[inline(never)]
pub(super) fn add<T: Tables>(
    ingress: &Ingress<'_, T>,
    staged: &mut Capture,
    flow: &mut Attended,
    from: u32,
) -> bool {
    let (owner, first) = owner(ingress, flow);
    let slot = find(ingress, owner, first, flow.now_ns);
    if slot == NO_SLOT {
        ingress.reason(Reason::HelloNoSlot);
        return false;
    }
    flow.slot = slot;
    staged.from = from;
    staged.until = (from & !63) + staged.header.length;
    if staged.until > HELLO_LEN as u32 {
        staged.until = HELLO_LEN as u32;
    }
    ingress.tables.with_hello(slot, |collected| {
        collected.header.flags |= stage::urgency(&ingress.headers.segment);
        collected.header.service = ingress.service;
        describe(ingress, collected, flow);
        merge(ingress.tables, collected, staged);
        match frame::examine(ingress.tables, collected) {
            Framing::Complete => {
                flow.fate = COMPLETE;
                // What the server had before this segment.
                flow.next_seq = flow.base.wrapping_add(collected.end);
            }
            Framing::Incomplete => collected.lock = 0,
            Framing::TooLong => give_up(ingress, collected),
            Framing::NotTls => {
                state(ingress, hello::NONE);
                flow.fate = PASS;
                release(collected);
            }
        }
    });
    true
}

/// Hands to the daemon what was collected.
#[inline(always)]
fn hand_over<T: Tables>(tables: &T, collected: &mut Capture) {
    collected.header.offset = 0;
    collected.header.length = HELLO_ROOM as u32;
    emit(tables, collected, HelloKind::Collected);
}

/// The hello that lies in a slot gives way to another one: the daemon goes on with it. Nobody gets rid
/// of the beginning of his hello by others that he does not finish.
#[inline(never)]
fn give_way<T: Tables>(ingress: &Ingress<'_, T>, collected: &mut Capture) {
    let header = &collected.header;
    let proven_ns = header.at_ns.wrapping_sub(u64::from(header.delay) << DELAY_SHIFT);
    let waits = ingress.tables.with_flow(&header.key, |flow| {
        let is_same = proven_ns.wrapping_sub(flow.proven_ns) >> DELAY_SHIFT == 0;
        let waits = is_same && flow.hello == hello::COLLECTING;
        if waits {
            flow.hello = hello::FORWARDED;
        }
        waits
    });
    if waits == Some(true) {
        ingress.reason(Reason::HelloNoSlot);
        hand_over(ingress.tables, collected);
    }
}

/// The hello is longer than is collected.
#[inline(never)]
fn give_up<T: Tables>(ingress: &Ingress<'_, T>, collected: &mut Capture) {
    ingress.reason(Reason::HelloTooLong);
    hand_over(ingress.tables, collected);
    state(ingress, hello::FORWARDED);
    release(collected);
}

/// Gives a slot back.
#[inline(always)]
pub(super) const fn release(collected: &mut Capture) {
    collected.owner = 0;
    collected.lock = 0;
}

/// No slot.
const NO_SLOT: u32 = u32::MAX;

/// Finds the flow's slot, or takes a free one, and locks it.
#[inline(never)]
fn find<T: Tables>(ingress: &Ingress<'_, T>, owner: u64, first: u32, now_ns: u64) -> u32 {
    let tables = ingress.tables;
    let (mut own, mut free) = (NO_SLOT, NO_SLOT);
    for way in 0..HELLO_WAYS {
        let slot = first + way;
        tables.with_hello(slot, |collected| {
            if collected.owner == owner {
                own = slot;
            }
            let age_ns = now_ns.saturating_sub(collected.touched_ns);
            if collected.owner == 0 || age_ns > STALE_NS {
                free = slot;
            }
        });
    }
    let is_new = own == NO_SLOT;
    let slot = if is_new { free } else { own };
    let locked = tables.with_hello(slot, |collected| {
        if slot == NO_SLOT || !tables.compare_exchange(&mut collected.lock, 0, 1) {
            return false;
        }
        if !is_new && collected.owner != owner {
            collected.lock = 0;
            return false;
        }
        collected.touched_ns = now_ns;
        if is_new {
            if collected.owner != 0 {
                give_way(ingress, collected);
            }
            collected.owner = owner;
            collected.contiguous = 0;
            collected.wanted = 0;
            collected.record_at = 0;
            collected.gathered = 0;
            collected.header.flags = 0;
            collected.header.segments = 0;
            collected.coverage = [0; COVERAGE_WORDS];
        }
        true
    });
    if locked != Some(true) {
        return NO_SLOT;
    }
    if is_new {
        state(ingress, hello::COLLECTING);
    }
    slot
}

/// Merges the staged bytes `from..until` of the stream into the slot, and moves on to the first
/// gap. Staged bytes begin with the block of `from`. Leaves in `collected.end` how
/// many bytes were there without a gap before.
#[inline(always)]
fn merge<T: Tables>(tables: &T, collected: &mut Capture, staged: &Capture) {
    collected.is_fresh = 0;
    collected.at = staged.from >> 6;
    tables.repeat(COVERAGE_WORDS as u32, &mut Merge { collected, staged });
    if collected.is_fresh != 0 {
        collected.header.segments = collected.header.segments.saturating_add(1);
    }
    collected.end = collected.contiguous;
    tables.repeat(COVERAGE_WORDS as u32, &mut Advance { collected });
}

/// Merges one block of 64 bytes.
struct Merge<'a> {
    collected: &'a mut Capture,
    staged: &'a Capture,
}

/// Words of a block.
const BLOCK_WORDS: usize = 8;

impl Step for Merge<'_> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let Capture { bytes, coverage, header, at, is_fresh, .. } = &mut *self.collected;
        let block = *at;
        let begin = block << 6;
        let (from, until) = (self.staged.from, self.staged.until);
        if begin >= until {
            return false;
        }
        *at = block + 1;
        // The segment's bytes in this block: bits `low..high`.
        let low = from.saturating_sub(begin);
        let high = if until - begin < 64 { until - begin } else { 64 };
        let comes = (u64::MAX << (low & 63)) & (u64::MAX >> ((64 - high) & 63));
        let Some(covered) = coverage.get_mut(block as usize & (COVERAGE_WORDS - 1)) else {
            return false;
        };
        let (fresh, again) = (comes & !*covered, comes & *covered);
        *covered |= comes;
        if fresh != 0 {
            *is_fresh = 1;
        }
        let into = (block as usize & (COVERAGE_WORDS - 1)) * BLOCK_WORDS;
        let source = block.wrapping_sub(from >> 6) as usize & (COVERAGE_WORDS - 1);
        let mut differs = 0;
        for index in 0..BLOCK_WORDS {
            let new = word(&self.staged.bytes, source * BLOCK_WORDS + index);
            let old = word(bytes, into + index);
            let shift = 8 * index as u32;
            let take = spread(fresh >> shift);
            differs |= (old ^ new) & spread(again >> shift);
            set_word(bytes, into + index, old & !take | new & take);
        }
        if differs != 0 {
            header.flags |= HELLO_CONFLICT;
        }
        true
    }
}

/// Eight bits, each spread over a byte.
#[inline(always)]
const fn spread(bits: u64) -> u64 {
    let bits = bits & 0xff;
    let bits = (bits | bits << 28) & 0x0000_000f_0000_000f;
    let bits = (bits | bits << 14) & 0x0003_0003_0003_0003;
    let bits = (bits | bits << 7) & 0x0101_0101_0101_0101;
    bits * 0xff
}

/// Words of the bytes that count.
const WORDS: usize = HELLO_LEN / 8;

// Little-endian, so that the lowest byte is the first: what `spread` makes fits.
#[inline(always)]
fn word(bytes: &[u8; HELLO_ROOM], index: usize) -> u64 {
    let at = (index & (WORDS - 1)) * 8;
    match bytes.get(at..at + 8) {
        Some([a, b, c, d, e, f, g, h]) => u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
        _ => 0,
    }
}

#[inline(always)]
fn set_word(bytes: &mut [u8; HELLO_ROOM], index: usize, word: u64) {
    let at = (index & (WORDS - 1)) * 8;
    if let Some(into) = bytes.get_mut(at..at + 8) {
        into.copy_from_slice(&word.to_le_bytes());
    }
}

/// Moves on to the first gap.
struct Advance<'a> {
    collected: &'a mut Capture,
}

impl Step for Advance<'_> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let there = self.collected.contiguous;
        if there >= HELLO_LEN as u32 {
            return false;
        }
        let block = there >> 6;
        let Some(covered) = self.collected.coverage.get(block as usize & (COVERAGE_WORDS - 1))
        else {
            return false;
        };
        let ones = covered.trailing_ones();
        self.collected.contiguous = (block << 6) + ones;
        ones == 64
    }
}
