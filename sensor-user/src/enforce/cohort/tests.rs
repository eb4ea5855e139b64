//! Trust and harm, as an attacker who read this would try them.

use std::path::Path;

use weir_common::abi::{
    Action, CloseReason, Closed, Direction, Established, EventHeader, Flow, FlowKey, Mode,
    Protocol, ServiceSet, SourceKey, time::SECOND_NS,
};

use super::{Cohort, Harm, Listed, Standing, TrustRule, Watch};
use crate::{
    event::Event,
    label::Verdict,
    policy::{self, Proxies, ServiceIds},
    score::{Clock, Decision, Score, Trigger, feature::Evidence},
    system::address,
};

const MINUTE_NS: u64 = 60 * SECOND_NS;
const HOUR_NS: u64 = 60 * MINUTE_NS;
/// Two hours: everybody who came at the beginning is trusted by then.
pub(super) const LATER_NS: u64 = 2 * HOUR_NS;

pub(crate) fn source(address: &str) -> SourceKey {
    SourceKey::from_address(&address::words(address.parse().unwrap()))
}

pub(super) fn cohort() -> Cohort {
    let calendar = Clock { unix_s_at_zero: 1_700_000_000 };
    Cohort::new(TrustRule::default(), 5 * MINUTE_NS, calendar)
}

fn key(address: &str) -> FlowKey {
    let remote = address::words(address.parse().unwrap());
    FlowKey { remote, protocol: Protocol::Tcp as u32, ..FlowKey::default() }
}

fn closed(address: &str, at_ns: u64) -> Closed {
    let asked = Direction { payloads: 1, ..Direction::default() };
    Closed {
        header: EventHeader {
            at_ns,
            detail: CloseReason::Fin as u8,
            service: 1,
            ..EventHeader::default()
        },
        key: key(address),
        flow: Flow { service: 1, ingress: asked, egress: asked, ..Flow::default() },
    }
}

pub(super) fn session(cohort: &mut Cohort, address: &str, at_ns: u64) {
    cohort.note(&Event::Closed(closed(address, at_ns)), &Proxies::default(), None);
}

/// Two sessions, at the beginning and a quarter of an hour later.
pub(super) fn season(cohort: &mut Cohort, address: &str, from_ns: u64) {
    session(cohort, address, from_ns);
    session(cohort, address, from_ns + 15 * MINUTE_NS);
}

pub(super) fn connect(cohort: &mut Cohort, address: &str, at_ns: u64, would: Option<(&str, bool)>) {
    let header = EventHeader { at_ns, service: 1, ..EventHeader::default() };
    let established = Established { header, key: key(address), ..Established::default() };
    cohort.note(&Event::Established(established), &Proxies::default(), would);
}

fn decision(address: &str, at_ns: u64) -> Decision {
    Decision {
        sequence: 1,
        at_ns,
        source: source(address),
        whole_service: None,
        service: Some(1),
        services: ServiceSet::one(1),
        policy: "login".into(),
        version: "v1".into(),
        rules: vec!["r".into()],
        action: Action::Drop,
        mode: Mode::Enforce,
        term_ns: 10 * MINUTE_NS,
        offence: 1,
        evidence: Evidence::Authentic,
        trigger: Trigger::Established,
        limit: None,
        heartbeat_ns: None,
        score: Score { authentic: 60, total: 60, factors: Vec::new() },
    }
}

pub(super) fn watch(acting_since_ns: Option<u64>) -> Watch {
    Watch {
        policy: "login".into(),
        version: "v1".into(),
        services: ServiceSet::one(1),
        acting_since_ns,
        window_ns: 5 * MINUTE_NS,
    }
}

pub(super) fn login(cohort: &Cohort) -> Harm {
    cohort.harm("login", "v1").unwrap()
}

#[test]
fn trust_takes_sessions_on_several_occasions_and_time() {
    let mut cohort = cohort();
    session(&mut cohort, "192.0.2.1", 0);
    for second in 1..100 {
        session(&mut cohort, "192.0.2.1", second * SECOND_NS);
    }
    let one = source("192.0.2.1");
    assert!(!cohort.is_trusted(&one, LATER_NS), "many sessions at once are one occasion");
    session(&mut cohort, "192.0.2.1", 10 * MINUTE_NS);
    assert!(!cohort.is_trusted(&one, 10 * MINUTE_NS + HOUR_NS - 1), "not well before");
    assert_eq!(cohort.standing(&one, 10 * MINUTE_NS + HOUR_NS), Standing::Earned);
}

#[test]
fn only_what_was_answered_and_ended_properly_is_a_session() {
    let unanswered = |flow: &mut Closed| flow.flow.egress.payloads = 0;
    let unasked = |flow: &mut Closed| flow.flow.ingress.payloads = 0;
    let reset = |flow: &mut Closed| flow.header.detail = CloseReason::ClientReset as u8;
    let idle = |flow: &mut Closed| flow.header.detail = CloseReason::Idle as u8;
    let refused = |flow: &mut Closed| flow.flow.flags |= super::FLOW_REFUSED;
    let elsewhere = |flow: &mut Closed| flow.header.service = 0;
    let changes: [fn(&mut Closed); 6] = [unanswered, unasked, reset, idle, refused, elsewhere];
    for (number, change) in changes.iter().enumerate() {
        let mut cohort = cohort();
        for at_ns in [0, 15 * MINUTE_NS, 30 * MINUTE_NS] {
            let mut event = closed("192.0.2.1", at_ns);
            change(&mut event);
            cohort.note(&Event::Closed(event), &Proxies::default(), None);
        }
        assert!(!cohort.is_trusted(&source("192.0.2.1"), LATER_NS), "{number}");
    }
}

#[test]
fn a_verdict_that_acted_before_costs_trust_and_one_in_the_incident_does_not() {
    let mut cohort = cohort();
    season(&mut cohort, "192.0.2.1", 0);
    let one = source("192.0.2.1");
    cohort.judged(&decision("192.0.2.1", LATER_NS), true);
    assert!(cohort.is_trusted(&one, LATER_NS + MINUTE_NS), "part of the incident");
    assert!(!cohort.is_trusted(&one, LATER_NS + HOUR_NS));
}

#[test]
fn what_a_policy_would_have_done_excuses_nothing() {
    let mut cohort = cohort();
    season(&mut cohort, "192.0.2.1", 0);
    cohort.judged(&decision("192.0.2.1", LATER_NS), false);
    assert!(cohort.is_trusted(&source("192.0.2.1"), LATER_NS + 2 * HOUR_NS));
}

#[test]
fn decoys_seasoned_shortly_before_are_nobody() {
    let mut cohort = cohort();
    cohort.watch(watch(Some(LATER_NS)));
    for n in 0..200 {
        let address = format!("10.{n}.0.1");
        season(&mut cohort, &address, LATER_NS - 30 * MINUTE_NS);
        connect(&mut cohort, &address, LATER_NS + n, None);
        cohort.judged(&decision(&address, LATER_NS + n), true);
    }
    assert_eq!(cohort.host_harm().sources.seen, 0);
    assert_eq!(login(&cohort).sources.seen, 0);
}

#[test]
fn one_network_never_weighs_more_than_a_few_sources() {
    let mut cohort = cohort();
    cohort.watch(watch(None));
    for n in 0..50 {
        season(&mut cohort, &format!("10.{n}.0.1"), 0);
    }
    for n in 0..250 {
        season(&mut cohort, &format!("192.0.2.{n}"), 0);
    }
    for n in 0..50 {
        connect(&mut cohort, &format!("10.{n}.0.1"), LATER_NS, None);
    }
    for n in 0..250 {
        cohort.judged(&decision(&format!("192.0.2.{n}"), LATER_NS), true);
    }
    let harm = cohort.host_harm();
    assert_eq!(harm.networks.dropped, 1);
    assert!((harm.dropped_share - 4.0 / 54.0).abs() < 1e-9, "{}", harm.dropped_share);
    assert_eq!(login(&cohort).dropped_share, harm.dropped_share);
    // Sixty-four of a network are remembered as regulars; the others are nobody.
    assert_eq!(harm.sources.dropped, 64);
}

#[test]
fn harm_counts_sources_and_not_how_often() {
    let mut cohort = cohort();
    for n in 0..10 {
        season(&mut cohort, &format!("10.{n}.0.1"), 0);
        connect(&mut cohort, &format!("10.{n}.0.1"), LATER_NS, None);
    }
    for n in 0..1000 {
        cohort.judged(&decision("10.1.0.1", LATER_NS + n), true);
    }
    let harm = cohort.host_harm();
    assert_eq!((harm.sources.seen, harm.sources.dropped), (10, 1));
    assert!((harm.dropped_share - 0.1).abs() < 1e-9);
}

#[test]
fn only_authentic_evidence_against_sources_is_harm() {
    let mut cohort = cohort();
    season(&mut cohort, "10.1.0.1", 0);
    let forgeable = Decision { evidence: Evidence::Forgeable, ..decision("10.1.0.1", LATER_NS) };
    cohort.judged(&forgeable, true);
    let service = Decision { whole_service: Some(1), ..decision("10.1.0.1", LATER_NS) };
    cohort.judged(&service, true);
    assert_eq!(cohort.host_harm().sources.dropped, 0);
    assert!(cohort.is_trusted(&source("10.1.0.1"), LATER_NS + 3 * HOUR_NS), "nor costs it trust");
    let marked = Decision { action: Action::Mark, ..decision("10.1.0.1", LATER_NS) };
    cohort.judged(&marked, true);
    assert_eq!(cohort.host_harm().sources.dropped, 0);
}

#[test]
fn would_be_harm_comes_from_the_kernels_word_and_from_decisions() {
    let mut cohort = cohort();
    cohort.watch(watch(None));
    for n in 0..3 {
        season(&mut cohort, &format!("10.{n}.0.1"), 0);
    }
    connect(&mut cohort, "10.0.0.1", LATER_NS, None);
    connect(&mut cohort, "10.1.0.1", LATER_NS, Some(("login", false)));
    connect(&mut cohort, "10.1.0.1", LATER_NS, Some(("other", false)));
    let observed = Decision { mode: Mode::Observe, ..decision("10.2.0.1", LATER_NS) };
    cohort.judged(&observed, false);
    let harm = login(&cohort);
    assert_eq!((harm.sources.seen, harm.sources.would, harm.sources.dropped), (3, 2, 0));
    assert_eq!((harm.connections.seen, harm.connections.would), (3, 1));
    assert_eq!(cohort.host_harm().sources.would, 0, "what only observes never harms the host");
    connect(&mut cohort, "10.1.0.1", LATER_NS, Some(("login", true)));
    assert_eq!(cohort.host_harm().sources.would, 1, "what a brake holds back would");
}

#[test]
fn who_was_trusted_only_after_a_policy_began_to_act_counts_for_the_host_and_not_for_it() {
    let mut cohort = cohort();
    cohort.watch(watch(Some(HOUR_NS)));
    season(&mut cohort, "10.1.0.1", 30 * MINUTE_NS);
    cohort.judged(&decision("10.1.0.1", LATER_NS), true);
    assert_eq!(cohort.host_harm().sources.dropped, 1);
    assert_eq!(login(&cohort).sources.dropped, 0);
}

#[test]
fn the_window_slides() {
    let mut cohort = cohort();
    season(&mut cohort, "10.1.0.1", 0);
    season(&mut cohort, "10.2.0.1", 0);
    cohort.judged(&decision("10.1.0.1", LATER_NS), true);
    connect(&mut cohort, "10.2.0.1", LATER_NS + 4 * MINUTE_NS, None);
    cohort.pass(LATER_NS + 4 * MINUTE_NS);
    assert_eq!(cohort.host_harm().sources.seen, 2);
    cohort.pass(LATER_NS + 6 * MINUTE_NS);
    let harm = cohort.host_harm();
    assert_eq!((harm.sources.seen, harm.sources.dropped, harm.networks.seen), (1, 0, 1));
    cohort.pass(LATER_NS + HOUR_NS);
    assert_eq!(cohort.host_harm(), Harm { window_ns: harm.window_ns, ..Harm::default() });
}

#[test]
fn a_label_counts_at_once_and_for_what_was_decided_before() {
    let mut cohort = cohort();
    cohort.watch(watch(Some(LATER_NS)));
    let one = source("192.0.2.1");
    cohort.judged(&decision("192.0.2.1", LATER_NS), true);
    assert_eq!(cohort.host_harm().sources.dropped, 0, "a stranger");
    cohort.label(&one, Some(Verdict::Human));
    for harm in [cohort.host_harm(), login(&cohort)] {
        assert_eq!((harm.named.dropped, harm.networks.dropped), (1, 1));
        assert_eq!(harm.dropped_share, 1.0);
    }
    cohort.label(&one, Some(Verdict::Bot));
    assert_eq!(cohort.standing(&one, LATER_NS), Standing::Stranger);
    assert_eq!(cohort.host_harm().named.dropped, 0);
    cohort.label(&one, None);
    assert_eq!(cohort.label_of(&one), None);
}

#[test]
fn labelled_sources_of_one_network_count_by_themselves() {
    let mut cohort = cohort();
    for n in 1..=20 {
        let address = format!("192.0.2.{n}");
        cohort.label(&source(&address), Some(Verdict::Human));
        cohort.judged(&decision(&address, LATER_NS), true);
    }
    let harm = cohort.host_harm();
    assert_eq!((harm.networks.seen, harm.networks.dropped), (20, 20));
}

#[test]
fn members_of_groups_that_are_spared_and_of_allows_are_trusted() {
    const SITE: &str = "
kind: Site
groups: {partners: {addresses: [203.0.113.0/24]}, others: {addresses: [198.51.100.0/24]}}
services: {shop: {tcp: [443]}}
ladders: {default: [{at: 50, action: mark, for: 1m}]}
---
kind: Policy
metadata: {name: p}
applies: [shop]
exempt: [{group: partners, from: [drop]}]
rules: [{name: r, points: 1, when: source.connections_1s > 1}]
";
    let policy = policy::parse("test", SITE, Path::new("."), &ServiceIds::default()).unwrap();
    let mut cohort = cohort();
    cohort.set_listed(Listed::new(&policy, &vec!["192.0.2.7/32".parse().unwrap()]));
    for (address, standing) in [
        ("203.0.113.9", Standing::Listed),
        ("192.0.2.7", Standing::Listed),
        ("198.51.100.1", Standing::Stranger),
        ("192.0.2.8", Standing::Stranger),
    ] {
        assert_eq!(cohort.standing(&source(address), 0), standing, "{address}");
    }
    cohort.label(&source("203.0.113.9"), Some(Verdict::Bot));
    assert_eq!(cohort.standing(&source("203.0.113.9"), 0), Standing::Stranger, "a label says more");
}

#[test]
fn a_policy_that_was_rolled_back_is_forgiven_for() {
    let mut cohort = cohort();
    cohort.watch(watch(None));
    season(&mut cohort, "10.1.0.1", 0);
    cohort.judged(&decision("10.1.0.1", LATER_NS), true);
    cohort.forgive("login");
    assert_eq!(cohort.host_harm().sources.dropped, 0);
    assert!(cohort.is_trusted(&source("10.1.0.1"), LATER_NS + 3 * HOUR_NS));
}

#[test]
fn a_proxy_is_nobody() {
    const SITE: &str = "
kind: Site
proxies: {lb: {from: [10.0.0.0/24], client: proxy-protocol}}
services: {shop: {tcp: [443], behind: [lb]}}
ladders: {default: [{at: 50, action: mark, for: 1m}]}
---
kind: Policy
metadata: {name: p}
applies: [shop]
rules: [{name: r, points: 1, when: source.connections_1s > 1}]
";
    let policy = policy::parse("test", SITE, Path::new("."), &ServiceIds::default()).unwrap();
    let mut cohort = cohort();
    for at_ns in [0, 15 * MINUTE_NS] {
        let mut event = closed("10.0.0.7", at_ns);
        cohort.note(&Event::Closed(event), &policy.proxies, None);
        event.flow.flags |= super::FLOW_PROXIED;
        event.flow.client = address::words("192.0.2.1".parse().unwrap());
        cohort.note(&Event::Closed(event), &policy.proxies, None);
    }
    assert!(!cohort.is_trusted(&source("10.0.0.7"), LATER_NS));
    assert!(cohort.is_trusted(&source("192.0.2.1"), LATER_NS));
}

#[test]
fn who_does_not_come_back_is_forgotten() {
    let mut cohort = cohort();
    season(&mut cohort, "192.0.2.1", 0);
    cohort.pass(29 * 24 * HOUR_NS);
    assert!(cohort.is_trusted(&source("192.0.2.1"), 29 * 24 * HOUR_NS));
    cohort.pass(31 * 24 * HOUR_NS);
    assert!(!cohort.is_trusted(&source("192.0.2.1"), 31 * 24 * HOUR_NS));
}

mod kept {
    use rusqlite::Connection;

    use super::{
        super::{SCHEMA, forget, recall, retain, write},
        *,
    };

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        connection
    }

    #[test]
    fn a_restart_forgets_neither_trust_nor_verdicts() {
        let database = database();
        let mut before = cohort();
        for address in ["192.0.2.1", "192.0.2.2", "2001:db8:7::1"] {
            season(&mut before, address, 0);
        }
        session(&mut before, "192.0.2.3", 0);
        before.judged(&decision("192.0.2.2", 20 * MINUTE_NS), true);
        write(&database, &before.changes()).unwrap();
        assert_eq!(before.changes(), [], "what was written is written once");
        // A later boot: monotonic time began anew, an hour after the sessions.
        let calendar = Clock { unix_s_at_zero: 1_700_000_000 + 4500 };
        let mut after = Cohort::new(TrustRule::default(), 5 * MINUTE_NS, calendar);
        after.take_up(&recall(&database).unwrap());
        assert!(after.is_trusted(&source("192.0.2.1"), 0));
        assert!(after.is_trusted(&source("2001:db8:7::2"), 0), "its /64");
        assert!(after.is_trusted(&source("192.0.2.2"), 299 * SECOND_NS));
        assert!(!after.is_trusted(&source("192.0.2.2"), 300 * SECOND_NS), "a verdict acted on it");
        session(&mut after, "192.0.2.3", 0);
        assert!(after.is_trusted(&source("192.0.2.3"), HOUR_NS), "its first session was not lost");
    }

    #[test]
    fn rows_go_when_their_time_is_over_and_on_request() {
        let database = database();
        let mut cohort = cohort();
        for address in ["192.0.2.1", "198.51.100.1"] {
            season(&mut cohort, address, 0);
        }
        write(&database, &cohort.changes()).unwrap();
        let network: ipnet::IpNet = "192.0.2.0/24".parse().unwrap();
        assert_eq!(forget(&database, &network).unwrap(), 1);
        assert_eq!(cohort.forget(|net| network.contains(net)), 1);
        assert!(!cohort.is_trusted(&source("192.0.2.1"), LATER_NS));
        assert!(cohort.is_trusted(&source("198.51.100.1"), LATER_NS));
        let month_s = 30 * 24 * 3600;
        assert_eq!(retain(&database, 1_700_000_000 + month_s, 9).unwrap(), 0);
        assert_eq!(retain(&database, 1_700_000_000 + month_s + 901, 9).unwrap(), 1);
        assert_eq!(recall(&database).unwrap(), []);
    }

    #[test]
    fn rows_are_bounded_and_the_trusted_stay_longest() {
        let database = database();
        let mut cohort = cohort();
        season(&mut cohort, "192.0.2.1", 0);
        for n in 1..5 {
            session(&mut cohort, &format!("10.{n}.0.1"), n * HOUR_NS);
        }
        write(&database, &cohort.changes()).unwrap();
        assert_eq!(retain(&database, 1_700_000_000, 2).unwrap(), 3);
        let calendar = Clock { unix_s_at_zero: 1_700_000_000 };
        let mut after = Cohort::new(TrustRule::default(), MINUTE_NS, calendar);
        after.take_up(&recall(&database).unwrap());
        assert!(after.is_trusted(&source("192.0.2.1"), LATER_NS));
        session(&mut after, "10.4.0.1", 5 * HOUR_NS);
        assert!(after.is_trusted(&source("10.4.0.1"), 6 * HOUR_NS), "the latest of the others");
    }

    #[test]
    fn what_was_forgiven_and_never_a_visitor_leaves_no_row() {
        let database = database();
        let mut cohort = cohort();
        cohort.judged(&decision("192.0.2.1", 0), true);
        write(&database, &cohort.changes()).unwrap();
        assert_eq!(recall(&database).unwrap().len(), 1);
        cohort.label(&source("192.0.2.1"), Some(Verdict::Human));
        write(&database, &cohort.changes()).unwrap();
        assert_eq!(recall(&database).unwrap(), []);
    }
}
