//! No brake is the attacker's to pull; and when policies wrongly refuse the trusted, the brake acts.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::{net::TcpSocket, runtime::Builder, task::JoinSet, time::timeout};
use weir_lab::{
    actors::visit,
    clock::{sleep, wait_until},
    net::{FLOOD_SOURCES, Family, Lab},
    packet::tcp,
    require_root,
    server::Server,
    weir::{Daemon, Weir},
};

/// How long a visitor waits for what it should get.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long somebody hostile waits for a handshake.
const IN_VAIN: Duration = Duration::from_millis(250);
/// How long before an incident the trusted had their sessions.
const BEFORE: Duration = Duration::from_secs(40);

/// Connections in ten seconds from which the policy drops a source.
const HAMMERING: usize = 8;

fn policy(rule: &str) -> String {
    format!(
        "kind: Site
services: {{shop: {{tcp: [443]}}}}
changes: at-once
brakes:
  trusted: {{before: 40s, sessions: 2, gap: 1s}}
  breaker: {{trusted_dropped_max: 1%, min_sources: 20, min_networks: 10, min_dropped_networks: 5, window: 60s, hold: 8s}}
  drop_share_alarm: 50%
ladders: {{default: [{{at: 50, action: drop, for: 10m}}]}}
---
kind: Policy
metadata: {{name: shop}}
applies: [shop]
rules:
  - {{name: hammering, points: 60, when: {rule}}}
"
    )
}

/// A lab whose clients have 10.0.0.0/8 to live in, with Weir on its edge. A macro, because the daemon
/// borrows the lab.
macro_rules! scene {
    ($lab:ident, $server:ident, $weir:ident, $daemon:ident) => {
        let $lab = Lab::new().unwrap();
        $lab.clients().ip("route add local 10.0.0.0/8 dev lo\n").unwrap();
        let $server = Server::start(&$lab).unwrap();
        let $weir = Weir::in_lab(&$lab).unwrap();
        let rule = format!("source.connections_10s >= {HAMMERING}");
        let $daemon: Daemon<'_> =
            $weir.run(&["edge0"], &$weir.policy(&policy(&rule)).unwrap()).unwrap();
    };
}

fn at(crowd: u8, network: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(10, crowd, network, host).into()
}

/// Two sessions of each, on two occasions.
fn season(lab: &Lab, server: &Server, who: &[IpAddr]) {
    for round in 0..2 {
        for address in who {
            visit(lab, server, *address, PATIENCE).unwrap();
        }
        if round == 0 {
            sleep(Duration::from_millis(1200));
        }
    }
}

fn brake(weir: &Weir<'_>) -> Value {
    serde_json::from_str(&weir.ask(&["brake", "status", "--format", "json"]).unwrap()).unwrap()
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {value}"))
}

fn is_dropped(weir: &Weir<'_>, address: IpAddr) -> bool {
    dropped(weir, &[address]) == 1
}

/// How many of them are dropped.
fn dropped(weir: &Weir<'_>, who: &[IpAddr]) -> usize {
    let verdicts = weir.verdicts().unwrap();
    let is_dropped = |address: &&IpAddr| verdicts.of(**address).any(|verdict| verdict.blocks());
    who.iter().filter(is_dropped).count()
}

/// Connections of each, as fast as it goes, until they are refused. Returns how many there were.
fn hammer(lab: &Lab, target: SocketAddr, who: &[IpAddr]) -> usize {
    let all = async {
        let mut bots: JoinSet<usize> =
            who.iter().map(|address| hammer_from(*address, target)).collect();
        let mut made = 0;
        while let Some(bot) = bots.join_next().await {
            made += bot.unwrap();
        }
        made
    };
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    lab.clients().run(|| runtime().block_on(all)).unwrap()
}

async fn hammer_from(address: IpAddr, target: SocketAddr) -> usize {
    for made in 0..HAMMERING + 4 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address, 0)).unwrap();
        let connected = timeout(IN_VAIN, socket.connect(target)).await;
        if !matches!(connected, Ok(Ok(_))) {
            return made;
        }
    }
    HAMMERING + 4
}

#[test]
fn with_95_percent_of_all_connections_hostile_no_brake_moves_and_the_trusted_are_served() {
    require_root!(
        "with_95_percent_of_all_connections_hostile_no_brake_moves_and_the_trusted_are_served"
    );
    scene!(lab, server, weir, daemon);
    let shop = lab.link().shop(Family::V4);

    // People, each at home in a network of its own; and an attacker who read how trust is earned, and
    // owns a few networks.
    let trusted: Vec<IpAddr> = (0..30).map(|network| at(1, network, 5)).collect();
    let seasoned: Vec<IpAddr> =
        (0..3).flat_map(|network| (1..=8).map(move |host| at(4, network, host))).collect();
    season(&lab, &server, &[trusted.as_slice(), &seasoned].concat());
    sleep(BEFORE);

    // Others made their good sessions only shortly before; most never made one.
    let decoys: Vec<IpAddr> = (0..20).map(|network| at(2, network, 7)).collect();
    season(&lab, &server, &decoys);
    let sharing: Vec<IpAddr> = (1..=120).map(|host| at(3, 0, host)).collect();
    let strangers: Vec<IpAddr> = (0..90).map(|network| at(5, network, 9)).collect();
    let hostile = [seasoned, decoys, sharing, strangers].concat();

    let before = weir.status().unwrap();
    let (mut made, mut visits) = (0, 0);
    let wire = lab.wire().unwrap();
    let mut port = 20_000u16;
    for (round, wave) in hostile.chunks(hostile.len().div_ceil(3)).enumerate() {
        made += hammer(&lab, shop, wave);
        // SYNs in the name of the trusted, and of those who have verdicts, and of nobody.
        for victim in trusted.iter().chain(wave) {
            for _ in 0..20 {
                port = port.checked_add(1).unwrap_or(20_000);
                let syn = tcp(SocketAddr::new(*victim, port), shop).syn().linux_options();
                wire.send_patiently(&syn.seq(u32::from(port)).build()).unwrap();
            }
        }
        for number in 0..2000 {
            let (base, _) = FLOOD_SOURCES;
            let nobody = Ipv4Addr::from_bits(base.to_bits() | number << 2 | round as u32);
            let from = SocketAddr::new(nobody.into(), 4711);
            let syn = tcp(from, shop).syn().linux_options();
            wire.send_patiently(&syn.build()).unwrap();
        }
        // Who is trusted is served, all of them.
        for person in &trusted {
            visit(&lab, &server, *person, PATIENCE).unwrap();
            visits += 1;
        }
    }

    let after = weir.status().unwrap();
    let all = after.events.established - before.events.established;
    println!(
        "{made} hostile connections and {visits} of the trusted, who were all served; {all} told by the \
         kernel; {:.1} % hostile",
        made as f64 * 100.0 / (made + visits) as f64
    );
    assert!(made * 100 >= (made + visits) * 95, "the hostile were to be many: {made}");
    let refused = dropped(&weir, &hostile);
    println!("{refused} of {} hostile sources are dropped", hostile.len());
    assert_eq!(refused, hostile.len(), "enforcement stays on");
    assert_eq!(after.mode.effective, "enforce");
    let brake = brake(&weir);
    println!("{brake:#}");
    assert_eq!((brake["state"].as_str(), number(&brake, "/trips")), (Some("closed"), 0));
    // It was not for want of a sample.
    assert_eq!(brake["sample_suffices"], Value::Bool(true));
    assert!(number(&brake, "/harm/sources/seen") >= 30, "{brake}");
    assert!(number(&brake, "/harm/networks/dropped") <= 3, "{brake}");
    assert!(!daemon.log().contains("breaker is open"), "{}", daemon.log());
    assert_eq!(dropped(&weir, &trusted), 0);
    assert_eq!(hammer(&lab, shop, &hostile[..3]), 0, "the hostile are still refused");
}

#[test]
fn when_a_policy_wrongly_refuses_the_trusted_the_breaker_acts_within_seconds() {
    require_root!("when_a_policy_wrongly_refuses_the_trusted_the_breaker_acts_within_seconds");
    scene!(lab, server, weir, daemon);
    let trusted: Vec<IpAddr> = (0..36).map(|network| at(1, network, 5)).collect();
    season(&lab, &server, &trusted);
    sleep(BEFORE);
    for person in &trusted {
        visit(&lab, &server, *person, PATIENCE).unwrap();
    }

    // Somebody changes a number, and promotes it at once.
    let file = weir.policy(&policy("source.connections_10s >= 1")).unwrap();
    daemon.signal(Signal::SIGHUP).unwrap();
    let reloaded = || Ok(daemon.log().contains("policy reloaded"));
    wait_until("the policy is read", PATIENCE, reloaded).unwrap();
    let began = Instant::now();
    let mut lost = 0;
    for person in &trusted {
        lost += usize::from(visit(&lab, &server, *person, Duration::from_secs(1)).is_err());
        if weir.status().unwrap().mode.effective != "enforce" {
            break;
        }
    }
    let took = began.elapsed();
    println!("{lost} visits were lost before the breaker acted, {} ms later", took.as_millis());
    let opened = brake(&weir);
    println!("{opened:#}");
    assert_eq!((opened["state"].as_str(), number(&opened, "/trips")), (Some("open"), 1));
    // A visit can be over before its verdict is there.
    assert!((1..=6).contains(&lost), "five networks are enough, and {lost} visits were lost");
    assert!(number(&opened, "/harm/networks/dropped") >= 5, "{opened}");
    let journal = weir.ask(&["journal", "show", "--kind", "brake", "--format", "json"]).unwrap();
    assert!(journal.contains("tripped"), "{journal}");
    assert!(weir.ask(&["ready"]).is_err(), "nothing is enforced, and readiness says so");

    // Everybody is served again, at once; also who has a verdict.
    for person in &trusted {
        visit(&lab, &server, *person, PATIENCE).unwrap();
    }
    // Enforcement would do the same harm, so it does not come back by itself.
    wait_until("the hold is over", Duration::from_secs(20), || {
        Ok(daemon.log().contains("the breaker stays open"))
    })
    .unwrap();
    visit(&lab, &server, trusted[0], PATIENCE).unwrap();

    // The policy is put right; what it did to the trusted is undone when the breaker closes.
    let rule = format!("source.connections_10s >= {HAMMERING}");
    fs::write(&file, policy(&rule)).unwrap();
    daemon.signal(Signal::SIGHUP).unwrap();
    sleep(Duration::from_secs(1));
    let closed: Value =
        serde_json::from_str(&weir.ask(&["brake", "reset", "--format", "json"]).unwrap()).unwrap();
    assert_eq!(closed["state"].as_str(), Some("closed"));
    assert_eq!(weir.status().unwrap().mode.effective, "enforce");
    assert_eq!(dropped(&weir, &trusted), 0, "lifted");
    sleep(Duration::from_secs(10));
    visit(&lab, &server, trusted[0], PATIENCE).unwrap();
    // And whoever is hostile is refused.
    let bot = at(7, 1, 1);
    hammer(&lab, lab.link().shop(Family::V4), &[bot]);
    wait_until("the bot is dropped", PATIENCE, || Ok(is_dropped(&weir, bot))).unwrap();
}

#[test]
fn a_label_lifts_a_verdict_at_once_and_is_kept_with_what_was_known() {
    require_root!("a_label_lifts_a_verdict_at_once_and_is_kept_with_what_was_known");
    scene!(lab, server, weir, daemon);
    let person = at(1, 1, 1);
    hammer(&lab, lab.link().shop(Family::V4), &[person]);
    wait_until("it is dropped", PATIENCE, || Ok(is_dropped(&weir, person))).unwrap();
    assert!(visit(&lab, &server, person, Duration::from_secs(1)).is_err());

    let decisions: Value =
        serde_json::from_str(&weir.ask(&["decisions", "--format", "json"]).unwrap()).unwrap();
    let id = decisions["decisions"][0]["id"].as_str().unwrap().to_owned();
    let said = weir.ask(&["label", &id, "human", "--why", "ticket 4711"]).unwrap();
    assert!(said.starts_with("1 label taken, 1 verdict lifted"), "{said}");
    assert!(!is_dropped(&weir, person));
    visit(&lab, &server, person, PATIENCE).unwrap();

    // It goes on as before, and is not refused again: that would be the same mistake twice.
    hammer(&lab, lab.link().shop(Family::V4), &[person]);
    visit(&lab, &server, person, PATIENCE).unwrap();
    let shown = weir.ask(&["decisions"]).unwrap();
    assert!(shown.contains("labelled human: a false positive"), "{shown}");

    // Kept, also over a restart.
    daemon.terminate().unwrap();
    let rule = format!("source.connections_10s >= {HAMMERING}");
    let _daemon = weir.run(&["edge0"], &weir.policy(&policy(&rule)).unwrap()).unwrap();
    let line = weir.ask(&["labels", "--export"]).unwrap();
    let label: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(
        (label["source"].as_str(), label["label"].as_str(), label["why"].as_str()),
        (Some("10.1.1.1"), Some("human"), Some("ticket 4711"))
    );
    assert_eq!(label["decision"].as_str(), Some(id.as_str()));
    let features = &label["observed"][0]["features"];
    assert!(features["source.connections_10s"].as_f64() >= Some(8.0), "{label}");
    assert!(label["observed"][0]["policies"]["shop"].is_string(), "{label}");
    hammer(&lab, lab.link().shop(Family::V4), &[person]);
    visit(&lab, &server, person, PATIENCE).unwrap();

    // A file with bad lines changes nothing, and says which they are.
    let file = lab.directory().join("labels.txt");
    fs::write(&file, "10.1.1.1 bot\n10.1.1.2 robot\n0000000000000000 bot\n").unwrap();
    let refusal = weir.refusal(&["label", "--file", &file.display().to_string()]).unwrap();
    assert!(refusal.said.contains("labels.txt:2: `robot` is neither"), "{}", refusal.said);
    visit(&lab, &server, person, PATIENCE).unwrap();
}
