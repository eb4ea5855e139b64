//! Resets: towards the server, to end the established flow of a dropped source there, and back to
//! the client, so that someone refused sees more than a timeout. Every byte is checked.

use std::time::Duration;

use weir_common::abi::{Action, Mode, Reason, VerdictClass, tally::Outcome};
use weir_common::packet::Link;
use weir_lab::packet::{Ethernet, Extension, Tcp, TcpOption, ipv4, ipv6};

use crate::{
    expect::{Expect, answered, dropped_by, passes, served},
    limits::connect,
    play, play_everywhere,
    stage::{NONE, SHOP, Stage},
    talk::{CLIENT_ISN, SERVER_ISN, Talk},
    verdicts::{DROP, octets, operator},
};

const SECOND: Duration = Duration::from_secs(1);

const REJECT: VerdictClass = operator(Action::Reject);

/// The flow's next segment becomes a reset for the server.
fn to_server(class: u16) -> Expect {
    passes().reason(Reason::ResetToServer).class(class).service(SHOP, Outcome::Drop).rewritten()
}

/// The segment becomes a reset for the client.
fn to_client(class: u16, service: u8) -> Expect {
    answered().reason(Reason::RejectReset).class(class).service(service, Outcome::Drop)
}

fn hit(expect: Expect, class: u16, action: Action, hits: u32) -> Expect {
    expect.hit(class, action, Mode::Enforce, hits)
}

/// What a frame is to be, at the stage's link.
pub(crate) fn is(stage: &mut Stage<'_>, what: &str, frame: &[u8], wanted: &Tcp) {
    let wanted = wanted.build();
    let wanted = match stage.link() {
        Link::Ethernet => wanted.as_slice(),
        Link::None => wanted.get(14..).unwrap_or_default(),
    };
    if frame != wanted {
        stage.complain(&format!("{what}:\n  is       {frame:02x?}\n  should be {wanted:02x?}"));
    }
}

/// A reset is a bare header.
pub(crate) fn reset(segment: Tcp) -> Tcp {
    segment.window(0)
}

#[test]
fn a_drop_ends_the_established_flow_at_the_server() {
    play_everywhere("a_drop_ends_the_established_flow", |stage| {
        stage.story(
            "IPv4: the next segment becomes a reset with the number that the server expects",
        );
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.arrives("a request", &talk.ask(0, 0).payload(&[1; 300]).build(), served(SHOP));
        stage.verdict(&talk.net(), 10, &DROP);
        let next = talk.ask(300, 0).payload(&[1; 77]).psh().build();
        let turned = stage.arrives("the next", &next, hit(to_server(10), 10, Action::Drop, 1));
        let wanted = reset(talk.segment().rst().seq(CLIENT_ISN.wrapping_add(301)));
        is(stage, "the reset", &turned, &wanted);
        let retransmission = talk.ask(0, 0).payload(&[1; 300]).build();
        let expect = hit(dropped_by(10, SHOP), 10, Action::Drop, 2);
        stage.arrives(
            "another at once is dropped: one reset a second is enough",
            &retransmission,
            expect,
        );
        stage.after(SECOND);
        let turned = stage.arrives("an old one", &retransmission, to_server(10));
        is(stage, "the same reset", &turned, &wanted);
        stage.after(SECOND);
        let far = talk.ask(0x4000_0000, 0).build();
        let expect = hit(to_server(10), 10, Action::Drop, 4);
        let turned = stage.arrives("one out of window", &far, expect);
        is(stage, "the same reset", &turned, &wanted);
        let challenge = talk.answer(0, 377).build();
        stage.leaves("the server says that it had received more", &challenge, passes());
        stage.after(SECOND);
        let turned = stage.arrives("the next", &retransmission, to_server(10));
        let fits = reset(talk.segment().rst().seq(CLIENT_ISN.wrapping_add(378)));
        is(stage, "the reset that fits", &turned, &fits);
        let syn = talk.segment().syn().seq(1).build();
        stage.arrives("a SYN on the same ports is dropped", &syn, dropped_by(10, SHOP));
        let other = talk.with_port(1).ask(0, 0).build();
        stage.arrives("a segment of no known flow is dropped", &other, dropped_by(10, SHOP));

        stage.story("IPv6");
        let talk = stage.v6(443);
        connect(stage, &talk);
        stage.verdict(&talk.net(), 11, &DROP);
        let next = talk.ask(0, 0).payload(&[1; 1000]).build();
        let turned = stage.arrives("the next", &next, hit(to_server(11), 11, Action::Drop, 1));
        let wanted = reset(talk.segment().rst().seq(CLIENT_ISN.wrapping_add(1)));
        is(stage, "the reset", &turned, &wanted);

        stage.story("TCP timestamps and odd lengths go, the IP header's other fields stay");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.verdict(&talk.net(), 12, &DROP);
        let ip = || {
            ipv4(octets(&talk), [198, 51, 100, 10]).ttl(113).tos(0x28).id(0xbeef).dont_fragment()
        };
        let next = ip()
            .tcp(40_000, 443)
            .seq(CLIENT_ISN.wrapping_add(1))
            .ack(SERVER_ISN + 1)
            .option(TcpOption::Nop)
            .option(TcpOption::Nop)
            .option(TcpOption::Timestamps(1, 2))
            .payload(&[1; 333])
            .build();
        let turned = stage.arrives("the next", &next, hit(to_server(12), 12, Action::Drop, 1));
        let wanted = reset(ip().tcp(40_000, 443).rst().seq(CLIENT_ISN.wrapping_add(1)));
        is(stage, "the reset", &turned, &wanted);

        stage.story("a closed flow has nothing to reset");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.leaves("the server's reset", &talk.answer(0, 0).rst().build(), {
            passes().event(crate::expect::Told::Closed(weir_common::abi::CloseReason::ServerReset))
        });
        stage.verdict(&talk.net(), 13, &DROP);
        let expect = hit(dropped_by(13, SHOP), 13, Action::Drop, 1);
        stage.arrives("the next", &talk.ask(0, 0).build(), expect);

        stage.story("an observed drop resets nothing");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.verdict(&talk.net(), 14, &VerdictClass { mode: Mode::Observe as u8, ..DROP });
        let expect = served(SHOP)
            .reason(Reason::Would)
            .class(14)
            .service(SHOP, Outcome::Would)
            .hit(14, Action::Drop, Mode::Observe, 1);
        stage.arrives("the next", &talk.ask(0, 0).payload(&[1; 5]).build(), expect);
    });
}

#[test]
fn a_reset_is_no_fragment_and_has_no_options() {
    play_everywhere("a_reset_is_no_fragment_and_has_no_options", |stage| {
        stage.story("IP options and fragmentation would keep the reset from the server");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.verdict(&talk.net(), 20, &DROP);
        let numbered = |segment: Tcp| {
            segment.seq(CLIENT_ISN.wrapping_add(1)).ack(SERVER_ISN + 1).payload(&[1; 64]).build()
        };
        let plain = || ipv4(octets(&talk), [198, 51, 100, 10]);
        let with_options = numbered(plain().options(&[7, 7, 4, 0, 0, 0, 0]).tcp(40_000, 443));
        let wanted = reset(plain().tcp(40_000, 443).rst().seq(CLIENT_ISN.wrapping_add(1)));
        let expect = hit(to_server(20), 20, Action::Drop, 1);
        let turned = stage.arrives("with options", &with_options, expect);
        is(stage, "the reset", &turned, &wanted);
        stage.after(SECOND);
        let first = numbered(plain().fragment(0, true).tcp(40_000, 443));
        let expect = hit(to_server(20), 20, Action::Drop, 2);
        let turned = stage.arrives("a first fragment", &first, expect);
        is(stage, "the reset", &turned, &wanted);

        stage.story("the same for IPv6");
        let talk = stage.v6(443);
        connect(stage, &talk);
        stage.verdict(&talk.net(), 21, &DROP);
        let plain = || ipv6(v6_of(&talk), [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 0x10]);
        let wanted = reset(plain().tcp(40_000, 443).rst().seq(CLIENT_ISN.wrapping_add(1)));
        let long = plain().extension(Extension::Destination(vec![1, 12])).tcp(40_000, 443);
        let expect = hit(to_server(21), 21, Action::Drop, 1);
        let turned = stage.arrives("with options", &numbered(long), expect);
        is(stage, "the reset", &turned, &wanted);
        stage.after(SECOND);
        let fragment = Extension::Fragment { offset: 0, more: true, id: 77 };
        let first = plain().extension(fragment).tcp(40_000, 443);
        let expect = hit(to_server(21), 21, Action::Drop, 2);
        let turned = stage.arrives("a first fragment", &numbered(first), expect);
        is(stage, "the reset", &turned, &wanted);
    });
}

#[test]
fn a_reject_tells_the_client() {
    play_everywhere("a_reject_tells_the_client", |stage| {
        stage.story("a SYN is answered as a closed port would (RFC 9293, section 3.10.7.1)");
        let talk = stage.v4(443);
        stage.verdict(&talk.net(), 30, &REJECT);
        let syn = talk.syn().build();
        let turned = stage.arrives("SYN", &syn, hit(to_client(30, SHOP), 30, Action::Reject, 1));
        let wanted = reset(back(&talk).rst().seq(0).ack(CLIENT_ISN.wrapping_add(1)));
        is(stage, "the answer", &turned, &wanted);
        let data = talk.ask(10, 20).payload(&[1; 99]).build();
        let turned = stage.arrives("data", &data, hit(to_client(30, SHOP), 30, Action::Reject, 2));
        let wanted = reset(back(&talk).rst().seq(SERVER_ISN + 21));
        is(stage, "the answer", &turned, &wanted);
        let odd = talk.segment().seq(5).fin().payload(&[1; 3]).build();
        let turned = stage.arrives("FIN and data without ACK", &odd, to_client(30, SHOP));
        is(stage, "the answer", &turned, &reset(back(&talk).rst().seq(0).ack(9)));
        let expect = hit(dropped_by(30, SHOP), 30, Action::Reject, 4);
        stage.arrives("a reset is not answered", &talk.ask(0, 0).rst().build(), expect);
        let other = talk.to_port(22).syn().build();
        let turned = stage.arrives("SYN to no service", &other, to_client(30, NONE));
        let wanted = reset(back(&talk.to_port(22)).rst().seq(0).ack(CLIENT_ISN.wrapping_add(1)));
        is(stage, "the answer", &turned, &wanted);
        let datagram = ipv4(octets(&talk), [198, 51, 100, 10]).udp(1, 53).build();
        stage.arrives("UDP is dropped", &datagram, dropped_by(30, NONE));
        let ping = ipv4(octets(&talk), [198, 51, 100, 10]).icmp(8, 0).build();
        stage.arrives("ping is dropped", &ping, dropped_by(30, NONE));

        stage.story("IPv6");
        let talk = stage.v6(443);
        stage.verdict(&talk.net(), 31, &REJECT);
        let syn = talk.syn().payload(b"early").build();
        let turned = stage.arrives("SYN", &syn, hit(to_client(31, SHOP), 31, Action::Reject, 1));
        let wanted = reset(back(&talk).rst().seq(0).ack(CLIENT_ISN.wrapping_add(6)));
        is(stage, "the answer", &turned, &wanted);

        stage.story("an established flow is ended at the server first");
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.verdict(&talk.net(), 32, &REJECT);
        let next = talk.ask(0, 0).payload(&[1; 5]).build();
        let turned = stage.arrives("the next", &next, hit(to_server(32), 32, Action::Reject, 1));
        let wanted = reset(talk.segment().rst().seq(CLIENT_ISN.wrapping_add(1)));
        is(stage, "the reset", &turned, &wanted);
        stage.leaves("its end is seen on the way out or not at all", &talk.answer(0, 0).build(), {
            passes()
        });
    });
}

#[test]
fn resets_keep_tags() {
    play("resets_keep_tags", |stage| {
        stage.story("behind two VLAN tags");
        let talk = stage.v4(443);
        let link = || Ethernet::new().service_vlan(10).vlan(20);
        stage.verdict(&talk.net(), 40, &REJECT);
        let syn = link().ipv4(octets(&talk), [198, 51, 100, 10]).tcp(40_000, 443).syn().seq(99);
        let expect = hit(to_client(40, SHOP), 40, Action::Reject, 1);
        let turned = stage.arrives("SYN", &syn.build(), expect);
        let swapped = link().from_mac([2, 0, 0, 0, 0, 0x0a]).to_mac([2, 0, 0, 0, 0, 0x0b]);
        let wanted =
            swapped.ipv4([198, 51, 100, 10], octets(&talk)).tcp(443, 40_000).rst().ack(100);
        is(stage, "the answer", &turned, &reset(wanted));
        let padded = [talk.with_port(1).segment().syn().seq(1).build(), vec![0; 6]].concat();
        let expect = hit(to_client(40, SHOP), 40, Action::Reject, 2).padded_by(6);
        let turned = stage.arrives("a SYN with Ethernet padding", &padded, expect);
        is(stage, "the answer", &turned, &reset(back(&talk.with_port(1)).rst().seq(0).ack(2)));
    });
}

/// A segment of the server's in a frame turned around.
fn back(talk: &Talk) -> Tcp {
    let link = Ethernet::new().from_mac([2, 0, 0, 0, 0, 0x0a]).to_mac([2, 0, 0, 0, 0, 0x0b]);
    let (from, to) = (talk.server, talk.visitor);
    match (from.ip(), to.ip()) {
        (std::net::IpAddr::V4(source), std::net::IpAddr::V4(destination)) => {
            link.ipv4(source, destination).tcp(from.port(), to.port())
        }
        (std::net::IpAddr::V6(source), std::net::IpAddr::V6(destination)) => {
            link.ipv6(source, destination).tcp(from.port(), to.port())
        }
        _ => talk.reply(),
    }
}

pub(crate) fn v6_of(talk: &Talk) -> [u16; 8] {
    match talk.visitor.ip() {
        std::net::IpAddr::V6(address) => address.segments(),
        std::net::IpAddr::V4(_) => [0; 8],
    }
}
