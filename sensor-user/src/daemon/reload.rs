//! Another policy, without a gap: the last good one stays in force on any mistake.

use std::sync::Arc;

use super::{Daemon, sensor::Sensor};
use crate::{
    enforce::dataplane::{Dataplane, DataplaneError},
    policy::{self, CompiledPolicy},
    system::clock,
};

impl<S: Sensor> Daemon<S> {
    /// Reads the policy file again.
    pub(super) fn reload(&mut self) {
        match self.try_reload() {
            Ok(()) => {
                self.reload_error = None;
                self.policy_loaded_ns = clock::monotonic_ns();
                tracing::info!(file = %self.policy_file.display(), "policy reloaded");
            }
            Err(error) => {
                tracing::error!("policy not reloaded, the one before stays in force: {error}");
                self.reload_error = Some(error.to_string());
            }
        }
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        let before = Arc::clone(self.engine.policy());
        let compiled = policy::load(&self.policy_file, before.service_ids())?;
        warn(&compiled);
        if compiled.settings.capacities != before.settings.capacities {
            tracing::warn!("capacities of kernel tables change with the next start only");
        }
        // Numbers first: an entry must never name a service that no file explains.
        self.files.keep_service_ids(compiled.service_ids())?;
        if let Err(error) = set_tables(&mut self.sensor, &compiled) {
            if let Err(error) = set_tables(&mut self.sensor, &before) {
                tracing::error!("and the settings before cannot be restored: {error}");
            }
            return Err(error.into());
        }
        self.engine.replace_policy(Arc::new(compiled));
        Ok(())
    }
}

/// Gives the kernel what a policy says of ports, guards and settings.
pub(super) fn set_tables(
    dataplane: &mut impl Dataplane,
    policy: &CompiledPolicy,
) -> Result<(), DataplaneError> {
    dataplane.set_guards(&policy.guards())?;
    dataplane.set_services(&policy.service_ports())?;
    dataplane.set_control(&policy.control())
}

/// Says what is allowed in a policy and probably not meant.
pub(super) fn warn(policy: &CompiledPolicy) {
    for warning in &policy.warnings {
        tracing::warn!("{warning}");
    }
}
