//! Lookups, with a real nginx: who was marked is challenged, and who passes the challenge is left
//! alone.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{fs, net::Ipv4Addr, time::Duration};

use weir_lab::{
    challenge::{Nginx, Shop, Visitor},
    clock::wait_until,
    net::Lab,
    require_root,
    weir::{Daemon, Weir},
};

const BOT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 66);
const PERSON: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 11);

/// How long a decision may take on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// A mark for whoever makes eight connections in ten seconds, and trust for whoever passed the
/// challenge.
const POLICY: &str = "
kind: Site
services: {shop: {tcp: [80]}}
lookup: {listen: 127.0.0.1:8765}
ladders:
  default:
    - {at: 30, action: mark, for: 10m}
    - {at: 80, action: drop, for: 10m}
---
kind: Policy
metadata: {name: shop}
applies: [shop]
rules:
  - name: many-connections
    points: 40
    when: source.connections_10s >= 8
  - name: passed-a-challenge
    points: -40
    when: source.challenge_passed_1h >= 1
";

/// A lab with Weir, nginx and the shop behind it on its edge. A macro, because the daemon borrows the
/// lab.
macro_rules! scene {
    ($policy:expr; $lab:ident, $weir:ident, $daemon:ident, $shop:ident, $nginx:ident) => {
        let $lab = Lab::new().unwrap();
        let $weir = Weir::in_lab(&$lab).unwrap();
        let policy = $weir.policy($policy).unwrap();
        let $daemon: Daemon<'_> = $weir.run(&["edge0"], &policy).unwrap();
        let $shop = Shop::start(&$lab).unwrap();
        let $nginx = Nginx::start(&$lab).unwrap();
    };
}

/// Asks for pages until Weir has decided about the visitor; how many pages of the shop it got.
fn hammer(weir: &Weir<'_>, visitor: &Visitor<'_>, address: Ipv4Addr) -> u64 {
    let mut pages = 0;
    for _ in 0..8 {
        pages += u64::from(visitor.get("/", "").unwrap().status == 200);
    }
    wait_until("the visitor is decided about", SOON, || {
        Ok(weir.decisions(10)?.of(address.into()).next().is_some())
    })
    .unwrap();
    pages
}

#[test]
fn a_bot_is_challenged_and_a_person_who_passes_is_left_alone() {
    require_root!("a_bot_is_challenged_and_a_person_who_passes_is_left_alone");
    scene!(POLICY; lab, weir, daemon, shop, nginx);
    let bot = Visitor::at(&lab, BOT.into());
    let person = Visitor::at(&lab, PERSON.into());

    // Both do too much at once. Until that, nobody was held back.
    assert!(hammer(&weir, &bot, BOT) >= 7, "{}", nginx.log());
    assert!(hammer(&weir, &person, PERSON) >= 7);
    let marked = weir.verdicts().unwrap();
    assert!(marked.of(BOT.into()).all(|verdict| verdict.action == "mark"), "{marked:?}");

    // Both get the challenge instead of the page, whatever they say of themselves.
    let pretence = "X-Real-IP: 203.0.113.99\r\nX-Forwarded-For: 203.0.113.99\r\n";
    for visitor in [&bot, &person] {
        let page = visitor.get("/page?address=203.0.113.99", pretence).unwrap();
        assert_eq!(
            (page.status, page.body.starts_with("challenge: ")),
            (401, true),
            "{page:?}\n{}\n{}",
            nginx.log(),
            weir.ask(&["verdicts"]).unwrap()
        );
    }
    // The bot does not look at it, or answers anything.
    let pages = shop.visit(BOT.into()).pages;
    assert_eq!(bot.get("/challenge/answer/0000000000000000", "").unwrap().status, 403);
    for _ in 0..5 {
        assert_eq!(bot.get("/", "").unwrap().status, 401);
    }
    assert_eq!(shop.visit(BOT.into()).pages, pages);

    // Why, for the one who is asked about it.
    let id = weir.decisions(10).unwrap().of(BOT.into()).next().unwrap().id.clone();
    for whom in [&BOT.to_string(), &id] {
        let why = weir.ask(&["explain", whom]).unwrap();
        for part in ["in force: mark", "+40  many-connections", "passed-a-challenge would take 40"]
        {
            assert!(why.contains(part), "{part:?} is missing:\n{why}");
        }
    }

    // The person answers, and is left alone from then on, though it goes on as before.
    let challenge = person.get("/", "").unwrap();
    assert_eq!(person.solve(&challenge).unwrap().status, 204);
    wait_until("the person is let in", SOON, || Ok(person.get("/", "")?.status == 200)).unwrap();
    let challenges = shop.visit(PERSON.into()).challenges;
    for _ in 0..10 {
        assert_eq!(person.get("/", "").unwrap().status, 200);
    }
    assert_eq!(shop.visit(PERSON.into()).challenges, challenges);
    assert_eq!(weir.verdicts().unwrap().of(PERSON.into()).count(), 0, "the mark is gone");
    assert_eq!(bot.get("/", "").unwrap().status, 401, "and the bot's is not");

    // Too long a request is no way around the question.
    let cookie = format!("Cookie: {}\r\n", "x".repeat(7000)).repeat(3);
    assert_eq!(bot.get("/", &cookie).unwrap().status, 401);
    // An operator's word counts here too.
    weir.ask(&["block", "203.0.113.77", "--action", "mark", "--reason", "a test"]).unwrap();
    let third = Visitor::at(&lab, Ipv4Addr::new(203, 0, 113, 77).into());
    assert_eq!(third.get("/", "").unwrap().status, 401);

    // Without the daemon the shop is open, as the configuration says.
    daemon.kill().unwrap();
    let page = bot.get("/", "").unwrap();
    assert_eq!((page.status, page.body.as_str()), (200, "the shop"));
}

#[test]
fn a_policy_that_observes_changes_nothing() {
    require_root!("a_policy_that_observes_changes_nothing");
    let policy = POLICY.replace("applies: [shop]\n", "applies: [shop]\nstage_max: monitor\n");
    assert_ne!(policy, POLICY);
    scene!(&policy; lab, weir, _daemon, shop, nginx);
    let bot = Visitor::at(&lab, BOT.into());
    assert_eq!(hammer(&weir, &bot, BOT), 8, "{}", nginx.log());
    for _ in 0..5 {
        assert_eq!(bot.get("/", "").unwrap().status, 200);
    }
    let visit = shop.visit(BOT.into());
    assert_eq!((visit.challenges, visit.would.as_str()), (0, "mark"), "{visit:?}");
}

#[test]
fn an_address_that_others_can_reach_or_that_is_taken_is_refused() {
    require_root!("an_address_that_others_can_reach_or_that_is_taken_is_refused");
    scene!(POLICY; lab, weir, daemon, _shop, _nginx);
    // A reload that would tell everybody, or nobody, changes nothing.
    for (listen, said) in [("0.0.0.0:8765", "this host only"), ("127.0.0.1:80", "another port")] {
        weir.policy(&POLICY.replace("127.0.0.1:8765", listen)).unwrap();
        daemon.signal(nix::sys::signal::Signal::SIGHUP).unwrap();
        wait_until("the status says so", SOON, || {
            Ok(weir.status()?.warnings.iter().any(|warning| warning.contains(said)))
        })
        .unwrap();
        let visitor = Visitor::at(&lab, PERSON.into());
        assert_eq!(visitor.get("/", "").unwrap().status, 200);
    }
    // One that is free is used from then on, and the one before is not.
    weir.policy(&POLICY.replace("8765", "8766")).unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGHUP).unwrap();
    let answers =
        |port: u16| lab.edge().run(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    wait_until("it is answered at the other port", SOON, || answers(8766)).unwrap();
    wait_until("and no more at the first", SOON, || Ok(!answers(8765)?)).unwrap();
    assert!(fs::metadata(lab.run_dir().join("lookup.sock")).is_ok());
    daemon.terminate().unwrap();
    assert!(fs::metadata(lab.run_dir().join("lookup.sock")).is_err());
}
