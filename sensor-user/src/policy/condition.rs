//! Conditions of rules: comparisons of features with numbers, joined by `&&`, `||`, `!` and
//! parentheses.
//!
//! The language is a subset of CEL: what compiles here means the same there. Names and numbers are
//! checked when the file is read, so that a condition that compiles cannot fail when it is
//! evaluated. Logic is three-valued: a comparison with an unknown feature is unknown, and so is its
//! negation; a rule is met only by *true*.

mod check;
mod lex;
mod parse;

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
        match self {
            Self::Compare { feature, .. } => {
                if !features.contains(feature) {
                    features.push(*feature);
                }
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
    use crate::score::feature::Feature;

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
                "its values lie between 0 and 1",
            ),
            (
                "source.age >= -1",
                14,
                "`source.age` is always true compared like this",
                "its values begin at 0",
            ),
            ("true || source.age > 1", 5, "expected a comparison, found `||`", "compare a feature"),
            ("size(source.age) > 1", 4, "functions are not supported", "compare a feature"),
            ("source.age > \"x\"", 13, "`\"` cannot stand in a condition", "compare features"),
            (
                "source.age > source.age",
                13,
                "features cannot be compared with each other",
                "compare each with a number",
            ),
            ("1 < 2", 0, "two numbers compare the same", "compare a feature"),
            ("source.age", 10, "expected a comparison, found the end", "compare a feature"),
            ("source.age > 1 &&", 17, "the condition ends too early", "compare a feature"),
            ("source.age > 5s", 13, "`5s` is not a number", "without a unit"),
            ("source.age > 0x10", 13, "`0x10` is not a number", "without a unit"),
            ("  ", 0, "the condition ends too early", "compare a feature"),
            ("source.age > 1 ? 2 : 3", 15, "`?` cannot stand in a condition", "compare features"),
            ("source.age + 1 > 2", 11, "`+` cannot stand in a condition", "compare features"),
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
        for piece in ["(", "!", "-", "a&&", "a||", "a.", "a<", "!(", "f(", "1+", ")", "a<1||("] {
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
