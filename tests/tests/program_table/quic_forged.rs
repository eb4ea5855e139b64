//! QUIC, in the name of somebody: what is sent without having received anything proves nothing, ends
//! nothing, and counts for nobody.

use std::time::Duration;

use weir_common::abi::Reason;

use crate::{
    expect::{passes, served},
    play_everywhere,
    quic::{CHOSEN, answer, begin, handshake, initial, proven, short},
    stage::QUIC,
};

const SECOND: Duration = Duration::from_secs(1);
const FORGED: [u8; 8] = [0x66; 8];

#[test]
fn what_is_forged_in_a_proven_quic_clients_name_neither_ends_nor_proves_anything() {
    play_everywhere("what_is_forged_in_a_proven_quic_clients_name", |stage| {
        stage.story("Initials, Handshakes and short headers on its very port");
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        stage.arrives("its own", &talk.datagram(&short(&CHOSEN)), proven());
        let forged = talk.datagram(&initial(&FORGED));
        stage.arrives("a forged Initial", &forged, served(QUIC).handed_over());
        stage.arrives("a forged Handshake", &talk.datagram(&handshake(&FORGED)), served(QUIC));
        stage.arrives("a forged short header", &talk.datagram(&short(&FORGED)), served(QUIC));
        stage.arrives("an empty id", &talk.datagram(&short(&[])), served(QUIC));
        stage.arrives("its own goes on", &talk.datagram(&short(&CHOSEN)), served(QUIC));

        stage.story(
            "the server answers a forged Initial to the client, who did not ask: nothing new",
        );
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        stage.arrives("its own", &talk.datagram(&short(&CHOSEN)), proven());
        let forged = talk.datagram(&initial(&FORGED));
        stage.arrives("a forged Initial", &forged, served(QUIC).handed_over());
        let other = [0x77; 12];
        stage.leaves("the answer to it", &talk.datagram_back(&answer(&other)), passes());
        stage.arrives("the forger goes on blindly", &talk.datagram(&short(&FORGED)), served(QUIC));
        stage.arrives("its own goes on", &talk.datagram(&short(&CHOSEN)), served(QUIC));

        stage.story("from another port: no second connection is proven");
        let talk = stage.v6(443);
        begin(stage, &talk, &CHOSEN);
        stage.arrives("its own", &talk.datagram(&short(&CHOSEN)), proven());
        let other = talk.with_port(50_001);
        let forged = other.datagram(&initial(&FORGED));
        stage.arrives("a forged Initial", &forged, served(QUIC).handed_over());
        stage.leaves("the answer", &other.datagram_back(&answer(&[0x88; 12])), passes());
        stage.arrives("a guess", &other.datagram(&short(&FORGED)), served(QUIC));
        stage.arrives("the id of the first", &other.datagram(&short(&CHOSEN)), served(QUIC));
    });
}

#[test]
fn an_id_that_was_overheard_or_migrates_proves_no_other_address() {
    play_everywhere("an_id_that_was_overheard_or_migrates", |stage| {
        stage.story("replayed from another address, with and without an Initial of its own");
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        stage.arrives("its own", &talk.datagram(&short(&CHOSEN)), proven());
        let mut elsewhere = talk;
        elsewhere.visitor.set_ip([203, 0, 113, 251].into());
        stage.arrives("replayed", &elsewhere.datagram(&short(&CHOSEN)), served(QUIC));
        let began = elsewhere.datagram(&initial(&FORGED));
        stage.arrives("an Initial", &began, served(QUIC).handed_over());
        stage.arrives("replayed", &elsewhere.datagram(&short(&CHOSEN)), served(QUIC));
        stage.arrives("replayed, long", &elsewhere.datagram(&handshake(&CHOSEN)), served(QUIC));

        stage.story("a client that migrates to another port is not proven there, nor ended here");
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        stage.arrives("its own", &talk.datagram(&short(&CHOSEN)), proven());
        stage.after(SECOND);
        let moved = talk.with_port(50_002);
        stage.arrives("from the other port", &moved.datagram(&short(&CHOSEN)), served(QUIC));
        stage.leaves("the server follows", &moved.datagram_back(&short(&FORGED)), passes());
        stage.arrives("from the first again", &talk.datagram(&short(&CHOSEN)), served(QUIC));
    });
}

#[test]
fn a_flood_of_forged_datagrams_in_a_proven_name_is_told_as_forgeable_and_no_more() {
    play_everywhere("a_flood_of_forged_datagrams_in_a_proven_name", |stage| {
        stage.story("datagrams of nothing from other ports of a proven client");
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        stage.arrives("its own", &talk.datagram(&short(&CHOSEN)), proven());
        for port in 1..=31u16 {
            let forged = talk.with_port(port).datagram(&short(&FORGED));
            stage.arrives("a datagram of nothing", &forged, served(QUIC));
        }
        let told = crate::expect::Told::Milestone(weir_common::abi::MilestoneKind::Datagrams, 32);
        let last = talk.with_port(32).datagram(&short(&FORGED));
        stage.arrives("the 32nd", &last, served(QUIC).event(told));
        stage.arrives("its own goes on", &talk.datagram(&short(&CHOSEN)), served(QUIC));

        stage.story("Initials beyond the budget of its name are not decrypted, and it goes on");
        let talk = stage.v4(443);
        begin(stage, &talk, &CHOSEN);
        stage.arrives("its own", &talk.datagram(&short(&CHOSEN)), proven());
        for port in 1..=63u16 {
            let forged = talk.with_port(port).datagram(&initial(&FORGED));
            stage.arrives("a forged Initial", &forged, served(QUIC).handed_over());
        }
        let over = talk.with_port(64).datagram(&initial(&FORGED));
        stage.arrives("one more", &over, served(QUIC).reason(Reason::QuicOverBudget));
        stage.arrives("its own goes on", &talk.datagram(&short(&CHOSEN)), served(QUIC));
    });
}
