//! Who is not one client: addresses that many share, and proxies that nobody declared. What one of
//! those behind them does is not the others' doing, so there is a strongest action.

use weir_common::abi::Action;

use crate::profile::View;

/// TLS fingerprints in an hour from which on several programs stand behind an address: a browser has
/// two or three.
const SHARED: usize = 4;
/// And from which on it is more than a household or an office.
const FAN_IN: usize = 12;
/// How many of them others must use too: who makes fingerprints up has none that is common.
const COMMON: f64 = 0.75;

/// The strongest that may follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ceiling {
    /// What the factor is called.
    pub(super) name: &'static str,
    /// The strongest action.
    pub(super) action: Action,
    /// Why.
    pub(super) sentence: String,
}

impl Ceiling {
    /// Of what is known of a source.
    pub(super) fn of(view: &View<'_>, now_ns: u64) -> Option<Self> {
        let used = view.hellos()?.fingerprints_last_hour(now_ns);
        if used < SHARED {
            return None;
        }
        let share = view.common_share().filter(|share| *share >= COMMON)?;
        let what = format!(
            "{used} TLS fingerprints in the last hour, {:.0} % of them common elsewhere",
            share * 100.0
        );
        let systems = view.systems.map_or(0, |systems| systems.last_hour(now_ns));
        // Its connections are made by one system, what is in them comes from many.
        Some(if used >= FAN_IN && systems <= 1 {
            let sentence = format!("{what}, from one system: a proxy that nobody declared");
            Self { name: "fan-in", action: Action::Mark, sentence }
        } else {
            let sentence = format!("{what}: several people share this address");
            Self { name: "shared-address", action: Action::Limit, sentence }
        })
    }
}
