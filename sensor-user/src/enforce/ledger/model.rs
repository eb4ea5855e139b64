//! The ledger against a naive model, through the kernel's look-up: whatever is wanted, withdrawn
//! and ended in whatever order, with failing writes and restarts in between, the kernel never does
//! more than is wanted, and does all of it wherever it can be expressed.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use proptest::prelude::*;
use weir_common::abi::{Action, Mode, ServiceSet, VerdictClass, time};

use super::{
    Ledger,
    durable::disk::Disk,
    entry::{Entry, Meaning, Origin},
};
use crate::enforce::{guard::Guards, ladder::RateLimit, memory::MemoryDataplane};

/// Nested as deeply as it gets, in both families.
const PREFIXES: &[&str] = &[
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.1.0/24",
    "10.1.1.4/30",
    "10.1.1.4/32",
    "10.1.1.5/32",
    "10.9.9.9/32",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "2001:db8:1:1::/64",
    "2001:db8:1:1::5/128",
    "2001:db8:1:2::/64",
];

const ADDRESSES: &[&str] = &[
    "10.0.0.1",
    "10.1.0.1",
    "10.1.1.1",
    "10.1.1.4",
    "10.1.1.5",
    "10.1.1.6",
    "10.9.9.9",
    "11.0.0.1",
    "2001:db8::1",
    "2001:db8:1::1",
    "2001:db8:1:1::",
    "2001:db8:1:1::5",
    "2001:db8:1:2::9",
];

/// One of the addresses: it is guarded.
const OWN: &str = "10.1.1.5";

/// Services that packets are for; 3 is in no set but the one of all.
const SERVICES: [u8; 4] = [0, 1, 2, 3];

#[derive(Clone, Debug)]
enum Step {
    Block {
        prefix: usize,
        meaning: Meaning,
        ticks: Option<u64>,
    },
    Unblock {
        prefix: usize,
    },
    /// Time passes and nobody looks.
    Wait {
        ticks: u64,
    },
    /// The daemon's second: sweep and apply.
    Second,
    /// Every write from the nth on fails once.
    Failing {
        after: usize,
    },
    /// The daemon is gone and comes back.
    Restart,
}

fn meaning() -> impl Strategy<Value = Meaning> {
    let action = prop_oneof![
        2 => Just(Action::Allow),
        1 => Just(Action::Mark),
        3 => Just(Action::Limit),
        1 => Just(Action::Reject),
        4 => Just(Action::Drop)
    ];
    let services = prop_oneof![
        3 => Just(ServiceSet::ALL),
        2 => Just(ServiceSet::one(1)),
        1 => Just(ServiceSet::one(2)),
        1 => Just(ServiceSet::one(1).union(ServiceSet::one(2)))
    ];
    let origin = prop_oneof![
        Just(Origin::Operator),
        Just(Origin::Policy { name: "a".into(), forgeable: false }),
        Just(Origin::Policy { name: "b".into(), forgeable: false }),
        Just(Origin::Policy { name: "b".into(), forgeable: true })
    ];
    let mode = prop_oneof![3 => Just(Mode::Enforce), 1 => Just(Mode::Observe)];
    (action, services, origin, mode, 1_u64..4).prop_map(
        |(action, services, origin, mode, interval)| {
            let forgeable = matches!(origin, Origin::Policy { forgeable: true, .. });
            let action = if forgeable { Action::Limit } else { action };
            let is_policy = matches!(origin, Origin::Policy { .. });
            Meaning {
                origin,
                action,
                mode: if action == Action::Allow { Mode::Enforce } else { mode },
                services,
                limit: (action == Action::Limit).then(|| RateLimit::new(interval, 1)),
                rule: is_policy.then(|| "p/r".into()),
                reason: "why".into(),
                by_fingerprint: false,
                heartbeat_s: None,
            }
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let prefix = 0..PREFIXES.len();
    prop_oneof![
        6 => (prefix.clone(), meaning(), prop::option::weighted(0.7, 1_u64..40))
            .prop_map(|(prefix, meaning, ticks)| Step::Block { prefix, meaning, ticks }),
        2 => prefix.prop_map(|prefix| Step::Unblock { prefix }),
        2 => (1_u64..20).prop_map(|ticks| Step::Wait { ticks }),
        3 => Just(Step::Second),
        1 => (0_usize..4).prop_map(|after| Step::Failing { after }),
        1 => Just(Step::Restart),
    ]
}

/// What is wanted, without any cleverness.
#[derive(Default)]
struct Naive(Vec<(IpNet, Entry)>);

impl Naive {
    fn block(&mut self, net: IpNet, entry: Entry) {
        self.0.retain(|(known, old)| *known != net || old.meaning.origin != entry.meaning.origin);
        self.0.push((net, entry));
    }

    /// The strongest acting entry for a packet; `None` if it shall pass.
    fn wanted(&self, address: IpAddr, service: u8, now_ns: u64) -> Option<&Entry> {
        if address == OWN.parse::<IpAddr>().unwrap() {
            return None;
        }
        let applying: Vec<&Entry> = self
            .0
            .iter()
            .filter(|(net, entry)| {
                net.contains(&address)
                    && entry.meaning.services.contains(service)
                    && entry.is_live(now_ns)
            })
            .map(|(_, entry)| entry)
            .collect();
        if applying.iter().any(|entry| entry.meaning.action == Action::Allow) {
            return None;
        }
        applying
            .into_iter()
            .filter(|entry| entry.meaning.mode == Mode::Enforce)
            .filter(|entry| entry.meaning.action >= Action::Limit)
            .max_by_key(|entry| entry.meaning.strength())
    }
}

/// What a class does, as a meaning, if it acts.
fn acting(class: Option<&VerdictClass>) -> Option<Meaning> {
    let class = class?;
    let acts = class.mode() == Mode::Enforce && class.action() >= Action::Limit;
    acts.then(|| Meaning::found(class))
}

fn check(
    naive: &Naive,
    dataplane: &MemoryDataplane,
    unmet: Option<&[IpNet]>,
    now_ns: u64,
) -> Result<(), TestCaseError> {
    for address in ADDRESSES.iter().map(|text| text.parse::<IpAddr>().unwrap()) {
        for service in SERVICES {
            let wanted = naive.wanted(address, service, now_ns).map(|entry| &entry.meaning);
            let done = acting(dataplane.judge(address, service, time::tick(now_ns)));
            let (wanted_strength, done_strength) =
                (wanted.map(|w| w.strength()), done.as_ref().map(Meaning::strength));
            prop_assert!(
                done_strength <= wanted_strength,
                "{address} service {service}: more than wanted: {done:?}, wanted {wanted:?}"
            );
            let Some(unmet) = unmet else { continue };
            if !unmet.iter().any(|net| net.contains(&address)) {
                prop_assert_eq!(
                    done_strength,
                    wanted_strength,
                    "{} service {}: {:?}, wanted {:?}",
                    address,
                    service,
                    done,
                    wanted
                );
            }
        }
    }
    Ok(())
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let guards = || Guards::new([OWN.parse().unwrap()]);
    let mut ledger = Ledger::new(guards());
    let mut naive = Naive::default();
    let mut dataplane = MemoryDataplane::default();
    let mut now_ns = 100 * time::TICK_NS;
    let disk = Disk::default();
    for step in steps {
        let mut is_applied = false;
        match step {
            Step::Block { prefix, meaning, ticks } => {
                let net: IpNet = PREFIXES[prefix].parse().unwrap();
                let meaning = Arc::new(meaning);
                let expires_ns = ticks.map(|ticks| now_ns + ticks * time::TICK_NS);
                let taken = ledger.block(net, &meaning, expires_ns, now_ns).is_ok();
                let may_be_refused = net.contains(&OWN.parse::<IpAddr>().unwrap());
                prop_assert!(taken || may_be_refused);
                if taken {
                    let entry = ledger
                        .list(now_ns)
                        .find(|listed| {
                            listed.prefix == net && listed.entry.meaning.origin == meaning.origin
                        })
                        .map(|listed| listed.entry.clone());
                    naive.block(net, entry.unwrap());
                }
                is_applied = ledger.apply(&mut dataplane, now_ns).is_ok();
            }
            Step::Unblock { prefix } => {
                let net: IpNet = PREFIXES[prefix].parse().unwrap();
                ledger.unblock(&net, None);
                naive.0.retain(|(known, _)| *known != net);
                is_applied = ledger.apply(&mut dataplane, now_ns).is_ok();
            }
            Step::Wait { ticks } => now_ns += ticks * time::TICK_NS,
            Step::Second => {
                ledger.sweep(now_ns);
                naive.0.retain(|(_, entry)| entry.is_live(now_ns));
                dataplane.fails_after = None;
                ledger.apply(&mut dataplane, now_ns).unwrap();
                prop_assert!(!ledger.is_due());
                is_applied = true;
            }
            Step::Failing { after } => dataplane.fails_after = Some(after),
            Step::Restart => {
                // What the kernel was never told dies with the daemon.
                dataplane.fails_after = None;
                ledger.apply(&mut dataplane, now_ns).unwrap();
                disk.keep(&mut ledger, now_ns);
                let kept = Some(disk.kept(now_ns));
                ledger = Ledger::adopt(&dataplane, kept, guards(), now_ns).unwrap();
                ledger.apply(&mut dataplane, now_ns).unwrap();
                is_applied = true;
            }
        }
        if is_applied {
            // Ended entries are settled only by a sweep: until then less may be done.
            let is_swept = !naive.0.iter().any(|(_, entry)| !entry.is_live(now_ns));
            let unmet: Vec<IpNet> = ledger.unmet().collect();
            check(&naive, &dataplane, is_swept.then_some(&unmet[..]), now_ns)?;
        } else if dataplane.fails_after.is_none() {
            check(&naive, &dataplane, None, now_ns)?;
        }
    }
    dataplane.fails_after = None;
    ledger.sweep(now_ns);
    naive.0.retain(|(_, entry)| entry.is_live(now_ns));
    ledger.apply(&mut dataplane, now_ns).unwrap();
    let unmet: Vec<IpNet> = ledger.unmet().collect();
    check(&naive, &dataplane, Some(&unmet), now_ns)?;

    // And in the end, nothing is left behind.
    for prefix in PREFIXES {
        ledger.unblock(&prefix.parse().unwrap(), None);
    }
    ledger.apply(&mut dataplane, now_ns).unwrap();
    prop_assert_eq!(dataplane.len(), 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_kernel_does_what_is_wanted_and_never_more(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        run(steps)?;
    }
}
