//! Another policy, without a gap: the last good one stays in force on any mistake.

use std::{collections::HashSet, sync::Arc};

use ipnet::IpNet;
use weir_common::abi::Mode;

use super::{Daemon, breaker, guards::HostView, lookup, sensor::Sensor};
use crate::{
    enforce::dataplane::{Dataplane, DataplaneError, ServiceName},
    journal::Actor,
    policy::CompiledPolicy,
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
                self.note_policy(&Actor::Daemon, None);
            }
            Err(error) => {
                tracing::error!("policy not reloaded, the one before stays in force: {error}");
                self.note_policy(&Actor::Daemon, Some(&error.to_string()));
                self.reload_error = Some(error.to_string());
            }
        }
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        let before = Arc::clone(self.engine.policy());
        let loaded = self.stages.load(&self.policy_file, before.service_ids())?;
        warn(&loaded.compiled);
        let compiled = self.modes.over(&Arc::new(loaded.compiled.clone()));
        let view = self.guard_desk.view().clone();
        if compiled.settings.capacities != before.settings.capacities {
            tracing::warn!("capacities of kernel tables change with the next start only");
        }
        let moved = (compiled.lookup.listen != before.lookup.listen)
            .then(|| lookup::loopback(&compiled.lookup))
            .transpose()?;
        // Numbers first: an entry must never name a service that no file explains.
        self.files.keep_service_ids(compiled.service_ids())?;
        let breaker = self.brakes.breaker.mode();
        if let Err(error) = set_tables(&mut self.sensor, &compiled, Some(&before), &view, breaker) {
            if let Err(error) =
                set_tables(&mut self.sensor, &before, Some(&compiled), &view, breaker)
            {
                tracing::error!("and the settings before cannot be restored: {error}");
            }
            return Err(error.into());
        }
        let base = self.stages.take_up(loaded, &Actor::Daemon);
        self.take_base(&base);
        let compiled = self.modes.over(&base);
        self.signals.replace(&compiled);
        self.engine.replace_policy(compiled);
        self.replace_feeds();
        self.write_pressed();
        self.moved = moved.or(self.moved.take());
        self.set_lookup();
        self.set_cohort();
        self.journal.set_privacy(self.engine.policy().privacy);
        self.restage(&Actor::Daemon);
        self.record_change();
        self.renew_guards();
        self.lift_exempt();
        Ok(())
    }
}

/// Gives the kernel what a policy says of ports, names, proxies, guards and settings. Packets pass
/// meanwhile: what ports refer to is there before they do, and what they referred to under the
/// policy `before` goes after.
pub(super) fn set_tables(
    dataplane: &mut impl Dataplane,
    policy: &CompiledPolicy,
    before: Option<&CompiledPolicy>,
    view: &HostView,
    breaker: Mode,
) -> Result<(), DataplaneError> {
    dataplane.set_guards(&policy.guards())?;
    let (names, proxies) = (policy.service_names(), policy.proxies.speaking());
    let both_names = before.map(|before| join(&names, &before.service_names()));
    let both_proxies = before.map(|before| [proxies.clone(), before.proxies.speaking()].concat());
    let both_proxies = both_proxies.map(|both| IpNet::aggregate(&both));
    // Both may be more than there is room for; the new ones alone are not.
    match dataplane.set_names(both_names.as_ref().unwrap_or(&names)) {
        Err(DataplaneError::Full { .. }) if before.is_some() => dataplane.set_names(&names)?,
        other => other?,
    }
    match dataplane.set_proxies(both_proxies.as_ref().unwrap_or(&proxies)) {
        Err(DataplaneError::Full { .. }) if before.is_some() => dataplane.set_proxies(&proxies)?,
        other => other?,
    }
    dataplane.set_services(&view.service_ports(policy))?;
    if both_names.is_some_and(|both| both != names) {
        dataplane.set_names(&names)?;
    }
    if both_proxies.is_some_and(|both| both != proxies) {
        dataplane.set_proxies(&proxies)?;
    }
    dataplane.set_control(&breaker::control(policy, breaker))
}

/// The names of two policies; where they differ, those of the first.
fn join(first: &[ServiceName], second: &[ServiceName]) -> Vec<ServiceName> {
    let place = |name: &ServiceName| (name.port_service, name.name.clone());
    let known: HashSet<(u8, String)> = first.iter().map(place).collect();
    let others = second.iter().filter(|name| !known.contains(&place(name)));
    first.iter().chain(others).cloned().collect()
}

/// Says what is allowed in a policy and probably not meant.
pub(super) fn warn(policy: &CompiledPolicy) {
    for warning in &policy.warnings {
        tracing::warn!("{warning}");
    }
}
