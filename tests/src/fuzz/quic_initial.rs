//! QUIC Initials: datagrams as they come, and frames of any kind behind a good AEAD.

use weir_sensor::fingerprint::quic::{Hello, Limits, Tracker};

use super::{
    Input, MAX_INPUT,
    hello::message,
    initial::{Initial, MIN_DATAGRAM, V1, V2, crypto, retry},
};

const LIMITS: Limits = Limits { connections: 2, bytes: 60_000 };
/// Datagrams of an input at most.
const MAX_DATAGRAMS: usize = 32;
/// Connection IDs that keys are made of, and one that is too short to begin with.
const IDS: [&[u8]; 4] = [&[1; 8], &[2; 8], &[4; 20], &[3; 4]];

/// What the input says is sent to a tracker that is too small; then the message that it begins with
/// is sent honestly, in any order.
pub fn quic_initial(data: &[u8]) {
    if data.len() > MAX_INPUT {
        return;
    }
    let mut input = Input::new(data);
    let message = message(input.counted());
    hostile(&message, input);
    honest(&message, input);
}

/// A connection, as far as it says which hellos may come of it.
#[derive(Clone, Copy, Default)]
struct Sent {
    /// Something else than parts of the message in their places.
    other: bool,
}

fn hostile(message: &[u8], mut input: Input<'_>) {
    let mut tracker: Tracker<u8> = Tracker::new(LIMITS);
    let mut sent = [Sent::default(); 4];
    let mut hellos = 0;
    for time in 1..=MAX_DATAGRAMS as u64 {
        if input.is_empty() {
            break;
        }
        let kind = input.byte();
        let key = kind >> 6;
        let Some(Sent { other }) = sent.get_mut(usize::from(key)) else { continue };
        let datagram = match kind & 7 {
            0 => {
                *other = true;
                input.counted().to_vec()
            }
            1 => {
                tracker.server_datagram(&key, input.counted());
                continue;
            }
            2 => {
                tracker.server_datagram(&key, &any_retry(&mut input));
                continue;
            }
            form => any_initials(form, message, &mut input, other),
        };
        let hello = tracker.client_datagram(&key, time, &datagram);
        if let Some(hello) = hello {
            hellos += 1;
            check(&hello, message, *other);
            assert!(datagram.len() >= MIN_DATAGRAM, "a server discards it");
        }
        assert!(tracker.len() <= LIMITS.connections);
        assert!(tracker.held() <= LIMITS.bytes || tracker.len() == 1, "{}", tracker.held());
        let counters = tracker.counters();
        assert_eq!((counters.hellos, counters.client_datagrams), (hellos, counted(counters)));
    }
}

/// Datagrams of clients are counted one by one: whatever else is counted does not exceed them
/// times the packets that one may hold.
fn counted(counters: &weir_sensor::fingerprint::quic::Counters) -> u64 {
    let packets = counters.opened + counters.undecryptable + counters.small_datagram;
    assert!(packets <= 8 * counters.client_datagrams);
    assert!(counters.hellos + counters.repeated_hellos <= counters.opened);
    counters.client_datagrams
}

fn any_retry(input: &mut Input<'_>) -> Vec<u8> {
    let form = input.byte();
    let version = if form & 1 == 0 { V1 } else { V2 };
    let id = |at: u8| IDS.get(usize::from(at & 3)).copied().unwrap_or_default();
    let mut packet = retry(&version, id(form >> 1), id(form >> 3)).unwrap_or_default();
    if form & 0x80 != 0 {
        packet.extend(input.counted());
    }
    packet
}

/// One or two Initials in a datagram.
fn any_initials(form: u8, message: &[u8], input: &mut Input<'_>, other: &mut bool) -> Vec<u8> {
    let mut datagram = Vec::new();
    for _ in 0..if form == 7 { 2 } else { 1 } {
        let header = input.byte();
        let number = input.half();
        let id = |at: u8| IDS.get(usize::from(at & 3)).copied().unwrap_or_default();
        let destination = id(header >> 1);
        let initial = Initial {
            version: if header & 1 == 0 { V1 } else { V2 },
            destination,
            origin: if header & 8 == 0 { destination } else { id(header >> 4) },
            number: u32::from(number & 0x3ff),
            number_len: usize::from(header >> 6) + 1,
        };
        let payload = if form == 3 {
            *other = true;
            input.counted().to_vec()
        } else {
            frames(message, input, other)
        };
        let packet = if form == 4 { initial.packet(&payload) } else { initial.datagram(&payload) };
        datagram.extend(packet.unwrap_or_default());
    }
    datagram
}

/// Parts of the message, and what may stand between them.
fn frames(message: &[u8], input: &mut Input<'_>, other: &mut bool) -> Vec<u8> {
    let mut payload = Vec::new();
    let form = input.byte();
    for _ in 0..=form & 7 {
        let at = input.below(message.len() + 1);
        let count = usize::from(input.half() & 0x7ff);
        let piece = message.get(at..).unwrap_or_default();
        let mut piece = piece.get(..count).unwrap_or(piece).to_vec();
        if form & 0xf0 == 0xf0 {
            *other = true;
            piece.iter_mut().for_each(|byte| *byte ^= form);
        }
        payload.extend(crypto(at, &piece));
        if form & 8 != 0 {
            // PING, PADDING.
            payload.extend([1, 0]);
        }
    }
    payload
}

fn check(hello: &Hello, sent: &[u8], other: bool) {
    assert_eq!(hello.message, message(&hello.message), "its header fits");
    assert!(hello.initials >= 1 && hello.first_ns <= hello.complete_ns);
    assert!([1, 0x6b33_43cf].contains(&hello.version) || other);
    // Whether there is a conflict is another question: packet numbers may have come twice.
    assert!(other || hello.message == sent, "made of parts that nobody sent");
}

/// The message in a few Initials, in the order and with the cuts that the input says: it comes out
/// with the last of them, once.
fn honest(message: &[u8], mut input: Input<'_>) {
    let form = input.byte();
    let version = if form & 1 == 0 { V1 } else { V2 };
    let size = message.len() / (1 + usize::from(form >> 1 & 7)) + 1;
    let mut parts: Vec<(usize, &[u8])> =
        message.chunks(size).zip(0..).map(|(part, index)| (index * size, part)).collect();
    for at in 0..parts.len() {
        let other = input.below(parts.len());
        parts.swap(at, other);
    }
    let mut tracker: Tracker<u8> = Tracker::new(Limits::default());
    let mut hellos = Vec::new();
    let last = parts.len();
    for ((offset, part), number) in parts.into_iter().zip(1u32..) {
        let initial = Initial {
            version,
            destination: &[5; 8],
            origin: &[5; 8],
            number,
            number_len: 1 + usize::from(form >> 4 & 3),
        };
        // Twice: the second one changes nothing.
        let Some(datagram) = initial.datagram(&crypto(offset, part)) else { return };
        for _ in 0..1 + (form >> 7) {
            hellos.extend(tracker.client_datagram(&1, u64::from(number), &datagram));
        }
        assert_eq!(hellos.len(), usize::from(number as usize == last));
    }
    if let [hello] = hellos.as_slice() {
        check(hello, message, false);
        assert_eq!((hello.initials as usize, hello.conflict), (last, false));
    }
}
