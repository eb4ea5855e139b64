//! QUIC: what proves a client, everything that must not, and the Initials that the daemon gets.

use std::time::Duration;

use weir_common::abi::{Action, CloseReason, Mode, Reason, VerdictClass, tally::Outcome};

use crate::{
    expect::{Expect, Told, dropped, passes, served},
    play_everywhere,
    stage::{NONE, QUIC, Stage},
    talk::Talk,
    verdicts::operator,
};

const SECOND: Duration = Duration::from_secs(1);

const VERSION_1: u32 = 1;
const VERSION_2: u32 = 0x6b33_43cf;

/// What the client proposes, what the server chooses, what the client calls itself.
const PROPOSED: [u8; 8] = [0xa1; 8];
const RETRY: [u8; 16] = [0xb2; 16];
pub(crate) const CHOSEN: [u8; 12] = [0xc3; 12];
pub(crate) const CLIENT: [u8; 5] = [0xd4; 5];
const GUESSED: [u8; 12] = [0xe5; 12];

/// Long packets of version 1.
const INITIAL: u8 = 0xc0;
const EARLY: u8 = 0xd0;
const HANDSHAKE: u8 = 0xe0;
const RETRIES: u8 = 0xf0;

fn packet(first: u8, version: u32, to: &[u8], from: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    bytes.extend(version.to_be_bytes());
    for id in [to, from] {
        bytes.push(id.len() as u8);
        bytes.extend(id);
    }
    bytes.resize(length, 0x5a);
    bytes
}

/// A client's Initial to this id.
pub(crate) fn initial(to: &[u8]) -> Vec<u8> {
    packet(INITIAL, VERSION_1, to, &CLIENT, 1200)
}

/// A server's Initial that announces this id.
pub(crate) fn answer(from: &[u8]) -> Vec<u8> {
    packet(INITIAL, VERSION_1, &CLIENT, from, 1200)
}

pub(crate) fn handshake(to: &[u8]) -> Vec<u8> {
    packet(HANDSHAKE, VERSION_1, to, &CLIENT, 90)
}

/// A packet with a short header.
pub(crate) fn short(to: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x40];
    bytes.extend(to);
    bytes.resize(60, 0x5a);
    bytes
}

pub(crate) fn proven() -> Expect {
    let event = Told::Established { connections: 1, known: false };
    served(QUIC).reason(Reason::ProvenQuic).event(event)
}

/// The client begins, and the server announces an id.
pub(crate) fn begin(stage: &mut Stage<'_>, talk: &Talk, chosen: &[u8]) {
    stage.arrives("Initial", &talk.datagram(&initial(&PROPOSED)), served(QUIC).handed_over());
    stage.leaves("the server's Initial", &talk.datagram_back(&answer(chosen)), passes());
}

/// Nothing that an id could prove is proven.
fn proves_nothing(stage: &mut Stage<'_>, talk: &Talk, id: &[u8]) {
    stage.arrives("short header", &talk.datagram(&short(id)), served(QUIC));
    stage.arrives("long header", &talk.datagram(&handshake(id)), served(QUIC));
    stage.arrives("short header again", &talk.datagram(&short(id)), served(QUIC));
}

#[test]
fn a_client_is_proven_by_an_id_that_was_announced_to_it() {
    play_everywhere("a_client_is_proven_by_an_id", |stage| {
        stage.story("IPv4: by its Handshake packet; the flow is counted from there");
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        stage.after(SECOND / 50);
        stage.arrives("Handshake", &talk.datagram(&handshake(&CHOSEN)), proven());
        stage.after(SECOND / 50);
        stage.arrives("data", &talk.datagram(&short(&CHOSEN)), served(QUIC));
        stage.after(SECOND / 50);
        stage.leaves("data", &talk.datagram_back(&short(&CLIENT)), passes());
        stage.arrives("a forgery of no id", &talk.datagram(&short(&GUESSED)), served(QUIC));
        stage.arrives("the proposal", &talk.datagram(&short(&PROPOSED)), served(QUIC));
        let again = talk.with_port(50_000);
        begin(stage, &again, &CHOSEN);
        let second = Told::Established { connections: 2, known: false };
        let proven_again = served(QUIC).reason(Reason::ProvenQuic).event(second);
        stage.arrives("another flow", &again.datagram(&short(&CHOSEN)), proven_again);

        stage.story("IPv6: by a short header, with the longest id");
        let talk = stage.v6(443);
        begin(stage, &talk, &[0xc7; 20]);
        stage.arrives("data", &talk.datagram(&short(&[0xc7; 20])), proven());

        stage.story("by the shortest id that counts, after 0-RTT data to the proposal");
        let talk = stage.v4(443);
        let early = packet(EARLY, VERSION_1, &PROPOSED, &CLIENT, 1200);
        stage.arrives("Initial", &talk.datagram(&initial(&PROPOSED)), served(QUIC).handed_over());
        stage.arrives("early data", &talk.datagram(&early), served(QUIC));
        stage.leaves("the server's Initial", &talk.datagram_back(&answer(&[0xc8; 8])), passes());
        stage.arrives("data", &talk.datagram(&short(&[0xc8; 8])), proven());

        stage.story("by the Initial that follows a Retry; the server's next id counts too");
        let talk = stage.v4(443);
        stage.arrives("Initial", &talk.datagram(&initial(&PROPOSED)), served(QUIC).handed_over());
        let retry = packet(RETRIES, VERSION_1, &CLIENT, &RETRY, 60);
        stage.leaves("Retry", &talk.datagram_back(&retry), passes());
        let second = talk.datagram(&initial(&RETRY));
        stage.arrives("Initial with the token", &second, proven().handed_over());
        stage.leaves("the server's Initial", &talk.datagram_back(&answer(&CHOSEN)), passes());
        stage.arrives("Handshake", &talk.datagram(&handshake(&CHOSEN)), served(QUIC));
        stage.arrives("data", &talk.datagram(&short(&CHOSEN)), served(QUIC));

        stage.story("a limit leaves a proven connection alone, and counts what may begin another");
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        stage.arrives("data", &talk.datagram(&short(&CHOSEN)), proven());
        let none = VerdictClass {
            reason: Reason::LimitVerdict as u8,
            limit_interval_ns: u64::MAX / 4,
            ..operator(Action::Limit)
        };
        stage.verdict(&talk.net(), 340, &none);
        let other = talk.with_port(50_000);
        stage.arrives("the one", &other.datagram(&short(&CHOSEN)), served(QUIC));
        let limited = |hits| {
            let held = dropped().reason(Reason::LimitVerdict).class(340);
            let held = held.service(QUIC, Outcome::Limit);
            held.hit(340, Action::Limit, Mode::Enforce, hits)
        };
        stage.arrives("no more", &other.datagram(&short(&CHOSEN)), limited(1));
        stage.arrives("more data", &talk.datagram(&short(&CHOSEN)), served(QUIC));
        stage.arrives("a new Initial", &talk.datagram(&initial(&GUESSED)), limited(2));

        stage.story("version 2, which numbers its packets differently");
        let talk = stage.v4(443);
        let first = packet(0xd0, VERSION_2, &PROPOSED, &CLIENT, 1200);
        stage.arrives("Initial", &talk.datagram(&first), served(QUIC).handed_over());
        let reply = packet(0xd0, VERSION_2, &CLIENT, &CHOSEN, 1200);
        stage.leaves("the server's Initial", &talk.datagram_back(&reply), passes());
        let second = packet(0xf0, VERSION_2, &CHOSEN, &CLIENT, 80);
        stage.arrives("Handshake", &talk.datagram(&second), proven());

        stage.story(
            "a second handshake on the same ports, after a long silence, is a flow of its own",
        );
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        stage.arrives("data", &talk.datagram(&short(&CHOSEN)), proven());
        stage.after(301 * SECOND);
        begin(stage, &talk, &GUESSED);
        let reopened = served(QUIC)
            .reason(Reason::ProvenQuic)
            .event(Told::Closed(CloseReason::Reopened))
            .event(Told::Established { connections: 2, known: false });
        stage.arrives("Handshake", &talk.datagram(&handshake(&GUESSED)), reopened);
    });
}

#[test]
fn whoever_has_not_received_the_announcement_is_not_proven() {
    play_everywhere("whoever_has_not_received_the_announcement", |stage| {
        stage.story("a guessed id");
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        proves_nothing(stage, &talk, &GUESSED);

        stage.story("a second Initial before the server's answer");
        let talk = stage.v4(443);
        let again = || served(QUIC).handed_over();
        stage.arrives("Initial", &talk.datagram(&initial(&PROPOSED)), again());
        stage.arrives("the same again", &talk.datagram(&initial(&PROPOSED)), again());
        proves_nothing(stage, &talk, &PROPOSED);
        stage.leaves("the server's Initial", &talk.datagram_back(&answer(&CHOSEN)), passes());
        stage.arrives("its own proposal", &talk.datagram(&short(&PROPOSED)), served(QUIC));

        stage.story("announced to another port");
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        let other = talk.with_port(50_000);
        proves_nothing(stage, &other, &CHOSEN);
        stage.arrives("Initial", &other.datagram(&initial(&PROPOSED)), again());
        stage.arrives("the id of the other port", &other.datagram(&short(&CHOSEN)), served(QUIC));

        stage.story("announced to another address");
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        let mut other = talk;
        other.visitor.set_ip([203, 0, 113, 252].into());
        proves_nothing(stage, &other, &CHOSEN);

        stage.story("two proposals: nobody knows whose the announced id is");
        let talk = stage.v4(443);
        stage.arrives("one", &talk.datagram(&initial(&PROPOSED)), again());
        stage.arrives("another", &talk.datagram(&initial(&GUESSED)), again());
        stage.leaves("the server's Initial", &talk.datagram_back(&answer(&CHOSEN)), passes());
        proves_nothing(stage, &talk, &CHOSEN);

        stage.story("two proposals, the second behind the announcement and in another version");
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        let unknown = packet(0xc0, 0xff00_001d, &GUESSED, &CLIENT, 1200);
        stage.arrives("of a draft version", &talk.datagram(&unknown), served(QUIC));
        proves_nothing(stage, &talk, &CHOSEN);

        stage.story("what a version negotiation repeats");
        let talk = stage.v4(443);
        stage.arrives("Initial", &talk.datagram(&initial(&PROPOSED)), again());
        let negotiation = packet(0x80, 0, &CLIENT, &GUESSED, 60);
        stage.leaves("versions", &talk.datagram_back(&negotiation), passes());
        proves_nothing(stage, &talk, &GUESSED);

        stage.story("ids that are empty");
        let talk = stage.v4(443);
        begin(stage, &talk, &[]);
        stage.arrives("data", &talk.datagram(&short(&[])), served(QUIC));
        proves_nothing(stage, &talk, &[0; 20]);
        stage.arrives("long header", &talk.datagram(&handshake(&[])), served(QUIC));

        stage.story("an id of seven bytes");
        let talk = stage.v4(443);
        begin(stage, &talk, &[0xc3; 7]);
        proves_nothing(stage, &talk, &[0xc3; 7]);

        stage.story("nobody began");
        let talk = stage.v4(443);
        stage.leaves("the server's Initial", &talk.datagram_back(&answer(&CHOSEN)), passes());
        proves_nothing(stage, &talk, &CHOSEN);

        stage.story("a port that is no service");
        let talk = stage.v4(4433);
        stage.arrives("Initial", &talk.datagram(&initial(&PROPOSED)), served(NONE));
        stage.leaves("an answer", &talk.datagram_back(&answer(&CHOSEN)), passes());
        stage.arrives("data", &talk.datagram(&short(&CHOSEN)), served(NONE));
    });
}

#[test]
fn a_server_that_takes_over_what_clients_propose_proves_nobody() {
    play_everywhere("a_server_that_takes_over", |stage| {
        stage.story("its ids are the clients' own");
        let talk = stage.v4(443);
        begin(stage, &talk, &PROPOSED);
        proves_nothing(stage, &talk, &PROPOSED);

        stage.story("nor those of its ids that look like its own: it may derive them");
        stage.arrives("Initial", &talk.datagram(&initial(&PROPOSED)), served(QUIC).handed_over());
        let talk = stage.v4(443);
        begin(stage, &talk, &PROPOSED);
        let other = talk.with_port(50_000);
        begin(stage, &other, &CHOSEN);
        proves_nothing(stage, &other, &CHOSEN);
    });
}

#[test]
fn the_daemon_gets_no_more_initials_than_it_should_decrypt() {
    play_everywhere("the_daemon_gets_no_more_initials", |stage| {
        stage.story("64 at once of one source, then 20 a second");
        let talk = stage.v4(443);
        let hello = |port| talk.with_port(port).datagram(&initial(&PROPOSED));
        for port in 1..=64 {
            stage.arrives("within", &hello(port), served(QUIC).handed_over());
        }
        let over = || served(QUIC).reason(Reason::QuicOverBudget);
        stage.arrives("one more", &hello(65), over());
        stage.after(SECOND / 20);
        stage.arrives("a while later", &hello(66), served(QUIC).handed_over());
        stage.arrives("and no more", &hello(67), over());

        stage.story("what is too short for an Initial, or is none, is not handed over");
        let talk = stage.v4(443);
        let cut = packet(INITIAL, VERSION_1, &PROPOSED, &CLIENT, 1199);
        stage.arrives("1199 bytes", &talk.datagram(&cut), served(QUIC));
        let early = packet(EARLY, VERSION_1, &PROPOSED, &CLIENT, 1300);
        stage.arrives("0-RTT", &talk.datagram(&early), served(QUIC));
        let draft = packet(INITIAL, 0xff00_001d, &PROPOSED, &CLIENT, 1300);
        stage.arrives("a draft version", &talk.datagram(&draft), served(QUIC));
        let long = packet(INITIAL, VERSION_1, &PROPOSED, &CLIENT, 1472);
        stage.arrives("a whole packet", &talk.datagram(&long), served(QUIC).handed_over());
    });
}
