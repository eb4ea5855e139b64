//! The shipped policy at volume: people, browsers, crowds, partners and monitors, direct, behind a
//! balancer and behind a CDN, beside bots in the same places. The bots are found; nobody else is
//! touched. And a campaign of two hundred addresses that try three passwords each is found as one.

#![expect(clippy::unwrap_used, reason = "a test's setup fails loudly")]

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    time::{Duration, Instant},
};

use weir_lab::{
    actors::{
        Browser, Campaign, Chameleon, Crawler, Crowd, ForgetfulBrowser, HealthChecker, Partner,
        Person, Report, Scraper, StuffingBot, Troupe,
    },
    balancer::{Balancer, ProxyVersion},
    cdn::Cdn,
    clock::{monotonic_ns, sleep},
    net::{Family, Lab},
    require_root,
    server::Server,
    weir::{Chronicle, Decision, Weir},
};

/// How long the honest stay.
const LASTING: Duration = Duration::from_secs(80);
/// How often the daemon is asked what it decided.
const LOOK: Duration = Duration::from_secs(1);

/// Where clients find the balancer and the CDN, and where the CDN's connections come from.
const BALANCER: u8 = 250;
const CDN: u8 = 240;
const CDN_EDGES: [u8; 4] = [241, 242, 243, 244];

/// The shipped policies on the lab's ports.
fn policy(lab: &Lab, mode: &str, log: &Path) -> String {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/default.yaml");
    let text = fs::read_to_string(text).unwrap();
    let edges = CDN_EDGES.map(|host| lab.link().client_v4(host).to_string()).join(", ");
    let balancer = lab.link().client_v4(BALANCER);
    let _ = log; // TODO signals
    text.replace(
        "  web: {tcp: [80, 443]}",
        &format!(
            "  web: {{tcp: [443], behind: [lb, cdn]}}\n  api: {{tcp: [8443]}}\n\nproxies:\n  \
             lb: {{from: [{balancer}], client: proxy-protocol}}\n  \
             cdn: {{from: [{edges}], client: signals}}"
        ),
    )
    .replace("addresses: [10.0.0.0/8,", "addresses: [203.0.113.192/27, 10.0.0.0/8,")
    .replace("applies: [web]", "applies: [web, api]")
    .replace("mode: observe", &format!("mode: {mode}"))
}

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
            .with(ForgetfulBrowser { address: self.at(21), lasting })
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
        let crawler = |host| Crawler { address: self.at(host), connections: 2, lasting };
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

/// What is shown of an actor; a campaign's members are one line.
#[derive(Default)]
struct Row {
    members: usize,
    honest: bool,
    connections: u64,
    attempted: u64,
    served: u64,
    decisions: usize,
    found: usize,
    strongest: Option<Decision>,
    first_s: Option<f64>,
}

fn rows(server: &Server, reports: &[Report], chronicle: &Chronicle) -> BTreeMap<String, Row> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for report in reports {
        let address = report.origin.address().unwrap();
        let name = if report.actor == "campaign" {
            report.actor.to_owned()
        } else {
            format!("{} {address}", report.actor)
        };
        let row = rows.entry(name).or_default();
        row.members += 1;
        row.honest = report.is_honest;
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

#[test]
fn bots_are_found_beside_the_honest_who_stay_untouched() {
    require_root!("bots_are_found_beside_the_honest_who_stay_untouched");
    let lab = Lab::builder().far_clients().build().unwrap();
    let log = lab.directory().join("access.log");
    let server = Server::start_logging(&lab, &log).unwrap();
    let weir = Weir::in_lab(&lab).unwrap();
    let file = weir.policy(&policy(&lab, "observe", &log)).unwrap();
    let daemon = weir.run(&["edge0"], &file).unwrap();
    let stage = Stage::new(&lab, &server);
    let attack = LASTING - Duration::from_secs(4);
    let troupe = stage.bots(stage.honest(Troupe::new(), LASTING), attack);
    let troupe = troupe.with_all(stage.campaign(attack).members());

    let playing = troupe.play(&lab, &server).unwrap();
    let mut chronicle = Chronicle::default();
    let began = Instant::now();
    while !playing.is_over() {
        assert!(began.elapsed() < 2 * LASTING, "the actors did not finish: {}", daemon.log());
        chronicle.look(&weir).unwrap();
        sleep(LOOK);
    }
    let reports = playing.finish().unwrap();
    chronicle.look(&weir).unwrap();
    let rows = rows(&server, &reports, &chronicle);
    print(&rows);
    println!("{} s, {} decisions", monotonic_ns() / 1_000_000_000, chronicle.all().count());

    let honest = || rows.iter().filter(|(_, row)| row.honest);
    let touched: Vec<&String> =
        honest().filter(|(_, row)| row.found > 0).map(|(name, _)| name).collect();
    assert!(touched.is_empty(), "somebody honest would be held back: {touched:?}");
    let refused: Vec<&String> =
        honest().filter(|(_, row)| row.served < row.attempted).map(|(name, _)| name).collect();
    assert!(refused.is_empty(), "somebody honest was not served: {refused:?}");
    let missed: Vec<&String> = rows
        .iter()
        .filter(|(_, row)| !row.honest && row.found < row.members)
        .map(|(name, _)| name)
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
