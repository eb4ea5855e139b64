//! Results, as a table or as one JSON object a line.

use std::io::{Write, stdout};

use anyhow::Result;
use serde::Serialize;

use super::case::Case;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One object a line.
    Json,
}

/// One result.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    id: &'static str,
    ours: f64,
    peer: f64,
    unit: &'static str,
    ratio: f64,
    goal: Option<f64>,
    met: Option<bool>,
    #[serde(skip)]
    about: &'static str,
}

impl Row {
    pub(super) fn new(case: &Case, ours: f64, peer: f64) -> Self {
        let ratio = (ours / peer * 100.0).round() / 100.0;
        Self {
            id: case.id,
            ours,
            peer,
            unit: "ns/packet",
            ratio,
            goal: case.goal,
            met: case.goal.map(|goal| ratio <= goal),
            about: case.about,
        }
    }
}

impl Row {
    /// A row about the daemon's own work, hello by hello.
    pub(super) fn of_hello(id: &'static str, about: &'static str, ours: f64, peer: f64) -> Self {
        let ratio = (ours / peer * 100.0).round() / 100.0;
        Self { id, ours, peer, unit: "ns/hello", ratio, goal: None, met: None, about }
    }
}

/// The table's columns.
const HEADING: &str = "id                    ours    peer  unit       ratio   goal  met";

/// Prints all results.
pub(super) fn print(rows: &[Row], format: Format) -> Result<()> {
    let mut out = stdout().lock();
    match format {
        Format::Json => {
            for row in rows {
                writeln!(out, "{}", serde_json::to_string(row)?)?;
            }
        }
        Format::Table => {
            writeln!(out, "{HEADING}")?;
            for row in rows {
                writeln!(
                    out,
                    "{:<18} {:>7.0} {:>7.0}  {:<9} {:>6.2} {:>6}  {}",
                    row.id,
                    row.ours,
                    row.peer,
                    row.unit,
                    row.ratio,
                    row.goal.map_or_else(|| "-".to_owned(), |goal| format!("{goal:.2}")),
                    row.met.map_or("-", |met| if met { "yes" } else { "NO" }),
                )?;
            }
            writeln!(out)?;
            for row in rows {
                writeln!(out, "{}: {}", row.id, row.about)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::case;

    #[test]
    fn a_json_row_has_exactly_the_columns_of_the_table() {
        let cases = case::all();
        for (case, goal) in [(&cases[0], true), (&cases[1], false)] {
            let value = serde_json::to_value(Row::new(case, 24.0, 40.0)).unwrap();
            let object = value.as_object().unwrap();
            let keys: Vec<&str> = object.keys().map(String::as_str).collect();
            let mut wanted = vec!["id", "ours", "peer", "unit", "ratio", "goal", "met"];
            wanted.sort_unstable();
            let mut sorted = keys.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, wanted);
            assert_eq!(object["met"].is_boolean(), goal);
            assert_eq!(object["goal"].is_null(), !goal);
        }
    }

    #[test]
    fn a_goal_is_met_at_its_ratio_and_not_above() {
        let cases = case::all();
        let case = &cases[0];
        assert_eq!(Row::new(case, 80.0, 100.0).met, Some(true));
        assert_eq!(Row::new(case, 81.0, 100.0).met, Some(false));
    }
}
