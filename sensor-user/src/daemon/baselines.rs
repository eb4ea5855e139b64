//! Baselines over restarts: what is usual at a service takes a day to learn, and a restart must not
//! cost that.

use super::{Daemon, chores::Chore, sensor::Sensor};
use crate::score::baseline::Baselines;

/// How often they are kept, in ticks: once an hour. They change no sooner.
const EVERY: u64 = 3600;

impl<S: Sensor> Daemon<S> {
    /// Takes what earlier runs learned. What cannot be used is reported and learned anew.
    pub(super) fn recall_baselines(&mut self, now_ns: u64) {
        let Some(text) = self.files.baselines() else { return };
        match Baselines::load(&text, &self.engine.policy().features, now_ns) {
            Ok(baselines) => self.engine.set_baselines(baselines),
            Err(error) => {
                tracing::warn!(file = %self.files.baselines_file().display(), "{error}");
            }
        }
    }

    /// Once a second.
    pub(super) fn tick_baselines(&mut self) {
        if self.ticks.is_multiple_of(EVERY) {
            self.keep_baselines();
        }
    }

    /// Keeps what is learned, if anything is. They are put into words on the thread for chores.
    pub(super) fn keep_baselines(&mut self) {
        if self.engine.baselines().counters().baselines == 0 {
            return;
        }
        let saved = self.engine.baselines().save(&self.engine.policy().features);
        let path = self.files.baselines_file();
        self.charge(Chore::Write { path, write: Box::new(move || saved.write()) });
    }
}
