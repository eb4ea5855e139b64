//! What is promised of subjects, one by one.

use std::sync::Arc;

use weir_common::abi::{Action, FlowKey, Reason, ServiceSet, VerdictClass, time};

use super::*;
use crate::enforce::{guard::Guards, memory::MemoryDataplane};

const RAW: &str = "t13d0205h2_1301,1302_000a,0023,002b_0403,0804";
const SYN: &str = "tcp:4:64:0:1460:mss*44,7:mss,sok,ts,nop,ws:df,id+:0";
const MINUTE: u64 = 60 * time::SECOND_NS;

fn raw() -> Ja4Raw {
    RAW.parse().unwrap()
}

fn fingerprint(text: &str) -> Fingerprint {
    text.parse().unwrap()
}

fn operator(action: Action) -> Arc<Meaning> {
    Meaning::operator(action, ServiceSet::ALL, "why").into()
}

fn class(dataplane: &MemoryDataplane, subject: Subject, now_ns: u64) -> Option<VerdictClass> {
    dataplane.judge_subject(&subject, 1, time::tick(now_ns)).copied()
}

fn flow(number: u32) -> FlowKey {
    FlowKey { remote: [0, 0, 0, number], ..FlowKey::default() }
}

#[test]
fn fingerprints_are_counted_apart_from_addresses_though_they_mean_the_same() {
    let mut ledger = Ledger::new(Guards::default());
    let mut dataplane = MemoryDataplane::default();
    let drop = operator(Action::Drop);
    let blocked = fingerprint(&format!("ja4_r:{RAW}"));
    ledger.block("192.0.2.7/32".parse().unwrap(), &drop, None, 0).unwrap();
    assert_eq!(ledger.block_fingerprint(&blocked, &drop, Some(MINUTE), 0), Ok(false));
    assert_eq!(ledger.block_fingerprint(&fingerprint(SYN), &drop, None, 0), Ok(false));
    assert_eq!(ledger.apply(&mut dataplane, 0).unwrap().written, 3);
    let address = dataplane.judge("192.0.2.7".parse().unwrap(), 1, 1).unwrap();
    assert_eq!(address.reason(), Reason::DropOperator);
    let hello = blocked.subject(dataplane.seed).unwrap();
    let syn = fingerprint(SYN).subject(dataplane.seed).unwrap();
    assert_eq!(class(&dataplane, hello, 0).unwrap().reason(), Reason::DropFingerprint);
    assert_eq!(class(&dataplane, syn, 0).unwrap().reason(), Reason::DropOperator);
    assert_eq!(class(&dataplane, hello, MINUTE - 1).unwrap().action(), Action::Drop);
    assert_eq!(class(&dataplane, hello, MINUTE + time::TICK_NS), None, "without anybody's help");
    assert_eq!(ledger.sweep(MINUTE), 1);
    assert_eq!(ledger.apply(&mut dataplane, MINUTE).unwrap().removed, 1);
    assert!(ledger.unblock_fingerprint(fingerprint(SYN).name()));
    assert!(!ledger.unblock_fingerprint(fingerprint(SYN).name()));
    ledger.apply(&mut dataplane, MINUTE).unwrap();
    assert_eq!((dataplane.len(), ledger.len()), (1, 1), "the address");
}

#[test]
fn a_limit_on_a_hello_comes_too_late_and_is_refused() {
    let mut ledger = Ledger::new(Guards::default());
    let hello = fingerprint(&format!("ja4_r:{RAW}"));
    let refused = ledger.block_fingerprint(&hello, &operator(Action::Limit), None, 0).unwrap_err();
    assert_eq!(refused, LedgerError::LimitOnHello(hello.name().clone()));
    assert!(ledger.is_empty());
}

#[test]
fn every_form_that_a_hash_stands_for_is_refused_and_no_more_than_eight() {
    let mut ledger = Ledger::new(Guards::default());
    let mut dataplane = MemoryDataplane::default();
    let ja4 = raw().ja4();
    let name = FingerprintName::Ja4(ja4);
    ledger
        .block_fingerprint(&fingerprint(&name.to_string()), &operator(Action::Drop), None, 0)
        .unwrap();
    // As if their hashes were the same.
    let twin = |n: usize| -> Ja4Raw {
        format!("t13d0205h2_1301,1302_000a,0023,{:04x}_0403,0804", 0x0031 + 2 * n).parse().unwrap()
    };
    for n in 0..12 {
        assert_eq!(ledger.learned(&ja4, &ja4, &twin(n)), n < MOST_FORMS, "{n}");
        assert!(!ledger.learned(&ja4, &ja4, &twin(n)), "it is known");
    }
    ledger.apply(&mut dataplane, 0).unwrap();
    for n in 0..12 {
        let subject = name.subject_of(&twin(n), dataplane.seed);
        assert_eq!(class(&dataplane, subject, 0).is_some(), n < MOST_FORMS, "{n}");
    }
    ledger.unblock_fingerprint(&name);
    ledger.apply(&mut dataplane, 0).unwrap();
    assert!(dataplane.is_empty() && ledger.subjects.slots.is_empty());
    assert!(ledger.subjects.holders.is_empty());
}

#[test]
fn an_allow_counts_more_than_a_drop_and_services_are_told_apart() {
    let mut ledger = Ledger::new(Guards::default());
    let (ja4, stable) = (raw().ja4(), raw().stable());
    let drop = operator(Action::Drop);
    let by_stable = fingerprint(&format!("stable:{stable}"));
    ledger.block_fingerprint(&by_stable, &drop, Some(MINUTE), 0).unwrap();
    let action = |ledger: &Ledger, service, now_ns| {
        let found = ledger.lookup_fingerprint(&ja4, &stable, service, now_ns);
        found.map(|(_, entry)| entry.meaning.action)
    };
    assert_eq!(action(&ledger, 1, 0), Some(Action::Drop));
    assert_eq!(action(&ledger, 1, MINUTE), None, "it ended");
    let allow = Meaning::operator(Action::Allow, ServiceSet::one(1), "partner").into();
    ledger.block_fingerprint(&fingerprint(&format!("ja4:{ja4}")), &allow, None, 0).unwrap();
    assert_eq!(action(&ledger, 1, 0), Some(Action::Allow));
    assert_eq!(action(&ledger, 2, 0), Some(Action::Drop));
}

#[test]
fn flows_end_for_a_while_and_the_oldest_goes_first() {
    let mut ledger = Ledger::new(Guards::default());
    let mut dataplane = MemoryDataplane::default();
    let drop = operator(Action::Drop);
    let most = u32::try_from(MOST_FLOWS).unwrap();
    for number in 0..=most {
        ledger.end_flow(flow(number), &drop, MINUTE, 0);
    }
    ledger.end_flow(flow(7), &drop, 2 * MINUTE, 0);
    ledger.apply(&mut dataplane, 0).unwrap();
    assert_eq!(dataplane.len(), MOST_FLOWS);
    let is_ended = |dataplane: &MemoryDataplane, number, now_ns| {
        class(dataplane, Subject::Flow(flow(number)), now_ns).is_some()
    };
    assert!(!is_ended(&dataplane, 0, 0) && is_ended(&dataplane, 1, 0));
    assert_eq!(ledger.sweep(MINUTE), MOST_FLOWS - 1);
    ledger.apply(&mut dataplane, MINUTE).unwrap();
    assert!(is_ended(&dataplane, 7, MINUTE) && !is_ended(&dataplane, 8, MINUTE));

    let mut again = Ledger::adopt(&dataplane, None, Guards::default(), MINUTE).unwrap();
    again.apply(&mut dataplane, MINUTE).unwrap();
    assert_eq!(dataplane.len(), 1, "a restart finds it");
    assert_eq!(again.sweep(2 * MINUTE + time::TICK_NS), 1);
    again.apply(&mut dataplane, 2 * MINUTE + time::TICK_NS).unwrap();
    assert!(dataplane.is_empty() && again.is_empty());
}
