//! A flagged client is stopped at its hello: the server reads nothing of what it asked for, and
//! nobody else notices.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use weir_lab::{
    actors::{Client, Session, visit},
    balancer::{Balancer, ProxyVersion},
    clients::{Answer, RecordedHello},
    clock::wait_until,
    handmade::{Decoy, Handmade, SEGMENT},
    net::{Family, Lab, sockets},
    packet::Ethernet,
    require_root,
    server::Server,
    weir::{Daemon, Weir, demo_policy},
};

/// Who sends flagged hellos, and others.
const SHARED: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 66)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x113, 66, 0, 0, 0, 1)),
];
/// The balancer.
const BALANCER: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 250)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x113, 250, 0, 0, 0, 1)),
];
/// At these addresses nobody lives, so that nobody answers what the server sends there.
const NOBODY: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(198, 18, 7, 7)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 7, 0, 0, 0, 7)),
];

/// How long a visitor waits for what it should get.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a visitor waits for what it should not get: the first retransmissions are out by then.
const IN_VAIN: Duration = Duration::from_millis(300);
/// How long a client made by hand, which sends nothing again, listens to what it should not get.
const AT_ONCE: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

/// A lab with Weir on its edge, and a browser's hello. A macro, because the daemon borrows the lab.
macro_rules! scene {
    ($lab:ident, $server:ident, $weir:ident, $daemon:ident) => {
        scene!($lab, $server, $weir, $daemon, "xdp", demo());
    };
    ($lab:ident, $server:ident, $weir:ident, $daemon:ident, $mode:expr, $policy:expr) => {
        let $lab = Lab::new().unwrap();
        let $server = Server::start(&$lab).unwrap();
        let $weir = Weir::in_lab(&$lab).unwrap();
        let policy = $weir.policy(&$policy).unwrap();
        let $daemon: Daemon<'_> = $weir.run_with(&["edge0"], &policy, &["--mode", $mode]).unwrap();
    };
}

fn demo() -> String {
    fs::read_to_string(demo_policy()).unwrap()
}

/// The demo's policy with another list of services, and more of the site.
fn with_services(services: &str) -> String {
    let demo = demo();
    let shop = demo.lines().find(|line| line.starts_with("  shop: ")).unwrap();
    demo.replace(shop, services)
}

fn flag(weir: &Weir<'_>, whom: &[&str]) -> String {
    weir.ask(&[&["block"], whom, &["--reason", "a test"]].concat()).unwrap()
}

/// A hello in two segments: such as browsers send since their key shares are post-quantum.
fn browser() -> RecordedHello {
    let hello = RecordedHello::of("chromium").unwrap();
    assert!(hello.stream.len() > 1448, "{} bytes fit in a segment", hello.stream.len());
    hello
}

fn shop(lab: &Lab, client: IpAddr) -> SocketAddr {
    lab.link().shop(if client.is_ipv4() { Family::V4 } else { Family::V6 })
}

/// Connections that the server's kernel holds open for an address.
fn open(lab: &Lab, address: IpAddr) -> usize {
    let sockets = sockets(lab.edge()).unwrap();
    sockets.iter().filter(|socket| socket.is_open() && socket.remote.ip() == address).count()
}

/// Everybody is answered.
fn assert_answered(lab: &Lab, hello: &RecordedHello, from: IpAddr, case: &str) {
    let answer = hello.say(lab, from, shop(lab, from), PATIENCE).unwrap();
    assert!(matches!(answer, Answer::Bytes(_)), "{case}: {answer:?}");
}

/// The server does not read the hello, and its connection ends there.
fn assert_stopped(lab: &Lab, server: &Server, hello: &RecordedHello, from: IpAddr, case: &str) {
    wait_until("earlier connections are gone", PATIENCE, || Ok(open(lab, from) <= 1)).unwrap();
    let before = server.visitor(from);
    let held = open(lab, from);
    let answer = hello.say(lab, from, shop(lab, from), IN_VAIN).unwrap();
    assert!(!matches!(answer, Answer::Bytes(_)), "{case}: {answer:?}");
    let after = server.visitor(from);
    assert_eq!(after.connections, before.connections + 1, "{case}: it came as far as that");
    assert_eq!(after.hellos, before.hellos, "{case}: the server read the hello");
    assert_eq!(open(lab, from), held, "{case}: the server holds its connection");
    assert_eq!(after.open, before.open, "{case}: the server did not notice its end");
}

#[test]
fn a_flagged_hello_of_two_segments_stays_unread_and_its_address_is_served() {
    require_root!("a_flagged_hello_of_two_segments_stays_unread_and_its_address_is_served");
    let (flagged, other) = (browser(), RecordedHello::of("curl").unwrap());
    for mode in ["xdp", "tc"] {
        scene!(lab, server, weir, _daemon, mode, demo());
        for from in SHARED {
            let names = [
                format!("ja4_r:{}", flagged.ja4_r),
                format!("ja4:{}", flagged.ja4),
                format!("stable:{}", flagged.stable),
            ];
            let mut session =
                Session::open(&lab, &server, from, shop(&lab, from), PATIENCE).unwrap();
            assert_answered(&lab, &flagged, from, "before");
            for name in &names {
                let case = format!("{mode}, {from}, {name}");
                let said = flag(&weir, &[name]);
                assert!(said.contains("1 verdict in force"), "{case}: {said}");
                session.ask().unwrap();
                assert_stopped(&lab, &server, &flagged, from, &case);
                session.ask().unwrap();
                visit(&lab, &server, from, PATIENCE).unwrap();
                assert_answered(&lab, &other, from, &case);
                let verdicts = weir.verdicts().unwrap().fingerprints;
                assert!(verdicts.len() == 1 && verdicts[0].hits > 0, "{case}: {verdicts:?}");
                weir.ask(&["unblock", name]).unwrap();
                assert_answered(&lab, &flagged, from, &case);
            }
            session.ask().unwrap();
        }
        assert!(weir.status().unwrap().packets("reset_to_server") >= 6, "{mode}");
    }
}

#[test]
fn a_ja4_that_nobody_was_seen_with_takes_effect_once_it_is() {
    require_root!("a_ja4_that_nobody_was_seen_with_takes_effect_once_it_is");
    scene!(lab, server, weir, _daemon);
    let flagged = browser();
    let [from, _] = SHARED;
    let said = flag(&weir, &[&format!("ja4:{}", flagged.ja4)]);
    assert!(said.contains("1 waiting"), "{said}");
    assert_answered(&lab, &flagged, from, "the first time");
    wait_until("the verdict takes effect", PATIENCE, || {
        Ok(weir.verdicts()?.fingerprints.iter().all(|verdict| verdict.state == "active"))
    })
    .unwrap();
    assert_stopped(&lab, &server, &flagged, from, "the second time");
    visit(&lab, &server, from, PATIENCE).unwrap();
}

/// A connection made by hand from where nobody lives, in frames that begin with `link`.
fn knock(lab: &Lab, link: Ethernet, from: IpAddr, port: u16) -> Handmade {
    let (wire, client) = (lab.wire().unwrap(), SocketAddr::new(from, port));
    Handmade::knock(wire, link, client, shop(lab, from)).unwrap()
}

/// Says something before a fingerprint is flagged, and afterwards: `say` gets an address and a port,
/// and returns its connection.
fn assert_unread_once_flagged(
    scene: (&Lab, &Server, &Weir<'_>),
    flagged: &RecordedHello,
    case: &str,
    say: impl Fn(IpAddr, u16) -> Handmade,
) {
    let (lab, server, weir) = scene;
    for (from, port) in NOBODY.into_iter().zip(5001..) {
        let heard = say(from, port).hear(PATIENCE).unwrap();
        assert!(heard > 0, "{case}, {from}: nobody is flagged");
    }
    let name = format!("ja4_r:{}", flagged.ja4_r);
    flag(weir, &[&name]);
    for (from, port) in NOBODY.into_iter().zip(5003..) {
        let before = server.visitor(from);
        let held = open(lab, from);
        let client = say(from, port);
        assert_eq!(client.hear(AT_ONCE).unwrap(), 0, "{case}, {from}");
        let ended = wait_until("its connection ends", SECOND, || Ok(open(lab, from) <= held));
        assert!(ended.is_ok(), "{case}, {from}: the server goes on listening");
        let after = server.visitor(from);
        assert_eq!(after.connections, before.connections + 1, "{case}, {from}");
        assert_eq!(after.hellos, before.hellos, "{case}, {from}: the server read the hello");
    }
    weir.ask(&["unblock", &name]).unwrap();
}

#[test]
fn a_tag_does_not_hide_a_hello() {
    require_root!("a_tag_does_not_hide_a_hello");
    let (flagged, other) = (browser(), RecordedHello::of("curl").unwrap());
    for mode in ["xdp", "tc"] {
        scene!(lab, server, weir, _daemon, mode, demo());
        // Of the tagged frames, a host without VLAN devices takes those that carry a priority only.
        let say = |from: IpAddr, port: u16, hello: &RecordedHello| {
            let client = knock(&lab, Ethernet::new().vlan(0), from, port);
            client.greet().unwrap();
            client.say(&hello.stream).unwrap();
            client
        };
        let scene = (&lab, &server, &weir);
        assert_unread_once_flagged(scene, &flagged, mode, |from, port| say(from, port, &flagged));
        flag(&weir, &[&format!("stable:{}", flagged.stable)]);
        for from in NOBODY {
            assert!(say(from, 6001, &other).hear(PATIENCE).unwrap() > 0, "{mode}, {from}");
            assert_eq!(say(from, 6002, &flagged).hear(AT_ONCE).unwrap(), 0, "{mode}, {from}");
        }
    }
}

#[test]
fn what_the_server_discards_does_not_stand_in_for_a_hello() {
    require_root!("what_the_server_discards_does_not_stand_in_for_a_hello");
    let (flagged, benign) = (browser(), RecordedHello::of("rustls").unwrap());
    assert!(benign.stream.len() < SEGMENT, "the decoy is a hello in one segment");
    for mode in ["xdp", "tc"] {
        scene!(lab, server, weir, _daemon, mode, demo());
        for (decoy, round) in Decoy::ALL.into_iter().zip(1..) {
            let scene = (&lab, &server, &weir);
            let case = format!("{mode}, {decoy:?}");
            assert_unread_once_flagged(scene, &flagged, &case, |from, port| {
                let client = knock(&lab, Ethernet::new(), from, port + 10 * round);
                client.greet().unwrap();
                client.deceive(decoy, &benign.stream).unwrap();
                client.say(&flagged.stream).unwrap();
                client
            });
        }
        let status = weir.status().unwrap();
        assert!(status.packets("hello_bad_checksum") > 0, "{mode}");
        assert!(status.packets("hello_old_timestamp") > 0, "{mode}");
    }
}

#[test]
fn a_hello_is_read_in_whatever_way_it_comes() {
    require_root!("a_hello_is_read_in_whatever_way_it_comes");
    let flagged = browser();
    let policy = demo().replace("stall: 2s", "stall: 300ms");
    for mode in ["xdp", "tc"] {
        scene!(lab, server, weir, _daemon, mode, policy);
        let scene = (&lab, &server, &weir);
        let case = format!("{mode}, its end first and without a third packet");
        assert_unread_once_flagged(scene, &flagged, &case, |from, port| {
            let client = knock(&lab, Ethernet::new(), from, port);
            client.say_reversed(&flagged.stream).unwrap();
            client
        });
        let case = format!("{mode}, its end after a stall");
        assert_unread_once_flagged(scene, &flagged, &case, |from, port| {
            let client = knock(&lab, Ethernet::new(), from, port + 10);
            client.greet().unwrap();
            client.say_slowly(&flagged.stream, Duration::from_millis(350)).unwrap();
            client
        });
    }
}

#[test]
fn behind_a_proxy_the_client_is_judged_and_not_the_proxy() {
    require_root!("behind_a_proxy_the_client_is_judged_and_not_the_proxy");
    let policy = with_services("  shop: {tcp: [443], behind: [lb]}").replace(
        "groups:",
        "proxies:\n  lb: {from: [203.0.113.250, \"2001:db8:113:fa::1\"], client: proxy-protocol}\n\n\
         groups:",
    );
    let flagged = browser();
    for (mode, version) in [("xdp", ProxyVersion::V1), ("tc", ProxyVersion::V2)] {
        scene!(lab, server, weir, _daemon, mode, policy);
        for (from, proxy) in SHARED.into_iter().zip(BALANCER) {
            let case = format!("{mode}, {version:?}, {from}");
            let to = shop(&lab, from);
            let balancer = Balancer::start(&lab, proxy, to, version).unwrap();
            let beside: IpAddr = match from {
                IpAddr::V4(_) => lab.link().client_v4(11).into(),
                IpAddr::V6(_) => lab.link().client_v6(11).into(),
            };
            let open = |from| Session::open(&lab, &server, from, balancer.address(), PATIENCE);

            // By fingerprint: the flagged client ends, another at the same address does not.
            let mut session =
                Session::open(&lab, &server, from, balancer.address(), SECOND).unwrap();
            let mut neighbour = open(beside).unwrap();
            let answer = flagged.say(&lab, from, balancer.address(), PATIENCE).unwrap();
            assert!(matches!(answer, Answer::Bytes(_)), "{case}: before: {answer:?}");
            let name = format!("ja4_r:{}", flagged.ja4_r);
            flag(&weir, &[&name]);
            let hellos = server.visitor(from).hellos;
            let answer = flagged.say(&lab, from, balancer.address(), IN_VAIN).unwrap();
            assert!(!matches!(answer, Answer::Bytes(_)), "{case}: {answer:?}");
            assert_eq!(server.visitor(from).hellos, hellos, "{case}: the server read the hello");
            session.ask().unwrap();
            open(from).unwrap().ask().unwrap();
            weir.ask(&["unblock", &name]).unwrap();

            // By address: what is open ends, what comes is refused, and others go on.
            flag(&weir, &[&from.to_string()]);
            assert!(session.ask().is_err(), "{case}: a blocked client was answered");
            wait_until("its connections ended", SECOND, || Ok(server.visitor(from).open == 0))
                .unwrap();
            assert!(Session::open(&lab, &server, from, balancer.address(), IN_VAIN).is_err());
            neighbour.ask().unwrap();
            open(beside).unwrap().ask().unwrap();
            weir.ask(&["unblock", &from.to_string()]).unwrap();
            open(from).unwrap().ask().unwrap();

            // The proxy is nobody.
            weir.refusal(&["block", &proxy.to_string(), "--reason", "a mistake"]).unwrap();
            let decisions = weir.decisions(100).unwrap();
            assert_eq!(decisions.of(proxy).count(), 0, "{case}: {decisions:?}");
            let status = weir.ask(&["status", "--format", "json"]).unwrap();
            assert!(!status.contains(&proxy.to_string()), "{case}: {status}");
            assert!(!weir.verdicts().unwrap().of(proxy).any(|verdict| verdict.restricts()));
        }
    }
}

#[test]
fn a_block_for_a_service_by_name_ends_what_asks_for_that_name() {
    require_root!("a_block_for_a_service_by_name_ends_what_asks_for_that_name");
    let services = "  shop: {tcp: [443], syn_guard: {rate: 200/s, burst: 400}}\n  \
                    login: {tcp: [443], sni: [login.test]}";
    for mode in ["xdp", "tc"] {
        scene!(lab, server, weir, _daemon, mode, with_services(services));
        for from in SHARED {
            let case = format!("{mode}, {from}");
            let asking = |name, patience| {
                let client = Client::new(server.trust(), from, patience).unwrap().asking_for(name);
                Session::of(&lab, &client, shop(&lab, from))
            };
            let mut at_login = asking("login.test", SECOND).unwrap();
            let mut at_shop = asking("www.test", PATIENCE).unwrap();
            flag(&weir, &[&from.to_string(), "--service", "login"]);

            // What was open at the service ends; the other one goes on.
            assert!(at_login.ask().is_err(), "{case}: the connection goes on");
            at_shop.ask().unwrap();

            // What comes is accepted, because its SYN says nothing, and ends at the hello.
            let before = server.visitor(from);
            assert!(asking("login.test", IN_VAIN).is_err(), "{case}");
            let after = server.visitor(from);
            assert_eq!(after.connections, before.connections + 1, "{case}");
            assert_eq!(after.hellos, before.hellos, "{case}: the server read the hello");
            asking("www.test", PATIENCE).unwrap().ask().unwrap();
            at_shop.ask().unwrap();

            weir.ask(&["unblock", &from.to_string()]).unwrap();
            asking("login.test", PATIENCE).unwrap().ask().unwrap();
        }
    }
}
