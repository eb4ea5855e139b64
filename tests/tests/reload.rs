//! Another policy under load: a broken one changes nothing, a good one all at once, and nobody is held
//! back who would be held back by neither.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use weir_lab::{
    actors::{Campaign, HealthChecker, Partner, Person, Playing, Troupe},
    clock::{monotonic_ns, sleep, wait_until},
    net::Lab,
    require_root,
    server::Server,
    weir::{Chronicle, Daemon, Decision, Weir},
};

/// How often the file changes.
const RELOADS: usize = 20;
/// How long each stays in place.
const STAYS: Duration = Duration::from_millis(1200);
/// How long a reload may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Everything lasts so long.
const LASTING: Duration = Duration::from_secs(60);

/// An event that lies in the ring buffer when a reload is asked for is decided by the new policy.
const LATE: u64 = 1_000_000_000;

/// A policy that can be told by everything that is in its decisions.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Edition {
    letter: char,
    owasp: &'static str,
    /// Points of two rules that a bot meets, and of one that the partner's program meets.
    points: [f64; 3],
    /// For how long a bot is dropped, in seconds.
    for_s: f64,
}

const A: Edition =
    Edition { letter: 'a', owasp: "OAT-008", points: [50.0, 35.0, 45.0], for_s: 600.0 };
const B: Edition =
    Edition { letter: 'b', owasp: "OAT-007", points: [65.0, 25.0, 40.0], for_s: 1200.0 };

impl Edition {
    fn text(self) -> String {
        let Self { letter, owasp, points: [often, again, steady], for_s } = self;
        // The rules of both are about the same traffic: points of both together would drop the partner.
        format!(
            "\
kind: Site
services:
  shop: {{tcp: [443]}}
  api: {{tcp: [8443]}}
ladders:
  careful:
    - {{at: 30, action: mark, for: 10m}}
    - {{at: 80, action: drop, for: {for_s}s}}
defaults: {{ladder: careful}}
---
kind: Policy
metadata: {{name: shop-{letter}}}
applies: [shop]
rules:
  - {{name: {letter}-often, owasp: [{owasp}], points: {often}, when: source.connections_1s >= 5}}
  - {{name: {letter}-again, owasp: [{owasp}], points: {again}, when: source.connections_10s >= 5}}
---
kind: Policy
metadata: {{name: api-{letter}}}
applies: [api]
rules:
  - {{name: {letter}-steady, owasp: [{owasp}], points: {steady}, when: source.connections_10s >= 60}}
"
        )
    }

    /// The edition whose decision this is. Fails if it is of both.
    fn of(decision: &Decision) -> Self {
        let edition = [A, B].into_iter().find(|it| decision.policy.ends_with(it.letter)).unwrap();
        let [often, again, steady] = edition.points;
        let is_of_api = decision.policy.starts_with("api");
        for factor in decision.factors.iter().filter(|factor| factor.name != "cap") {
            assert!(factor.name.starts_with(edition.letter), "of both: {decision:?}");
            let known = if is_of_api { [steady, steady] } else { [often, again] };
            assert!(known.contains(&factor.points), "of both: {decision:?}");
        }
        let sum: f64 = decision.factors.iter().map(|factor| factor.points).sum();
        assert!((sum - decision.score).abs() < 0.01, "{decision:?}");
        assert_eq!(decision.owasp, [edition.owasp], "of both: {decision:?}");
        if decision.action == "drop" {
            // Nobody comes twice, so no term is doubled.
            assert!((decision.for_s - edition.for_s).abs() < 0.01, "of both: {decision:?}");
        }
        edition
    }
}

/// What can be wrong with a file.
const BROKEN: [(&str, &str); 4] = [
    ("when: source.connections_1s", "when: source.conections_1s"),
    ("ladder: careful", "ladder: carefull"),
    ("kind: Site", "kind: Site\n  odd: [indent"),
    ("at: 80", "at: 20"),
];

/// Puts a file where the policy is, as an editor does: all of it at once.
fn put(file: &Path, text: &str) {
    let draft = file.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, file).unwrap();
}

fn offenders(lab: &Lab) -> Vec<IpAddr> {
    (60..180).map(|host| lab.link().client_v4(host).into()).collect()
}

/// Honest people and programs, and an address that was never seen before with its tries, again and
/// again.
fn play(lab: &Lab, server: &Server) -> Playing {
    let at = |host| IpAddr::from(lab.link().client_v4(host));
    let lasting = LASTING;
    let tries = Campaign {
        addresses: offenders(lab),
        tries: 9,
        pause: Duration::from_millis(40),
        lasting: lasting - Duration::from_secs(4),
    };
    Troupe::new()
        .with_all((11..17).map(|host| Person { address: at(host), lasting }))
        .with(Person { address: lab.link().client_v6(0x11).into(), lasting })
        .with(HealthChecker { address: at(9), lasting })
        .with(Partner { address: at(200), per_second: 20, lasting })
        .with_all(tries.members())
        .play(lab, server)
        .unwrap()
}

/// Asks for a reload and waits until it was tried: the moment by which it was.
fn reload(weir: &Weir<'_>, daemon: &Daemon<'_>, is_good: bool) -> u64 {
    let before = weir.status().unwrap().policy;
    daemon.signal(Signal::SIGHUP).unwrap();
    let mut said = None;
    let tried = wait_until("the policy is read again", PATIENCE, || {
        let policy = weir.status()?.policy;
        said = Some(policy.clone());
        Ok(if is_good { policy.loaded_at != before.loaded_at } else { policy != before })
    });
    assert!(tried.is_ok(), "is good: {is_good}, before: {before:?}, now: {said:?}");
    let policy = said.unwrap();
    assert_eq!(policy.reload_error.is_none(), is_good, "{policy:?}");
    if !is_good {
        assert_eq!(policy.loaded_at, before.loaded_at, "the last good one is in force");
    }
    monotonic_ns()
}

#[test]
fn a_policy_changes_at_once_or_not_at_all_while_packets_come() {
    require_root!("a_policy_changes_at_once_or_not_at_all_while_packets_come");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let file = weir.policy(&A.text()).unwrap();
    let daemon = weir.run(&["edge0"], &file).unwrap();
    let playing = play(&lab, &server);
    let began = Instant::now();
    let mut chronicle = Chronicle::default();

    // Which edition is in force from when on, and until when the one before may be.
    let (mut force, mut history) = (A, vec![(A, 0, 0)]);
    for number in 0..RELOADS {
        sleep(STAYS);
        let asked = monotonic_ns();
        if number % 3 == 1 {
            let (good, bad) = BROKEN[number / 3 % BROKEN.len()];
            let broken = force.text().replacen(good, bad, 1);
            assert_ne!(broken, force.text());
            put(&file, &broken);
            reload(&weir, &daemon, false);
            put(&file, &force.text());
        } else {
            force = if force == A { B } else { A };
            put(&file, &force.text());
            let done = reload(&weir, &daemon, true);
            history.push((force, asked, done));
        }
        chronicle.look(&weir).unwrap();
    }
    // The last one was broken; what is in place by now is not.
    reload(&weir, &daemon, true);
    sleep(STAYS);
    assert!(!playing.is_over(), "traffic came until the last reload");
    let reloaded = began.elapsed();
    let reports = playing.finish().unwrap();
    chronicle.look(&weir).unwrap();

    // Every decision is of one edition, and of the one in force.
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    let (mut changes, mut last) = (0, None);
    let mut decisions: BTreeMap<char, usize> = BTreeMap::new();
    for decision in chronicle.all() {
        let edition = Edition::of(decision);
        *decisions.entry(edition.letter).or_default() += 1;
        let version = versions.entry(decision.policy.clone()).or_insert(decision.version.clone());
        assert_eq!(*version, decision.version, "of both: {decision:?}");
        changes += usize::from(last.is_some_and(|last| last != edition));
        last = Some(edition);
        let place = history.iter().rposition(|(_, _, done)| *done <= decision.at_ns).unwrap();
        // Between request and confirmation it may be either.
        let may_be = &history[place..history.len().min(place + 2)];
        assert!(
            may_be.iter().any(|(it, asked, _)| *it == edition && *asked <= decision.at_ns + LATE),
            "not in force: {decision:?}, {may_be:?}"
        );
    }
    println!(
        "{RELOADS} reloads in {} s, {} of them good; decisions {decisions:?}, {changes} changes",
        reloaded.as_secs(),
        history.len() - 1,
    );
    assert!(changes < history.len(), "{changes} changes by {} policies", history.len());
    assert!(changes > 2 && decisions.values().all(|count| *count > 10), "{decisions:?}");
    assert!(versions.values().all(|version| !version.is_empty()), "{versions:?}");

    // Whom both would drop is dropped, nobody else is, and everybody else is served.
    let bad = offenders(&lab);
    for decision in chronicle.all().filter(|decision| decision.action != "mark") {
        assert!(bad.contains(&decision.prefix.addr()), "{decision:?}");
    }
    let dropped = bad.iter().filter(|address| chronicle.first_to_restrict(**address).is_some());
    let dropped = dropped.count();
    assert!(dropped == bad.len(), "{dropped} of {} bots were found", bad.len());
    for report in reports.iter().filter(|report| report.is_honest) {
        assert!(report.is_fully_served(), "{report:?}");
    }
    let status = weir.status().unwrap();
    assert_eq!(status.policy.reload_error, None);
    assert_eq!(status.events.lost, 0);
    assert_eq!(status.mode.effective, "enforce");
}
