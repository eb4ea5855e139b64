//! Flows through a declared proxy: the PROXY header says who the client is, and nobody else's header is
//! believed.

use std::net::SocketAddr;

use weir_common::abi::{
    Reason,
    control::SERVICE_PROXIED,
    flow::{FLOW_PROXIED, hello},
};

use crate::{
    client_hello::ClientHello,
    expect::{Expect, Told, served},
    heard::Heard,
    hellos::{part, read},
    limits::{connect, connect_as},
    play, play_everywhere,
    stage::{SHOP, Stage},
    talk::{Talk, words},
    verdicts::DROP,
};

/// The visitors of all stories are proxies.
pub(crate) const PROXIES: [&str; 2] = ["203.0.113.0/24", "2001:db8:113::/48"];

/// A client behind the proxy, of either family.
pub(crate) fn client(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A header of version 1.
pub(crate) fn line(client: SocketAddr) -> Vec<u8> {
    let (family, server) =
        if client.is_ipv4() { ("TCP4", "198.51.100.10") } else { ("TCP6", "2001:db8:51::10") };
    format!("PROXY {family} {} {server} {} 443\r\n", client.ip(), client.port()).into_bytes()
}

/// A header of version 2, with what follows the addresses.
fn binary(client: SocketAddr, more: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let family = match client {
        SocketAddr::V4(it) => {
            body.extend(it.ip().octets());
            body.extend([198, 51, 100, 10]);
            0x11
        }
        SocketAddr::V6(it) => {
            body.extend(it.ip().octets());
            body.extend([0x5a; 16]);
            0x21
        }
    };
    body.extend(client.port().to_be_bytes());
    body.extend(443_u16.to_be_bytes());
    body.extend(more);
    version_2(0x21, family, &body)
}

fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
}

/// A header is read, and it is the client's `number`-th connection.
pub(crate) fn named(expect: Expect, client: SocketAddr, number: u32) -> Expect {
    expect.reason(Reason::ProxyRead).event(Told::Proxied {
        client: words(client.ip()),
        port: client.port(),
        connections: number,
    })
}

/// Port 443 is behind proxies.
pub(crate) fn behind_proxies(stage: &mut Stage<'_>) {
    stage.shop_is(SERVICE_PROXIED).proxies(&PROXIES);
}

/// Sends a header and then the hello, in three ways.
fn says(stage: &mut Stage<'_>, talk: &Talk, header: &[u8], client: SocketAddr) {
    let browser = ClientHello::of_a_browser().named("shop.example");
    let stream = [header, &browser.stream()].concat();
    let (begin, end) = (header.len(), stream.len());
    let heard = |talk: &Talk| Heard::whole(talk, &browser).from_client(client);

    let talk = talk.with_port(1);
    connect(stage, &talk);
    stage.arrives("the header", &part(&talk, &stream, 0, begin), named(served(SHOP), client, 1));
    stage.arrives("the hello", &part(&talk, &stream, begin, end), read(heard(&talk)));
    stage.remembers("the hello", &talk, |flow| {
        flow.hello == hello::READ
            && flow.flags & FLOW_PROXIED != 0
            && flow.client == words(client.ip())
            && flow.client_port == client.port().to_be()
    });
    stage.arrives("data", &talk.ask(end as u32, 0).payload(b"GET /").build(), served(SHOP));

    let talk = talk.with_port(2);
    connect_as(stage, &talk, 2);
    let expect = named(read(heard(&talk)), client, 2);
    stage.arrives("header and hello", &part(&talk, &stream, 0, end), expect);

    let talk = talk.with_port(3);
    connect_as(stage, &talk, 3);
    let expect = named(served(SHOP), client, 3);
    stage.arrives("header and half a hello", &part(&talk, &stream, 0, begin + 99), expect);
    let rest = part(&talk, &stream, begin + 99, end);
    stage.arrives("the rest", &rest, read(heard(&talk).in_segments(2)));
}

#[test]
fn a_header_names_the_client() {
    play_everywhere("a_header_names_the_client", |stage| {
        let v4 = client("192.0.2.1:50001");
        let v6 = client("[2001:db8:2::1]:50002");

        stage.story("version 1");
        behind_proxies(stage);
        says(stage, &stage.v4(443), &line(v4), v4);
        says(stage, &stage.v6(443), &line(v6), v6);

        stage.story("version 1, of the other family");
        behind_proxies(stage);
        let (v4, v6) = (client("192.0.2.2:50003"), client("[2001:db8:2:2::1]:50004"));
        says(stage, &stage.v4(443), &line(v6), v6);
        says(stage, &stage.v6(443), &line(v4), v4);

        stage.story("version 2");
        behind_proxies(stage);
        let (v4, v6) = (client("192.0.2.3:50005"), client("[2001:db8:2:3::1]:50006"));
        says(stage, &stage.v4(443), &binary(v4, &[]), v4);
        says(stage, &stage.v6(443), &binary(v6, &[]), v6);

        stage.story("version 2, with extensions behind the addresses");
        behind_proxies(stage);
        let (v4, v6) = (client("192.0.2.4:50007"), client("[2001:db8:2:4::1]:50008"));
        let extension = [&[4, 0, 200][..], &[0; 200]].concat();
        says(stage, &stage.v4(443), &binary(v4, &extension), v4);
        says(stage, &stage.v6(443), &binary(v6, &extension), v6);
    });
}

#[test]
fn a_header_may_name_nobody() {
    play_everywhere("a_header_may_name_nobody", |stage| {
        let browser = ClientHello::of_a_browser().named("shop.example");
        for (story, header) in [
            ("version 1, UNKNOWN", b"PROXY UNKNOWN\r\n".to_vec()),
            ("version 1, UNKNOWN with more", b"PROXY UNKNOWN ::1 ::1 1 2\r\n".to_vec()),
            ("version 2, LOCAL", version_2(0x20, 0, &[])),
            ("version 2, LOCAL with more", version_2(0x20, 0x11, &[7; 12])),
            ("version 2, a family of other things", version_2(0x21, 0x31, &[7; 216])),
        ] {
            stage.story(story);
            behind_proxies(stage);
            for talk in [stage.v4(443), stage.v6(443)] {
                connect(stage, &talk);
                let stream = [header.as_slice(), &browser.stream()].concat();
                let expect = served(SHOP).reason(Reason::ProxyRead);
                stage.arrives("the header", &part(&talk, &stream, 0, header.len()), expect);
                let hello = part(&talk, &stream, header.len(), stream.len());
                stage.arrives("the hello", &hello, read(Heard::whole(&talk, &browser)));
                let talk = talk.with_port(1);
                connect_as(stage, &talk, 2);
                let both = part(&talk, &stream, 0, stream.len());
                let expect = read(Heard::whole(&talk, &browser)).reason(Reason::ProxyRead);
                stage.arrives("header and hello", &both, expect);
            }
        }
    });
}

#[test]
fn nobody_elses_header_is_believed() {
    play("nobody_elses_header_is_believed", |stage| {
        let inner = client("192.0.2.9:50009");
        let browser = ClientHello::of_a_browser().named("shop.example");
        let stream = [line(inner), browser.stream()].concat();
        let whole = |talk: &Talk| part(talk, &stream, 0, stream.len());

        stage.story("from a sender that is no declared proxy it is not TLS");
        stage.shop_is(SERVICE_PROXIED).proxies(&["198.51.100.0/24", "2001:db8:51::/64"]);
        stage.verdict("192.0.2.9/32", 260, &DROP);
        for talk in [stage.v4(443), stage.v6(443)] {
            connect(stage, &talk);
            stage.arrives("header and hello", &whole(&talk), served(SHOP));
            stage.remembers("the header", &talk, |flow| {
                flow.hello == hello::NONE && flow.flags & FLOW_PROXIED == 0 && flow.client == [0; 4]
            });
        }

        stage.story("at a service that is not behind proxies it is not TLS");
        stage.proxies(&PROXIES);
        let talk = stage.v4(443);
        connect(stage, &talk);
        stage.arrives("header and hello", &whole(&talk), served(SHOP));

        stage.story("a second header names nobody");
        behind_proxies(stage);
        let talk = stage.v4(443);
        connect(stage, &talk);
        let twice = [line(inner), line(client("192.0.2.10:1"))].concat();
        let expect = named(served(SHOP), inner, 1);
        stage.arrives("two headers", &part(&talk, &twice, 0, twice.len()), expect);
        stage.remembers("two headers", &talk, |flow| {
            flow.hello == hello::NONE && flow.client == words(inner.ip())
        });

        let unreadable = || served(SHOP).reason(Reason::ProxyUnreadable);
        let header = line(inner);
        let cut = header.len() / 2;
        let garbage = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n".to_vec();
        let mut bad_length = binary(inner, &[]);
        bad_length[15] = 99;
        for (story, first) in [
            ("garbage", garbage),
            ("a hello without a header", browser.stream()),
            ("a header that is cut in two", header[..cut].to_vec()),
            ("version 2, cut in two", binary(inner, &[])[..20].to_vec()),
            ("version 2, longer than it is", bad_length),
            ("version 3", version_2(0x31, 0x11, &[0; 12])),
            ("an address without dots", b"PROXY TCP4 3221225993 198.51.100.10 1 443\r\n".to_vec()),
        ] {
            stage.story(story);
            behind_proxies(stage);
            let talk = stage.v4(443);
            connect(stage, &talk);
            let length = first.len();
            stage.arrives("the first bytes", &part(&talk, &first, 0, length), unreadable());
            let next = talk.ask(length as u32, 0).payload(&stream).build();
            stage.arrives("what follows", &next, served(SHOP));
            stage.remembers(story, &talk, |flow| {
                flow.hello == hello::NONE && flow.flags & FLOW_PROXIED == 0
            });
        }

        stage.story("a decoy of a header");
        behind_proxies(stage);
        let talk = stage.v4(443);
        connect(stage, &talk);
        let other = [line(client("192.0.2.77:7")), browser.stream()].concat();
        let decoy = talk.ask(0, 0).payload(&other).bad_checksum().build();
        stage.arrives("decoy", &decoy, served(SHOP).reason(Reason::HelloBadChecksum));
        let expect = named(read(Heard::whole(&talk, &browser).from_client(inner)), inner, 2);
        stage.arrives("header and hello", &whole(&talk), expect);
    });
}
