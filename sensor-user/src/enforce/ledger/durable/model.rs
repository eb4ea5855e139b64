//! A kill at any step, against a model: whatever was wanted, lifted and decided, with however much of
//! it on disk and with failing writes to the kernel, the next daemon has for each address what it was
//! told last, or something that was wanted after that; never anything from before.

use std::collections::HashMap;

use ipnet::IpNet;
use proptest::prelude::*;
use weir_common::abi::{Action, ServiceSet, time};

use super::{
    disk::{Disk, UNIX_NS},
    *,
};
use crate::enforce::{
    guard::Guards,
    ledger::{Ledger, Meaning, Origin},
    memory::MemoryDataplane,
};

/// Addresses that cover one another never meet here: how verdicts combine is another model's.
const NETS: [&str; 5] =
    ["192.0.2.1/32", "192.0.2.2/32", "198.51.100.0/24", "2001:db8:7::/64", "2001:db8::9/128"];

#[derive(Clone, Debug)]
enum Step {
    /// An operator blocks, or a rule decides.
    Want {
        net: usize,
        by_rule: bool,
        action: Action,
        ticks: Option<u64>,
    },
    Lift {
        net: usize,
    },
    Wait {
        ticks: u64,
    },
    /// The daemon's second.
    Sweep,
    /// What changed is handed to the store …
    Hand,
    /// … which gets so many batches onto the disk.
    Commit {
        batches: usize,
    },
    /// Writes to the kernel fail from the nth on, or again succeed.
    Kernel {
        fails_after: Option<usize>,
    },
    /// Killed, with so many of the waiting batches on disk; started again.
    Kill {
        batches: usize,
    },
    /// The host goes down and comes up, its clock this much further, or back.
    Reboot {
        batches: usize,
        down_ticks: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let net = 0..NETS.len();
    let action = prop_oneof![Just(Action::Drop), Just(Action::Reject), Just(Action::Allow)];
    let want = (net.clone(), any::<bool>(), action, prop::option::weighted(0.7, 1_u64..60));
    prop_oneof![
        8 => want.prop_map(|(net, by_rule, action, ticks)| {
            // Rules' verdicts end.
            let ticks = if by_rule { Some(ticks.unwrap_or(30)) } else { ticks };
            Step::Want { net, by_rule, action, ticks }
        }),
        4 => net.prop_map(|net| Step::Lift { net }),
        2 => (1_u64..20).prop_map(|ticks| Step::Wait { ticks }),
        3 => Just(Step::Sweep),
        4 => Just(Step::Hand),
        3 => (1_usize..4).prop_map(|batches| Step::Commit { batches }),
        1 => (0_usize..3).prop_map(|n| Step::Kernel { fails_after: Some(n) }),
        1 => Just(Step::Kernel { fails_after: None }),
        3 => (0_usize..4).prop_map(|batches| Step::Kill { batches }),
        1 => ((0_usize..4), (-100_i64..100))
            .prop_map(|(batches, down_ticks)| Step::Reboot { batches, down_ticks }),
    ]
}

/// What is wanted of an address: by whom, what, until when.
type Wish = Vec<(Origin, Action, Option<u64>)>;

/// What was wanted of each address, one version after the other; the first is on disk.
#[derive(Default)]
struct History(HashMap<usize, Vec<Wish>>);

impl History {
    fn versions(&mut self, net: usize) -> &mut Vec<Wish> {
        self.0.entry(net).or_insert_with(|| vec![Wish::new()])
    }

    fn change(&mut self, net: usize, change: impl FnOnce(&mut Wish)) {
        let versions = self.versions(net);
        let mut next = versions.last().cloned().unwrap_or_default();
        change(&mut next);
        versions.push(next);
    }
}

struct World {
    ledger: Ledger,
    maps: MemoryDataplane,
    disk: Disk,
    history: History,
    // Handed over and not on disk: the batch, and how many versions of each address it tells.
    queue: Vec<(Batch, Vec<usize>)>,
    at: Moment,
    boots: u32,
    // Ends of rules' verdicts are the ledger's own business: a repetition never shortens one.
    wall_ns: u64,
}

fn net(index: usize) -> IpNet {
    NETS[index].parse().unwrap()
}

fn rule() -> Origin {
    Origin::Policy { name: "p".into(), forgeable: false }
}

fn is_live(end: Option<u64>, now_ns: u64) -> bool {
    end.is_none_or(|end| end > now_ns)
}

impl World {
    fn new() -> Self {
        let now_ns = 100 * time::TICK_NS;
        Self {
            ledger: Ledger::new(Guards::default()),
            maps: MemoryDataplane::default(),
            disk: Disk::default(),
            history: History::default(),
            queue: Vec::new(),
            at: Moment { boot_id: "0".into(), now_ns, unix_ns: UNIX_NS },
            boots: 0,
            wall_ns: UNIX_NS,
        }
    }

    fn want(&mut self, index: usize, by_rule: bool, action: Action, ticks: Option<u64>) {
        let now_ns = self.at.now_ns;
        let origin = if by_rule { rule() } else { Origin::Operator };
        let meaning =
            Meaning { origin: origin.clone(), ..Meaning::operator(action, ServiceSet::ALL, "why") };
        let expires_ns = ticks.map(|ticks| now_ns + ticks * time::TICK_NS);
        self.ledger.block(net(index), &meaning.into(), expires_ns, now_ns).unwrap();
        let net = net(index);
        let mut listed = self.ledger.entries(&net, now_ns);
        let end = listed.find(|it| it.meaning.origin == origin).map(|it| it.expires_ns);
        drop(listed);
        self.history.change(index, |wish| {
            wish.retain(|(by, ..)| *by != origin);
            wish.push((origin, action, end.unwrap()));
        });
        let _ = self.ledger.apply(&mut self.maps, now_ns);
    }

    fn hand(&mut self) {
        if self.ledger.is_unkept() {
            let batch = self.ledger.take_batch();
            let told = (0..NETS.len()).map(|net| self.history.versions(net).len()).collect();
            self.queue.push((batch, told));
        }
    }

    /// So many batches reach the disk: nothing from before is right any more.
    fn commit(&mut self, batches: usize) {
        let batches = batches.min(self.queue.len());
        let mut dropped = vec![0; NETS.len()];
        for (batch, told) in self.queue.drain(..batches) {
            self.disk.write(&batch, &self.at);
            for (net, told) in told.into_iter().enumerate() {
                let before = told - 1 - dropped[net];
                self.history.versions(net).drain(..before);
                dropped[net] += before;
            }
        }
        for (_, told) in &mut self.queue {
            for (told, dropped) in told.iter_mut().zip(&dropped) {
                *told -= dropped;
            }
        }
    }

    /// The next daemon, and what it finds.
    fn restart(&mut self) -> Result<(), TestCaseError> {
        self.queue.clear();
        self.maps.fails_after = None;
        let now_ns = self.at.now_ns;
        let kept = Kept::read(&self.disk.0, &self.at).unwrap();
        self.ledger = Ledger::adopt(&self.maps, Some(kept), Guards::default(), now_ns).unwrap();
        self.ledger.apply(&mut self.maps, now_ns).unwrap();
        for (index, _) in NETS.iter().enumerate() {
            let found: Wish = self
                .ledger
                .entries(&net(index), now_ns)
                .map(|it| (it.meaning.origin.clone(), it.meaning.action, it.expires_ns))
                .collect();
            let versions = self.history.versions(index);
            let live = |wish: &Wish| -> Wish {
                let live = wish.iter().filter(|(.., end)| is_live(*end, now_ns));
                live.cloned().collect()
            };
            let is_stored = same(&found, &live(&versions[0]));
            // Told to the kernel, and not to the store: the strongest of what was wanted since.
            let is_newer = versions[1..].iter().any(|wish| {
                let [(_, action, end)] = &found[..] else { return false };
                wish.iter().any(|(_, wanted, ends)| wanted == action && is_about(*end, *ends))
            });
            // Before the first batch was on disk, the kernel alone knows.
            prop_assert!(
                is_stored || (live(&versions[0]).is_empty() && is_newer),
                "{}: {found:?} of {versions:?} at {now_ns}",
                NETS[index]
            );
            *versions = vec![found];
        }
        // What it found goes to the store first of all, and what the clocks show.
        self.disk.write(&Batch::default(), &self.at);
        self.hand();
        self.commit(usize::MAX);
        Ok(())
    }

    /// The host comes up again: the maps are gone, and ends are told in another time.
    fn reboot(&mut self, down_ticks: i64) -> Result<(), TestCaseError> {
        self.boots += 1;
        self.maps = MemoryDataplane::default();
        let seen = self.at.clone();
        let down_ns = down_ticks * time::TICK_NS as i64;
        self.wall_ns = seen.unix_ns.saturating_add_signed(down_ns);
        // Monotonic time begins anew.
        let now_ns = 10 * time::TICK_NS;
        self.at = Moment { boot_id: self.boots.to_string().into(), now_ns, unix_ns: self.wall_ns };
        let passed_ns = u64::try_from(down_ns).unwrap_or(0);
        for index in 0..NETS.len() {
            // Only what is on disk can be known.
            let versions = self.history.versions(index);
            versions.truncate(1);
            for (.., end) in versions[0].iter_mut() {
                if let Some(end) = end {
                    let left = end.saturating_sub(seen.now_ns).saturating_sub(passed_ns);
                    *end = now_ns + left;
                }
            }
        }
        self.restart()
    }
}

/// Whether two say the same of an address, in whatever order.
fn same(found: &Wish, wanted: &Wish) -> bool {
    found.len() == wanted.len() && found.iter().all(|it| wanted.contains(it))
}

/// The kernel's ends are rounded up to ticks.
fn is_about(found: Option<u64>, wanted: Option<u64>) -> bool {
    match (found, wanted) {
        (None, None) => true,
        (Some(found), Some(wanted)) => found.abs_diff(wanted) <= time::TICK_NS,
        _ => false,
    }
}

fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new();
    for step in steps {
        match step {
            Step::Want { net, by_rule, action, ticks } => world.want(net, by_rule, action, ticks),
            Step::Lift { net: index } => {
                world.ledger.unblock(&net(index), None);
                world.history.change(index, Wish::clear);
                let _ = world.ledger.apply(&mut world.maps, world.at.now_ns);
            }
            Step::Wait { ticks } => {
                world.at.now_ns += ticks * time::TICK_NS;
                world.at.unix_ns += ticks * time::TICK_NS;
            }
            Step::Sweep => {
                world.ledger.sweep(world.at.now_ns);
                let _ = world.ledger.apply(&mut world.maps, world.at.now_ns);
            }
            Step::Hand => world.hand(),
            Step::Commit { batches } => world.commit(batches),
            Step::Kernel { fails_after } => world.maps.fails_after = fails_after,
            Step::Kill { batches } => {
                world.hand();
                world.commit(batches);
                world.restart()?;
            }
            Step::Reboot { batches, down_ticks } => {
                world.hand();
                world.commit(batches);
                // The clocks were noted when the host went down.
                world.disk.write(&Batch::default(), &world.at);
                world.reboot(down_ticks)?;
            }
        }
    }
    world.hand();
    world.commit(usize::MAX);
    world.restart()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_lifted_comes_back(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        run(steps)?;
    }
}
