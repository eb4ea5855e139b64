//! From figures and bounds to readings, and to where a policy should go.

use super::{
    figures::Figures,
    reading::{Gate, Measure, Purpose, Reading, State},
    set::{Auto, GateSet},
};
use crate::enforce::stage::Stage;

/// Where a policy should go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// Nowhere.
    Stay,
    /// One stage further.
    Forward(Stage),
    /// Back to watching.
    Back,
}

/// What gates say.
#[derive(Clone, PartialEq, Debug)]
pub struct Judgement {
    /// Every gate: first those for going further, then those for going back.
    pub readings: Vec<Reading>,
}

impl Judgement {
    /// Whether all gates for going further hold.
    #[must_use]
    pub fn may_promote(&self) -> bool {
        self.of(Purpose::Promote).all(|reading| reading.state == State::Holds)
    }

    /// Those that keep it from going further.
    pub fn missing(&self) -> impl Iterator<Item = &Reading> {
        self.of(Purpose::Promote).filter(|reading| reading.state != State::Holds)
    }

    /// The gates that take a policy back.
    pub fn broken(&self) -> impl Iterator<Item = &Reading> {
        self.of(Purpose::Rollback).filter(|reading| reading.state == State::Breaks)
    }

    /// Where a policy at this stage should go. `is_waiting`: it went back lately.
    #[must_use]
    pub fn course(&self, auto: Auto, stage: Stage, ceiling: Stage, is_waiting: bool) -> Course {
        if stage > Stage::Monitor && auto != Auto::Off && self.broken().next().is_some() {
            return Course::Back;
        }
        match stage.next().filter(|next| *next <= ceiling) {
            Some(next) if auto == Auto::Both && !is_waiting && self.may_promote() => {
                Course::Forward(next)
            }
            _ => Course::Stay,
        }
    }

    fn of(&self, purpose: Purpose) -> impl Iterator<Item = &Reading> {
        self.readings.iter().filter(move |reading| reading.purpose == purpose)
    }
}

/// Reads every gate of a set.
#[must_use]
pub fn judge(set: &GateSet, figures: &Figures) -> Judgement {
    let mut readings = promote(set, figures);
    readings.extend(rollback(set, figures));
    Judgement { readings }
}

fn promote(set: &GateSet, figures: &Figures) -> Vec<Reading> {
    let bounds = &set.promote;
    let of = |gate| (Purpose::Promote, gate);
    let trouble = figures.health.trouble();
    vec![
        Reading::at_least(
            of(Gate::TimeInStage),
            Some(Measure::Ns(figures.in_stage_ns)),
            Measure::Ns(bounds.after_ns),
        ),
        Reading::at_least(
            of(Gate::Connections),
            Some(Measure::Count(figures.connections)),
            Measure::Count(bounds.min_connections),
        ),
        Reading::at_most(
            of(Gate::TrustedWouldDrop),
            figures.harmed_ppm().map(Measure::Ppm),
            Measure::Ppm(bounds.trusted_would_drop_max_ppm),
            (figures.trusted_sources, bounds.min_trusted_sources),
        ),
        Reading::at_most(
            of(Gate::LabelledHumanWouldDrop),
            Some(Measure::Count(figures.named_would.saturating_add(figures.named_dropped))),
            Measure::Count(bounds.labelled_human_would_drop_max),
            (0, 0),
        ),
        coverage(Purpose::Promote, figures, bounds.coverage_min_ppm),
        Reading {
            note: trouble.clone(),
            ..Reading::at_most(
                of(Gate::Health),
                Some(Measure::Count(u64::from(trouble.is_some()))),
                Measure::Count(0),
                (0, 0),
            )
        },
    ]
}

fn rollback(set: &GateSet, figures: &Figures) -> Vec<Reading> {
    let bounds = &set.rollback;
    let of = |gate| (Purpose::Rollback, gate);
    let mut dropped = Reading::at_most(
        of(Gate::TrustedDropped),
        figures.dropped_ppm().map(Measure::Ppm),
        Measure::Ppm(bounds.trusted_dropped_max_ppm),
        (figures.trusted_sources, bounds.min_trusted_sources),
    );
    if figures.connections < bounds.min_connections {
        dropped.state = State::TooFew;
        dropped.note =
            Some(format!("{} of {} connections", figures.connections, bounds.min_connections));
    } else if dropped.state == State::Breaks
        && figures.networks_dropped < bounds.min_trusted_dropped
    {
        dropped.state = State::TooFew;
        dropped.note = Some(format!(
            "{} of {} networks refused",
            figures.networks_dropped, bounds.min_trusted_dropped
        ));
    }
    vec![
        dropped,
        Reading::at_most(
            of(Gate::LabelledHumanDropped),
            Some(Measure::Count(figures.named_dropped)),
            Measure::Count(bounds.labelled_human_dropped_max),
            (0, 0),
        ),
        coverage(Purpose::Rollback, figures, bounds.coverage_min_ppm),
    ]
}

/// What is not known is not enough, except where nothing is asked for.
fn coverage(purpose: Purpose, figures: &Figures, least_ppm: u32) -> Reading {
    let known = figures.coverage_ppm.or((least_ppm == 0).then_some(0));
    Reading::at_least((purpose, Gate::Coverage), known.map(Measure::Ppm), Measure::Ppm(least_ppm))
}
