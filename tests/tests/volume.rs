//! The shipped policy at volume: people, browsers, crowds, partners and monitors, direct, behind a
//! balancer and behind a CDN, beside bots in the same places. The bots are found; nobody else is
//! touched. And a campaign of two hundred addresses that try three passwords each is found as one.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    collections::BTreeMap,
    env,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::{Duration, Instant},
};

use weir_lab::{
    actors::{
        Browser, Campaign, Chameleon, Crawler, Crowd, HealthChecker, Partner, Person, Report,
        Scraper, StuffingBot, Troupe,
    },
    balancer::{Balancer, ProxyVersion},
    cdn::Cdn,
    clock::sleep,
    net::{Family, Lab, Recorder, write_pcap},
    require_root,
    server::{Duties, Gate, Server},
    weir::{Chronicle, Daemon, Decision, Shipped, Weir},
};

/// How long the honest stay.
const LASTING: Duration = Duration::from_secs(80);
/// How long they stay where policies are enforced.
const ENFORCED: Duration = Duration::from_secs(50);
/// What was under way when a bot was dropped has ended by then.
const GRACE: Duration = Duration::from_secs(4);
/// Fewer requests than these are no crawler's.
const CRAWLED: u64 = 500;
/// What the members of a campaign are called.
const CAMPAIGN: &str = "campaign";
/// How often the daemon is asked what it decided.
const LOOK: Duration = Duration::from_secs(1);

/// Where clients find the balancer and the CDN, and where the CDN's connections come from.
const BALANCER: u8 = 250;
const CDN: u8 = 240;
const CDN_EDGES: [u8; 4] = [241, 242, 243, 244];

/// The shipped policies, at a Site such as the lab: its ports, its proxies, its partners, and its log,
/// in which those can be seen who come through the CDN.
fn policy(lab: &Lab, log: &Path) -> String {
    let edges = CDN_EDGES.map(|host| lab.link().client_v4(host).to_string()).join(", ");
    let balancer = lab.link().client_v4(BALANCER);
    let log = log.display();
    Shipped::read()
        .unwrap()
        .with("services:\n  web: {tcp: [443], behind: [lb, cdn]}\n  api: {tcp: [8443]}\n")
        .with(&format!(
            "proxies:\n  lb: {{from: [{balancer}], client: proxy-protocol}}\n  \
             cdn: {{from: [{edges}], client: signals}}\n"
        ))
        .with(&format!("logs:\n  access: {{file: {log}, format: json, client: x-forwarded-for}}\n"))
        .with(SIGNALS)
        .and(BY_SIGNALS)
        .replacing("addresses: [10.0.0.0/8,", "addresses: [203.0.113.192/27, 10.0.0.0/8,")
        .replacing("applies: [web]", "applies: [web, api]")
        .text()
}

/// What the log says, and what the operator of such a shop makes of it: whoever comes through the CDN is
/// known by nothing else. People's passwords are mostly right; a page is looked at before the next one,
/// and a crowd looks at the same pages.
const SIGNALS: &str = "\
signals:
  login_failed:
    per: [source, entity]
    windows: [10m]
    distinct: account
    match: {log: access, method: POST, path: /login, status: 401}
  login_passed:
    per: source
    windows: [10m]
    match: {log: access, method: POST, path: /login, status: 200}
  page:
    per: source
    windows: [10m]
    distinct: endpoint
    match: {log: access, method: GET, path: \"/page/*\"}
";

const BY_SIGNALS: &str = "\
kind: Policy
metadata: {name: shop-log, description: What the shop's log tells of clients}
applies: [web]
rules:
  - name: tries-passwords
    owasp: [OAT-008, API2:2023]
    points: 80
    when: |
      source.login_failed_10m >= 15
        && source.login_failed_accounts_10m >= 10
        && source.login_passed_10m < 2
  - name: walks-through-all-pages
    owasp: [OAT-011, API6:2023]
    points: 80
    when: source.page_endpoints_10m >= 100
";

/// Who plays, and where.
struct Stage<'lab> {
    lab: &'lab Lab,
    balancer: Balancer,
    cdn: Cdn,
}

impl<'lab> Stage<'lab> {
    fn new(lab: &'lab Lab, server: &Server) -> Self {
        let at = |host| IpAddr::from(lab.link().client_v4(host));
        let shop = lab.link().shop(Family::V4);
        let balancer = Balancer::start(lab, at(BALANCER), shop, ProxyVersion::V2).unwrap();
        let cdn = Cdn::start(lab, server, at(CDN), &CDN_EDGES.map(at), shop).unwrap();
        Self { lab, balancer, cdn }
    }

    fn at(&self, host: u8) -> IpAddr {
        self.lab.link().client_v4(host).into()
    }

    /// Everybody honest, everywhere.
    fn honest(&self, troupe: Troupe, lasting: Duration) -> Troupe {
        let person = |host| Person { address: self.at(host), lasting };
        let (lb, cdn) = (self.balancer.address(), self.cdn.address());
        troupe
            .with(person(11))
            .with(person(12))
            .with(Person { address: self.lab.link().client_v6(0x11).into(), lasting })
            .with(Browser { address: self.at(20), lasting })
            .with(Browser { address: self.at(21), lasting })
            .with(HealthChecker { address: self.at(9), lasting })
            .with(Partner { address: self.at(200), per_second: 20, lasting })
            .with(Crowd { address: self.at(40), people: 40, lasting })
            .with_at(lb, person(31))
            .with_at(lb, person(32))
            .with_at(lb, Browser { address: self.at(33), lasting })
            .with_at(lb, Crowd { address: self.at(34), people: 10, lasting })
            .with_at(cdn, person(51))
            .with_at(cdn, person(52))
            .with_at(cdn, Browser { address: self.at(53), lasting })
            .with_at(cdn, Crowd { address: self.at(54), people: 10, lasting })
    }

    /// A bot of each kind, in every place.
    fn bots(&self, troupe: Troupe, lasting: Duration) -> Troupe {
        let stuffing =
            |host, per_second| StuffingBot { address: self.at(host), per_second, lasting };
        let crawler = |host| Crawler { address: self.at(host), connections: 1, lasting };
        let scraper = |host| Scraper { address: self.at(host), per_second: 4, lasting };
        let (lb, cdn) = (self.balancer.address(), self.cdn.address());
        troupe
            .with(stuffing(66, 10))
            .with(crawler(67))
            .with(scraper(68))
            .with(Chameleon { address: self.at(69), connections_each: 3, lasting })
            .with_at(lb, stuffing(76, 6))
            .with_at(lb, crawler(77))
            .with_at(lb, scraper(78))
            .with_at(cdn, stuffing(86, 4))
            .with_at(cdn, crawler(87))
            .with_at(cdn, scraper(88))
    }

    /// Two hundred addresses of three networks.
    fn campaign(&self, lasting: Duration) -> Campaign {
        let far = |host: u32| Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(192, 0, 2, 0)) + host);
        let mut addresses: Vec<IpAddr> = Vec::new();
        for number in 0..90 {
            addresses.push(self.at(100 + number as u8));
            addresses.push(far(129 + number).into());
        }
        addresses.extend((0..20).map(|n| IpAddr::from(self.lab.link().client_v6(0x200 + n))));
        assert_eq!(addresses.len(), 200);
        Campaign { addresses, tries: 3, pause: Duration::from_secs(8), lasting }
    }
}

/// Whether a decision names a campaign, with evidence beside it or alone.
fn is_of_campaign(decision: &Decision) -> bool {
    let mut factors = decision.factors.iter();
    decision.strength() >= Decision::LIMIT && factors.any(|it| it.name.contains(CAMPAIGN))
}

/// What is shown of an actor; a campaign's members are one line.
#[derive(Default)]
struct Row {
    members: usize,
    honest: bool,
    crawls: bool,
    connections: u64,
    attempted: u64,
    served: u64,
    decisions: usize,
    found: usize,
    strongest: Option<Decision>,
    first_s: Option<f64>,
}

impl Row {
    /// Whether a bot had its way. A machine with too much else to do makes a crawler as slow as a
    /// person, and then it is none.
    fn shows_itself(&self) -> bool {
        !self.crawls || self.attempted >= CRAWLED
    }
}

fn rows(server: &Server, reports: &[Report], chronicle: &Chronicle) -> BTreeMap<String, Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for report in reports {
        let address = report.origin.address().unwrap();
        let name = if report.actor == CAMPAIGN {
            report.actor.to_owned()
        } else {
            format!("{} {address}", report.actor)
        };
        let row = rows.entry(name).or_default();
        row.members += 1;
        row.honest = report.is_honest;
        row.crawls = report.actor == "keep-alive crawler";
        row.connections += server.visitor(address).connections;
        row.attempted += report.attempted;
        row.served += report.served;
        row.decisions += chronicle.of(address).count();
        if let Some(decision) = chronicle.strongest(address)
            && row.strongest.as_ref().is_none_or(|known| known.strength() < decision.strength())
        {
            row.strongest = Some(decision.clone());
        }
        if let (Some(decision), Some(began)) =
            (chronicle.first_to_restrict(address), report.began_ns)
        {
            row.found += 1;
            let after = decision.at_ns.saturating_sub(began) as f64 / 1e9;
            row.first_s = Some(row.first_s.map_or(after, |first: f64| first.min(after)));
        }
    }
    rows
}

fn print(rows: &BTreeMap<String, Row>) {
    println!(
        "{:<36} {:>6} {:>6} {:>13} {:>9} {:>8} {:>7} {:>8}  why",
        "ACTOR", "HONEST", "CONNS", "SERVED/TRIED", "DECISIONS", "STRONGEST", "FOUND", "AFTER s"
    );
    for (name, row) in rows {
        let strongest = row.strongest.as_ref();
        let why = strongest.map(|decision| {
            let factors = decision.factors.iter().map(|f| format!("{:+.0} {}", f.points, f.name));
            format!("{} {}", decision.owasp.join(" "), factors.collect::<Vec<_>>().join(", "))
        });
        println!(
            "{name:<36} {:>6} {:>6} {:>13} {:>9} {:>8} {:>7} {:>8}  {}",
            if row.honest { "yes" } else { "no" },
            row.connections,
            format!("{}/{}", row.served, row.attempted),
            row.decisions,
            strongest.map_or("–", |decision| decision.action.as_str()),
            format!("{}/{}", row.found, row.members),
            row.first_s.map_or("–".to_owned(), |first| format!("{first:.1}")),
            why.unwrap_or_default(),
        );
    }
}

/// Plays `troupe` to its end, and gathers what was decided meanwhile. What passed is kept in the file
/// that `WEIR_LAB_PCAP` names, if it does, for `weir replay`.
fn play(
    lab: &Lab,
    server: &Server,
    weir: &Weir<'_>,
    daemon: &Daemon<'_>,
    troupe: Troupe,
) -> (Vec<Report>, Chronicle) {
    let file = env::var_os("WEIR_LAB_PCAP");
    let recorder = file.is_some().then(|| Recorder::start(lab.edge(), "edge0", 2_000_000).unwrap());
    let playing = troupe.play(lab, server).unwrap();
    let mut chronicle = Chronicle::default();
    let began = Instant::now();
    while !playing.is_over() {
        assert!(began.elapsed() < 2 * LASTING, "the actors did not finish: {}", daemon.log());
        chronicle.look(weir).unwrap();
        sleep(LOOK);
    }
    let reports = playing.finish().unwrap();
    chronicle.look(weir).unwrap();
    if let (Some(recorder), Some(file)) = (recorder, file) {
        write_pcap(Path::new(&file), &recorder.stop().unwrap()).unwrap();
    }
    (reports, chronicle)
}

/// Nobody honest would be held back, and each of them was served every time.
fn assert_honest_untouched(rows: &BTreeMap<String, Row>) {
    let names = |bad: fn(&Row) -> bool| -> Vec<&String> {
        let rows = rows.iter().filter(|(_, row)| row.honest && bad(row));
        rows.map(|(name, _)| name).collect()
    };
    let touched = names(|row| row.found > 0);
    assert!(touched.is_empty(), "somebody honest would be held back: {touched:?}");
    let refused = names(|row| row.served < row.attempted || row.attempted == 0);
    assert!(refused.is_empty(), "somebody honest was not served: {refused:?}");
}

#[test]
fn bots_are_found_beside_the_honest_who_stay_untouched() {
    require_root!("bots_are_found_beside_the_honest_who_stay_untouched");
    let lab = Lab::builder().far_clients().build().unwrap();
    let log = lab.directory().join("access.log");
    let server = Server::start_with(&lab, Duties { log: Some(log.clone()), gate: None }).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let file = weir.policy(&policy(&lab, &log)).unwrap();
    let daemon = weir.run_with(&["edge0"], &file, &["--stage", "monitor"]).unwrap();
    let stage = Stage::new(&lab, &server);
    let attack = LASTING - Duration::from_secs(4);
    let troupe = stage.bots(stage.honest(Troupe::new(), LASTING), attack);
    let troupe = troupe.with_all(stage.campaign(attack).members());
    let (reports, chronicle) = play(&lab, &server, &weir, &daemon, troupe);
    let rows = rows(&server, &reports, &chronicle);
    print(&rows);

    assert_honest_untouched(&rows);
    let missed: Vec<&String> = rows
        .iter()
        .filter(|(name, row)| !row.honest && *name != CAMPAIGN && row.found == 0)
        .filter(|(_, row)| row.shows_itself())
        .map(|(name, _)| name)
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
    // A campaign is known by what its members have in common, so the first ones are not found while
    // they are there, and nobody is named as a member who is none.
    let members = |report: &&Report| report.actor == CAMPAIGN;
    let (inside, outside): (Vec<&Report>, Vec<&Report>) = reports.iter().partition(members);
    let named =
        |report: &&&Report| chronicle.of(report.origin.address().unwrap()).any(is_of_campaign);
    let (found, framed) = (inside.iter().filter(named).count(), outside.iter().filter(named));
    let framed: Vec<_> = framed.filter(|report| report.is_honest).collect();
    println!("{found} of {} members found as one campaign", inside.len());
    assert!(found * 2 >= inside.len(), "{found} of {} members found", inside.len());
    assert!(framed.is_empty(), "named as members: {framed:?}");
}

#[test]
fn enforced_bots_lose_their_sessions_and_nobody_else_does() {
    require_root!("enforced_bots_lose_their_sessions_and_nobody_else_does");
    let lab = Lab::new().unwrap();
    let log = lab.directory().join("access.log");
    let edges = CDN_EDGES.map(|host| lab.link().client_v4(host).into()).to_vec();
    let gate = Gate::new(&lab.run_dir().join("lookup.sock"), "web", edges);
    let duties = Duties { log: Some(log.clone()), gate: Some(gate) };
    let server = Server::start_with(&lab, duties).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let file = weir.policy(&policy(&lab, &log)).unwrap();
    let daemon = weir.run(&["edge0"], &file).unwrap();
    let stage = Stage::new(&lab, &server);
    let attack = ENFORCED - Duration::from_secs(4);
    let troupe = stage.bots(stage.honest(Troupe::new(), ENFORCED), attack);
    let (reports, chronicle) = play(&lab, &server, &weir, &daemon, troupe);
    let rows = rows(&server, &reports, &chronicle);
    print(&rows);

    assert_honest_untouched(&rows);
    for report in reports.iter().filter(|report| !report.is_honest) {
        let address = report.origin.address().unwrap();
        let Some(decision) = chronicle.first_to_restrict(address) else {
            assert!(report.actor == "keep-alive crawler", "{report:?} was not found");
            assert!(report.attempted < CRAWLED, "{report:?} was not found");
            continue;
        };
        assert_eq!(decision.mode, "enforce");
        assert!(report.failed > 0, "{report:?} lost nothing after {decision:?}");
        let dropped = chronicle.of(address).find(|decision| decision.action == "drop");
        if let (Some(dropped), Some(last)) = (dropped, report.last_served_ns) {
            let after = Duration::from_nanos(last.saturating_sub(dropped.at_ns));
            assert!(after < GRACE, "{report:?} was served {after:?} after {dropped:?}");
        }
    }
}
