//! Where all policies stand. Pure: whoever moves one says when, why and in whose name.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Stage,
    record::{Instant, Shadow, StageRecord},
};
use crate::{
    journal::Actor,
    policy::{CompiledPolicy, KeptPolicy, Policy, Revived},
};

/// What the name of a version that watches beside another ends with. No file can name a policy so.
const SHADOW: &str = "~shadow";

/// What became of a policy's stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Move {
    /// It was never here, and begins.
    Began,
    /// It went from this stage to another, or to the same again.
    Went(Stage),
    /// Its file says something else now, which watches beside what acts.
    Shadowed,
    /// What watched beside it, or what its file says now, acts in its place.
    Replaced,
}

/// A move, to be written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Which policy.
    pub policy: Arc<str>,
    /// What happened.
    pub what: Move,
    /// Where it stands now.
    pub now: StageRecord,
}

/// Where policies stand, by name.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    records: BTreeMap<Arc<str>, StageRecord>,
}

/// Whose move it is.
#[derive(Clone, Debug)]
pub struct Mover {
    /// When.
    pub at: Instant,
    /// Who.
    pub by: Actor,
    /// Why.
    pub why: String,
}

impl Stages {
    /// As they were kept.
    #[must_use]
    pub fn new(records: BTreeMap<Arc<str>, StageRecord>) -> Self {
        Self { records }
    }

    /// Where a policy stands.
    #[must_use]
    pub fn of(&self, policy: &str) -> Option<&StageRecord> {
        self.records.get(policy)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &StageRecord)> {
        self.records.iter()
    }

    /// What acts now and may have to be compiled again.
    #[must_use]
    pub fn kept(&self) -> Vec<KeptPolicy> {
        self.records.values().map(|record| record.acting.clone()).collect()
    }

    /// Takes up what files say now: new policies begin at `begin`, changed ones that act watch first,
    /// and a lower ceiling holds at once. Returns what moved.
    pub fn take_up(
        &mut self,
        compiled: &CompiledPolicy,
        revived: &[Revived],
        begin: Stage,
        mover: &Mover,
    ) -> Vec<Moved> {
        let mut moved = Vec::new();
        for policy in &compiled.policies {
            moved.extend(self.take_up_one(policy, compiled.shadows, revived, begin, mover));
            moved.extend(self.hold_ceiling(policy, mover));
        }
        moved
    }

    fn take_up_one(
        &mut self,
        policy: &Policy,
        shadows: bool,
        revived: &[Revived],
        begin: Stage,
        mover: &Mover,
    ) -> Option<Moved> {
        let name = Arc::clone(&policy.name);
        let Some(record) = self.records.get_mut(&name) else {
            let stage = begin.min(policy.stage_max);
            let record = StageRecord {
                stage,
                since: mover.at.clone(),
                acted_since: (stage > Stage::Monitor).then(|| mover.at.clone()),
                acting: policy.kept(),
                shadow: None,
                why: "it was never here".to_owned(),
                by: mover.by.clone(),
                went_back: None,
            };
            self.records.insert(Arc::clone(&name), record.clone());
            return Some(Moved { policy: name, what: Move::Began, now: record });
        };
        if record.acting.conduct == policy.conduct {
            // The same, whatever else was written.
            record.acting = policy.kept();
            let ended = record.shadow.take()?;
            record.why = format!("its file says again what acts; {} is gone", ended.version);
            record.by = mover.by.clone();
            return Some(Moved { policy: name, what: Move::Replaced, now: record.clone() });
        }
        let is_revived =
            || revived.iter().any(|revived| revived.name == name && revived.policy.is_ok());
        let acts = record.stage > Stage::Monitor;
        if acts && shadows && is_revived() {
            if record.shadow.as_ref().is_some_and(|shadow| shadow.conduct == policy.conduct) {
                return None;
            }
            record.shadow = Some(Shadow {
                version: Arc::clone(&policy.version),
                conduct: Arc::clone(&policy.conduct),
                since: mover.at.clone(),
            });
            return Some(Moved { policy: name, what: Move::Shadowed, now: record.clone() });
        }
        if acts && shadows {
            record.stage = Stage::Monitor;
            record.why = format!(
                "its file says something else, and {}, which acted, does not fit the Site any more",
                record.acting.version
            );
        } else {
            record.why = "its file says something else".to_owned();
        }
        record.replace(policy.kept(), mover);
        Some(Moved { policy: name, what: Move::Replaced, now: record.clone() })
    }

    fn hold_ceiling(&mut self, policy: &Policy, mover: &Mover) -> Option<Moved> {
        let record = self.records.get_mut(&policy.name)?;
        if record.stage <= policy.stage_max {
            return None;
        }
        let mover = Mover { why: "its ceiling is lower now".to_owned(), ..mover.clone() };
        self.go(&policy.name, policy.stage_max, &mover)
    }

    /// Moves a policy. `None`: there is no such policy.
    pub fn go(&mut self, policy: &str, to: Stage, mover: &Mover) -> Option<Moved> {
        let (name, record) = self.entry(policy)?;
        let from = std::mem::replace(&mut record.stage, to);
        record.since = mover.at.clone();
        record.acted_since = match record.acted_since.take() {
            _ if to == Stage::Monitor => None,
            Some(since) => Some(since),
            None => Some(mover.at.clone()),
        };
        record.why.clone_from(&mover.why);
        record.by = mover.by.clone();
        record.went_back = None;
        Some(Moved { policy: name, what: Move::Went(from), now: record.clone() })
    }

    /// A gate broke: the policy watches, and waits before it is moved again.
    pub fn go_back(&mut self, policy: &str, mover: &Mover) -> Option<Moved> {
        let mut moved = self.go(policy, Stage::Monitor, mover)?;
        let (_, record) = self.entry(policy)?;
        record.went_back = Some(mover.at.clone());
        moved.now.went_back = Some(mover.at.clone());
        Some(moved)
    }

    /// What watched beside a policy, the file's version, acts in its place, at the same stage.
    pub fn replace(&mut self, policy: &Policy, mover: &Mover) -> Option<Moved> {
        let (name, record) = self.entry(&policy.name)?;
        record.shadow.as_ref()?;
        record.why.clone_from(&mover.why);
        record.replace(policy.kept(), mover);
        Some(Moved { policy: name, what: Move::Replaced, now: record.clone() })
    }

    fn entry(&mut self, policy: &str) -> Option<(Arc<str>, &mut StageRecord)> {
        let name = Arc::clone(self.records.get_key_value(policy)?.0);
        let record = self.records.get_mut(policy)?;
        Some((name, record))
    }
}

impl StageRecord {
    fn replace(&mut self, acting: KeptPolicy, mover: &Mover) {
        self.acting = acting;
        self.shadow = None;
        self.since = mover.at.clone();
        self.acted_since = (self.stage > Stage::Monitor).then(|| mover.at.clone());
        self.by = mover.by.clone();
    }
}

/// The policies that judge: what acts, and beside it, under a name of its own, what only watches.
#[must_use]
pub fn with_shadows(
    compiled: &CompiledPolicy,
    stages: &Stages,
    revived: Vec<Revived>,
) -> CompiledPolicy {
    let mut both = compiled.clone();
    for Revived { name, policy } in revived {
        let is_shadowed = stages.of(&name).is_some_and(|record| record.shadow.is_some());
        let (Ok(before), true) = (policy, is_shadowed) else { continue };
        let Some(place) = both.policies.iter().position(|policy| policy.name == name) else {
            continue;
        };
        let Some(current) = both.policies.get_mut(place) else { continue };
        // How far it may go is today's word, also for what acted before.
        let mut before = before;
        before.stage_max = current.stage_max;
        before.gates = Arc::clone(&current.gates);
        before.heartbeat_ns = current.heartbeat_ns;
        before.drops_per_minute = current.drops_per_minute;
        let mut after = std::mem::replace(current, before);
        after.name = shadow_name(&after.name).into();
        after.stage_max = Stage::Monitor;
        both.policies.push(after);
    }
    both
}

/// What the version of a policy is called that watches beside another.
#[must_use]
pub fn shadow_name(policy: &str) -> String {
    format!("{policy}{SHADOW}")
}

/// The policy that a name is of, and whether it is of its shadow.
#[must_use]
pub fn of_shadow(name: &str) -> (&str, bool) {
    match name.strip_suffix(SHADOW) {
        Some(policy) => (policy, true),
        None => (name, false),
    }
}
