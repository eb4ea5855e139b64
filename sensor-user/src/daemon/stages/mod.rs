//! Stages of policies: taken up from the store and the files, moved by gates and operators, and what
//! follows in engine, ledger and kernel.
//!
//! | file | what |
//! | --- | --- |
//! | `figures` | what gates are read from |
//! | `watch` | gates read every second, and after every decision that may do harm |
//! | `keep` | where policies stand, in the store |
//! | `command` | `weir gates`, `weir promote`, `weir rollback` |

mod command;
mod figures;
mod keep;
mod watch;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde_json::{Value, json};
use weir_common::abi::SourceKey;

use self::figures::Tallies;
pub(super) use self::keep::KeptStages;
use super::{Daemon, sensor::Sensor};
use crate::{
    enforce::{
        gate::{GateBook, Judgement},
        stage::{
            Acting, Instant, Lot, Move, Moved, Mover, Stage, StageRecord, Stages, Standing,
            with_shadows,
        },
    },
    journal::{Actor, Kind, Record},
    policy::{self, CompiledPolicy, PolicyErrors, Revived, ServiceIds},
    system::{address, clock},
};

/// Where policies stand, and what is remembered of their gates.
#[derive(Debug)]
pub(super) struct StageDesk {
    stages: Stages,
    lot: Lot,
    /// Where policies begin that were never here.
    begin: Stage,
    boot_id: Arc<str>,
    book: GateBook,
    tallies: Tallies,
    /// What the files say, without what acts in its place.
    files: Arc<CompiledPolicy>,
    /// What moved and is not written down yet.
    moved: Vec<(Moved, Value)>,
    secret: [u8; 32],
    /// What the store was given.
    written: BTreeMap<Arc<str>, StageRecord>,
    is_secret_written: bool,
}

/// What files say now, and what of the policies before can go on.
pub(super) struct Loaded {
    pub(super) compiled: CompiledPolicy,
    revived: Vec<Revived>,
}

impl StageDesk {
    /// A desk that goes on from `stages`; `files` is what the files say.
    pub(super) fn new(
        stages: Stages,
        secret: &[u8; 32],
        begin: Stage,
        boot_id: &Arc<str>,
        files: Arc<CompiledPolicy>,
    ) -> Self {
        Self {
            stages,
            lot: Lot::new(secret),
            begin,
            boot_id: Arc::clone(boot_id),
            book: GateBook::default(),
            tallies: Tallies::default(),
            files,
            moved: Vec::new(),
            secret: *secret,
            written: BTreeMap::new(),
            is_secret_written: false,
        }
    }

    /// Reads the files, and compiles what acts now beside them.
    pub(super) fn load(&self, path: &Path, ids: &ServiceIds) -> Result<Loaded, PolicyErrors> {
        let (compiled, revived) = policy::load_beside(path, ids, &self.stages.kept())?;
        Ok(Loaded { compiled, revived })
    }

    /// Takes up what files say; returns what judges from now on.
    pub(super) fn take_up(&mut self, loaded: Loaded, actor: &Actor) -> Arc<CompiledPolicy> {
        let Loaded { compiled, revived } = loaded;
        for Revived { name, policy } in &revived {
            if let Err(errors) = policy {
                tracing::warn!("{name} as it was cannot be compiled any more: {errors}");
            }
        }
        let mover = self.mover(actor, "the files were read".to_owned());
        for moved in self.stages.take_up(&compiled, &revived, self.begin, &mover) {
            self.note(moved, Value::Null);
        }
        self.files = Arc::new(compiled);
        Arc::new(with_shadows(&self.files, &self.stages, revived))
    }

    fn note(&mut self, moved: Moved, figures: Value) {
        // What is measured begins anew with a stage or a version.
        self.book.forget(&moved.policy);
        self.moved.push((moved, figures));
    }

    /// The present.
    fn now(&self) -> Instant {
        Instant {
            unix_s: clock::unix_s_at_zero() + clock::monotonic_ns() / 1_000_000_000,
            monotonic_ns: clock::monotonic_ns(),
            boot_id: Arc::clone(&self.boot_id),
        }
    }

    fn mover(&self, by: &Actor, why: String) -> Mover {
        Mover { at: self.now(), by: by.clone(), why }
    }

    /// How far policies go.
    pub(super) fn acting(&self) -> Acting {
        let standing = |policy: &policy::Policy| {
            let stage = self.stages.of(&policy.name).map(|record| record.stage)?;
            let canary_ppm = policy.gates.canary_ppm;
            Some((Arc::clone(&policy.name), Standing { stage, canary_ppm }))
        };
        let standings: BTreeMap<Arc<str>, Standing> =
            self.files.policies.iter().filter_map(standing).collect();
        Acting::new(self.lot.clone(), standings)
    }

    /// Since when what judges under a name acts, `CLOCK_MONOTONIC` ns; `None`: it only watches.
    pub(super) fn acting_since_ns(&self, policy: &str) -> Option<u64> {
        let since = self.stages.of(policy)?.acted_since.as_ref()?;
        // What began in another boot began before everything of this one.
        Some(if since.boot_id == self.boot_id { since.monotonic_ns } else { 0 })
    }
}

impl<S: Sensor> Daemon<S> {
    /// Brings stages into engine, ledger and kernel, writes down what moved, and takes a policy back at
    /// once whose earlier verdicts do harm now that they act. Returns how many verdicts act now and did
    /// not, or the other way round.
    pub(super) fn restage(&mut self, by: &Actor) -> usize {
        self.engine.set_acting(self.stages.acting());
        let policy = Arc::clone(self.engine.policy());
        let engine = &self.engine;
        let changed = self.ledger.set_modes(|name, net| {
            // A policy that is in no file any more leaves its verdicts as they are.
            let policy = policy.policies.iter().find(|policy| *policy.name == *name)?;
            let source = SourceKey::from_address(&address::words(net.addr()));
            Some(engine.mode(policy, &source))
        });
        for policy in &policy.policies {
            if self.engine.acting().standing(&policy.name).stage < Stage::Enforce {
                self.release_pressed(&policy.name);
            }
        }
        if !changed.is_empty() {
            // A failure is told in the status, and tried again every second.
            self.apply();
            self.post();
        }
        self.write_moves(by, changed.len());
        self.keep_stages();
        // A version that acts now is held to those who were trusted before, from its first moment on.
        self.watch_policies();
        let now_ns = clock::monotonic_ns();
        if self.note_awoken(&changed, now_ns) {
            self.weigh_back(|_| true, now_ns);
        }
        changed.len()
    }

    fn write_moves(&mut self, by: &Actor, verdicts: usize) {
        for (moved, figures) in std::mem::take(&mut self.stages.moved) {
            let record = &moved.now;
            let (from, what) = match moved.what {
                Move::Began => (None, "began"),
                Move::Went(from) if from > record.stage => (Some(from), "back"),
                Move::Went(from) => (Some(from), "forward"),
                Move::Shadowed => (Some(record.stage), "shadowed"),
                Move::Replaced => (Some(record.stage), "replaced"),
            };
            let shadow = record.shadow.as_ref().map(|shadow| &*shadow.version);
            let told = format!("{}: {what}, {} ({})", moved.policy, record.stage, record.why);
            if what == "back" {
                tracing::error!("stage of {told}");
            } else {
                tracing::info!("stage of {told}");
            }
            let body = json!({
                "policy": &*moved.policy, "what": what, "from": from, "to": record.stage,
                "version": &*record.acting.version, "shadow": shadow, "why": record.why,
                "verdicts": verdicts, "figures": figures,
            });
            self.note(Record::new(Kind::Stage, by, body));
        }
    }
}

/// What decided, for the journal.
fn figures_of(judged: &Judgement) -> Value {
    serde_json::to_value(&judged.readings).unwrap_or_default()
}
