//! A gate as it is read: its value now, its bound, and how much evidence there is.

use serde::{Deserialize, Serialize};

/// What a gate is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// All of them must hold before a policy goes further.
    Promote,
    /// One that breaks takes it back.
    Rollback,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// How long the policy has been at its stage.
    TimeInStage,
    /// How many connections of trusted sources it has judged.
    Connections,
    /// Trusted sources that it refuses or would refuse.
    TrustedWouldDrop,
    /// Trusted sources that it refuses.
    TrustedDropped,
    /// Sources labelled human, or allow-listed, that it refuses or would refuse.
    LabelledHumanWouldDrop,
    /// Sources labelled human, or allow-listed, that it refuses.
    LabelledHumanDropped,
    /// Whether what is wanted is what is in the kernel.
    Coverage,
    /// Whether events were lost, and store and kernel take what they are given.
    Health,
}

impl Gate {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimeInStage => "time-in-stage",
            Self::Connections => "connections",
            Self::TrustedWouldDrop => "trusted-would-drop",
            Self::TrustedDropped => "trusted-dropped",
            Self::LabelledHumanWouldDrop => "labelled-human-would-drop",
            Self::LabelledHumanDropped => "labelled-human-dropped",
            Self::Coverage => "coverage",
            Self::Health => "health",
        }
    }
}

/// A value with its unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Parts per million.
    Ppm(u32),
    /// A number of things.
    Count(u64),
    /// Nanoseconds.
    Ns(u64),
}

impl Measure {
    /// As people read it.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Ppm(ppm) => {
                let percent = f64::from(ppm) / 10_000.0;
                let text = format!("{percent:.3}");
                let text = text.trim_end_matches('0').trim_end_matches('.');
                format!("{text}%")
            }
            Self::Count(count) => count.to_string(),
            Self::Ns(ns) => {
                let whole = std::time::Duration::from_secs(ns / 1_000_000_000);
                humantime::format_duration(whole).to_string().replace(' ', "")
            }
        }
    }
}

/// What a gate says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Within its bound, on enough evidence.
    Holds,
    /// Too little is known. Never a reason to move.
    TooFew,
    /// Beyond its bound, on enough evidence.
    Breaks,
}

/// A gate as it is read now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// What it is for.
    pub purpose: Purpose,
    /// Which.
    pub gate: Gate,
    /// What was measured; `None`: not known.
    pub value: Option<Measure>,
    /// What it may be.
    pub bound: Measure,
    /// Whether the bound is the least and not the most.
    pub at_least: bool,
    /// How much it was measured on.
    pub sample: u64,
    /// How much it must be measured on.
    pub needed: u64,
    /// What follows.
    pub state: State,
    /// More, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Reading {
    /// A value that must not exceed its bound.
    pub(super) fn at_most(
        (purpose, gate): (Purpose, Gate),
        value: Option<Measure>,
        bound: Measure,
        (sample, needed): (u64, u64),
    ) -> Self {
        let holds = value.map(|value| value.number() <= bound.number());
        Self::new((purpose, gate), value, (bound, false), (sample, needed), holds)
    }

    /// A value that must reach its bound.
    pub(super) fn at_least(
        (purpose, gate): (Purpose, Gate),
        value: Option<Measure>,
        bound: Measure,
    ) -> Self {
        let holds = value.map(|value| value.number() >= bound.number());
        Self::new((purpose, gate), value, (bound, true), (0, 0), holds)
    }

    fn new(
        (purpose, gate): (Purpose, Gate),
        value: Option<Measure>,
        (bound, at_least): (Measure, bool),
        (sample, needed): (u64, u64),
        holds: Option<bool>,
    ) -> Self {
        let state = match holds {
            _ if sample < needed => State::TooFew,
            None => State::TooFew,
            Some(true) => State::Holds,
            Some(false) => State::Breaks,
        };
        Self { purpose, gate, value, bound, at_least, sample, needed, state, note: None }
    }
}

impl Measure {
    const fn number(self) -> u64 {
        match self {
            Self::Ppm(ppm) => ppm as u64,
            Self::Count(count) => count,
            Self::Ns(ns) => ns,
        }
    }
}
