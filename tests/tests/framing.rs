//! Nobody can be framed: whatever is sent in somebody else's name, that somebody stays untouched
//! and is served.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use weir_lab::{
    actors::{Session, SynScanner, Troupe, visit},
    clock::{sleep, wait_until},
    forgery::Forgery,
    net::{Family, Lab, Wire},
    packet::{Tcp, tcp},
    require_root,
    server::Server,
    weir::{Status, Weir, demo_policy},
};

/// How often each forgery is committed.
const ROUNDS: u16 = 5;

/// Shorter than the first retransmission of a SYN (1 s): whoever is served within it was not held
/// back at all.
const AT_ONCE: Duration = Duration::from_millis(700);

/// How long a visitor waits for anything.
const PATIENCE: Duration = Duration::from_secs(5);

/// The last answers of the server to forged packets are out by then.
const SETTLED: Duration = Duration::from_millis(30);

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

#[test]
fn forgeries_prove_nothing_without_cookies() {
    require_root!("forgeries_prove_nothing_without_cookies");
    every_forgery_in_the_name_of_someone_who_is_not_there(0);
}

#[test]
fn forgeries_prove_nothing_with_cookies_under_pressure() {
    require_root!("forgeries_prove_nothing_with_cookies_under_pressure");
    every_forgery_in_the_name_of_someone_who_is_not_there(1);
}

#[test]
fn forgeries_prove_nothing_with_cookies_always() {
    require_root!("forgeries_prove_nothing_with_cookies_always");
    every_forgery_in_the_name_of_someone_who_is_not_there(2);
}

fn every_forgery_in_the_name_of_someone_who_is_not_there(cookies: u8) {
    let lab = Lab::builder().sysctl("net/ipv4/tcp_syncookies", cookies).build().unwrap();
    let server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let _daemon = weir.run(&[lab.link().edge_interface], &demo_policy()).unwrap();
    let wire = lab.wire().unwrap();
    let cases = FAMILIES.into_iter().flat_map(|family| Forgery::ALL.map(|what| (family, what)));
    for ((family, forgery), number) in cases.zip(1u8..) {
        let case = format!("{forgery:?} over {family:?}, tcp_syncookies={cookies}");
        let (victim, target) = (nobody(family, number), lab.link().shop(family));
        let before = weir.status().unwrap();

        // Somebody acts in the victim's name, more than once.
        for round in 0..ROUNDS {
            forgery.commit(&wire, victim, target, round).unwrap();
        }
        sleep(SETTLED);

        // The packets were there, and nothing came of them.
        let after = weir.status().unwrap();
        assert!(seen(&after) >= seen(&before) + u64::from(ROUNDS), "{case}: nothing arrived");
        assert_eq!(after.proofs(), before.proofs(), "{case}: proved something");
        assert_eq!(sources(&after), sources(&before), "{case}: memory was spent on it");
        assert_untouched(&weir, victim, &case);

        // The victim comes, and is served as if nothing had been; and this is what proof looks like.
        move_in(&lab, victim);
        let took = visit(&lab, &server, victim, PATIENCE).unwrap();
        assert!(took < AT_ONCE, "{case}: the victim was held back for {took:?}");
        let served = weir.status().unwrap();
        assert_eq!(served.proofs(), before.proofs() + 1, "{case}: the victim's visit is proof");
        assert_eq!(sources(&served), sources(&before) + 1, "{case}");
    }
}

#[test]
fn a_proven_visitors_connection_survives_what_is_forged_in_its_name() {
    require_root!("a_proven_visitors_connection_survives_what_is_forged_in_its_name");
    for family in FAMILIES {
        let lab = Lab::new().unwrap();
        let server = Server::start(&lab).unwrap();
        let weir = Weir::in_lab(&lab).unwrap();
        let _daemon = weir.run(&[lab.link().edge_interface], &demo_policy()).unwrap();
        let wire = lab.wire().unwrap();
        let (visitor, shop) = (client(&lab, family, 11), lab.link().shop(family));

        // A visitor is in the middle of a visit.
        let mut session = Session::open(&lab, &server, visitor, shop, PATIENCE).unwrap();
        session.ask().unwrap();
        let before = weir.status().unwrap();

        // Somebody who cannot see it sends what might end it, all over the sequence space.
        let own = session.local().unwrap();
        for part in 0..16u32 {
            let forged = |from| tcp(from, shop).seq(part.wrapping_mul(0x1000_0001));
            for segment in blind(&forged(own)) {
                wire.send(&segment.build()).unwrap();
            }
            // And SYNs and resets from ports on which there is nothing.
            let other = SocketAddr::new(visitor, 30_000 + part as u16);
            wire.send(&forged(other).syn().linux_options().build()).unwrap();
            wire.send(&forged(other).rst().build()).unwrap();
        }
        sleep(SETTLED);

        // It was seen for what it is, the visit goes on, and the next one is served at once.
        let after = weir.status().unwrap();
        let strange = after.packets("out_of_window") - before.packets("out_of_window");
        assert!(strange >= 16, "{family:?}: only {strange} segments counted as out of window");
        assert_eq!(after.events.closed, before.events.closed, "{family:?}: a forged end");
        assert_eq!(after.proofs(), before.proofs(), "{family:?}");
        session.ask().unwrap();
        let took = visit(&lab, &server, visitor, PATIENCE).unwrap();
        assert!(took < AT_ONCE, "{family:?}: {took:?}");
        assert_untouched(&weir, visitor, "a proven visitor");
    }
}

/// What a blind attacker can send on somebody's connection.
fn blind(segment: &Tcp) -> [Tcp; 5] {
    [
        segment.clone().rst(),
        segment.clone().rst().ack(1),
        segment.clone().fin().ack(1),
        segment.clone().psh().ack(1).payload(b"GET / HTTP/1.1\r\n\r\n"),
        segment.clone().syn().linux_options(),
    ]
}

#[test]
fn a_scan_in_a_proven_visitors_name_costs_it_nothing() {
    require_root!("a_scan_in_a_proven_visitors_name_costs_it_nothing");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let _daemon = weir.run(&[lab.link().edge_interface], &demo_policy()).unwrap();
    for (family, host) in [(Family::V4, 11), (Family::V6, 12)] {
        let visitor = client(&lab, family, host);
        visit(&lab, &server, visitor, PATIENCE).unwrap();
        let wire = lab.wire().unwrap();

        // Somebody scans in the visitor's name, until Weir has made up its mind about it.
        let mut knock = 0;
        wait_until("the scan has consequences", PATIENCE, || {
            for _ in 0..20 {
                knock += 1;
                scan(&wire, visitor, lab.link().shop(family), knock)?;
            }
            Ok(weir.verdicts()?.of(visitor).any(|verdict| verdict.restricts()))
        })
        .unwrap();

        // They are for SYNs of sources that proved nothing: this one did, and is served at once.
        for visit_number in 0..20 {
            for _ in 0..5 {
                knock += 1;
                scan(&wire, visitor, lab.link().shop(family), knock).unwrap();
            }
            let took = visit(&lab, &server, visitor, PATIENCE).unwrap();
            assert!(took < AT_ONCE, "visit {visit_number} over {family:?} took {took:?}");
        }
        assert!(!weir.verdicts().unwrap().of(visitor).any(|verdict| verdict.blocks()));
    }
    assert_eq!(weir.status().unwrap().packets("limit_unproven"), 0);
}

#[test]
fn a_scan_in_a_strangers_name_delays_its_first_visit_by_a_retransmission() {
    require_root!("a_scan_in_a_strangers_name_delays_its_first_visit_by_a_retransmission");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let _daemon = weir.run(&[lab.link().edge_interface], &demo_policy()).unwrap();
    let victim = client(&lab, Family::V4, 99);

    // Somebody scans in the victim's name, and goes on doing so.
    let lasting = Duration::from_secs(10);
    let scan = Troupe::new()
        .with(SynScanner { address: victim, per_second: 400, lasting })
        .play(&lab, &server)
        .unwrap();
    wait_until("the scan's SYNs are held back", PATIENCE, || {
        Ok(weir.status()?.packets("limit_unproven") > 20)
    })
    .unwrap();

    // The victim's SYN is held back too, but not its retransmission.
    let took = visit(&lab, &server, victim, PATIENCE).unwrap();
    println!("a first visit under a scan in the visitor's name took {} ms", took.as_millis());
    assert!(took < Duration::from_millis(2500), "{took:?}");

    // From then on it is proven, and the scan is nothing to it.
    for _ in 0..5 {
        let took = visit(&lab, &server, victim, PATIENCE).unwrap();
        assert!(took < AT_ONCE, "{took:?}");
    }
    assert!(!weir.verdicts().unwrap().of(victim).any(|verdict| verdict.blocks()));
    scan.stop().unwrap();
}

/// One SYN of a scan: every fifth to the shop, the others wherever.
fn scan(wire: &Wire, victim: IpAddr, shop: SocketAddr, knock: u16) -> anyhow::Result<()> {
    let port = if knock.is_multiple_of(5) { shop.port() } else { 1000 + knock };
    let from = SocketAddr::new(victim, 20_000 + knock);
    let target = SocketAddr::new(shop.ip(), port);
    wire.send(&tcp(from, target).syn().seq(u32::from(knock)).linux_options().build())
}

/// An address at which nobody lives, so that nobody answers what the server sends there.
fn nobody(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([198, 18, 7, number]),
        // Every /64 is a source of its own.
        Family::V6 => IpAddr::from([0x2001, 0xdb8, 0xbad, u16::from(number), 0, 0, 0, 7]),
    }
}

/// From now on somebody lives there.
fn move_in(lab: &Lab, address: IpAddr) {
    lab.clients().ip(&format!("route add local {address} dev lo\n")).unwrap();
}

fn client(lab: &Lab, family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => lab.link().client_v4(number).into(),
        Family::V6 => lab.link().client_v6(number.into()).into(),
    }
}

fn seen(status: &Status) -> u64 {
    status.services.iter().map(|service| service.passed.packets).sum()
}

fn sources(status: &Status) -> u64 {
    status.map("SOURCES").and_then(|map| map.entries).unwrap()
}

fn assert_untouched(weir: &Weir<'_>, address: IpAddr, case: &str) {
    let verdicts = weir.verdicts().unwrap();
    let touching: Vec<_> = verdicts.of(address).collect();
    assert!(touching.is_empty(), "{case}: {touching:?}");
}
