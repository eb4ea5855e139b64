//! Whether a condition can be met at all: each feature's comparisons leave it an interval, or some
//! numbers; a conjunction that leaves one nothing is never met.

use std::collections::BTreeMap;

use super::{Comparator, Condition};
use crate::score::{
    feature::Unit,
    registry::{FeatureId, Registry},
};

/// Most ways to meet a condition that are looked at. More, and it counts as possible.
const MOST_WAYS: usize = 1024;

/// A feature of which no value meets a condition; `None` if the condition can be met, or is too
/// intricate to tell.
pub(in crate::policy) fn contradiction(
    condition: &Condition,
    features: &Registry,
) -> Option<FeatureId> {
    let mut search = Search { features, left: MOST_WAYS, guilty: None };
    let is_possible = search.is_possible(vec![(condition, true)], &Bounds::default());
    if is_possible { None } else { search.guilty }
}

/// What comparisons leave of features' values.
type Bounds = BTreeMap<FeatureId, Range>;

#[derive(Clone, Debug)]
struct Range {
    low: f64,
    has_low: bool,
    high: f64,
    has_high: bool,
    /// If set, one of these.
    only: Option<Vec<f64>>,
    /// None of these.
    not: Vec<f64>,
}

impl Range {
    const fn of(most: f64) -> Self {
        Self { low: 0.0, has_low: true, high: most, has_high: true, only: None, not: Vec::new() }
    }

    fn holds(&self, value: f64) -> bool {
        let above = value > self.low || self.has_low && value == self.low;
        let below = value < self.high || self.has_high && value == self.high;
        above && below && !self.not.contains(&value)
    }

    fn is_empty(&self) -> bool {
        match &self.only {
            Some(values) => !values.iter().any(|value| self.holds(*value)),
            None if self.low == self.high => !self.holds(self.low),
            None => self.low > self.high,
        }
    }

    fn restrict(&mut self, comparator: Comparator, number: f64) {
        match comparator {
            Comparator::Less | Comparator::LessOrEqual => {
                let includes = comparator == Comparator::LessOrEqual;
                if number < self.high || number == self.high && !includes {
                    (self.high, self.has_high) = (number, includes);
                }
            }
            Comparator::Greater | Comparator::GreaterOrEqual => {
                let includes = comparator == Comparator::GreaterOrEqual;
                if number > self.low || number == self.low && !includes {
                    (self.low, self.has_low) = (number, includes);
                }
            }
            Comparator::Equal => self.keep(&[number]),
            Comparator::NotEqual => self.not.push(number),
        }
    }

    fn keep(&mut self, numbers: &[f64]) {
        self.only = Some(match self.only.take() {
            Some(before) => before.into_iter().filter(|n| numbers.contains(n)).collect(),
            None => numbers.to_vec(),
        });
    }
}

struct Search<'a> {
    features: &'a Registry,
    left: usize,
    guilty: Option<FeatureId>,
}

impl Search<'_> {
    /// Whether all of `todo` (or, where `false` stands beside it, its opposite) can be met within
    /// bounds.
    fn is_possible(&mut self, mut todo: Vec<(&Condition, bool)>, bounds: &Bounds) -> bool {
        let mut bounds = bounds.clone();
        let mut choices = Vec::new();
        while let Some((condition, wanted)) = todo.pop() {
            match condition {
                Condition::Not(inner) => todo.push((inner, !wanted)),
                Condition::All(parts) if wanted => todo.extend(parts.iter().map(|p| (p, true))),
                Condition::Any(parts) if !wanted => todo.extend(parts.iter().map(|p| (p, false))),
                Condition::All(_) | Condition::Any(_) => choices.push((condition, wanted)),
                // Another feature's value is not known here.
                Condition::Relate { .. } => {}
                Condition::Compare { feature, comparator, number } => {
                    let comparator = if wanted { *comparator } else { comparator.opposite() };
                    let range = self.range(&mut bounds, *feature);
                    range.restrict(comparator, *number);
                    if range.is_empty() {
                        self.guilty = Some(*feature);
                        return false;
                    }
                }
                Condition::In { feature, numbers } => {
                    let range = self.range(&mut bounds, *feature);
                    if wanted {
                        range.keep(numbers);
                    } else {
                        range.not.extend(numbers.iter());
                    }
                    if range.is_empty() {
                        self.guilty = Some(*feature);
                        return false;
                    }
                }
            }
        }
        let Some((choice, wanted)) = choices.pop() else { return true };
        let (Condition::All(parts) | Condition::Any(parts)) = choice else { return true };
        parts.iter().any(|part| {
            let Some(left) = self.left.checked_sub(1) else { return true };
            self.left = left;
            let mut todo = choices.clone();
            todo.push((part, wanted));
            self.is_possible(todo, &bounds)
        })
    }

    fn range<'b>(&self, bounds: &'b mut Bounds, feature: FeatureId) -> &'b mut Range {
        let info = self.features.info(feature);
        let most = match info {
            Some(info) if !matches!(info.unit, Unit::Country | Unit::Asn) => info.most,
            _ => f64::INFINITY,
        };
        bounds.entry(feature).or_insert_with(|| Range::of(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guilty(text: &str) -> Option<String> {
        let registry = Registry::default();
        let condition = Condition::parse(text, &registry).unwrap();
        let feature = contradiction(&condition, &registry)?;
        Some(registry.info(feature).unwrap().name.to_string())
    }

    #[test]
    fn what_can_be_met_is_not_complained_about() {
        for text in [
            "source.age > 1 && source.age < 2",
            "source.age >= 1 && source.age <= 1",
            "source.age > 2 || source.age < 1",
            "!(source.age > 2 && source.age < 1)",
            "source.age > 2 && !(source.age > 3)",
            "source.stalled_share >= 1 && source.stalled_share != 0.5",
            "source.age > 2 * source.hello_delay_p50 && source.hello_delay_p50 > source.age",
            "(source.age > 2 || source.age < 1) && source.age < 1",
        ] {
            assert_eq!(guilty(text), None, "{text}");
        }
    }

    #[test]
    fn what_no_value_meets_is_found() {
        for (text, name) in [
            ("source.age > 2 && source.age < 1", "source.age"),
            ("source.age > 2 && source.age < 2", "source.age"),
            ("source.age > 2 && source.age <= 2", "source.age"),
            ("source.age == 2 && source.age == 3", "source.age"),
            ("source.age == 2 && source.age != 2", "source.age"),
            ("source.age > 5 && !(source.age > 3)", "source.age"),
            ("!(source.age > 3 || source.age <= 3)", "source.age"),
            ("source.age > 5 && (source.age < 1 || source.age < 2)", "source.age"),
            (
                "(source.age < 1 || source.age > 9) && (source.age > 2 && source.age < 5)",
                "source.age",
            ),
            ("source.age > 5 && source.age < 1 || source.age > 3 && source.age < 3", "source.age"),
            (
                "source.open_connections > 1 && source.stalled_share < 0.5 && source.stalled_share > 0.6",
                "source.stalled_share",
            ),
        ] {
            assert_eq!(guilty(text).as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn it_comes_to_an_end() {
        let either = "(source.age < 1 || source.age < 2 || source.age < 3)";
        let text = format!("{} && source.age > 5", vec![either; 20].join(" && "));
        let registry = Registry::default();
        let condition = Condition::parse(&text, &registry).unwrap();
        // Found at once, because what is certain is looked at first.
        assert!(contradiction(&condition, &registry).is_some());
        let unsolved = vec!["(source.age < 9 || source.age > 5)"; 32].join(" && ");
        assert_eq!(guilty(&unsolved), None);
    }
}
