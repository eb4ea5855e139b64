//! What the daemon hears of flows that go on: at every doubling of exchanges and records, and of long
//! ones from time to time; and how long their clients were silent.

use std::time::Duration;

use weir_common::abi::{CloseReason, Protocol};

use crate::{
    expect::{Expect, Told, passes, served},
    limits::connect,
    play_everywhere,
    quic::{self, CHOSEN, CLIENT, short},
    records::{first, record},
    stage::{QUIC, SHOP, Stage},
    talk::Talk,
};

const SECOND: Duration = Duration::from_secs(1);

fn told(expect: Expect, exchanges: u32, records: u32) -> Expect {
    expect.event(Told::Progress { exchanges, records })
}

/// The `number`-th question and its answer, ten bytes each.
fn exchange(stage: &mut Stage<'_>, talk: &Talk, number: u32, expect: Expect) {
    let at = 10 * number;
    stage.arrives("a question", &talk.ask(at, at).payload(&[1; 10]).build(), expect);
    stage.leaves("an answer", &talk.answer(at, at + 10).payload(&[2; 10]).build(), passes());
}

#[test]
fn exchanges_are_told_at_every_doubling() {
    play_everywhere("exchanges_are_told_at_every_doubling", |stage| {
        stage.story("one a second");
        let talk = stage.v4(443);
        connect(stage, &talk);
        for number in 0..=16 {
            // The first question follows no answer.
            let expect = match number {
                8 | 16 => told(served(SHOP), number, 0),
                _ => served(SHOP),
            };
            exchange(stage, &talk, number, expect);
            stage.after(SECOND);
        }
        stage.remembers("how long it was silent", &talk, |flow| {
            (flow.exchanges, flow.longest_gap_ms, flow.quiet_ms) == (16, 1000, 16_000)
        });

        stage.story("too fast to be told of each");
        let talk = stage.v6(443);
        connect(stage, &talk);
        for number in 0..=40 {
            let expect = match number {
                8 => told(served(SHOP), 8, 0),
                _ => served(SHOP),
            };
            exchange(stage, &talk, number, expect);
            stage.after(SECOND / 1000);
        }
        stage.after(SECOND / 2);
        exchange(stage, &talk, 41, told(served(SHOP), 41, 0));
        stage.after(SECOND / 2);
        exchange(stage, &talk, 42, served(SHOP));
        stage.remembers("and was not quiet", &talk, |flow| {
            (flow.longest_gap_ms, flow.quiet_ms) == (501, 0)
        });
    });
}

#[test]
fn records_of_the_client_are_told_where_it_does_not_wait() {
    play_everywhere("records_of_the_client_are_told", |stage| {
        stage.story("requests without waiting");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.arrives("the first", &talk.ask(0, 0).payload(&first()).build(), served(SHOP));
        let mut at = first().len() as u32;
        for (number, expect) in [
            (15, served(SHOP)),
            (2, told(served(SHOP), 0, 17)),
            (14, served(SHOP)),
            (1, told(served(SHOP), 0, 32)),
            (1, served(SHOP)),
        ] {
            stage.after(SECOND / 2);
            let requests = record(23, 80).repeat(number);
            stage.arrives("requests", &talk.ask(at, 0).payload(&requests).build(), expect);
            at += requests.len() as u32;
        }
        stage.after(SECOND / 10);
        stage.leaves("FIN", &talk.answer(0, at).fin().build(), passes());
        let fin = served(SHOP).event(Told::Closed(CloseReason::Fin));
        stage.arrives("FIN", &talk.ask(at, 1).payload(&record(23, 80)).fin().build(), fin);
    });
}

#[test]
fn a_long_flow_is_told_of_now_and_then() {
    play_everywhere("a_long_flow_is_told_of_now_and_then", |stage| {
        stage.story("a question every twelve seconds");
        let talk = stage.v4(443);
        connect(stage, &talk);
        for number in 0..6 {
            let expect = match number {
                3 => told(served(SHOP), 3, 0),
                _ => served(SHOP),
            };
            exchange(stage, &talk, number, expect);
            stage.after(12 * SECOND);
        }
        stage.after(3600 * SECOND);
        stage.arrives("an ACK alone tells nothing", &talk.ask(60, 60).build(), served(SHOP));
        exchange(stage, &talk, 6, told(served(SHOP), 6, 0));
    });
}

#[test]
fn a_quic_flow_is_told_of_by_what_is_more_than_an_acknowledgement() {
    play_everywhere("a_quic_flow_is_told_of", |stage| {
        stage.story("questions and answers");
        let talk = stage.v4(443);
        quic::begin(stage, &talk, &CHOSEN);
        stage.arrives("proof", &talk.datagram(&quic::handshake(&CHOSEN)), quic::proven());
        let long = |id: &[u8]| [short(id), vec![0x5a; 40]].concat();
        for number in 1..=8 {
            stage.after(SECOND);
            stage.leaves("an answer", &talk.datagram_back(&long(&CLIENT)), passes());
            stage.arrives("an acknowledgement", &talk.datagram(&short(&CHOSEN)), served(QUIC));
            let expect = if number == 8 { told(served(QUIC), 8, 0) } else { served(QUIC) };
            stage.arrives("a question", &talk.datagram(&long(&CHOSEN)), expect);
            stage.leaves("an acknowledgement", &talk.datagram_back(&short(&CLIENT)), passes());
            stage.arrives("more of the question", &talk.datagram(&long(&CHOSEN)), served(QUIC));
        }
        stage.remembers_of(Protocol::Udp, "the exchanges", &talk, |flow| {
            (flow.exchanges, flow.quiet_ms) == (8, 8000)
        });
        stage.after(60 * SECOND);
        let forged = [short(&[0xe5; 12]), vec![0x5a; 40]].concat();
        stage.arrives("a forgery tells nothing", &talk.datagram(&forged), served(QUIC));
        stage.leaves("an answer", &talk.datagram_back(&long(&CLIENT)), passes());
        stage.arrives("what it asks", &talk.datagram(&long(&CHOSEN)), told(served(QUIC), 9, 0));
    });
}
