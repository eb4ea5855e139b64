//! What a comparison may say: a feature, something that its unit can be compared with, and not
//! always the same answer.

use super::{
    Comparator, Condition, ConditionError, country,
    operand::{Literal, LiteralValue, Operand},
    parse::EXAMPLE,
};
use crate::{
    policy::suggest,
    score::{
        feature::{FeatureInfo, Unit},
        registry::{FeatureId, Registry},
    },
};

/// Most comparisons in one condition.
const MOST_COMPARISONS: usize = 64;

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
        match (left, right) {
            (name @ Operand::Name { .. }, Operand::Literal(literal)) => {
                self.with_literal(name, comparator, &literal)
            }
            (Operand::Literal(literal), name @ Operand::Name { .. }) => {
                self.with_literal(name, comparator.mirrored(), &literal)
            }
            (Operand::Literal(literal), Operand::Literal(_)) => {
                let message = "what is compared is the same for every source";
                self.error(literal.at, message, EXAMPLE);
                None
            }
            (
                Operand::Name { at, name, factor },
                Operand::Name { at: other_at, name: other, factor: other_factor },
            ) => {
                // Both names are looked up, so that mistakes in both are found.
                let features = (self.feature(at, &name), self.feature(other_at, &other));
                let (Some(feature), Some(other)) = features else { return None };
                self.relation((feature, factor), comparator, (other, other_factor), other_at)
            }
        }
    }

    /// `feature in [literals]`, if nothing is wrong with it.
    pub(super) fn list(
        &mut self,
        left: Operand,
        items: &[Literal],
        at: usize,
    ) -> Option<Condition> {
        let (name_at, name) = match left {
            Operand::Name { at, name, factor: 1.0 } => (at, name),
            Operand::Name { at, .. } | Operand::Literal(Literal { at, .. }) => {
                self.error(at, "only a feature can be in a list", "`source.country in [\"DE\"]`");
                return None;
            }
        };
        let feature = self.feature(name_at, &name)?;
        self.count(name_at);
        let info = self.features.info(feature)?;
        if !matches!(info.unit, Unit::Country | Unit::Asn) {
            let message = format!("`{}` is measured, and lists are for what has a name", info.name);
            self.error(at, message, "compare it with one number, or with two joined by `&&`");
            return None;
        }
        if items.is_empty() {
            self.error(at, "this list is empty: nothing is in it", "`[\"DE\", \"FR\"]`");
            return None;
        }
        let numbers: Option<Vec<f64>> =
            items.iter().map(|item| self.number(info, Comparator::Equal, item)).collect();
        Some(Condition::In { feature, numbers: numbers?.into() })
    }

    fn with_literal(
        &mut self,
        name: Operand,
        comparator: Comparator,
        literal: &Literal,
    ) -> Option<Condition> {
        let Operand::Name { at, name, factor } = name else { return None };
        let feature = self.feature(at, &name)?;
        self.count(at);
        if factor != 1.0 {
            let message = "a multiple of a feature is compared with another feature";
            self.error(at, message, "multiply the number instead");
            return None;
        }
        let info = self.features.info(feature)?;
        let number = self.number(info, comparator, literal)?;
        self.within_range(info, comparator, number, literal);
        Some(Condition::Compare { feature, comparator, number })
    }

    fn relation(
        &mut self,
        (feature, factor): (FeatureId, f64),
        comparator: Comparator,
        (other, other_factor): (FeatureId, f64),
        other_at: usize,
    ) -> Option<Condition> {
        self.count(other_at);
        let (left, right) = (self.features.info(feature)?, self.features.info(other)?);
        if feature == other {
            self.error(other_at, "a feature is compared with itself", EXAMPLE);
            return None;
        }
        if left.unit != right.unit {
            let message = format!(
                "`{}` and `{}` cannot be compared: one is {}, the other {}",
                left.name,
                right.name,
                unit_name(left.unit),
                unit_name(right.unit)
            );
            self.error(other_at, message, "compare each with a number, and join with `&&`");
            return None;
        }
        let is_ordered = !matches!(comparator, Comparator::Equal | Comparator::NotEqual);
        if is_ordered && is_named(left.unit) {
            self.unordered(left, other_at);
            return None;
        }
        Some(Condition::Relate { feature, comparator, factor: other_factor / factor, other })
    }

    /// What a feature is compared with, in the feature's unit.
    fn number(
        &mut self,
        info: &FeatureInfo,
        comparator: Comparator,
        literal: &Literal,
    ) -> Option<f64> {
        let Literal { at, value } = literal;
        let is_ordered = !matches!(comparator, Comparator::Equal | Comparator::NotEqual);
        let wrong = match (info.unit, value) {
            (Unit::Country | Unit::Asn, _) if is_ordered => {
                self.unordered(info, *at);
                return None;
            }
            (Unit::Country, LiteralValue::Text(text)) => match country::number(text) {
                Ok(number) => return Some(number),
                Err(help) => {
                    self.error(*at, format!("there is no country \"{text}\""), &help);
                    return None;
                }
            },
            (Unit::Asn, LiteralValue::Number(number)) => {
                if number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(number) {
                    return Some(*number);
                }
                let message = format!("{number} is no number of an autonomous system");
                self.error(*at, message, "they are whole numbers, like 64500");
                return None;
            }
            (Unit::Count | Unit::Share | Unit::Ratio | Unit::Seconds, LiteralValue::Number(n)) => {
                return Some(*n);
            }
            (Unit::Seconds, LiteralValue::Seconds(seconds)) => return Some(*seconds),
            (_, LiteralValue::Seconds(_)) => "a duration",
            (_, LiteralValue::Text(_)) => "a text",
            (Unit::Country, LiteralValue::Number(_)) => "a number",
        };
        let message = format!("`{}` is {}, and cannot be {wrong}", info.name, unit_name(info.unit));
        self.error(*at, message, &example(info.unit, value));
        None
    }

    fn unordered(&mut self, info: &FeatureInfo, at: usize) {
        let message =
            format!("`{}` is {}: none is more than another", info.name, { unit_name(info.unit) });
        self.error(at, message, "compare it with `==`, `!=` or `in […]`");
    }

    /// A comparison that every value meets, or none, is a mistake in the number or its unit.
    fn within_range(
        &mut self,
        info: &FeatureInfo,
        comparator: Comparator,
        number: f64,
        literal: &Literal,
    ) {
        if is_named(info.unit) {
            return;
        }
        let met_by = |value: f64| comparator.holds(value, number);
        let is_useless = match comparator {
            Comparator::Equal | Comparator::NotEqual => number < 0.0 || number > info.most,
            _ => met_by(0.0) == met_by(info.most),
        };
        if is_useless {
            let always = if met_by(0.0) { "always" } else { "never" };
            let message = format!("`{}` is {always} true compared like this", info.name);
            let help = if info.unit == Unit::Share && number > 1.0 && number <= 100.0 {
                format!("its values lie between 0 and 1: {number} % is `{}`", number / 100.0)
            } else if info.most.is_finite() {
                format!("its values lie between 0 and {}", info.most)
            } else {
                "its values begin at 0".to_owned()
            };
            self.error(literal.at, message, &help);
        }
    }

    fn feature(&mut self, at: usize, name: &str) -> Option<FeatureId> {
        let found = self.features.find(name);
        if found.is_none() {
            let names = self.features.iter().map(|info| &*info.name);
            let help = suggest::closest(name, names).map_or_else(
                || missing(name).to_owned(),
                |close| format!("did you mean `{close}`?"),
            );
            self.error(at, format!("there is no feature `{name}`"), &help);
        }
        found
    }

    fn count(&mut self, at: usize) {
        self.comparisons += 1;
        if self.comparisons == MOST_COMPARISONS + 1 {
            let message = format!("a condition has at most {MOST_COMPARISONS} comparisons");
            self.error(at, message, "split the rule in two; their points add up");
        }
    }

    fn error(&mut self, offset: usize, message: impl Into<String>, help: &str) {
        let help = Some(help.to_owned());
        self.errors.push(ConditionError { offset, message: message.into(), help });
    }
}

/// Whether values of a unit are names that happen to be numbers.
const fn is_named(unit: Unit) -> bool {
    matches!(unit, Unit::Country | Unit::Asn)
}

const fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "a count",
        Unit::Share => "a share",
        Unit::Ratio => "a ratio",
        Unit::Seconds => "a time",
        Unit::Country => "a country",
        Unit::Asn => "an autonomous system",
    }
}

/// What a feature of a unit is compared with; `typed` is what was written instead.
fn example(unit: Unit, typed: &LiteralValue) -> String {
    match (unit, typed) {
        (Unit::Count, LiteralValue::Seconds(_)) => {
            "compare it with a number like `60`: over how long it counts is in its name".to_owned()
        }
        (Unit::Count, _) => "compare it with a number like `60`".to_owned(),
        (Unit::Share, _) => "compare it with a number from 0 to 1, like `0.5`".to_owned(),
        (Unit::Ratio, _) => "compare it with a number like `0.1`".to_owned(),
        (Unit::Seconds, _) => {
            "compare it with `duration(\"5m\")`, or seconds like `300`".to_owned()
        }
        (Unit::Country, _) => "compare it with a text like \"DE\"".to_owned(),
        (Unit::Asn, LiteralValue::Text(text)) => {
            let digits = text.trim_start_matches(['A', 'S', 'a', 's', ' ']);
            let number = digits.parse::<u32>().unwrap_or(64500);
            format!("compare it with a number: `{number}`")
        }
        (Unit::Asn, _) => "compare it with a number like `64500`".to_owned(),
    }
}

/// Why a feature may not be there that nothing is close to.
fn missing(name: &str) -> &'static str {
    match name.split_once('.').map(|(subject, _)| subject) {
        Some("entity") => {
            "entities are counted by signals of the Site: `signals: {login_failed: {per: entity, \
             windows: [10m]}}` makes `entity.login_failed_10m`"
        }
        Some("feed") => "feeds are declared in the Site: `feeds: {NAME: …}` makes `feed.NAME`",
        _ => "features are named like `source.connections_10s`; `weir features` lists them",
    }
}
