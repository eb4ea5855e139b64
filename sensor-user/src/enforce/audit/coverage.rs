//! How much of what is wanted the kernel does.

/// What coverage is computed from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Verdicts that are wanted in the kernel.
    pub wanted: usize,
    /// Of them, those that are not there as they should be.
    pub amiss: usize,
    /// Interfaces that Weir is to be on.
    pub interfaces: usize,
    /// Of them, those that run Weir's programs both ways.
    pub attached: usize,
    /// Whether modes and services are as they were set.
    pub settings_hold: bool,
    /// Synthetic packets of the last round.
    pub asked: usize,
    /// Of them, those that the live program decided as the ledger wants.
    pub answered: usize,
}

/// A share between 0 and 1.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug)]
pub struct Coverage(f64);

impl Coverage {
    /// Everything.
    pub const WHOLE: Self = Self(1.0);

    /// The share of pairs of a verdict and an interface of which it is so that the kernel enforces
    /// the verdict there as wanted. Settings that do not hold concern every verdict; of synthetic
    /// packets the share that was decided otherwise stands for as many verdicts.
    #[must_use]
    pub fn of(figures: &Figures) -> Self {
        let share = |part: usize, whole: usize| {
            if whole == 0 { 1.0 } else { part.min(whole) as f64 / whole as f64 }
        };
        let held = share(figures.wanted.saturating_sub(figures.amiss), figures.wanted);
        let asked = share(figures.answered, figures.asked);
        let settings = if figures.settings_hold { 1.0 } else { 0.0 };
        Self(held.min(asked) * share(figures.attached, figures.interfaces) * settings)
    }

    /// The share, 0 to 1.
    #[must_use]
    pub const fn ratio(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Figures = Figures {
        wanted: 100,
        amiss: 0,
        interfaces: 2,
        attached: 2,
        settings_hold: true,
        asked: 8,
        answered: 8,
    };

    fn ratio(figures: &Figures) -> f64 {
        Coverage::of(figures).ratio()
    }

    #[test]
    fn all_is_one_and_nothing_wanted_is_all() {
        assert!((ratio(&WELL) - 1.0).abs() < 1e-9);
        assert!((ratio(&Figures { wanted: 0, asked: 0, answered: 0, ..WELL }) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn each_shortfall_lowers_it_by_its_share() {
        assert!((ratio(&Figures { amiss: 10, ..WELL }) - 0.9).abs() < 1e-9);
        assert!((ratio(&Figures { attached: 1, ..WELL }) - 0.5).abs() < 1e-9);
        assert!((ratio(&Figures { answered: 6, ..WELL }) - 0.75).abs() < 1e-9);
        assert!(ratio(&Figures { settings_hold: false, ..WELL }).abs() < 1e-9);
    }

    #[test]
    fn a_synthetic_packet_for_a_missing_verdict_counts_once() {
        assert!((ratio(&Figures { amiss: 25, answered: 6, ..WELL }) - 0.75).abs() < 1e-9);
    }
}
