//! Profiles as a whole: scopes, bounds, forgetting.

use weir_common::abi::{
    Established, EventHeader, FlowKey, Milestone, MilestoneKind, ServiceSet, time::SECOND_NS,
};

use super::{ProfileLimits, Profiles};

fn key(source: u32, port: u16) -> FlowKey {
    FlowKey { remote: [source, 0, 0, 0], remote_port: port, ..FlowKey::default() }
}

fn established(source: u32, port: u16, service: u8, at_ns: u64) -> Established {
    let header = EventHeader { at_ns, service, ..EventHeader::default() };
    Established { header, key: key(source, port), ..Established::default() }
}

fn open(profiles: &mut Profiles, source: u32, scope: usize, now_ns: u64) -> Option<usize> {
    profiles.view(&key(source, 0).source(), scope, now_ns).track.map(|track| track.open.len())
}

#[test]
fn scopes_are_apart_and_share_what_they_share() {
    let both = ServiceSet::one(1).union(ServiceSet::one(2));
    let mut profiles =
        Profiles::new(ProfileLimits::default(), vec![ServiceSet::one(1), both, ServiceSet::one(3)]);
    profiles.established(&established(1, 10, 1, SECOND_NS));
    profiles.established(&established(1, 11, 2, SECOND_NS));
    let counts = [0, 1, 2].map(|scope| open(&mut profiles, 1, scope, SECOND_NS));
    assert_eq!(counts, [Some(1), Some(2), Some(0)]);
    assert_eq!(open(&mut profiles, 2, 0, SECOND_NS), None);
}

#[test]
fn idle_sources_and_old_scans_are_forgotten() {
    let mut profiles = Profiles::new(ProfileLimits::default(), vec![ServiceSet::ALL]);
    profiles.established(&established(1, 10, 1, SECOND_NS));
    let header = EventHeader {
        at_ns: SECOND_NS,
        detail: MilestoneKind::Ports as u8,
        ..EventHeader::default()
    };
    profiles.milestone(&Milestone { header, key: key(9, 1), value: 32 });
    let ports = |profiles: &mut Profiles, now_ns| {
        profiles.view(&key(9, 0).source(), 0, now_ns).distinct_ports
    };
    assert_eq!(ports(&mut profiles, 2 * SECOND_NS), 32);
    assert_eq!(ports(&mut profiles, 62 * SECOND_NS), 0);
    profiles.tick(60 * SECOND_NS);
    assert_eq!(profiles.len(), 1);
    profiles.tick(1802 * SECOND_NS);
    assert!(profiles.is_empty());
}

#[test]
fn ends_that_were_lost_time_out() {
    let mut profiles = Profiles::new(ProfileLimits::default(), vec![ServiceSet::ALL]);
    for port in 0..50 {
        profiles.established(&established(1, port, 1, SECOND_NS));
    }
    assert_eq!(open(&mut profiles, 1, 0, 600 * SECOND_NS), Some(50));
    assert_eq!(open(&mut profiles, 1, 0, 602 * SECOND_NS), Some(0));
}

#[test]
fn new_scopes_keep_what_still_fits() {
    let (one, two) = (ServiceSet::one(1), ServiceSet::one(2));
    let mut profiles = Profiles::new(ProfileLimits::default(), vec![one]);
    profiles.established(&established(1, 10, 1, SECOND_NS));
    profiles.replace_scopes(ProfileLimits::default(), vec![two, one]);
    assert_eq!(open(&mut profiles, 1, 0, SECOND_NS), Some(0));
    assert_eq!(open(&mut profiles, 1, 1, SECOND_NS), Some(1));
}
