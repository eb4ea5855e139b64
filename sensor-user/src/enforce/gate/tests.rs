//! What gates say of figures: bounds, samples that are too small, and what is unknown.

use super::*;
use crate::enforce::stage::Stage;

/// Figures that open every gate of the standard set.
fn good() -> Figures {
    Figures {
        in_stage_ns: 25 * 3600 * 1_000_000_000,
        connections: 20_000,
        trusted_sources: 100,
        coverage_ppm: Some(1_000_000),
        ..Figures::default()
    }
}

fn course(figures: &Figures, stage: Stage) -> Course {
    judge(&GateSet::default(), figures).course(Auto::Both, stage, Stage::Enforce, false)
}

fn missing(figures: &Figures) -> Vec<&'static str> {
    judge(&GateSet::default(), figures).missing().map(|reading| reading.gate.name()).collect()
}

#[test]
fn a_policy_goes_one_stage_at_a_time_and_not_beyond_its_ceiling() {
    assert_eq!(course(&good(), Stage::Monitor), Course::Forward(Stage::Canary));
    assert_eq!(course(&good(), Stage::Canary), Course::Forward(Stage::Enforce));
    assert_eq!(course(&good(), Stage::Enforce), Course::Stay);
    let judged = judge(&GateSet::default(), &good());
    assert_eq!(judged.course(Auto::Both, Stage::Canary, Stage::Canary, false), Course::Stay);
    assert_eq!(judged.course(Auto::Both, Stage::Monitor, Stage::Enforce, true), Course::Stay);
    assert_eq!(judged.course(Auto::Back, Stage::Monitor, Stage::Enforce, false), Course::Stay);
}

#[test]
fn every_gate_can_keep_a_policy_where_it_is() {
    for (figures, gate) in [
        (Figures { in_stage_ns: 1, ..good() }, "time-in-stage"),
        (Figures { connections: 9_999, ..good() }, "connections"),
        (Figures { trusted_sources: 19, ..good() }, "trusted-would-drop"),
        (Figures { trusted_would_ppm: 10_000, ..good() }, "trusted-would-drop"),
        (Figures { named_would: 1, ..good() }, "labelled-human-would-drop"),
        (Figures { coverage_ppm: Some(998_999), ..good() }, "coverage"),
        (Figures { coverage_ppm: None, ..good() }, "coverage"),
        (Figures { health: Health { events_lost: 1, ..Health::default() }, ..good() }, "health"),
    ] {
        assert_eq!(missing(&figures), [gate], "{figures:?}");
        assert_eq!(course(&figures, Stage::Monitor), Course::Stay);
    }
    assert!(missing(&good()).is_empty());
}

#[test]
fn harm_to_the_trusted_takes_a_policy_back_and_too_few_do_not() {
    let harmed = Figures { trusted_dropped_ppm: 30_000, networks_dropped: 3, ..good() };
    for stage in [Stage::Canary, Stage::Enforce] {
        assert_eq!(course(&harmed, stage), Course::Back);
    }
    assert_eq!(course(&harmed, Stage::Monitor), Course::Stay, "there is nothing to take back");
    for figures in [
        Figures { networks_dropped: 2, ..harmed.clone() },
        Figures { trusted_sources: 4, ..harmed.clone() },
        Figures { connections: 199, ..harmed.clone() },
        Figures { trusted_dropped_ppm: 1_000, ..harmed },
    ] {
        assert_ne!(course(&figures, Stage::Enforce), Course::Back, "{figures:?}");
    }
}

#[test]
fn a_refused_human_or_lost_coverage_takes_a_policy_back() {
    let labelled = Figures { named_dropped: 1, ..good() };
    assert_eq!(course(&labelled, Stage::Enforce), Course::Back);
    let uncovered = Figures { coverage_ppm: Some(949_999), ..good() };
    assert_eq!(course(&uncovered, Stage::Enforce), Course::Back);
    let unknown = Figures { coverage_ppm: None, ..good() };
    assert_eq!(course(&unknown, Stage::Enforce), Course::Stay);
    let judged = judge(&GateSet::default(), &labelled);
    assert_eq!(judged.course(Auto::Back, Stage::Enforce, Stage::Enforce, false), Course::Back);
    assert_eq!(judged.course(Auto::Off, Stage::Enforce, Stage::Enforce, false), Course::Stay);
}

#[test]
fn measures_are_written_as_they_are_typed() {
    assert_eq!(Measure::Ppm(1_000).text(), "0.1%");
    assert_eq!(Measure::Ppm(999_000).text(), "99.9%");
    assert_eq!(Measure::Ppm(1_000_000).text(), "100%");
    assert_eq!(Measure::Ppm(0).text(), "0%");
    assert_eq!(Measure::Count(7).text(), "7");
    assert_eq!(Measure::Ns(90_061_500_000_000).text(), "1day1h1m1s");
}
