//! Guards that policies put before a service's SYNs for a while, because of what presses on it as a
//! whole: over the rate a first SYN is held back, and passes when it is sent again. Nobody is named,
//! so nobody can be framed.

use std::{collections::BTreeMap, sync::Arc};

use weir_common::abi::{Guard, Mode};

use super::{Daemon, sensor::Sensor};
use crate::{enforce::ladder::RateLimit, score::Decision};

/// The guards that are up.
#[derive(Debug, Default)]
pub(super) struct Pressed {
    // By service and policy: the rate, and until when.
    guards: BTreeMap<(u8, Arc<str>), (RateLimit, u64)>,
}

impl Pressed {
    /// A decision on a whole service. Says whether a guard follows from it: one that only watches
    /// counts, and no more.
    fn note(&mut self, decision: &Decision) -> bool {
        let (Some(service), Some(rate)) = (decision.whole_service, decision.limit) else {
            return false;
        };
        if decision.mode != Mode::Enforce {
            return false;
        }
        let until_ns = decision.until_ns();
        let key = (service, Arc::clone(&decision.policy));
        let guard = self.guards.entry(key).or_insert((rate, until_ns));
        if rate.interval_ns > guard.0.interval_ns {
            guard.0 = rate;
        }
        guard.1 = guard.1.max(until_ns);
        true
    }

    /// Takes guards down that a policy put up; whether there was one.
    fn drop_policy(&mut self, policy: &str) -> bool {
        let before = self.guards.len();
        self.guards.retain(|(_, by), _| **by != *policy);
        self.guards.len() != before
    }

    /// Takes guards down whose time is over; whether there was one.
    fn lift(&mut self, now_ns: u64) -> bool {
        let before = self.guards.len();
        self.guards.retain(|_, (_, until_ns)| *until_ns > now_ns);
        self.guards.len() != before
    }

    /// A Site's guards, and these where they are stricter.
    fn over(&self, mut guards: Vec<(u8, Guard)>) -> Vec<(u8, Guard)> {
        for (service, guard) in &mut guards {
            // Of several policies the strictest rate counts.
            let own = self.guards.iter().filter(|((pressed, _), _)| pressed == service);
            for (_, (rate, _)) in own {
                if rate.interval_ns > guard.interval_ns {
                    guard.interval_ns = rate.interval_ns;
                    guard.burst_ns = rate.burst_ns;
                }
            }
        }
        guards
    }
}

impl<S: Sensor> Daemon<S> {
    /// A decision on a whole service.
    pub(super) fn press(&mut self, decision: &Decision) {
        if self.pressed.note(decision) {
            self.write_pressed();
        }
    }

    /// Takes guards down whose time is over.
    pub(super) fn lift_pressed(&mut self, now_ns: u64) {
        if self.pressed.lift(now_ns) {
            self.write_pressed();
        }
    }

    /// Takes guards down that a policy put up, which acts no more.
    pub(super) fn release_pressed(&mut self, policy: &str) {
        if self.pressed.drop_policy(policy) {
            self.write_pressed();
        }
    }

    /// Tells the kernel, after a guard or the policy changed.
    pub(super) fn write_pressed(&mut self) {
        let guards = self.pressed.over(self.engine.policy().guards());
        if let Err(error) = self.sensor.set_guards(&guards) {
            tracing::error!("{error}; a service's guard is not as its policy says");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_guard_counts_for_as_long_as_any_says() {
        let rate = |interval_ns| RateLimit::new(interval_ns, 2);
        let mut pressed = Pressed::default();
        let by = |service, policy: &str| (service, Arc::from(policy));
        pressed.guards.insert(by(1, "a"), (rate(500), 1000));
        pressed.guards.insert(by(1, "b"), (rate(200), 2000));
        pressed.guards.insert(by(2, "a"), (rate(5), 2000));
        let site = |service| (service, Guard { interval_ns: 50, ..Guard::default() });
        let intervals = |pressed: &Pressed| -> Vec<u64> {
            let guards = pressed.over((1..=3).map(site).collect());
            guards.into_iter().map(|(_, guard)| guard.interval_ns).collect()
        };
        assert_eq!(intervals(&pressed), [500, 50, 50]);
        assert!(!pressed.lift(999));
        assert!(pressed.lift(1000));
        assert_eq!(intervals(&pressed), [200, 50, 50]);
        assert!(pressed.drop_policy("b"), "its policy acts no more");
        assert_eq!(intervals(&pressed), [50, 50, 50]);
    }
}
