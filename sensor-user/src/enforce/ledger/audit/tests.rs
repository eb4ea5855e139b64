//! What the audit finds of the ledger in a kernel that was tampered with, and what it leaves alone.

use std::sync::Arc;

use ipnet::IpNet;
use weir_common::abi::{Action, Mode, ServiceSet, Verdict, VerdictClass, time};

use super::*;
use crate::enforce::{guard::Guards, ledger::Meaning, memory::MemoryDataplane};

const MINUTE: u64 = 60 * time::SECOND_NS;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn site(text: &str) -> Site {
    Site::Prefix(net(text))
}

/// A ledger of verdicts that last a minute, and the kernel that has them.
fn applied(nets: &[&str]) -> (Ledger, MemoryDataplane) {
    let mut ledger = Ledger::new(Guards::default());
    let mut kernel = MemoryDataplane::default();
    let drop: Arc<Meaning> = Meaning::operator(Action::Drop, ServiceSet::ALL, "test").into();
    for text in nets {
        ledger.block(net(text), &drop, Some(MINUTE), 0).unwrap();
    }
    ledger.apply(&mut kernel, 0).unwrap();
    (ledger, kernel)
}

/// One sweep as the daemon makes it: what is wrong is distrusted.
fn sweep(ledger: &mut Ledger, kernel: &MemoryDataplane, now_ns: u64) -> Vec<(Site, Drift)> {
    let now_tick = time::tick(now_ns);
    let all = kernel.read_verdicts().unwrap();
    let found: Vec<(Site, Verdict)> =
        all.iter().map(|(net, verdict)| (Site::Prefix(*net), *verdict)).collect();
    ledger.begin_sweep();
    let mut suspects = ledger.compare(&found, now_tick);
    let mut walk = Unseen::new(Picks::default());
    while let Some(more) = ledger.unseen(&mut walk, 2, now_tick) {
        suspects.extend(more);
    }
    let mut drifts = Vec::new();
    for site in suspects {
        let now = found.iter().find(|(it, _)| *it == site).map(|(_, verdict)| verdict);
        if let Some(drift) = ledger.drift(site, now, now_tick) {
            ledger.distrust(site, now);
            drifts.push((site, drift));
        }
    }
    drifts
}

/// How many verdicts should be in the kernel.
fn wanted(ledger: &Ledger) -> usize {
    ledger.wanted_in_kernel(&walked(ledger, Picks::default()))
}

fn walked(ledger: &Ledger, picks: Picks) -> Unseen {
    let mut walk = Unseen::new(picks);
    while ledger.unseen(&mut walk, 2, 0).is_some() {}
    walk
}

const THREE: [&str; 3] = ["192.0.2.7/32", "192.0.2.0/24", "2001:db8::/64"];

#[test]
fn what_is_as_it_was_written_is_no_drift() {
    let (mut ledger, kernel) = applied(&THREE);
    assert_eq!(sweep(&mut ledger, &kernel, 0), []);
    assert!(!ledger.is_due());
    assert_eq!((wanted(&ledger), ledger.unwritten()), (3, 0));
}

#[test]
fn a_sample_is_spread_over_the_ledger_and_small() {
    let nets: Vec<String> = (0..10).map(|n| format!("192.0.2.{}/32", 2 * n)).collect();
    let (ledger, _) = applied(&nets.iter().map(String::as_str).collect::<Vec<_>>());
    let sample = |skip, stride, most| {
        let sample = walked(&ledger, Picks { skip, stride, most }).take_sample();
        sample.iter().map(|net| net.addr().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(sample(0, 4, 16), ["192.0.2.0", "192.0.2.8", "192.0.2.16"]);
    assert_eq!(sample(3, 4, 16), ["192.0.2.6", "192.0.2.14"]);
    assert_eq!(sample(9, 1, 16), ["192.0.2.18"]);
    assert_eq!(sample(0, 1, 2), ["192.0.2.0", "192.0.2.2"]);
}

#[test]
fn hits_are_the_kernels_own() {
    let (mut ledger, mut kernel) = applied(&THREE);
    let mut all = kernel.read_verdicts().unwrap();
    for (_, verdict) in &mut all {
        (verdict.hits, verdict.last_hit_tick) = (99, 7);
    }
    kernel.write_verdicts(&all).unwrap();
    assert_eq!(sweep(&mut ledger, &kernel, 0), []);
}

#[test]
fn missing_changed_and_foreign_entries_are_found_and_put_right() {
    let (mut ledger, mut kernel) = applied(&THREE);
    let before = kernel.read_verdicts().unwrap();
    kernel.remove_verdicts(&[net("192.0.2.7/32")]).unwrap();
    let mut changed = before.iter().find(|(it, _)| *it == net("192.0.2.0/24")).copied().unwrap();
    changed.1.class = 0;
    let foreign = (net("198.51.100.9/32"), Verdict { prefix_len: 32, ..before[0].1 });
    kernel.write_verdicts(&[changed, foreign]).unwrap();

    let mut drifts = sweep(&mut ledger, &kernel, 0);
    drifts.sort_by_key(|(_, drift)| *drift);
    assert_eq!(
        drifts,
        [
            (site("192.0.2.7/32"), Drift::Missing),
            (site("192.0.2.0/24"), Drift::Changed),
            (site("198.51.100.9/32"), Drift::Foreign),
        ]
    );
    assert_eq!(ledger.unwritten(), 3);
    ledger.apply(&mut kernel, 0).unwrap();
    assert_eq!(kernel.read_verdicts().unwrap(), before);
    assert_eq!(sweep(&mut ledger, &kernel, 0), []);
}

#[test]
fn an_end_that_was_moved_is_drift_and_one_that_has_come_is_none() {
    let (mut ledger, mut kernel) = applied(&["192.0.2.7/32"]);
    let mut all = kernel.read_verdicts().unwrap();
    let wanted = all[0].1.expires_tick;
    all[0].1.expires_tick = 0;
    kernel.write_verdicts(&all).unwrap();
    assert_eq!(sweep(&mut ledger, &kernel, 0), [(site("192.0.2.7/32"), Drift::Changed)]);
    ledger.apply(&mut kernel, 0).unwrap();
    assert_eq!(kernel.read_verdicts().unwrap()[0].1.expires_tick, wanted);
    // It ended, and the ledger has not swept yet: whether it is there or not is all the same.
    let later = 2 * MINUTE;
    assert_eq!(sweep(&mut ledger, &kernel, later), []);
    kernel.remove_verdicts(&[net("192.0.2.7/32")]).unwrap();
    assert_eq!(sweep(&mut ledger, &kernel, later), []);
    // Nor is an ended verdict that nobody knows.
    let ended = Verdict { class: 1, prefix_len: 32, expires_tick: 1, ..Verdict::default() };
    kernel.write_verdicts(&[(net("198.51.100.9/32"), ended)]).unwrap();
    assert_eq!(sweep(&mut ledger, &kernel, later), []);
}

#[test]
fn what_is_written_while_a_sweep_goes_on_is_seen() {
    let (mut ledger, mut kernel) = applied(&["192.0.2.7/32"]);
    ledger.begin_sweep();
    let drop: Arc<Meaning> = Meaning::operator(Action::Drop, ServiceSet::ALL, "test").into();
    ledger.block(net("192.0.2.9/32"), &drop, None, 0).unwrap();
    ledger.apply(&mut kernel, 0).unwrap();
    let mut walk = Unseen::new(Picks::default());
    let mut suspects = Vec::new();
    while let Some(more) = ledger.unseen(&mut walk, 100, 1) {
        suspects.extend(more);
    }
    assert_eq!(suspects, [site("192.0.2.7/32")], "only what an earlier write was to leave");
}

#[test]
fn a_class_that_means_something_else_is_found_and_written_again() {
    let (mut ledger, mut kernel) = applied(&THREE);
    let classes = kernel.read_classes().unwrap();
    assert_eq!(ledger.compare_classes(&classes), []);
    let (id, class) = classes[0];
    for wrong in [
        VerdictClass { action: Action::Allow as u8, ..class },
        VerdictClass { mode: Mode::Observe as u8, ..class },
        VerdictClass::default(),
    ] {
        kernel.write_class(id, &wrong).unwrap();
        assert!(ledger.is_class_amiss(id, &wrong));
        let found = kernel.read_classes().unwrap();
        assert_eq!(ledger.compare_classes(&found), [ClassDrift { id, users: 3 }]);
        ledger.rewrite_classes(&mut kernel, &[id]).unwrap();
        assert_eq!(kernel.read_classes().unwrap(), classes);
    }
    assert_eq!(ledger.compare_classes(&[]), [ClassDrift { id, users: 3 }], "a class that is gone");
}

#[test]
fn what_could_not_be_written_is_counted_and_is_no_drift() {
    let (mut ledger, mut kernel) = applied(&["192.0.2.7/32"]);
    kernel.fails_after = Some(0);
    let drop: Arc<Meaning> = Meaning::operator(Action::Drop, ServiceSet::ALL, "test").into();
    ledger.block(net("192.0.2.9/32"), &drop, None, 0).unwrap();
    ledger.apply(&mut kernel, 0).unwrap_err();
    kernel.fails_after = None;
    assert_eq!(sweep(&mut ledger, &kernel, 0), []);
    assert_eq!((wanted(&ledger), ledger.unwritten()), (2, 1));
}

#[test]
fn a_verdict_on_a_flow_may_be_given_up_by_its_map() {
    let mut ledger = Ledger::new(Guards::default());
    let mut kernel = MemoryDataplane::default();
    let drop: Arc<Meaning> = Meaning::operator(Action::Drop, ServiceSet::ALL, "late").into();
    let key = weir_common::abi::FlowKey::default();
    ledger.end_flow(key, &drop, MINUTE, 0);
    ledger.apply(&mut kernel, 0).unwrap();
    let site = Site::Subject(Subject::Flow(key));
    assert_eq!(ledger.drift(site, None, 1), None);
    let mut other = kernel.read_subjects().unwrap()[0].1;
    assert_eq!(ledger.drift(site, Some(&other), 1), None);
    other.class += 1;
    assert_eq!(ledger.drift(site, Some(&other), 1), Some(Drift::Changed));
}
