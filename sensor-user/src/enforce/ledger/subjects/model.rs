//! Fingerprints in the ledger against a naive model, through the kernel's tables: whatever is wanted,
//! learned, withdrawn and ended in whatever order, with failing writes and restarts in between, the
//! kernel has exactly what is wanted and known.

use std::{collections::HashMap, sync::Arc};

use proptest::prelude::*;
use weir_common::{
    abi::{Action, Mode, ServiceSet, time},
    tls::Seed,
};

use super::*;
use crate::enforce::{
    guard::Guards, ladder::RateLimit, ledger::durable::disk::Disk, memory::MemoryDataplane,
};

/// Hellos, two of which share a stable form.
const HELLOS: [&str; 3] = [
    "t13d0205h2_1301,1302_000a,0023,002b_0403,0804",
    "t13d0206h2_1301,1302_000a,0023,0029,002b_0403,0804",
    "t12i010200_c02f_000a,0023",
];

const SYN: &str = "tcp:4:64:0:*:mss*44,7:mss,sok,ts,nop,ws:df,id+:0";

const SEED: Seed = Seed { add: 0x1234_5678_9abc_def0, multiply: 0x0fed_cba9_8765_4321 };

fn hello(index: usize) -> Ja4Raw {
    HELLOS[index].parse().unwrap()
}

/// Everything that an operator can name, in every way to name it.
fn nameable() -> Vec<Fingerprint> {
    let texts = HELLOS.iter().enumerate().flat_map(|(index, text)| {
        let raw = hello(index);
        [
            format!("ja4_r:{text}"),
            format!("ja4:{}", raw.ja4()),
            format!("stable:{}", raw.stable()),
            format!("stable:{text}"),
        ]
    });
    texts.chain([SYN.to_owned()]).map(|text| text.parse().unwrap()).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Block { index: usize, meaning: Meaning, ticks: Option<u64> },
    Unblock { index: usize },
    Learn { hello: usize },
    Wait { ticks: u64 },
    Second,
    Failing { after: usize },
    Restart,
}

fn meaning() -> impl Strategy<Value = Meaning> {
    let action = prop_oneof![
        Just(Action::Allow),
        Just(Action::Limit),
        Just(Action::Reject),
        Just(Action::Drop)
    ];
    let services = prop_oneof![Just(ServiceSet::ALL), Just(ServiceSet::one(1))];
    let mode = prop_oneof![3 => Just(Mode::Enforce), 1 => Just(Mode::Observe)];
    (action, services, mode).prop_map(|(action, services, mode)| Meaning {
        mode,
        limit: (action == Action::Limit).then(|| RateLimit::new(10, 1)),
        ..Meaning::operator(action, services, "why")
    })
}

fn step() -> impl Strategy<Value = Step> {
    let index = 0..nameable().len();
    prop_oneof![
        6 => (index.clone(), meaning(), prop::option::weighted(0.6, 1_u64..40))
            .prop_map(|(index, meaning, ticks)| Step::Block { index, meaning, ticks }),
        2 => index.prop_map(|index| Step::Unblock { index }),
        3 => (0..HELLOS.len()).prop_map(|hello| Step::Learn { hello }),
        2 => (1_u64..20).prop_map(|ticks| Step::Wait { ticks }),
        3 => Just(Step::Second),
        1 => (0_usize..4).prop_map(|after| Step::Failing { after }),
        1 => Just(Step::Restart),
    ]
}

/// What is wanted of a name, and the keys that it is known to have.
type Naive = HashMap<FingerprintName, (Entry, Vec<Subject>)>;

fn learn(naive: &mut Naive, name: &FingerprintName, subject: Subject) {
    if let Some((_, known)) = naive.get_mut(name)
        && !known.contains(&subject)
    {
        known.push(subject);
    }
}

/// Every key that anything could stand at.
fn subjects() -> Vec<Subject> {
    let syn = SYN.parse::<Fingerprint>().unwrap().subject(SEED).unwrap();
    let keys = (0..HELLOS.len()).map(|index| hello(index).keys(SEED));
    keys.flat_map(|keys| [keys.matching, keys.stable])
        .map(Subject::Fingerprint)
        .chain([syn])
        .collect()
}

fn check(naive: &Naive, dataplane: &MemoryDataplane, now_ns: u64) -> Result<(), TestCaseError> {
    for subject in subjects() {
        for service in [1, 2] {
            let wanted = naive.values().find(|(entry, known)| {
                known.contains(&subject)
                    && entry.is_live(now_ns)
                    && entry.meaning.services.contains(service)
            });
            let wanted = wanted.map(|(entry, _)| (entry.meaning.action, entry.meaning.mode));
            let class = dataplane.judge_subject(&subject, service, time::tick(now_ns));
            let done = class.map(|class| (class.action(), class.mode()));
            prop_assert_eq!(done, wanted, "{:?} {}", subject, service);
        }
    }
    Ok(())
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let nameable = nameable();
    let mut dataplane = MemoryDataplane::default();
    dataplane.seed = SEED;
    let mut ledger = Ledger::adopt(&dataplane, None, Guards::default(), 0).unwrap();
    let mut naive = Naive::new();
    let mut now_ns = 100 * time::TICK_NS;
    let disk = Disk::default();
    for step in steps {
        let mut is_applied = false;
        match step {
            Step::Block { index, meaning, ticks } => {
                let fingerprint = &nameable[index];
                let name = fingerprint.name();
                let is_possible = meaning.action != Action::Limit || !name.is_hello();
                let meaning = Arc::new(meaning);
                let expires_ns = ticks.map(|ticks| now_ns + ticks * time::TICK_NS);
                let taken = ledger.block_fingerprint(fingerprint, &meaning, expires_ns, now_ns);
                prop_assert_eq!(taken.is_ok(), is_possible);
                if is_possible {
                    prop_assert_eq!(taken, Ok(naive.contains_key(name)));
                    let entry = Entry { meaning, created_ns: now_ns, expires_ns };
                    let known = naive.remove(name).map(|(_, known)| known).unwrap_or_default();
                    naive.insert(name.clone(), (entry, known));
                    if let Some(subject) = fingerprint.subject(SEED) {
                        learn(&mut naive, name, subject);
                    }
                }
                is_applied = ledger.apply(&mut dataplane, now_ns).is_ok();
            }
            Step::Unblock { index } => {
                let name = nameable[index].name();
                prop_assert_eq!(ledger.unblock_fingerprint(name), naive.remove(name).is_some());
                is_applied = ledger.apply(&mut dataplane, now_ns).is_ok();
            }
            Step::Learn { hello: index } => {
                let raw = hello(index);
                ledger.learned(&raw.ja4(), &raw.stable(), &raw);
                for name in [FingerprintName::Ja4(raw.ja4()), FingerprintName::Stable(raw.stable())]
                {
                    learn(&mut naive, &name, name.subject_of(&raw, SEED));
                }
                is_applied = ledger.apply(&mut dataplane, now_ns).is_ok();
            }
            Step::Wait { ticks } => now_ns += ticks * time::TICK_NS,
            Step::Second => {
                ledger.sweep(now_ns);
                naive.retain(|_, (entry, _)| entry.is_live(now_ns));
                dataplane.fails_after = None;
                ledger.apply(&mut dataplane, now_ns).unwrap();
                prop_assert!(!ledger.is_due());
                prop_assert_eq!(ledger.len(), naive.len());
                is_applied = true;
            }
            Step::Failing { after } => dataplane.fails_after = Some(after),
            Step::Restart => {
                // What the kernel was not told to forget would be found there.
                dataplane.fails_after = None;
                ledger.apply(&mut dataplane, now_ns).unwrap();
                disk.keep(&mut ledger, now_ns);
                let kept = Some(disk.kept(now_ns));
                ledger = Ledger::adopt(&dataplane, kept, Guards::default(), now_ns).unwrap();
                naive.retain(|_, (entry, _)| entry.is_live(now_ns));
                ledger.apply(&mut dataplane, now_ns).unwrap();
                is_applied = true;
            }
        }
        if is_applied || dataplane.fails_after.is_none() {
            check(&naive, &dataplane, now_ns)?;
        }
    }
    // And in the end, nothing is left behind.
    dataplane.fails_after = None;
    for fingerprint in &nameable {
        ledger.unblock_fingerprint(fingerprint.name());
    }
    ledger.apply(&mut dataplane, now_ns).unwrap();
    prop_assert!(dataplane.is_empty() && ledger.subjects.slots.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_kernel_has_what_is_wanted_and_known(steps in prop::collection::vec(step(), 1..40)) {
        run(steps)?;
    }
}
