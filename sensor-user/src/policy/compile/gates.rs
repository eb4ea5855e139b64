//! Which gates a policy goes by, and whether they make sense.

use std::{collections::BTreeMap, sync::Arc};

use super::{Names, Report, Typed, unknown};
use crate::{
    enforce::{gate::GateSet, stage::EVERYBODY_PPM},
    policy::raw::RawGates,
};

/// The sets of a Site, by name. `standard` is always one of them.
pub(super) fn compile(
    report: &mut Report<'_>,
    typed: Vec<RawGates>,
) -> BTreeMap<String, Arc<GateSet>> {
    let mut sets: BTreeMap<String, Arc<GateSet>> = BTreeMap::new();
    for gates in typed {
        let set = gates.set;
        if set.canary_ppm == 0 || set.canary_ppm == EVERYBODY_PPM {
            let whom = if set.canary_ppm == 0 { "nobody" } else { "everybody" };
            let message = format!("a canary that acts on {whom} shows nothing");
            report.warn(gates.name.at, message, Some("canary: 5%".to_owned()));
        }
        if set.rollback.trusted_dropped_max_ppm < set.promote.trusted_would_drop_max_ppm {
            let message = "what lets a policy go further takes it back at once: \
                           `rollback.trusted_dropped_max` is below `promote.trusted_would_drop_max`";
            report.warn(gates.name.at, message, None);
        }
        sets.insert(gates.name.value, Arc::new(set));
    }
    sets.entry("standard".to_owned()).or_default();
    sets
}

impl Names<'_> {
    /// The gates of a policy: its own, else the Site's default, else the standard ones.
    pub(super) fn gates(
        &self,
        report: &mut Report<'_>,
        own: Option<&Typed<String>>,
    ) -> Arc<GateSet> {
        let Some(name) = own.or(self.default_gates.as_ref()) else {
            return self.gate_sets.get("standard").cloned().unwrap_or_default();
        };
        if let Some(set) = self.gate_sets.get(&name.value) {
            return Arc::clone(set);
        }
        let known: Vec<&str> = self.gate_sets.keys().map(String::as_str).collect();
        unknown(report, name, "set of gates", &known);
        Arc::default()
    }
}
