//! TLS records inside a flow: followed by their headers both ways, wherever segments cut them; and
//! given up, not guessed, where one is missed.

use weir_common::abi::{
    Records,
    records::{LENGTH_BUCKETS, state},
};

use crate::{
    expect::{passes, served},
    limits::connect,
    play, play_everywhere,
    stage::{SHOP, Stage},
    talk::Talk,
};

/// A record of `length` bytes behind its header.
pub(crate) fn record(kind: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![kind, 3, 3];
    bytes.extend((length as u16).to_be_bytes());
    // What is in it is no header.
    bytes.resize(5 + length, 0xee);
    bytes
}

/// The first record of a stream: a handshake message, but no ClientHello.
pub(crate) fn first() -> Vec<u8> {
    record(22, 100)
}

/// A client's stream, cut where a test cuts it.
struct Stream {
    bytes: Vec<u8>,
    sent: usize,
}

impl Stream {
    fn of(records: &[Vec<u8>]) -> Self {
        Self { bytes: records.concat(), sent: 0 }
    }

    /// The next segment, as the client sends it.
    fn ask(&mut self, talk: &Talk, length: usize) -> Vec<u8> {
        let (at, bytes) = self.next(length);
        talk.ask(at, 0).payload(&bytes).build()
    }

    /// As the server sends it.
    fn answer(&mut self, talk: &Talk, length: usize) -> Vec<u8> {
        let (at, bytes) = self.next(length);
        talk.answer(at, 0).payload(&bytes).build()
    }

    fn next(&mut self, length: usize) -> (u32, Vec<u8>) {
        let at = self.sent;
        self.sent += length;
        (at as u32, self.bytes[at..self.sent].to_vec())
    }
}

fn is(records: Records, state: u8, count: u32, lengths: [u16; LENGTH_BUCKETS]) -> bool {
    (records.state, records.count, records.lengths) == (state, count, lengths)
}

fn client_is(stage: &mut Stage<'_>, talk: &Talk, state: u8, count: u32, lengths: [u16; 6]) {
    stage.remembers("the client's records", talk, |flow| {
        is(flow.ingress_records, state, count, lengths)
    });
}

#[test]
fn records_are_counted_wherever_segments_cut_them() {
    play_everywhere("records_are_counted_wherever_segments_cut_them", |stage| {
        stage.story("every cut through two headers");
        for cut in 1..=9 {
            let talk = stage.v4(443).with_port(1000 + cut as u16);
            crate::limits::connect_as(stage, &talk, cut as u32);
            let mut stream =
                Stream::of(&[first(), record(23, 40), record(23, 300), record(21, 19)]);
            stage.arrives("the first", &stream.ask(&talk, 105), served(SHOP));
            stage.arrives("up to the cut", &stream.ask(&talk, cut), served(SHOP));
            stage.arrives("one byte", &stream.ask(&talk, 1), served(SHOP));
            let rest = stream.bytes.len() - stream.sent;
            stage.arrives("the rest", &stream.ask(&talk, rest), served(SHOP));
            client_is(stage, &talk, state::FOLLOWED, 2, [1, 0, 0, 1, 0, 0]);
        }

        stage.story("the server's, of every length");
        let talk = stage.v6(443);
        connect(stage, &talk);
        let lengths = [17, 64, 127, 128, 1023, 1024, 2600];
        let records: Vec<_> = lengths.iter().map(|length| record(23, *length)).collect();
        let mut stream = Stream::of(&[vec![first()], records].concat());
        while stream.sent < stream.bytes.len() {
            let length = 1000.min(stream.bytes.len() - stream.sent);
            stage.leaves("a segment", &stream.answer(&talk, length), passes());
        }
        stage.remembers("its records", &talk, |flow| {
            is(flow.egress_records, state::FOLLOWED, 7, [1, 2, 1, 0, 1, 2])
                && flow.ingress_records.state == state::AWAITED
        });

        stage.story("many in one segment");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let mut stream = Stream::of(&[vec![first()], vec![record(23, 1); 15]].concat());
        stage.arrives("sixteen", &stream.ask(&talk, 105 + 15 * 6), served(SHOP));
        client_is(stage, &talk, state::FOLLOWED, 15, [15, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn order_and_repetition_do_not_matter_where_nothing_is_missed() {
    play("order_and_repetition_do_not_matter", |stage| {
        stage.story("a retransmission is not read again");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let mut stream = Stream::of(&[first(), record(23, 40), record(23, 300)]);
        stage.arrives("the first", &stream.ask(&talk, 105), served(SHOP));
        let second = stream.ask(&talk, 60);
        stage.arrives("the second", &second, served(SHOP));
        stage.arrives("again", &second, served(SHOP));
        stage.remembers("one retransmission", &talk, |flow| flow.retransmissions == 1);
        stage.arrives("the rest", &stream.ask(&talk, 290), served(SHOP));
        client_is(stage, &talk, state::FOLLOWED, 2, [1, 0, 0, 1, 0, 0]);

        stage.story("the middle of a record ahead of its beginning");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let mut stream = Stream::of(&[first(), record(23, 900), record(23, 40)]);
        stage.arrives("the first", &stream.ask(&talk, 105), served(SHOP));
        let (begins, goes_on) = (stream.ask(&talk, 400), stream.ask(&talk, 400));
        stage.arrives("how it goes on", &goes_on, served(SHOP));
        stage.arrives("how it begins", &begins, served(SHOP));
        stage.arrives("the rest", &stream.ask(&talk, 150), served(SHOP));
        client_is(stage, &talk, state::FOLLOWED, 2, [1, 0, 0, 0, 1, 0]);
    });
}

#[test]
fn what_is_missed_is_not_guessed() {
    play("what_is_missed_is_not_guessed", |stage| {
        stage.story("a header in a segment that was not seen");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let mut stream = Stream::of(&[first(), record(23, 40), record(23, 40), record(23, 40)]);
        stage.arrives("the first two", &stream.ask(&talk, 150), served(SHOP));
        stream.next(45);
        let taken = talk.answer(0, stream.sent as u32).build();
        stage.leaves("the server has the third", &taken, passes());
        stage.arrives("the fourth", &stream.ask(&talk, 45), served(SHOP));
        client_is(stage, &talk, state::LOST, 1, [1, 0, 0, 0, 0, 0]);

        stage.story("no header where one should be");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let mut stream = Stream::of(&[first(), vec![0xee; 100], record(23, 40)]);
        stage.arrives("the first", &stream.ask(&talk, 105), served(SHOP));
        stage.arrives("something", &stream.ask(&talk, 100), served(SHOP));
        stage.arrives("a record", &stream.ask(&talk, 45), served(SHOP));
        client_is(stage, &talk, state::LOST, 0, [0; 6]);

        stage.story("a stream that is not TLS");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.arrives(
            "text",
            &talk.ask(0, 0).payload(b"GET / HTTP/1.1\r\n\r\n").build(),
            served(SHOP),
        );
        stage.leaves("text", &talk.answer(0, 18).payload(b"HTTP/1.1 200 OK\r\n").build(), passes());
        client_is(stage, &talk, state::NONE, 0, [0; 6]);
        stage.remembers("nor the server's", &talk, |flow| flow.egress_records.state == state::NONE);

        stage.story("a stream that begins with application data");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.arrives("a record", &talk.ask(0, 0).payload(&record(23, 40)).build(), served(SHOP));
        client_is(stage, &talk, state::NONE, 0, [0; 6]);
    });
}
