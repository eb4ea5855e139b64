//! Profiles as a whole: scopes, bounds, forgetting.

use weir_common::abi::{
    Closed, Established, EventHeader, Flow, FlowKey, Milestone, MilestoneKind, Protocol,
    ServiceSet, time::SECOND_NS,
};

use super::{Count, ProfileLimits, Profiles};
use crate::{event::Hello, score::registry::Registry};

fn key(source: u32, port: u16) -> FlowKey {
    FlowKey { remote: [source, 0, 0, 0], remote_port: port, ..FlowKey::default() }
}

fn established(profiles: &mut Profiles, source: u32, port: u16, service: u8, at_ns: u64) {
    let header = EventHeader { at_ns, service, ..EventHeader::default() };
    let event = Established { header, key: key(source, port), ..Established::default() };
    profiles.established(&event.key.source(), &event);
}

fn open(profiles: &mut Profiles, source: u32, scope: usize, now_ns: u64) -> Option<usize> {
    profiles.view(&key(source, 0).source(), scope, None, now_ns).track.map(|track| track.open.len())
}

#[test]
fn scopes_are_apart_and_share_what_they_share() {
    let both = ServiceSet::one(1).union(ServiceSet::one(2));
    let mut profiles = Profiles::new(
        ProfileLimits::default(),
        vec![ServiceSet::one(1), both, ServiceSet::one(3)],
        &Registry::default(),
    );
    established(&mut profiles, 1, 10, 1, SECOND_NS);
    established(&mut profiles, 1, 11, 2, SECOND_NS);
    let counts = [0, 1, 2].map(|scope| open(&mut profiles, 1, scope, SECOND_NS));
    assert_eq!(counts, [Some(1), Some(2), Some(0)]);
    assert_eq!(open(&mut profiles, 2, 0, SECOND_NS), None);
}

#[test]
fn idle_sources_and_old_scans_are_forgotten() {
    let mut profiles =
        Profiles::new(ProfileLimits::default(), vec![ServiceSet::ALL], &Registry::default());
    established(&mut profiles, 1, 10, 1, SECOND_NS);
    let header = EventHeader {
        at_ns: SECOND_NS,
        detail: MilestoneKind::Ports as u8,
        ..EventHeader::default()
    };
    profiles.milestone(&key(9, 1).source(), &Milestone { header, key: key(9, 1), value: 32 });
    let ports = |profiles: &mut Profiles, now_ns| {
        profiles.view(&key(9, 0).source(), 0, None, now_ns).unproven.get(Count::Ports, now_ns)
    };
    assert_eq!(ports(&mut profiles, 2 * SECOND_NS), 32);
    assert_eq!(ports(&mut profiles, 62 * SECOND_NS), 0);
    profiles.tick(7201 * SECOND_NS);
    assert_eq!(profiles.len(), 1);
    profiles.tick(7202 * SECOND_NS);
    assert!(profiles.is_empty());
}

#[test]
fn ends_that_were_lost_time_out() {
    let mut profiles =
        Profiles::new(ProfileLimits::default(), vec![ServiceSet::ALL], &Registry::default());
    for port in 0..50 {
        established(&mut profiles, 1, port, 1, SECOND_NS);
    }
    assert_eq!(open(&mut profiles, 1, 0, 600 * SECOND_NS), Some(50));
    assert_eq!(open(&mut profiles, 1, 0, 602 * SECOND_NS), Some(0));
}

#[test]
fn new_scopes_keep_what_still_fits() {
    let (one, two) = (ServiceSet::one(1), ServiceSet::one(2));
    let mut profiles = Profiles::new(ProfileLimits::default(), vec![one], &Registry::default());
    established(&mut profiles, 1, 10, 1, SECOND_NS);
    profiles.replace_scopes(ProfileLimits::default(), vec![two, one], &Registry::default());
    assert_eq!(open(&mut profiles, 1, 0, SECOND_NS), Some(0));
    assert_eq!(open(&mut profiles, 1, 1, SECOND_NS), Some(1));
}

#[test]
fn a_connection_counts_where_its_name_leads_and_nowhere_else() {
    let (port, named) = (ServiceSet::one(1), ServiceSet::one(2));
    let both = port.union(named);
    let mut profiles =
        Profiles::new(ProfileLimits::default(), vec![port, named, both], &Registry::default());
    let proven_ns = SECOND_NS + 777;
    established(&mut profiles, 1, 10, 1, proven_ns);
    // The delay is known to a microsecond.
    let hello = Hello {
        at_ns: proven_ns + 5000,
        delay_ns: Some(4096),
        service: 2,
        key: key(1, 10),
        ..Hello::test()
    };
    profiles.hello(&key(1, 10).source(), &hello);
    let now_ns = 2 * SECOND_NS;
    let counts = |profiles: &mut Profiles| {
        [0, 1, 2].map(|scope| {
            let view = profiles.view(&key(1, 0).source(), scope, None, now_ns);
            let track = view.track.unwrap();
            (track.open.len(), track.arrivals.within(now_ns, 60))
        })
    };
    assert_eq!(counts(&mut profiles), [(0, 0), (1, 1), (1, 1)]);
    // Late and doubled events change nothing.
    profiles.hello(&key(1, 10).source(), &hello);
    assert_eq!(counts(&mut profiles), [(0, 0), (1, 1), (1, 1)]);
    let header = EventHeader { at_ns: now_ns, service: 2, ..EventHeader::default() };
    let flow = Flow { proven_ns, service: 2, ..Flow::default() };
    profiles.closed(&key(1, 10).source(), &Closed { header, key: key(1, 10), flow });
    assert_eq!(counts(&mut profiles), [(0, 0), (0, 1), (0, 1)]);
    profiles.hello(&key(1, 10).source(), &hello);
    assert_eq!(counts(&mut profiles), [(0, 0), (0, 1), (0, 1)]);
    assert_eq!(profiles.counters().unknown_closed, 0);
}

#[test]
fn an_end_closes_a_connection_whose_hello_was_lost() {
    let (port, named) = (ServiceSet::one(1), ServiceSet::one(2));
    let mut profiles =
        Profiles::new(ProfileLimits::default(), vec![port, named], &Registry::default());
    established(&mut profiles, 1, 10, 1, SECOND_NS);
    let header = EventHeader { at_ns: 2 * SECOND_NS, service: 2, ..EventHeader::default() };
    let flow = Flow { proven_ns: SECOND_NS, service: 2, ..Flow::default() };
    profiles.closed(&key(1, 10).source(), &Closed { header, key: key(1, 10), flow });
    assert_eq!(open(&mut profiles, 1, 0, 2 * SECOND_NS), Some(0));
}

#[test]
fn a_forged_hello_over_quic_makes_no_profile_and_no_fingerprint() {
    let mut profiles =
        Profiles::new(ProfileLimits::default(), vec![ServiceSet::ALL], &Registry::default());
    let mut hello = Hello { at_ns: SECOND_NS, ..Hello::test() };
    hello.key.protocol = Protocol::Udp as u32;
    for source in 0..100 {
        profiles.hello(&key(source, 10).source(), &hello);
    }
    let view = profiles.view(&key(1, 0).source(), 0, None, SECOND_NS);
    assert!(view.track.is_none() && view.fingerprints.len() == 0);
    assert!(profiles.is_empty());
}
