//! Decoys: segments before the real hello that carry another one, and that the server discards. None of
//! them may take the real one's place, and none may keep it from being read.

use weir_common::abi::{Reason, flow::hello, map::INTERFACE_PARTIAL_CHECKSUMS};
use weir_lab::packet::{
    Ethernet, Extension, Tcp, TcpFlags, TcpOption, checksum, ipv4, pseudo_header_sum,
};

use crate::{
    client_hello::ClientHello,
    expect::{Expect, Told, passes, served, syn_served},
    heard::Heard,
    hellos::{part, read},
    limits::{connect, connect_as},
    play, play_everywhere,
    resets::v6_of,
    stage::{SHOP, Stage},
    talk::{CLIENT_ISN, SERVER_ISN, Talk},
    verdicts::octets,
};

/// A hello of two segments, and a decoy of the same length.
fn pair() -> (ClientHello, Vec<u8>, Vec<u8>) {
    let real = ClientHello::of_a_tool().named("shop.example").padded_to(600);
    let decoy = ClientHello::of_a_browser().named("other.example").padded_to(600);
    let (stream, forged) = (real.stream(), decoy.stream());
    (real, stream, forged)
}

/// The real hello comes after the decoy, first in one segment, then, on another connection and with
/// the decoy again between its two, in two.
fn is_read_all_the_same(
    stage: &mut Stage<'_>,
    talk: &Talk,
    decoy: impl Fn(&Talk, &[u8]) -> Vec<u8>,
    expect: &Expect,
) {
    let (real, stream, forged) = pair();
    connect(stage, talk);
    stage.arrives("decoy", &decoy(talk, &forged), expect.clone());
    stage.arrives("the hello", &part(talk, &stream, 0, 600), read(Heard::whole(talk, &real)));
    let talk = talk.with_port(1);
    connect_as(stage, &talk, 2);
    stage.arrives("decoy", &decoy(&talk, &forged), expect.clone());
    stage.arrives("the second part", &part(&talk, &stream, 400, 600), served(SHOP));
    stage.arrives("decoy", &decoy(&talk, &forged), expect.clone());
    let heard = Heard::whole(&talk, &real).in_segments(2);
    stage.arrives("the first part", &part(&talk, &stream, 0, 400), read(heard));
    stage.remembers("the hello", &talk, |flow| flow.hello == hello::READ);
}

#[test]
fn a_decoy_with_a_bad_checksum() {
    play_everywhere("a_decoy_with_a_bad_checksum", |stage| {
        let bad = served(SHOP).reason(Reason::HelloBadChecksum);

        stage.story("of TCP");
        let decoy =
            |talk: &Talk, bytes: &[u8]| talk.ask(0, 0).payload(bytes).bad_checksum().build();
        is_read_all_the_same(stage, &stage.v4(443), decoy, &bad);
        is_read_all_the_same(stage, &stage.v6(443), decoy, &bad);

        stage.story("of TCP, with an odd number of bytes");
        let odd = |talk: &Talk, bytes: &[u8]| {
            talk.ask(0, 0).payload(&bytes[..599]).bad_checksum().build()
        };
        is_read_all_the_same(stage, &stage.v4(443), odd, &bad);
        let zero = |talk: &Talk, _: &[u8]| {
            // The checksum field says 0, and the sum is not.
            let mut frame = talk.ask(0, 0).payload(b"\x16").build();
            let at = frame.len() - 1 - 4;
            frame[at..at + 2].fill(0);
            frame
        };
        is_read_all_the_same(stage, &stage.v6(443), zero, &bad);

        stage.story("of the IPv4 header");
        let header = |talk: &Talk, bytes: &[u8]| numbered(bad_header(talk), bytes);
        is_read_all_the_same(stage, &stage.v4(443), header, &bad);

        stage.story("of an IPv4 header with options");
        let options = |talk: &Talk, bytes: &[u8]| {
            let ip = ipv4(octets(talk), [198, 51, 100, 10]).options(&[148, 4, 0, 0]);
            numbered(ip.bad_checksum().tcp(talk.visitor.port(), 443), bytes)
        };
        is_read_all_the_same(stage, &stage.v4(443), options, &bad);

        stage.story("of many, as if the stream had gone on beyond any hello");
        let (real, stream, _) = pair();
        let talk = stage.v4(443);
        connect(stage, &talk);
        for from in (0..20_000).step_by(2000) {
            let decoy = talk.ask(from, 0).payload(&[0; 2000]).bad_checksum().build();
            stage.arrives("decoy", &decoy, bad.clone());
        }
        let nothing = talk.ask(0, 0).bad_checksum().build();
        stage.arrives("nothing", &nothing, bad);
        let heard = Heard::whole(&talk, &real);
        stage.arrives("the hello", &part(&talk, &stream, 0, 600), read(heard));
    });
}

/// A header whose checksum is wrong, around a segment whose own is right.
fn bad_header(talk: &Talk) -> Tcp {
    ipv4(octets(talk), [198, 51, 100, 10]).bad_checksum().tcp(talk.visitor.port(), 443)
}

/// A segment at the stream's beginning.
fn numbered(segment: Tcp, bytes: &[u8]) -> Vec<u8> {
    segment.seq(CLIENT_ISN.wrapping_add(1)).ack(SERVER_ISN + 1).payload(bytes).build()
}

#[test]
fn a_decoy_with_wrong_numbers() {
    play_everywhere("a_decoy_with_wrong_numbers", |stage| {
        let stray = served(SHOP).reason(Reason::OutOfWindow);
        let ask = |talk: &Talk, sent: u32, heard: u32, bytes: &[u8]| {
            talk.ask(sent, heard).payload(bytes).build()
        };

        stage.story("it acknowledges what the server has not sent");
        is_read_all_the_same(stage, &stage.v4(443), |talk, it| ask(talk, 0, 1, it), &stray);
        is_read_all_the_same(stage, &stage.v6(443), |talk, it| ask(talk, 0, 9, it), &stray);

        stage.story("it acknowledges less than the handshake did (RFC 5961, section 5)");
        let less = |talk: &Talk, it: &[u8]| ask(talk, 0, 0_u32.wrapping_sub(1), it);
        is_read_all_the_same(stage, &stage.v4(443), less, &stray);
        let less = |talk: &Talk, it: &[u8]| ask(talk, 0, 0_u32.wrapping_sub(60_000), it);
        is_read_all_the_same(stage, &stage.v6(443), less, &stray);

        stage.story("it acknowledges nothing");
        let bare = |talk: &Talk, it: &[u8]| {
            talk.segment().seq(CLIENT_ISN.wrapping_add(1)).psh().payload(it).build()
        };
        is_read_all_the_same(stage, &stage.v4(443), bare, &stray);

        stage.story("it is a SYN as well");
        let syn = |talk: &Talk, it: &[u8]| talk.ask(0, 0).syn().payload(it).build();
        is_read_all_the_same(stage, &stage.v4(443), syn, &stray);

        stage.story("it lies beyond the window");
        let far = |talk: &Talk, it: &[u8]| ask(talk, 70_000, 0, it);
        is_read_all_the_same(stage, &stage.v4(443), far, &stray);

        stage.story("a reset with another number than the next");
        let reset =
            |sent: u32| move |talk: &Talk, _: &[u8]| talk.ask(sent, 0).flags(TcpFlags::RST).build();
        is_read_all_the_same(stage, &stage.v4(443), reset(1), &stray);
        is_read_all_the_same(stage, &stage.v6(443), reset(u32::MAX), &stray);

        stage.story("a reset with the right number, and a bad checksum");
        let reset = |talk: &Talk, _: &[u8]| talk.ask(0, 0).rst().bad_checksum().build();
        is_read_all_the_same(stage, &stage.v4(443), reset, &stray);
        is_read_all_the_same(stage, &stage.v6(443), reset, &stray);
    });
}

/// Connects with timestamps: the SYN's is 1000.
fn connect_with_timestamps(stage: &mut Stage<'_>, talk: &Talk) {
    let with = |segment: Tcp, value| segment.option(TcpOption::Timestamps(value, 0));
    let syn = with(talk.segment().syn().seq(CLIENT_ISN), 1000).build();
    stage.arrives("SYN", &syn, syn_served(SHOP));
    let answered = passes().reason(Reason::SynAckSeen);
    stage.leaves("SYN-ACK", &with(talk.syn_ack(), 9).build(), answered);
    let proven = served(SHOP)
        .reason(Reason::ProvenHandshake)
        .event(Told::Established { connections: 1, known: true });
    stage.arrives("the third packet", &stamped(talk.ask(0, 0), 1010).build(), proven);
}

/// With a timestamp as Linux writes it.
fn stamped(segment: Tcp, value: u32) -> Tcp {
    segment.option(TcpOption::Nop).option(TcpOption::Nop).option(TcpOption::Timestamps(value, 9))
}

#[test]
fn a_decoy_with_an_old_timestamp() {
    play_everywhere("a_decoy_with_an_old_timestamp", |stage| {
        let old = served(SHOP).reason(Reason::HelloOldTimestamp);
        let (real, stream, forged) = pair();
        let stamps: [(&'static str, fn(Tcp, u32) -> Tcp); 5] = [
            ("as Linux writes it", stamped),
            ("without padding", |it, value| it.option(TcpOption::Timestamps(value, 9))),
            ("behind another option", |it, value| {
                it.option(TcpOption::Raw(vec![19, 3, 0])).option(TcpOption::Timestamps(value, 9))
            }),
            ("the second of two", |it, value| {
                it.option(TcpOption::Timestamps(u32::MAX >> 2, 9))
                    .option(TcpOption::Timestamps(value, 9))
            }),
            ("before what is no option any more", |it, value| {
                stamped(it, value).option(TcpOption::End).option(TcpOption::Raw(vec![8, 10, 1]))
            }),
        ];
        for (story, stamp) in stamps {
            stage.story(story);
            let talk = stage.v4(443);
            connect_with_timestamps(stage, &talk);
            for value in [1008, 1000, 0, 1010_u32.wrapping_sub(1 << 30)] {
                let decoy = stamp(talk.ask(0, 0).payload(&forged), value).build();
                stage.arrives("decoy", &decoy, old.clone());
            }
            let first = stamp(talk.ask(0, 0).payload(&stream[..400]), 1012).build();
            stage.arrives("the first part", &first, served(SHOP));
            let decoy = stamp(talk.ask(400, 0).payload(&forged[400..]), 1010).build();
            stage.arrives("decoy", &decoy, old.clone());
            let rest = stamp(talk.ask(400, 0).payload(&stream[400..]), 1012).build();
            let heard = Heard::whole(&talk, &real).in_segments(2);
            stage.arrives("the rest", &rest, read(heard));
        }

        stage.story("a timestamp one older than the newest, the server still takes");
        let talk = stage.v6(443);
        connect_with_timestamps(stage, &talk);
        let first = stamped(talk.ask(0, 0).payload(&stream), 1009).build();
        stage.arrives("the hello", &first, read(Heard::whole(&talk, &real)));

        stage.story("no timestamp at all, Linux takes too");
        let talk = stage.v4(443);
        connect_with_timestamps(stage, &talk);
        let heard = Heard::whole(&talk, &real);
        stage.arrives("the hello", &part(&talk, &stream, 0, 600), read(heard));

        stage.story("what was over before, or lies ahead, makes no other timestamp old");
        let talk = stage.v4(443);
        connect_with_timestamps(stage, &talk);
        let first = stamped(talk.ask(0, 0).payload(&stream[..300]), 1020).build();
        stage.arrives("the first part", &first, served(SHOP));
        let over = stamped(talk.ask(0, 0).payload(&stream[..100]), 900_000).build();
        stage.arrives("a part of it again", &over, served(SHOP));
        let ahead = stamped(talk.ask(500, 0).payload(&stream[500..]), 800_000).build();
        stage.arrives("the last part", &ahead, served(SHOP));
        let rest = stamped(talk.ask(300, 0).payload(&stream[300..500]), 1021).build();
        let heard = Heard::whole(&talk, &real).in_segments(3);
        stage.arrives("the middle", &rest, read(heard));

        stage.story("without timestamps in the handshake an option says nothing");
        let talk = stage.v4(443);
        stage.arrives("SYN", &talk.syn().build(), syn_served(SHOP));
        let plain = talk.reply().syn().seq(SERVER_ISN).ack(CLIENT_ISN.wrapping_add(1)).build();
        stage.leaves("SYN-ACK", &plain, passes().reason(Reason::SynAckSeen));
        let hello = stamped(talk.ask(0, 0).payload(&stream), 0).build();
        let expect = read(Heard::whole(&talk, &real))
            .reason(Reason::ProvenHandshake)
            .event(Told::Established { connections: 1, known: true });
        stage.arrives("the hello", &hello, expect);
    });
}

#[test]
fn a_checksum_that_is_only_begun() {
    play_everywhere("a_checksum_that_is_only_begun", |stage| {
        let (real, stream, _) = pair();

        stage.story("a device would complete it: it is good where packets come from this machine");
        stage.interface_is(INTERFACE_PARTIAL_CHECKSUMS);
        for talk in [stage.v4(443), stage.v6(443)] {
            connect(stage, &talk);
            let heard = Heard::whole(&talk, &real);
            stage.arrives("the hello", &begun(&talk, &stream), read(heard));
            let talk = talk.with_port(1);
            connect_as(stage, &talk, 2);
            let bad = talk.ask(0, 0).payload(&stream).bad_checksum().build();
            stage.arrives("bad all the same", &bad, {
                served(SHOP).reason(Reason::HelloBadChecksum)
            });
        }

        stage.story("elsewhere it is bad");
        for talk in [stage.v4(443), stage.v6(443)] {
            connect(stage, &talk);
            let bad = served(SHOP).reason(Reason::HelloBadChecksum);
            stage.arrives("the hello", &begun(&talk, &stream), bad);
        }
    });
}

/// A segment whose checksum is that of the pseudo-header alone, as `CHECKSUM_PARTIAL` has it.
fn begun(talk: &Talk, bytes: &[u8]) -> Vec<u8> {
    let mut frame = talk.ask(0, 0).payload(bytes).build();
    let length = 20 + bytes.len();
    let (from, to) = (talk.visitor.ip(), talk.server.ip());
    let sum = pseudo_header_sum(from, to, 6, length);
    let begun = !checksum(sum, &[]);
    let at = frame.len() - length + 16;
    frame[at..at + 2].copy_from_slice(&begun.to_be_bytes());
    frame
}

#[test]
fn checksums_are_good_behind_options_and_tags() {
    play("checksums_are_good_behind_options_and_tags", |stage| {
        let (real, stream, _) = pair();
        stage.story("two VLAN tags, and IPv4 options");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let link = Ethernet::new().service_vlan(10).vlan(20);
        let ip = link.ipv4(octets(&talk), [198, 51, 100, 10]).options(&[7, 7, 4, 0, 0, 0, 0]);
        let segment = numbered(ip.tcp(40_000, 443).option(TcpOption::Nop), &stream);
        stage.arrives("the hello", &segment, read(Heard::whole(&talk, &real)));

        stage.story("IPv6 behind a tag, with an extension header");
        let talk = stage.v6(443);
        connect(stage, &talk);
        let (from, to) = (v6_of(&talk), [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0x10]);
        let extension = Extension::Destination(vec![1, 4, 0, 0, 0, 0]);
        let ip = Ethernet::new().vlan(20).ipv6(from, to).extension(extension);
        let segment = numbered(ip.tcp(40_000, 443), &stream);
        stage.arrives("the hello", &segment, read(Heard::whole(&talk, &real)));

        stage.story("every length of the last word");
        for (port, length) in (1..).zip(596..604) {
            let talk = stage.v4(443).with_port(port);
            connect_as(stage, &talk, u32::from(port));
            let hello = ClientHello::of_a_tool().padded_to(length);
            let stream = hello.stream();
            let expect = read(Heard::whole(&talk, &hello));
            stage.arrives("the hello", &part(&talk, &stream, 0, length), expect);
        }

        stage.story("Ethernet padding behind a short segment is not summed");
        let talk = stage.v4(443);
        connect(stage, &talk);
        let short = part(&talk, &stream, 0, 3);
        let padded = [short, vec![0xee; 3]].concat();
        stage.arrives("the first bytes", &padded, served(SHOP).padded_by(3));
        let heard = Heard::whole(&talk, &real).in_segments(2);
        stage.arrives("the rest", &part(&talk, &stream, 3, 600), read(heard));
    });
}
