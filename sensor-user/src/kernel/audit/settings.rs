//! The tables that are no verdicts, against what was set last; what differs is set again.

use std::collections::BTreeMap;

use weir_common::abi::{Service, control::SERVICE_SLOTS};

use super::super::{Kernel, batch::Walk, tables::Tables};
use crate::enforce::{
    audit::{Fault, Finding, Outcome, Setting, differing, same_rate},
    dataplane::DataplaneError,
};

/// Entries of the table of ports that one look goes through, beside those that belong to services: all
/// of it in 16 looks.
const PORTS_A_LOOK: usize = SERVICE_SLOTS / 16;

/// A walk through the table of ports that goes on from look to look.
#[derive(Debug, Default)]
pub(super) struct Rounds(Option<Walk<u32, Service>>);

const EVERY: [Setting; 7] = [
    Setting::Control,
    Setting::KeySeed,
    Setting::Services,
    Setting::Guards,
    Setting::Names,
    Setting::Proxies,
    Setting::Interfaces,
];

impl Kernel {
    /// Looks at each table. Returns whether those hold, by now, that every verdict depends on.
    pub(super) fn inspect_settings(&mut self, findings: &mut Vec<Finding>) -> bool {
        let mut holds = true;
        for setting in EVERY {
            let rounds = &mut self.auditor.services;
            let looked = self.tables.put_right(setting, rounds);
            match looked {
                Ok(0) => {}
                Ok(count) => {
                    let mut finding =
                        Finding::new(Fault::SettingOverwritten, setting.map(), Outcome::Repaired);
                    finding.count = count;
                    findings.push(finding);
                }
                Err(error) => {
                    holds &= !setting.concerns_all();
                    findings.push(
                        Finding::new(Fault::SettingOverwritten, setting.map(), Outcome::Alarm)
                            .saying(error.to_string()),
                    );
                }
            }
        }
        holds
    }
}

impl Tables {
    /// Compares a table with what was set, and sets it again where it differs. Returns how many
    /// entries differed.
    fn put_right(
        &mut self,
        setting: Setting,
        rounds: &mut Rounds,
    ) -> Result<usize, DataplaneError> {
        match setting {
            Setting::Control => self.put_control_right(),
            Setting::Services => self.put_services_right(rounds),
            Setting::Guards => self.put_guards_right(),
            Setting::KeySeed => self.fingerprints.put_seed_right(),
            Setting::Names => {
                let wanted = self.settings.names.as_ref();
                wanted.map_or(Ok(0), |wanted| self.fingerprints.put_names_right(wanted))
            }
            Setting::Proxies => {
                let wanted = self.settings.proxies.as_ref();
                wanted.map_or(Ok(0), |wanted| self.fingerprints.put_proxies_right(wanted))
            }
            Setting::Interfaces => {
                self.fingerprints.put_interfaces_right(&self.settings.interfaces)
            }
        }
    }

    fn put_control_right(&self) -> Result<usize, DataplaneError> {
        let Some(wanted) = self.settings.control else { return Ok(0) };
        if self.control.get(&0)? == Some(wanted) {
            return Ok(0);
        }
        self.control.put(&0, &wanted)?;
        Ok(1)
    }

    fn put_guards_right(&self) -> Result<usize, DataplaneError> {
        let mut amiss = 0;
        for (service, wanted) in &self.settings.guards {
            let found = self.guards.get(service)?.unwrap_or_default();
            if !same_rate(wanted, &found) {
                let (interval_ns, burst_ns) = (wanted.interval_ns, wanted.burst_ns);
                let right = weir_common::abi::Guard { interval_ns, burst_ns, ..found };
                self.guards.put(service, &right)?;
                amiss += 1;
            }
        }
        Ok(amiss)
    }

    /// The ports of services every time; of all others, some at a time.
    fn put_services_right(&self, rounds: &mut Rounds) -> Result<usize, DataplaneError> {
        let Some(wanted) = &self.settings.services else { return Ok(0) };
        let mut found = BTreeMap::new();
        for index in wanted.keys() {
            if let Some(service) = self.services.get(index)? {
                found.insert(*index, service);
            }
        }
        let walk = rounds.0.get_or_insert_with(|| Walk::new(PORTS_A_LOOK));
        match walk.step(self.services.fd()) {
            Ok(Some((indices, services))) => {
                let given = indices.iter().zip(services);
                let given = given.filter(|(_, service)| **service != Service::default());
                found.extend(given.map(|(index, service)| (*index, *service)));
            }
            Ok(None) => rounds.0 = None,
            Err(source) => {
                rounds.0 = None;
                let object = "map SERVICES".to_owned();
                return Err(DataplaneError::Kernel { operation: "read", object, source });
            }
        }
        let amiss = differing(wanted, &found);
        if amiss > 0 {
            let foreign = found.keys().filter(|index| !wanted.contains_key(index));
            let right = wanted.iter().map(|(index, service)| (*index, *service));
            let right = right.chain(foreign.map(|index| (*index, Service::default())));
            let (keys, values): (Vec<u32>, Vec<Service>) = right.unzip();
            self.services.put_all(&keys, &values)?;
        }
        Ok(amiss)
    }
}
