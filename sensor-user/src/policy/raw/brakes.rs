//! The Site's section `brakes`.

use super::{Fields, Node, Report, duration_ns, per_minute};
use crate::{
    enforce::{breaker::Bounds, cohort::TrustRule},
    policy::{
        brakes::BrakeSettings,
        form::{BRAKES, BREAKER, TRUSTED},
    },
};

/// Reads it: what each field says does not depend on anything else.
pub(super) fn read(report: &mut Report<'_>, node: &Node) -> BrakeSettings {
    let mut brakes = BrakeSettings::default();
    let Some(fields) = Fields::read(report, node, &BRAKES) else { return brakes };
    if let Some(node) = fields.get("trusted") {
        brakes.trusted = trusted(report, node);
    }
    if let Some(node) = fields.get("breaker") {
        brakes.breaker = breaker(report, node);
    }
    if let Some(drops) = fields.quantity(report, "new_drops", per_minute) {
        brakes.new_drops_per_minute = drops.value;
    }
    if let Some(alarm) = fields.quantity(report, "drop_share_alarm", share) {
        brakes.drop_share_alarm = alarm.value;
    }
    brakes
}

fn trusted(report: &mut Report<'_>, node: &Node) -> TrustRule {
    let known = TrustRule::default();
    let Some(fields) = Fields::read(report, node, &TRUSTED) else { return known };
    let mut duration = |name, default| {
        fields.quantity(report, name, duration_ns).map_or(default, |typed| typed.value)
    };
    let before_ns = duration("before", known.before_ns);
    let gap_ns = duration("gap", known.gap_ns);
    let sessions = fields.whole(report, "sessions");
    let sessions = sessions.and_then(|sessions| u32::try_from(sessions.value).ok());
    TrustRule { before_ns, sessions: sessions.unwrap_or(known.sessions), gap_ns }
}

fn breaker(report: &mut Report<'_>, node: &Node) -> Bounds {
    let known = Bounds::default();
    let Some(fields) = Fields::read(report, node, &BREAKER) else { return known };
    let max = fields.quantity(report, "trusted_dropped_max", share);
    let mut whole = |name, default| {
        let typed = fields.whole(report, name);
        typed.and_then(|typed| u64::try_from(typed.value).ok()).unwrap_or(default)
    };
    let min_sources = whole("min_sources", known.min_sources);
    let min_networks = whole("min_networks", known.min_networks);
    let min_dropped_networks = whole("min_dropped_networks", known.min_dropped_networks);
    let mut duration = |name, default| {
        fields.quantity(report, name, duration_ns).map_or(default, |typed| typed.value)
    };
    Bounds {
        trusted_dropped_max: max.map_or(known.trusted_dropped_max, |typed| typed.value),
        min_sources,
        min_networks,
        min_dropped_networks,
        window_ns: duration("window", known.window_ns),
        hold_ns: duration("hold", known.hold_ns),
    }
}

/// A share, from 0 to 1, or what would be right.
fn share(text: &str) -> Result<f64, String> {
    let help = || "a share is written like `1%` or `0.5%`, from 0% to 100%".to_owned();
    let percent = text.trim().strip_suffix('%').ok_or_else(help)?;
    let percent: f64 = percent.trim_end().parse().map_err(|_| help())?;
    if (0.0..=100.0).contains(&percent) { Ok(percent / 100.0) } else { Err(help()) }
}
