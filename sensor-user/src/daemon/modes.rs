//! Modes: sets of overrides that a Site declares for bad days, switched by one command, with a return by
//! itself. The deadline is a time of day and is kept in a file, so that it comes also after a restart or a
//! reboot; a file that cannot be used is mode `normal`.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Daemon, reload, sensor::Sensor};
use crate::{
    api::message::{DeclaredMode, Failure, FailureKind, ModeOn, ModeReport, SwitchQuery},
    journal::{Actor, Kind, Record},
    policy::{CompiledPolicy, NORMAL},
    system::{durable, paths::Paths},
};

/// Longest that a mode can be on: after a week it is no exception any more.
const LONGEST_S: u64 = 7 * 24 * 3600;

/// The mode that is on, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Kept {
    name: String,
    since_unix_s: u64,
    until_unix_s: u64,
    #[serde(default)]
    why: String,
}

/// The loop's side of modes.
#[derive(Debug)]
pub(super) struct ModeDesk {
    /// What the files say.
    base: Arc<CompiledPolicy>,
    on: Option<Kept>,
    file: PathBuf,
    /// Modes that ended while nobody looked, to be written down.
    ended: Option<(Kept, &'static str)>,
}

impl ModeDesk {
    /// Takes up what was on, unless its time is over or no file declares it any more.
    pub(super) fn open(paths: &Paths, base: &Arc<CompiledPolicy>) -> Self {
        let file = paths.mode_file();
        let mut desk = Self { base: Arc::clone(base), on: None, file, ended: None };
        let text = durable::read(&desk.file).unwrap_or_else(|error| {
            tracing::warn!("{error}; the mode is normal");
            None
        });
        let kept = text.and_then(|text| match serde_json::from_slice::<Kept>(&text) {
            Ok(kept) => Some(kept),
            Err(error) => {
                tracing::warn!(file = %desk.file.display(), %error, "cannot be read; the mode is normal");
                None
            }
        });
        let Some(kept) = kept else { return desk };
        if kept.until_unix_s <= unix_s() {
            desk.ended = Some((kept, "its time was over"));
        } else if base.mode(&kept.name).is_none() {
            desk.ended = Some((kept, "the files declare it no longer"));
        } else {
            desk.on = Some(kept);
        }
        if desk.ended.is_some() {
            desk.keep();
        }
        desk
    }

    /// What is in force but for the mode.
    pub(super) const fn base(&self) -> &Arc<CompiledPolicy> {
        &self.base
    }

    /// Something else is, from now on.
    pub(super) fn set_base(&mut self, base: &Arc<CompiledPolicy>) {
        self.base = Arc::clone(base);
    }

    /// A policy as it is in the mode that is on.
    pub(super) fn over(&self, base: &Arc<CompiledPolicy>) -> Arc<CompiledPolicy> {
        let spec = self.on.as_ref().and_then(|on| base.mode(&on.name));
        spec.map_or_else(|| Arc::clone(base), |spec| Arc::new(base.in_mode(spec)))
    }

    /// Whether a mode other than normal is on, and which.
    pub(super) fn told(&self) -> Option<ModeOn> {
        let on = self.on.as_ref()?;
        let wall = |unix_s: u64| {
            let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(unix_s));
            humantime::format_rfc3339_seconds(time.unwrap_or(SystemTime::UNIX_EPOCH)).to_string()
        };
        Some(ModeOn {
            name: on.name.clone(),
            since: wall(on.since_unix_s),
            until: wall(on.until_unix_s),
            left_s: on.until_unix_s.saturating_sub(unix_s()),
            why: on.why.clone(),
            changes: self
                .base
                .mode(&on.name)
                .map(crate::policy::ModeSpec::summary)
                .unwrap_or_default(),
        })
    }

    /// What can be switched to.
    fn declared(&self) -> Vec<DeclaredMode> {
        let declared = self.base.modes.iter().map(|spec| DeclaredMode {
            name: spec.name.to_string(),
            for_s: spec.term_ns / 1_000_000_000,
            changes: spec.summary(),
        });
        declared.collect()
    }

    fn keep(&self) -> Option<String> {
        let kept = match &self.on {
            // A struct of texts and numbers can always be written as JSON.
            Some(on) => durable::write(&self.file, &serde_json::to_vec(on).unwrap_or_default()),
            None => durable::remove(&self.file).map(drop),
        };
        kept.err().map(|error| error.to_string())
    }
}

fn unix_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl<S: Sensor> Daemon<S> {
    /// Which mode is on, and which there are.
    pub(super) fn mode_report(&self) -> ModeReport {
        ModeReport { on: self.modes.told(), declared: self.modes.declared(), notes: Vec::new() }
    }

    /// Switches to a mode, or back to normal.
    pub(super) fn switch_mode(
        &mut self,
        query: &SwitchQuery,
        actor: &Actor,
    ) -> Result<ModeReport, Failure> {
        let on = if query.name == NORMAL {
            None
        } else {
            let Some(spec) = self.modes.base.mode(&query.name) else {
                let known: Vec<&str> = self.modes.base.modes.iter().map(|it| &*it.name).collect();
                let message = if known.is_empty() {
                    "the policy declares no mode: see `modes` in docs/policy.md".to_owned()
                } else {
                    format!(
                        "there is no mode `{}`; there are: normal, {}",
                        query.name,
                        known.join(", ")
                    )
                };
                return Err(Failure::new(FailureKind::BadRequest, message));
            };
            let for_s = query.for_s.unwrap_or(spec.term_ns / 1_000_000_000).max(1);
            if for_s > LONGEST_S {
                let message =
                    "a mode is on for 7 days at most; what shall stay belongs into the policy";
                return Err(Failure::new(FailureKind::BadRequest, message));
            }
            let now = unix_s();
            let (name, why) = (query.name.clone(), query.why.clone());
            Some(Kept { name, since_unix_s: now, until_unix_s: now + for_s, why })
        };
        let before = self.change_mode(on)?;
        let mut report = self.mode_report();
        if let Some(error) = self.modes.keep() {
            report.notes.push(format!("{error}: after a restart the mode is normal"));
        }
        self.note_mode(before.as_ref(), actor, "an operator said so", &query.why);
        Ok(report)
    }

    /// Once a second: a mode whose time is over ends.
    pub(super) fn tick_mode(&mut self) {
        if let Some((kept, why)) = self.modes.ended.take() {
            self.note_mode(Some(&kept), &Actor::Daemon, why, "");
        }
        if self.modes.on.as_ref().is_some_and(|on| on.until_unix_s <= unix_s()) {
            self.end_mode("its time was over");
        }
    }

    /// The files say something else. A mode that they declare no longer ends.
    pub(super) fn take_base(&mut self, base: &Arc<CompiledPolicy>) {
        self.modes.base = Arc::clone(base);
        let gone = self.modes.on.take_if(|on| base.mode(&on.name).is_none());
        if let Some(gone) = gone {
            if let Some(error) = self.modes.keep() {
                tracing::error!("{error}");
            }
            self.note_mode(Some(&gone), &Actor::Daemon, "the files declare it no longer", "");
        }
    }

    fn end_mode(&mut self, why: &str) {
        match self.change_mode(None) {
            Ok(before) => {
                if let Some(error) = self.modes.keep() {
                    tracing::error!("{error}");
                }
                self.note_mode(before.as_ref(), &Actor::Daemon, why, "");
            }
            Err(failure) => tracing::error!("{failure}; it is tried again every second"),
        }
    }

    /// Puts a mode in force; which one was before.
    fn change_mode(&mut self, on: Option<Kept>) -> Result<Option<Kept>, Failure> {
        let before = std::mem::replace(&mut self.modes.on, on);
        let changed = self.modes.over(&Arc::clone(&self.modes.base));
        if let Err(error) = self.put_in_force(&changed) {
            self.modes.on = before;
            let message = format!("{error}; the mode is as it was");
            return Err(Failure::new(FailureKind::Internal, message));
        }
        Ok(before)
    }

    fn put_in_force(
        &mut self,
        changed: &Arc<CompiledPolicy>,
    ) -> Result<(), crate::enforce::dataplane::DataplaneError> {
        let current = Arc::clone(self.engine.policy());
        let view = self.guard_desk.view().clone();
        let breaker = self.brakes.breaker.mode();
        if let Err(error) =
            reload::set_tables(&mut self.sensor, changed, Some(&current), &view, breaker)
        {
            if let Err(error) =
                reload::set_tables(&mut self.sensor, &current, Some(changed), &view, breaker)
            {
                tracing::error!("and the settings before cannot be restored: {error}");
            }
            return Err(error);
        }
        self.engine.replace_policy(Arc::clone(changed));
        self.write_pressed();
        self.set_lookup();
        Ok(())
    }

    fn note_mode(&mut self, before: Option<&Kept>, actor: &Actor, because: &str, why: &str) {
        let name = |on: Option<&Kept>| on.map_or(NORMAL, |on| on.name.as_str()).to_owned();
        let (from, to) = (name(before), name(self.modes.on.as_ref()));
        let told = self.modes.told();
        tracing::warn!("mode {from} → {to}: {because}");
        let body = json!({
            "from": from,
            "to": to,
            "until": told.as_ref().map(|it| &it.until),
            "changes": told.as_ref().map(|it| &it.changes),
            "because": because,
        });
        let record = Record::new(Kind::Mode, actor, body);
        // An operator's words can name anybody.
        let record =
            if why.is_empty() { record } else { record.with_personal(json!({"why": why})) };
        self.note(record);
    }
}
