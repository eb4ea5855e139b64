//! The circuit breaker of a host: when policies refuse too many of the trusted, nothing is enforced for
//! a while.
//!
//! Pure, and driven by the times that it is given. It reads harm to the trusted only
//! ([`super::cohort`]): how much is dropped of all traffic is the attacker's choice, and moves
//! nothing here. Too small a sample never breaks it.

pub mod kept;

use serde::{Deserialize, Serialize};
use weir_common::abi::{Mode, time::SECOND_NS};

use super::cohort::{Affected, Harm};

/// When it breaks, and for how long.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Bounds {
    /// Share of the trusted who may be refused, 0..=1; more of them break it.
    pub trusted_dropped_max: f64,
    /// At fewer trusted sources in the window it does not move.
    pub min_sources: u64,
    /// At fewer networks in the window it does not move.
    pub min_networks: u64,
    /// The refused must be of at least so many networks, so that it takes more than a few addresses.
    pub min_dropped_networks: u64,
    /// How far back it looks, ns.
    pub window_ns: u64,
    /// For how long nothing is enforced, ns.
    pub hold_ns: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            trusted_dropped_max: 0.01,
            min_sources: 20,
            min_networks: 10,
            min_dropped_networks: 5,
            window_ns: 300 * SECOND_NS,
            hold_ns: 900 * SECOND_NS,
        }
    }
}

impl Bounds {
    /// Whether the sample is large enough to say anything.
    #[must_use]
    pub const fn is_met_by(&self, harm: &Harm) -> bool {
        harm.sources.seen >= self.min_sources && harm.networks.seen >= self.min_networks
    }

    fn is_broken(&self, harm: &Harm, share: f64, harmed: impl Fn(&Affected) -> u64) -> bool {
        self.is_met_by(harm)
            && harmed(&harm.networks) >= self.min_dropped_networks
            && share > self.trusted_dropped_max
    }
}

/// How it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Policies are enforced.
    Closed,
    /// Nothing is enforced.
    Open,
    /// Policies are enforced again, and watched.
    HalfOpen,
}

impl State {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// What changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Move {
    /// It broke: nothing is enforced from now on.
    Tripped,
    /// Its time was over, and enforcement would do the same harm: it stays open.
    Held,
    /// Its time was over: enforcement is back, and watched.
    HalfOpened,
    /// Enforcement did no harm while it was watched.
    Closed,
    /// An operator closed it.
    Reset,
}

/// The breaker.
#[derive(Clone, PartialEq, Debug)]
pub struct Breaker {
    bounds: Bounds,
    state: State,
    since_ns: u64,
    until_ns: Option<u64>,
    trips: u64,
}

impl Breaker {
    /// A breaker that is closed.
    #[must_use]
    pub const fn new(bounds: Bounds, now_ns: u64) -> Self {
        Self { bounds, state: State::Closed, since_ns: now_ns, until_ns: None, trips: 0 }
    }

    /// Takes other bounds; what is open stays open until its time.
    pub const fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Its bounds.
    #[must_use]
    pub const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// How it stands, since when, and until when at least (`CLOCK_MONOTONIC` ns).
    #[must_use]
    pub const fn state(&self) -> (State, u64, Option<u64>) {
        (self.state, self.since_ns, self.until_ns)
    }

    /// How often it broke.
    #[must_use]
    pub const fn trips(&self) -> u64 {
        self.trips
    }

    /// How far it lets enforcement go.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self.state {
            State::Open => Mode::Observe,
            State::Closed | State::HalfOpen => Mode::Enforce,
        }
    }

    /// Looks at the harm that is done now.
    pub fn weigh(&mut self, harm: &Harm, now_ns: u64) -> Option<Move> {
        let is_over = self.until_ns.is_some_and(|until| now_ns >= until);
        let does_harm = self.bounds.is_broken(harm, harm.dropped_share, |it| it.dropped);
        let would_harm = self.bounds.is_broken(harm, harm.would_share, |it| it.would);
        let (moved, state, until_ns) = match self.state {
            State::Closed | State::HalfOpen if does_harm => {
                self.trips += 1;
                (Move::Tripped, State::Open, Some(now_ns.saturating_add(self.bounds.hold_ns)))
            }
            State::Open if is_over && would_harm => {
                (Move::Held, State::Open, Some(now_ns.saturating_add(self.bounds.hold_ns)))
            }
            State::Open if is_over => {
                let until_ns = now_ns.saturating_add(self.bounds.window_ns);
                (Move::HalfOpened, State::HalfOpen, Some(until_ns))
            }
            State::HalfOpen if is_over => (Move::Closed, State::Closed, None),
            State::Closed | State::HalfOpen | State::Open => return None,
        };
        Some(self.enter(moved, state, until_ns, now_ns))
    }

    /// An operator knows better: enforcement is back at once. `None` if it was closed.
    pub fn reset(&mut self, now_ns: u64) -> Option<Move> {
        let is_closed = self.state == State::Closed;
        (!is_closed).then(|| self.enter(Move::Reset, State::Closed, None, now_ns))
    }

    /// Goes on from where an earlier run stood: open until a time.
    pub fn resume(&mut self, until_ns: u64, now_ns: u64) {
        // No longer than it would take from now.
        let until_ns = until_ns.min(now_ns.saturating_add(self.bounds.hold_ns));
        self.enter(Move::Tripped, State::Open, Some(until_ns), now_ns);
    }

    const fn enter(&mut self, moved: Move, state: State, until: Option<u64>, now_ns: u64) -> Move {
        self.state = state;
        self.since_ns = now_ns;
        self.until_ns = until;
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_NS: u64 = 60 * SECOND_NS;

    fn harm(seen: u64, would: u64, dropped: u64) -> Harm {
        let all = Affected { seen, would, dropped };
        let share = |count: u64| count as f64 / seen.max(1) as f64;
        Harm {
            sources: all,
            networks: all,
            would_share: share(would),
            dropped_share: share(dropped),
            ..Harm::default()
        }
    }

    fn breaker() -> Breaker {
        Breaker::new(Bounds::default(), 0)
    }

    #[test]
    fn it_breaks_at_more_than_the_bound_and_at_no_smaller_a_sample() {
        for (seen, dropped, breaks) in [
            (100, 5, true),
            (500, 5, false),
            (501, 6, true),
            (19, 19, false),
            (20, 5, true),
            (100, 4, false),
            (0, 0, false),
        ] {
            let moved = breaker().weigh(&harm(seen, 0, dropped), 1);
            assert_eq!(moved == Some(Move::Tripped), breaks, "{dropped} of {seen}");
        }
        let few_networks =
            Harm { networks: Affected { seen: 9, would: 0, dropped: 9 }, ..harm(100, 0, 100) };
        assert_eq!(breaker().weigh(&few_networks, 1), None);
    }

    #[test]
    fn what_would_be_dropped_does_not_break_it() {
        assert_eq!(breaker().weigh(&harm(100, 100, 0), 1), None);
    }

    #[test]
    fn it_opens_for_its_time_comes_back_watched_and_closes() {
        let mut breaker = breaker();
        assert_eq!(breaker.weigh(&harm(100, 0, 10), 0), Some(Move::Tripped));
        assert_eq!(breaker.mode(), Mode::Observe);
        assert_eq!(breaker.weigh(&harm(100, 0, 10), 14 * MINUTE_NS), None);
        assert_eq!(breaker.weigh(&harm(100, 0, 0), 15 * MINUTE_NS), Some(Move::HalfOpened));
        assert_eq!((breaker.mode(), breaker.state().0), (Mode::Enforce, State::HalfOpen));
        assert_eq!(breaker.weigh(&harm(100, 0, 0), 19 * MINUTE_NS), None);
        assert_eq!(breaker.weigh(&harm(100, 0, 0), 20 * MINUTE_NS), Some(Move::Closed));
        assert_eq!(breaker.trips(), 1);
    }

    #[test]
    fn it_breaks_again_at_once_while_it_is_watched() {
        let mut breaker = breaker();
        breaker.weigh(&harm(100, 0, 10), 0);
        breaker.weigh(&harm(100, 0, 0), 15 * MINUTE_NS);
        assert_eq!(breaker.weigh(&harm(100, 0, 10), 16 * MINUTE_NS), Some(Move::Tripped));
        assert_eq!((breaker.mode(), breaker.trips()), (Mode::Observe, 2));
    }

    #[test]
    fn it_stays_open_as_long_as_enforcement_would_do_the_same_harm() {
        let mut breaker = breaker();
        breaker.weigh(&harm(100, 0, 10), 0);
        assert_eq!(breaker.weigh(&harm(100, 10, 0), 15 * MINUTE_NS), Some(Move::Held));
        assert_eq!(breaker.weigh(&harm(100, 10, 0), 16 * MINUTE_NS), None);
        assert_eq!(breaker.weigh(&harm(100, 0, 0), 30 * MINUTE_NS), Some(Move::HalfOpened));
    }

    #[test]
    fn an_operator_closes_it() {
        let mut breaker = breaker();
        assert_eq!(breaker.reset(1), None);
        breaker.weigh(&harm(100, 0, 10), 0);
        assert_eq!(breaker.reset(1), Some(Move::Reset));
        assert_eq!((breaker.mode(), breaker.state().2), (Mode::Enforce, None));
    }

    #[test]
    fn a_restart_neither_forgets_nor_prolongs_it() {
        let mut breaker = breaker();
        breaker.resume(99 * MINUTE_NS, MINUTE_NS);
        assert_eq!(breaker.state(), (State::Open, MINUTE_NS, Some(16 * MINUTE_NS)));
    }
}
