//! The server serves and each actor does what it says, on the bare kernel.

use std::{
    fs,
    net::IpAddr,
    time::{Duration, Instant},
};

use serde_json::Value;
use weir_lab::{
    actors::{
        Browser, Campaign, Chameleon, Client, Crawler, Crowd, HealthChecker, Hoarder, Partner,
        Person, Report, Scraper, SpoofedFlood, StuffingBot, SynScanner, Troupe,
    },
    cdn::Cdn,
    net::{Direction, Family, Lab, Recorder, sockets},
    packet::{TcpFlags, read},
    require_root,
    server::{Duties, Server},
};

const SHORT: Duration = Duration::from_secs(3);

#[test]
fn the_server_answers_each_path_over_both_families() {
    require_root!("the_server_answers_each_path_over_both_families");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let link = lab.link();
    let expected = [
        ("GET", "/", 200),
        ("GET", "/page/3", 200),
        ("GET", "/asset/1", 200),
        ("GET", "/health", 200),
        ("GET", "/api/price", 200),
        ("POST", "/login", 401),
        ("GET", "/nowhere", 404),
    ];
    for (family, address) in
        [(Family::V4, IpAddr::from(link.client_v4(7))), (Family::V6, link.client_v6(7).into())]
    {
        for server_address in [link.shop(family), link.api(family)] {
            let client = Client::new(server.trust(), address, SHORT).unwrap();
            let statuses = lab.clients().block_on(|| async move {
                let mut connection = client.connect(server_address).await?;
                let mut statuses = Vec::new();
                for (method, path, _) in expected {
                    statuses.push(connection.request(method, path, false).await?);
                }
                connection.close().await;
                anyhow::Ok(statuses)
            });
            assert_eq!(statuses.unwrap().unwrap(), expected.map(|(_, _, status)| status));
        }
        let visitor = server.visitor(address);
        assert_eq!((visitor.connections, visitor.requests), (2, 2 * expected.len() as u64));
    }
}

#[test]
fn the_honest_are_served_and_leave_nothing_open() {
    require_root!("the_honest_are_served_and_leave_nothing_open");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let at = |host| IpAddr::from(lab.link().client_v4(host));
    let people = |host| Person { address: at(host), lasting: SHORT };
    let reports = Troupe::new()
        .with(people(11))
        .with(Person { address: lab.link().client_v6(12).into(), lasting: SHORT })
        .with(Browser { address: at(20), lasting: SHORT })
        .with(HealthChecker { address: at(9), lasting: SHORT })
        .with(Partner { address: at(200), per_second: 20, lasting: SHORT })
        .with(Crowd { address: at(40), people: 40, lasting: SHORT })
        .play(&lab, &server)
        .unwrap()
        .finish()
        .unwrap();
    for report in &reports {
        assert!(report.is_fully_served(), "{report:?}");
        assert_eq!(report.first_failed_ns, None);
        let visitor = server.visitor(report.origin.address().unwrap());
        assert_eq!(visitor.requests, report.served, "{report:?}");
    }
    let [_, _, browser, health, partner, crowd] = &reports[..] else { panic!("{reports:?}") };
    assert_eq!(browser.served % 100, 0);
    assert_eq!(server.visitor(at(20)).connections, browser.served);
    assert!((3..=4).contains(&health.served), "{health:?}");
    assert!((40..=62).contains(&partner.served), "{partner:?}");
    assert!(server.visitor(at(40)).connections >= 20, "{crowd:?}");
    let open = || sockets(lab.edge()).unwrap().iter().filter(|socket| socket.is_open()).count();
    eventually("every connection is closed", || open() == 0);
}

#[test]
fn the_stuffing_bot_makes_many_short_connections() {
    require_root!("the_stuffing_bot_makes_many_short_connections");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let address = IpAddr::from(lab.link().client_v4(66));
    let bot = StuffingBot { address, per_second: 40, lasting: SHORT };
    let reports = Troupe::new().with(bot).play(&lab, &server).unwrap().finish().unwrap();
    assert!((80..=125).contains(&reports[0].served), "{reports:?}");
    assert!(reports[0].is_fully_served(), "nobody defends the server: {reports:?}");
    assert_eq!(server.visitor(address).connections, reports[0].served);
}

#[test]
fn the_hoarder_holds_its_connections_until_it_is_stopped() {
    require_root!("the_hoarder_holds_its_connections_until_it_is_stopped");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let address = IpAddr::from(lab.link().client_v4(77));
    let hoarder = Hoarder { address, connections: 80, lasting: Duration::from_secs(60) };
    let playing = Troupe::new().with(hoarder).play(&lab, &server).unwrap();
    let held = || {
        let open = sockets(lab.edge()).unwrap();
        open.iter().filter(|socket| socket.is_open() && socket.remote.ip() == address).count()
    };
    eventually("80 connections are held", || held() == 80);
    eventually("the hoarder says so", || playing.reports()[0].held == 80);
    assert_eq!(server.visitor(address).open, 80);
    // Longer than a trickle: it does not give up by itself, and no request is ever complete.
    let later = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < later {
        assert_eq!(held(), 80);
    }
    assert_eq!(server.visitor(address).requests, 0);
    let reports = playing.stop().unwrap();
    assert_eq!((reports[0].attempted, reports[0].failed), (80, 0));
    eventually("none is held any more", || held() == 0 && server.visitor(address).open == 0);
}

#[test]
fn the_scanner_knocks_at_many_ports_and_completes_nothing() {
    require_root!("the_scanner_knocks_at_many_ports_and_completes_nothing");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let address = IpAddr::from(lab.link().client_v4(88));
    let recorder = Recorder::start(lab.edge(), lab.link().edge_interface, 100_000).unwrap();
    let scanner = SynScanner { address, per_second: 100, lasting: SHORT };
    let reports = Troupe::new().with(scanner).play(&lab, &server).unwrap().finish().unwrap();
    let capture = recorder.stop().unwrap();
    let arrived: Vec<_> = capture
        .iter()
        .filter(|frame| frame.direction == Direction::In)
        .filter_map(|frame| read(&frame.bytes)?.tcp)
        .filter(|segment| segment.from.ip() == address)
        .collect();
    let mut ports: Vec<u16> = arrived
        .iter()
        .filter(|segment| segment.is(TcpFlags::SYN))
        .map(|segment| segment.to.port())
        .collect();
    assert_eq!(ports.len() as u64, reports[0].attempted);
    ports.sort_unstable();
    ports.dedup();
    assert!(ports.len() > 200, "{} ports", ports.len());
    assert!(ports.contains(&443));
    // Open ports answered, and the scanner's kernel reset what it knew nothing of.
    assert!(arrived.iter().all(|segment| segment.is(TcpFlags::SYN) || segment.is(TcpFlags::RST)));
    assert!(arrived.iter().any(|segment| segment.is(TcpFlags::RST)));
    assert_eq!(server.visitor(address).connections, 0);
}

#[test]
fn the_flood_is_bounded_and_comes_from_nowhere() {
    require_root!("the_flood_is_bounded_and_comes_from_nowhere");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let recorder = Recorder::start(lab.clients(), lab.link().clients_interface, 200_000).unwrap();
    let flood = SpoofedFlood { per_second: 10_000, packets: 12_000, lasting: SHORT };
    let began = Instant::now();
    let reports = Troupe::new().with(flood).play(&lab, &server).unwrap().finish().unwrap();
    assert!(began.elapsed() < SHORT + Duration::from_secs(1));
    assert_eq!(reports[0].attempted, 12_000);
    let sent: Vec<_> = recorder
        .stop()
        .unwrap()
        .iter()
        .filter(|frame| frame.direction == Direction::Out)
        .filter_map(|frame| read(&frame.bytes)?.tcp)
        .collect();
    assert_eq!(sent.len(), 12_000);
    assert!(sent.iter().all(|syn| syn.is(TcpFlags::SYN) && syn.to == lab.link().shop(Family::V4)));
    let mut sources: Vec<IpAddr> = sent.iter().map(|syn| syn.from.ip()).collect();
    assert!(sources.iter().all(|source| source.to_string().starts_with("198.1")));
    sources.sort_unstable();
    sources.dedup();
    assert!(sources.len() > 11_000, "{} sources", sources.len());
    assert_eq!(server.visitors(), []);
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "it never came true that {what}");
        std::thread::yield_now();
    }
}

#[test]
fn who_keeps_sessions_resumes_and_who_forgets_them_does_not() {
    require_root!("who_keeps_sessions_resumes_and_who_forgets_them_does_not");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let at = |host| IpAddr::from(lab.link().client_v4(host));
    let reports = Troupe::new()
        .with(Browser { address: at(20), lasting: SHORT })
        .with(Scraper { address: at(68), per_second: 10, lasting: SHORT })
        .play(&lab, &server)
        .unwrap()
        .finish()
        .unwrap();
    assert!(reports.iter().all(Report::is_fully_served), "{reports:?}");
    let resumed = |host| {
        let visitor = server.visitor(at(host));
        visitor.resumed as f64 / visitor.connections as f64
    };
    // Its page comes first; the six that follow at once find two tickets.
    assert!(resumed(20) > 0.9, "{}", resumed(20));
    assert_eq!(resumed(68), 0.0);
    assert!((25..=32).contains(&server.visitor(at(68)).connections), "{reports:?}");
}

#[test]
fn the_crawler_needs_few_connections_and_never_reads() {
    require_root!("the_crawler_needs_few_connections_and_never_reads");
    let lab = Lab::new().unwrap();
    let server = Server::start(&lab).unwrap();
    let address = IpAddr::from(lab.link().client_v4(67));
    let crawler = Crawler { address, connections: 2, lasting: SHORT };
    let reports = Troupe::new().with(crawler).play(&lab, &server).unwrap().finish().unwrap();
    assert!(reports[0].is_fully_served(), "{reports:?}");
    let visitor = server.visitor(address);
    assert_eq!(visitor.connections, 2);
    assert!(visitor.requests > 40, "{visitor:?}");
}

#[test]
fn a_campaign_tries_three_times_at_each_address_and_no_more() {
    require_root!("a_campaign_tries_three_times_at_each_address_and_no_more");
    let lab = Lab::builder().far_clients().build().unwrap();
    let server = Server::start(&lab).unwrap();
    let far = |host| IpAddr::from([192, 0, 2, host]);
    let near = |host| IpAddr::from(lab.link().client_v4(host));
    let addresses: Vec<IpAddr> =
        (0..20).flat_map(|number| [near(100 + number), far(130 + number)]).collect();
    let pause = Duration::from_millis(400);
    let campaign = Campaign { addresses: addresses.clone(), tries: 3, pause, lasting: SHORT };
    let began = Instant::now();
    let troupe = Troupe::new().with_all(campaign.members());
    let reports = troupe.play(&lab, &server).unwrap().finish().unwrap();
    assert!(began.elapsed() > SHORT / 2, "they come one after the other");
    assert_eq!(reports.len(), addresses.len());
    for (report, address) in reports.iter().zip(addresses) {
        assert_eq!((report.attempted, report.served), (3, 3), "{report:?}");
        let visitor = server.visitor(address);
        assert_eq!((visitor.connections, visitor.resumed), (3, 0), "{address}");
    }
}

#[test]
fn a_cdn_shares_few_connections_and_says_whose_each_request_is() {
    require_root!("a_cdn_shares_few_connections_and_says_whose_each_request_is");
    let lab = Lab::new().unwrap();
    let log = lab.directory().join("access.log");
    let server = Server::start_with(&lab, Duties { log: Some(log.clone()), gate: None }).unwrap();
    let at = |host| IpAddr::from(lab.link().client_v4(host));
    let edges = [at(241), at(242)];
    let cdn = Cdn::start(&lab, &server, at(240), &edges, lab.link().shop(Family::V4)).unwrap();
    let reports = Troupe::new()
        .with_at(cdn.address(), Browser { address: at(20), lasting: SHORT })
        .with_at(cdn.address(), StuffingBot { address: at(66), per_second: 10, lasting: SHORT })
        .with(Chameleon { address: at(69), connections_each: 1, lasting: SHORT })
        .play(&lab, &server)
        .unwrap()
        .finish()
        .unwrap();
    assert!(reports.iter().all(Report::is_fully_served), "{reports:?}");
    let [browser, bot, chameleon] = &reports[..] else { panic!("{reports:?}") };
    let connections: u64 = edges.iter().map(|edge| server.visitor(*edge).connections).sum();
    assert!((2..=24).contains(&connections), "{connections} for {} requests", browser.served);
    for hidden in [20, 66] {
        assert_eq!(server.visitor(at(hidden)).connections, 0);
    }
    let lines: Vec<Value> = fs::read_to_string(&log)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let said =
        |field: &str, value: &str| lines.iter().filter(|line| line[field] == value).count() as u64;
    assert_eq!(said("http_x_forwarded_for", "203.0.113.20"), browser.served);
    assert_eq!(said("http_x_forwarded_for", "203.0.113.66"), bot.served);
    assert_eq!(said("remote_addr", "203.0.113.69"), chameleon.served);
    assert_eq!(said("remote_user", "0000000003"), 2, "each bot's third account");
    let from_edges: u64 = edges.iter().map(|edge| said("remote_addr", &edge.to_string())).sum();
    assert_eq!(from_edges, browser.served + bot.served);
}
