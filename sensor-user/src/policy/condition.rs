//! Conditions of rules: comparisons of features with numbers, durations, countries or each other,
//! joined by `&&`, `||`, `!` and parentheses.
//!
//! The language is a subset of CEL: what compiles here means the same there. Names, numbers and
//! units are checked when the file is read, so that a condition that compiles cannot fail when it
//! is evaluated. Logic is three-valued: a comparison with an unknown feature is unknown, and so is its
//! negation; a rule is met only by *true*.

mod check;
mod country;
mod lex;
mod operand;
mod parse;
pub(in crate::policy) mod sense;

use std::sync::Arc;

use crate::score::{
    feature::Evidence,
    registry::{FeatureId, Registry},
};

/// How a feature is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Comparator {
    /// The comparator that says the same with the sides exchanged.
    const fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
        }
    }

    /// The comparator that says the opposite.
    const fn opposite(self) -> Self {
        match self {
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
        }
    }

    /// As it is written.
    pub(crate) const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }

    pub(crate) fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Equal => left == right,
            Self::NotEqual => left != right,
        }
    }
}

/// A condition, checked.
#[derive(Clone, PartialEq, Debug)]
pub enum Condition {
    /// A feature compared with a number.
    Compare {
        /// Left side.
        feature: FeatureId,
        /// How.
        comparator: Comparator,
        /// Right side.
        number: f64,
    },
    /// A feature compared with a multiple of another one.
    Relate {
        /// Left side.
        feature: FeatureId,
        /// How.
        comparator: Comparator,
        /// How many times the right side.
        factor: f64,
        /// Right side.
        other: FeatureId,
    },
    /// A feature that is one of some numbers (countries, autonomous systems).
    In {
        /// Left side.
        feature: FeatureId,
        /// Right side.
        numbers: Arc<[f64]>,
    },
    /// All of them.
    All(Vec<Self>),
    /// At least one of them.
    Any(Vec<Self>),
    /// Not it.
    Not(Box<Self>),
}

/// What is wrong with a condition, and where in its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConditionError {
    /// Character of the text, from 0.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Condition {
    /// Parses a condition and checks it against the features that there are.
    ///
    /// # Errors
    /// Everything that is wrong with it; at least one.
    pub fn parse(text: &str, features: &Registry) -> Result<Self, Vec<ConditionError>> {
        parse::parse(text, features)
    }

    /// Whether it is met; `None` if that cannot be known. `read` gives a feature's value and is
    /// asked only for what the answer depends on, from left to right.
    pub fn evaluate(&self, read: &mut dyn FnMut(FeatureId) -> Option<f64>) -> Option<bool> {
        match self {
            Self::Compare { feature, comparator, number } => {
                read(*feature).map(|value| comparator.holds(value, *number))
            }
            Self::Relate { feature, comparator, factor, other } => {
                let (left, right) = (read(*feature)?, read(*other)?);
                Some(comparator.holds(left, factor * right))
            }
            Self::In { feature, numbers } => read(*feature).map(|value| numbers.contains(&value)),
            Self::All(parts) => every(parts, read, false),
            Self::Any(parts) => every(parts, read, true),
            Self::Not(inner) => inner.evaluate(read).map(|met| !met),
        }
    }

    /// The features that it names, each once, in the order of their first mention.
    #[must_use]
    pub fn features(&self) -> Vec<FeatureId> {
        let mut features = Vec::new();
        self.collect_features(&mut features);
        features
    }

    /// Authentic only if every feature in it is.
    #[must_use]
    pub fn evidence(&self, features: &Registry) -> Evidence {
        let is_forgeable = |id: &FeatureId| features.evidence(*id) == Evidence::Forgeable;
        let forgeable = self.features().iter().any(is_forgeable);
        if forgeable { Evidence::Forgeable } else { Evidence::Authentic }
    }

    fn collect_features(&self, features: &mut Vec<FeatureId>) {
        let mut add = |feature: &FeatureId| {
            if !features.contains(feature) {
                features.push(*feature);
            }
        };
        match self {
            Self::Compare { feature, .. } | Self::In { feature, .. } => add(feature),
            Self::Relate { feature, other, .. } => {
                add(feature);
                add(other);
            }
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.collect_features(features);
                }
            }
            Self::Not(inner) => inner.collect_features(features),
        }
    }
}

/// Three-valued conjunction (`decisive` = false) or disjunction (`decisive` = true): one decisive
/// part decides, even beside unknown ones.
fn every(
    parts: &[Condition],
    read: &mut dyn FnMut(FeatureId) -> Option<f64>,
    decisive: bool,
) -> Option<bool> {
    let mut known = true;
    for part in parts {
        match part.evaluate(read) {
            Some(met) if met == decisive => return Some(decisive),
            Some(_) => {}
            None => known = false,
        }
    }
    known.then_some(!decisive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{
        feature::{Feature, FeatureInfo, Unit},
        registry::Declared,
    };

    fn parse(text: &str) -> Result<Condition, Vec<ConditionError>> {
        Condition::parse(text, &Registry::default())
    }

    fn met(text: &str, value: Option<f64>) -> Option<bool> {
        parse(text).unwrap().evaluate(&mut |feature| {
            if feature == Feature::OpenConnections.into() { value } else { Some(10.0) }
        })
    }

    #[test]
    fn compares_and_joins() {
        for (text, expected) in [
            ("source.connections_1s >= 10", true),
            ("10 <= source.connections_1s", true),
            ("source.connections_1s < 10.0", false),
            ("source.connections_1s == 10u && source.age > 1", true),
            ("source.connections_1s != 10 || source.age > 1e1", false),
            ("!(source.connections_1s > 10)", true),
            ("(source.age > 1 && source.age < 2) || source.age > 3", true),
        ] {
            assert_eq!(met(text, None), Some(expected), "{text}");
        }
    }

    /// The product's features, and two that have names for values.
    fn with_places() -> Registry {
        let mut registry = Registry::default();
        for (name, unit) in [("source.country", Unit::Country), ("source.asn", Unit::Asn)] {
            let info =
                FeatureInfo { name: name.into(), unit, ..Feature::Connections1s.info().clone() };
            registry.declare(info, Declared::Feed(0));
        }
        registry
    }

    #[test]
    fn countries_and_networks_are_compared_by_name() {
        let registry = with_places();
        let value = |text: &str| f64::from(u16::from_be_bytes(text.as_bytes().try_into().unwrap()));
        let country = registry.find("source.country").unwrap();
        let met = |text: &str| {
            let condition = Condition::parse(text, &registry).unwrap();
            condition.evaluate(&mut |id| Some(if id == country { value("FR") } else { 64500.0 }))
        };
        for (text, expected) in [
            ("source.country == \"FR\"", true),
            ("'FR' == source.country", true),
            ("source.country != \"FR\"", false),
            ("source.country in [\"DE\", 'FR']", true),
            ("!(source.country in [\"DE\"])", true),
            ("source.asn in [64499, 64500]", true),
            ("source.asn == 64501", false),
        ] {
            assert_eq!(met(text), Some(expected), "{text}");
        }
        for (text, offset, message, help) in [
            (
                "source.country == 7",
                18,
                "`source.country` is a country, and cannot be a n",
                "\"DE\"",
            ),
            ("source.country == \"de\"", 18, "there is no country \"de\"", "mean \"DE\"?"),
            ("source.country in [\"DE\", \"EN\"]", 25, "there is no country", "ISO 3166"),
            ("source.country > \"DE\"", 17, "`source.country` is a country: none is", "`in"),
            ("source.asn == \"AS64500\"", 14, "`source.asn` is an autonomous", "`64500`"),
            ("source.asn in [1.5]", 15, "1.5 is no number", "whole numbers"),
            ("source.asn in []", 14, "this list is empty", ""),
            ("source.asn in 5", 14, "expected a list, found the number 5", "in ["),
            ("source.asn in [5", 16, "expected `,` or `]`, found the end", "`]`"),
            ("source.asn in [source.age]", 15, "a list has numbers or texts", ""),
            ("source.asn == source.country", 14, "`source.asn` and `source.country` cannot", ""),
        ] {
            let error = &Condition::parse(text, &registry).unwrap_err()[0];
            assert!(error.message.starts_with(message), "{text}: {}", error.message);
            assert!(error.help.as_ref().unwrap().contains(help), "{text}: {:?}", error.help);
            assert_eq!(error.offset, offset, "{text}");
        }
    }

    #[test]
    fn features_of_one_unit_are_compared_with_each_other() {
        for (text, expected) in [
            ("source.connections_1s > 2 * source.open_connections", Some(false)),
            ("source.connections_1s > source.open_connections * 0.5", Some(true)),
            ("2 * source.open_connections == source.connections_1s", Some(true)),
            ("2 * source.open_connections > 3 * source.connections_1s", Some(false)),
        ] {
            assert_eq!(met(text, Some(5.0)), expected, "{text}");
            assert_eq!(met(text, None), None, "{text}");
        }
        let condition = parse("source.age > source.hello_delay_p50").unwrap();
        assert_eq!(condition.features().len(), 2);
    }

    #[test]
    fn a_duration_is_seconds() {
        let condition = parse("source.age < duration(\"5m\")").unwrap();
        assert_eq!(condition.evaluate(&mut |_| Some(299.0)), Some(true));
        assert_eq!(condition.evaluate(&mut |_| Some(300.0)), Some(false));
    }

    #[test]
    fn unknown_is_neither_met_nor_not_met() {
        for (text, expected) in [
            ("source.open_connections > 1", None),
            ("!(source.open_connections > 1)", None),
            ("source.open_connections > 1 && source.age > 1", None),
            ("source.open_connections > 1 && source.age > 11", Some(false)),
            ("source.open_connections > 1 || source.age > 1", Some(true)),
            ("source.open_connections > 1 || source.age > 11", None),
        ] {
            assert_eq!(met(text, None), expected, "{text}");
        }
    }

    #[test]
    fn asks_only_for_what_decides() {
        let condition = parse("source.connections_10s >= 60 && source.request_bytes_cv < 0.1");
        let mut asked = Vec::new();
        condition.unwrap().evaluate(&mut |feature| {
            asked.push(feature);
            Some(1.0)
        });
        assert_eq!(asked, [FeatureId::from(Feature::Connections10s)]);
    }

    #[test]
    fn evidence_is_the_weakest_of_its_features() {
        let authentic = parse("source.age > 1 && source.connections_1s > 1").unwrap();
        assert_eq!(authentic.evidence(&Registry::default()), Evidence::Authentic);
        let mixed = parse("source.age > 1 || source.distinct_ports > 1").unwrap();
        assert_eq!(mixed.evidence(&Registry::default()), Evidence::Forgeable);
    }

    #[test]
    fn mistakes_have_a_place_and_a_remedy() {
        for (text, offset, message, help) in [
            (
                "source.age > 1 && source.conections_10s >= 60",
                18,
                "there is no feature `source.conections_10s`",
                "did you mean `source.connections_10s`?",
            ),
            (
                "source.stalled_share >= 50",
                24,
                "`source.stalled_share` is never true compared like this",
                "its values lie between 0 and 1: 50 % is `0.5`",
            ),
            (
                "source.age >= -1",
                14,
                "`source.age` is always true compared like this",
                "its values begin at 0",
            ),
            ("true || source.age > 1", 5, "expected a comparison, found `||`", "compare a feature"),
            ("size(source.age) > 1", 4, "functions are not supported", "compare a feature"),
            ("source.age > \"x\"", 13, "`source.age` is a time, and cannot be a text", "300"),
            ("source.age > \"x", 13, "this text does not end", "another one"),
            (
                "source.age > source.stalled_share",
                13,
                "`source.age` and `source.stalled_share` cannot be compared: one is a time",
                "compare each with a number",
            ),
            ("source.age > 2 * source.age", 17, "a feature is compared with itself", ""),
            ("source.age > -2 * source.hello_delay_p50", 13, "a feature is multiplied with", ""),
            ("2 * source.age > 3", 4, "a multiple of a feature is", "multiply the number"),
            ("2 * 3 > source.age", 4, "expected a feature after `*`", "like"),
            ("1 < 2", 0, "what is compared is the same", "compare a feature"),
            ("source.age in [1]", 14, "`source.age` is measured", "compare it with one number"),
            ("source.age > duration(5)", 22, "expected a text in quotes", "duration(\"5m\")"),
            ("source.age > duration(\"5\")", 23, "`5` is not a duration", "`10s`"),
            (
                "source.connections_10s > duration(\"5m\")",
                25,
                "`source.connections_10s` is a count, and cannot be a duration",
                "in its name",
            ),
            ("source.stalled_share > 50%", 25, "`%` cannot stand", "50 % is `0.5`"),
            ("entity.foo_10m > 1", 0, "there is no feature", "signals of the Site"),
            ("feed.drop == 1", 0, "there is no feature", "`feeds: {NAME"),
            ("source.age", 10, "expected a comparison, found the end", "compare a feature"),
            ("source.age > 1 &&", 17, "the condition ends too early", "compare a feature"),
            ("source.age > 5s", 13, "`5s` is not a number", "`duration(\"5s\")`"),
            ("source.age > 5x", 13, "`5x` is not a number", "without a unit"),
            ("source.age > 0x10", 13, "`0x10` is not a number", "without a unit"),
            ("  ", 0, "the condition ends too early", "compare a feature"),
            ("source.age > 1 ? 2 : 3", 15, "`?` cannot stand in a condition", "compare features"),
            ("source.age + 1 > 2", 11, "`+` cannot stand in a condition", "multiple"),
            ("source.age = 1", 11, "`=` cannot stand in a condition", "did you mean `==`?"),
            ("source.age > 1 & source.age > 2", 15, "`&` cannot stand", "did you mean `&&`?"),
            (
                "!source.age > 1",
                1,
                "`!` negates only what is in parentheses",
                "`!(source.age < 60)`",
            ),
            ("(source.age > 1", 15, "expected `)`, `&&` or `||`, found the end", "every `(` needs"),
            ("source.age > 1)", 14, "this `)` has no `(`", "every `)` needs"),
            (
                "source.age > 1 source.age > 2",
                15,
                "expected `&&` or `||`, found `source.age`",
                "join comparisons",
            ),
            ("1 < source.age < 2", 15, "comparisons cannot be chained", "join two with `&&`"),
            ("source.é > 1", 7, "`é` cannot stand in a condition", "compare features"),
        ] {
            let errors = parse(text).unwrap_err();
            let error = &errors[0];
            assert!(error.message.starts_with(message), "{text}: {}", error.message);
            assert!(error.help.as_ref().unwrap().contains(help), "{text}: {:?}", error.help);
            assert_eq!(error.offset, offset, "{text}");
        }
    }

    #[test]
    fn all_mistakes_of_a_condition_are_found() {
        let errors = parse("source.ages > 1 || !(source.bge < 2)").unwrap_err();
        assert_eq!(errors.len(), 2);
    }

    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |n: usize| format!("{}source.age > 1{}", "(".repeat(n), ")".repeat(n));
        assert!(parse(&nested(32)).is_ok());
        assert_eq!(parse(&nested(33)).unwrap_err()[0].offset, 32);
        for piece in [
            "(",
            "!",
            "-",
            "a&&",
            "a||",
            "a.",
            "a<",
            "!(",
            "[",
            "\"",
            "a in [",
            "duration(",
            "2*",
            "f(",
            "1+",
            ")",
            "a<1||(",
        ] {
            // Whatever it is, it is refused, and within the stack of a thread.
            let text: String = piece.chars().cycle().take(4096).collect();
            assert!(parse(&text).is_err(), "{piece}");
        }
        let long = vec!["source.age > 1"; 65].join(" && ");
        let errors = parse(&long).unwrap_err();
        assert_eq!(errors[0].message, "a condition has at most 64 comparisons");
        assert!(parse(&format!("{}source.age > 1", " ".repeat(4096))).is_err());
    }
}
