//! The daemon's reassembly of TCP streams: next to a plain array of first copies.

use weir_common::packet::{Segment, tcp};
use weir_sensor::fingerprint::tcp_stream::{
    GivenUp, Limits, Outcome, Pool, STREAM_LIMIT, Stream, StreamHello,
};

use super::{
    Input, MAX_INPUT,
    hello::{Beginning, beginning, message, records},
};

/// Bytes that one stream may hold: its own, its runs, and who brought them, with room to grow.
const MAX_HELD: usize = 6 * STREAM_LIMIT as usize;
const STREAMS: usize = 3;
const BYTES: usize = 40_000;

/// The message that the input begins with, cut as the rest of it says: to one stream whose
/// beginning is known, to one whose beginning is not, and to a pool that is too small.
pub fn stream_reassembly(data: &[u8]) {
    if data.len() > MAX_INPUT {
        return;
    }
    let mut input = Input::new(data);
    let bytes = sent(&mut input);
    known(&bytes, input);
    unknown(&bytes, input);
    pool(&bytes, input);
}

/// The stream that the client sends: a hello in records, or other bytes.
pub(super) fn sent(input: &mut Input<'_>) -> Vec<u8> {
    let form = input.byte();
    let bytes = input.counted();
    if form & 1 != 0 {
        return bytes.to_vec();
    }
    let sizes: Vec<usize> = (0..form >> 1 & 3).map(|_| usize::from(input.half())).collect();
    let mut stream = records(&message(bytes), &sizes);
    let behind = usize::from(form >> 3);
    stream.extend(std::iter::repeat_n(form, behind));
    stream
}

/// One segment that the input names.
struct Cut {
    /// Where it stands in the stream; below 0 it begins before it.
    at: i32,
    payload: Vec<u8>,
    /// Its bytes are not those of the stream.
    is_fake: bool,
}

fn cut(bytes: &[u8], input: &mut Input<'_>) -> Cut {
    let kind = input.byte();
    let at = input.below(bytes.len().min(STREAM_LIMIT as usize - 64) + 64);
    let count = usize::from(input.half() & 0x7ff);
    let piece = bytes.get(at.min(bytes.len())..).unwrap_or_default();
    let mut payload = piece.get(..count).unwrap_or(piece).to_vec();
    let is_fake = kind & 0xc0 == 0xc0;
    if is_fake {
        payload.resize(count, kind);
        payload.iter_mut().for_each(|byte| *byte ^= kind);
    }
    let before = usize::from(kind & 0xf);
    if at == 0 && kind & 0x30 == 0x30 {
        payload.splice(..0, vec![kind; before]);
        return Cut { at: -(before as i32), payload, is_fake };
    }
    Cut { at: at as i32, payload, is_fake }
}

/// First copies, offset by offset.
struct Model {
    bytes: Vec<Option<u8>>,
    conflict: bool,
}

impl Model {
    fn new() -> Self {
        Self { bytes: vec![None; STREAM_LIMIT as usize], conflict: false }
    }

    fn add(&mut self, at: i32, payload: &[u8]) {
        for (at, byte) in (at..).zip(payload) {
            let slot = usize::try_from(at).ok().and_then(|at| self.bytes.get_mut(at));
            if let Some(slot) = slot {
                self.conflict |= slot.get_or_insert(*byte) != byte;
            }
        }
    }

    fn beginning(&self) -> Beginning {
        let front: Vec<u8> = self.bytes.iter().map_while(|byte| *byte).collect();
        beginning(&front)
    }
}

/// Every outcome is that of the model, on the very segment.
fn known(bytes: &[u8], mut input: Input<'_>) {
    let first = u32::from(input.half()).wrapping_neg();
    let mut stream = Stream::beginning_at(first);
    let mut model = Model::new();
    let mut is_over = false;
    // What the input says, then all of it in order.
    let mut cuts: Vec<Cut> = Vec::new();
    while !input.is_empty() {
        cuts.push(cut(bytes, &mut input));
    }
    let size = bytes.len() / 64 + 1 + usize::from(first as u8);
    let within = bytes.get(..STREAM_LIMIT as usize).unwrap_or(bytes);
    let rest = within.chunks(size).zip((0..).step_by(size));
    cuts.extend(rest.map(|(piece, at)| Cut { at, payload: piece.to_vec(), is_fake: false }));
    for Cut { at, payload, .. } in cuts {
        model.add(at, &payload);
        let outcome = stream.segment(first.wrapping_add_signed(at), &payload);
        assert!(stream.held() <= MAX_HELD, "{}", stream.held());
        if let Outcome::GivenUp(GivenUp::TooManyPieces) = outcome {
            return;
        }
        match (model.beginning(), outcome) {
            // The next record's header is looked at when all of it is there.
            (Beginning::Unfinished | Beginning::Other, Outcome::Pending) => {}
            (Beginning::Unfinished, Outcome::GivenUp(GivenUp::TooLong)) => {
                is_over = true;
                break;
            }
            (Beginning::Other, Outcome::GivenUp(GivenUp::NotTls)) => {
                is_over = true;
                break;
            }
            (Beginning::Hello { message, .. }, Outcome::Hello(hello)) => {
                assert_eq!(hello.message, message);
                assert_eq!(hello.conflict, model.conflict);
                assert!(hello.segments >= 1 && hello.preamble.is_empty());
                is_over = true;
                break;
            }
            (expected, outcome) => assert_eq!(format!("{expected:?}"), format!("{outcome:?}")),
        }
    }
    let is_there = matches!(beginning(within), Beginning::Hello { .. });
    assert!(is_over || model.conflict || !is_there, "all bytes came, and no hello");
}

/// Without the beginning: whatever is found is a hello that was sent.
fn unknown(bytes: &[u8], mut input: Input<'_>) {
    let mut stream = Stream::new();
    let first = u32::from(input.half()).wrapping_neg();
    let mut has_fakes = false;
    while !input.is_empty() {
        let is_syn = input.byte() & 7 == 7;
        let cut = cut(bytes, &mut input);
        let outcome = if is_syn {
            stream.begins_at(first)
        } else {
            has_fakes |= cut.is_fake;
            stream.segment(first.wrapping_add_signed(cut.at), &cut.payload)
        };
        assert!(stream.held() <= MAX_HELD, "{}", stream.held());
        match outcome {
            Outcome::Pending => {}
            Outcome::GivenUp(_) => return,
            Outcome::Hello(hello) => {
                check(&hello);
                // Fakes may look like anything.
                assert!(has_fakes || is_in(&hello.message, bytes), "a hello that nobody sent");
                return;
            }
        }
    }
}

/// Whether a hello begins somewhere in these bytes, and is this one.
fn is_in(found: &[u8], bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| {
        let rest = bytes.get(at..).unwrap_or_default();
        matches!(beginning(rest), Beginning::Hello { message, .. } if message == found)
    })
}

/// A message whose header fits.
fn check(hello: &StreamHello) {
    assert_eq!(hello.message, message(&hello.message));
}

/// Many streams: bounded, and everything that went is counted.
fn pool(bytes: &[u8], mut input: Input<'_>) {
    let mut pool: Pool<u8> = Pool::new(Limits { streams: STREAMS, bytes: BYTES });
    let mut hellos = 0;
    while !input.is_empty() {
        let flags = input.byte();
        let cut = cut(bytes, &mut input);
        let segment = Segment {
            seq: 0u32.wrapping_add_signed(cut.at),
            flags: if flags & 0x70 == 0x70 { flags } else { tcp::ACK },
            ..Segment::default()
        };
        if let Some(hello) = pool.segment(&(flags & 7), &segment, &cut.payload) {
            check(&hello);
            hellos += 1;
        }
        assert!(pool.held() <= BYTES, "{}", pool.held());
        assert!(pool.unfinished() + pool.blind() <= STREAMS as u64);
        assert_eq!(pool.counts().hellos, hellos);
    }
}
