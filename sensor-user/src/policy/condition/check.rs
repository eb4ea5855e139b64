//! What a comparison may say: one feature, one number, and not always the same answer.

use super::{Comparator, Condition, ConditionError, parse::EXAMPLE};
use crate::{
    policy::suggest,
    score::registry::{FeatureId, Registry},
};

/// Most comparisons in one condition.
const MOST_COMPARISONS: usize = 64;

/// One side of a comparison.
pub(super) enum Operand {
    /// A name.
    Name {
        /// Where.
        at: usize,
        /// Which.
        name: String,
    },
    /// A number.
    Number {
        /// Where.
        at: usize,
        /// Which.
        number: f64,
    },
}

/// Checks comparisons, and collects what is wrong with them.
pub(super) struct Check<'a> {
    features: &'a Registry,
    errors: Vec<ConditionError>,
    comparisons: usize,
}

impl<'a> Check<'a> {
    pub(super) const fn new(features: &'a Registry) -> Self {
        Self { features, errors: Vec::new(), comparisons: 0 }
    }

    pub(super) fn into_errors(self) -> Vec<ConditionError> {
        self.errors
    }

    /// A comparison, if nothing is wrong with it.
    pub(super) fn comparison(
        &mut self,
        left: Operand,
        comparator: Comparator,
        right: Operand,
    ) -> Option<Condition> {
        let (feature, number, at, comparator) = match (left, right) {
            (Operand::Name { at: name_at, name }, Operand::Number { at, number }) => {
                (self.feature(name_at, &name)?, number, at, comparator)
            }
            (Operand::Number { at, number }, Operand::Name { at: name_at, name }) => {
                (self.feature(name_at, &name)?, number, at, comparator.mirrored())
            }
            (Operand::Number { at, .. }, Operand::Number { .. }) => {
                self.error(at, "two numbers compare the same for every source", EXAMPLE);
                return None;
            }
            (Operand::Name { at: left, name: first }, Operand::Name { at, name: second }) => {
                // Both names are looked up, so that mistakes in both are found.
                let features = (self.feature(left, &first), self.feature(at, &second));
                if let (Some(_), Some(_)) = features {
                    let help = "compare each with a number, and join with `&&`";
                    self.error(at, "features cannot be compared with each other", help);
                }
                return None;
            }
        };
        self.comparisons += 1;
        if self.comparisons == MOST_COMPARISONS + 1 {
            let message = format!("a condition has at most {MOST_COMPARISONS} comparisons");
            self.error(at, message, "split the rule in two; their points add up");
        }
        self.within_range(feature, comparator, number, at);
        Some(Condition::Compare { feature, comparator, number })
    }

    /// A comparison that every value meets, or none, is a mistake in the number or its unit.
    fn within_range(&mut self, feature: FeatureId, comparator: Comparator, number: f64, at: usize) {
        let Some(info) = self.features.info(feature) else { return };
        let met_by = |value: f64| comparator.holds(value, number);
        let is_useless = match comparator {
            Comparator::Equal | Comparator::NotEqual => number < 0.0 || number > info.most,
            _ => met_by(0.0) == met_by(info.most),
        };
        if is_useless {
            let always = if met_by(0.0) { "always" } else { "never" };
            let message = format!("`{}` is {always} true compared like this", info.name);
            let help = if info.most.is_finite() {
                format!("its values lie between 0 and {}", info.most)
            } else {
                "its values begin at 0".to_owned()
            };
            self.error(at, message, &help);
        }
    }

    fn feature(&mut self, at: usize, name: &str) -> Option<FeatureId> {
        let found = self.features.find(name);
        if found.is_none() {
            let names = self.features.iter().map(|info| &*info.name);
            let help = suggest::closest(name, names).map_or_else(
                || "features are named like `source.connections_10s`".to_owned(),
                |close| format!("did you mean `{close}`?"),
            );
            self.error(at, format!("there is no feature `{name}`"), &help);
        }
        found
    }

    fn error(&mut self, offset: usize, message: impl Into<String>, help: &str) {
        let help = Some(help.to_owned());
        self.errors.push(ConditionError { offset, message: message.into(), help });
    }
}
