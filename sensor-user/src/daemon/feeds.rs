//! What is known of addresses, for the engine: the keeper's newest snapshot, in the order of the
//! policy in force.

use std::{io, path::PathBuf, sync::Arc};

use super::{Daemon, sensor::Sensor};
use crate::{
    enforce::guard::Guards,
    reputation::{
        ReputationSpec, ReputationStatus, Snapshot, fetch::Fetcher, keeper::Keeper,
        safety::Protected,
    },
};

/// The loop's side of feeds.
pub(super) struct FeedDesk {
    keeper: Keeper,
    /// What the keeper posted, when it was taken last.
    posted: Arc<Snapshot>,
    /// The same, as the policy in force numbers it.
    current: Arc<Snapshot>,
}

impl FeedDesk {
    /// Reads what there is without asking anybody, and keeps it up to date from now on.
    pub(super) fn open(
        spec: &ReputationSpec,
        folder: PathBuf,
        guards: &Guards,
    ) -> io::Result<Self> {
        let keeper = Keeper::start(spec.clone(), folder, protected(guards), Fetcher::default())?;
        let posted = keeper.board().newest();
        Ok(Self { keeper, current: Arc::clone(&posted), posted })
    }

    /// What is known now.
    pub(super) fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current)
    }

    /// How feeds are.
    pub(super) fn status(&self) -> ReputationStatus {
        self.keeper.status()
    }

    /// These must not be listed.
    pub(super) fn protect(&self, guards: &Guards) {
        self.keeper.protect(protected(guards));
    }

    /// Another policy is in force. At once, feeds have its numbers; those that are new in it are
    /// unknown until they are read.
    fn replace(&mut self, spec: &ReputationSpec) {
        self.current = Arc::new(self.posted.numbered_as(spec));
        self.keeper.replace(spec.clone());
    }

    /// Takes what was posted since; whether there is anything.
    fn renew(&mut self, spec: &ReputationSpec) -> bool {
        let newest = self.keeper.board().newest();
        if Arc::ptr_eq(&newest, &self.posted) {
            return false;
        }
        // It can be of the policy before.
        self.current = Arc::new(newest.numbered_as(spec));
        self.posted = newest;
        true
    }
}

fn protected(guards: &Guards) -> Protected {
    Protected { own: guards.own_prefixes().collect(), proxies: guards.proxy_prefixes().collect() }
}

impl<S: Sensor> Daemon<S> {
    /// Once a second: what was read meanwhile counts from now on.
    pub(super) fn renew_feeds(&mut self) {
        if self.feeds.renew(&self.engine.policy().reputation) {
            self.engine.set_reputation(self.feeds.current());
        }
    }

    /// After another policy came in force, before any event is judged by it.
    pub(super) fn replace_feeds(&mut self) {
        self.feeds.replace(&self.engine.policy().reputation);
        self.engine.set_reputation(self.feeds.current());
    }
}
